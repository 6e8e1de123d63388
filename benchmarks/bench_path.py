"""The whole path: datagram bytes in, datagram bytes out, no socket.

Batches of 64 datagrams with one commit each, as the UDP transport hands them over. What the phones would do is as cheap
as it can be made (one concatenation a response) and is inside the measured time. `extra_info` carries the time for one
datagram taken; the table's times are for a whole round.
"""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, Rates, Redial, Registrar
from sipfast.engine.engine import Engine
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.repository import Store

BATCH = 64
USERS = 10_000
START = 1_700_000_000_000
ROUNDS = 100

Batch = list[tuple[bytes, Flow]]


class Out(Sink):
    """Takes what leaves; nothing is copied."""

    def __init__(self) -> None:
        self.sent: Batch = []

    def send(self, data: bytes, flow: Flow) -> int:
        self.sent.append((data, flow))
        return 0


class Path64:
    """An engine with many registered users, and a clock."""

    def __init__(self, store: Any) -> None:
        self.out = Out()
        registrar, redial = Registrar(default_expires=3600), Redial(per_callee=1000)
        config = Config(registrar=registrar, redial=redial, rates=Rates(enabled=False))
        listener = Listener(transport="UDP", host="10.0.0.1", port=5060, sent_by=b"10.0.0.1:5060")
        self.engine = Engine(config, store, self.out, [listener], domains=["example.com"], hosts={})
        self.now = START
        self.serial = itertools.count(1)
        self.taken = 0
        self.engine.start(self.now)
        self.engine.commit(self.now)
        for first in range(0, USERS, BATCH):
            sent = self.play([register(i, 1) for i in range(first, min(first + BATCH, USERS))])
            self.play(answers(sent, b"OPTIONS", b"200 OK"))

    def play(self, batch: Batch) -> Batch:
        """One batch: take all, let timers run, commit, and return what left."""
        self.out.sent = []
        engine, now = self.engine, self.now
        for data, flow in batch:
            engine.receive(data, flow, now)
        engine.commit(now)
        self.taken += len(batch)
        return self.out.sent

    def tick(self, milliseconds: int = 10) -> None:
        self.now += milliseconds
        self.engine.advance(self.now)
        self.engine.commit(self.now)


def place(i: int) -> Flow:
    return Flow(f"10.1.{i >> 8 & 255}.{i & 255}", 5060)


FLOWS = [place(i) for i in range(USERS)]


def register(i: int, seq: int, expires: int = 3600) -> tuple[bytes, Flow]:
    host = FLOWS[i].host
    text = (
        f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bKr{i}x{seq}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:user{i}@example.com>;tag=t{i}\r\nTo: <sip:user{i}@example.com>\r\n"
        f"Call-ID: register-{i}@{host}\r\nCSeq: {seq} REGISTER\r\nContact: <sip:user{i}@{host}:5060>\r\n"
        f"Expires: {expires}\r\nUser-Agent: bench\r\nContent-Length: 0\r\n\r\n"
    )
    return text.encode(), FLOWS[i]


