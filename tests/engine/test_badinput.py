"""Bad input: it is counted, answered where RFC 3261 asks for an answer, and the server goes on."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from net.scene import Scene, Speaker
from net.sipwire import Sip, literal

GOOD = (
    "OPTIONS sip:example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKbad\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:alice@example.com>;tag=1\r\n"
    "To: <sip:example.com>\r\n"
    "Call-ID: bad\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Content-Length: 0\r\n"
    "\r\n"
)
INVITE = GOOD.replace("OPTIONS", "INVITE").replace("sip:example.com", "sip:bob@example.com")


@pytest.fixture
def stage() -> Iterator[tuple[Scene, Speaker]]:
    """A server and somebody who sends it rubbish. Afterwards the server still serves."""
    scene = Scene()
    peer = scene.peer("alice")
    scene.phone("bob")
    yield scene, peer
    scene.run(100)
    peer.inbox.clear()
    still_serves(scene)


def still_serves(scene: Scene) -> None:
    one, other = scene.phone("one"), scene.phone("other")
    call = one.call("other")
    scene.network.wait(lambda: call.state == "talking", what="the server to serve")
    scene.run()
    assert other.calls[0].state == "talking"


def answers(scene: Scene, peer: Speaker, data: bytes) -> list[int]:
    peer.inbox.clear()
    scene.server.receive(data, peer.address, scene.now)  # so that no size and no content is in the bed's way
    scene.run(50)
    return [message.status for message in peer.inbox if message.status != 100]


def test_the_good_message_is_good(stage: tuple[Scene, Speaker]) -> None:
    scene, peer = stage
    assert answers(scene, peer, GOOD.encode()) == [200]


def changed(old: str, new: str, message: str = GOOD) -> bytes:
    assert old in message
    return message.replace(old, new, 1).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        # Content-Length against the datagram: §18.3
        (changed("Content-Length: 0", "Content-Length: 10"), 400),
        (changed("Content-Length: 0", "Content-Length: 99999999999999999999"), 400),
        (changed("Content-Length: 0", "Content-Length: -1"), 400),
        (changed("Content-Length: 0", "Content-Length: ten"), 400),
        (changed("Content-Length: 0", "Content-Length:"), 400),
        (changed("Content-Length: 0", "l: 10"), 400),
        # What may stand once only: §7.3.1 and §20
        (changed("Call-ID: bad", "Call-ID: bad\r\nCall-ID: worse"), 400),
        (changed("Call-ID: bad", "Call-ID: bad\r\ni: worse"), 400),
        (changed("CSeq: 1", "CSeq: 1 OPTIONS\r\nCSeq: 2"), 400),
        (changed("From: <", "From: <sip:x@y>;tag=9\r\nFrom: <"), 400),
        (changed("To: <", "To: <sip:x@y>\r\nTo: <"), 400),
        (changed("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 69"), 400),
        (changed("Content-Length: 0", "Content-Length: 0\r\nContent-Length: 1"), 400),
        # What must be there: §8.1.1
        (changed("Call-ID: bad\r\n", ""), 400),
        (changed("CSeq: 1 OPTIONS\r\n", ""), 400),
        (changed("From: <sip:alice@example.com>;tag=1\r\n", ""), 400),
        (changed("To: <sip:example.com>\r\n", ""), 400),
        # What must be right
        (changed("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), 400),
        (changed("CSeq: 1 OPTIONS", "CSeq: one OPTIONS"), 400),
        (changed("CSeq: 1 OPTIONS", "CSeq: 4294967296 OPTIONS"), 400),
        (changed("CSeq: 1 OPTIONS", "CSeq: 1"), 400),
        (changed("Max-Forwards: 70", "Max-Forwards: seventy"), 400),
        (changed("To: <sip:example.com>", 'To: "open <sip:example.com>'), 400),
        (changed("To: <sip:example.com>", "To: <sip:example.com"), 400),
        (changed("From: <sip:alice@example.com>", "From: alice <sip:"), 400),
        (changed("sip:example.com SIP", "<sip:example.com> SIP"), 400),
        (changed("sip:example.com SIP", "sip:exa mple.com SIP"), 400),
        (changed("sip:example.com SIP", "sip:a@b@c SIP"), 400),
        (changed("sip:example.com SIP", " SIP"), 400),
        (changed("Max-Forwards: 70", "This is no header field"), 400),
        (changed("sip:example.com SIP", "nobodyknows:example.com SIP"), 416),
        (changed("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
    ],
)
def test_requests_that_are_answered_with_an_error(stage: tuple[Scene, Speaker], data: bytes, status: int) -> None:
    scene, peer = stage
    before = scene.server.counters["malformed"]
    assert answers(scene, peer, data) == [status]
    if status == 400:
        assert scene.server.counters["malformed"] == before + 1


@pytest.mark.parametrize(
    "data",
    [
        (changed("Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n\r\nmore than it says")),  # §18.3: discarded
        (changed("Content-Length: 0\r\n", "")),  # §20.14: may be left out over UDP
        (changed("OPTIONS", "\r\n\r\nOPTIONS")),  # §7.5: empty lines before the start line
        (changed("Max-Forwards: 70", "Max-Forwards: 0")),  # it has arrived
        (changed("Max-Forwards: 70", "X-Odd: \u00fc\u20ac \t !%&=?(`´)")),
        (changed("Max-Forwards: 70", "Subject:\r\n a\r\n\tb\r\n   c")),
        (changed("Max-Forwards: 70", "X:")),
        (changed("Call-ID: bad", "cAlL-iD  :   bad  ")),
    ],
)
def test_requests_that_are_odd_and_good(stage: tuple[Scene, Speaker], data: bytes) -> None:
    scene, peer = stage
    assert answers(scene, peer, data) == [200]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\r\n",
        b"\r\n\r\n",
        b"\r\n\r\n\r\n\r\n\r\n\r\n",
        b"\0" * 1_000,
        b"\xff" * 65_507,
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"OPTIONS",
        b"OPTIONS sip:example.com SIP/2.0",
        b"OPTIONS sip:example.com SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"SIP/2.0 2000 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKsf\r\n\r\n",
        b"SIP/2.0 abc OK\r\n\r\n",
        changed("Via: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKbad\r\n", ""),
        changed("Via: SIP/2.0/UDP 10.0.1.1:5060", "Via: rubbish"),
        # An ACK is never answered (§17), nor is a response
        changed("CSeq: 1 ACK", "CSeq: x ACK", GOOD.replace("OPTIONS", "ACK")),
        changed("OPTIONS sip:example.com SIP/2.0", "SIP/2.0 200 OK").replace(b"From", b"Fro"),
        changed("OPTIONS sip:example.com SIP/2.0", "SIP/2.0 200 OK"),
    ],
)
def test_what_cannot_be_answered_is_not(stage: tuple[Scene, Speaker], data: bytes) -> None:
    scene, peer = stage
    assert answers(scene, peer, data) == []


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\r\n", b"\0", b""])
def test_keep_alives_are_counted_apart(stage: tuple[Scene, Speaker], data: bytes) -> None:
    """RFC 5626 §4.4.1 is of streams; over UDP phones send the same to keep a NAT's binding. It is no rubbish."""
    scene, peer = stage
    before = scene.server.counters
    answers(scene, peer, data)
    after = scene.server.counters
    assert after["keepalives"] == before["keepalives"] + 1
    assert after["malformed"] == before["malformed"]


