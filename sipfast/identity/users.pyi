"""Typed face of the compiled module `users`: users and what they are."""

from typing import final

from .rights import Rights

@final
class User:
    """Somebody who has a password, and what he acts for. `md5` and `sha256` are H(A1) in hex (RFC 7616 §3.4.2), or b""."""

    name: bytes
    realm: bytes
    md5: bytes
    sha256: bytes
    aors: tuple[bytes, ...]
    def __init__(self, name: bytes, realm: bytes, md5: bytes, sha256: bytes, aors: tuple[bytes, ...]) -> None: ...

class Users:
    """Whoever knows users: find one by realm and name, and tell which algorithms all of a realm have."""

    count: int
    def get(self, realm: bytes, name: bytes) -> User | None:
        """Somebody by name."""

@final
class UserTable(Users):
    """Users in memory."""

    def __init__(self) -> None: ...
    def add(self, user: User) -> None:
        """Take one more. ValueError: the realm has one of this name."""
    def restrict(self, aors: tuple[bytes, ...], rights: Rights) -> None:
        """Let only some watch for those AORs. Where an AOR is restricted more than once, all of it holds."""
    def refused(self, callee: bytes, caller: bytes, anonymous: bool = False) -> str | None:
        """Why somebody may not watch for a callee; None: he may."""
    def offered(self, realm: bytes) -> frozenset[str]:
        """The algorithms that all users of a realm have: "MD5", "SHA-256"."""
