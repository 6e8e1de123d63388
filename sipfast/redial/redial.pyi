"""Typed face of the compiled redial. Driven by the engine."""

from typing import final

from .. import config
from .talks import Talks

@final
class Redial:
    """Arms, claims, expires and cancels watches, and recalls callers."""

    talks: Talks
    def configure(self, settings: config.Redial) -> None:
        """Take other settings while running: all but whether redial is on, which is as at the start."""

    def counters(self) -> dict[str, int]:
        """Watches and recalls, counted since the start."""
