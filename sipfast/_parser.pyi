"""Typed face of the compiled parser: RFC 3261's grammar over one buffer, nothing copied until it is asked for."""

from collections.abc import Iterator
from typing import final

from ._likeness import same_uri as same_uri
from ._uri import aor as aor
from ._uri import uri_parts as uri_parts
from ._values import parse_address as parse_address
from ._values import parse_via as parse_via

@final
class Message:
    """One SIP message. It owns its bytes; every accessor below makes a copy of what it returns.

    `error` is 0 for a well-formed message, else the status to answer with, found at byte `error_offset`. Of a malformed
    message whatever could be read is there, and the rest is empty; `status` is -1 where a response's cannot be read.
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
    def seconds(self, name: str) -> int:
        """The whole number of the first field of that name (Expires, Retry-After ...): -1 absent, -2 malformed.

        Raises ValueError for a header that the parser does not know.
        """
    def lists(self, name: str, token: str) -> bool:
        """Whether a list header (Supported, Require ...) has that token, in any case. Raises ValueError likewise."""

def parse(data: bytes) -> Message:
    """Parse one datagram. Never raises for malformed input: look at `error`."""
