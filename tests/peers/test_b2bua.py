"""The recall method `b2bua` with phones and a server that people use."""

from __future__ import annotations

import pytest

from peers.lab import DOMAIN, Lab
from peers.process import wait_until

pytestmark = pytest.mark.peers

CONFIG = '[redial]\ndefault_period = 600\nmethods = ["b2bua"]\nretry_pause = 100\n'


PASSWORD = f"""
[[redial.user]]
aor = "sip:alice@{DOMAIN}"

[[redial.user.credentials]]
user = "alice"
password = "alice"
realm = "{DOMAIN}"
"""


@pytest.mark.parametrize("known", ["not", "by its script", "by a password"])
def test_behind_a_kamailio_that_asks_for_passwords(lab: Lab, known: str):
    """The call to the callee is the server's own: let in where the script knows it, or by the caller's password."""
    first = lab.sipfast()
    first.stop()
    kamailio = lab.kamailio(auth=True, trusts=first.port if known == "by its script" else None)
    config = CONFIG + PASSWORD if known == "by a password" else CONFIG
    server = lab.sipfast(config, upstream=kamailio.port, like=first)
    alice = lab.baresip("alice", server.port)
    alice.dial(f"sip:bob@{DOMAIN}")
    wait_until(lambda: len(server.watches()) == 1, 10, "a watch is armed")
    bob = lab.baresip("bob", server.port)
    if known == "not":
        wait_until(lambda: "407" in str(server.watches()[0]["last_result"]), 10, "the call is refused")
        alice.sees("CALL_CLOSED")  # she has picked up, and is not left in silence
        return
    wait_until(lambda: server.watches() == [], 10, "the two talk")
    bob.hang_up()
    alice.sees("CALL_CLOSED")
