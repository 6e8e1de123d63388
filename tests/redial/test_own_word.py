"""What a callee's phone says itself is its word: it is there, and nobody waits for its login. And a recalled call goes where
any other call to the callee goes at that time."""

from __future__ import annotations

import pytest
from net.phone import Phone
from net.redialing import armed, come_back, final_of, refers, stage, watch_of
from net.scene import Scene
from net.sipwire import literal
from net.stores import count_watches
from net.upstream import Upstream

from sipfast.config import Config
from sipfast.config import Upstream as Behind

BEHIND = ("10.0.5.1", 5060)


def behind() -> tuple[Scene, Upstream, Phone, Phone]:
    """The same, in front of another server."""
    scene = Scene(Config(upstream=(Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),)))
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    return scene, upstream, scene.phone("alice"), scene.phone("bob", register=False)


def says(scene: Scene, alice: Phone, bob: Phone, status: str) -> None:
    come_back(scene, bob)
    bob.on_invite = status
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over)
    scene.run()
    assert call.status == int(status) and not final_of(call).lines("call-info")
    assert count_watches(scene.store) == 0


@pytest.mark.parametrize("status", ["480", "486", "603", "600", "404"])
def test_what_a_phone_says_itself_arms_nothing(status: str) -> None:
    scene, alice, bob = stage()
    says(scene, alice, bob, status)


@pytest.mark.parametrize("status", ["480", "486", "603", "600"])
def test_what_a_phone_says_itself_arms_nothing_behind_an_upstream(status: str) -> None:
    scene, _, alice, bob = behind()
    says(scene, alice, bob, status)


@pytest.mark.parametrize("status", ["480", "486", "603"])
def test_its_word_leaves_a_watch_that_is_there_as_it_is(status: str) -> None:
    scene, alice, bob = armed({"guard": 600.0})
    before = watch_of(scene)
    come_back(scene, bob)
    bob.on_invite = status
    scene.run(1_000)
    call = alice.call("bob", 7_200)
    scene.network.wait(lambda: call.over)
    scene.run()
    assert watch_of(scene) == before


def test_a_recalled_call_follows_who_stands_in_for_the_callee() -> None:
    """Bob comes back, and has his calls go to carol (RFC 3261 §16.5)."""
    scene, alice, bob = armed()
    carol = scene.phone("carol")
    bob.contact_user, bob.contact_host = "carol", "example.com"
    bob.register()
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert [call.was_answered for call in carol.calls] == [True] and not bob.calls
    assert watch_of(scene) is None and len(refers(scene)) == 1


def test_a_recalled_call_is_forwarded_by_the_upstream_as_any_other() -> None:
    scene, upstream, alice, bob = behind()
    carol = scene.phone("carol")
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over)
    assert call.status == 480 and watch_of(scene) is not None
    bob.register()
    scene.network.wait(lambda: bool(upstream.bindings.get("sip:bob@example.com")))
    upstream.bindings["sip:bob@example.com"] = upstream.bindings["sip:carol@example.com"]
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert [call.was_answered for call in carol.calls] == [True] and not bob.calls
    assert watch_of(scene) is None