def options(i: int, serial: int) -> tuple[bytes, Flow]:
    host = FLOWS[i].host
    text = (
        f"OPTIONS sip:10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bKo{serial}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:user{i}@example.com>;tag=t{i}\r\nTo: <sip:10.0.0.1:5060>\r\n"
        f"Call-ID: options-{serial}@{host}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:user{i}@{host}:5060>\r\n"
        f"Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    )
    return text.encode(), FLOWS[i]


SDP = (
    b"v=0\r\no=- 1 1 IN IP4 10.1.0.1\r\ns=-\r\nc=IN IP4 10.1.0.1\r\nt=0 0\r\nm=audio 8000 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


def invite(i: int, to: int, serial: int, extra: str = "") -> tuple[bytes, Flow]:
    host = FLOWS[i].host
    text = (
        f"INVITE sip:user{to}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bKi{serial}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:user{i}@example.com>;tag=f{serial}\r\nTo: <sip:user{to}@example.com>\r\n"
        f"Call-ID: call-{serial}@{host}\r\nCSeq: 1 INVITE\r\nContact: <sip:user{i}@{host}:5060>\r\n{extra}"
        f"Allow: INVITE, ACK, CANCEL, BYE, REFER\r\nContent-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n"
    )
    return text.encode() + SDP, FLOWS[i]


def in_dialog(method: str, i: int, to: int, serial: int, seq: int) -> tuple[bytes, Flow]:
    host, peer = FLOWS[i].host, FLOWS[to].host
    text = (
        f"{method} sip:user{to}@{peer}:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bK{method}{serial}\r\nMax-Forwards: 70\r\n"
        f"Route: <sip:10.0.0.1:5060;lr>\r\nFrom: <sip:user{i}@example.com>;tag=f{serial}\r\n"
        f"To: <sip:user{to}@example.com>;tag=callee\r\nCall-ID: call-{serial}@{host}\r\nCSeq: {seq} {method}\r\n"
        f"Content-Length: 0\r\n\r\n"
    )
    return text.encode(), FLOWS[i]


def answers(sent: Batch, method: bytes, status: bytes, body: bytes = b"") -> Batch:
    """What the phones say to the requests of one kind that left: the request's own header fields, a tag in To."""
    out: Batch = []
    for data, flow in sent:
        if data.startswith(method):
            head = data[data.index(b"\r\n") : data.index(b"\r\nContent-Length")]
            to = head.index(b"\r\nTo: ") + 2
            end = head.index(b"\r\n", to)
            tag = b"" if b";tag=" in head[to:end] else b";tag=callee"
            contact = b"\r\nContact: <sip:x@" + flow.host.encode() + b":5060>\r\nContent-Length: %d\r\n\r\n" % len(body)
            out.append((b"SIP/2.0 " + status + head[:end] + tag + head[end:] + contact + body, flow))
    return out


@pytest.fixture(params=["memory", "lmdb"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path64]:
    store = Store(MemoryTables() if request.param == "memory" else LmdbTables(tmp_path / "data", map_size_gib=1))
    yield Path64(store)
    store.close()


class Traffic(NamedTuple):
    """What phones do over and over: `setup` writes their messages, `target` takes these, `taken` datagrams in all."""

    setup: Callable[[], Any]
    target: Callable[[Any], None]
    taken: int


def measure(benchmark: Any, path: Path64, traffic: Traffic) -> None:
    setup, target, taken = traffic

    def prepare() -> tuple[tuple[Any, ...], dict[str, Any]]:
        path.tick()
        return (setup(),), {}

    benchmark.pedantic(target, setup=prepare, rounds=ROUNDS, warmup_rounds=5)
    if benchmark.enabled:
        each = benchmark.stats.stats.median / taken
        benchmark.extra_info |= {"datagrams": taken, "us_per_datagram": round(each * 1e6, 2), "per_second": round(1 / each)}


def options_answered(path: Path64) -> Traffic:
    def setup() -> Batch:
        return [options(i, next(path.serial)) for i in range(BATCH)]

    def target(batch: Batch) -> None:
        assert len(path.play(batch)) == BATCH

    return Traffic(setup, target, BATCH)


def test_options(benchmark: Any, path: Path64) -> None:
    measure(benchmark, path, options_answered(path))


def bindings_refreshed(path: Path64) -> Traffic:
    at = itertools.count()

    def setup() -> Batch:
        first = next(at) * BATCH
        return [register((first + k) % USERS, 2 + (first + k) // USERS) for k in range(BATCH)]

    def target(batch: Batch) -> None:
        sent = path.play(batch)
        assert len(sent) == BATCH and sent[0][0].startswith(b"SIP/2.0 200")

    return Traffic(setup, target, BATCH)


def test_register_refresh(benchmark: Any, path: Path64) -> None:
    measure(benchmark, path, bindings_refreshed(path))


def calls(path: Path64) -> Traffic:
    """INVITE, 100, 180, 200, ACK, BYE, 200: six datagrams taken and seven given for each call."""

    def setup() -> tuple[Batch, Batch, Batch]:
        calls = [(i, i + BATCH, next(path.serial)) for i in range(BATCH)]
        invites = [invite(a, b, n) for a, b, n in calls]
        acks = [in_dialog("ACK", a, b, n, 1) for a, b, n in calls]
        return invites, acks, [in_dialog("BYE", a, b, n, 2) for a, b, n in calls]

    def target(batches: tuple[Batch, Batch, Batch]) -> None:
        invites, acks, byes = batches
        rung = path.play(invites)
        path.play(answers(rung, b"INVITE", b"180 Ringing"))
        answered = path.play(answers(rung, b"INVITE", b"200 OK", SDP))
        assert len(answered) == BATCH
        assert len(path.play(acks)) == BATCH
        ended = path.play(answers(path.play(byes), b"BYE", b"200 OK"))
        assert len(ended) == BATCH

    return Traffic(setup, target, 6 * BATCH)


def test_call(benchmark: Any, path: Path64) -> None:
    measure(benchmark, path, calls(path))


def linger(path: Path64, kind: str, batches: int) -> None:
    """Calls or BYEs that were answered a moment ago, each datagram with a flow of its own, as sockets make them."""

    def play(batch: Batch) -> Batch:
        return path.play([(data, Flow(flow.host, flow.port)) for data, flow in batch])

    for _ in range(batches):
        calls = [(i, i + BATCH, next(path.serial)) for i in range(BATCH)]
        if kind == "BYE":
            play(answers(play([in_dialog("BYE", a, b, n, 2) for a, b, n in calls]), b"BYE", b"200 OK"))
            continue
        rung = play([invite(a, b, n) for a, b, n in calls])
        play(answers(rung, b"INVITE", b"180 Ringing"))
        play(answers(rung, b"INVITE", b"200 OK", SDP))
        play([in_dialog("ACK", a, b, n, 1) for a, b, n in calls])
    path.out.sent = []
    gc.collect()


def weigh(kind: str) -> int:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    path, batches = Path64(Store(MemoryTables())), 1000
    linger(path, kind, 20)
    before = resident()
    linger(path, kind, batches)
    return round((resident() - before) / (batches * BATCH))


@pytest.mark.parametrize("kind", ["INVITE", "BYE"])
def test_memory_of_what_a_call_leaves(benchmark: Any, kind: str) -> None:
    """Bytes for each: both its transactions, what the proxy keeps, flows, keys, timers, and the BYE's response."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        size = benchmark.pedantic(lambda: fresh.submit(weigh, kind).result(), rounds=1)
    benchmark.extra_info["bytes"] = size
    print(f"\n{kind}: {size} bytes each")


def redials(path: Path64) -> Traffic:
    """64 pairs: INVITE and its 480 with the watch, the callee's REGISTER, REFER, the recalled call, its end.

    Twelve datagrams are taken for each: INVITE, ACK, REGISTER, 202, NOTIFY, INVITE, 180, 200, ACK, BYE, 200, REGISTER.
    """
    for i in range(BATCH, 2 * BATCH):
        path.play([register(i, 1_000, 0)])
    seq = itertools.count(1_001)

    def setup() -> dict[str, Any]:
        pairs = [(i, i + BATCH, next(path.serial), next(path.serial)) for i in range(BATCH)]
        back, leave = next(seq), next(seq)
        return {
            "arm": [invite(a, b, n, "Expires: 3600\r\n") for a, b, n, _ in pairs],
            "back": [register(b, back) for _, b, _, _ in pairs],
            "calls": [invite(a, b, m) for a, b, _, m in pairs],
            "acks": [in_dialog("ACK", a, b, m, 1) for a, b, _, m in pairs],
            "byes": [in_dialog("BYE", a, b, m, 2) for a, b, _, m in pairs],
            "leave": [register(b, leave, 0) for _, b, _, _ in pairs],
        }

    def target(batches: dict[str, Any]) -> None:
        told = path.play(batches["arm"])
        assert b"call-completion" in told[-1][0]
        path.play([(hop_ack(data, answer), flow) for (data, flow), (answer, _) in zip(batches["arm"], told, strict=True)])
        back = path.play(batches["back"])
        referred = answers(back, b"REFER", b"202 Accepted")
        assert len(referred) == BATCH
        path.play(referred)
        path.play([notify(data, flow) for data, flow in back if data.startswith(b"REFER")])
        rung = path.play(batches["calls"])
        path.play(answers(rung, b"INVITE", b"180 Ringing"))
        path.play(answers(rung, b"INVITE", b"200 OK", SDP))
        path.play(batches["acks"])
        path.play(answers(path.play(batches["byes"]), b"BYE", b"200 OK"))
        path.play(batches["leave"])
        assert path.engine.counters()["redial_watches"] == 0

    return Traffic(setup, target, 12 * BATCH)


def test_redial(benchmark: Any, path: Path64) -> None:
    measure(benchmark, path, redials(path))


def hop_ack(sent: bytes, answer: bytes) -> bytes:
    """The ACK to a 480 (RFC 3261 §17.1.1.3)."""
    via = sent[sent.index(b"Via: ") : sent.index(b"Max-Forwards")]
    start = answer.index(b"\r\nFrom: ") + 2
    end = answer.index(b"\r\nCSeq: ") + 2
    first = sent[6 : sent.index(b"\r\n") + 2]
    return b"ACK" + first + via + b"Max-Forwards: 70\r\n" + answer[start:end] + b"CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"


def notify(refer: bytes, flow: Flow) -> tuple[bytes, Flow]:
    """The phone's first report on the call that it was asked to place (RFC 3515 §2.4.4)."""

    def value(name: bytes) -> bytes:
        start = refer.index(b"\r\n" + name + b": ") + len(name) + 4
        return refer[start : refer.index(b"\r\n", start)]

    body = b"SIP/2.0 100 Trying\r\n"
    host = flow.host.encode()
    return (
        b"NOTIFY sip:10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP " + host + b":5060;branch=z9hG4bKn" + value(b"Call-ID")
        + b"\r\nMax-Forwards: 70\r\nFrom: " + value(b"To") + b";tag=n\r\nTo: " + value(b"From")
        + b"\r\nCall-ID: " + value(b"Call-ID") + b"\r\nCSeq: 1 NOTIFY\r\nContact: <sip:" + host
        + b":5060>\r\nEvent: refer\r\nSubscription-State: active;expires=60\r\nContent-Type: message/sipfrag\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body,
        flow,
    )  # fmt: skip
