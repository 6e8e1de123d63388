"""A phone that uses one Call-ID for all its calls: a dialog has tags, too (RFC 3261 §12)."""

from __future__ import annotations

from functools import partial

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.network import Crash
from net.phone import Call, Phone
from net.redialing import arm, come_back
from net.scene import Scene

WORKERS = [1, 2, 3]


def two_talks(workers: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, dict[str, Phone], dict[str, Call]]:
    """Alice was called back by bob and by carol, and talks to both. Dave waits for bob, and erin for carol."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene = Scene()
    phones = {name: scene.phone(name, lines=3) for name in ("alice", "dave", "erin")}
    phones |= {name: scene.phone(name, register=False, lines=3) for name in ("bob", "carol")}
    phones["alice"].call_id = "the-only-one"
    for caller, callee in (("alice", "bob"), ("alice", "carol"), ("dave", "bob"), ("erin", "carol")):
        arm(scene, phones[caller], callee=callee)
        scene.run(100)
    calls = {}
    for callee in ("bob", "carol"):
        come_back(scene, phones[callee])
        scene.network.wait(lambda: sum(call.state == "talking" for call in phones["alice"].calls) == len(calls) + 1)
        calls[callee] = phones["alice"].calls[-1]
        scene.run(1_000)
    assert calls["bob"] is not calls["carol"]
    assert {call.call_id for call in calls.values()} == {"the-only-one"}
    assert len(list(scene.store.each_talk())) == 2
    return scene, phones, calls


def recalled(phone: Phone) -> bool:
    return phone.calls[-1].recalled and phone.calls[-1].was_answered


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart"])
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_each_call_ends_for_itself(who: str, restart: bool, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, phones, calls = two_talks(workers, monkeypatch)
    if restart:
        scene.server.crash(scene.now, 1_000)
        scene.run(5_000)
    for callee, waiting, other in (("carol", "erin", "dave"), ("bob", "dave", "")):
        if who == "caller":
            phones["alice"].hang_up(calls[callee])
        else:
            phones[callee].hang_up(phones[callee].calls[-1])
        scene.network.wait(partial(recalled, phones[waiting]), 10_000, f"{waiting} to be called back")
        assert not other or not recalled(phones[other])
        scene.run(1_000)


@pytest.mark.parametrize("workers", WORKERS)
def test_each_answer_has_its_own_ack(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ring at a time: no ACK of one is taken for that of the other."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene = Scene()
    alice = scene.phone("alice", lines=3, call_id="the-only-one")
    callees = [scene.phone(name, register=False) for name in ("bob", "carol")]
    for phone in callees:
        arm(scene, alice, callee=phone.name)
        phone.ring_time = 3_000
    for phone in callees:
        come_back(scene, phone)
    scene.network.wait(lambda: all(phone.calls for phone in callees))
    callees[1].ring_time = 0
    scene.network.wait(lambda: any(call.state == "talking" for call in alice.calls))
    scene.network.wait(lambda: sum(call.state == "talking" for call in alice.calls) == 2)
    scene.run(1_000)
    assert list(scene.store.each_watch()) == []
    assert [len(phone.calls) for phone in callees] == [1, 1]
    scene.run(60_000)
    assert sum(call.recalled for call in alice.calls) == 2


def test_a_restart_before_the_ack_keeps_them_apart() -> None:
    scene = Scene()
    alice = scene.phone("alice", lines=3, call_id="the-only-one")
    bob, carol = (scene.phone(name, register=False) for name in ("bob", "carol"))
    for phone in (bob, carol):
        arm(scene, alice, callee=phone.name)
    come_back(scene, bob)
    scene.network.wait(lambda: bool(bob.calls))
    come_back(scene, carol)
    scene.network.wait(lambda: bool(carol.calls))
    scene.server.crashes.append(Crash("before", scene.server.taken + 2, 1_000))
    scene.network.wait(lambda: sum(call.state == "talking" for call in alice.calls) == 2, 120_000)
    scene.run(60_000)
    assert list(scene.store.each_watch()) == [] and scene.server.restarts == 1
