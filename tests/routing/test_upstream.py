"""In front of another server: redial only, the other registers and routes. The other is scripted and knows nothing of
redial; the phones are the same as ever."""

from __future__ import annotations

import pytest
from compiled import looks
from net.calling import token_of
from net.phone import Call, Phone
from net.scene import SERVER, Scene
from net.sipwire import Sip, literal, uri_of
from net.stores import count_watches
from net.upstream import Upstream

from sipfast._flow import Flow
from sipfast.config import Config, Peer, Redial
from sipfast.config import Upstream as Behind
from sipfast.store.codec import StoredWatch

BEHIND = ("10.0.5.1", 5060)
CALL_INFO = "<sip:bob@example.com>;purpose=call-completion;m=NL"


def stage(**redial: float) -> tuple[Scene, Upstream, Phone, Phone]:
    """Alice is registered with the server behind, bob is not."""
    config = Config(
        redial=Redial(**{"methods": ("refer",), **redial}),
        upstream=(Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),),
    )
    scene = Scene(config)
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    return scene, upstream, scene.phone("alice"), scene.phone("bob", register=False)


def arm(scene: Scene, caller: Phone, to: str = "bob", expires: int | None = 3600) -> Call:
    call = caller.call(to, expires)
    scene.network.wait(lambda: call.over)
    return call


def watch_of(scene: Scene, callee: bytes = b"sip:bob@example.com") -> StoredWatch | None:
    found: StoredWatch | None = scene.store.watch(callee, b"sip:alice@example.com")
    return found


def come_back(scene: Scene, bob: Phone) -> None:
    bob.register()
    scene.network.wait(lambda: bob.registered)


def refers(scene: Scene) -> list[bytes]:
    sent = [event.data for event in scene.network.trace if event.source == "server"]
    return list(dict.fromkeys(data for data in sent if data.startswith(b"REFER ")))


# Registration


def test_a_register_is_forwarded_with_path() -> None:
    """RFC 3327 §5.2"""
    scene, upstream, alice, _ = stage()
    (register,) = upstream.registers
    (path,) = register.all("path")
    kind, digest, flow, _ = token_of(scene, path)
    seen = Flow(*scene.network.seen(alice, SERVER))
    tokens = looks().TokenLook(scene.server.engine.outbound.tokens)
    assert (kind, digest, flow) == (1, tokens.digest(alice.aor.encode()), seen)
    assert "path" in register.all("supported")
    assert register.uri == "sip:example.com" and len(register.all("via")) == 2
    assert uri_of(register.first("contact")) == uri_of(alice.contact)
    assert alice.registered  # the 200 came back


@pytest.mark.parametrize("peer", [False, True], ids=["its own host", "a peer"])
def test_a_register_from_where_a_server_lives_is_forwarded_too(peer: bool) -> None:
    """A phone on the upstream's own machine, or behind a proxy that may relay: its domain is not a Contact to be found."""
    upstream = (Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),)
    scene = Scene(Config(upstream=upstream, peer=(Peer(addresses=("10.0.6.1",), rights=("relay",)),)))
    behind = scene.network.add(Upstream("upstream", BEHIND))
    carol = scene.network.add(Phone("carol", ("10.0.6.1" if peer else BEHIND[0], 5099), SERVER))
    carol.register()
    scene.network.wait(lambda: carol.register_statuses, 1_000)
    assert carol.registered and len(behind.registers) == 1


def test_the_200_teaches_the_bindings() -> None:
    scene, upstream, alice, _ = stage()
    (binding,) = scene.store.bindings(b"sip:alice@example.com")
    assert binding.contact == uri_of(alice.contact).encode()
    assert abs(binding.expires - (scene.now + 3_600_000)) < 5_000
    assert scene.store.is_known(b"sip:alice@example.com")
    alice.unregister()
    scene.run(1_000)
    assert not upstream.live(alice.aor)
    assert not [b for b in scene.store.bindings(b"sip:alice@example.com") if b.expires > scene.now]


