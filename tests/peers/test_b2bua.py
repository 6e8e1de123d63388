"""The recall method `b2bua` with phones and a server that people use."""

from __future__ import annotations

import pytest

from peers.lab import DOMAIN, Lab
from peers.process import wait_until

pytestmark = pytest.mark.peers

CONFIG = '[redial]\ndefault_period = 600\nmethods = ["b2bua"]\nretry_pause = 100\n'


@pytest.mark.parametrize("trusted", [False, True])
def test_behind_a_kamailio_that_asks_for_passwords(lab: Lab, trusted: bool):
    """The call to the callee is the server's own: it has no password, and is let in where the script knows it."""
    first = lab.sipfast()
    first.stop()
    kamailio = lab.kamailio(auth=True, trusts=first.port if trusted else None)
    server = lab.sipfast(CONFIG, upstream=kamailio.port, like=first)
    alice = lab.baresip("alice", server.port)
    alice.dial(f"sip:bob@{DOMAIN}")
    wait_until(lambda: len(server.watches()) == 1, 10, "a watch is armed")
    bob = lab.baresip("bob", server.port)
    if not trusted:
        wait_until(lambda: "407" in str(server.watches()[0]["last_result"]), 10, "the call is refused")
        alice.sees("CALL_CLOSED")  # she has picked up, and is not left in silence
        return
    wait_until(lambda: server.watches() == [], 10, "the two talk")
    bob.hang_up()
    alice.sees("CALL_CLOSED")
