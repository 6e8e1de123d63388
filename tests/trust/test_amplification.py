"""What one datagram makes the server send to addresses that have proven nothing: 4 datagrams and 6 times its bytes.

A source is forged here by speaking from the victim's address without ever listening there. How much each kind of request
causes, test_security_table.py measures.
"""

from __future__ import annotations

import pytest
from net.calling import pair
from net.redialing import ALICE, watch_of
from net.scene import SERVER, Scene, Speaker, forget_proofs
from net.sipwire import Sip, literal

from sipfast.config import Config, Redial, Registrar

LIMIT = 4, 6  # datagrams, times the bytes


def sent_to(scene: Scene, peer: Speaker, since: int = 0) -> list[bytes]:
    return [event.data for event in scene.network.trace[since:] if event.target == peer.name]


def check(sent: list[bytes], cause: Sip) -> None:
    datagrams, times = LIMIT
    assert len(sent) <= datagrams, [data.split(b"\r\n")[0] for data in sent]
    assert sum(map(len, sent)) <= times * len(cause.raw)


def test_a_480_is_sent_again_within_the_budget() -> None:
    scene = Scene()
    victim = scene.peer("victim")
    invite = victim.ask("INVITE", "sip:nobody@example.com")
    scene.run(40_000)
    sent = sent_to(scene, victim)
    check(sent, invite)
    assert len(sent) >= 3  # within it all goes on as RFC 3261 §17.2.1 has it
    assert scene.server.counters["withheld"] > 0


def test_a_480_that_offers_redial_too_where_nobody_is_registered() -> None:
    scene = Scene()
    victim = scene.peer("victim")
    invite = victim.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run(40_000)
    check(sent_to(scene, victim), invite)


def test_a_480_that_offers_redial_is_sent_to_a_registered_flow_until_its_ack() -> None:
    scene = Scene(Config(redial=Redial(default_period=600)))
    alice = proven(scene, "alice")
    alice.answers_probes = False
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(33_000)
    assert alice.got() == ["480"] * 11  # timer G until timer H


def test_who_has_acknowledged_one_is_sent_the_next_as_ever() -> None:
    scene = Scene()
    alice = scene.peer("alice")
    invite = alice.ask("INVITE", "sip:nobody@example.com")
    scene.run()
    alice.ack(invite, alice.take("INVITE", 480))
    scene.run()
    alice.ask("INVITE", "sip:nobody@example.com")
    scene.run(33_000)
    assert alice.got() == ["480"] * 11


def test_an_ack_with_another_tag_proves_nothing() -> None:
    scene = Scene()
    victim = scene.peer("victim")
    for tag in ("guessed", ""):
        invite = victim.ask("INVITE", "sip:nobody@example.com")
        scene.run()
        final = victim.take("INVITE", 480)
        victim.ack(invite, Sip(final.raw.replace(final.to_tag.encode(), tag.encode() or b"x")))
        scene.run(40_000)
        victim.inbox.clear()
    since = len(scene.network.trace)
    invite = victim.ask("INVITE", "sip:nobody@example.com")
    scene.run(40_000)
    check(sent_to(scene, victim, since), invite)


def test_the_tag_that_an_attacker_has_seen_is_of_no_use_at_anothers_address() -> None:
    """The same branch, sent-by and all: another address, another tag."""
    scene = Scene()
    attacker, victim = scene.peer("attacker"), scene.peer("victim")
    via = f"SIP/2.0/UDP {literal(victim.address)};branch=z9hG4bKsame;rport"
    fields = {"via": via, "call_id": "c", "tag": "f", "contact": "<sip:x@192.0.2.1>", "sender": "<sip:x@example.com>;tag=f"}
    attacker.ask("INVITE", "sip:nobody@example.com", **fields)
    scene.run()
    seen = attacker.take("INVITE", 480)
    scene.run(40_000)
    invite = victim.ask("INVITE", "sip:nobody@example.com", **fields)
    scene.run()
    assert victim.take("INVITE", 480).to_tag != seen.to_tag
    victim.ack(invite, seen)
    scene.run(40_000)
    since = len(scene.network.trace)
    invite = victim.ask("INVITE", "sip:nobody@example.com")
    scene.run(40_000)
    check(sent_to(scene, victim, since), invite)


