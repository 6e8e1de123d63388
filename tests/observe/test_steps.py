"""The steps of a watch's life: each is told once, after its commit, and by one worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster, phone
from net.phone import Phone
from net.recalling import set_up
from net.redialing import ALICE, BOB, arm, come_back
from net.scene import Scene
from net.stores import FailingStore

from sipfast.config import Config, Redial
from sipfast.engine.engine import Engine
from sipfast.observe.steps import Step, life_of, line


def told(redial: dict[str, Any] | None = None, **more: Any) -> tuple[list[Step], Scene, Phone, Phone]:
    """Alice is registered, bob is not; and what has been told."""
    steps: list[Step] = []
    scene = Scene(
        Config(redial=Redial(**{"methods": ("refer",), **(redial or {})})), kind=partial(Engine, outlet=steps.extend), **more
    )
    return steps, scene, scene.phone("alice"), scene.phone("bob", register=False)


def names(steps: list[Step]) -> list[str]:
    """The events, as their lines have them."""
    return [json.loads(line(step, "", 0, "n", 0))["event"] for step in steps]


def test_a_redial_from_its_arming_to_its_end() -> None:
    steps, scene, alice, bob = told()
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(5_000)
    assert names(steps) == ["armed", "claimed", "begun", "outcome", "called", "answered"]
    (life,) = {(step.callee, step.caller, step.armed_at, step.mode) for step in steps}
    assert life == (BOB, ALICE, steps[0].armed_at, b"NL")
    assert 0 < steps[0].at - steps[0].armed_at < 10  # it is told with the ACK
    assert [step.attempt for step in steps] == [0, 1, 1, 1, 1, 1]
    assert [step.method for step in steps[1:]] == ["refer"] * 5 and steps[3].result == "202 Accepted"
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[-1].at == scene.store.ended()[0].ended_at


def test_a_call_that_renews_is_of_the_same_life() -> None:
    steps, scene, alice, _ = told()
    arm(scene, alice)
    arm(scene, alice, 7200)
    arm(scene, alice, 0)
    assert names(steps) == ["armed", "renewed", "cancelled"]
    assert len({life_of(step.callee, step.caller, step.armed_at) for step in steps}) == 1
    assert [round((step.expires_at - step.at) / 1000) for step in steps] == [3600, 7200, 7200]
    arm(scene, alice)  # a new life
    assert len({life_of(step.callee, step.caller, step.armed_at) for step in steps}) == 2


def test_a_phone_that_refuses() -> None:
    """It has taken no part: no attempt is counted."""
    steps, scene, alice, bob = told({"attempts": 1, "retry_pause": 5.0})
    arm(scene, alice)
    alice.on_refer = "603"
    come_back(scene, bob)
    scene.run(10_000)
    attempt = ["claimed", "begun", "outcome"]
    assert names(steps) == ["armed", *attempt, "failed", *attempt, "failed"]
    assert [step.attempt for step in steps] == [0, 1, 1, 1, 0, 1, 1, 1, 0]
    assert steps[4].reason.startswith("REFER got 603") and steps[4].result.startswith("603")


def test_a_phone_that_accepts_and_places_no_call() -> None:
    steps, scene, alice, bob = told({"attempts": 2, "retry_pause": 5.0, "recall_timeout": 1.0})
    arm(scene, alice)
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(30_000)
    attempt = ["claimed", "begun", "outcome"]
    assert names(steps) == ["armed", *attempt, "failed", *attempt, "given-up"]
    failed, end = steps[4], steps[-1]
    assert (failed.reason, failed.result) == ("no call after REFER", "202 Accepted")
    assert (failed.attempt, end.attempt, end.result) == (1, 2, "no call after REFER")


def test_a_phone_that_says_nothing() -> None:
    steps, scene, alice, bob = told({"attempts": 1})
    arm(scene, alice)
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.run(10_000)
    assert names(steps) == ["armed", "claimed", "begun", "outcome", "failed"]
    assert (steps[3].result, steps[4].reason) == ("none", "no answer to REFER")


@pytest.mark.parametrize("ends", ["by itself", "by her login", "by his login"])
def test_a_suspended_watch_goes_on(ends: str) -> None:
    """After a pause, when its caller registers, or when its callee logs in anew."""
    steps, scene, alice, bob = told({"retry_pause": 60.0})
    arm(scene, alice)
    alice.on_refer = "486"
    come_back(scene, bob)
    scene.run(1_000)
    alice.on_refer = "accept"
    if ends == "by her login":
        alice.register()
    elif ends == "by his login":
        bob.unregister()
        scene.run(1_000)
        bob.register()
    scene.run(100_000)
    attempt = ["claimed", "begun", "outcome"]
    assert names(steps) == ["armed", *attempt, "suspended", "resumed", *attempt, "called", "answered"]
    assert [step.attempt for step in steps if step.event == "claimed"] == [1, 1]  # none was used up


def test_a_phone_that_is_called_and_calls() -> None:
    """The 487 to the server's own CANCEL is not its user's no: neither an outcome, nor counted, nor in the history."""
    steps: list[Step] = []
    scene = set_up({}, {"methods": ("callback",)}, kind=partial(Engine, outlet=steps.extend))
    arm(scene, scene.alice)
    come_back(scene, scene.bob)
    scene.run(10_000)
    assert [call.status for call in scene.alice.calls if not call.outgoing] == [487]
    assert names(steps) == ["armed", "claimed", "begun", "outcome", "called", "answered"]
    assert (steps[3].result, steps[3].reason) == ("202 Accepted", "accepted")
    counters = scene.server.engine.counters()
    assert [counters[f"redial_callback_{name}"] for name in ("accepted", "declined", "answered")] == [1, 0, 1]
    assert scene.store.ended()[0].attempts[-1][1] == "202 Accepted; answered"


def test_a_period_that_is_over() -> None:
    steps, scene, alice, _ = told()
    arm(scene, alice, 300)
    scene.run(301_000)
    assert names(steps) == ["armed", "expired"] and steps[1].at >= steps[0].expires_at


def test_a_restart_begins_the_same_attempt_again() -> None:
    steps, scene, alice, bob = told()
    arm(scene, alice)
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.run(200)
    scene.server.crash(scene.now)
    scene.run(3_000)
    assert names(steps) == ["armed", "claimed", "begun", "begun", "outcome"]  # 482: it has it already
    assert {step.attempt for step in steps[1:]} == {1}


@pytest.mark.parametrize("caller", [0, 1])
@pytest.mark.parametrize("callee", [0, 1])
def test_of_several_workers_one_tells_each(monkeypatch: pytest.MonkeyPatch, caller: int, callee: int) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    steps: list[Step] = []
    scene = Scene(kind=partial(Engine, outlet=steps.extend))
    alice = phone(scene, "alice", caller)
    bob = phone(scene, "bob", callee, register=False)
    arm(scene, alice)
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(5_000)
    assert names(steps) == ["armed", "renewed", "claimed", "begun", "outcome", "called", "answered"]


def test_nobody_is_told_of_what_was_not_stored() -> None:
    store = FailingStore()
    steps, scene, alice, bob = told(store=store)
    store.broken = True
    call = alice.call("bob", 3600)
    scene.run(1_000)
    assert call.status == 503 and steps == []
    store.broken = False
    arm(scene, alice)
    assert names(steps) == ["armed"]
    # The claim is lost with its batch, and tried again: told once.
    store.broken = True
    bob.register()
    scene.run(100)
    assert names(steps) == ["armed"]
    store.broken = False
    scene.run(60_000)
    assert names(steps) == ["armed", "claimed", "begun", "outcome", "called", "answered"]


def test_an_end_that_was_lost_with_its_batch_is_told_once_it_is_stored() -> None:
    store = FailingStore()
    steps, scene, alice, bob = told(store=store)
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: "called" in names(steps))
    store.broken = True
    scene.run(3_000)
    assert names(steps)[-1] == "called"
    store.broken = False
    scene.run(3_000)
    assert names(steps)[-1] in ("answered", "ended") and len(names(steps)) == 6


def test_in_a_storm_all_are_told() -> None:
    """Lines of the log have a bound, these have none."""
    steps: list[Step] = []
    scene = Scene(Config(redial=Redial(per_callee=1_000)), kind=partial(Engine, outlet=steps.extend))
    peer = scene.peer("callers")
    for number in range(400):
        peer.ask("INVITE", "sip:bob@example.com", sender=f"<sip:u{number}@example.com>;tag=1", headers=[("Expires", "300")])
        scene.run(1)
    scene.run(301_000)
    assert names(steps) == ["armed"] * 400 + ["expired"] * 400


def test_a_line_has_all_fields_and_is_one_line() -> None:
    bob, alice, reason = b"sip:bob\xff@\x1b[2J", b"sip:a\n@x", "cancelled by the caller"
    step = Step("ended", 5_000, bob, alice, 1_000, 3_600_999, b"NL", 2, reason=reason)
    data = line(step, "1970-01-01T00:00:05.000Z", 5_000, "host", 3)
    assert b"\n" not in data and data.decode().isprintable()
    assert json.loads(data) == {
        "time": "1970-01-01T00:00:05.000Z", "ms": 5_000, "event": "cancelled", "id": life_of(bob, alice, 1_000),
        "callee": "sip:bob\\xff@\\x1b[2J", "caller": "sip:a\\n@x", "mode": "NL", "method": None, "attempt": 2,
        "result": None, "reason": reason, "by": "caller", "period": 3_596, "node": "host", "worker": 3,
    }  # fmt: skip


ENDS: dict[str, tuple[str, str | None]] = {
    "answered": ("answered", None),
    "cancelled by hand": ("cancelled", "operator"),
    "REFER accepted": ("ended", None),
}


@pytest.mark.parametrize(("reason", "says"), ENDS.items(), ids=ENDS)
def test_how_it_ended(reason: str, says: tuple[str, str | None]) -> None:
    told_line = json.loads(line(Step("ended", 1, BOB, ALICE, 1, 1, b"NL", 0, reason=reason), "", 1, "n", 0))
    assert (told_line["event"], told_line["by"]) == says


def test_ids_are_of_both_and_of_the_time() -> None:
    some: list[Callable[[], str]] = [
        lambda: life_of(b"a", b"bc", 1), lambda: life_of(b"ab", b"c", 1), lambda: life_of(b"a", b"bc", 2),
        lambda: life_of(b"bc", b"a", 1),
    ]  # fmt: skip
    assert len({each() for each in some}) == 4 and all(len(each()) == 16 for each in some)
