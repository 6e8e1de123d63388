"""What rings while the server dies: its callers can still hang up, and only its own answers are passed on."""

from __future__ import annotations

import os

import pytest
from compiled import looks
from net import scene as scenes
from net.calling import forked, pair
from net.cluster import Cluster
from net.homes import BEHIND
from net.scene import Scene, Speaker
from net.sipwire import Sip, literal
from net.upstream import Upstream

from sipfast._flow import Flow
from sipfast._parser import parse
from sipfast.config import Config
from sipfast.config import Upstream as Behind
from sipfast.routing.ringing import Ringing

SECRET = 0x1234


def ringing(scene: Scene, alice: Speaker, *phones: Speaker) -> tuple[Sip, list[Sip]]:
    """Alice's INVITE and the copies at phones that ring; the server has died since, and is back."""
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    copies = [phone.take("INVITE") for phone in phones]
    for phone, copy in zip(phones, copies, strict=True):
        phone.answer(copy, 180)
    scene.run()
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.inbox.clear()
    return sent, copies


def refuse_cancelled(scene: Scene, phone: Speaker, copy: Sip) -> None:
    """A phone gets the CANCEL of what it rings for, answers both, and has its ACK."""
    cancel = phone.take("CANCEL")
    assert (cancel.branch, cancel.call_id, cancel.cseq, cancel.uri) == (copy.branch, copy.call_id, copy.cseq, copy.uri)
    phone.answer(cancel, 200)
    phone.answer(copy, 487)
    scene.run()


def hang_up(scene: Scene, alice: Speaker, sent: Sip) -> None:
    alice.cancel(sent)
    scene.run()


def test_a_caller_hangs_up_after_a_restart() -> None:
    """RFC 3261 §16.10"""
    scene, alice, bob = pair()
    sent, (copy,) = ringing(scene, alice, bob)
    hang_up(scene, alice, sent)
    refuse_cancelled(scene, bob, copy)
    assert alice.take("CANCEL", 200).all("via") == sent.all("via")
    alice.ack(sent, alice.take("INVITE", 487))
    scene.run()
    assert bob.take("ACK").branch == copy.branch
    assert not alice.inbox and not bob.inbox


def test_each_phone_that_rings_hears_of_it() -> None:
    scene, alice, phones = forked(3)
    sent, copies = ringing(scene, alice, *phones)
    hang_up(scene, alice, sent)
    for phone, copy in zip(phones, copies, strict=True):
        refuse_cancelled(scene, phone, copy)
    assert alice.count("INVITE", 487) == 3


