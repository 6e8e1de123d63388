"""The transaction layer alone: no socket, no engine; messages are parsed beforehand unless the name says otherwise.

Lives are measured on a reliable flow, where the lingering timers are zero, so that one operation is a whole life. The
calls go through the layer's Python face; within the server they are C calls, which saves some 0.1 µs each.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from sipfast import config
from sipfast._flow import Flow, Sink
from sipfast._parser import Message, parse
from sipfast._wheel import Wheel
from sipfast._writer import response
from sipfast.transaction.layer import ABSORBED, NEW, TransactionLayer
from sipfast.transaction.server import Handler

NOW = 1_700_000_000_000
UDP = Flow("192.0.2.1", 5060)
TCP = Flow("192.0.2.1", 5060, transport="TCP", connection=7)


class Nowhere(Sink):
    def send(self, data: bytes, flow: Flow) -> int:
        return 0


class Bench:
    def __init__(self) -> None:
        self.wheel = Wheel(NOW)
        self.layer = TransactionLayer(config.Timers(), self.wheel, Nowhere(), 12345)
        self.user = Handler()


def request(method: str, branch: str, number: int = 1) -> bytes:
    return (
        f"{method} sip:bob@192.0.2.20:5062 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch={branch}\r\n"
        "Max-Forwards: 70\r\n"
        'From: "Alice" <sip:alice@example.com>;tag=9fxced76sl\r\n'
        "To: <sip:bob@example.com>\r\n"
        f"Call-ID: 3848276298220188511-{number}@example.com\r\n"
        f"CSeq: 1 {method}\r\n"
        "Contact: <sip:alice@192.0.2.10:5060>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def message(method: str, branch: str = "z9hG4bK74bf9a1c55", number: int = 1) -> Message:
    return parse(request(method, branch, number))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def server_life(bench):
    """A MESSAGE comes, gets its 200, and is gone."""
    take, shrink, advance = bench.layer.take_request, bench.layer.shrink_finished, bench.wheel.advance
    asked = message("MESSAGE")
    answer = response(asked, 200, TCP, to_tag=b"x")

    def life():
        _, transaction = take(asked, TCP, NOW)
        transaction.respond(answer, 200, NOW)
        shrink()
        advance(NOW)

    return life


def test_server_life(benchmark, bench):
    benchmark(server_life(bench))
    assert bench.layer.servers == 0


def invite_server_life(bench):
    """An INVITE comes, gets 100 and 480, its ACK comes, and it is gone."""
    take, shrink, advance = bench.layer.take_request, bench.layer.shrink_finished, bench.wheel.advance
    invite, ack = message("INVITE"), message("ACK")
    trying = response(invite, 100, TCP)
    answer = response(invite, 480, TCP, to_tag=b"x")

    def life():
        _, transaction = take(invite, TCP, NOW)
        transaction.respond(trying, 100, NOW)
        transaction.respond(answer, 480, NOW)
        shrink()
        take(ack, TCP, NOW)
        advance(NOW)

    return life


def test_invite_server_life(benchmark, bench):
    benchmark(invite_server_life(bench))
    assert bench.layer.servers == 0


def client_life(bench):
    """A MESSAGE is sent, its 200 is parsed and found to belong to it, and it is gone."""
    layer, advance, user = bench.layer, bench.wheel.advance, bench.user
    data = request("MESSAGE", "B")
    answer = response(parse(request("MESSAGE", "z9hG4bKB")), 200, UDP, to_tag=b"x")
    before, after = answer.split(b"z9hG4bKB")

    def life():
        branch = layer.branch()
        layer.send_request(data, branch, TCP, user, NOW)
        layer.take_response(parse(before + branch + after), TCP, NOW)
        advance(NOW)

    return life


def test_client_life_and_a_parse(benchmark, bench):
    benchmark(client_life(bench))
    assert bench.layer.clients == 0


def test_branch(benchmark, bench):
    """A branch is made and given back."""
    branch, release = bench.layer.branch, bench.layer.release_branch
    benchmark(lambda: release(branch(7)))


def test_branch_recognised(benchmark, bench):
    benchmark(bench.layer.owns, bench.layer.branch(7))


@pytest.mark.parametrize("others", [0, 300_000])
def test_retransmission(benchmark, bench, others):
    """A MESSAGE comes again and gets its 200 again, among others that linger."""
    linger(bench, "server", "MESSAGE", 200, others)
    asked = message("MESSAGE")
    verdict, transaction = bench.layer.take_request(asked, UDP, NOW)
    assert verdict == NEW
    transaction.respond(response(asked, 200, UDP, to_tag=b"x"), 200, NOW)
    bench.layer.shrink_finished()
    assert benchmark(bench.layer.take_request, asked, UDP, NOW) == (ABSORBED, None)


# ---- memory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def linger(bench: Bench, side: str, method: str, status: int, count: int, first: int = 0) -> None:
    """Transactions that have had their final response, each with a flow of its own."""
    for number in range(first, first + count):
        flow = Flow("192.0.2.1", 5060)
        if side == "server":
            asked = message(method, f"z9hG4bK{number:x}", number + 2)
            _, transaction = bench.layer.take_request(asked, flow, NOW)
            assert transaction is not None
            transaction.respond(response(asked, status, flow, to_tag=b"9f8e7d6c5b4a3210"), status, NOW)
        else:
            branch = bench.layer.branch()
            data = request(method, branch.decode(), number)
            bench.layer.send_request(data, branch, flow, bench.user, NOW)
            bench.layer.take_response(parse(response(parse(data), status, flow, to_tag=b"x")), flow, NOW)
        if number % 64 == 0:
            bench.layer.shrink_finished()
    bench.layer.shrink_finished()


def measure(side: str, method: str, status: int) -> int:
    count = 100_000
    bench = Bench()
    linger(bench, side, method, status, 1_000)
    before = resident()
    linger(bench, side, method, status, count, 1_000)
    return round((resident() - before) / count)


@pytest.mark.parametrize(
    ("side", "method", "status"),
    [
        ("server", "INVITE", 200),
        ("server", "INVITE", 480),
        ("server", "MESSAGE", 200),
        ("client", "INVITE", 200),
        ("client", "INVITE", 480),
        ("client", "MESSAGE", 200),
    ],
)
def test_memory_of_what_lingers(benchmark, side, method, status):
    """Bytes a finished transaction takes, all told: object, flow, key, timer, and what it may have to send again."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # where no freed memory is used again
        size = benchmark.pedantic(lambda: fresh.submit(measure, side, method, status).result(), rounds=1)
    benchmark.extra_info["bytes"] = size
    print(f"\n{side} {method} {status}: {size} bytes each")
