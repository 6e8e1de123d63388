"""Flow tokens in use, by strangers too: what is forged is refused, and where phones have moved to is kept in bounds."""

from __future__ import annotations

import pytest
from net.calling import dialog, pair
from net.scene import Scene, Speaker
from net.sipwire import Sip, literal, uri_of

from sipfast._flow import Flow
from sipfast._listener import Listener
from sipfast.config import Config, Peer, Redial, Upstream
from sipfast.routing.outbound import Outbound
from sipfast.routing.token import Tokens
from sipfast.store.records import Move

BOB = b"sip:bob@example.com"


def bye(alice: Speaker, ok: Sip, route: list[str], **more: str) -> None:
    """A BYE in the dialog that `ok` made, by a route set of the test's choice."""
    said = {"to": ok.first("to"), "sender": ok.first("from"), "call_id": ok.call_id} | more
    alice.ask("BYE", uri_of(ok.first("contact")), cseq=2, route=route, contact="", **said)


def changed(value: str) -> str:
    """The same value with another last character in its token."""
    head, at, rest = value.partition("@")
    return head[:-1] + ("B" if head[-1] == "A" else "A") + at + rest


FORGED = {
    "another character": changed,
    "cut": lambda value: f"{value.partition('@')[0][:9]}@10.0.0.1:5060;lr>",
    "of a plain user": lambda value: "<sip:bob@10.0.0.1:5060;lr>",
    "of a user of the domain": lambda value: "<sip:bob@example.com;lr>",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token_in_our_route_is_403(forge: object) -> None:
    """RFC 5626 §5.3.1"""
    scene, alice, bob = pair()
    _, _, ok = dialog(scene, alice, bob)
    bye(alice, ok, [forge(ok.first("record-route"))])  # type: ignore[operator]
    scene.run()
    alice.take("BYE", 403)
    assert not bob.inbox


OTHERS = {
    "Call-ID": {"call_id": "another"},
    "tags": {"sender": "<sip:alice@example.com>;tag=x", "to": "<sip:bob@example.com>;tag=y"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_token_is_for_its_own_call(other: dict[str, str]) -> None:
    """A stranger who has seen one cannot send what he likes to its phone."""
    scene, alice, bob = pair()
    _, _, ok = dialog(scene, alice, bob)
    eve = scene.peer("eve")
    bye(eve, ok, [ok.first("record-route")], **other)
    scene.run()
    eve.take("BYE", 403)
    assert not bob.inbox


def test_a_to_tag_is_no_pass() -> None:
    """Within a dialog by its looks only: neither a token nor a binding of the sender's."""
    scene, alice, bob = pair()
    _, _, ok = dialog(scene, alice, bob)
    eve, victim = scene.peer("eve"), scene.peer("victim")
    for route in ([], ["<sip:10.0.0.1:5060;lr>"]):
        uri, dialog_of = f"sip:x@{literal(victim.address)}", {"to": ok.first("to"), "sender": ok.first("from")}
        eve.ask("BYE", uri, route=route, contact="", **dialog_of)
    scene.run()
    assert eve.got() == ["403", "403"] and not victim.inbox


def path(user: Speaker, *values: str) -> None:
    """REGISTER with Path values."""
    aor = f"<sip:{user.name}@example.com>"
    headers = [("Contact", f"<sip:{user.name}@192.168.1.9>"), *(("Path", value) for value in values)]
    user.ask("REGISTER", "sip:example.com", to=aor, sender=f"{aor};tag=1", contact="", headers=headers)


PATHS = {
    "a stranger": ("<sip:10.66.0.1;lr>", 403),
    "where it comes from": ("<sip:10.0.1.1:5080;lr>", 200),
    "a peer that may": ("<sip:10.9.0.1;lr>", 200),
    "a peer that may not": ("<sip:10.8.0.1;lr>", 403),
}


@pytest.mark.parametrize(("value", "status"), PATHS.values(), ids=PATHS)
def test_a_path_that_nobody_trusts_is_403(value: str, status: int) -> None:
    peers = (Peer(addresses=("10.9.0.1",), rights=("path",)), Peer(addresses=("10.8.0.1",), rights=("relay",)))
    scene = Scene(Config(peer=peers))
    carol = scene.peer("carol")
    path(carol, value)
    scene.run()
    answer = carol.take("REGISTER", status)
    assert (answer.first("warning")[:4] if status == 403 else "399 ") == "399 "
    assert bool(scene.store.bindings(b"sip:carol@example.com")) == (status == 200)


CONTACTS = {
    "one elsewhere": (["<sip:c@192.168.1.9>"], 200),
    "two, one elsewhere": (["<sip:c@192.168.1.9>", "<sip:c@10.0.1.1>"], 403),
    "two at home": (["<sip:c@10.0.1.1:5070>", "<sip:c@10.0.1.1>"], 200),
    "one elsewhere, and the old one goes": (["<sip:c@192.168.1.9>", "<sip:c@192.168.1.8>;expires=0"], 200),
    "two, one at a peer": (["<sip:c@10.9.0.1>", "<sip:c@10.0.1.1>"], 200),
}


@pytest.mark.parametrize(("contacts", "status"), CONTACTS.values(), ids=CONTACTS)
def test_several_contacts_that_need_a_way_nobody_trusts_are_403(contacts: list[str], status: int) -> None:
    scene = Scene(Config(peer=(Peer(addresses=("10.9.0.1",), rights=("path",)),)))
    carol = scene.peer("carol")
    carol.bind(contacts=contacts)
    scene.run()
    carol.take("REGISTER", status)


# Moves

A, B, C = (Flow("192.0.2.1", port) for port in (1000, 2000, 3000))


def move(old: Flow, new: Flow, expires: int, aor: bytes = BOB) -> Move:
    return Move(old.pack(), new.pack(), aor, b"sip:bob@192.168.1.9", expires)


def outbound() -> Outbound:
    listener = Listener(transport="UDP", host="192.0.2.9", port=5060, sent_by=b"192.0.2.9:5060")
    return Outbound(Tokens(bytes(16), [listener]), (listener,))


def test_moves_that_no_call_can_need_any_more_are_given_up() -> None:
    ways = outbound()
    first, second = move(A, B, 100), move(B, C, 200)
    ways.moved(first)
    ways.moved(second)
    assert ways.expire(99) == []
    assert ways.expire(100) == [first]
    assert ways.expire(500) == [second]
    assert ways.expire(500) == []


def test_a_phone_that_comes_back_to_where_it_was_leads_nowhere_else() -> None:
    ways = outbound()
    ways.moved(move(A, B, 100))
    ways.moved(move(B, A, 101))
    assert ways.expire(50) == [move(A, B, 100)], "what led away from there is over"
    assert ways.expire(101) == [move(B, A, 101)]


def test_a_later_move_from_the_same_place_takes_the_place_of_the_former() -> None:
    ways = outbound()
    ways.moved(move(A, B, 100))
    ways.moved(move(A, C, 200))
    assert ways.expire(150) == [], "the store has one of that AOR and flow, too"
    assert ways.expire(200) == [move(A, C, 200)]


def rebind(scene: Scene, bob: Speaker) -> None:
    bob.bind(contacts=["<sip:bob@192.168.1.9>"])
    scene.run()
    bob.take("REGISTER", 200)


def test_the_store_forgets_moves_while_the_server_runs() -> None:
    scene = Scene(Config(redial=Redial(max_talk=60)))
    bob = scene.peer("bob")
    rebind(scene, bob)
    scene.network.move(bob, ("10.0.9.9", 5060))
    rebind(scene, bob)
    assert [(each.aor, Flow.unpack(each.new).host) for each in scene.store.moves()] == [(BOB, "10.0.9.9")]
    scene.run(59_000)
    assert scene.store.moves()
    scene.run(63_000)
    assert scene.store.moves() == []


@pytest.mark.parametrize(("status", "count"), [(401, 0), (403, 0), (200, 1)])
def test_a_register_by_two_flows_moves_nobody_before_the_upstream_has_accepted_it(status: int, count: int) -> None:
    """The first copy could have anybody's source address, and the second one come from who has forged it."""
    behind = ("10.0.5.1", 5060)
    scene = Scene(Config(upstream=(Upstream(uri="sip:10.0.5.1", domains=("example.com",)),)))
    upstream, bob, other = scene.peer("upstream", behind), scene.peer("bob"), scene.peer("other")
    rport = "SIP/2.0/UDP 192.168.1.9;rport;branch=z9hG4bK1"
    aor = "<sip:bob@example.com>"
    said = {"via": rport, "to": aor, "sender": f"{aor};tag=1", "contact": "<sip:bob@192.168.1.9>"}
    register = bob.text("REGISTER", "sip:example.com", **said)
    bob.say(register)
    scene.run()
    other.say(register)
    scene.run()
    asked = upstream.take("REGISTER")
    upstream.answer(asked, status, headers=[("Contact", "<sip:bob@192.168.1.9>;expires=60")])
    scene.run()
    other.take("REGISTER", status)  # RFC 3261 §18.2.2
    other.say(register)
    scene.run()
    assert len(scene.store.moves()) == count
    assert [Flow.unpack(each.flow).host for each in scene.store.bindings(BOB)] == [other.address[0]] * count


def test_there_and_back_again_is_known_after_a_restart() -> None:
    scene = Scene(Config())
    bob = scene.peer("bob")
    home = bob.address
    for address in (home, ("10.0.9.9", 5060), home):
        scene.network.move(bob, address)
        rebind(scene, bob)
    alice = scene.peer("alice")
    _, _, ok = dialog(scene, alice, bob)
    scene.server.crash(scene.now)
    scene.run(1_000)
    bye(alice, ok, ok.all("record-route")[::-1])
    scene.run()
    bob.take("BYE")
