"""Typed face of the compiled module `proven`; all but this is for C callers."""

from ._flow import Flow

MOST_DATAGRAMS: int
MOST_TIMES: int

class Proven:
    """The addresses that have given back a secret of ours."""

    count: int
    def __init__(self, secret: int) -> None: ...
    def prove(self, flow: Flow, now: int) -> None:
        """It has."""
    def is_proven(self, flow: Flow, now: int) -> bool:
        """Whether it has, within the last two days."""
