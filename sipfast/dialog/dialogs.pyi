"""Typed face of the compiled module `dialogs`: the server's own dialogs, by Call-ID."""

from typing import final

from .._listener import Listener
from .._wheel import Wheel
from ..routing.location import Location
from ..store.repository import Store
from ..transaction.layer import TransactionLayer
from .leg import Ground, Leg

@final
class Dialogs(Ground):
    """All legs of one worker. All times are ms."""

    legs: dict[bytes, Leg]
    def __init__(
        self,
        store: Store,
        transactions: TransactionLayer,
        wheel: Wheel,
        listeners: tuple[Listener, ...],
        location: Location,
        seed: bytes,
        worker: int,
        workers: int,
    ) -> None: ...
    def expired(self, kind: int, payload: object, now: int) -> int:
        """A timer of ours ran out."""
    def counters(self) -> dict[str, int]:
        """What there is."""
