"""The last word: a MESSAGE (RFC 3428) to who could not be called back, and the webhook of redial."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster, phone
from net.phone import Phone
from net.redialing import ALICE, BOB, arm, come_back, refers, watch_of
from net.scene import Scene
from net.stores import FailingStore

from sipfast.config import Config, Redial
from sipfast.engine.engine import Engine
from sipfast.observe.steps import Step, line


class Told:
    """What events and webhook have been told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.knocks: list[Step] = []
        self.engine = partial(Engine, outlet=self.steps.extend, webhook=self.knocks.extend)

    @property
    def names(self) -> list[str]:
        return [json.loads(line(step, "", 0, "n", 0))["event"] for step in self.steps]


def stage(redial: dict[str, Any] | None = None, **more: Any) -> tuple[Told, Scene, Phone, Phone]:
    """Alice's phone obeys no REFER, and waits for bob."""
    told = Told()
    settings = Redial(**{"methods": ("refer", "message"), **(redial or {})})
    scene = Scene(Config(redial=settings), kind=told.engine, **more)
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    alice.on_refer = "603"
    alice.on_message = "200"
    arm(scene, alice)
    return told, scene, alice, bob


def test_who_cannot_be_called_is_told_and_that_is_the_end() -> None:
    told, scene, alice, bob = stage()
    come_back(scene, bob)
    scene.run(60_000)
    assert len(alice.refers) == 1 and len(alice.messages) == 1 and watch_of(scene) is None
    attempt = ["begun", "outcome"]
    assert told.names == ["armed", "claimed", *attempt, "climbed", *attempt, "told"]
    assert [(step.method, step.result, step.reason) for step in told.steps if step.event == "outcome"] == [
        ("refer", "603 Decline", "cannot"), ("message", "200 OK", "told")
    ]  # fmt: skip
    assert told.steps[4].method == "message" and told.steps[4].reason.startswith("REFER got 603")
    assert {step.attempt for step in told.steps[1:]} == {1}
    (knock,) = told.knocks
    assert (knock.event, knock.callee, knock.caller, knock.method, knock.attempt) == ("reachable", BOB, ALICE, "message", 1)
    (ended,) = scene.store.ended()
    assert ended.reason == "told" and ended.attempts[-1][1] == "200 OK; told"
    counters = scene.server.engine.counters()
    shown = {name: counters[f"redial_{name}"] for name in ("refer_begun", "refer_cannot", "message_begun", "message_told")}
    assert set(shown.values()) == {1} and counters["redial_refer_accepted"] == counters["redial_message_cannot"] == 0


def test_what_it_says() -> None:
    _, scene, alice, bob = stage({"message": "Ruf {callee} zurück"})
    come_back(scene, bob)
    scene.run(5_000)
    (message,) = alice.messages
    assert message.uri == "sip:alice@10.0.1.1:5060" and message.first("cseq") == "1 MESSAGE"
    assert message.first("from").startswith("<sip:bob@example.com>;tag=")
    assert message.first("to") == "<sip:alice@example.com>"
    assert message.first("contact") == ""  # RFC 3428 §4
    assert message.first("content-type") == "text/plain;charset=UTF-8"
    assert message.body == "Ruf bob@example.com zurück".encode()


def test_the_refer_that_is_obeyed_needs_no_word() -> None:
    told, scene, alice, bob = stage()
    alice.on_refer = "accept"
    come_back(scene, bob)
    scene.run(5_000)
    assert alice.messages == [] and told.knocks == [] and told.names[-1] == "answered"
    assert scene.server.engine.counters()["redial_refer_answered"] == 1


@pytest.mark.parametrize("answer", ["501", "405", "603", "ignore"])
def test_a_phone_that_takes_no_message_is_asked_again_later(answer: str) -> None:
    told, scene, alice, bob = stage({"attempts": 2, "retry_pause": 10.0})
    alice.on_message = answer
    come_back(scene, bob)
    scene.run(30_000)  # a pause of 10 to 12.5 s, then one of 20 s and more
    assert len(alice.refers) == 2 and len({message.call_id for message in alice.messages}) == 2
    attempt = ["claimed", "begun", "outcome", "climbed", "begun", "outcome"]
    assert told.names == ["armed", *attempt, "failed", *attempt, "failed"]
    assert [knock.attempt for knock in told.knocks] == [1, 1]  # neither is counted: her phone has taken no part
    assert len({knock.armed_at for knock in told.knocks}) == 1
    outcomes = {step.reason for step in told.steps if step.event == "outcome" and step.method == "message"}
    assert outcomes == {"silent" if answer == "ignore" else "cannot"}


def test_a_restart_says_the_same_again() -> None:
    _, scene, alice, bob = stage()
    alice.on_message = "ignore"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.messages)
    scene.server.crash(scene.now)
    alice.on_message = "482"  # RFC 3261 §8.2.2.2: it has it already
    scene.run(5_000)
    assert len({(message.call_id, message.first("from")) for message in alice.messages}) == 1
    assert len(alice.refers) == 1  # the ladder is not begun anew
    assert watch_of(scene) is None and scene.store.ended()[0].reason == "told"


def test_a_caller_who_calls_meanwhile_is_no_longer_told() -> None:
    told, scene, alice, bob = stage()
    alice.on_message = "ignore"
    bob.ring_time = 100
    come_back(scene, bob)
    scene.network.wait(lambda: alice.messages)
    alice.call("bob")
    scene.run(5_000)
    assert watch_of(scene) is None and told.names[-1] == "answered"


def test_the_next_one_has_his_turn() -> None:
    _, scene, _, bob = stage()
    carol = scene.phone("carol")
    arm(scene, carol)
    bob.ring_time = 100
    come_back(scene, bob)
    scene.run(5_000)
    assert [bool(carol.refers), any(call.was_answered for call in carol.calls)] == [True, True]


def test_a_phone_that_has_gone_is_told_nothing() -> None:
    told, scene, alice, bob = stage({"methods": ("message",)})
    scene.network.icmp = True
    scene.network.remove(alice)
    come_back(scene, bob)
    scene.run(2_000)
    assert alice.messages == [] and refers(scene) == []
    assert [step.reason for step in told.steps if step.event == "outcome"] == ["absent"]
    assert watch_of(scene) is not None


def test_the_webhook_is_told_after_the_commit_only() -> None:
    store = FailingStore()
    told, scene, alice, bob = stage({"methods": ("message",)}, store=store)
    store.broken = True
    bob.register()
    scene.run(200)
    assert told.knocks == [] and alice.messages == []
    store.broken = False
    scene.run(60_000)
    assert len(told.knocks) == 1 and len(alice.messages) == 1


@pytest.mark.parametrize("caller", [0, 1])
@pytest.mark.parametrize("callee", [0, 1])
def test_of_several_workers_one_says_it(monkeypatch: pytest.MonkeyPatch, caller: int, callee: int) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    told = Told()
    scene = Scene(Config(redial=Redial(methods=("refer", "message"))), kind=told.engine)
    alice, bob = phone(scene, "alice", caller), phone(scene, "bob", callee, register=False)
    alice.on_refer, alice.on_message = "501", "202"
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(5_000)
    assert len(alice.messages) == len(told.knocks) == 1 and told.names[-1] == "told"
