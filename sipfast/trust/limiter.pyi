"""Typed face of the compiled module `limiter`; all but this is for C callers."""

from collections.abc import Iterable
from mmap import mmap
from typing import final

from .._flow import Flow
from ..config import Rates
from .peers import Peers
from .proven import Proven

@final
class Limiter:
    """Token buckets of sources and registered flows, in a bytearray or a mapped file that all workers share.

    `secret`: 64 bits. `memory` is of this process alone where none is given; ValueError where it holds no set of places.
    `peers` are exempt; without `proven` every registered flow counts as proven. Times are ms since the epoch.
    """

    told: int
    refused: int
    refused_new: int
    refused_aors: int
    dropped_banned: int
    bans_made: int
    def __init__(
        self,
        rates: Rates,
        secret: int,
        memory: bytearray | mmap | None = None,
        peers: Peers | None = None,
        proven: Proven | None = None,
    ) -> None: ...
    def configure(self, rates: Rates, workers: int) -> None:
        """Take other rates. `workers`: how many processes share what all strangers may do."""
    def exempt(self, flows: Iterable[Flow]) -> None:
        """Our own addresses, of which 16 count: calls of the server's own come by its front door."""
    def take_news(self) -> list[tuple[str, bool]]:
        """What people are to be told since the last time: address or network, and whether it was banned."""
    def bans(self, now: int) -> list[tuple[str, int]]:
        """Who is banned, and until when (ms), the first to end first."""
    def ban_address(self, address: str, until: int, now: int) -> bool:
        """Ban an address, of IPv6 its /64. False: phones live there, or it is a peer. ValueError: no IP address."""
    def unban_address(self, address: str) -> bool:
        """End a ban. False: there was none. ValueError: no IP address."""
    def counters(self) -> dict[str, int]:
        """What was counted since the start, by name."""
    def admits(self, data: bytes, flow: Flow, now: int) -> int:
        """What becomes of a message: 0 admitted, 1 dropped, 2 over: looked at, since a dialog may go on by it."""
    def note_registered(self, flow: Flow, now: int) -> None:
        """A phone has registered by this flow."""
    def note_authenticated(self, flow: Flow, now: int) -> None:
        """Who sends by this flow has shown a password."""
    def may_bind_one(self, flow: Flow, now: int) -> bool:
        """Whether one more AOR may be bound from this address; it counts as bound."""
