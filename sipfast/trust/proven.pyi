"""Typed face of the compiled module `proven`; all but this is for C callers."""

from mmap import mmap
from typing import final

from .._flow import Flow
from .peers import Peers

@final
class Proven:
    """The addresses that have given back a secret of ours, in a bytearray or a mapped file that all workers share.

    `secret`: 64 bits. `memory` is of this process alone where none is given; ValueError where it holds no set of places.
    `peers` need to prove nothing.
    """

    count: int
    def __init__(self, secret: int, memory: bytearray | mmap | None = None, peers: Peers | None = None) -> None: ...
    def prove(self, flow: Flow, now: int) -> None:
        """It has."""
    def is_proven(self, flow: Flow, now: int) -> bool:
        """Whether it has, within the last two days."""
    def is_to_be_asked(self, flow: Flow, now: int) -> bool:
        """Whether it has not, and was not asked of late; then it is now."""
