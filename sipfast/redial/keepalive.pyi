"""Typed face of the compiled module `keepalive`: whether callees are where they were. For compiled modules only."""

from typing import final

from .._wheel import Timed

@final
class KeepAlive(Timed):
    def expired(self, kind: int, payload: object, now: int) -> int:
        """A tick."""
