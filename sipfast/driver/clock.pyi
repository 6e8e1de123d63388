"""Typed face of the compiled module `clock`."""

from typing import final

@final
class Clock:
    """Whole milliseconds since the epoch: the time since the machine's boot, added to `zero`. Never goes back.

    Without a `zero` it agrees with the machine's clock at the moment of making it.
    """

    zero: int
    def __new__(cls, zero: int | None = ...) -> Clock: ...
    def now(self) -> int: ...