@pytest.mark.parametrize("status", [403, 401, 500])
def test_a_refused_register_teaches_nothing(status: int) -> None:
    scene, upstream, alice, bob = stage()
    arm(scene, alice)
    upstream.register_status = status
    bob.register()
    scene.run(4_000)
    assert bob.register_statuses == [status]
    assert not scene.store.bindings(b"sip:bob@example.com") and not refers(scene)
    assert not scene.store.is_known(b"sip:bob@example.com")
    upstream.register_status = 200
    scene.network.wait(lambda: alice.calls[-1].was_answered)  # the phone tries again


# Calls


def test_a_call_passes_through_both_ways() -> None:
    """From the server behind it comes back by Path: a spiral, neither a loop nor a merged request."""
    scene, upstream, alice, bob = stage()
    upstream.record_route = True
    come_back(scene, bob)
    alice.talk_time = 5_000
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over)
    scene.run(1_000)
    assert call.was_answered, scene.network.ladder()
    assert [other.state for other in bob.calls] == ["ended"]
    assert watch_of(scene) is None


USUAL = 800  # bytes: the INVITE that the benchmarks of the parser take, too; with an audio offer


def test_a_usual_invite_through_us_and_the_upstream_fits_a_datagram() -> None:
    """RFC 3261 §18.1.1: from 1,300 bytes on it would have to go by TCP. It passes us twice, and the upstream once."""
    scene, upstream, alice, bob = stage()
    upstream.record_route = True
    come_back(scene, bob)
    alice.call("bob")
    scene.run(1_000)
    invites = [event for event in scene.network.trace if event.data.startswith(b"INVITE ")]
    first = next(event.data for event in invites if event.source == "alice")
    last = next(event.data for event in invites if event.target == "bob")
    assert len(Sip(last).all("record-route")) == 3
    assert USUAL + len(last) - len(first) < 1_300, len(last) - len(first)


def test_a_foreign_domain_goes_to_the_upstream_that_let_the_caller_register() -> None:
    scene, upstream, alice, _ = stage()
    alice.call("sip:x@other.example")
    scene.run(200)
    sent = [event.data for event in scene.network.trace if event.source == "server" and event.target == upstream.name]
    assert any(data.startswith(b"INVITE sip:x@other.example ") for data in sent)


def test_nobody_else_is_relayed_to_a_foreign_domain() -> None:
    """Who is not registered by the flow that he sends from, whatever his From says."""
    scene, upstream, alice, _ = stage()
    stranger = scene.peer("stranger")
    stranger.ask("INVITE", "sip:x@other.example", sender=f"<{alice.aor}>;tag=1")
    scene.run(200)
    answer = stranger.take("INVITE", 403)
    assert answer.first("warning").startswith("399 ")
    assert not [event for event in scene.network.trace if event.target == upstream.name and b"other.example" in event.data]


@pytest.mark.parametrize("on_invite", ["486", "603"])
def test_a_refusal_passes_as_it_is(on_invite: str) -> None:
    scene, _, alice, bob = stage()
    come_back(scene, bob)
    bob.on_invite = on_invite
    call = arm(scene, alice)
    assert call.status == int(on_invite) and watch_of(scene) is None


def test_a_480_of_the_server_behind_arms() -> None:
    scene, _, alice, _ = stage()
    call = arm(scene, alice)
    assert call.status == 480 and call.final is not None
    assert call.final.lines("call-info") == [CALL_INFO]
    assert "redial" in call.final.reason.lower()
    assert watch_of(scene) is not None


@pytest.mark.parametrize("expires", [None, 180])
def test_without_a_period_the_480_passes_as_it_is(expires: int | None) -> None:
    scene, _, alice, _ = stage()
    call = arm(scene, alice, expires=expires)
    assert call.status == 480 and call.final is not None
    assert not call.final.lines("call-info") and watch_of(scene) is None


