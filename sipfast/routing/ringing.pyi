"""Typed face of the compiled module `ringing`: INVITEs that were forwarded and may still ring, in memory that outlives the
process."""

from mmap import mmap
from typing import final

@final
class Ringing:
    """Branches of INVITEs, in a bytearray or a mapped file that all workers share.

    `secret`: 64 bits. ValueError where the memory holds no set of places.
    """

    def __init__(self, secret: int, memory: bytearray | mmap) -> None: ...
