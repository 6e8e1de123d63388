"""A store that takes no writes for a while: calls go on, nothing is promised, and what happened is written afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.redialing import ALICE, arm, armed, come_back, refer_names, refers, stage, watch_of
from net.stores import FailingStore, FullStore, count_watches

from sipfast._flow import Flow


def ring(seconds: int) -> tuple[Any, Any, Any]:
    """Bob is back and his phone rings with the recalled call."""
    scene, alice, bob = armed(store=FullStore())
    bob.ring_time = seconds * 1_000
    alice.talk_time = 5_000
    come_back(scene, bob)
    scene.network.wait(lambda: len(alice.calls) == 2 and alice.calls[1].state == "ringing")
    return scene, alice, bob


@pytest.mark.parametrize("full_for", [100, 30_000, 120_000])
def test_a_call_that_is_answered_while_the_disk_is_full_is_a_call_and_ends_its_watch(full_for: int) -> None:
    scene, alice, _ = ring(10)
    scene.store.full = True
    scene.network.wait(lambda: alice.calls[1].over, 60_000)
    assert alice.calls[1].was_answered
    scene.run(full_for)
    assert watch_of(scene) is not None  # nobody could remove it
    scene.store.full = False
    scene.run(3_000)
    assert watch_of(scene) is None
    scene.run(7_200_000)
    assert len(refers(scene)) == 1 and len(alice.calls) == 2


@pytest.mark.parametrize("kind", [FullStore, FailingStore])
@pytest.mark.parametrize("full_for", [0, 100, 500, 30_000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_server_that_ends_once_there_is_room_again_writes_first_what_has_happened(
    workers: int, full_for: int, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its successor would have the caller called again, who has talked, or wait for the end of that call."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = armed(store=kind())
    carol = scene.phone("carol")
    arm(scene, carol)
    alice.talk_time = carol.talk_time = 5_000
    come_back(scene, bob)
    scene.network.wait(lambda: bool(refers(scene)))
    scene.store.full = scene.store.broken = True
    scene.network.wait(lambda: alice.calls[-1].was_answered and alice.calls[-1].over, 60_000)
    scene.run(full_for)
    scene.store.full = scene.store.broken = False
    scene.server.end(scene.now)
    scene.run(300_000)
    assert count_watches(scene.store) == 0 and list(scene.store.each_talk()) == []
    assert len(alice.calls) == len(carol.calls) == len(bob.calls) == 2 and refer_names(scene) == ["alice", "carol"]


def test_while_the_disk_is_full_everything_is_answered_and_nothing_promised() -> None:
    scene, alice, _ = ring(5)
    scene.store.full = True
    scene.run(20_000)
    carol = scene.peer("carol")
    for _ in range(5):
        carol.ask("OPTIONS", "sip:example.com")
        scene.run(5_000)
    assert carol.got() == ["200"] * 5
    carol.bind("carol")
    scene.run(1_000)
    carol.take("REGISTER", 503)
    call = alice.call("dave", 3600)
    scene.network.wait(lambda: call.over)
    assert call.status is not None and call.status >= 500
    scene.store.full = False
    scene.run(3_000)
    assert count_watches(scene.store) == 0 and not scene.store.bindings(b"sip:carol@example.com")


def test_a_recall_whose_claim_cannot_be_written_is_made_later() -> None:
    scene, alice, bob = armed({"retry_pause": 5.0}, store=FullStore())
    alice.on_refer = "603"
    come_back(scene, bob)
    scene.run(1_000)
    assert len(refers(scene)) == 1
    alice.on_refer = "accept"
    scene.store.full = True
    scene.run(20_000)
    assert len(refers(scene)) == 1  # a REFER leaves only after its claim was committed
    scene.store.full = False
    scene.network.wait(lambda: len(alice.calls) == 2 and alice.calls[1].was_answered, 60_000)
    scene.run(5_000)
    assert watch_of(scene) is None and len(refers(scene)) == 2


def test_an_answer_that_is_not_promised_after_all_may_be_over_already() -> None:
    """The process stood still between the answer and its commit for as long as an ACK is waited for (SIGSTOP, say)."""
    scene, _, _ = stage(store=FailingStore())
    invite = scene.peer("again").text(
        "INVITE", "sip:bob@example.com", sender=f"<{ALICE.decode()}>;tag=1", headers=[("Expires", "600")]
    )
    engine, later = scene.server.engine, scene.now + 40_000
    engine.receive(invite, Flow("10.0.1.9", 5060), scene.now)
    scene.store.broken = True
    engine.advance(later)
    engine.commit(later)
    counters = engine.counters()
    assert (counters["failed_commits"], counters["server_transactions"], counters["faults"]) == (1, 0, 0)
    scene.store.broken = False
    assert watch_of(scene) is None


def test_a_recall_is_taken_up_again_once_however_often_it_is_made_anew_from_the_store() -> None:
    scene, alice, bob = armed({"retry_pause": 0.0}, store=FailingStore())
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.network.wait(lambda: len(refers(scene)) == 1)
    scene.server.crash(scene.now, down=100_000)
    scene.run(99_000)
    scene.store.broken = True  # each time that it is to begin, its batch is lost
    scene.server.start(scene.now)
    scene.run(1_000)
    assert scene.server.counters["failed_commits"] > 1
    scene.store.broken = False
    scene.run(1_000)
    assert watch_of(scene) is not None
    assert len(refers(scene)) == 2 and scene.server.counters["faults"] == 0


@pytest.mark.parametrize("kind", [FullStore, FailingStore])
@pytest.mark.parametrize("since", ["it rings", "it is answered"])
@pytest.mark.parametrize("full_for", [100, 30_000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_call_that_ends_while_the_disk_is_full_keeps_nobody_waiting(
    workers: int, full_for: int, since: str, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end cannot be written, and is known all the same."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = stage(store=kind())
    carol = scene.phone("carol")
    alice.talk_time = 5_000
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)
    come_back(scene, bob)
    if since == "it rings":
        scene.network.wait(lambda: bool(bob.calls))
    else:
        scene.network.wait(lambda: alice.calls[-1].was_answered)
        scene.run(1_000)
    scene.store.full = scene.store.broken = True
    scene.network.wait(lambda: alice.calls[-1].over and bob.calls[0].over)
    scene.run(full_for)
    scene.store.full = scene.store.broken = False
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].was_answered, 60_000)
    carol.hang_up(carol.calls[-1])
    scene.run(10_000)
    assert list(scene.store.each_talk()) == []


@pytest.mark.parametrize("kind", [FullStore, FailingStore])
@pytest.mark.parametrize("full_for", [0, 100, 500, 3_000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_call_that_began_on_a_full_disk_and_ended_while_nobody_served_keeps_nobody_waiting(
    workers: int, full_for: int, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller's phone is asked whether it goes on."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = armed(store=kind())
    carol = scene.phone("carol")
    arm(scene, carol)
    alice.talk_time, bob.lines = 5_000, 2  # his phone has not heard of its end
    come_back(scene, bob)
    scene.network.wait(lambda: bool(bob.calls))
    scene.store.full = scene.store.broken = True
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run(full_for)
    scene.store.full = scene.store.broken = False
    scene.run(100)
    scene.server.end(scene.now, down=60_000)
    scene.run(120_000)
    assert refer_names(scene) == ["alice", "carol"] and carol.calls[-1].was_answered


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_lost_batch_leaves_none_open(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others could not write until its commit, and what this process writes besides would take it along when that fails."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, _ = armed(store=FailingStore())
    bob = scene.phone("bob", register=False)
    alice.talk_time = 1_000
    come_back(scene, bob)
    scene.network.wait(lambda: bool(refers(scene)))
    scene.store.broken = True
    for _ in range(200):
        scene.run(50)
        assert not scene.store.has_written()
    assert alice.calls[-1].over and watch_of(scene) is not None
    scene.store.broken = False
    scene.run(1_100)
    assert watch_of(scene) is None