def test_a_copy_of_an_invite_after_a_large_183() -> None:
    scene, alice, bob = pair()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 183, body=b"x" * 20_000)
    scene.run()
    since = len(scene.network.trace)
    for _ in range(5):
        alice.again(invite)
        scene.run()
    assert sent_to(scene, alice, since) == []


def test_a_copy_of_an_invite_gets_a_183_that_is_not_large() -> None:
    """RFC 3261 §17.2.1"""
    scene, alice, bob = pair()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 183, body=b"x" * 800)
    scene.run()
    alice.inbox.clear()
    alice.again(invite)
    scene.run()
    assert alice.got() == ["183"]


def test_a_phone_that_has_answered_gets_what_is_large() -> None:
    scene, alice, bob = pair()
    alice.bind()
    scene.run()
    bob.ask("OPTIONS", "sip:alice@example.com")
    scene.run()
    alice.answer(alice.take("OPTIONS"), 200)
    scene.run()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 183, body=b"x" * 20_000)
    scene.run()
    alice.inbox.clear()
    alice.again(invite)
    scene.run()
    assert alice.got() == ["183"]


def silent(scene: Scene, name: str) -> Speaker:
    """Its address is forged, and it answers nothing."""
    peer = scene.peer(name)
    peer.answers_probes = False
    return peer


def bind_silent(scene: Scene, count: int) -> list[Speaker]:
    peers = [silent(scene, f"bound{i}") for i in range(count)]
    for peer in peers:
        peer.bind("bob")
        scene.run()
        peer.inbox.clear()
    return peers


def proven(scene: Scene, name: str) -> Speaker:
    peer = scene.peer(name)
    peer.bind()
    scene.run()
    peer.inbox.clear()
    return peer


def test_a_fork_reaches_as_many_unproven_phones_as_the_budget_has_room_for() -> None:
    scene = Scene(Config(registrar=Registrar(max_contacts=16)))
    alice = proven(scene, "alice")
    phones = bind_silent(scene, 16)
    alice.ask("INVITE", "sip:bob@example.com", body=b"x" * 600)
    scene.run()
    assert sum(phone.got() == ["INVITE"] for phone in phones) == 4
    scene.run(33_000)
    assert sum(len(phone.got()) for phone in phones) == 4
    assert alice.got()[0] == "408"


def test_proven_phones_of_a_fork_are_all_reached() -> None:
    scene = Scene(Config(registrar=Registrar(max_contacts=16)))
    alice = silent(scene, "alice")
    bind_silent(scene, 8)
    phones = [scene.peer(f"bob{i}") for i in range(8)]
    for phone in phones:
        phone.bind("bob")
        scene.run()
        phone.take("REGISTER", 200)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(400)
    assert [phone.got() for phone in phones] == [["INVITE"]] * 8


def test_a_phone_that_has_answered_is_sent_again_as_ever() -> None:
    """RFC 3261 §17.1.2.2"""
    scene = Scene()
    alice = proven(scene, "alice")
    (bob,) = bind_silent(scene, 1)
    alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run(10_000)
    assert bob.got() == ["MESSAGE"] * 4
    bob.answer(bob.take("MESSAGE"), 200)
    scene.run()
    bob.inbox.clear()
    alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run(33_000)
    assert bob.got() == ["MESSAGE"] * 11


def test_a_copy_of_a_request_lets_it_be_sent_again() -> None:
    """RFC 3261 §17.1.2.2: its sender has heard nothing, and repeats it, too."""
    scene = Scene()
    alice = silent(scene, "alice")
    (bob,) = bind_silent(scene, 1)
    message = alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run(6_000)
    before = len(bob.inbox)
    alice.again(message)
    scene.run(10_000)
    assert before == 3 and 5 <= len(bob.inbox) <= 7


def test_an_unproven_caller_is_told_when_a_phone_is_silent() -> None:
    scene = Scene()
    alice = silent(scene, "alice")
    bind_silent(scene, 1)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(33_000)
    assert "408" in alice.got()


