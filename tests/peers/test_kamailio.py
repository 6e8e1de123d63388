"""The scenarios and the harness, proven against a server that is not ours: whoever fails here is a bug of the tests."""

from __future__ import annotations

import pytest

from peers.lab import Lab

pytestmark = pytest.mark.peers


def test_register_refresh_unregister(lab: Lab):
    server = lab.kamailio().port
    lab.caller("register", server, user="bob", contact_port=5070, expires=600).done()
    lab.caller("unregister", server, user="bob").done()
    lab.caller("register_refresh", server, user="bob", contact_port=5070, expires=600).done()


def test_call(lab: Lab):
    server = lab.kamailio().port
    bob = lab.waiting("uas_answer", user="bob")
    lab.caller("register", server, user="bob", contact_port=bob.port, expires=600).done()
    lab.caller("uac_call", server, caller="alice", callee="bob").done()
    bob.done()


def test_cancel(lab: Lab):
    server = lab.kamailio().port
    bob = lab.waiting("uas_cancelled", user="bob")
    lab.caller("register", server, user="bob", contact_port=bob.port, expires=600).done()
    lab.caller("uac_cancel", server, caller="alice", callee="bob").done()
    bob.done()


def test_busy(lab: Lab):
    server = lab.kamailio().port
    bob = lab.waiting("uas_busy")
    lab.caller("register", server, user="bob", contact_port=bob.port, expires=600).done()
    lab.caller("uac_busy", server, caller="alice", callee="bob").done()
    bob.done()


def test_nobody_there(lab: Lab):
    server = lab.kamailio().port
    lab.caller("redial_plain_480", server, caller="alice", callee="bob", expires=3600).done()


def test_a_failed_scenario_is_a_failure(lab: Lab):
    server = lab.kamailio().port
    with pytest.raises(AssertionError, match="redial_arm"):
        lab.caller("redial_arm", server, caller="alice", callee="bob", expires=3600).done()
