"""Typed face of the compiled module `udp`: UDP sockets on a loop's reader, in batches, and the clock."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from socket import socket as Socket
from typing import final

from .._flow import Flow, Receiver, Sink

def interface_addresses() -> list[str]:
    """Addresses of the interfaces that are up, as text, without the IPv6 ones that hold on one link only."""

@final
class Clock:
    """Whole milliseconds since the epoch: the time since the machine's boot, added to `zero`. Never goes back.

    Without a `zero` it agrees with the machine's clock at the moment of making it.
    """

    zero: int
    def __new__(cls, zero: int | None = ...) -> Clock: ...
    def now(self) -> int: ...

@final
class UdpTransport(Sink):
    """Bound, non-blocking UDP sockets that feed one receiver, and the sink for what that produces.

    `report(event, error)` is told of every exception that the receiver raises and of reads that fail; nothing else
    comes of them. `batched` = False reads and sends one datagram per call, as is done where the platform has no such calls.
    A datagram longer than `max_datagram` bytes is dropped.
    """

    clock: Clock
    batched: bool
    def __new__(
        cls,
        loop: AbstractEventLoop,
        clock: Clock,
        report: Callable[[str, Exception], object],
        *,
        batched: bool = ...,
        max_datagram: int = 65535,
    ) -> UdpTransport: ...
    def add(self, socket: Socket) -> int:
        """Take over a socket, before `start`. Returns its index, which is `Flow.local` of what comes by it."""
    def start(self, receiver: Receiver) -> None:
        """Read from now on, after one `advance`."""
    def stop(self) -> None:
        """Read no more, and let no more timers run. What waits to be sent is still sent."""
    def close(self) -> None:
        """Stop, give up what waits to be sent, and close the sockets."""
    def send(self, data: bytes, flow: Flow) -> int:
        """Queue one message for the flow's socket. Leaves with 255 more, or at the next `flush`. Never raises."""
    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it; the rest when it does."""
    def advance(self) -> None:
        """Let the receiver's timers run that are due, commit, send, and set the loop's timer."""
    @property
    def pending(self) -> int:
        """Messages that wait to be sent."""
    def counters(self) -> dict[str, int]:
        """What came, went and was lost since the start."""