def test_a_404_for_an_aor_that_was_seen_registered_arms() -> None:
    scene, upstream, alice, bob = stage()
    come_back(scene, bob)
    bob.unregister()
    scene.run(1_000)
    upstream.unbound_status = 404
    call = arm(scene, alice)
    assert call.status == 480 and call.final is not None and call.final.lines("call-info") == [CALL_INFO]
    assert watch_of(scene) is not None


def test_a_404_for_an_unknown_aor_does_not() -> None:
    scene, upstream, alice, _ = stage()
    upstream.unbound_status = 404
    call = arm(scene, alice)
    assert call.status == 404 and call.final is not None
    assert not call.final.lines("call-info") and watch_of(scene) is None


def test_an_aor_that_was_refused_is_not_known() -> None:
    scene, upstream, alice, bob = stage()
    upstream.register_status = 403
    bob.re_register_after = 10**9
    bob.register()
    scene.run(1_000)
    upstream.unbound_status = 404
    assert arm(scene, alice).status == 404 and watch_of(scene) is None


def test_expires_zero_cancels() -> None:
    scene, _, alice, bob = stage()
    arm(scene, alice)
    assert arm(scene, alice, expires=0).status == 480
    assert watch_of(scene) is None
    come_back(scene, bob)
    scene.run(30_000)
    assert not refers(scene)


# The redial


@pytest.mark.parametrize("record_route", [False, True])
@pytest.mark.parametrize("status", [480, 404])
def test_the_whole_redial(status: int, record_route: bool) -> None:
    scene, upstream, alice, bob = stage()
    come_back(scene, bob)
    bob.unregister()
    scene.run(1_000)
    upstream.unbound_status, upstream.record_route = status, record_route
    alice.talk_time = 5_000
    arm(scene, alice)
    scene.run(60_000)
    come_back(scene, bob)
    scene.network.wait(lambda: len(alice.calls) == 2 and alice.calls[1].over)
    assert alice.calls[1].was_answered, scene.network.ladder()
    scene.run(600_000)
    assert watch_of(scene) is None and len(refers(scene)) == 1 and len(bob.calls) == 1


def test_the_refer_goes_to_the_phone_and_not_by_the_server_behind() -> None:
    scene, _, alice, bob = stage()
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    titles = [(event.source, event.target) for event in scene.network.trace if event.data.startswith(b"REFER ")]
    assert titles == [("server", "alice")]


def test_bob_gets_his_200_first() -> None:
    scene, _, alice, bob = stage()
    arm(scene, alice)
    scene.network.trace.clear()
    come_back(scene, bob)
    scene.run(10)
    sent = [(e.target, e.title.split()[0]) for e in scene.network.trace if e.source == "server"]
    assert sent[:3] == [("upstream", "REGISTER"), ("bob", "200"), ("alice", "REFER")]


def test_a_refresh_does_not_recall() -> None:
    scene, _, alice, bob = stage(retry_pause=3600.0)
    alice.on_refer = "603"
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(1_000)
    alice.on_refer = "accept"
    bob.register()
    scene.run(30_000)
    assert len(refers(scene)) == 1
    bob.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(1_000)
    assert len(refers(scene)) == 2


def test_a_busy_callee_is_tried_again() -> None:
    scene, _, alice, bob = stage(retry_pause=30.0)
    bob.on_invite = "486"
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    assert watch_of(scene) is not None
    bob.on_invite = "answer"
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None


def test_a_callee_gone_again_is_armed_again() -> None:
    scene, _, alice, bob = stage()
    arm(scene, alice)
    before = watch_of(scene)
    alice.dial_delay = 3_000
    come_back(scene, bob)
    scene.run(1_000)
    bob.unregister()
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    watch = watch_of(scene)
    assert before is not None and watch is not None
    assert (watch.state, watch.expires_at) == ("armed", before.expires_at)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)


def test_a_restart_keeps_it_all() -> None:
    scene, _, alice, bob = stage()
    arm(scene, alice)
    scene.server.crash(scene.now, 1_000)
    scene.run(2_000)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None


