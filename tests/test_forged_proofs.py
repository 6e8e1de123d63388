"""A secret that was at two addresses proves neither: what an attacker can do who wants his victim's address proven.

He sends what he likes from the victim's address, and reads what comes to his own.
"""

from __future__ import annotations

import pytest
from calling import pair
from scene import Scene, Speaker
from sipwire import Sip, literal, response
from test_probe import is_proven, quiet


def parties() -> tuple[Scene, Speaker, Speaker]:
    scene = Scene()
    return scene, quiet(scene, "attacker"), quiet(scene, "victim")


def via_of(peer: Speaker, branch: str) -> str:
    return f"SIP/2.0/UDP {literal(peer.address)};branch={branch};rport"


# Our To tag


@pytest.mark.parametrize("first", ["victim", "attacker"])
def test_a_request_that_comes_from_both_addresses_proves_neither(first: str) -> None:
    """The copy's answer has the tag of the first one (RFC 3261 §17.2.1), and goes to where the copy is from (§18.2.2)."""
    scene, attacker, victim = parties()
    one, other = (victim, attacker) if first == "victim" else (attacker, victim)
    invite = one.ask("INVITE", "sip:nobody@example.com", via=via_of(victim, "z9hG4bKsame"))
    scene.run()
    other.again(invite)
    scene.run()
    one.again(invite)
    scene.run()
    seen = attacker.take("INVITE", 480)
    assert seen.to_tag == victim.take("INVITE", 480).to_tag
    for peer in (one, other):
        peer.ack(invite, seen)
        scene.run()
    scene.run(40_000)
    assert not is_proven(scene, victim)
    assert not is_proven(scene, attacker)


def test_the_tag_in_the_answer_to_a_cancel_is_not_the_victims() -> None:
    """RFC 3261 §9.2 has it the same, but for whoever the INVITE came from."""
    scene, attacker, victim = parties()
    invite = victim.ask("INVITE", "sip:nobody@example.com", via=via_of(victim, "z9hG4bKsame"))
    scene.run()
    attacker.cancel(invite)
    scene.run()
    seen = attacker.take("CANCEL", 200)
    assert seen.to_tag != victim.take("INVITE", 480).to_tag
    victim.ack(invite, seen)
    scene.run(40_000)
    assert not is_proven(scene, victim)


def test_a_caller_whose_nat_has_moved_hears_one_tag() -> None:
    """RFC 3261 §8.2.6.2, §9.2: the answer to its first request, to the copy from another port, and to its CANCEL."""
    scene = Scene()
    alice, moved = quiet(scene), quiet(scene, "moved")
    invite = alice.ask("INVITE", "sip:nobody@example.com", via=via_of(alice, "z9hG4bKsame"))
    scene.run()
    moved.again(invite)
    scene.run()
    moved.cancel(invite)
    scene.run()
    tags = {alice.take("INVITE", 480).to_tag, moved.take("INVITE", 480).to_tag, moved.take("CANCEL", 200).to_tag}
    assert len(tags) == 1


def test_a_later_answer_has_the_tag_of_the_first_address() -> None:
    """Of one transaction each answer of ours has the same To tag, wherever its sender has moved meanwhile."""
    scene, alice, _ = pair()
    moved = quiet(scene, "moved")
    invite = alice.ask("INVITE", "sip:bob@example.com", via=via_of(alice, "z9hG4bKsame"))
    scene.run()
    alice.cancel(invite)
    scene.run()
    moved.again(invite)
    scene.run(40_000)  # bob's phone is silent: Timer B
    assert moved.take("INVITE", 487).to_tag == alice.take("CANCEL", 200).to_tag != ""


# Our branch


def answer_from(peer: Speaker, request: Sip, status: int) -> None:
    peer.say(response(request, status, tag="x"))


def test_the_branch_of_the_attackers_own_request_proves_the_attacker() -> None:
    scene, attacker, victim = parties()
    attacker.bind()
    scene.run()
    attacker.take("REGISTER", 200)
    victim.ask("MESSAGE", "sip:attacker@example.com")
    scene.run()
    answer_from(victim, attacker.take("MESSAGE"), 200)
    scene.run()
    assert not is_proven(scene, victim)
    assert is_proven(scene, attacker)


@pytest.mark.parametrize("method", ["MESSAGE", "INVITE"])
def test_a_request_that_was_led_to_the_victim_proves_nobody(method: str) -> None:
    """The phone of the attacker says that it has moved: what is repeated goes to the victim, with the branch he has seen."""
    scene, attacker, victim = parties()
    caller = scene.peer("caller")
    contact = ["<sip:x@192.168.1.1>"]
    attacker.bind("x", contact)
    scene.run()
    caller.ask(method, "sip:x@example.com")
    scene.run(100)
    seen = attacker.take(method)
    victim.say(victim.text(
        "REGISTER", "sip:example.com", to="<sip:x@example.com>", contact="", call_id="register-attacker", cseq=20,
        headers=[("Contact", contact[0]), ("Expires", "600")],
    ))  # fmt: skip
    scene.run(700)  # Timer A or E
    assert victim.count(method)  # else this test shows nothing
    answer_from(victim, seen, 200 if method == "MESSAGE" else 486)
    scene.run(40_000)
    assert not is_proven(scene, victim)


def test_a_cancel_proves_nobody() -> None:
    """It has the branch of its INVITE (RFC 3261 §9.1), which the attacker has seen."""
    scene, attacker, victim = parties()
    caller = scene.peer("caller")
    contact = ["<sip:x@192.168.1.1>"]
    attacker.bind("x", contact)
    scene.run()
    invite = caller.ask("INVITE", "sip:x@example.com")
    scene.run(100)
    attacker.answer(attacker.take("INVITE"), 180)
    scene.run(100)
    victim.say(victim.text(
        "REGISTER", "sip:example.com", to="<sip:x@example.com>", contact="", call_id="register-attacker", cseq=20,
        headers=[("Contact", contact[0]), ("Expires", "600")],
    ))  # fmt: skip
    scene.run(100)
    caller.cancel(invite)
    scene.run(100)
    answer_from(victim, victim.take("CANCEL"), 200)  # its branch he knows, and all else he can guess
    scene.run(40_000)
    assert not is_proven(scene, victim)
