"""Typed face of the compiled engine: bytes in, bytes out, no socket, no clock."""

from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import final

from .._flow import Receiver, Sink
from .._listener import Listener
from .._wheel import Wheel
from ..config import Config
from ..identity.users import Users
from ..observe.steps import Step
from ..redial.redial import Redial
from ..routing.location import Location
from ..store.repository import Store
from ..trust.limiter import Limiter

@final
class Engine(Receiver):
    """The core as a whole. `start`, then `receive` and `advance`, each batch closed by `commit`.

    `wheel` and `redial` are there from `start` on. `domains` are the domains served, `hosts` the addresses (IP
    literals) of the host names in the configuration. Of several workers on one store and one set of addresses, each has
    an engine: `bus(worker, frames)` takes what the others are to get in `told`; `resumed`: the worker that had this
    number has died, and the others went on. `randomness(n)` gives n random bytes. `outlet(steps)` takes what happens to
    watches, after its commit; `webhook(steps)` the last word of redial; `resolver(ticket, name)` asks
    for the addresses of a host, which come back in `resolved`. `users`: who has a password, and then nobody
    comes in without one; None: every From is believed. Each call before `start` raises
    RuntimeError.

    Nothing that a message, a timer or the store does leaves it as an exception: each is answered, counted and logged.
    """

    store: Store
    redial: Redial
    wheel: Wheel
    location: Location
    limiter: Limiter
    def __init__(
        self,
        config: Config,
        store: Store,
        sink: Sink,
        listeners: Sequence[Listener],
        *,
        domains: Sequence[str],
        hosts: Mapping[str, Sequence[str]] | None = None,
        worker: int = 0,
        workers: int = 1,
        bus: Callable[[int, list[bytes]], object] | None = None,
        resumed: bool = False,
        ringing: bytearray | mmap | None = None,
        proofs: bytearray | mmap | None = None,
        limits: bytearray | mmap | None = None,
        randomness: Callable[[int], bytes] = ...,
        outlet: Callable[[list[Step]], object] | None = None,
        webhook: Callable[[list[Step]], object] | None = None,
        resolver: Callable[[int, bytes], object] | None = None,
        users: Users | None = None,
    ) -> None: ...
    def start(self, now: int) -> None:
        """Load what the store holds; recalls that were in flight go on. Call `commit` afterwards."""
    def know(self, users: Users) -> None:
        """Take other users while running. RuntimeError: it began without any."""
    def configure(self, config: Config) -> None:
        """Take other settings while running: those of registrar, redial and timers, and what is logged.

        Domains, upstreams, peers, listeners and the store are those of the start.
        """
    def ending(self, now: int) -> None:
        """The process is about to end: write what lost batches had written. Call `commit` afterwards."""
    def close(self) -> None:
        """Drop all transactions and timers, telling nobody. The store stays open."""
    def counters(self) -> dict[str, int]:
        """What was counted since the start, by name."""
