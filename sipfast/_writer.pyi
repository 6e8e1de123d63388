"""Typed face of the compiled writer: responses and requests of our own."""

from collections.abc import Iterable

from ._flow import Flow
from ._parser import Message

def response(
    request: Message,
    status: int,
    flow: Flow,
    *,
    to_tag: bytes = b"",
    extra: Iterable[tuple[str, bytes]] = (),
    reason: str | None = None,
    body: bytes = b"",
) -> bytes:
    """A response to a request (RFC 3261 §8.2.6), also to a malformed one, as far as that can be read.

    `extra` header fields follow the copied ones; Content-Length is added. Raises ValueError for a status that is none,
    for a name or tag that is no token, and for CR or LF in a value or the reason.
    """

def request(method: str, uri: bytes, headers: Iterable[tuple[str, bytes]], body: bytes = b"") -> bytes:
    """A request of our own; Content-Length is added.

    Raises ValueError for a method or name that is no token and for CR or LF in a value or the URI.
    """

def ack(invite: Message, final: Message) -> bytes:
    """The ACK for a non-2xx final response to our INVITE (RFC 3261 §17.1.1.3). Raises ValueError for another request."""

def cancel(invite: Message, *, extra: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """The CANCEL for our INVITE (RFC 3261 §9.1), with more headers: a Reason. Raises ValueError for another request."""

def tag_of(request: Message, secret: int) -> bytes:
    """The To tag of a stateless answer (RFC 3261 §8.2.7): 16 hex digits, the same for a retransmission."""

def reason_phrase(status: int) -> str:
    """The standard phrase (RFC 3261 §21 and IANA's registry), or the name of its class (§7.2).

    Raises ValueError for what is no status code.
    """
