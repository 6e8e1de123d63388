"""The phones of callees who are waited for, asked now and then whether they are there; and callees who come and go."""

from __future__ import annotations

from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.phone import Phone
from net.redialing import arm, armed, come_back, refers, stage, watch_of
from net.scene import Scene
from net.sipwire import Sip

from sipfast.config import Config, Redial

WORKERS = [1, 3]


def questions(scene: Scene, since: int = 0) -> list[Sip]:
    """OPTIONS of the server's to bob's phone; retransmissions count once."""
    found = {event.data: event.at for event in scene.network.trace
             if event.source == "server" and event.data.startswith(b"OPTIONS sip:bob") and event.at >= since}  # fmt: skip
    return [Sip(data) for data in found]


def cut_off(workers: int, monkeypatch: pytest.MonkeyPatch, **redial: Any) -> tuple[Scene, Phone, Phone]:
    """Bob's network is away, he does not know it, and alice waits for him."""
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = stage(redial)
    come_back(scene, bob)
    scene.run(1_000)
    scene.network.remove(bob)
    arm(scene, alice)
    assert watch_of(scene) is not None
    return scene, alice, bob


@pytest.mark.parametrize("workers", WORKERS)
def test_who_is_back_without_registering_is_noticed(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, alice, bob = cut_off(workers, monkeypatch, keepalive=60.0)
    scene.run(300_000)
    assert not refers(scene) and questions(scene)
    scene.network.plug(bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered, 130_000)
    scene.run()
    assert watch_of(scene) is None and len(bob.register_statuses) == 1
    since = scene.now
    scene.run(300_000)
    assert not questions(scene, since)  # nobody waits for him any more


def test_it_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _, bob = cut_off(1, monkeypatch)
    scene.network.plug(bob)
    since = scene.now
    scene.run(1_200_000)
    assert not questions(scene, since) and not refers(scene)


def test_it_can_be_switched_on_and_off_while_running(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _, _ = cut_off(1, monkeypatch)
    scene.server.engine.configure(Config(redial=Redial(keepalive=60.0)))
    scene.run(200_000)
    assert questions(scene)
    scene.server.engine.configure(Config(redial=Redial()))
    scene.run(100_000)
    since = scene.now
    scene.run(200_000)
    assert not questions(scene, since)


def test_who_is_gone_without_a_word_is_not_recalled_upon() -> None:
    scene, _, bob = armed({"keepalive": 60.0, "guard": 300.0})
    come_back(scene, bob)
    scene.run(1_000)
    scene.network.remove(bob)
    scene.run(400_000)
    assert not refers(scene)
    assert [bool(binding.doubtful) for binding in scene.store.bindings(b"sip:bob@example.com")] == [True]


def test_who_is_there_is_recalled_upon() -> None:
    scene, alice, bob = armed({"keepalive": 10.0, "guard": 300.0})
    come_back(scene, bob)
    scene.run(200_000)
    assert len(questions(scene)) > 10 and not refers(scene)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered, 110_000)


def test_a_round_is_spread_over_its_interval() -> None:
    scene = Scene(Config(redial=Redial(keepalive=60.0, guard=3600.0, per_caller=100)))
    alice = scene.phone("alice")
    phones = [scene.phone(f"bob{number}", register=False) for number in range(60)]
    for phone in phones:
        arm(scene, alice, callee=phone.name)
        come_back(scene, phone)
    scene.run(120_000)
    since = scene.now
    scene.run(120_000)
    asked = [event.at for event in scene.network.trace
             if event.source == "server" and event.data.startswith(b"OPTIONS sip:bob") and event.at >= since]  # fmt: skip
    assert 110 <= len(asked) <= 130
    assert max(sum(at <= other < at + 1_000 for other in asked) for at in asked) <= 3


def test_who_comes_and_goes_within_the_guard_is_not_recalled_upon() -> None:
    scene, alice, bob = armed({"guard": 30.0})
    for _ in range(3):
        come_back(scene, bob)
        scene.run(10_000)
        bob.unregister()
        scene.run(1_000)
    scene.run(120_000)
    assert not refers(scene)
    come_back(scene, bob)
    scene.run(29_000)
    assert not refers(scene)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered, 10_000)
