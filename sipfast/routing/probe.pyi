"""Typed face of the compiled module `probe`; all of it is for C callers."""

from typing import final

from ..trust.proven import Proven
from .location import Location

@final
class Probe:
    """Asks phones that register, and have proven nothing, by one OPTIONS."""

    def __init__(self, secret: int, worker: int, sent_by: list[bytes], location: Location, proven: Proven) -> None:
        """`secret`: 128 bits, those of the transactions' branches."""
