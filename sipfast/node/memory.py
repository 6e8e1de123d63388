"""Gives memory back to the machine once what a flood took is free: the C library would keep it for the next one."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from contextlib import suppress

ENOUGH = 16 << 20  # bytes of messages that were kept at a time: below, there is not much to give back
FELL = 8  # to which part of that, so that it is over
LOOKED_EVERY = 5.0  # seconds


class Trimmer:
    """Watches how much is kept, and trims once it has fallen. `trim()` takes a few ms for each hundred MB that are free."""

    def __init__(self, trim: Callable[[], object]) -> None:
        self._trim = trim
        self._most = 0

    def look(self, held: int) -> bool:
        """`held`: bytes that are kept now. Returns whether memory was given back."""
        self._most = max(self._most, held)
        if self._most < ENOUGH or held > self._most // FELL:
            return False
        self._most = held
        self._trim()
        return True


def trim() -> None:
    """Have glibc give back what is free (malloc_trim(3)); elsewhere nothing."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


async def keep_trimmed(held: Callable[[], int], ended: asyncio.Event) -> None:
    """Until the end, look every so often."""
    trimmer = Trimmer(trim)
    while not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), LOOKED_EVERY)
        trimmer.look(held())
