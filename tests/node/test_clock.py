"""The time of the store: nothing that is done to the machine's clock moves it while the machine runs (node/clock.py).

The servers are real processes. libfaketime sets what the machine's clock says to them; a mount and a time namespace of
their own make a new boot: another boot id, and another time since the boot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from command import sipfast_command
from net.stores import MemoryStore
from peers.machine import Machine, may_boot
from peers.phones import Fleet, run
from peers.process import HERE, need, wait_until
from peers.server import Server

from sipfast.node import clock
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Anchor, Talk, Watch
from sipfast.store.repository import Store
from sipfast.store.tables import NAMES

HOUR, DAY = 3_600_000, 86_400_000
DOMAIN = "clock.example"


# What the anchor is


KNOWN = Anchor("this-boot", 1_000_000, 1_500_000)
ANCHORS = {  # stored, boot, since the boot, the machine's clock -> zero
    "the first server here": (None, "this-boot", 600, 2_000_000, 1_999_400),
    "the same boot": (KNOWN, "this-boot", 600_000, 1_600_000, 1_000_000),
    "the same boot, the clock was set forward": (KNOWN, "this-boot", 600_000, 9_000_000, 1_000_000),
    "the same boot, the clock was set back": (KNOWN, "this-boot", 600_000, 5, 1_000_000),
    "a new boot, later": (KNOWN, "another", 600, 2_000_000, 1_999_400),
    "a new boot, the clock fell back": (KNOWN, "another", 600, 5, 1_499_400),
    "no boot id": (KNOWN, "", 600, 2_000_000, 1_999_400),
    "time since the boot went back": (KNOWN, "this-boot", 600, 5, 1_499_400),
}


@pytest.mark.parametrize("case", ANCHORS.values(), ids=ANCHORS)
def test_the_anchor(case: tuple[Anchor | None, str, int, int, int]) -> None:
    stored, boot, passed, machine, zero = case
    assert clock.anchored(stored, boot, passed, machine).zero == zero


def test_what_the_server_keeps_is_the_time_of_the_next_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    own = clock.begin(store)
    clock.keep(store, own)
    assert store.anchor().latest == pytest.approx(time.time() * 1000, abs=2000)
    monkeypatch.setattr(clock, "boot_id", lambda: "another")
    monkeypatch.setattr(clock, "machine_time", lambda: 5)
    monkeypatch.setattr(clock, "since_boot", lambda: 1000)
    assert clock.look(store).zero + 1000 == store.anchor().latest


def test_an_anchor_that_cannot_be_read_costs_no_start(tmp_path: Path) -> None:
    store = Store(LmdbTables(tmp_path))
    store.tables.put(NAMES.index("meta"), b"clock", b"\xff")
    store.commit()
    assert clock.begin(store).now() == pytest.approx(time.time() * 1000, abs=2000)
    assert store.anchor() is not None
    store.close()


# Real servers


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    need("faketime")
    return Machine(tmp_path)


class Town:
    """A server on a machine, with alice who waits for bob, and carol, whose phone only registers."""

    def __init__(self, machine: Machine, workers: int):
        self.machine, self.workers, self.number = machine, workers, 0
        self.data = machine.folder / "data"
        self.port = HERE.free_port()
        self.server = self.serve()
        self.phones = Fleet("p", 3, self.port, DOMAIN)
        self.alice, self.bob, self.carol = self.phones

    def serve(self) -> Server:
        self.number += 1
        return Server(
            self.machine.folder, self.number, port=self.port, domain=DOMAIN, data=self.data, upstream=None,
            config="", workers=self.workers, at=self.machine,
        ).ready()  # fmt: skip

    def run(self, until: Callable[[], bool], what: str, seconds: float = 10) -> None:
        run([self.phones], until, seconds, f"{what}\n{self.server.story()}")

    def arm(self) -> None:
        self.alice.register()
        self.carol.register()
        call = self.alice.call("p1", expires=3600)
        self.run(lambda: call.over and self.alice.registered and self.carol.registered, "armed")
        assert call.final.status == 480 and "m=NL" in call.final.first("call-info")

    def all_is_there(self) -> None:
        (watch,) = self.machine.says("watches", self.data)
        bindings = self.machine.says("bindings", self.data)
        assert len(bindings) == 2, bindings
        assert 3500 <= int(str(watch["remaining"])) <= 3600

    def recall(self) -> None:
        self.bob.register()
        self.run(lambda: bool(self.alice.refers) and any(call.was_answered for call in self.alice.calls), "recalled")


@pytest.fixture
def town(machine: Machine) -> Iterator[Callable[[int], Town]]:
    made: list[Town] = []

    def make(workers: int) -> Town:
        made.append(Town(machine, workers))
        return made[0]

    yield make
    for each in made:
        each.server.stop()
        each.phones.close()


STEPS = {"13 days back": -13 * DAY, "3 hours back": -3 * HOUR, "3 hours on": 3 * HOUR, "400 days on": 400 * DAY}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_of_the_clock_costs_nobody_anything(
    town: Callable[[int], Town], machine: Machine, workers: int, step: int
) -> None:
    it = town(workers)
    it.arm()
    machine.set(step)
    it.all_is_there()
    if workers > 1:  # each of them, as after a crash
        for number, child in enumerate(Path(f"/proc/{it.server.pid}/task/{it.server.pid}/children").read_text().split(), 1):
            os.kill(int(child), 9)
            it.server.until(lambda n=number: it.server.log.read_text().count("event=worker-started") >= n, 10, "one again")
    else:
        it.server.kill()
        it.server = it.serve()
    time.sleep(0.5)  # two sweeps
    it.all_is_there()
    shown = time.time() * 1000 + step + 3600_000
    expires = datetime.fromisoformat(str(machine.says("watches", it.data)[0]["expires_at"])).timestamp()
    assert expires * 1000 == pytest.approx(shown, abs=120_000), "people are shown the machine's time"
    it.server.stop()
    it.server = it.serve()
    it.all_is_there()
    it.recall()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ahead", [-13 * DAY, -20_000 * DAY, 0], ids=["13 days back", "1970 and before", "right"])
def test_a_new_boot_takes_the_later_of_the_two(
    town: Callable[[int], Town], machine: Machine, workers: int, ahead: int
) -> None:
    if not may_boot():
        pytest.skip("a new boot takes root and time namespaces")
    it = town(workers)
    it.arm()
    it.server.stop()
    machine.boot()
    machine.set(ahead)
    it.server = it.serve()
    time.sleep(0.5)
    it.all_is_there()
    machine.set(0)  # NTP
    it.server.kill()
    it.server = it.serve()
    it.all_is_there()
    it.recall()


def test_a_new_boot_after_a_day_ends_what_ran_out(town: Callable[[int], Town], machine: Machine) -> None:
    if not may_boot():
        pytest.skip("a new boot takes root and time namespaces")
    it = town(1)
    it.arm()
    it.server.stop()
    machine.boot()
    machine.set(DAY)
    assert machine.says("watches", it.data) == [], "before a server has seen this boot, too"
    it.server = it.serve()
    assert machine.says("watches", it.data) == []
    wait_until(lambda: machine.says("bindings", it.data) == [], 5, "the bindings are gone")


@pytest.mark.parametrize("workers", [1, 2])
def test_times_farther_away_than_a_timer_keep_no_server_from_starting(tmp_path: Path, workers: int) -> None:
    """Of a store that an earlier version has left, or one that a clock in the future has written."""
    now = time.time_ns() // 1_000_000
    store = Store(LmdbTables(tmp_path / "data"))
    far = now + 500 * DAY
    store.put_watch(Watch(b"sip:b@x", b"sip:a@x", now, far, b"c", b"sip:a@192.0.2.1", not_before=far))
    store.put_talk(Talk(b"sip:c@x", b"sip:a@x", b"t", far))
    store.commit()
    store.close()
    server = Server(
        tmp_path, 1, port=HERE.free_port(), domain="x", data=tmp_path / "data", upstream=None, config="", workers=workers
    )
    try:
        server.ready()
        assert "critical" not in server.log.read_text()
    finally:
        server.stop()
    assert "b@x" in sipfast_command("watches", "--data", tmp_path / "data").stdout
