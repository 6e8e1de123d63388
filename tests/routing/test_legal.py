"""What the server makes itself is what a SIP parser takes: Request-URIs of odd Contacts, and messages at the limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from net.calling import pair
from net.scene import SERVER, Scene, Speaker
from net.sipwire import literal

from sipfast._parser import parse
from sipfast.config import Config, Timers

CONTACTS = [
    pytest.param("?Subject=x", "", id="headers"),
    pytest.param(";method=INVITE", "", id="method"),
    pytest.param(";METHOD=BYE;ob", ";ob", id="method in capitals"),
    pytest.param(";%6dethod=BYE;ob", ";ob", id="method escaped"),
    pytest.param(";ob;methods=1?Subject=x&Priority=urgent", ";ob;methods=1", id="headers behind parameters"),
]


def odd(tail: str) -> tuple[Scene, Speaker, Speaker]:
    """Bob's Contact ends in `tail`."""
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind(contacts=[f"<sip:bob@{literal(bob.address)}{tail}>"])
    scene.run()
    bob.take("REGISTER", 200)
    return scene, alice, bob


@pytest.mark.parametrize(("tail", "kept"), CONTACTS)
def test_a_contact_leaves_in_the_request_uri_what_may_not_stand_there(tail: str, kept: str) -> None:
    """RFC 3261 §16.6 step 2, §19.1.1 table 1; and what follows from the INVITE is made without a fault."""
    scene, alice, bob = odd(tail)
    uri = f"sip:bob@{literal(bob.address)}{kept}"
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    arrived = bob.take("INVITE")
    assert arrived.uri == uri
    bob.answer(arrived, 486)
    scene.run()
    assert bob.take("ACK").uri == uri
    alice.take("INVITE", 486)


@pytest.mark.parametrize(("tail", "kept"), CONTACTS)
def test_an_odd_contact_is_cancelled(tail: str, kept: str) -> None:
    """By the caller, and by timer C."""
    scene, alice, bob = odd(tail)
    for who in ("caller", "timer C"):
        sent = alice.ask("INVITE", "sip:bob@example.com")
        scene.run()
        bob.answer(bob.take("INVITE"), 180)
        scene.run()
        if who == "caller":
            alice.cancel(sent)
        scene.run(50 if who == "caller" else 182_000)
        assert bob.take("CANCEL").uri == f"sip:bob@{literal(bob.address)}{kept}"


def test_what_would_have_too_many_fields_with_ours_is_513() -> None:
    """RFC 3261 §21.5.12, instead of a request that the next hop, and our own CANCEL, cannot take."""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", headers=[(f"X-{n}", "1") for n in range(1015)])
    scene.run()
    alice.take("INVITE", 513)
    assert not bob.inbox


def test_the_answer_to_many_vias_is_legal() -> None:
    """All of them go back (RFC 3261 §8.2.6.2), and lines of our own."""
    scene, alice, _ = pair()
    alice.ask("OPTIONS", f"sip:{literal(SERVER)}", headers=[("Via", "SIP/2.0/UDP h;branch=z9hG4bKx")] * 1016, contact="")
    scene.run()
    assert parse(alice.inbox[0].raw).error == 0


FIELDS = st.lists(st.sampled_from([
    ("Via", "SIP/2.0/UDP h;branch=z9hG4bKx"), ("X", "1"), ("Record-Route", "<sip:h;lr>"), ("Supported", "path"),
    ("Subject", "x" * 60),
]), max_size=8)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    fields=FIELDS, times=st.sampled_from([1, 20, 130, 200]), tail=st.sampled_from([case.values[0] for case in CONTACTS]),
    forwards=st.sampled_from([None, 1, 70]), status=st.sampled_from([0, 180, 200, 486, 603]), reason=st.booleans(),
)  # fmt: skip
def test_whatever_we_make_the_parser_takes(fields, times, tail, forwards, status, reason) -> None:
    scene, alice, bob = odd(tail)
    sent = alice.text("INVITE", "sip:bob@example.com", headers=fields * times, forwards=forwards)
    if parse(sent).error:
        return
    invite = alice.say(sent)
    scene.run()
    if bob.count("INVITE"):
        arrived = bob.take("INVITE")
        if status:
            bob.answer(arrived, status)
            scene.run()
        alice.cancel(invite)
        scene.run()
    for event in scene.network.trace:
        if event.source == "server":
            message = parse(event.data)
            assert message.error == 0, (message.error_reason, event.data[:400])


# A call that nobody answers


def test_timer_c_is_longer_than_three_minutes() -> None:
    """RFC 3261 §16.6 step 11"""
    assert Config().timers.c > 180


@pytest.mark.parametrize("rings", [False, True])
def test_a_cancelled_call_that_is_not_answered_is_487(rings: bool) -> None:
    """RFC 3261 §9.1: 64*T1 after the CANCEL the INVITE counts as cancelled."""
    scene, alice, bob = pair(Config(timers=Timers()))
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    if rings:
        bob.answer(bob.take("INVITE"), 180)
        scene.run()
    alice.cancel(sent)
    scene.run(33_000)
    assert alice.got()[-1] != "408" and "487" in alice.got()
