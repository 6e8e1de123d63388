"""Random schedules: the redial completes exactly once under loss, reordering, duplicates and a restart at any message.

What "exactly once" means here, for a caller who was told that redial is on:

- the callee's phone is in exactly one recalled call with that caller that both sides agree was answered (its ACK came),
  and the watch is gone from the store at the end: nobody is forgotten, and nobody is called twice;
- a callee who is told to talk to one caller at a time (serial order) never has two recalled calls at once.

Where the server crashes, a call may come to nothing after the callee has picked up but before the caller has heard of
it. Then a second attempt is right, and what counts is the confirmed call. A crash may also hide from the server that a
call was answered while both phones know: the attempt that follows is one too many for the phones, yet the watch may not
be dropped before the answer is known to have left. So with crashes: at least one confirmed call, at most one more than
there were crashes (hardly ever more than one), never two at once with the same caller, and the watch is gone.

What no server can know is outside: a caller's last copy of its INVITE that arrives when the caller has given up.

A failing seed prints the ladder of its messages and how to play it again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from net.network import Crash, Line, replay, seeds
from net.phone import Call, Phone
from net.scene import Scene
from net.sipwire import literal
from net.stores import FlakyStore, count_watches
from net.upstream import Upstream

from sipfast.config import Config, Redial
from sipfast.config import Upstream as Behind
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store

CLEAN = Line()
# No later than T1: the last copy of an INVITE leaves T1 before timer B ends, and a server that gets it after that
# connects a callee with somebody who has given up, which no server can know.
ROUGH = Line(latency=(1, 40), loss=0.12, reorder=0.1, late=400, duplicate=0.1)
BEHIND = ("10.0.5.1", 5060)
KINDS = ("before", "uncommitted", "output")


@dataclass
class Play:
    """One run: callers who arm, a callee who comes back."""

    seed: int
    line: Line = CLEAN
    callers: int = 1
    order: str = "serial"
    behind: bool = False
    crashes: Sequence[Crash] = ()
    store: Any = None
    reopen: Any = None
    expires: int = 3600  # of the callee's registration
    rebindings: int = 0  # how often the NAT of one of the phones forgets it; a moment later it registers again

    def run(self) -> Scene:
        # A crash can leave a caller's phone in a dead call, which it gives up after its patience and 64*T1 more: until
        # then it refuses to be asked again. The attempts last for that.
        redial = Redial(order=self.order, retry_pause=10.0, attempts=24)  # type: ignore[arg-type]
        upstream = (Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),) if self.behind else ()
        config = Config(redial=redial, upstream=upstream)
        self.scene = Scene(
            config, seed=self.seed, line=self.line, store=self.store, reopen=self.reopen, crashes=self.crashes
        )
        network = self.scene.network
        if self.behind:
            network.add(Upstream("upstream", BEHIND))
        self.phones = [
            self.scene.phone(f"caller{i}", register=False, talk_time=4_000, patience=40_000) for i in range(self.callers)
        ]
        self.bob = self.scene.phone("bob", register=False, lines=5, ring_time=1_000)
        if self.rebindings:
            self.bob.talk_time = 20_000  # a BYE to a phone whose NAT has just forgotten it is lost: then it hangs up itself
        self.told: dict[Phone, Call] = {}
        for phone in self.phones:
            phone.register()
        network.wait(lambda: all(phone.registered for phone in self.phones), 300_000, "the callers to register")
        for phone in self.phones:
            self.arm(phone)
        for _ in range(self.rebindings):
            network.after(network.random.randint(0, 15_000), self.rebind, network.random.choice([*self.phones, self.bob]))
        network.run(network.random.randint(0, 5_000))
        self.bob.register(self.expires)
        network.wait(self.settled, 900_000, "every watch to end")
        network.run(70_000)  # what is left of transactions and calls
        return self.scene

    def arm(self, phone: Phone) -> None:
        """Call until told that redial is on: a crash may have eaten the first attempt."""
        for _ in range(20):
            call = phone.call("bob", 3600)
            self.scene.network.wait(lambda call=call: call.over, 300_000, "the first call to end")
            if call.final is not None and call.final.lines("call-info"):
                self.told[phone] = call
                return
        raise AssertionError("never told that redial is on")

    def rebind(self, phone: Phone) -> None:
        network = self.scene.network
        network.home(phone).rebind()
        if phone.registered:
            network.have(phone, network.random.randint(0, 3_000), phone.register, self.expires)

    def settled(self) -> bool:
        if self.scene.server.engine is None or count_watches(self.scene.store):
            return False
        return all(call.over for phone in (*self.phones, self.bob) for call in phone.calls)

    def answered(self, phone: Phone) -> list[Call]:
        """Bob's confirmed calls that came of a recall of this phone."""
        recalled = {call.call_id for call in phone.calls if call.recalled and call.was_answered}
        return [call for call in self.bob.calls if call.was_answered and call.call_id in recalled]

    def check(self) -> None:
        spare = self.scene.server.restarts
        assert set(self.told) == set(self.phones)
        for phone in self.phones:
            calls = self.answered(phone)
            assert 1 <= len(calls) <= 1 + spare, f"{phone.name} was connected {len(calls)} times"
            assert_apart(calls, "with the same caller")
        if self.order == "serial" and not spare:
            assert_apart([call for call in self.bob.calls if call.was_answered], "in serial order")
        assert count_watches(self.scene.store) == 0
        assert not list(self.scene.store.each_talk())
        for phone in (*self.phones, self.bob):
            assert {method for *_, method in (*phone.clients, *phone.servers)} <= {"REGISTER"}


