"""Typed face of the compiled parser: RFC 3261 grammar over one buffer, nothing copied until it is asked for."""

from collections.abc import Iterator
from typing import final

@final
class Message:
    """One SIP message. It owns its bytes; every accessor below makes a copy of what it returns.

    `error` is 0 for a well-formed message, else the status to answer with, found at byte `error_offset`.
    """

    data: bytes
    error: int
    error_offset: int
    status: int
    @property
    def error_reason(self) -> str: ...
    @property
    def is_request(self) -> bool: ...
    @property
    def method(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def uri(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def call_id(self) -> bytes: ...
    @property
    def from_tag(self) -> bytes: ...
    @property
    def to_tag(self) -> bytes: ...
    @property
    def from_aor(self) -> bytes: ...
    @property
    def to_aor(self) -> bytes: ...
    @property
    def request_aor(self) -> bytes: ...
    @property
    def branch(self) -> bytes: ...
    @property
    def cseq(self) -> tuple[int, str]: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """(name as written, value with folds replaced by one space) of each header field, in order."""
    def header(self, name: str) -> bytes | None:
        """Value of the first field of that name (long or compact, any case), unfolded."""
    def values(self, name: str) -> Iterator[bytes]:
        """All values of a list header, over commas and lines."""

def parse(data: bytes) -> Message:
    """Parse one datagram. Never raises for malformed input: look at `error`."""

def parse_address(value: bytes) -> tuple[bytes, bytes, dict[bytes, bytes | None]]:
    """Split a name-addr or addr-spec into display name (unquoted), URI and header parameters (names lower-case).

    Raises ParseError.
    """

def uri_parts(uri: bytes) -> tuple[str, bytes, bytes, int, dict[bytes, bytes | None]]:
    """Scheme, user (as written), host (no brackets, lower-case), port (-1 where absent), parameters. Raises ParseError."""

def aor(uri: bytes) -> bytes:
    """Canonical address of record of a URI (RFC 3261 §10.3 step 5). Raises ParseError."""

def same_uri(a: bytes, b: bytes) -> bool:
    """URI comparison by RFC 3261 §19.1.4. Raises ParseError."""
