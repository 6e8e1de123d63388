"""What is done with requests of a source that has sent its share: dialogs go on, copies too, and all else hears 503."""

from __future__ import annotations

from typing import Any

from net.calling import dialog, pair
from net.scene import Scene, Speaker
from net.sipwire import Sip, literal, request, uri_of

from sipfast._flow import Flow
from sipfast.config import Config, Rates


def over(scene: Scene, peer: Speaker, data: bytes) -> None:
    """A datagram comes from a peer that has had its share."""
    engine = scene.server.engine
    engine.receive_over(data, Flow(peer.address[0], peer.address[1]), scene.now)
    engine.commit(scene.now)
    scene.run()


def within(method: str, alice: Speaker, invite: Sip, ok: Sip, routes: bool = True) -> bytes:
    """A request of alice's within her call."""
    fields: list[Any] = [("Via", f"SIP/2.0/UDP {literal(alice.address)};branch={alice.token('z9hG4bK')}")]
    fields += [("Max-Forwards", "70"), ("From", invite.first("from")), ("To", ok.first("to")), ("Call-ID", ok.call_id)]
    fields += [("CSeq", f"{invite.cseq + 1} {method}"), ("Contact", f"<sip:alice@{literal(alice.address)}>")]
    fields += [("Route", value) for value in ok.all("record-route")[::-1]] if routes else []
    return request(method, uri_of(ok.first("contact")), fields)


def test_a_new_call_hears_503_with_retry_after() -> None:
    # RFC 3261 §21.5.4
    scene, alice, bob = pair()
    over(scene, alice, alice.text("INVITE", "sip:bob@example.com"))
    answer = alice.take("INVITE", 503)
    assert int(answer.first("retry-after")) > 0
    assert not bob.inbox
    assert scene.server.engine.counters()["server_transactions"] == 0


def test_a_dialog_goes_on() -> None:
    scene, alice, bob = pair()
    invite, _, ok = dialog(scene, alice, bob)
    over(scene, alice, within("INVITE", alice, invite, ok))
    assert bob.take("INVITE")
    over(scene, alice, within("BYE", alice, invite, ok))
    assert bob.take("BYE")


def test_a_to_tag_alone_makes_no_dialog() -> None:
    scene, alice, bob = pair()
    invite, _, ok = dialog(scene, alice, bob)
    over(scene, alice, within("BYE", alice, invite, ok, routes=False))
    alice.take("BYE", 503)
    assert not bob.inbox


def test_a_copy_of_a_call_that_rings_is_absorbed() -> None:
    # RFC 3261 §17.2.1: a retransmission gets the last provisional response, and no second final one.
    scene, alice, bob = pair()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    ringing = bob.take("INVITE")
    alice.inbox.clear()
    over(scene, alice, invite.raw)
    assert [message.status for message in alice.inbox] == [100]
    bob.answer(ringing, 486)
    scene.run()
    assert alice.take("INVITE", 486)


def test_garbage_and_responses_are_dropped() -> None:
    scene, alice, bob = pair()
    for data in (b"INVITE nonsense\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"\0" * 100):
        over(scene, alice, data)
    assert not alice.inbox
    assert not bob.inbox


def test_503_is_said_to_so_many_a_second() -> None:
    scene, alice, _ = pair()
    engine = scene.server.engine
    for _ in range(5000):
        engine.receive_over(alice.text("INVITE", "sip:bob@example.com"), Flow(*alice.address), scene.now)
    engine.commit(scene.now)
    scene.run()
    assert 200 <= sum(message.status == 503 for message in alice.inbox) <= 1000


def test_other_rates_are_taken_while_it_runs() -> None:
    scene, _, _ = pair()
    limiter = scene.server.engine.limiter
    flow = Flow("192.0.2.77", 5060)
    assert limiter.admits(b"INVITE sip:a@b", flow, scene.now) == 0
    scene.server.engine.configure(Config(rates=Rates(source_new=1, ban_after=0)))
    assert sum(limiter.admits(b"INVITE sip:a@b", flow, scene.now) == 0 for _ in range(50)) <= 5


def test_the_server_itself_is_exempt() -> None:
    # Calls of its own (b2bua) come by its front door.
    scene = Scene(Config(rates=Rates(source_new=1)))
    limiter = scene.server.engine.limiter
    assert sum(limiter.admits(b"INVITE sip:a@b", Flow(*scene.server.address), scene.now) == 0 for _ in range(300)) == 300


def test_a_phone_that_has_registered_and_answered_has_its_own_share() -> None:
    # The OPTIONS that follows its REGISTER proves it (registrar.probe).
    scene = Scene(Config(rates=Rates(source_new=1, phone_new=40)))
    phone = scene.phone("carol")
    scene.run(1000)
    limiter = scene.server.engine.limiter
    stranger = Flow(phone.address[0], 9)
    for _ in range(50):
        limiter.admits(b"INVITE sip:a@b", stranger, scene.now)
    assert limiter.admits(b"INVITE sip:a@b", stranger, scene.now) == 2
    assert sum(limiter.admits(b"INVITE sip:a@b", Flow(*phone.address), scene.now) == 0 for _ in range(300)) == 200