def assert_apart(calls: list[Call], what: str) -> None:
    ordered = sorted(calls, key=lambda call: call.answered_at)
    for earlier, later in pairwise(ordered):
        assert earlier.ended_at <= later.answered_at, f"two calls at once {what}"


def play(seed: int, **more: Any) -> Play:
    one = Play(seed, **more)
    try:
        one.run()
        one.check()
    except Exception as error:
        raise AssertionError(replay(seed, one.scene.network, error)) from error
    return one


@pytest.mark.parametrize("scenario", [{"line": ROUGH, "callers": 3}, {"line": ROUGH, "behind": True}])
def test_a_seed_repeats_a_run_to_the_byte(scenario: dict[str, Any]) -> None:
    """So that a run that failed can be looked at: nothing of it comes from the machine's dice or clock."""
    one, other = (play(7, **scenario).scene.network.trace for _ in range(2))
    assert len(one) > 50
    assert one == other
    assert one != play(8, **scenario).scene.network.trace


# Restart at any message


def steps(**more: Any) -> list[Crash]:
    """Every message of a run without crashes, taken and given."""
    server = play(0, **more).scene.server
    taken = [Crash(kind, count) for count in range(1, server.taken + 1) for kind in ("before", "uncommitted")]
    return taken + [Crash("output", count) for count in range(1, server.given + 1)]


@pytest.mark.parametrize("down", [100, 3_000, 20_000])
@pytest.mark.parametrize(
    "scenario",
    [{}, {"callers": 2}, {"callers": 2, "order": "all"}, {"behind": True}],
    ids=["one", "serial", "all", "behind"],
)
def test_a_restart_at_any_message(scenario: dict[str, Any], down: int) -> None:
    found = steps(**scenario)
    assert len(found) > 30
    for crash in found:
        try:
            play(0, crashes=[Crash(crash.kind, crash.count, down)], **scenario)
        except AssertionError as error:
            raise AssertionError(f"{crash}: {error}") from error


def test_a_restart_at_any_message_on_the_disk(tmp_path: Path) -> None:
    """The same with the embedded store: closed without a commit, and opened by the next engine."""

    def reopen(store: Store) -> Store:
        store.close()
        return Store(LmdbTables(store.tables.where, map_size_gib=1))

    for i, crash in enumerate(steps(callers=2)):
        store = Store(LmdbTables(tmp_path / str(i), map_size_gib=1))
        one = play(0, callers=2, crashes=[crash], store=store, reopen=reopen)
        assert one.scene.server.restarts == 1
        one.scene.store.close()


# Random schedules


@pytest.mark.parametrize("first", range(0, 1_000, 250))
def test_one_caller_over_rough_lines(first: int) -> None:
    for seed in seeds(first, 100):
        play(seed, line=ROUGH)


@pytest.mark.parametrize("order", ["serial", "all"])
def test_three_callers_over_rough_lines(order: str) -> None:
    for seed in seeds(10_000, 100):
        play(seed, line=ROUGH, callers=3, order=order)


def test_in_front_of_another_server_over_rough_lines() -> None:
    for seed in seeds(20_000, 100):
        play(seed, line=ROUGH, behind=True)


@pytest.mark.parametrize("scenario", [{}, {"callers": 3}, {"callers": 3, "order": "all"}, {"behind": True}])
def test_a_store_that_fails_now_and_then(scenario: dict[str, Any]) -> None:
    """Nobody is told of a watch that was not stored, and who was told is connected all the same, once.

    Behind the server another may have a binding that this one failed to store: the next refresh makes up for it.
    """
    failures = 0
    for seed in seeds(60_000, 70):
        store = FlakyStore(seed, 4)
        play(seed, line=ROUGH, store=store, expires=120, **scenario)
        failures += store.failures
    assert failures > 100


def random_crashes(seed: int, upto: int) -> list[Crash]:
    draw = random.Random(seed)
    return [
        Crash(draw.choice(KINDS), draw.randint(1, upto), draw.choice((50, 400, 3_000, 5_000)))
        for _ in range(draw.randint(1, 2))
    ]


@pytest.mark.parametrize("first", range(30_000, 30_750, 250))
def test_one_caller_over_rough_lines_with_restarts(first: int) -> None:
    for seed in seeds(first, 100):
        play(seed, line=ROUGH, crashes=random_crashes(seed, 25))


@pytest.mark.parametrize("order", ["serial", "all"])
def test_three_callers_over_rough_lines_with_restarts(order: str) -> None:
    for seed in seeds(40_000, 80):
        play(seed, line=ROUGH, callers=3, order=order, crashes=random_crashes(seed, 70))


def test_in_front_of_another_server_over_rough_lines_with_restarts() -> None:
    for seed in seeds(50_000, 100):
        play(seed, line=ROUGH, behind=True, crashes=random_crashes(seed, 40))
