"""Rounds of the sweep over all bindings, and who has gone since the round before."""

from __future__ import annotations


class Round:
    """When this round began, and the one before it: ms since the epoch."""

    def __init__(self) -> None:
        self._since = self._until = -1

    def begin(self, now: int) -> None:
        """The sweep is at the first AOR again."""
        self._since = now if self._until < 0 else self._until
        self._until = now

    def has_ended(self, last: int) -> bool:
        """Whether the AOR of a binding that is its last and runs out then has gone in this round: each has in one only."""
        return self._since < last <= self._until
