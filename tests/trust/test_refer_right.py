"""Whose REFERs reach phones: a phone that obeys one calls whomever it names (RFC 3515 §5.1)."""

from __future__ import annotations

import pytest
from net.calling import dialog, pair
from net.scene import SERVER
from net.sipwire import literal

from sipfast.config import Config, Peer, Upstream

PREMIUM = [("Refer-To", "<sip:+900123@example.net>")]


@pytest.mark.parametrize("tag", ["", ";tag=made-up"], ids=["out of a dialog", "in a dialog that is none"])
def test_a_strangers_refer_does_not_reach_a_phone(tag: str) -> None:
    scene, alice, bob = pair()
    alice.ask("REFER", "sip:bob@example.com", to=f"<sip:bob@example.com>{tag}", headers=PREMIUM)
    alice.ask("REFER", "sip:bob@example.com", to=f"<sip:bob@example.com>{tag}", headers=PREMIUM,
              route=[f"<sip:{literal(SERVER)};lr>"])  # fmt: skip
    scene.run(40_000)
    assert bob.got() == []
    assert set(alice.got()) == {"403"}
    assert "right refer" in alice.take("REFER", 403).first("warning")


def test_a_registered_users_refer_neither() -> None:
    scene, alice, bob = pair()
    alice.bind()
    scene.run()
    alice.inbox.clear()
    alice.ask("REFER", "sip:bob@example.com", headers=PREMIUM)
    scene.run()
    assert (alice.got(), bob.got()) == (["403"], [])


@pytest.mark.parametrize(("rights", "arrives"), [(("refer",), True), (("relay", "path", "identity"), False)])
def test_a_peers_refer_reaches_a_phone_with_that_right(rights: tuple[str, ...], arrives: bool) -> None:
    scene, alice, bob = pair(Config(peer=(Peer(addresses=("10.0.1.1",), rights=rights),)))  # type: ignore[arg-type]
    alice.ask("REFER", "sip:bob@example.com", headers=PREMIUM)
    scene.run()
    assert (bob.count("REFER"), alice.count("REFER", 403)) == ((1, 0) if arrives else (0, 1))


def test_a_phones_refer_reaches_the_upstream_and_the_upstreams_a_phone() -> None:
    scene, alice, bob = pair(Config(upstream=(Upstream(uri="sip:10.0.1.9:5060", domains=("else.example",)),)))
    upstream = scene.peer("upstream", ("10.0.1.9", 5060))
    alice.bind()
    scene.run()
    alice.ask("REFER", "sip:bob@else.example", headers=PREMIUM)
    upstream.ask("REFER", "sip:bob@example.com", headers=PREMIUM)
    scene.run()
    assert (upstream.count("REFER"), bob.count("REFER")) == (1, 1)


def test_a_transfer_within_a_call_passes() -> None:
    """RFC 5589: that dialog's Route has our token."""
    scene, alice, bob = pair()
    invite, _, ok = dialog(scene, alice, bob)
    alice.ask(
        "REFER", ok.first("contact").strip("<>"), to=ok.first("to"), sender=invite.first("from"), call_id=invite.call_id,
        cseq=invite.cseq + 1, route=ok.all("record-route")[::-1], headers=PREMIUM,
    )  # fmt: skip
    scene.run()
    assert bob.count("REFER") == 1
