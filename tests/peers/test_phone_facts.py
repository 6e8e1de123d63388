"""What real phones do when a server calls them and asks them to call: docs/phones.md, which these tests hold to be true.

By raw SIP, without the server under test. A phone that does something else in another version has another line there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from net.sipwire import Sip, uri_of

from peers.lab import DOMAIN, Lab
from peers.raw import Desk, Ear, Leg, sdp

pytestmark = pytest.mark.peers

BOB, ALICE, OTHER = (f"sip:{user}@{DOMAIN}" for user in ("bob", "alice", "other"))
SOUND = 15  # RTP packets of 20 ms


@dataclass(frozen=True)
class Facts:
    """One phone's line of the table. 0: silence."""

    agent: str  # how its User-Agent begins
    refer: int  # to REFER out of a dialog
    nosub: int  # the same with Refer-Sub: false
    early: tuple[int, ...]  # to REFER in the early dialog; 202 is obeyed
    mute: int  # to an INVITE whose SDP has no m-line; 180: it rings
    own_name: bool = True  # From of the new call is its account's, and not the To of the call that the REFER came in
    leaves: bool = False  # ends the old dialog by itself when the new call is answered
    tells_end: bool = True  # the last NOTIFY ends the subscription also where the new call failed


FACTS = {
    "baresip": Facts("baresip v", 501, 501, (202,), 488, own_name=False),
    "linphone": Facts("Linphonec/", 603, 603, (491, 501), 488, tells_end=False),
    "twinkle": Facts("Twinkle/", 403, 403, (500,), 180, leaves=True),
    "baresip_python": Facts("baresip-python", 501, 401, (202,), 488, own_name=False),
    "pjsua2": Facts("", 0, 0, (202,), 400),
}
each_phone = pytest.mark.parametrize("kind", FACTS)


@dataclass
class Scene:
    """A phone and who has it in hand."""

    desk: Desk
    alice: Any
    facts: Facts

    def call(self, *, to: str = "", body: str = "") -> Leg:
        """Call it with an offer to a port where nobody listens, and hear it ring."""
        leg = self.desk.invite(body=body or sdp(self.desk.at.host, self.desk.at.free_port()), to=to)
        assert self.desk.rings(leg), self.desk.story()
        return leg

    def pick_up(self, leg: Leg) -> None:
        """Somebody answers it."""
        self.alice.pick_up()
        assert self.desk.answered(leg) == 200, self.desk.story()

    def refer(self, leg: Leg) -> int:
        """Ask it to call Bob; returns its answer."""
        self.desk.refer(leg)
        return self.desk.final("REFER", leg.call_id, 3)

    def new_call(self, leg: Leg) -> Sip:
        """The call that it places then, to Bob and to nobody else."""
        new = self.desk.calls(leg)
        assert new is not None, self.desk.story()
        assert new.uri == BOB and not new.first("replaces") and not new.first("expires")
        return new

    def bob_answers(self, new: Sip, ear: Ear) -> None:
        """Bob's phone rings and is answered; his ear hears the caller."""
        self.desk.respond(new, 180, f"Contact: <{BOB}:5060>", tag="bob")
        self.desk.respond(new, 200, f"Contact: <sip:bob@{self.desk.me}>", tag="bob", body=ear.sdp)
        assert self.desk.wait(lambda m: m.method == "ACK" and m.call_id == new.call_id), self.desk.story()
        assert ear.hears(SOUND), self.desk.story()

    def notified(self, leg: Leg) -> list[tuple[str, int]]:
        """State and status of each NOTIFY so far."""
        return [
            (m.first("subscription-state").partition(";")[0], int(m.body.split()[1]))
            for _, way, m in self.desk.log
            if way == "<" and m.method == "NOTIFY" and m.call_id == leg.call_id
        ]

    def has_ended(self, call_id: str) -> bool:
        """Whether the phone sent a BYE."""
        return any(way == "<" and m.method == "BYE" and m.call_id == call_id for _, way, m in self.desk.log)


Begin = Callable[[str], Scene]


@pytest.fixture
def begin(lab: Lab) -> Iterator[Begin]:
    with contextlib.ExitStack() as end:

        def start(kind: str) -> Scene:
            desk = Desk()
            end.callback(desk.close)
            with desk.at_work():
                alice = getattr(lab, kind)("alice", desk.port, answers=False)
            end.callback(log_out, desk, alice)
            return Scene(desk, alice, FACTS[kind])

        yield start


@pytest.fixture
def ear() -> Iterator[Ear]:
    it = Ear()
    yield it
    it.close()


def log_out(desk: Desk, phone: Any) -> None:
    """Have it end while somebody answers its last REGISTER."""
    with desk.at_work():
        phone.stop()


