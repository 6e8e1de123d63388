"""What one datagram makes the server send to an address that has proven nothing: 4 datagrams and 6 times its bytes.

A source is forged here by speaking from the victim's address without ever listening there.
"""

from __future__ import annotations

from calling import pair
from scene import Scene, Speaker
from sipwire import Sip, literal

from sipfast.config import Config, Redial

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
    alice = scene.peer("alice")
    alice.bind()
    scene.run()
    alice.inbox.clear()
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
