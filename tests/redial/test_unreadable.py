"""A watch whose record is damaged while its recall goes on: the recall ends with its call, and the next caller is called."""

from __future__ import annotations

import pytest
from net import scene as scenes
from net.cluster import Cluster, owner_of, phone
from net.phone import Phone
from net.redialing import ALICE, BOB, arm, come_back, refer_names
from net.scene import Scene
from net.stores import MemoryStore, put_row, row

from sipfast.config import Config, Redial


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)


@pytest.fixture
def ringing() -> tuple[Scene, Phone, Phone]:
    """Alice is recalled and rings bob, whose owner is not the worker that she talks to; then her record is damaged.

    Only its owner has her recall in memory: the other worker asks the store, and cannot read what it says. Carol waits, too.
    """
    store = MemoryStore()
    scene = Scene(Config(redial=Redial(retry_pause=600.0)), store=store)
    alice, carol = (phone(scene, name, 1 - owner_of(scene), talk_time=5_000) for name in ("alice", "carol"))
    bob = scene.phone("bob", register=False, on_invite="ring")
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)
    come_back(scene, bob)
    scene.network.wait(lambda: bool(bob.calls), what="bob to ring")
    key = BOB + b"\0" + ALICE
    record = row(store, "watches", key)
    assert record is not None
    put_row(store, "watches", key, b"\xc1" + record[1:])
    store.commit()
    bob.on_invite = "answer"
    return scene, alice, bob


def assert_it_is_over(scene: Scene) -> None:
    """Nothing is left of alice's recall, and it keeps nobody waiting for longer than her call."""
    scene.run(20_000)  # less than the 64*T1 after which a 2xx without an ACK is given up
    assert scene.server.counters["redial_recalling"] == 0
    assert refer_names(scene) == ["alice", "carol"]


def test_the_ack_ends_the_recall(ringing: tuple[Scene, Phone, Phone]) -> None:
    scene, alice, bob = ringing
    bob.pick_up(bob.calls[0])
    scene.network.wait(lambda: alice.calls[-1].was_answered, what="the 2xx")
    assert_it_is_over(scene)
    assert bob.calls[0].was_answered, "the ACK goes on, whatever the store says"


def test_a_refusal_ends_the_recall(ringing: tuple[Scene, Phone, Phone]) -> None:
    scene, alice, bob = ringing
    call = bob.calls[0]
    assert call.server is not None
    call.server.answer(486, call.local_tag)
    call.state = "failed"
    scene.network.wait(lambda: alice.calls[-1].status == 486, what="the refusal")
    assert_it_is_over(scene)
