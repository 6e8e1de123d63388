"""A callee whose phone lost its power, or its network: its binding lives on, and nobody answers by it."""

from __future__ import annotations

from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.phone import Call, Phone
from net.redialing import ALICE, CALL_INFO, arm, come_back, final_of, refers, stage, watch_of
from net.scene import SERVER, Scene
from net.sipwire import Sip, literal
from net.upstream import Upstream

from sipfast.config import Config
from sipfast.config import Upstream as Behind

BEHIND = ("10.0.5.1", 5060)
WORKERS = [1, 2, 3]


def dead(*, icmp: bool = False, workers: int = 1, monkeypatch: pytest.MonkeyPatch | None = None,
         **redial: Any) -> tuple[Scene, Phone, Phone]:  # fmt: skip
    """Alice is registered, and so is bob, whose phone has lost its power."""
    if workers > 1 and monkeypatch is not None:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = stage(redial)
    scene.network.icmp = icmp
    come_back(scene, bob)
    scene.run(1_000)
    scene.network.remove(bob)
    return scene, alice, bob


def calls(scene: Scene, alice: Phone, expires: int | None = 3600) -> tuple[Call, int]:
    """A call, and how long it took."""
    begun = scene.now
    call = alice.call("bob", expires)
    scene.network.wait(lambda: call.over)
    scene.run()
    return call, scene.now - begun - 50


def in_doubt(scene: Scene, aor: bytes = b"sip:bob@example.com") -> list[bool]:
    return [bool(binding.doubtful) for binding in scene.store.bindings(aor)]


def options(scene: Scene) -> list[Sip]:
    found = {event.data: event for event in scene.network.trace if event.data.startswith(b"OPTIONS sip:bob")}
    return [Sip(data) for data, event in found.items() if event.source == "server"]


def invites(scene: Scene) -> int:
    return sum(event.source == "server" and event.data.startswith(b"INVITE ") for event in scene.network.trace)


def refresh(scene: Scene, bob: Phone) -> None:
    before = len(bob.register_statuses)
    bob.register()
    scene.network.wait(lambda: len(bob.register_statuses) > before)


@pytest.mark.parametrize("icmp", [True, False], ids=["its port is closed", "silence"])
def test_its_caller_is_offered_redial(icmp: bool) -> None:
    scene, alice, _ = dead(icmp=icmp)
    call, took = calls(scene, alice)
    assert call.status == 480 and final_of(call).lines("call-info") == [CALL_INFO]
    assert watch_of(scene) is not None and in_doubt(scene) == [True]
    assert took < 100 if icmp else 31_000 < took < 33_000


def test_who_does_not_ask_for_it_hears_as_before() -> None:
    scene, alice, _ = dead()
    call, _ = calls(scene, alice, None)
    assert call.status == 408 and not final_of(call).lines("call-info") and watch_of(scene) is None


def test_later_calls_try_it_for_3_s() -> None:
    scene, alice, bob = dead()
    calls(scene, alice, None)
    call, took = calls(scene, alice)
    assert call.status == 480 and 2_900 < took < 3_100 and watch_of(scene) is not None
    asked = invites(scene)
    scene.run(60_000)  # and the INVITE is not repeated behind the caller's back
    assert invites(scene) == asked
    assert not bob.calls


def test_one_that_answers_a_call_is_in_doubt_no_more() -> None:
    scene, alice, bob = dead()
    calls(scene, alice, None)
    scene.network.plug(bob)
    bob.ring_time = 20_000
    call = alice.call("bob")
    scene.network.wait(lambda: call.was_answered)
    scene.run()
    assert in_doubt(scene) == [False]


def test_one_that_answers_somebody_else_is_back() -> None:
    scene, alice, bob = dead()
    carol = scene.phone("carol")
    calls(scene, alice)
    scene.network.plug(bob)
    bob.lines = 2
    carol.call("bob")
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)


