"""Requests that are for nobody, or for nobody here: what the server itself answers, and why."""

from __future__ import annotations

import pytest
from net.calling import dialog, pair
from net.scene import DOMAIN, SERVER, Scene
from net.sipwire import literal

from sipfast.config import Config, Upstream

SELF = f"sip:{literal(SERVER)}"


# At the server's own address


@pytest.mark.parametrize("method", ["INVITE", "BYE", "MESSAGE", "UPDATE", "INFO", "REFER", "SUBSCRIBE", "OPTIONS"])
def test_a_request_in_a_dialog_that_is_none_is_481(method: str) -> None:
    """RFC 3261 §12.2.2"""
    scene, alice, _ = pair()
    alice.ask(method, SELF, to=f"<{SELF}>;tag=1")
    scene.run()
    alice.take(method, 481)


@pytest.mark.parametrize("method", ["FOO", "invite"])
def test_an_unknown_method_is_501(method: str) -> None:
    """RFC 3261 §21.5.2"""
    scene, alice, _ = pair()
    alice.ask(method, SELF)
    scene.run()
    alice.take(method, 501)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "INFO"])
def test_a_known_method_is_405_and_the_allow_has_it_not(method: str) -> None:
    """RFC 3261 §8.2.1: the Allow lists what the server takes there."""
    scene, alice, _ = pair()
    alice.ask(method, SELF)
    scene.run()
    allowed = alice.take(method, 405).all("allow")
    assert method not in allowed and {"OPTIONS", "NOTIFY"} <= set(allowed)


# Extensions


@pytest.mark.parametrize(
    ("method", "uri", "name"),
    [
        ("NOTIFY", SELF, "Require"),
        ("OPTIONS", SELF, "Require"),
        ("REGISTER", "sip:example.com", "Require"),
        ("INVITE", "sip:bob@example.com", "Proxy-Require"),
        ("MESSAGE", "sip:bob@example.com", "Proxy-Require"),
        ("ACK-LIKE", "sip:bob@example.com", "Proxy-Require"),
    ],
)
def test_a_420_names_what_is_not_supported(method: str, uri: str, name: str) -> None:
    """RFC 3261 §8.2.2.3, §16.3 step 5"""
    scene, alice, _ = pair()
    to = "<sip:alice@example.com>" if method == "REGISTER" else ""
    alice.ask(method, uri, to=to, headers=[(name, "foo"), (name, "bar, 100rel")])
    scene.run()
    assert alice.take(method, 420).all("unsupported") == ["foo", "bar", "100rel"]


def test_an_empty_proxy_require_asks_for_nothing() -> None:
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Proxy-Require", "")])
    scene.run()
    bob.take("INVITE")


@pytest.mark.parametrize("tags", ["", "path"], ids=["none", "one that is supported"])
def test_a_require_that_asks_for_nothing_new_is_no_420(tags: str) -> None:
    """RFC 3261 §8.2.2.3, §11.2"""
    scene, alice, _ = pair()
    alice.ask("OPTIONS", f"sip:{literal(SERVER)}", headers=[("Require", tags)])
    scene.run()
    alice.take("OPTIONS", 200)


# sips


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "BYE"])
@pytest.mark.parametrize("way", ["a user", "a dialog", "an upstream"])
def test_a_sips_request_does_not_leave_by_clear_udp(method: str, way: str) -> None:
    """RFC 3261 §26.2.2; RFC 5630 §5.3: 480 with Warning 380 (a 416 would ask the caller to try sip: itself)."""
    upstream = Upstream(uri="sip:10.0.8.8:5060", domains=(DOMAIN,))
    scene, alice, bob = pair()
    if way == "an upstream":
        scene = Scene(Config(upstream=(upstream,)))
        alice, bob = scene.peer("alice"), scene.peer("proxy", ("10.0.8.8", 5060))
    if way == "a dialog":
        _, _, ok = dialog(scene, alice, bob)
        alice.ask(
            method, "sips:bob@example.com", to=ok.first("to"), route=ok.all("record-route")[::-1], call_id=ok.call_id,
            cseq=9, sender=ok.first("from"),
        )  # fmt: skip
    else:
        alice.ask(method, "sips:bob@example.com", to="<sip:bob@example.com>")
    scene.run()
    assert not bob.count(method)
    assert alice.take(method, 480).first("warning").startswith("380 ")


# Whom nobody here serves


@pytest.mark.parametrize("user", ["x", "bob", "carol"])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "FOO"])
def test_a_user_at_our_address_is_404_and_hears_why(method: str, user: str, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 3261 §21.4.5: the address is ours, a domain of ours it is not."""
    scene, alice, _ = pair()
    for _ in range(3):
        alice.ask(method, f"sip:{user}@{literal(SERVER)}")
        scene.run()
        assert "domains" in alice.take(method, 404).first("warning")
    lines = [record for record in caplog.records if record.message == "domain-not-served"]
    assert len(lines) == 1 and "domains" in lines[0].sip["keys"] and lines[0].sip["host"] == SERVER[0]


def test_another_domain_is_403_and_the_log_names_the_key(caplog: pytest.LogCaptureFixture) -> None:
    scene, alice, _ = pair()
    for _ in range(3):
        alice.ask("INVITE", "sip:bob@other.example")
        scene.run()
        assert alice.take("INVITE", 403).first("warning")
    lines = [record for record in caplog.records if record.message == "domain-not-served"]
    assert len(lines) == 1 and lines[0].sip["keys"] == "domains, [[upstream]], [[peer]]"


def test_a_publish_alone_is_489() -> None:
    """RFC 3903 §6: there is no event state compositor; a phone is not asked to be one."""
    scene, alice, bob = pair()
    alice.ask("PUBLISH", "sip:bob@example.com", headers=[("Event", "presence"), ("Expires", "60")])
    scene.run()
    assert alice.take("PUBLISH", 489).first("allow-events")  # table 1
    assert not bob.inbox


@pytest.mark.parametrize("method", ["SUBSCRIBE", "FOO", "invite"])
def test_a_subscribe_and_unknown_methods_go_to_the_phone(method: str) -> None:
    """RFC 3261 §16.3: a proxy knows no methods; `dialog` between phones lives on SUBSCRIBE."""
    scene, alice, bob = pair()
    alice.ask(method, "sip:bob@example.com", headers=[("Event", "dialog")])
    scene.run()
    bob.answer(bob.take(method), 200)
    scene.run()
    alice.take(method, 200)


# Bindings that name users (RFC 3261 §16.5)


def test_a_binding_that_names_another_user_leads_to_that_users_phone() -> None:
    scene, alice, bob = pair()
    bob.bind("carol", ["<sip:bob@example.com>"])
    scene.run()
    alice.ask("INVITE", "sip:carol@example.com")
    scene.run()
    assert bob.take("INVITE").uri == f"sip:bob@{literal(bob.address)}"


def test_users_that_name_each_other_are_480() -> None:
    scene, alice, _ = pair()
    alice.bind("dave", ["<sip:carol@example.com>"])
    alice.bind("carol", ["<sip:dave@example.com>"])
    scene.run()
    alice.ask("INVITE", "sip:carol@example.com")
    scene.run()
    alice.take("INVITE", 480)
