"""Typed face of the compiled module `authenticator`; all but this is for C callers."""

from typing import final

@final
class Authenticator: ...

def response_of(algorithm: str, secret: bytes, method: bytes, body: bytes, value: bytes) -> bytes:
    """The response that credentials ought to have; b"": they cannot be checked.

    `secret`: H(A1) in hex; `value`: of an Authorization.
    """