def query(scene: Scene, peer: Speaker) -> str:
    aor = "<sip:bob@example.com>"
    peer.ask("REGISTER", "sip:example.com", to=aor, sender=f"{aor};tag=1", contact="")
    scene.run()
    (status,) = peer.got()
    return status


def test_a_list_of_bindings_that_is_too_large_for_the_unproven_is_500() -> None:
    """RFC 3261 §21.5.1; who has answered something is told."""
    scene = Scene(Config(registrar=Registrar(max_contacts=16)))
    for i in range(16):
        peer = silent(scene, f"bound{i}")
        peer.bind("bob", [f"<sip:bob@{literal(peer.address)};x={'y' * 500}>"])
        scene.run()
    asker = peer  # nobody else is told of them
    asker.inbox.clear()
    assert query(scene, asker) == "500"
    answer = asker.inbox.pop()
    assert answer.first("retry-after") == "5"
    assert "proven nothing" in answer.first("warning")
    known = scene.peer("known")
    known.bind("bob")
    scene.run()
    known.inbox.clear()
    assert query(scene, known) == "200"
    assert len(known.inbox[-1].all("contact")) == 16


def test_a_phone_whose_register_is_answered_500_so_gets_on() -> None:
    scene = Scene(Config(registrar=Registrar(max_contacts=16)))
    for i in range(15):
        peer = silent(scene, f"bound{i}")
        peer.bind("bob", [f"<sip:bob@{literal(peer.address)};x={'y' * 500}>"])
        scene.run()
    phone = scene.peer("phone")
    for status in ("500", "200"):
        phone.bind("bob")
        scene.run()
        assert phone.got() == [status]
        phone.inbox.clear()


def test_a_recall_of_who_has_proven_nothing_waits_when_the_budget_is_spent() -> None:
    scene = Scene(Config(redial=Redial(guard=0.0, retry_pause=5.0, attempts=20, order="all")))
    for i in range(16):
        caller = scene.peer(f"caller{i}")
        caller.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
        scene.run()
        caller.answers_probes = False
    forget_proofs(scene)
    alice = proven(scene, "alice")
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    assert watch_of(scene) is not None
    scene.run(40_000)
    since = len(scene.network.trace)
    proven(scene, "bob")
    scene.run(300_000)
    refers = [e for e in scene.network.trace[since:] if e.source == "server" and e.data.startswith(b"REFER ")]
    assert {e.target for e in refers} >= {"alice"}
    assert len([e for e in refers if e.target != "alice"]) <= 4
    results = {watch.last_result for watch in scene.store.each_watch() if watch.caller != ALICE}
    assert "caller's address has proven nothing" in results


@pytest.mark.parametrize(("method", "uri"), [("OPTIONS", f"sip:{literal(SERVER)}"), ("INVITE", "sip:nobody@example.com")])
def test_an_answer_that_no_datagram_holds_is_513(method: str, uri: str) -> None:
    """RFC 3261 §21.5.7. With a transaction and without one."""
    scene = Scene(Config(redial=Redial(default_period=600)))
    alice = proven(scene, "alice")
    least = len(alice.text(method, uri, sender="<sip:x@example.com>;tag=1;x="))
    # What is said to a request of this size has a few bytes more than a datagram; that it is too much, has fewer.
    alice.ask(method, uri, sender="<sip:x@example.com>;tag=1;x=" + "y" * (65_430 - least))
    scene.run()
    assert alice.got()[0] == "513"
    assert "larger than any datagram" in alice.inbox[0].first("warning")
    assert all(len(e.data) <= 65_507 for e in scene.network.trace if e.source == "server")


def test_a_request_that_no_datagram_holds_with_our_lines_is_513() -> None:
    scene, alice, bob = pair()
    alice.bind()
    scene.run()
    alice.inbox.clear()
    least = len(alice.text("MESSAGE", "sip:bob@example.com"))
    alice.ask("MESSAGE", "sip:bob@example.com", body=b"x" * (65_450 - least))
    scene.run()
    assert alice.got() == ["513"] and bob.got() == []
