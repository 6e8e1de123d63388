"""Typed face of the compiled module `machines`: the state machines of RFC 3261 §17 as tables."""

from typing import Final

Row = tuple[str, str, str, str]
"""State, event, next state, actions. An empty state: how the machine starts."""

STATES: Final[tuple[str, ...]]
INVITE_CLIENT: Final[tuple[Row, ...]]
CLIENT: Final[tuple[Row, ...]]
INVITE_SERVER: Final[tuple[Row, ...]]
SERVER: Final[tuple[Row, ...]]

def durations(t1: int, t2: int, t4: int) -> dict[str, tuple[int, int]]:
    """Timer: ms on unreliable and on reliable flows, -1 where it is not started (RFC 3261 §17 table 4)."""
