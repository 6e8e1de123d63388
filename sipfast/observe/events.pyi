"""Typed face of the compiled events: the log lines that people are told of changes by."""

from collections.abc import Callable
from typing import final

from .._wheel import Timed, Wheel
from .steps import Step

@final
class Events(Timed):
    """Tells the logger `sipfast.events` of what happens, a bounded number of lines a second of each kind."""

    waiting: list[tuple[str, dict[str, object]]]
    telling: bool
    knocking: bool
    def __init__(
        self,
        wheel: Wheel,
        outlet: Callable[[list[Step]], object] | None = None,
        webhook: Callable[[list[Step]], object] | None = None,
    ) -> None: ...
    def expired(self, kind: int, payload: object, now: int) -> int:
        """Say how many lines were left out."""
