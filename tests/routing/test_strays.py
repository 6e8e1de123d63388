"""Responses that belong to no transaction: none of them leads anywhere that its INVITE did not come from."""

from __future__ import annotations

import re

import pytest
from net.calling import dialog, pair
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal, response

VICTIM = ("10.9.9.9", 5060)


def watched(scene: Scene) -> Speaker:
    return scene.peer("victim", VICTIM)


def to_victim(copy: Sip, status: int, how: str) -> bytes:
    """An answer to the INVITE that leads to the victim instead of its caller."""
    data = response(copy, status, tag="t").decode()
    ours, below = copy.all("via")
    changed = {
        "received": below.split(";received=")[0] + f";received={VICTIM[0]}",
        "rport": re.sub(r";rport=\d+", "", below) + f";received={VICTIM[0]};rport={VICTIM[1]}",
        "sent-by": below.replace("10.0.1.1", VICTIM[0]),
    }[how]
    assert below in data and ours in data
    return data.replace(below, changed).encode()


@pytest.mark.parametrize("status", [180, 183, 200])
@pytest.mark.parametrize("how", ["received", "rport", "sent-by"])
def test_whoever_has_seen_a_branch_cannot_send_elsewhere_by_it(how: str, status: int) -> None:
    scene, alice, bob = pair()
    victim = watched(scene)
    alice.ask("INVITE", "sip:bob@example.com", via=f"SIP/2.0/UDP {literal(alice.address)};branch=z9hG4bKa;rport")
    scene.run()
    copy = bob.take("INVITE")
    scene.server.crash(scene.now, 10)
    scene.run()
    for _ in range(3):
        bob.transmit(to_victim(copy, status, how), SERVER)
        scene.run()
    assert victim.got() == []
    bob.answer(copy, status)  # as it came, it is passed on
    scene.run()
    assert alice.count("INVITE", status) == 1


def test_a_branch_is_of_no_use_when_its_transaction_is_over() -> None:
    scene, alice, bob = pair()
    invite, copy, _ = dialog(scene, alice, bob)
    assert invite.call_id == copy.call_id
    scene.run(40_000)
    alice.inbox.clear()
    for crash in (False, True):
        if crash:
            scene.server.crash(scene.now, 10)
            scene.run()
        for status in (183, 200):
            bob.answer(copy, status, headers=[("Contact", "<sip:x@10.9.9.9>")])
            scene.run()
    assert alice.got() == []


@pytest.mark.parametrize("name", ["10.9.9.9:5060", "10.0.0.1:5061", "server.example.com", "10.0.0.10:5060"])
def test_a_response_that_names_another_sender_is_dropped(name: str) -> None:
    """RFC 3261 §18.1.2"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    copy = bob.take("INVITE")
    data = response(copy, 200, tag="t").replace(b"UDP " + literal(SERVER).encode(), b"UDP " + name.encode(), 1)
    bob.transmit(data, SERVER)
    scene.run()
    assert alice.got() == []
    bob.answer(copy, 200)
    scene.run()
    assert alice.got() == ["200"]
