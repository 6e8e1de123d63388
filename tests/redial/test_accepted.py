"""In front of a server that authenticates: what an INVITE asks of redial waits until that server has accepted it."""

from __future__ import annotations

from typing import Any

import pytest
from net.phone import Call, Phone
from net.redialing import come_back, final_of, refers, watch_of
from net.scene import Scene
from net.sipwire import literal
from net.upstream import Upstream

from sipfast.config import Config, Peer, Redial
from sipfast.config import Upstream as Behind

BEHIND = ("10.0.5.1", 5060)


def stage(**redial: Any) -> tuple[Scene, Upstream, Phone, Phone]:
    """Alice is registered with a server that knows her password, bob is not registered."""
    scene = Scene(Config(
        redial=Redial(**{"methods": ("refer",), **redial}),
        upstream=(Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),),
    ))  # fmt: skip
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    upstream.users = frozenset({"alice", "bob"})
    return scene, upstream, scene.phone("alice", password="secret"), scene.phone("bob", register=False)


def call(scene: Scene, caller: Phone, expires: int | None = 3600) -> Call:
    made = caller.call("bob", expires)
    scene.network.wait(lambda: made.over)
    scene.run()
    return made


def armed(**redial: Any) -> tuple[Scene, Upstream, Phone, Phone]:
    scene, upstream, alice, bob = stage(**redial)
    assert final_of(call(scene, alice)).lines("call-info")
    assert watch_of(scene) is not None
    return scene, upstream, alice, bob


def test_a_watch_knows_who_says_who_its_caller_is() -> None:
    scene, _, _, _ = armed()
    watch = watch_of(scene)
    assert watch is not None and watch.identity == "upstream"
    scene = Scene(Config(peer=(Peer(addresses=("10.0.1.1",), rights=("identity",)),)))
    callers = [scene.phone(name) for name in ("alice", "carol")]
    for caller in callers:
        call(scene, caller)
    identities = {watch.caller: watch.identity for watch in scene.store.each_watch()}
    assert identities == {b"sip:alice@example.com": "peer", b"sip:carol@example.com": ""}


def impostor(scene: Scene, upstream: Upstream, how: str) -> Phone:
    """Somebody who says that he is alice, and what the server behind has to say to that."""
    if how == "403":
        upstream.users = frozenset({"bob"})
    return scene.phone("mallory", user="alice", register=False, password="guess" if how == "403" else "")


@pytest.mark.parametrize("how", ["407", "403"])
@pytest.mark.parametrize("known", [False, True], ids=["404", "480"])
def test_who_is_not_believed_arms_nothing(how: str, known: bool) -> None:
    scene, upstream, _, _ = stage()
    upstream.unbound_status = 480 if known else 404
    assert call(scene, impostor(scene, upstream, how)).status == int(how)
    assert watch_of(scene) is None


@pytest.mark.parametrize("how", ["407", "403"])
@pytest.mark.parametrize("expires", [0, 7200])
def test_who_is_not_believed_cancels_and_renews_nothing(how: str, expires: int) -> None:
    scene, upstream, _, _ = armed()
    before = watch_of(scene)
    assert call(scene, impostor(scene, upstream, how), expires).status == int(how)
    assert watch_of(scene) == before


@pytest.mark.parametrize("ringing", [False, True], ids=["at once", "after a 183"])
@pytest.mark.parametrize("status", [404, 480])
def test_expires_0_cancels_once_it_is_accepted_and_is_told_so(status: int, ringing: bool) -> None:
    scene, upstream, alice, bob = armed()
    come_back(scene, bob)  # so that a 404 is one of somebody who has been seen registered
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    alice.hang_up(alice.calls[-1])
    bob.unregister()
    scene.run(1_000)
    call(scene, alice)
    assert watch_of(scene) is not None
    upstream.unbound_status, upstream.says_ringing = status, ringing
    made = call(scene, alice, 0)
    assert made.status == 480 and "redial is off" in final_of(made).first("warning")
    assert watch_of(scene) is None


def test_expires_0_of_a_call_that_is_put_through_cancels() -> None:
    scene, _, alice, bob = armed(guard=600.0)
    come_back(scene, bob)
    bob.on_invite = "486"
    assert call(scene, alice, 0).status == 486
    assert watch_of(scene) is None


def test_expires_0_cancels_nothing_while_the_upstream_is_down() -> None:
    scene, upstream, alice, _ = armed(guard=600.0)
    scene.network.remove(upstream)
    assert call(scene, alice, 0).status == 503
    assert watch_of(scene) is not None


def test_expires_0_cancels_nothing_where_a_phone_is_called_in_place_of_the_upstream() -> None:
    scene, upstream, alice, bob = armed(guard=600.0)
    come_back(scene, bob)
    bob.on_invite = "486"
    scene.network.remove(upstream)
    for _ in range(2):  # the upstream is found to be down, and known to be
        assert call(scene, alice, 0).status == 486
        assert watch_of(scene) is not None


def test_a_challenge_is_not_the_end_of_a_recalled_call() -> None:
    scene, _, alice, bob = armed(retry_pause=0.5)
    bob.ring_time = 10_000
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and len(refers(scene)) == 1 and len(bob.calls) == 1


@pytest.mark.parametrize("how", ["407", "403"])
def test_nobody_else_takes_a_recall_over(how: str) -> None:
    """The INVITE of an impostor is not the one that the REFER asks for: where that does not come, the recall is over."""
    scene, upstream, alice, bob = armed(retry_pause=600.0)
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    call(scene, impostor(scene, upstream, how))
    watch = watch_of(scene)
    assert watch is not None and watch.state == "recalling"
    scene.run(30_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"


def test_a_recalled_call_that_finds_the_upstream_down_is_over() -> None:
    """Its phone is not registered here: it is believed (redial.callers), by a peer, or as the server's own call."""
    scene, upstream, alice, bob = stage(retry_pause=600.0, recall_timeout=120.0)
    alice.unregister()
    scene.run(1_000)
    call(scene, alice)
    alice.dial_delay = 60_000
    come_back(scene, bob)
    scene.run(1_000)
    assert len(refers(scene)) == 1
    bob.unregister()
    scene.run(1_000)
    scene.network.remove(upstream)
    call(scene, scene.phone("carol", register=False))  # then it is known to be down
    assert not alice.calls[-1].recalled
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    assert alice.calls[-1].status == 503
    watch = watch_of(scene)
    assert watch is not None and watch.last_result == "call got 503"
