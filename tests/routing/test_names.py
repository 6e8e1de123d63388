"""Host names that a peer's requests go to: asked for outside, and who waits meanwhile (RFC 3263 §4.2)."""

from __future__ import annotations

from functools import partial

from net.scene import Scene, Speaker
from net.sipwire import request

from sipfast.config import Config, Peer, Timers
from sipfast.engine.engine import Engine

TRUNK, CARRIER = ("10.9.0.1", 5060), ("10.8.0.1", 5060)
CAROL = "sip:carol@carrier.example"


class Street:
    """A trunk that may relay, a stranger, a carrier that is known by name only, and the questions that were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bytes]] = []
        config = Config(peer=(Peer(addresses=("10.9.0.1",), rights=("relay",)),), timers=Timers())
        self.scene = Scene(config, kind=partial(Engine, resolver=lambda ticket, name: self.asked.append((ticket, name))))
        self.trunk = self.scene.peer("trunk", TRUNK)
        self.stranger = self.scene.peer("stranger")
        self.carrier = self.scene.peer("carrier", CARRIER)

    def answer(self, *addresses: str, ticket: int | None = None) -> None:
        """The resolver has found these for what was asked last."""
        engine = self.scene.server.engine
        engine.resolved(self.asked[-1][0] if ticket is None else ticket, list(addresses), self.scene.now)
        engine.commit(self.scene.now)
        self.scene.run()

    def call(self, who: Speaker | None = None, uri: str = CAROL) -> bytes:
        invite = (who or self.trunk).ask("INVITE", uri)
        self.scene.run()
        return invite.raw


def test_a_call_goes_to_the_address_of_its_name() -> None:
    street = Street()
    street.call()
    assert [name for _, name in street.asked] == [b"carrier.example"]
    assert not street.carrier.inbox
    street.answer(CARRIER[0], "10.8.0.99")
    assert street.carrier.take("INVITE").uri == CAROL


def test_copies_and_others_for_the_name_ask_no_more() -> None:
    street = Street()
    invite = street.call()
    street.trunk.transmit(invite, street.scene.server.address)
    street.call(uri="sip:dave@CARRIER.example")
    assert len(street.asked) == 1
    street.answer(CARRIER[0])
    assert sorted(message.uri for message in street.carrier.inbox) == [CAROL, "sip:dave@CARRIER.example"]


def test_nobody_without_the_right_to_relay_makes_the_server_ask() -> None:
    street = Street()
    street.call(street.stranger)
    street.stranger.take("INVITE", 403)
    assert street.asked == []


def test_a_name_that_leads_nowhere_is_no_domain_of_this_server() -> None:
    # RFC 3261 §21.4.5
    street = Street()
    street.call()
    street.answer()
    street.trunk.take("INVITE", 404)


def test_a_name_that_nobody_answers_for_is_given_up_after_three_seconds() -> None:
    street = Street()
    street.call()
    street.scene.run(2_900)
    assert not any(message.status >= 200 for message in street.trunk.inbox)
    street.scene.run(200)
    street.trunk.take("INVITE", 404)
    street.answer(CARRIER[0])  # too late
    assert not street.carrier.inbox


def test_what_was_found_is_known_for_a_minute_and_nothing_for_ten_seconds() -> None:
    street = Street()
    for found, known in (((CARRIER[0],), 60_000), ((), 10_000)):
        before = len(street.asked)
        street.call()
        street.answer(*found)
        street.scene.run(known - 1_000)
        street.call()
        assert len(street.asked) == before + 1
        street.scene.run(2_000)
        street.call()
        assert len(street.asked) == before + 2
        street.answer()
        street.scene.run(11_000)


def test_a_caller_hangs_up_meanwhile() -> None:
    # RFC 3261 §9.2
    street = Street()
    invite = street.trunk.ask("INVITE", CAROL)
    street.scene.run()
    fields = [(name, invite.first(name.lower())) for name in ("Via", "From", "To", "Call-ID")]
    street.trunk.say(request("CANCEL", CAROL, [*fields, ("CSeq", f"{invite.cseq} CANCEL"), ("Max-Forwards", "70")]))
    street.scene.run()
    street.trunk.take("CANCEL", 200)
    street.trunk.take("INVITE", 487)
    street.answer(CARRIER[0])
    assert not street.carrier.inbox


def test_a_route_of_a_peer_may_be_a_name() -> None:
    street = Street()
    street.trunk.ask("MESSAGE", CAROL, route=["<sip:edge.example;lr>"])
    street.scene.run()
    assert [name for _, name in street.asked] == [b"edge.example"]
    street.answer(CARRIER[0])
    assert street.carrier.take("MESSAGE").uri == CAROL


def test_so_many_names_are_asked_for_at_a_time() -> None:
    street = Street()
    for i in range(300):
        street.trunk.ask("INVITE", f"sip:x@host{i}.example")
    street.scene.run(10)
    assert len(street.asked) == 256
    street.scene.run(4_000)
    counters = street.scene.server.counters
    assert (counters["names_asked"], counters["names_unanswered"]) == (256, 256)


def test_nothing_is_left_of_it() -> None:
    street = Street()
    street.call()
    street.scene.run(120_000)
    counters = street.scene.server.counters
    assert counters["server_transactions"] == 0
    street.call()
    assert len(street.asked) == 2
