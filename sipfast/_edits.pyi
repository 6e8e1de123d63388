"""Typed face of the compiled module `_edits`: forwarding as edits of the original."""

from collections.abc import Iterable

from ._flow import Flow
from ._parser import Message

def edited(message: Message, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The message with (start, end, text) replaced; an insertion where start == end.

    Texts for the same place stand in the order given. Edits that would overlap become one that removes what either removes,
    with the texts of both. Raises ValueError for one that reaches beyond the message.
    """

def with_received(request: Message, flow: Flow) -> bytes:
    """The request with where it came from in its topmost Via (RFC 3261 §18.2.1, RFC 3581 §4)."""

def without_top_via(response: Message) -> bytes:
    """The response without its topmost Via value (RFC 3261 §16.7 step 3)."""

def without_first_route(message: Message) -> bytes:
    """The message without its topmost Route value (RFC 3261 §16.4)."""
