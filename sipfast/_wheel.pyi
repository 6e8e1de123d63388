"""Typed face of the compiled timer wheel. All times are whole milliseconds since the epoch."""

from typing import final

class Timed:
    """Whoever owns timers: subclass it and override `expired`."""

    def expired(self, kind: int, payload: object, now: int) -> int:
        """Called once for each timer that ran out. `kind` and `payload` are what `schedule` was given."""

@final
class Wheel:
    """Schedule, cancel, advance and deadline, each O(1)."""

    now: int
    count: int
    def __new__(cls, now: int) -> Wheel: ...
    def schedule(self, when: int, owner: Timed, kind: int = 0, payload: object = None) -> int:
        """Returns a handle, never 0. Raises ValueError for a time more than 12 days away."""
    def cancel(self, handle: int) -> bool:
        """False where the timer has fired, was cancelled before, or never was."""
    def advance(self, now: int) -> int:
        """Fire all that is due, in order of time; returns how many.

        Time never goes back: an earlier `now` does nothing, nor does a call from within `expired`.
        What `expired` raises comes out of here; what else was due fires at the next advance.
        """
    def deadline(self) -> int:
        """A time before which nothing fires; -1 without timers. May be early, never late."""
    def clear(self) -> None:
        """Drop every timer unfired, with its references to owner and payload."""
