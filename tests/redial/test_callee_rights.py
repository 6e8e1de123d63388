"""What callees allow (3GPP TS 22.173): who may watch for them. Who may not gets the plain 480, in the same form."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from net.phone import Phone
from net.redialing import come_back, final_of, refers, watch_of
from net.scene import Scene, Speaker
from net.sipwire import Sip

from sipfast.config import Config, Peer, Redial
from sipfast.identity.rights import Rights
from sipfast.identity.users import UserTable

BOB = (b"sip:bob@example.com", b"sip:sales@example.com")
LOCAL = Rights(watchers=[b"@example.com"])


def table(*rights: Rights) -> UserTable:
    users = UserTable()
    for each in rights:
        users.restrict(BOB, each)
    return users


def stage(*rights: Rights, **redial: Any) -> Scene:
    """Everybody here is let in without a password, as a trusted server's word is."""
    settings = Redial(**{"methods": ("refer",), "default_period": 600, "callers": "any", **redial})
    peers = (Peer(addresses=("10.0.1.0/24",), rights=("identity",)),)
    return Scene(Config(redial=settings, peer=peers), users=table(*rights))


def call(scene: Scene, caller: Speaker, callee: str = "bob", **more: Any) -> Sip:
    asked = caller.ask("INVITE", f"sip:{callee}@example.com", **more)
    scene.run()
    answer = next(each for each in caller.inbox if each.status >= 200 and each.call_id == asked.call_id)
    caller.ack(asked, answer)
    return answer


def is_armed(scene: Scene, caller: bytes = b"sip:alice@example.com", callee: bytes = BOB[0]) -> bool:
    return watch_of(scene, caller, callee) is not None


# Rule by rule


@pytest.mark.parametrize(("rights", "caller", "allowed"), [
    (Rights(), b"sip:alice@example.com", True),
    (Rights(watch=False), b"sip:alice@example.com", False),
    (Rights(watch=False, watchers=[b"sip:alice@example.com"]), b"sip:alice@example.com", False),
    (Rights(watchers=[b"sip:alice@example.com"]), b"sip:alice@example.com", True),
    (Rights(watchers=[b"sip:alice@example.com"]), b"sips:alice@example.com", True),
    (Rights(watchers=[b"sip:alice@example.com"]), b"sip:alice@example.org", False),
    (Rights(watchers=[b"sip:alice@example.com", b"@example.org"]), b"sip:carol@example.org", True),
    (LOCAL, b"sip:carol@sub.example.com", False),
    (LOCAL, b"tel:+4930123", False),
])  # fmt: skip
def test_the_rules(rights: Rights, caller: bytes, allowed: bool) -> None:
    users = table(rights)
    for callee in (*BOB, b"sips:bob@example.com"):  # aliases count, and sips is the same person
        assert (users.refused(callee, caller) is None) == allowed
    assert users.refused(b"sip:carol@example.com", caller) is None


def test_of_two_who_act_for_an_address_both_have_to_allow_it() -> None:
    users = table(LOCAL, Rights(watchers=[b"sip:alice@example.com"]))
    assert users.refused(BOB[1], b"sip:alice@example.com") is None
    assert users.refused(BOB[1], b"sip:carol@example.com") and users.refused(BOB[1], b"sip:carol@example.org")


def test_anonymous_callers() -> None:
    users = table(Rights(anonymous=False))
    assert users.refused(BOB[0], b"sip:alice@example.com") is None
    assert users.refused(BOB[0], b"sip:alice@example.com", True)
    assert table(Rights()).refused(BOB[0], b"sip:alice@example.com", True) is None


# What a caller sees


def form_of(answer: Sip) -> list[str]:
    return [answer.raw.split(b"\r\n")[0].decode(), *(name for name, _ in answer.headers)]


