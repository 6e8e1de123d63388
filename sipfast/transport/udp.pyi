"""Typed face of the compiled module `udp`: UDP sockets on a loop's reader, in batches."""

from socket import socket as Socket
from typing import final

from .._flow import Flow
from ..driver.driver import Driver, Transport

def interface_addresses() -> list[str]:
    """Addresses of the interfaces that are up, as text, without the IPv6 ones that hold on one link only."""

@final
class UdpTransport(Transport):
    """Bound, non-blocking UDP sockets that feed a driver.

    `batched` = False reads and sends one datagram per call, as is done where the platform has no such calls.
    A datagram longer than `max_datagram` bytes is dropped.
    """

    batched: bool
    def __new__(cls, driver: Driver, *, batched: bool = ..., max_datagram: int = 65535) -> UdpTransport: ...
    def __init__(self, driver: Driver, *, batched: bool = ..., max_datagram: int = 65535) -> None: ...
    def add(self, socket: Socket) -> int:
        """Take over a socket, before `start`. Returns its index, which is `Flow.local` of what comes by it."""
    def close(self) -> None:
        """Read no more, give up what waits to be sent, and close the sockets."""
    def send(self, data: bytes, flow: Flow) -> int:
        """Queue one message for the flow's socket. Leaves with 255 more, or at the next `flush`. Never raises."""
    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it; the rest when it does."""
    @property
    def pending(self) -> int:
        """Messages that wait to be sent."""
    def counters(self) -> dict[str, int]:
        """What came, went and was lost since the start."""
