"""What the tests of recalls by a call of the server's own set their scenes with.

Alice has a phone that obeys no REFER out of a dialog, and waits for bob.
"""

from __future__ import annotations

import re
from typing import Any

from net.phone import Call
from net.scene import HOME, SERVER, Scene
from net.stores import count_watches
from net.stubborn import Stubborn
from sipfast.config import Config, Redial

LADDER: dict[str, Any] = {"methods": ("callback", "b2bua"), "recall_timeout": 5.0}
ALONE: dict[str, Any] = {"methods": ("b2bua",)}
IDLE: dict[str, Any] = {"early": "idle", "inside": "idle", "ring_time": 2_000}  # takes every REFER and never calls


class Stage(Scene):
    """A scene with the two."""

    alice: Stubborn
    bob: Stubborn


def set_up(phone: dict[str, Any] | None = None, redial: dict[str, Any] | None = None, **more: Any) -> Stage:
    settings = {"methods": ("callback",), "retry_pause": 10.0, "attempts": 24, **(redial or {})}
    scene = Stage(Config(redial=Redial(**settings)), **more)
    scene.alice = stubborn(scene, "alice", phone or {})
    scene.bob = stubborn(scene, "bob", {"ring_time": 1_000, "register": False, "lines": 5})
    return scene


def stubborn(scene: Scene, name: str, how: dict[str, Any]) -> Stubborn:
    attributes = {**how}
    register = attributes.pop("register", True)
    behind = scene.home() if scene.nat is not None else None
    phone = scene.network.add(Stubborn(name, scene.place() if behind is None else HOME, SERVER), behind)
    for key, value in attributes.items():
        assert hasattr(phone, key), key
        setattr(phone, key, value)
    if register:
        phone.register()
        scene.network.wait(lambda: phone.registered, 300_000, f"{name} to register")
    return phone


def recalled(scene: Stage) -> list[Call]:
    """Confirmed calls between the two that came of a recall."""
    placed = {call.call_id for call in scene.alice.calls if call.recalled and call.was_answered}
    return [call for call in scene.bob.calls if call.was_answered and call.call_id in placed]


def settle(scene: Stage) -> None:
    """Until nothing is left of the recall: the new call goes on, the old one is over."""
    scene.network.wait(lambda: count_watches(scene.store) == 0, 300_000, "the watch to end")
    scene.network.wait(
        lambda: all(call.over for call in scene.alice.calls if not call.outgoing), 60_000, "the server's call to end"
    )
    scene.network.wait(lambda: not scene.store.legs(), 60_000, "the server's dialog to end")
    scene.run(40_000)  # the last ACKs


def play(phone: dict[str, Any], redial: dict[str, Any] | None = None, **more: Any) -> Stage:
    scene = set_up(phone, redial, **more)
    arm_surely(scene)
    scene.bob.register()
    settle(scene)
    return scene


def arm_surely(scene: Stage) -> None:
    for _ in range(20):
        call = scene.alice.call("bob", 3600)
        scene.network.wait(lambda call=call: call.over, 300_000)
        if call.final is not None and call.final.lines("call-info"):
            return
    raise AssertionError("never told that redial is on")


def checked(scene: Stage, most: int = 1) -> None:
    calls = recalled(scene)
    assert 1 <= len(calls) <= most, f"{len(calls)} confirmed calls\n{scene.network.ladder()}"
    (talk, *_) = [call for call in scene.bob.calls if call.was_answered]
    assert not talk.over or most > 1


def scene_of(how: dict[str, Any] | None = None, redial: dict[str, Any] | None = None, **more: Any) -> Stage:
    return set_up(IDLE if how is None else how, ALONE if redial is None else redial, **more)


def people(scene: Stage) -> tuple[Stubborn, Stubborn]:
    return scene.alice, scene.bob


def place(body: bytes) -> tuple[str, int]:
    """Where a description wants its audio."""
    host = re.search(rb"\nc=IN IP4 ([^\r\n]+)", body)
    port = re.search(rb"\nm=audio (\d+)", body)
    assert host and port, body
    return host[1].decode(), int(port[1])


def calls(scene: Stage) -> tuple[Call, Call]:
    """The two calls of the server's that go on."""
    alice, bob = people(scene)
    (near,) = [call for call in alice.calls if call.state == "talking"]
    (far,) = [call for call in bob.calls if call.state == "talking"]
    return near, far


def joined(scene: Stage) -> bool:
    """Whether the two hear each other."""
    alice, bob = people(scene)
    try:
        near, far = calls(scene)
    except ValueError:
        return False
    return (
        place(alice.media[near.call_id]) == (bob.address[0], bob.port)
        and place(bob.media[far.call_id]) == (alice.address[0], alice.port)
    )  # fmt: skip


def connect(scene: Stage) -> tuple[Call, Call]:
    arm_surely(scene)
    people(scene)[1].register()
    scene.network.wait(lambda: count_watches(scene.store) == 0, 300_000, "the watch to end")
    scene.network.wait(lambda: joined(scene), 60_000, "the two to hear each other")
    scene.run(1_000)
    return calls(scene)


def over(scene: Stage, ms: int = 120_000) -> None:
    """Nothing is left of it."""
    alice, bob = people(scene)
    scene.network.wait(lambda: all(call.over for call in (*alice.calls, *bob.calls)), ms, "the calls to end")
    scene.network.wait(lambda: not scene.store.legs(), ms, "the server's dialogs to end")
    assert not list(scene.store.each_talk())
