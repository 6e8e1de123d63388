"""Whoever was told that automatic redial is off is not asked to call: after the ACK of that 480 no REFER of it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from net import scene as scenes
from net.cluster import Cluster, owner_of, phone
from net.network import Crash
from net.phone import Phone
from net.recalling import set_up
from net.redialing import arm, armed, come_back, final_of, refer_names, refers, stage, watch_of
from net.scene import Scene

from sipfast.config import Config, Redial
from sipfast.engine.engine import Engine
from sipfast.observe.steps import Step


def refers_after_the_480(scene: Scene) -> int:
    """REFERs, retransmitted ones among them, that left after the ACK of the last 480 had come."""
    trace = scene.network.trace
    final = max(event.at for event in trace if event.source == "server" and b" 480 " in event.data.split(b"\r\n")[0])
    acks = [event.at for event in trace if event.source == "alice" and event.data.startswith(b"ACK ")]
    acked = min(at for at in acks if at > final)
    there = acked + scene.network.line.latency[1]
    return sum(event.at > there and event.source == "server" and event.data.startswith(b"REFER ") for event in trace)


def call_off(scene: Scene, alice: Phone) -> None:
    call = alice.call("bob", 0)
    scene.network.wait(lambda: call.over)
    assert final_of(call).status == 480 and "redial is off" in final_of(call).first("warning")


def gone_again(scene: Scene, alice: Phone, bob: Phone) -> None:
    """Alice's phone has not answered the REFER, and bob has gone again."""
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.network.wait(lambda: refers(scene))
    bob.unregister()
    scene.network.wait(lambda: not bob.registered)


def test_a_refer_is_not_repeated_after_the_480() -> None:
    scene, alice, bob = armed({"refer_timeout": 30.0})
    gone_again(scene, alice, bob)
    call_off(scene, alice)
    scene.run(60_000)
    assert refers_after_the_480(scene) == 0 and watch_of(scene) is None


def test_the_next_caller_has_their_turn_at_once() -> None:
    scene, alice, bob = armed({"refer_timeout": 30.0, "recall_timeout": 60.0})
    carol = scene.phone("carol", talk_time=100)
    arm(scene, carol)
    gone_again(scene, alice, bob)
    call_off(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: carol.calls[-1].was_answered, 10_000)
    assert refer_names(scene) == ["alice", "carol"]


def test_a_refer_taken_up_at_a_start_and_a_480_do_not_leave_together() -> None:
    """The phone's INVITE waited in the socket while the server was down, so it comes in the first millisecond."""
    for late in range(6):
        scene, alice, bob = armed({"refer_timeout": 30.0})
        gone_again(scene, alice, bob)
        scene.server.crash(scene.now, 1_000)
        scene.run(1_000 - 4 + late)  # 1 ms on the wire each way
        before = len(refers(scene))
        call_off(scene, alice)
        scene.run(60_000)
        assert refers_after_the_480(scene) == 0, late
        assert before <= len(refers(scene)) <= before + 1


def test_a_call_that_has_begun_goes_on() -> None:
    """Bob is there: alice's INVITE with Expires: 0 is the recalled call, and ends the watch."""
    scene, alice, bob = armed({"refer_timeout": 30.0})
    alice.on_refer = "ignore"
    carol = scene.phone("carol")
    arm(scene, carol)
    alice.talk_time = 20_000
    come_back(scene, bob)
    scene.network.wait(lambda: refers(scene))
    call = alice.call("bob", 0)
    scene.network.wait(lambda: call.was_answered)
    scene.run(15_000)
    assert refer_names(scene) == ["alice"], "one at a time"
    scene.network.wait(lambda: carol.calls[-1].recalled, 30_000)
    assert call.over and watch_of(scene) is None


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    monkeypatch.setattr(scenes, "Server", Cluster)
    yield lambda count: monkeypatch.setattr(Cluster, "workers", count)


@pytest.mark.parametrize("by_owner", [True, False], ids=["by the owner", "by another"])
def test_the_same_with_two_workers(workers: Callable[[int], None], by_owner: bool) -> None:
    workers(2)
    scene = Scene(Config(redial=Redial(refer_timeout=30.0)))
    owner = owner_of(scene)
    alice = phone(scene, "alice", owner if by_owner else 1 - owner)
    bob = phone(scene, "bob", owner, register=False)
    arm(scene, alice)
    gone_again(scene, alice, bob)
    call_off(scene, alice)
    scene.run(60_000)
    assert refers_after_the_480(scene) == 0 and watch_of(scene) is None


def test_a_refer_whose_commit_failed_at_a_start_is_taken_up_later() -> None:
    scene, alice, bob = armed({"refer_timeout": 2.0, "retry_pause": 1.0, "recall_timeout": 60.0})
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.network.wait(lambda: refers(scene))
    alice.on_refer = "accept"
    scene.server.crashes.append(Crash("uncommitted", scene.server.taken + 1, down=500))
    scene.server.crash(scene.now, 500)
    scene.network.wait(lambda: alice.calls[-1].was_answered, 60_000)
    scene.run(5_000)
    assert watch_of(scene) is None


# Its period is over


def test_a_phone_that_rings_when_the_period_ends_is_left_alone() -> None:
    steps: list[Step] = []
    scene = set_up({"on_invite": "ring", "early": "501"}, kind=partial(Engine, outlet=steps.extend))
    call = scene.alice.call("bob", 300)
    scene.network.wait(lambda: call.over)
    scene.run(290_000)
    come_back(scene, scene.bob)
    scene.network.wait(lambda: len(scene.alice.calls) == 2)
    watch = watch_of(scene)
    assert watch is not None
    scene.run(watch.expires_at - scene.now + 200)
    assert scene.alice.calls[1].status == 487
    scene.run(60_000)
    told = [step.event for step in steps]
    assert told[-1] == "ended" and len(scene.alice.calls) == 2 and not scene.store.legs()


def test_a_call_that_is_placed_when_the_period_ends_goes_on() -> None:
    scene = set_up()
    scene.bob.ring_time = 30_000
    call = scene.alice.call("bob", 300)
    scene.network.wait(lambda: call.over)
    scene.run(280_000)
    come_back(scene, scene.bob)
    scene.run(25_000)
    assert watch_of(scene) is None
    scene.network.wait(lambda: scene.alice.calls[-1].was_answered, 20_000)
    assert scene.alice.calls[-1].recalled and not scene.alice.calls[-1].over


def test_the_next_caller_has_their_turn_when_the_period_ends() -> None:
    scene, alice, bob = stage({"refer_timeout": 30.0, "recall_timeout": 60.0})
    carol = scene.phone("carol", talk_time=100)
    arm(scene, alice, 300)
    arm(scene, carol)
    alice.on_refer = "ignore"
    scene.run(290_000)
    come_back(scene, bob)
    scene.run(11_000)
    assert refer_names(scene) == ["alice", "carol"]
