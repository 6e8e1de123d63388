"""baresip, a softphone that people use: it registers, calls, and meets redial."""

from __future__ import annotations

import pytest

from peers.lab import DOMAIN, Lab
from peers.process import wait_until
from sipfast.node import admin

pytestmark = pytest.mark.peers


def test_two_phones_register_and_call(lab: Lab):
    server = lab.sipfast()
    alice, bob = lab.baresip("alice", server.port), lab.baresip("bob", server.port)
    assert {row["aor"] for row in server.bindings()} == {f"sip:{user}@{DOMAIN}" for user in ("alice", "bob")}
    alice.dial(f"sip:bob@{DOMAIN}")
    alice.sees("CALL_ESTABLISHED")
    bob.sees("CALL_ESTABLISHED")
    alice.hang_up()
    bob.sees("CALL_CLOSED")


def test_a_phone_that_is_stopped_unregisters(lab: Lab):
    server = lab.sipfast()
    alice = lab.baresip("alice", server.port)
    alice.stop()
    wait_until(lambda: server.bindings() == [], 5, "the binding is gone")


def test_in_front_of_kamailio(lab: Lab):
    server = lab.sipfast(upstream=lab.kamailio().port)
    alice, bob = lab.baresip("alice", server.port), lab.baresip("bob", server.port)
    alice.dial(f"sip:bob@{DOMAIN}")
    alice.sees("CALL_ESTABLISHED")
    bob.sees("CALL_ESTABLISHED")
    bob.hang_up()
    alice.sees("CALL_CLOSED")


def test_a_phone_without_refer_keeps_its_watch(lab: Lab):
    """baresip 1.0 answers 501 to a REFER out of a dialog, and here nothing else is tried; its calls name no Expires."""
    server = lab.sipfast('[redial]\nmethods = ["refer"]\ndefault_period = 600\n')
    alice = lab.baresip("alice", server.port)
    alice.dial(f"sip:bob@{DOMAIN}")
    alice.sees("CALL_CLOSED")
    assert [row["callee"] for row in server.watches()] == [f"sip:bob@{DOMAIN}"]
    bob = lab.baresip("bob", server.port)
    wait_until(lambda: "501" in str(server.watches()[0]["last_result"]), 10, "the recall was tried")
    assert (server.watches()[0]["state"], server.watches()[0]["attempts"]) == ("armed", 0)
    alice.dial(f"sip:bob@{DOMAIN}")  # so she calls by hand, and the watch has done its work
    bob.sees("CALL_ESTABLISHED")
    wait_until(lambda: server.watches() == [], 5, "the watch is gone")


@pytest.mark.parametrize("kind", ["baresip", "linphone", "twinkle"])
def test_a_phone_that_registers_is_asked_and_proven(lab: Lab, kind: str):
    """By one OPTIONS, which it answers; it stays registered, and its call is as ever."""
    server = lab.sipfast(probe=True)

    def counted() -> dict[str, int]:
        (told,) = (admin.ask(place) for place in admin.places(str(server.data)))
        assert told is not None
        counters: dict[str, int] = told["counters"]
        return counters

    alice = getattr(lab, kind)("alice", server.port)
    wait_until(lambda: counted()["probes_answered"] == 1, 5, "the answer")
    assert (counted()["probes"], counted()["stray_responses"], counted()["faults"]) == (1, 0, 0)
    bob = lab.baresip("bob", server.port)
    bob.dial(f"sip:alice@{DOMAIN}")
    wait_until(lambda: counted()["forwarded"] >= 1, 5, "the call at the phone")
    assert len(server.bindings()) == 2
    alice.stop()
