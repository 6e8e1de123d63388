"""The parser on messages as phones send them. The table's times are for LOOPS messages, `ns` in extra_info for one.

`split` finds the start line, the boundaries and the ids of the fields; `parse` is what every message costs: `split`, and
Via, From, To, Call-ID, CSeq, Max-Forwards and Content-Length. Both include making and freeing the Message.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from .build import ROOT, built

TORTURE = ROOT / "tests" / "data" / "torture" / "rfc4475"
LOOPS = 1000

SDP = b"""v=0
o=alice 2890844526 2890844526 IN IP4 192.0.2.101
s=-
c=IN IP4 192.0.2.101
t=0 0
m=audio 49172 RTP/AVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
""".replace(b"\n", b"\r\n")
INVITE = (
    b"""INVITE sip:bob@biloxi.example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-524287-1---9d7b2c4f8a3e;rport
Max-Forwards: 70
Contact: <sip:alice@192.0.2.101:5060;transport=udp>
To: "Bob" <sip:bob@biloxi.example.com>
From: "Alice" <sip:alice@atlanta.example.com>;tag=9fxced76sl
Call-ID: 3848276298220188511@atlanta.example.com
CSeq: 314159 INVITE
Expires: 3600
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO
Supported: replaces, timer, path, gruu
User-Agent: Example Softphone 5.6.1 (build 20240117 / Linux)
Content-Type: application/sdp
Content-Length: %d

""".replace(b"\n", b"\r\n")
    % len(SDP)
    + SDP
)
REGISTER = b"""REGISTER sip:atlanta.example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-524287-1---0a1b2c3d4e5f;rport
Max-Forwards: 70
Contact: <sip:alice@192.0.2.101:5060;transport=udp>;expires=3600
To: <sip:alice@atlanta.example.com>
From: <sip:alice@atlanta.example.com>;tag=456248
Call-ID: 843817637684230@998sdasdh09
CSeq: 1826 REGISTER
User-Agent: Example Softphone 5.6.1
Content-Length: 0

""".replace(b"\n", b"\r\n")
OK = b"""SIP/2.0 200 OK
Via: SIP/2.0/UDP proxy.example.com:5060;branch=z9hG4bKsf0123456789abcdef;received=192.0.2.1
Via: SIP/2.0/UDP 192.0.2.101:5060;branch=z9hG4bK-524287-1---9d7b2c4f8a3e;rport=5060
Record-Route: <sip:proxy.example.com;lr>
To: "Bob" <sip:bob@biloxi.example.com>;tag=a6c85cf
From: "Alice" <sip:alice@atlanta.example.com>;tag=9fxced76sl
Call-ID: 3848276298220188511@atlanta.example.com
CSeq: 314159 INVITE
Contact: <sip:bob@192.0.2.4>
Content-Length: 0

""".replace(b"\n", b"\r\n")
assert len(INVITE) == 800
MESSAGES = {
    "INVITE": INVITE,
    "REGISTER": REGISTER,
    "200": OK,
    "RFC 4475 wsinv": (TORTURE / "wsinv.sip").read_bytes(),
    "RFC 4475 longreq": (TORTURE / "longreq.sip").read_bytes(),
    "1,000 fields": INVITE.replace(b"Allow:", b"X-Y: z\r\n" * 986 + b"Allow:"),
    "noise": bytes(range(256)) * 3,
}


@pytest.fixture(scope="session")
def loops() -> ModuleType:
    return built("loops", "parser")


def run(benchmark: Any, loop: Any, *arguments: Any) -> Any:
    result = benchmark.pedantic(loop, args=(*arguments, LOOPS), rounds=50, warmup_rounds=3)
    if benchmark.enabled:
        benchmark.extra_info["ns"] = round(benchmark.stats.stats.min / LOOPS * 1e9, 1)
        benchmark.extra_info["ns_median"] = round(benchmark.stats.stats.median / LOOPS * 1e9, 1)
    return result


@pytest.mark.parametrize("name", MESSAGES)
def test_split(benchmark: Any, loops: ModuleType, name: str) -> None:
    benchmark.extra_info["bytes"] = len(MESSAGES[name])
    run(benchmark, loops.split, MESSAGES[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_parse(benchmark: Any, loops: ModuleType, name: str) -> None:
    benchmark.extra_info["bytes"] = len(MESSAGES[name])
    message = run(benchmark, loops.parse, MESSAGES[name])
    assert bool(message.error) == (name == "noise")


def test_contacts(benchmark: Any, loops: ModuleType) -> None:
    message = loops.parse(REGISTER, 1)
    assert run(benchmark, loops.contacts, message) == LOOPS


@pytest.mark.parametrize("uri", [b"sip:alice@atlanta.example.com:5060;transport=udp", b"sip:%61lice%3A@atlanta.example.com"])
def test_canonical_aor(benchmark: Any, loops: ModuleType, uri: bytes) -> None:
    assert run(benchmark, loops.aors, uri).endswith(b"@atlanta.example.com")


@pytest.mark.parametrize(
    "other", [b"sip:alice@192.0.2.101:5060;transport=udp", b"sip:alice@192.0.2.101:5060;Transport=UDP;ob"]
)
def test_compare_uris(benchmark: Any, loops: ModuleType, other: bytes) -> None:
    assert run(benchmark, loops.comparisons, b"sip:alice@192.0.2.101:5060;transport=udp", other) == LOOPS