@pytest.mark.parametrize("message", [GOOD, INVITE], ids=["options", "invite"])
def test_every_truncation(stage: tuple[Scene, Speaker], message: str) -> None:
    scene, peer = stage
    data = message.encode()
    for size in range(len(data)):
        statuses = answers(scene, peer, data[:size])
        assert all(status == 400 or status == 480 for status in statuses) or size > data.index(b"Content-Length"), size


@pytest.mark.parametrize("byte", [0x00, 0x0A, 0x0D, 0x20, 0x22, 0x2C, 0x3A, 0x3B, 0x3C, 0x3E, 0x5C, 0x7F, 0x80, 0xFF])
def test_every_byte_replaced(stage: tuple[Scene, Speaker], byte: int) -> None:
    """Whatever comes out is a SIP message or nothing: the peer parses each answer."""
    scene, peer = stage
    data = INVITE.encode()
    for i in range(len(data)):
        answers(scene, peer, data[:i] + bytes([byte]) + data[i + 1 :])
    assert scene.server.counters["malformed"] > 0


def test_random_bytes_and_random_mixtures(stage: tuple[Scene, Speaker]) -> None:
    scene, peer = stage
    draw = random.Random(1)
    lines = [line + "\r\n" for line in (GOOD + INVITE).split("\r\n")]
    for _ in range(300):
        answers(scene, peer, draw.randbytes(draw.randint(0, 1_500)))
        mixed = "".join(draw.choice(lines) for _ in range(draw.randint(1, 30)))
        answers(scene, peer, mixed.encode())


