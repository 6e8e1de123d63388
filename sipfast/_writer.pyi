"""Typed face of the compiled writer: responses, own requests, and forwarding as edits of the original."""

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

def edited(message: Message, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The message with (start, end, text) replaced; an insertion where start == end.

    Texts for the same place stand in the order given. Edits that would overlap become one that removes what either removes,
    with the texts of both. Raises ValueError for one that reaches beyond the message.
    """

def ack(invite: Message, final: Message) -> bytes:
    """The ACK for a non-2xx final response to our INVITE (RFC 3261 §17.1.1.3). Raises ValueError for another request."""

def cancel(invite: Message, *, extra: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """The CANCEL for our INVITE (RFC 3261 §9.1), with more headers: a Reason. Raises ValueError for another request."""

def with_received(request: Message, flow: Flow) -> bytes:
    """The request with where it came from in its topmost Via (RFC 3261 §18.2.1, RFC 3581 §4)."""

def without_top_via(response: Message) -> bytes:
    """The response without its topmost Via value (RFC 3261 §16.7 step 3)."""

def without_first_route(message: Message) -> bytes:
    """The message without its topmost Route value (RFC 3261 §16.4)."""

def tag_of(request: Message, secret: int) -> bytes:
    """The To tag of a stateless answer (RFC 3261 §8.2.7): 16 hex digits, the same for a retransmission."""

def reason_phrase(status: int) -> str:
    """The standard phrase (RFC 3261 §21 and IANA's registry), or the name of its class (§7.2).

    Raises ValueError for what is no status code.
    """
