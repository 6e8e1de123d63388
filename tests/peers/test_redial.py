"""Automatic redial, to SIPp's phones: stand-alone and in front of Kamailio."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from peers.lab import DOMAIN, Lab, listening
from peers.process import free_port, wait_until
from peers.server import Server
from peers.sipp import Sipp

pytestmark = pytest.mark.peers

ANY_PERIOD = "[redial]\nmin_period = 1\n"


Serve = Callable[..., Server]


@pytest.fixture(params=["alone", "before Kamailio"])
def serve(request: pytest.FixtureRequest, lab: Lab) -> Serve:
    """Starts sipfast with a configuration: with nothing behind it, or in front of Kamailio, which registers and routes."""
    behind = lab.kamailio().port if request.param == "before Kamailio" else None
    return lambda config="": lab.sipfast(config, upstream=behind, believes=True)


def arm(lab: Lab, server: Server, caller: str, port: int, expires: int = 3600) -> None:
    lab.caller("redial_arm", server.port, port=port, caller=caller, callee="bob", expires=expires).done()


def log_in(lab: Lab, server: Server, phone: Sipp) -> None:
    lab.caller("register", server.port, user="bob", contact_port=phone.port, expires=600).done()


def log_out(lab: Lab, server: Server) -> None:
    lab.caller("unregister", server.port, user="bob").done()


def recalled(lab: Lab, caller: str, port: int, scenario: str = "redial_recalled") -> Sipp:
    return lab.waiting(scenario, "-d", "300", port=port, caller=caller)


def no_refer(port: int, seconds: float) -> bool:
    """Whether a phone's port stays silent."""
    with listening(port) as ear:
        ear.settimeout(seconds)
        try:
            ear.recv(65535)
        except TimeoutError:
            return True
    return False


def redial(lab: Lab, server: Server) -> None:
    """The whole of it, once."""
    port = free_port()
    arm(lab, server, "alice", port)
    (watch,) = server.watches()
    assert (watch["callee"], watch["caller"]) == (f"sip:bob@{DOMAIN}", f"sip:alice@{DOMAIN}")
    assert (watch["mode"], watch["state"], watch["attempts"]) == ("NL", "armed", 0)

    alice, bob = recalled(lab, "alice", port), lab.waiting("uas_answer", user="bob")
    log_in(lab, server, bob)
    alice.done()
    bob.done()
    assert server.watches() == []


def test_redial(lab: Lab, serve: Serve):
    redial(lab, serve())


def test_redial_with_everyone_at_once(lab: Lab, serve: Serve):
    server = serve('[redial]\norder = "all"\n')
    ports = [free_port() for _ in range(3)]
    for i, port in enumerate(ports):
        arm(lab, server, f"alice{i}", port)
    callers = [recalled(lab, f"alice{i}", port) for i, port in enumerate(ports)]
    bob = lab.waiting("uas_answer", user="bob", calls=3)
    log_in(lab, server, bob)
    for phone in (*callers, bob):
        phone.done()
    assert server.watches() == []


def test_in_front_of_kamailio_that_says_404_of_a_user_seen_before(lab: Lab):
    server = lab.sipfast(upstream=lab.kamailio(absent=404).port)
    lab.caller("register", server.port, user="bob", contact_port=free_port(), expires=600).done()
    log_out(lab, server)
    redial(lab, server)


def test_calls_pass_through_to_kamailio(lab: Lab):
    server = lab.sipfast(upstream=lab.kamailio().port)
    bob = lab.waiting("uas_answer", user="bob")
    log_in(lab, server, bob)
    lab.caller("uac_call", server.port, caller="alice", callee="bob").done()
    bob.done()


def test_three_callers_one_after_the_other_oldest_first(lab: Lab, serve: Serve):
    server = serve()
    names = ["carol", "alice", "dave"]
    ports = [free_port() for _ in names]
    for name, port in zip(names, ports, strict=True):
        arm(lab, server, name, port)
    assert [watch["caller"] for watch in sorted(server.watches(), key=lambda row: str(row["armed_at"]))] == [
        f"sip:{name}@{DOMAIN}" for name in names
    ]
    callers = [recalled(lab, name, port) for name, port in zip(names, ports, strict=True)]
    bob = lab.waiting("uas_answer", user="bob", calls=3)
    log_in(lab, server, bob)
    for phone in (*callers, bob):
        phone.done(60)
    # What Bob's phone got, in order: a call begins when the one before has ended.
    got = re.findall(r"UDP message received .*?\n\n(INVITE|BYE) .*?From: <sip:(\w+)@", bob.trace(), re.DOTALL)
    assert got == [(method, name) for name in names for method in ("INVITE", "BYE")]
    assert server.watches() == []


