"""Rounds of the sweep over all bindings, and who has gone since the round before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .records import Binding


class Round:
    """When this round began, and the one before it: ms since the epoch."""

    def __init__(self) -> None:
        self._since = self._until = -1

    def begin(self, now: int) -> None:
        """The sweep is at the first AOR again."""
        self._since = now if self._until < 0 else self._until
        self._until = now

    def ended(self, found: Iterable[tuple[bytes, Sequence[Binding]]]) -> list[bytes]:
        """The AORs of these whose last binding has run out between the two beginnings: each is so in one round only."""
        return [
            aor for aor, bindings in found
            if bindings and self._since < max(binding.expires for binding in bindings) <= self._until
        ]  # fmt: skip
