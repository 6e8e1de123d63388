"""The driver: what transports, the bus and the clock bring makes batches, each ended by a commit; a tap sees it all."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop

from sipfast._flow import Flow, Receiver
from sipfast.driver.clock import Clock
from sipfast.driver.driver import Driver, Tap
from sipfast.errors import StoreUnavailable
from sipfast.transport.udp import UdpTransport


class Core(Receiver):  # type: ignore[misc]
    """Stands where the engine does: it writes down its calls, and sends everything back at the commit."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.calls: list[tuple[str, bytes]] = []
        self.waiting: list[tuple[bytes, Flow]] = []
        self.times: set[int] = set()

    def receive(self, data: bytes, flow: Flow, now: int) -> int:
        self.times.add(now)
        self.calls.append(("receive", data))
        self.waiting.append((data, flow))
        return 0

    def told(self, frame: bytes, now: int) -> int:
        self.calls.append(("told", frame))
        if frame == b"bad":
            raise ValueError("bad")
        return 0

    def advance(self, now: int) -> int:
        self.calls.append(("advance", b""))
        return 0

    def commit(self, now: int) -> int:
        self.calls.append(("commit", b""))
        for data, flow in self.waiting:
            self.driver.send(data, flow)
        self.waiting.clear()
        return 0

    def committed(self, batch: object, now: int) -> int:
        self.calls.append(("committed", bytes(str(batch), "ascii")))
        return 0

    def lost(self, batch: object, reason: Exception, now: int) -> int:
        self.calls.append(("lost", bytes(f"{batch}: {reason}", "ascii")))
        if batch == "bad":
            raise ValueError("bad")
        return 0

    def fetched(self, group: object, now: int) -> int:
        self.calls.append(("fetched", bytes(str(group), "ascii")))
        return 0


class Bench:
    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.reports: list[tuple[str, str]] = []
        self.driver = Driver(self.loop, Clock(), lambda event, error: self.reports.append((event, str(error))))
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.server.setblocking(False)
        UdpTransport(self.driver).add(self.server)
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect(self.server.getsockname())
        self.client.settimeout(10)
        self.core = Core(self.driver)
        self.driver.start(self.core)
        self.core.calls.clear()

    def turn(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 10

        async def wait() -> None:
            while not until():
                assert time.monotonic() < end, "nothing came of it"
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.driver.close()
    made.client.close()
    made.loop.close()


class Watcher(Tap):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, str, int]] = []
        self.times: list[int] = []

    def came(self, data: bytes, flow: Flow, now: int) -> int:
        self.seen.append(("came", data, flow.host, flow.port))
        self.times.append(now)
        return 0

    def left(self, data: bytes, flow: Flow, now: int) -> int:
        self.seen.append(("left", data, flow.host, flow.port))
        self.times.append(now)
        return 0


def test_a_tap_sees_each_message_that_comes_and_each_that_leaves(bench: Bench) -> None:
    bench.driver.tap = watcher = Watcher()
    for data in (b"one", b"two"):
        bench.client.send(data)
    bench.turn(lambda: len(watcher.seen) == 4)
    place = bench.client.getsockname()
    assert watcher.seen == [(what, data, *place) for what in ("came", "left") for data in (b"one", b"two")]
    assert set(watcher.times) == bench.core.times, "all of a batch has one time"
    assert [bench.client.recv(10) for _ in range(2)] == [b"one", b"two"]
    bench.driver.tap = None
    bench.client.send(b"unseen")
    assert bench.turn(lambda: ("receive", b"unseen") in bench.core.calls) is None
    assert len(watcher.seen) == 4


def test_what_the_bus_brings_is_a_batch_of_its_own(bench: Bench) -> None:
    """The bus commits through the driver like everybody else. One frame's fault is one frame's loss."""
    bench.driver.told([b"one", b"bad", b"two"])
    assert bench.core.calls == [
        ("told", b"one"), ("told", b"bad"), ("told", b"two"), ("advance", b""), ("commit", b""),
    ]  # fmt: skip
    assert bench.reports == [("told-failed", "bad")]
    assert bench.driver.counters()["driver_failures"] == 1


def test_each_answer_of_a_store_is_a_batch_of_its_own(bench: Bench) -> None:
    bench.driver.committed("one")
    bench.driver.lost("two", StoreUnavailable("full"))
    bench.driver.fetched("three")
    bench.driver.lost("bad", StoreUnavailable("full"))
    told = [("committed", b"one"), ("lost", b"two: full"), ("fetched", b"three"), ("lost", b"bad: full")]
    assert bench.core.calls == [call for each in told for call in (each, ("commit", b""))]
    assert bench.reports == [("lost-failed", "bad")]


def test_a_message_to_a_transport_that_there_is_none_of_is_counted(bench: Bench) -> None:
    bench.driver.tap = watcher = Watcher()
    bench.driver.send(b"x", Flow("127.0.0.1", 5060, transport="TCP"))
    assert bench.driver.counters()["unroutable"] == 1
    assert watcher.seen == []


def test_nothing_is_given_to_the_engine_once_it_is_stopped(bench: Bench) -> None:
    bench.driver.stop()
    bench.client.send(b"late")
    bench.loop.call_later(0.05, bench.loop.stop)
    bench.loop.run_forever()
    assert bench.core.calls == []
