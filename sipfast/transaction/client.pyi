"""Typed face of the compiled client transactions (RFC 3261 §17.1)."""

from typing import Final, final

from .._parser import Message
from .transaction import Transaction

UNREACHABLE: Final[int]
"""What `on_failure` is told in the place of a status where the request could not be delivered; no status code."""

class ResponseHandler:
    """The transaction user of a request of ours: subclass it and override what matters. Every method returns 0."""

    def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
        """Each 1xx, the first final response, and every 2xx to an INVITE."""
    def on_failure(self, transaction: ClientTransaction, status: int, now: int) -> int:
        """No final response will come: 408 after a timeout, UNREACHABLE after a transport error."""
    def on_fault(self, now: int) -> int:
        """One of these has raised: end what was begun, and answer what is to be answered. The exception goes on up."""

@final
class ClientTransaction(Transaction):
    """Sends one request (RFC 3261 §17.1)."""

    handler: ResponseHandler | None
    provisional: int
    @property
    def request(self) -> Message | None:
        """The request as sent; None once its final response has been dealt with."""
    def cancel(self, now: int, why: bytes = b"") -> int:
        """CANCEL an INVITE (RFC 3261 §9.1): at once, or when a provisional response has come; `why`: Reason lines."""