def test_two_servers_behind_by_domain() -> None:
    first, second = ("10.0.5.1", 5060), ("10.0.5.2", 5070)
    config = Config(
        upstream=(
            Behind(uri=f"sip:{literal(first)}", domains=("one.example",)),
            Behind(uri=f"sip:{literal(second)}", domains=("two.example",)),
        )
    )
    scene = Scene(config, domains=("one.example", "two.example"))
    one = scene.network.add(Upstream("one", first, "one.example"))
    two = scene.network.add(Upstream("two", second, "two.example"))
    alice = scene.phone("alice", domain="one.example")
    bob = scene.phone("bob", domain="two.example", register=False)
    assert (len(one.registers), len(two.registers)) == (1, 0)
    assert arm(scene, alice, to="sip:bob@two.example").status == 480
    come_back(scene, bob)
    assert (len(one.registers), len(two.registers)) == (1, 1)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    assert alice.calls[-1].recalled
    scene.run()  # the ACK is on its way
    assert count_watches(scene.store) == 0


def test_a_domain_of_its_own_beside_one_behind() -> None:
    """One domain goes to the server behind, another is served here."""
    config = Config(upstream=(Behind(uri=f"sip:{literal(BEHIND)}", domains=("behind.example",)),))
    scene = Scene(config, domains=("example.com", "behind.example"))
    upstream = scene.network.add(Upstream("upstream", BEHIND, "behind.example"))
    alice = scene.phone("alice")
    bob = scene.phone("bob", domain="behind.example", register=False)
    assert not upstream.registers
    assert arm(scene, alice, to="sip:bob@behind.example").status == 480
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    call = bob.call("sip:alice@example.com")
    scene.network.wait(lambda: call.over or call.state == "talking")
    assert call.status == 486 or call.was_answered  # alice has one line


def test_a_server_behind_that_is_dead_arms_nothing() -> None:
    scene, upstream, alice, _ = stage()
    scene.network.remove(upstream)
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over)
    assert call.status == 503 and watch_of(scene) is None


def test_a_phones_own_480_is_no_absence() -> None:
    """RFC 3261 §21.4.18: bob is there, and does not want to be disturbed."""
    scene, _, alice, bob = stage()
    come_back(scene, bob)
    bob.on_invite = "480"
    call = arm(scene, alice)
    assert call.status == 480 and call.final is not None
    assert not call.final.lines("call-info") and watch_of(scene) is None


def test_a_phone_on_the_machine_of_the_server_behind_is_a_phone() -> None:
    """An upstream is known by its address and port: whoever else is at its host is no server."""
    config = Config(upstream=(Behind(uri=f"sip:{literal(BEHIND)}"),))
    scene = Scene(config)
    scene.network.add(Upstream("upstream", BEHIND))
    alice = scene.network.add(Phone("alice", (BEHIND[0], 6000), SERVER))
    bob = scene.network.add(Phone("bob", (BEHIND[0], 6010), SERVER))
    for phone in (alice, bob):
        phone.register()
    scene.network.wait(lambda: alice.registered and bob.registered, what="both to register")
    call = alice.call("bob")
    scene.network.wait(lambda: call.state == "talking" and bob.calls[-1].state == "talking", what="they talk")


def test_an_edge_proxy_sends_on_what_is_for_the_server_behind() -> None:
    """The right `relay` adds to what a peer may do: its phones' REGISTERs and calls go as anybody's."""
    upstream = (Behind(uri=f"sip:{literal(BEHIND)}"),)
    scene = Scene(Config(upstream=upstream, peer=(Peer(addresses=("10.9.0.1",), rights=("relay", "path")),)))
    scene.network.add(Upstream("upstream", BEHIND))
    alice = scene.network.add(Phone("alice", ("10.9.0.1", 6000), SERVER))
    bob = scene.phone("bob")
    alice.register()
    scene.network.wait(lambda: alice.registered, what="alice to register")
    call = alice.call("bob")
    scene.network.wait(lambda: call.state == "talking" and bob.calls[-1].state == "talking", what="they talk")
