"""Typed face of the compiled module `driver`: the only caller of the engine."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence
from typing import final

from .._flow import Flow, Receiver, Sink
from ..errors import StoreError
from .clock import Clock

class Transport(Sink):
    """One kind of way to send and to be sent by: the compiled modules of `sipfast/transport/` are such."""

    driver: Driver
    def close(self) -> None:
        """Give up what waits to be sent, and close the sockets."""

class Tap:
    """Who watches messages come and go: subclass it, and set it as `Driver.tap`. It must not raise."""

    def came(self, data: bytes, flow: Flow, now: int) -> int:
        """A message has come, and is given to the engine now."""
    def left(self, data: bytes, flow: Flow, now: int) -> int:
        """A message is given to its transport now, after the commit."""

@final
class Driver(Sink):
    """Feeds an engine with what its transports, the bus and the clock bring, and is the sink for what the engine produces.

    `report(event, error)` is told of every exception that the engine raises and of reads that fail; nothing else comes of
    them. Transports are made with their driver, before `start`.
    """

    clock: Clock
    tap: Tap | None
    def __new__(cls, loop: AbstractEventLoop, clock: Clock, report: Callable[[str, Exception], object]) -> Driver: ...
    def start(self, engine: Receiver) -> None:
        """Have all transports read from now on, and `advance` once."""
    def stop(self) -> None:
        """Read no more, and let no more timers run. What waits to be sent is still sent."""
    def close(self) -> None:
        """Stop, and close all transports."""
    def send(self, data: bytes, flow: Flow) -> int:
        """Give one message to the flow's transport; it leaves with its batch. Never raises."""
    def told(self, frames: Iterable[bytes]) -> None:
        """Give the engine what other workers have sent, as one batch."""
    def resolved(self, ticket: int, addresses: Sequence[str]) -> None:
        """What a resolver has found for a name that the engine has asked for, the best address first."""
    def committed(self, batch: object) -> None:
        """The store has kept a batch that it was given (Tables.apply)."""
    def lost(self, batch: object, reason: StoreError) -> None:
        """It has not; with a StoreConflict not all of it."""
    def fetched(self, group: object) -> None:
        """What the messages of a group are about is at hand (Tables.fetch)."""
    def advance(self) -> None:
        """Let the engine's timers run that are due, commit, send, and set the loop's timer."""
    def counters(self) -> dict[str, int]:
        """What came and was put aside since the start."""
