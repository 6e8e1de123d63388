"""Typed face of the compiled module `_flow`: flows and the sink that messages leave by."""

from collections.abc import Sequence
from typing import final

@final
class Flow:
    """The transport path of a message: transport, peer address, local listener and its own address; of a stream, connection.

    Immutable and hashable. `host` may be an IPv4 or IPv6 literal, without brackets; `scope` is the interface of a link-local
    one. `connection` is the number of a stream at its owner, `worker` of `node`, and `generation` tells those apart that
    have had this number.
    """

    transport: int
    family: int
    port: int
    local: int
    scope: int
    connection: int
    generation: int
    node: int
    worker: int
    def __init__(
        self,
        host: str | bytes,
        port: int,
        *,
        transport: str = "UDP",
        local: int = 0,
        scope: int = 0,
        connection: int = 0,
        generation: int = 0,
        node: int = 0,
        worker: int = 0,
    ) -> None: ...
    @property
    def host(self) -> str: ...
    @property
    def transport_name(self) -> str: ...
    def pack(self) -> bytes:
        """The flow as a few bytes for the store; `unpack` reverses it."""
    @staticmethod
    def unpack(packed: bytes) -> Flow:
        """Raises ValueError for anything that `pack` did not write."""
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

class Sink:
    """Where messages leave the core. Subclass it and override `send`."""

    def send(self, data: bytes, flow: Flow) -> int:
        """Take one message for a flow. Returns 0; raises only what must stop the caller."""

class Receiver:
    """What the driver feeds. All times are whole milliseconds since the epoch."""

    def receive(self, data: bytes, flow: Flow, now: int) -> int:
        """Take one datagram. What it brings about leaves at the next `commit`."""
    def receive_over(self, data: bytes, flow: Flow, now: int) -> int:
        """Take a message of a source that has sent its share: what belongs to a dialog is received all the same."""
    def failed(self, flow: Flow, data: bytes, now: int) -> int:
        """Take what could not be delivered by a flow (RFC 3261 §18.4), perhaps cut; to be followed by a `commit`.

        Not called from within any other method: what fails while a batch is sent is told afterwards. An error of ICMP can
        be forged, so nothing but what it quotes says whether it is true.
        """
    def closed(self, flow: Flow, now: int) -> int:
        """The connection of a stream is gone: what waits for it is answered as what could not be delivered."""
    def told(self, frame: bytes, now: int) -> int:
        """Take what another worker has given to its bus for this one; a batch of them is closed by `commit`."""
    def resolved(self, ticket: int, addresses: Sequence[str], now: int) -> int:
        """What a name leads to that was asked for by `ticket`, the best address first; to be followed by a `commit`."""
    def may_wait(self, data: bytes) -> bool:
        """Whether it may be received later than what came after it, when more comes than is handled; not by default."""
    def advance(self, now: int) -> int:
        """Let the timers run that are due."""
    def next_deadline(self) -> int:
        """A time before which `advance` has nothing to do; -1 where there is none."""
    def commit(self, now: int) -> int:
        """Commit the store, then hand everything produced since the last commit to the sink, in order.

        Where the store answers later, it is given the batch, and what was produced leaves with `committed` or `lost`.
        """
    def committed(self, batch: object, now: int) -> int:
        """The store has kept a batch that it was given (Tables.apply). To be followed by a `commit`."""
    def lost(self, batch: object, reason: Exception, now: int) -> int:
        """The store has not kept it, or with a StoreConflict not all of it. To be followed by a `commit`."""
    def fetched(self, group: object, now: int) -> int:
        """What the messages of a group are about is at hand (Tables.fetch). To be followed by a `commit`."""
