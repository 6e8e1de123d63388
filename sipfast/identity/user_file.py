"""The file of users: a JSON object a line, kept by `sipfast users` and read by the server.

A user is known by H(A1), the hash of his name, realm and password (RFC 7616 §3.4.2), and never by the password; whoever can
read the file can log in all the same, so it is its owner's alone. It is replaced as a whole, so that a reader sees one or
the other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from .._uri import aor as canonical
from ..errors import ConfigError, ParseError
from .rights import Rights
from .users import User, UserTable

CHUNK = 256  # lines that are read at a time: about a millisecond
HEX = {"md5": 32, "sha256": 64}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A line of the file."""

    user: str
    """The name that digest has."""
    realm: str
    md5: str = ""
    sha256: str = ""
    """H(A1) as hex digits, lower-case; empty: not known."""
    aors: tuple[str, ...] = ()
    """For which addresses of record the user acts, his own first; none: sip:USER@REALM."""
    watch: bool = True
    """Whether anybody may watch for the user, at any of them (3GPP TS 22.173)."""
    watchers: tuple[str, ...] = ()
    """Who may: addresses of record, and @DOMAIN for all of a domain; none: anybody."""
    anonymous: bool = True
    """Whether callers may who want not to be known (RFC 3323)."""

    @property
    def own(self) -> tuple[str, ...]:
        """The same, with the one that is not written."""
        return self.aors or (f"sip:{self.user}@{self.realm}",)


_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


def secrets_of(user: str, realm: str, password: str) -> dict[str, str]:
    """H(A1) by both algorithms (RFC 7616 §3.4.2); in Normalization Form C, as its §4 has it."""
    text = ":".join(unicodedata.normalize("NFC", part) for part in (user, realm, password)).encode()
    return {"md5": hashlib.md5(text, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(text).hexdigest()}


def problem_of(record: Record) -> str:
    """Why a record cannot be; "": it can."""
    if not record.user or ":" in record.user or not record.user.isprintable():
        return "a user's name is not empty, and has neither a colon nor control characters"
    if not record.realm or '"' in record.realm or "\\" in record.realm or not record.realm.isprintable():
        return "a realm is not empty, and has neither quotes nor backslashes"
    for name, size in HEX.items():
        text = getattr(record, name)
        if text and (len(text) != size or text.strip("0123456789abcdef")):
            return f"{name} is not {size} hex digits"
    if not (record.md5 or record.sha256):
        return "neither md5 nor sha256 is there, so nobody could log in"
    for each in record.own:
        if not is_canonical(each):
            return f"{each} is not an address of record such as sip:alice@example.com"
    for each in record.watchers:
        if not is_canonical(f"sip:all{each}" if each.startswith("@") else each):
            return f"{each} is neither an address of record such as sip:alice@example.com nor a domain such as @example.com"
    return ""


def is_canonical(text: str) -> bool:
    """Whether it is an AOR as requests are looked up by (RFC 3261 §10.3)."""
    try:
        found: bytes = canonical(text.encode())
    except (ParseError, UnicodeEncodeError):
        return False
    return found == text.encode() and (b"@" in found or found.startswith(b"tel:"))


def load_users(path: Path, rest: Callable[[], object] | None = None) -> UserTable:
    """All users of a file; `rest` is called after each CHUNK of lines. ConfigError: file, line, what is wrong with it."""
    table = UserTable()
    realms = set()
    for number, record in read_records(path, rest):
        user = User(
            record.user.encode(), record.realm.encode(), record.md5.encode(), record.sha256.encode(),
            tuple(each.encode() for each in record.own),
        )  # fmt: skip
        try:
            table.add(user)
        except ValueError:
            raise ConfigError(f"{path}: line {number}: {record.user} is there twice in the realm {record.realm}") from None
        realms.add(user.realm)
        if not record.watch or record.watchers or not record.anonymous:
            watchers = [each.encode() for each in record.watchers]
            table.restrict(user.aors, Rights(record.watch, watchers, record.anonymous))
    for realm in sorted(realms):
        if not table.offered(realm):
            raise ConfigError(f"{path}: the users of {realm.decode()} have no algorithm in common: give some a new password")
    return table


def read_records(path: Path, rest: Callable[[], object] | None = None) -> Iterator[tuple[int, Record]]:
    """Each line's number and record. ConfigError: as load_users."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if rest is not None and number % CHUNK == 0:
                    rest()
                if not line.strip():
                    continue
                try:
                    record = _decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise ConfigError(f"{path}: line {number}: {error}") from None
                problem = problem_of(record)
                if problem:
                    raise ConfigError(f"{path}: line {number}: {problem}")
                yield number, record
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the users: {error.strerror or error}") from None


@contextmanager
def kept(path: Path) -> Iterator[list[Record]]:
    """The records, to be changed in place: written when it ends well. Others that change them wait meanwhile.

    A file that is not there is begun. ConfigError: as load_users, or it cannot be written.
    """
    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the users: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = [record for _, record in read_records(path)] if path.exists() else []
        yield records
        write_records(path, records)
    finally:
        os.close(lock)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace the file, for its owner alone (mode 0600). ConfigError: it cannot be written, and is as it was."""
    name = ""
    try:
        path = path.resolve()  # what a link names is replaced, not the link
        opened, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
        with os.fdopen(opened, "wb") as file:
            file.writelines(_encoder.encode(record) + b"\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
        like = (path if path.exists() else path.parent).stat()  # a server that runs as somebody else is to read it
        with suppress(PermissionError):
            os.chown(name, like.st_uid, like.st_gid)
        Path(name).replace(path)
    except OSError as error:
        with suppress(OSError):
            Path(name).unlink()
        raise ConfigError(f"{path}: cannot write the users: {error.strerror}") from None


def parse_imported(lines: Sequence[str], *, plain: bool, realm: str) -> Iterator[Record]:
    """Records of another server's list. ConfigError: the line, and what is wrong with it.

    Not `plain`: USER:REALM:MD5 as Apache's htdigest writes it, perhaps with :SHA256 behind. `plain`: USER[@DOMAIN]:PASSWORD,
    hashed here; without a domain in `realm`.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            record = _plain(text, realm) if plain else _hashed(text)
            problem = problem_of(record)
        except ValueError as error:
            problem = str(error)
        if problem:
            raise ConfigError(f"line {number}: {problem}")
        yield record


def _hashed(text: str) -> Record:
    parts = text.split(":")
    if len(parts) not in (3, 4):
        raise ValueError("not USER:REALM:MD5 or USER:REALM:MD5:SHA256")
    return Record(user=parts[0], realm=parts[1], md5=parts[2].lower(), sha256=parts[3].lower() if parts[3:] else "")


def _plain(text: str, realm: str) -> Record:
    name, colon, password = text.partition(":")
    user, _, domain = name.partition("@")
    domain = domain.lower()
    if not colon or not password or not (realm or domain):
        raise ValueError("not USER@DOMAIN:PASSWORD")
    aors = (f"sip:{user}@{domain}",) if domain and domain != realm and realm else ()
    secrets = secrets_of(user, realm or domain, password)
    return Record(user=user, realm=realm or domain, aors=aors, md5=secrets["md5"], sha256=secrets["sha256"])