@each_phone
def test_what_it_says_to_a_call_from_nowhere(begin: Begin, kind: str):
    scene = begin(kind)
    desk, facts = scene.desk, scene.facts
    register = next(m for _, way, m in desk.log if m.method == "REGISTER" and way == "<")
    assert register.first("user-agent").startswith(facts.agent)

    for lines, status in (((), facts.refer), (("Refer-Sub: false", "Supported: norefersub"), facts.nosub)):
        leg = desk.leg()
        desk.refer(leg, *lines)
        assert desk.final("REFER", leg.call_id, 1.0) == status, desk.story()
        assert desk.calls(leg, 0.2) is None

    leg = desk.invite("Alert-Info: <urn:alert:service:recall:callback>", "Answer-Mode: Auto", body=sdp(desk.at.host, 9))
    assert desk.rings(leg) and desk.answered(leg, 0.5) == 0, "it answered by itself"
    desk.cancel(leg)
    assert desk.answered(leg) == 487

    leg = desk.invite(body=sdp(desk.at.host, 9, "none"))
    assert (180 if desk.rings(leg) else desk.answered(leg)) == facts.mute


@each_phone
def test_a_refer_while_it_rings(begin: Begin, kind: str, ear: Ear):
    """Obeyed with nobody picking up, and then our INVITE can be cancelled; or refused, which does no harm."""
    scene = begin(kind)
    leg = scene.call()
    assert scene.refer(leg) in scene.facts.early, scene.desk.story()
    if scene.facts.early == (202,):
        new = scene.new_call(leg)
        assert uri_of(new.first("from")) == ALICE
        scene.desk.cancel(leg)
        assert scene.desk.answered(leg) == 487
    else:
        assert scene.desk.calls(leg, 0.5) is None
        scene.pick_up(leg)
        scene.desk.pause(0.05)
        assert scene.refer(leg) == 202
        new = scene.new_call(leg)
    scene.bob_answers(new, ear)
    scene.desk.pause(0.5)
    assert not scene.has_ended(new.call_id), "the new call ended with the old one"


@each_phone
def test_a_refer_once_it_is_picked_up(begin: Begin, kind: str, ear: Ear):
    """50 ms after the ACK."""
    scene = begin(kind)
    leg = scene.call()
    scene.pick_up(leg)
    scene.desk.pause(0.05)
    assert scene.refer(leg) == 202
    new = scene.new_call(leg)
    assert uri_of(new.first("from")) == ALICE
    scene.bob_answers(new, ear)
    scene.desk.pause(0.5)
    assert scene.notified(leg)[-1] == ("terminated", 200)
    assert scene.has_ended(leg.call_id) == scene.facts.leaves
    if not scene.facts.leaves:
        assert scene.desk.hang_up(leg) == 200
    assert ear.hears(SOUND), "the new call ended with the old one"


@each_phone
def test_the_new_call_may_find_bob_busy(begin: Begin, kind: str):
    """The old dialog is up then. The new call is in the name that the old one was for, with two of the phones."""
    scene = begin(kind)
    leg = scene.call(to=OTHER)
    scene.pick_up(leg)
    scene.desk.pause(0.05)
    assert scene.refer(leg) == 202
    new = scene.new_call(leg)
    assert uri_of(new.first("from")) == (ALICE if scene.facts.own_name else OTHER)
    scene.desk.respond(new, 486, tag="bob")
    scene.desk.pause(0.5)
    assert scene.notified(leg)[-1] == ("terminated" if scene.facts.tells_end else "active", 486)
    assert not scene.has_ended(leg.call_id)
    assert scene.desk.hang_up(leg) == 200


@each_phone
def test_it_is_joined_by_third_party_call_control(begin: Begin, kind: str, ear: Ear):
    """RFC 3725 §4.1, with the answer 1 s late; then somewhere else, by an offer."""
    scene = begin(kind)
    desk = scene.desk
    leg = scene.call()
    scene.pick_up(leg)
    desk.pause(0.5)  # baresip-python has a re-INVITE of its own
    first = Ear()
    with contextlib.closing(first):
        desk.request(leg, "INVITE")
        assert desk.answered(leg, ack=False) == 200, desk.story()
        assert leg.answer is not None and b"m=audio" in leg.answer.body
        desk.pause(1.0)
        desk.ack(leg, leg.answer, body=first.sdp)
        assert first.hears(SOUND), desk.story()
        desk.request(leg, "INVITE", body=ear.sdp)
        assert desk.answered(leg) == 200, desk.story()
        assert ear.hears(SOUND), desk.story()
    assert desk.hang_up(leg) == 200
