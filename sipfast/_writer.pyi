"""Typed face of the compiled writer: responses, own requests, and forwarding as edits of the original."""

from collections.abc import Sequence

from ._flow import Flow
from ._parser import Message

def response(
    request: Message,
    status: int,
    flow: Flow,
    *,
    to_tag: bytes = b"",
    extra: Sequence[tuple[str, bytes]] = (),
    reason: str | None = None,
    body: bytes = b"",
) -> bytes:
    """A response to a request (RFC 3261 §8.2.6). `extra` header fields follow the copied ones."""

def request(
    method: str, uri: bytes, headers: Sequence[tuple[str, bytes]], body: bytes = b""
) -> bytes:
    """A request of our own; Content-Length is added. Raises ValueError for CR or LF in a value."""

def edited(message: Message, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The message with (start, end, text) replaced. Overlapping edits raise ValueError."""

def ack(invite: Message, final: Message) -> bytes: ...
def cancel(invite: Message) -> bytes: ...
def reason_phrase(status: int) -> str:
    """The standard phrase of RFC 3261 §21 and the extensions' registrations, or the phrase of its class."""
