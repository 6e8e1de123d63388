"""Typed face of the compiled module `ringing`: INVITEs that were forwarded and may still ring, in memory that outlives the
process."""

from mmap import mmap
from typing import final

from .._flow import Flow
from .._parser import Message

@final
class Ringing:
    """Branches of INVITEs, in a bytearray or a mapped file that all workers share.

    `secret`: 64 bits. ValueError where the memory holds no set of places.
    """

    def __init__(self, secret: int, memory: bytearray | mmap) -> None: ...
    def add(self, invite: Message, number: int, branch: bytes, flow: Flow, until: int, now: int) -> None:
        """Take down the branch of this number of an INVITE as its caller sent it, of use until then (ms since the epoch)."""
    def of(self, message: Message, now: int) -> list[tuple[bytes, Flow]]:
        """The branches that are of use of the INVITE that this CANCEL, ACK or INVITE is of."""
