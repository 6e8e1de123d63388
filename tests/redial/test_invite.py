"""What redial reads of an INVITE: its Expires. What it says in a 480 is seen in test_redial.py."""

from __future__ import annotations

import pytest
from net.redialing import ALICE, BOB

from sipfast._parser import parse
from sipfast.redial.invite import expires_of


def invite(expires: str) -> bytes:
    return (
        f"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        f"From: <{ALICE.decode()}>;tag=1\r\n"
        f"To: <{BOB.decode()}>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{expires}Content-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("", -1),
        ("Expires: 0\r\n", 0),
        ("Expires: 3600\r\n", 3600),
        ("Expires:\t300 \r\n", 300),
        ("Expires: 4294967295\r\n", 2**31),
        ("Expires: 99999999999999999999999999\r\n", 2**31),
        ("Expires: soon\r\n", -1),
        ("Expires: -1\r\n", -1),
        ("Expires: 300 s\r\n", -1),
    ],
)
def test_the_expires_of_an_invite(line: str, seconds: int) -> None:
    assert expires_of(parse(invite(line))) == seconds
