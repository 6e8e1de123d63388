from typing import final

from .._wheel import Timed, Wheel

@final
class Unacknowledged:
    """Calls whose 2xx has passed, and whose ACK has not. `patience`: ms until `told` hears of it by a timer of `kind`."""

    calls: dict[bytes, tuple[bytes, bytes]]
    def __init__(self, wheel: Wheel, told: Timed, kind: int, patience: int) -> None: ...

@final
class Recent:
    """The last calls that were added, between `least` and twice as many."""

    def __init__(self, least: int) -> None: ...
    def __len__(self) -> int: ...
    def add(self, call: bytes) -> None:
        """Note one."""
