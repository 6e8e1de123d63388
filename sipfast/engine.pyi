"""Typed face of the compiled engine: bytes in, bytes out, no socket, no clock."""

from collections.abc import Mapping, Sequence

from ._flow import Receiver, Sink
from ._wheel import Wheel
from .config import Config, Listener
from .location import Location
from .redial import Redial
from .store.protocol import Store

class Engine(Receiver):
    """The core as a whole. `start`, then `receive` and `advance`, each batch closed by `commit`.

    `wheel` and `redial` are there from `start` on. `domains` are the domains served, `hosts` the addresses (IP
    literals) of the host names in the configuration.
    """

    store: Store
    redial: Redial
    wheel: Wheel
    location: Location
    def __init__(
        self,
        config: Config,
        store: Store,
        sink: Sink,
        listeners: Sequence[Listener],
        *,
        domains: Sequence[str],
        hosts: Mapping[str, str] | None = None,
    ) -> None: ...
    def start(self, now: int) -> None:
        """Load what the store holds; recalls that were in flight go on. Call `commit` afterwards."""
    def close(self) -> None:
        """Drop all transactions and timers, telling nobody. The store stays open."""
    def counters(self) -> dict[str, int]:
        """What was counted since the start, by name."""