@pytest.mark.parametrize("workers", WORKERS)
def test_its_refresh_is_the_return_once_it_answers(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, alice, bob = dead(workers=workers, monkeypatch=monkeypatch)
    calls(scene, alice)
    scene.network.plug(bob)
    scene.run(600_000)
    assert not refers(scene)
    refresh(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and in_doubt(scene) == [False] and len(bob.calls) == 1


def deaf(scene: Scene, bob: Phone) -> None:
    """It sends, and what is sent to it is lost, but for the answers to its REGISTERs."""
    receive = bob.receive

    def hears(data: bytes, source: Any, now: int) -> None:
        if data.startswith(b"SIP/2.0 ") and b"REGISTER" in data:
            receive(data, source, now)

    bob.receive = hears  # type: ignore[method-assign]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_phone_that_sends_and_does_not_receive_is_not_back(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it refreshes."""
    scene, alice, bob = dead(workers=workers, monkeypatch=monkeypatch, guard=0.0)
    calls(scene, alice)
    scene.network.plug(bob)
    deaf(scene, bob)
    for _ in range(4):
        refresh(scene, bob)
        scene.run(100_000)
    assert not refers(scene) and in_doubt(scene) == [True]
    assert len(options(scene)) >= 4
    watch = watch_of(scene)
    assert watch is not None and watch.attempts == 0


def test_a_refresh_during_the_question_asks_again() -> None:
    scene, alice, bob = dead()
    calls(scene, alice)
    scene.network.plug(bob)
    receive = bob.receive
    deaf(scene, bob)
    refresh(scene, bob)
    scene.run(10_000)
    bob.receive = receive  # type: ignore[method-assign]
    scene.network.move(bob, scene.place())  # and from elsewhere
    refresh(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered, 60_000)


def test_one_that_is_in_no_doubt_is_not_asked() -> None:
    scene, _, bob = stage()
    come_back(scene, bob)
    scene.run(1_000)
    before = len(options(scene))
    for _ in range(3):
        refresh(scene, bob)
        scene.run(100_000)
    assert len(options(scene)) == before


def test_another_phone_of_the_callee_is_the_return() -> None:
    scene, alice, _ = dead()
    calls(scene, alice)
    cell = scene.phone("cell", user="bob")
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)
    assert cell.calls


def test_a_restart_forgets_no_doubt() -> None:
    scene, alice, bob = dead()
    calls(scene, alice)
    scene.server.crash(scene.now, 1_000)
    scene.run(60_000)
    assert not refers(scene) and in_doubt(scene) == [True]
    _, took = calls(scene, alice)
    assert took < 3_100
    scene.network.plug(bob)
    refresh(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)


def test_of_two_phones_one_is_dead() -> None:
    """The other one answers, and nothing is armed by the silence of the first."""
    scene, alice, _ = dead()
    cell = scene.phone("cell", user="bob", on_invite="486")
    call, _ = calls(scene, alice)
    assert call.status == 486 and watch_of(scene) is None
    assert sorted(in_doubt(scene)) == [False, True]
    call, took = calls(scene, alice)
    assert call.status == 486 and took < 3_100
    scene.network.remove(cell)
    call, _ = calls(scene, alice)
    assert call.status == 480 and watch_of(scene) is not None


def test_a_recalled_call_that_finds_it_dead_waits_for_its_return() -> None:
    scene, alice, bob = stage({"attempts": 3})
    arm(scene, alice)
    alice.dial_delay = 3_000
    come_back(scene, bob)
    scene.network.wait(lambda: bool(refers(scene)))
    scene.network.remove(bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    scene.run(120_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", 0) and len(refers(scene)) == 1
    scene.network.plug(bob)
    refresh(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)


def test_a_caller_who_hangs_up_leaves_it_in_doubt() -> None:
    scene, alice, _ = dead()
    call = alice.call("bob", 3600)
    scene.run(5_000)
    alice.hang_up(call)
    scene.network.wait(lambda: call.over)
    assert call.status == 487 and watch_of(scene) is None and in_doubt(scene) == [True]


@pytest.mark.parametrize("contact", ["phone", "token"])
def test_behind_an_upstream_it_is_the_same(contact: str) -> None:
    scene = Scene(Config(upstream=(
        Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",), contact=contact),),  # type: ignore[arg-type]
    ))  # fmt: skip
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    upstream.record_route = True
    alice, bob = scene.phone("alice"), scene.phone("bob")
    scene.run(1_000)
    scene.network.remove(bob)
    call, _ = calls(scene, alice)
    assert call.status == 480 and final_of(call).lines("call-info") and in_doubt(scene) == [True]
    _, took = calls(scene, alice)
    assert took < 3_100
    scene.network.plug(bob)
    refresh(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and in_doubt(scene) == [False]


def test_its_lapse_is_the_end_of_the_doubt() -> None:
    """An expired binding that registers again is a login as ever."""
    scene, alice, bob = dead()
    calls(scene, alice, 86_400)
    scene.run(3_700_000)
    assert scene.store.watch(b"sip:bob@example.com", ALICE) is not None
    scene.network.plug(bob)
    refresh(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)
    assert scene.network.seen(bob, SERVER)
