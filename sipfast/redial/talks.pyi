from typing import final

from .._listener import Listener
from .._parser import Message
from .._wheel import Timed
from ..routing.location import Location
from ..transaction.client import ClientTransaction
from ..transaction.layer import TransactionLayer
from ..transaction.server import Handler
from .unacknowledged import Recent

EARLY_ENDS: int

@final
class Question(Handler):
    """Whether a talk goes on, asked of all phones of its caller: no, once each has said that it knows no such dialog."""

    def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
        """What a phone says to it."""

@final
class Talks(Timed):
    """Talks that keep other callers waiting. All times are ms."""

    ended: Recent
    def __init__(
        self,
        owner: object,
        notices: object,
        location: Location,
        transactions: TransactionLayer,
        listeners: tuple[Listener, ...],
    ) -> None: ...
    def end(self, call: bytes, now: int) -> int:
        """A call is over. If a recall brought it about, the callee's next watch is due."""
    def expired(self, kind: int, payload: object, now: int) -> int:
        """A timer of ours ran out."""