@pytest.mark.parametrize("workers", [2, 3])
def test_any_worker_knows(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CANCEL comes by another port than the INVITE, and so to another worker."""
    monkeypatch.setattr(scenes, "Server", Cluster)
    monkeypatch.setattr(Cluster, "workers", workers)
    scene, alice, bob = pair()
    sent, _ = ringing(scene, alice, bob)
    elsewhere = [scene.peer(f"port{n}", (alice.address[0], 6000 + n)) for n in range(6)]
    for port in elsewhere:
        alice.cancel(sent)
        port.transmit(scene.network.trace[-1].data, scenes.SERVER)
    scene.run()
    assert bob.count("CANCEL") >= 6


def test_a_caller_hangs_up_in_front_of_an_upstream() -> None:
    scene = Scene(Config(upstream=(Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),)))
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    bob, alice = scene.peer("bob"), scene.peer("alice")
    bob.bind()
    scene.run()
    bob.inbox.clear()
    assert upstream.registers
    sent, (copy,) = ringing(scene, alice, bob)
    hang_up(scene, alice, sent)
    assert bob.take("CANCEL").branch == copy.branch


def test_a_refusal_after_a_restart_is_passed_on() -> None:
    """RFC 3261 §16.11: and acknowledged by whoever has made the call."""
    scene, alice, bob = pair()
    sent, (copy,) = ringing(scene, alice, bob)
    bob.answer(copy, 486)
    scene.run()
    alice.ack(sent, alice.take("INVITE", 486))
    scene.run()
    assert bob.take("ACK").branch == copy.branch


def test_a_refusal_does_not_end_the_ringing_of_others() -> None:
    scene, alice, phones = forked(2)
    _, copies = ringing(scene, alice, *phones)
    phones[0].answer(copies[0], 486)
    scene.run()
    assert not alice.inbox
    phones[1].answer(copies[1], 200)
    scene.run()
    alice.take("INVITE", 200)


def forged(copy: Sip, **changed: str) -> bytes:
    """A 200 that a phone never gave."""
    text = f"SIP/2.0 200 OK\r\nVia: {copy.all('via')[0]}\r\nVia: {changed.get('below', copy.all('via')[1])}\r\n"
    text += f"From: {copy.first('from')}\r\nTo: {copy.first('to')};tag=x\r\n"
    text += f"Call-ID: {changed.get('call_id', copy.call_id)}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    return text.encode()


FORGED = {
    "of another caller": {"below": "SIP/2.0/UDP 10.66.0.1:5060;branch=z9hG4bKx"},
    "with the caller's branch": {"below": "SIP/2.0/UDP 10.66.0.1:5060;branch=BRANCH"},
    "of another call": {"call_id": "another"},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
def test_who_has_seen_a_branch_cannot_send_anything_anywhere(changed: dict[str, str]) -> None:
    """A response is passed on to the caller of its INVITE, and to nobody else."""
    scene, alice, bob = pair()
    victim = scene.peer("victim", ("10.66.0.1", 5060))
    sent, (copy,) = ringing(scene, alice, bob)
    changed = {key: value.replace("BRANCH", sent.branch) for key, value in changed.items()}
    bob.transmit(forged(copy, **changed), scenes.SERVER)
    scene.run()
    assert not alice.inbox and not victim.inbox


def test_nothing_is_passed_on_for_ever() -> None:
    """Timer C: then the phone rings no more."""
    scene, alice, bob = pair()
    _, (copy,) = ringing(scene, alice, bob)
    scene.run(182_000)
    bob.answer(copy, 200)
    scene.run()
    assert not alice.inbox


# The memory

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\n"
    b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
)
BRANCH = b"z9hG4bKsf%038d"
FLOW = Flow("192.0.2.1", 5070)


def invite(number: int = 0) -> object:
    return parse(INVITE % number)


def test_what_another_process_has_taken_down_is_there() -> None:
    memory = bytearray(1 << 16)
    first = Ringing(SECRET, memory)
    for number in range(3):
        looks().note(first, invite(), number, BRANCH % number, FLOW, 2_000, 1_000)
    assert looks().branches_of(Ringing(SECRET, memory), invite(), 1_999) == [(BRANCH % number, FLOW) for number in range(3)]
    assert looks().branches_of(Ringing(SECRET, memory), invite(), 2_000) == []
    assert looks().branches_of(Ringing(SECRET, memory), invite(1), 1_999) == []


def test_damage_and_other_stores_are_not_believed() -> None:
    memory = bytearray(1 << 16)
    looks().note(Ringing(SECRET, memory), invite(), 0, BRANCH % 0, FLOW, 2_000, 1_000)
    used = [i for i, byte in enumerate(memory) if byte]
    assert looks().branches_of(Ringing(SECRET + 1, memory), invite(), 1_000) == []
    at = memory.index(b"z9hG4bKsf") + 10
    memory[at] ^= 1
    assert looks().branches_of(Ringing(SECRET, memory), invite(), 1_000) == [] and used
    assert looks().branches_of(Ringing(SECRET, bytearray(os.urandom(1 << 16))), invite(), 1_000) == []


def test_what_is_of_use_for_the_shortest_time_gives_way() -> None:
    """Eight places, nine calls."""
    one_set = Ringing(SECRET, bytearray(8 * 128))
    for number in range(9):
        looks().note(one_set, invite(number), 0, BRANCH % number, FLOW, 20_000 - 1_000 * number, 1_000)
    assert [number for number in range(9) if not looks().branches_of(one_set, invite(number), 1_000)] == [7]


def test_eight_thousand_ring_at_once() -> None:
    """None takes the place of another while most places are free."""
    memory = Ringing(SECRET, bytearray(8 << 20))
    for number in range(8_000):
        looks().note(memory, invite(number), 0, BRANCH % number, FLOW, 20_000, 1_000)
    assert [number for number in range(8_000) if not looks().branches_of(memory, invite(number), 1_000)] == []


def test_memory_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="500 bytes"):
        Ringing(SECRET, bytearray(500))
