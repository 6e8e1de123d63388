"""In front of a registrar that knows no Path: it is given a token in the place of each phone's Contact."""

from __future__ import annotations

import pytest
from net.homes import BEHIND
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal, request, uri_of
from net.upstream import Upstream

from sipfast.config import Config
from sipfast.config import Upstream as Behind

AOR = "sip:bob@example.com"
US = literal(SERVER)


def scene_with(**attributes: object) -> tuple[Scene, Upstream]:
    """A server in front of a registrar that ignores Path, and keeps the address that a REGISTER came from."""
    behind = Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",), contact="token")
    scene = Scene(Config(upstream=(behind,)))
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    upstream.follows_path, upstream.rewrites_contact = False, True
    for name, value in attributes.items():
        setattr(upstream, name, value)
    return scene, upstream


def registered(speaker: Speaker, scene: Scene, *contacts: str, user: str = "bob", **more: int) -> Sip:
    speaker.bind(user, contacts, **more)
    scene.run()
    return speaker.take("REGISTER", 200)


def tokens(upstream: Upstream) -> list[str]:
    return [binding.contact for binding in upstream.live(AOR)]


def call(upstream: Upstream, uri: str, to: str = "") -> Sip:
    """An INVITE of the upstream's own, as a back-to-back user agent makes it."""
    fields = [
        ("Via", f"SIP/2.0/UDP {literal(BEHIND)};branch={upstream.token('z9hG4bK')}"), ("Max-Forwards", "70"),
        ("From", f"<sip:b2bua@{literal(BEHIND)}>;tag=1"), ("To", to or f"<{uri}>"), ("Call-ID", upstream.token("c")),
        ("CSeq", "1 INVITE"), ("Contact", f"<sip:{literal(BEHIND)}>"),
    ]  # fmt: skip
    data = request("INVITE", uri, fields)
    upstream.transmit(data, SERVER)
    return Sip(data)


def test_the_registrar_sees_our_address_and_the_phone_its_own() -> None:
    scene, upstream = scene_with()
    bob = scene.peer("bob")
    answer = registered(bob, scene, '<sip:bob@192.168.1.9;x=1>;+sip.instance="<urn:uuid:1>";q=0.5')
    (seen,) = upstream.registers[-1].all("contact")
    user, _, host = uri_of(seen).removeprefix("sip:").partition("@")
    assert user.startswith("f1") and len(user) <= 40 and host == US
    assert seen.endswith('>;+sip.instance="<urn:uuid:1>";q=0.5')
    assert not upstream.registers[-1].lines("path")
    assert [uri_of(value) for value in answer.all("contact")] == ["sip:bob@192.168.1.9;x=1"]


def test_the_phone_sees_its_own_contact_in_the_request_uri() -> None:
    scene, upstream = scene_with()
    bob = scene.peer("bob")
    registered(bob, scene, "<sip:bob@192.168.1.9;x=1>")
    (token,) = tokens(upstream)
    call(upstream, token)
    scene.run()
    assert bob.take("INVITE").uri == "sip:bob@192.168.1.9;x=1"


def test_a_restart_does_not_part_a_token_from_its_phone() -> None:
    scene, upstream = scene_with()
    bob = scene.peer("bob")
    registered(bob, scene)
    scene.server.crash(scene.now)
    scene.server.start(scene.now)
    call(upstream, tokens(upstream)[0])
    scene.run()
    bob.take("INVITE")


def test_a_phone_that_comes_by_another_flow_has_one_binding() -> None:
    scene, upstream = scene_with()
    bob, moved = scene.peer("bob"), scene.peer("moved")
    registered(bob, scene, "<sip:bob@192.168.1.9>")
    (former,) = tokens(upstream)
    registered(moved, scene, "<sip:bob@192.168.1.9>")
    (token,) = tokens(upstream)
    assert token != former
    for uri in (former, token):  # a call that was made before it moved has the former one
        call(upstream, uri)
        scene.run()
        moved.take("INVITE")
    assert not bob.inbox


