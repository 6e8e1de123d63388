"""What the tests of the proxy set their scenes with: alice calls, bob is registered."""

from __future__ import annotations

from typing import Any

from compiled import looks

from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal, request, uri_of
from sipfast.config import Config


def pair(config: Config | None = None) -> tuple[Scene, Speaker, Speaker]:
    """Alice calls; bob is registered."""
    scene = Scene(config)
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind()
    scene.run()
    bob.take("REGISTER", 200)
    return scene, alice, bob


def forked(count: int, config: Config | None = None) -> tuple[Scene, Speaker, list[Speaker]]:
    """Alice calls bob, who has `count` phones."""
    scene = Scene(config)
    alice = scene.peer("alice")
    phones = [scene.peer(f"bob{i}") for i in range(count)]
    for phone in phones:
        phone.bind("bob")
    scene.run()
    for phone in phones:
        phone.take("REGISTER", 200)
    return scene, alice, phones


def dialog(scene: Scene, alice: Speaker, bob: Speaker) -> tuple[Sip, Sip, Sip]:
    """A call from alice that bob has answered: the INVITE as sent, as it came, and the 200 as alice got it."""
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    arrived = bob.take("INVITE")
    bob.answer(arrived, 200, headers=[("Contact", f"<sip:bob@{literal(bob.address)}>")])
    scene.run()
    ok = alice.take("INVITE", 200)
    fields = [("From", invite.first("from")), ("To", ok.first("to")), ("Call-ID", ok.call_id)]
    ack = request(
        "ACK", uri_of(ok.first("contact")),
        [
            ("Via", f"SIP/2.0/UDP {literal(alice.address)};branch={alice.token('z9hG4bK')}"), ("Max-Forwards", "70"),
            *fields, ("CSeq", f"{invite.cseq} ACK"), *(("Route", v) for v in ok.all("record-route")[::-1]),
        ],
    )  # fmt: skip
    alice.say(ack)
    scene.run()
    bob.take("ACK")
    alice.inbox.clear()
    return invite, arrived, ok


def token_of(scene: Scene, value: str) -> Any:
    """What our own Route, Record-Route or Path value carries: kind, digest and flows (RFC 5626 §5)."""
    user, _, rest = uri_of(value).removeprefix("sip:").partition("@")
    assert rest == f"{literal(SERVER)};lr", value
    said = looks().TokenLook(scene.server.engine.outbound.tokens).parse(user.encode())
    assert said is not None, value
    return said
