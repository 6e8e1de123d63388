"""What redial writes and reads: the lines of its 480, and the Expires of an INVITE. Its REFER is seen in test_recall.py."""

from __future__ import annotations

import pytest
from net.redialing import ALICE, BOB, arm, refers, stage
from net.sipwire import Sip

from sipfast._parser import parse
from sipfast.redial import refer as _refer


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
    assert _refer.expires_of(parse(invite(line))) == seconds


def test_no_two_refers_have_a_call_id_or_a_tag_in_common() -> None:
    """RFC 3261 §8.1.1.4: neither within a start nor after a restart, which is another scene with other dice here."""
    seen: set[str] = set()
    for start in range(3):
        scene, alice, bob = stage({"retry_pause": 1.0, "attempts": 50}, seed=start)
        alice.on_refer = "603"
        arm(scene, alice)
        bob.register()
        scene.run(20_000)
        for event in refers(scene):
            refer = Sip(event.data)
            assert len(refer.call_id) == 24 and len(refer.from_tag) == 10
            assert not {refer.call_id, refer.from_tag} & seen
            seen |= {refer.call_id, refer.from_tag}
    assert len(seen) > 60