def test_a_phone_that_goes_is_gone_at_the_registrar() -> None:
    scene, upstream = scene_with()
    bob, moved = scene.peer("bob"), scene.peer("moved")
    registered(bob, scene, "<sip:bob@192.168.1.9>")
    registered(moved, scene, "<sip:bob@192.168.1.9>", expires=0)
    assert tokens(upstream) == []


def test_all_contacts_go() -> None:
    scene, upstream = scene_with()
    bob = scene.peer("bob")
    registered(bob, scene)
    bob.bind("bob", ["*"], expires=0)
    scene.run()
    assert upstream.registers[-1].all("contact") == ["*"]


def test_two_phones_of_a_user_ring_each_by_its_own_token() -> None:
    scene, upstream = scene_with()
    desk, car = scene.peer("desk"), scene.peer("car")
    registered(desk, scene, "<sip:bob@192.168.1.9>")
    answer = registered(car, scene, "<sip:bob@192.168.1.9:5070>")
    assert {uri_of(value) for value in answer.all("contact")} == {"sip:bob@192.168.1.9", "sip:bob@192.168.1.9:5070"}
    for token, phone in zip(tokens(upstream), (car, desk), strict=True):
        call(upstream, token)
        scene.run()
        phone.take("INVITE")
        assert not desk.inbox and not car.inbox


def test_contacts_by_one_flow_are_one_to_the_registrar() -> None:
    """One goes, another comes, by the flow of both: what counts is the one that stays."""
    scene, upstream = scene_with()
    bob = scene.peer("bob")
    registered(bob, scene, "<sip:bob@192.168.1.9>")
    answer = registered(bob, scene, "<sip:bob@192.168.1.9>;expires=0", "<sip:bob@192.168.1.8>")
    assert len(tokens(upstream)) == 1
    assert [uri_of(value) for value in answer.all("contact")] == ["sip:bob@192.168.1.8"]
    call(upstream, tokens(upstream)[0])
    scene.run()
    assert bob.take("INVITE").uri == "sip:bob@192.168.1.8"


def test_what_a_token_led_to_is_not_there() -> None:
    """RFC 5626 §5.3.1; a user without any binding is away, and 480."""
    scene, upstream = scene_with()
    bob, other = scene.peer("bob"), scene.peer("other")
    registered(bob, scene, "<sip:bob@192.168.1.9>")
    (token,) = tokens(upstream)
    registered(bob, scene, "<sip:bob@192.168.1.9>", expires=0)
    call(upstream, token)
    scene.run()
    assert upstream.answers[-1].status == 480
    registered(other, scene, "<sip:bob@192.168.1.8>")
    call(upstream, token)
    scene.run()
    assert upstream.answers[-1].status == 430
    assert not bob.inbox and not other.inbox


@pytest.mark.parametrize("user", ["f1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "f1"])
def test_what_is_no_token_is_a_user(user: str) -> None:
    scene, upstream = scene_with()
    scene.peer("eve").ask("INVITE", f"sip:{user}@example.com")
    scene.run()
    (passed,) = scene.network.sent(upstream, status=480)
    assert passed.first("to").startswith(f"<sip:{user}@")


def test_a_recall_goes_through_a_registrar_without_path() -> None:
    scene, upstream = scene_with()
    alice = scene.phone("alice", behind=scene.home(), ring_time=500)
    bob = scene.phone("bob", behind=scene.home(), ring_time=500, register=False)
    first = alice.call("bob", expires=3600)
    scene.network.wait(lambda: first.status, 5_000, "alice is told that bob is away")
    bob.register()
    scene.network.wait(lambda: bob.calls and bob.calls[-1].state == "talking", 20_000, "the recall rings, and they talk")
    assert len(tokens(upstream)) == 1
