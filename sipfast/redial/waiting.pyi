from typing import final

from .._wheel import Timed, Wheel

@final
class Waiting:
    """The pairs whose watches are timed here, by callee and by caller."""

    timers: dict[tuple[bytes, bytes], int]
    def __init__(self, wheel: Wheel, told: Timed, kind: int) -> None: ...
    def remember(self, pair: tuple[bytes, bytes], when: int) -> None:
        """Note a pair (callee, caller), or give a known one another time."""

    def forget(self, pair: tuple[bytes, bytes]) -> None:
        """Forget a pair, known or not."""

    def callers(self, callee: bytes) -> list[bytes]:
        """Who waits for a callee."""

    def count(self, caller: bytes) -> int:
        """How many callees a caller waits for."""
