"""Typed face of the compiled module `failures`; all but this is for C callers."""

from typing import final

from .._flow import Flow

@final
class Failures:
    """Logins that failed of late, by source. `secret`: 64 bits."""

    def __init__(self, secret: int) -> None: ...
    def note(self, flow: Flow, user: bytes, now: int) -> None:
        """A login of a user has failed."""
    def pause(self, flow: Flow, user: bytes, now: int) -> int:
        """How long (ms) the source has to wait until it may try this user; 0: not at all."""
    def often(self, flow: Flow, most: int, now: int) -> bool:
        """One more login was refused: whether that were `most` in a minute."""
