"""sipfast as registrar and proxy, to SIPp's phones: the same scenarios that Kamailio passes."""

from __future__ import annotations

import re

import pytest

from peers.lab import DOMAIN, Lab

pytestmark = pytest.mark.peers


def test_register_lists_the_contact_until_it_is_taken_back(lab: Lab):
    server = lab.sipfast()
    lab.caller("register", server.port, user="bob", contact_port=5070, expires=600).done()
    assert [row["aor"] for row in server.bindings()] == [f"sip:bob@{DOMAIN}"]
    lab.caller("unregister", server.port, user="bob").done()
    assert server.bindings() == []


def test_a_refresh_is_no_second_binding(lab: Lab):
    server = lab.sipfast()
    lab.caller("register_refresh", server.port, user="bob", contact_port=5070, expires=600).done()
    assert len(server.bindings()) == 1


def test_call_with_acks_and_byes_by_the_route_set(lab: Lab):
    server = lab.sipfast()
    bob = lab.waiting("uas_answer", user="bob")
    lab.caller("register", server.port, user="bob", contact_port=bob.port, expires=600).done()
    alice = lab.caller("uac_call", server.port, caller="alice", callee="bob").done()
    bob.done()
    # RFC 5626 §5.3: the user part is a flow token
    assert re.search(rf"\nRoute: <sip:[\w-]+@127\.0\.0\.1:{server.port};lr(?:;key=[\w-]+)?>", alice.trace())
    # the proxy took its own Route away again (RFC 3261 §16.4)
    assert "\nRoute:" not in bob.trace()


def test_a_hundred_calls(lab: Lab):
    server = lab.sipfast()
    bob = lab.waiting("uas_answer", user="bob", calls=100)
    lab.caller("register", server.port, user="bob", contact_port=bob.port, expires=600).done()
    lab.caller("uac_call", server.port, "-r", "50", "-l", "50", caller="alice", callee="bob", calls=100).done()
    bob.done()


def test_cancel(lab: Lab):
    server = lab.sipfast()
    bob = lab.waiting("uas_cancelled", user="bob")
    lab.caller("register", server.port, user="bob", contact_port=bob.port, expires=600).done()
    lab.caller("uac_cancel", server.port, caller="alice", callee="bob").done()
    bob.done()


def test_busy(lab: Lab):
    server = lab.sipfast()
    bob = lab.waiting("uas_busy")
    lab.caller("register", server.port, user="bob", contact_port=bob.port, expires=600).done()
    lab.caller("uac_busy", server.port, caller="alice", callee="bob").done()
    bob.done()


def test_nobody_there(lab: Lab):
    server = lab.sipfast()
    lab.caller("redial_plain_480", server.port, caller="alice", callee="bob", expires=120).done()
    assert server.watches() == []


def test_bindings_survive_a_killed_server(lab: Lab):
    server = lab.sipfast()
    bob = lab.waiting("uas_answer", user="bob")
    lab.caller("register", server.port, user="bob", contact_port=bob.port, expires=600).done()
    server.kill()
    again = lab.sipfast(like=server)
    lab.caller("uac_call", again.port, caller="alice", callee="bob").done()
    bob.done()


def test_clean_shutdown(lab: Lab):
    server = lab.sipfast()
    assert server.stop() == 0
