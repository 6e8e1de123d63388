from .._wheel import Timed, Wheel

class Answers:
    """Calls whose 2xx has passed, and whose ACK has not. `patience`: ms until the owner's timer of `kind` says so."""

    calls: dict[bytes, tuple[bytes, bytes]]
    def __init__(self, wheel: Wheel, owner: Timed, kind: int, patience: int) -> None: ...

class Recent:
    """The last Call-IDs that were added, between `least` and twice as many."""

    def __init__(self, least: int) -> None: ...
    def __len__(self) -> int: ...
    def add(self, call_id: bytes) -> None:
        """Note one."""
