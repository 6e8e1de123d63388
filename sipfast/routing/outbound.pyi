"""Typed face of the compiled module `outbound`: its methods are for compiled modules."""

from typing import final

from ..store.records import Move
from ..transaction.transaction import Guide
from .token import Tokens

@final
class Outbound(Guide):
    """Writes our Path and Record-Route values, and follows their tokens to where a phone is now (RFC 5626 §5)."""

    tokens: Tokens
    def __init__(self, tokens: Tokens, sent_by: list[bytes]) -> None: ...
    def moved(self, move: Move) -> int:
        """From now on what was reached by one flow is reached by another, for one AOR and until the move's end."""
    def expire(self, now: int) -> list[Move]:
        """Give up moves that have ended by `now` (ms since the epoch); those that the store may forget."""