@pytest.mark.parametrize(("rights", "why"), [
    (Rights(watch=False), "its callee lets nobody watch"),
    (Rights(watchers=[b"sip:carol@example.com"]), "its caller is not one of those whom its callee lets watch"),
])  # fmt: skip
@pytest.mark.parametrize("callee", ["bob", "sales"])
def test_who_may_not_gets_the_plain_480(
    rights: Rights, why: str, callee: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene = stage(rights)
    refused = call(scene, scene.peer("alice"), callee)
    assert refused.status == 480 and not refused.lines("call-info") and not refused.lines("warning")
    assert not is_armed(scene, callee=b"sip:%s@example.com" % callee.encode())
    assert why in told(caplog)


def test_it_is_the_480_of_a_call_that_is_not_watched() -> None:
    forms = []
    for scene in (stage(Rights(watch=False)), stage(default_period=0)):
        forms.append(form_of(call(scene, scene.peer("alice"))))
    assert forms[0] == forms[1]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.sip["why"] for record in caplog.records if record.message == "call-not-watched"]  # type: ignore[attr-defined]


def test_who_may_is_watched_for() -> None:
    scene = stage(Rights(watchers=[b"sip:alice@example.com"]))
    assert call(scene, scene.peer("alice")).lines("call-info")
    assert is_armed(scene)


ASSERTED = ("P-Asserted-Identity", "<sip:alice@example.com>")
UNKNOWN = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'


@pytest.mark.parametrize(("more", "refused"), [
    ({"sender": UNKNOWN, "headers": [ASSERTED]}, True),  # RFC 3323 §4.1.1.3
    ({"headers": [("Privacy", "id")]}, True),  # RFC 3325 §7
    ({"headers": [("Privacy", "header; User ;critical")]}, True),  # RFC 3323 §4.2
    ({"headers": [("Privacy", "none")]}, False), ({"headers": [("Privacy", "header;session")]}, False), ({}, False),
])  # fmt: skip
def test_callers_who_want_not_to_be_known(more: dict[str, Any], refused: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = stage(Rights(anonymous=False))
    call(scene, scene.peer("alice"), **more)
    assert is_armed(scene) == (not refused)
    assert ("its callee lets no anonymous caller watch" in told(caplog)) == refused
    allowed = stage(Rights(watchers=[b"sip:alice@example.com"]))
    call(allowed, allowed.peer("alice"), **more)
    assert is_armed(allowed)


# While the server runs


def wait_for(scene: Scene) -> tuple[Phone, Phone]:
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    made = alice.call("bob", 3600)
    scene.network.wait(lambda: made.over)
    assert final_of(made).lines("call-info") and is_armed(scene)
    return alice, bob


def test_a_right_that_goes_ends_the_watch_when_its_turn_comes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = stage()
    _, bob = wait_for(scene)
    scene.server.engine.know(table(Rights(watch=False)))
    come_back(scene, bob)
    scene.run(5_000)
    assert not refers(scene) and not is_armed(scene)
    ended, = (record.sip for record in caplog.records if record.message == "watch-ended")  # type: ignore[attr-defined]
    assert ended["reason"] == "its callee lets nobody watch"
    assert scene.server.engine.counters()["redial_given_up"] == 1


def test_of_two_callers_the_one_who_still_may_is_recalled() -> None:
    scene = stage()
    _, bob = wait_for(scene)
    carol = scene.phone("carol")
    made = carol.call("bob", 3600)
    scene.network.wait(lambda: made.over)
    scene.server.engine.know(table(Rights(watchers=[b"sip:carol@example.com"])))
    come_back(scene, bob)
    scene.run(5_000)
    assert [event.target for event in refers(scene)] == ["carol"]
    assert not is_armed(scene)


def test_a_right_that_comes_back_arms_again() -> None:
    scene = stage(Rights(watch=False))
    alice = scene.peer("alice")
    call(scene, alice)
    assert not is_armed(scene)
    scene.server.engine.know(table())
    call(scene, alice)
    assert is_armed(scene)


def test_a_watch_can_be_cancelled_by_who_may_no_longer() -> None:
    scene = stage()
    alice, _ = wait_for(scene)
    scene.server.engine.know(table(Rights(watch=False)))
    made = alice.call("bob", 0)
    scene.network.wait(lambda: made.over)
    scene.run(10)  # until its ACK is there
    assert final_of(made).status == 480 and not is_armed(scene)
