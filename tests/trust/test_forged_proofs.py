"""A secret that was at two addresses proves neither: what an attacker can do who wants his victim's address proven.

He sends what he likes from the victim's address, and reads what comes to his own.
"""

from __future__ import annotations

import pytest
from net.calling import dialog, pair
from net.scene import Scene, Speaker, is_proven, quiet
from net.sipwire import Sip, literal, response, uri_of, uri_param


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


# A Route with our token


def keys(message: Sip, header: str = "record-route") -> list[str]:
    found = [uri_param(uri_of(value), "key") for value in message.all(header)]
    return [key for key in found if key]


def bye(caller: Speaker, invite: Sip, ok: Sip, routes: list[str], **more: str) -> Sip:
    return caller.ask(
        "BYE", uri_of(ok.first("contact")), sender=invite.first("from"), to=ok.first("to"), call_id=ok.call_id, cseq=2,
        route=routes, contact="", **more,
    )  # fmt: skip


def test_a_caller_is_proven_by_the_route_of_its_ack() -> None:
    """RFC 3261 §16.7 step 8: its 200 has a Record-Route that the callee does not see."""
    scene, alice, bob = pair()
    assert not is_proven(scene, alice)
    alice.inbox.clear()
    _, arrived, ok = dialog(scene, alice, bob)
    assert len(keys(ok)) == 1 and not keys(arrived)
    assert is_proven(scene, alice)


def test_who_is_proven_gets_the_route_that_the_callee_sees() -> None:
    scene, alice, bob = pair()
    alice.bind()
    scene.run()
    _, arrived, ok = dialog(scene, alice, bob)
    assert ok.all("record-route") == arrived.all("record-route") != []


def test_the_other_party_of_a_call_cannot_prove_its_caller() -> None:
    """The attacker calls himself in the victim's name: he has the token, Call-ID, tags and all, but for the key."""
    scene, attacker, victim = parties()
    attacker.bind()
    scene.run()
    attacker.take("REGISTER", 200)
    invite = victim.ask("INVITE", "sip:attacker@example.com")
    scene.run()
    arrived = attacker.take("INVITE")
    ok = Sip(attacker.answer(arrived, 200, headers=[("Contact", f"<sip:attacker@{literal(attacker.address)}>")]))
    scene.run()
    (route,) = arrived.all("record-route")
    (key,) = keys(victim.take("INVITE", 200))
    for routes in ([route], [route.replace(";lr", f";lr;key={'0' * 24}")], [route.replace(";lr", f";lr;key={key[:-1]}x")]):
        bye(victim, invite, ok, routes)
        scene.run()
        assert attacker.take("BYE").all("route") == []
    assert not is_proven(scene, victim)


def test_a_key_of_the_attackers_own_call_is_of_no_use_for_another_address() -> None:
    scene, attacker, victim = parties()
    other = quiet(scene, "other")  # another address of his, which has proven nothing
    attacker.bind("callee")
    scene.run()
    invites, routes = [], []
    for caller in (other, victim):
        invites.append(caller.ask("INVITE", "sip:callee@example.com"))
        scene.run()
        arrived = attacker.take("INVITE")
        ok = Sip(attacker.answer(arrived, 200, headers=[("Contact", f"<sip:callee@{literal(attacker.address)}>")]))
        scene.run()
        routes.append(arrived.all("record-route")[0])
    (key,) = keys(other.take("INVITE", 200))
    bye(victim, invites[1], ok, [routes[1].replace(";lr", f";lr;key={key}")])
    scene.run()
    assert not is_proven(scene, victim)


def test_a_key_leaves_in_no_datagram_to_another_address() -> None:
    """The attacker sends the victim's INVITE again by his own address: the 200 goes there (RFC 3261 §18.2.2)."""
    scene, attacker, victim = parties()
    bob = scene.peer("bob")
    bob.bind()
    scene.run()
    invite = victim.ask("INVITE", "sip:bob@example.com", via=via_of(victim, "z9hG4bKsame"))
    scene.run()
    attacker.again(invite)
    scene.run()
    bob.answer(bob.take("INVITE"), 200, headers=[("Contact", "<sip:bob@10.0.1.3>")])
    scene.run()
    assert not keys(attacker.take("INVITE", 200))
    assert not victim.count("INVITE", 200)


def test_an_old_key_proves_nothing_and_its_route_goes_on() -> None:
    scene, alice, bob = pair()
    invite, _, ok = dialog(scene, alice, bob)
    scene.run(3 * 24 * 3_600_000)
    bob.bind()
    scene.run()
    bob.inbox.clear()
    bye(alice, invite, ok, ok.all("record-route")[::-1])
    scene.run()
    assert bob.count("BYE") == 1
    assert not is_proven(scene, alice)


def test_the_key_outlives_a_restart() -> None:
    scene, alice, bob = pair()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 200, headers=[("Contact", f"<sip:bob@{literal(bob.address)}>")])
    scene.run()
    ok = alice.take("INVITE", 200)
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.inbox.clear()
    bye(alice, invite, ok, ok.all("record-route")[::-1])
    scene.run()
    assert is_proven(scene, alice)