def test_a_watch_ends_with_its_period(lab: Lab, serve: Serve):
    server = serve(ANY_PERIOD)
    port = free_port()
    arm(lab, server, "alice", port, expires=2)
    wait_until(lambda: server.watches() == [], 10, "the watch is gone")
    bob = lab.waiting("uas_answer", user="bob")
    log_in(lab, server, bob)
    assert no_refer(port, 1.5)


def test_a_short_expires_is_no_wish_for_redial(lab: Lab, serve: Serve):
    server = serve()
    lab.caller("redial_plain_480", server.port, caller="alice", callee="bob", expires=299).done()
    assert server.watches() == []


def test_expires_0_cancels(lab: Lab, serve: Serve):
    server = serve()
    port = free_port()
    arm(lab, server, "alice", port)
    lab.caller("redial_plain_480", server.port, port=port, caller="alice", callee="bob", expires=0).done()
    assert server.watches() == []
    log_in(lab, server, lab.waiting("uas_answer", user="bob"))
    assert no_refer(port, 1.5)


def test_a_second_call_renews_the_one_watch_of_the_pair(lab: Lab, serve: Serve):
    server = serve()
    port = free_port()
    arm(lab, server, "alice", port, expires=400)
    arm(lab, server, "alice", port, expires=4000)
    assert len(server.watches()) == 1


@pytest.mark.parametrize("gone", ["uas_gone", "uas_busy"])
def test_a_recall_in_vain_leaves_the_watch_for_the_next_login(lab: Lab, serve: Serve, gone: str):
    server = serve()
    port = free_port()
    arm(lab, server, "alice", port)
    (before,) = server.watches()

    alice, bob = recalled(lab, "alice", port, "redial_recalled_in_vain"), lab.waiting(gone)
    log_in(lab, server, bob)
    alice.done()
    bob.done()
    (watch,) = server.watches()
    assert (watch["state"], watch["attempts"]) == ("armed", 0)  # nothing that the caller could have used
    assert watch["last_result"]
    assert watch["expires_at"] == before["expires_at"]  # its remaining life, not a new one

    log_out(lab, server)
    alice, bob = recalled(lab, "alice", port), lab.waiting("uas_answer", user="bob")
    log_in(lab, server, bob)
    alice.done()
    bob.done()
    assert server.watches() == []


def test_a_phone_that_refuses_refer_is_asked_again_and_uses_no_attempt_up(lab: Lab, serve: Serve):
    server = serve('[redial]\nmethods = ["refer"]\nattempts = 1\nretry_pause = 0.2\n')
    port = free_port()
    arm(lab, server, "alice", port)
    alice = lab.waiting("redial_refused", port=port, calls=2)
    log_in(lab, server, lab.waiting("uas_answer", user="bob"))
    alice.done()
    wait_until(lambda: tried(server.watches()[0]) == (0, "armed"), 5, "the second recall has come to nothing")


def test_no_answer_to_refer_rearms(lab: Lab, serve: Serve):
    server = serve('[redial]\nmethods = ["refer"]\nrefer_timeout = 1.0\n')
    port = free_port()
    arm(lab, server, "alice", port)
    with listening(port):
        log_in(lab, server, lab.waiting("uas_answer", user="bob"))
        wait_until(lambda: "no answer" in str(server.watches()[0]["last_result"]), 15, "the recall has come to nothing")
        assert tried(server.watches()[0]) == (0, "armed")


def tried(watch: dict[str, Any]) -> tuple[int, str]:
    return watch["attempts"], watch["state"]


def test_the_recall_goes_where_the_caller_is_now(lab: Lab, serve: Serve):
    """A Contact and a registration that were not there when it called are another device, for all that is known."""
    server = serve('[redial]\nother_devices = "always"\n')
    old = free_port()
    lab.caller("register", server.port, user="alice", contact_port=old, expires=600).done()
    arm(lab, server, "alice", old)
    lab.caller("unregister", server.port, user="alice").done()
    alice = recalled(lab, "alice", free_port())
    lab.caller("register", server.port, user="alice", contact_port=alice.port, expires=600).done()
    bob = lab.waiting("uas_answer", user="bob")
    log_in(lab, server, bob)
    alice.done()
    bob.done()


def test_a_call_that_comes_about_otherwise_ends_the_watch(lab: Lab, serve: Serve):
    server = serve("[redial]\nguard = 3.0\n")
    port = free_port()
    arm(lab, server, "alice", port)
    bob = lab.waiting("uas_answer", user="bob")
    log_in(lab, server, bob)  # and before the guard is over Alice calls by herself
    lab.caller("uac_call", server.port, port=port, caller="alice", callee="bob").done()
    bob.done()
    assert server.watches() == []
    assert no_refer(port, 3.5)