BIG = {
    "folding": changed("Max-Forwards: 70", "Subject: x" + "\r\n y" * 16_000),
    "empty-folding": changed("Max-Forwards: 70", "Subject:" + "\r\n " * 20_000),
    "folded-to": changed("To: <sip:example.com>", "To:" + "\r\n " * 20_000 + "<sip:example.com>"),
    "headers": changed("Max-Forwards: 70", "\r\n".join(f"X-{i}: v" for i in range(5_000))),
    "same-headers": changed("Max-Forwards: 70", "\r\n".join(["Supported: x"] * 4_000)),
    "many-values": changed("Max-Forwards: 70", "Supported: " + ",".join(["x"] * 30_000)),
    "vias": changed("Max-Forwards: 70", "\r\n".join(["Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKx"] * 1_400)),
    "vias-of-an-invite": changed(
        "Max-Forwards: 70", "\r\n".join(["Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKx"] * 1_400), INVITE
    ),
    "routes": changed("Max-Forwards: 70", "Route: " + ",".join(["<sip:10.0.0.1;lr>"] * 3_000), INVITE),
    "long-line": changed("Max-Forwards: 70", "Subject: " + "x" * 60_000),
    "long-uri": changed("sip:bob@example.com SIP", f"sip:{'b' * 60_000}@example.com SIP", INVITE),
    "many-parameters": changed("tag=1", "tag=1" + ";a=b" * 15_000),
    "quotes": changed("To: <", 'To: "' + '\\"' * 25_000 + '" <'),
    "open-quote": changed("To: <", 'To: "' + '\\"' * 25_000 + " <"),
    "brackets": changed("To: <", "To: " + "<" * 50_000),
    "comments": changed("Max-Forwards: 70", "User-Agent: " + "(" * 50_000),
    "body": changed("Content-Length: 0\r\n\r\n", "Content-Length: 60000\r\n\r\n" + "x" * 60_000),
    "line-breaks": changed("OPTIONS", "\r\n" * 30_000 + "OPTIONS"),
    "cseq": changed("CSeq: 1", "CSeq: " + "1" * 60_000),
    "contacts": changed(
        "Max-Forwards: 70", "Contact: " + ",".join(f"<sip:a@10.1.{i >> 8}.{i & 255}>" for i in range(2_500)),
        GOOD.replace("OPTIONS", "REGISTER").replace("To: <sip:", "To: <sip:alice@"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BIG)
def test_what_is_oversized_costs_little(stage: tuple[Scene, Speaker], kind: str) -> None:
    """Each is near the largest datagram there is. It is answered or dropped in linear time, and the server goes on."""
    scene, peer = stage
    data = BIG[kind]
    assert 20_000 < len(data) < 70_000
    begun = time.perf_counter()
    for _ in range(5):
        answers(scene, peer, data)
    assert time.perf_counter() - begun < 2.5
    assert all(100 <= message.status < 700 for message in peer.inbox)


def test_a_flood_of_rubbish_leaves_nothing_behind(stage: tuple[Scene, Speaker]) -> None:
    scene, peer = stage
    timers = scene.server.counters["timers"]
    before = scene.server.counters["malformed"]
    for i in range(2_000):
        scene.server.receive(b"rubbish %d\r\n\r\n" % i, peer.address, scene.now)
    scene.run(10)
    assert scene.server.counters["malformed"] == before + 2_000
    assert scene.server.counters["timers"] == timers
    assert not peer.inbox


def test_malformed_responses_inside_a_call(stage: tuple[Scene, Speaker]) -> None:
    """What a phone answers to a forwarded INVITE may be as broken as anything."""
    scene, peer = stage
    carol = scene.peer("carol")
    carol.bind()
    scene.run()
    carol.take("REGISTER", 200)
    peer.ask("INVITE", "sip:carol@example.com")
    scene.run()
    invite = carol.take("INVITE")
    good = carol.answer(invite, 183)
    scene.run()
    peer.inbox.clear()
    for i in range(0, len(good), 3):
        scene.server.receive(good[:i], carol.address, scene.now)
        scene.server.receive(good[:i] + b"\xff" + good[i + 1 :], carol.address, scene.now)
    scene.run(100)
    carol.answer(invite, 486)
    scene.run(100)
    assert 486 in [message.status for message in peer.inbox]


def test_an_answer_goes_only_to_where_the_request_came_from(stage: tuple[Scene, Speaker]) -> None:
    """§18.2.2: a Via that names another host does not turn the server into a reflector."""
    scene, peer = stage
    victim = scene.peer("victim")
    data = changed("10.0.1.1:5060", literal(victim.address))
    answers(scene, peer, data)
    answers(scene, peer, data.replace(b"CSeq: 1", b"CSeq: x"))
    assert not victim.inbox
    assert all(isinstance(message, Sip) for message in peer.inbox)
