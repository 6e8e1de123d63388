"""Typed face of the compiled server transactions (RFC 3261 §17.2)."""

from typing import final

from .._parser import Message
from .client import ResponseHandler
from .transaction import Transaction

class Handler(ResponseHandler):
    """The transaction user of a request that came, and of those that it makes us send."""

    def on_cancel(self, transaction: ServerTransaction, cancel: Message, now: int) -> int:
        """A CANCEL came before a final response was given; it has been answered 200."""
    def on_gone(self, transaction: ServerTransaction, now: int) -> int:
        """The server transaction is over."""

@final
class ServerTransaction(Transaction):
    """Answers one request (RFC 3261 §17.2)."""

    handler: Handler | None
    request: Message | None
    @property
    def to_tag(self) -> bytes | None: ...
    def respond(self, response: bytes, status: int, now: int) -> int:
        """Send a response on; 1 where it was sent, 0 where the state machine does not allow it."""
    def retract(self, response: bytes, status: int, now: int) -> int:
        """The last final response never left: forget it and give this one instead."""
