"""Calls whose end the server may not have seen: after a start the caller's phone is asked whether it is still in it."""

from __future__ import annotations

from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.network import Event
from net.phone import Phone
from net.redialing import ALICE, BOB, arm, come_back, stage
from net.scene import Scene
from net.sipwire import Sip
from net.stores import FullStore

from sipfast.store.records import Talk

WORKERS = [1, 2, 3]


def talking(workers: int, monkeypatch: pytest.MonkeyPatch, **more: Any) -> tuple[Scene, Phone, Phone, Phone]:
    """Alice was called back and talks to bob; carol waits for him."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = stage(**more)
    carol = scene.phone("carol")
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run(1_000)
    assert len(list(scene.store.each_talk())) == 1
    return scene, alice, bob, carol


def questions(scene: Scene) -> list[Event]:
    """Every INFO of the server's; retransmissions count once."""
    found: dict[bytes, Event] = {}
    for event in scene.network.trace:
        if event.source == "server" and event.data.startswith(b"INFO ") and b"CSeq: 0 INFO" in event.data:
            found.setdefault(event.data, event)
    return list(found.values())


def both_hang_up_unseen(scene: Scene, alice: Phone, bob: Phone) -> None:
    scene.server.crash(scene.now, down=60_000)  # longer than a BYE is repeated
    for phone in (alice, bob):
        phone.hang_up(phone.calls[-1])
    scene.run(60_000)


def is_called_back(scene: Scene, carol: Phone, within: int) -> None:
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].was_answered, within)
    carol.hang_up(carol.calls[-1])
    scene.run(10_000)
    assert list(scene.store.each_talk()) == []


@pytest.mark.parametrize("workers", WORKERS)
def test_a_call_that_ended_on_a_full_disk_before_a_kill_keeps_nobody_waiting(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, alice, bob, carol = talking(workers, monkeypatch, store=FullStore())
    scene.store.full = True
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: bob.calls[0].over)
    scene.run(1_000)
    scene.server.crash(scene.now)
    scene.store.full = False
    is_called_back(scene, carol, 10_000)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_call_that_ended_while_no_server_ran_keeps_nobody_waiting(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, alice, bob, carol = talking(workers, monkeypatch)
    both_hang_up_unseen(scene, alice, bob)
    is_called_back(scene, carol, 10_000)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_call_whose_end_a_dead_worker_saw_keeps_nobody_waiting(killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, alice, bob, carol = talking(2, monkeypatch, store=FullStore())
    server = scene.server
    assert isinstance(server, Cluster)
    scene.store.full = True
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: bob.calls[0].over)
    scene.run(10)
    server.kill(killed, scene.now)
    scene.store.full = False
    is_called_back(scene, carol, 10_000)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_call_that_goes_on_over_a_restart_keeps_the_next_caller_waiting(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, alice, bob, carol = talking(workers, monkeypatch)
    scene.server.crash(scene.now)
    scene.run(600_000)
    assert not carol.calls[-1].recalled and bob.calls[0].state == "talking"
    asked = {Sip(event.data).first("via") for event in questions(scene)}
    assert 1 <= len(asked) <= workers  # by each worker that has started
    bob.hang_up(bob.calls[0])  # his numbers are in order, whatever was asked in his name
    scene.run(1_000)
    assert bob.calls[0].answers == [("BYE", 200)] and alice.calls[-1].over
    is_called_back(scene, carol, 10_000)


def test_the_question_is_of_the_dialog_that_the_caller_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, alice, bob, _ = talking(1, monkeypatch)
    call = alice.calls[-1]
    scene.server.crash(scene.now)
    scene.run(1_000)
    (event,) = questions(scene)
    asked = Sip(event.data)
    assert (event.target, asked.uri) == (alice.name, alice.contact[1:-1])
    assert (asked.call_id, asked.to_tag, asked.from_tag) == (call.call_id, call.local_tag, call.remote_tag)
    assert asked.first("to").startswith(f"<{ALICE.decode()}>") and asked.first("from").startswith(f"<{BOB.decode()}>")
    assert asked.first("cseq") == "0 INFO"  # RFC 3261 §12.2.2: no later one is out of order
    assert bob.calls[0].state == "talking"


def test_a_call_that_the_callee_has_made_is_asked_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob rang back himself while alice was asked to call: his is the calling side of that dialog."""
    scene, alice, bob = stage()
    alice.on_refer = "idle"
    carol = scene.phone("carol")
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)
    come_back(scene, bob)
    call = bob.call("alice")
    scene.network.wait(lambda: call.was_answered)
    scene.run(1_000)
    scene.server.crash(scene.now)
    scene.run(1_000)
    (event,) = questions(scene)
    assert (event.target, Sip(event.data).to_tag) == (alice.name, alice.calls[-1].local_tag)
    assert Sip(event.data).from_tag == call.local_tag


def test_a_phone_that_says_nothing_or_200_to_everything_is_believed_for_max_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (0, 200, 500):
        scene, alice, bob, carol = talking(1, monkeypatch, redial={"max_talk": 600.0})
        known = alice.on_request

        def answer(transaction: Any, status: int = status, known: Any = known) -> None:
            if transaction.request.method != "INFO":
                known(transaction)
            elif status:
                transaction.answer(status)

        monkeypatch.setattr(alice, "on_request", answer)
        both_hang_up_unseen(scene, alice, bob)
        scene.run(500_000)
        assert not carol.calls[-1].recalled, status
        is_called_back(scene, carol, 120_000)


def test_another_phone_of_the_caller_that_knows_nothing_ends_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _, bob, carol = talking(1, monkeypatch)
    second = Phone("alice2", scene.place(), ("10.0.0.1", 5060), user="alice")
    scene.network.add(second)
    second.register()
    scene.run(1_000)
    scene.server.crash(scene.now)
    scene.run(60_000)
    assert sorted(str(event.target) for event in questions(scene)) == ["alice", "alice2"]
    assert not carol.calls[-1].recalled and bob.calls[0].state == "talking"


def test_a_call_of_an_earlier_version_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record has no tags."""
    scene, alice, _, _ = talking(1, monkeypatch)
    (talk,) = scene.store.each_talk()
    scene.store.put_talk(Talk(talk.callee, talk.caller, talk.call_id, talk.since))
    scene.store.commit()
    scene.server.crash(scene.now)
    scene.run(60_000)
    assert questions(scene) == [] and alice.calls[-1].state == "talking"
