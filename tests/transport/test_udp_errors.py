"""What cannot be delivered, on real sockets: errors of sending, and those of ICMP out of the sockets' error queues.

The receiver gets each with its flow, and nothing else suffers: no other message is lost, and no socket stops to be read.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest
from test_udp import LOOPBACK, Bench, Echo, needs_ipv6

from sipfast._flow import Flow
from sipfast.transport.udp_socket import BATCHED

QUOTED = 520  # bytes of a datagram that an error brings back at the least (RFC 1812 §4.3.2.3)

pytestmark = pytest.mark.skipif(not BATCHED, reason="Linux only: other systems have no error queue")


class Listener(Echo):
    """Remembers what could not be delivered, too, and answers to that what a test wants."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.transport)
        self.bench = bench
        self.failures: list[tuple[Flow, bytes]] = []
        self.committing = False
        self.on_failed: Callable[[Flow, bytes], list[tuple[bytes, Flow]]] = lambda flow, data: []

    def failed(self, flow: Flow, data: bytes, now: int) -> int:
        assert not self.committing
        self.failures.append((flow, data))
        self.output += self.on_failed(flow, data)
        return 0

    def commit(self, now: int) -> int:
        self.committing = True
        super().commit(now)
        self.committing = False
        return 0


@pytest.fixture(params=[True, False], ids=["batched", "plain"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    made = []

    def make_bench(family: int = socket.AF_INET) -> Bench:
        bench = Bench(request.param, family)
        bench.echo = Listener(bench)
        made.append(bench)
        return bench

    yield make_bench
    for bench in made:
        bench.close()


@pytest.fixture(params=[socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)], ids=["IPv4", "IPv6"])
def bench(request: pytest.FixtureRequest, make: Callable[..., Bench]) -> Bench:
    return make(request.param)


def closed(family: int = socket.AF_INET) -> Flow:
    """The way to a port that nobody listens on."""
    with socket.socket(family, socket.SOCK_DGRAM) as nobody:
        nobody.bind((LOOPBACK[family], 0))
        return Flow(*nobody.getsockname()[:2])


def send(bench: Bench, *messages: tuple[bytes, Flow]) -> None:
    for data, flow in messages:
        bench.transport.send(data, flow)
    bench.transport.flush()


def turn_a_while(bench: Bench, turns: int = 20) -> None:
    left = [turns]

    def over() -> bool:
        left[0] -= 1
        return left[0] < 0

    bench.turn(over)


def hears(bench: Bench) -> None:
    """The server still reads, and answers."""
    count = len(bench.echo.got)
    bench.client.send(b"still there?")
    bench.turn(lambda: len(bench.echo.got) == count + 1)
    assert bench.client.recv(100) == b"still there?"


def test_a_port_that_is_closed_is_known_at_once(bench: Bench) -> None:
    dead = closed(bench.family)
    bench.driver.start(bench.echo)
    send(bench, (b"INVITE sip:bob@example.com", dead))
    bench.turn(lambda: bench.echo.failures, limit=1)
    assert bench.echo.failures == [(dead, b"INVITE sip:bob@example.com")]
    assert not bench.reports
    hears(bench)
    counters = bench.counters()
    assert (counters["udp_network_errors"], counters["udp_send_errors"]) == (1, 0)


@pytest.mark.parametrize("rounds", [1, 5])
def test_the_server_hears_after_every_error(bench: Bench, rounds: int) -> None:
    """libuv takes a socket with an error for broken, and does not watch it any more."""
    bench.driver.start(bench.echo)
    for number in range(rounds):
        send(bench, (b"x", closed(bench.family)))
        bench.turn(lambda number=number: len(bench.echo.failures) == number + 1)
        hears(bench)
        turn_a_while(bench)
        hears(bench)


def test_an_error_that_was_there_before_the_start_is_read(bench: Bench) -> None:
    """Of several workers, one that has died may leave it."""
    dead = closed(bench.family)
    send(bench, (b"x", dead))
    bench.driver.start(bench.echo)
    bench.turn(lambda: bench.echo.failures)
    hears(bench)


def test_an_error_that_another_call_was_told_of_is_read_from_the_queue(bench: Bench) -> None:
    dead = closed(bench.family)
    bench.driver.start(bench.echo)
    send(bench, (b"x", dead))
    assert bench.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    bench.turn(lambda: bench.echo.failures)
    hears(bench)


def test_what_is_there_to_be_read_is_read_beside_the_error(bench: Bench) -> None:
    send(bench, (b"x", closed(bench.family)))
    for number in range(300):
        bench.client.send(b"%d" % number)
    bench.driver.start(bench.echo)
    bench.turn(lambda: len(bench.echo.got) == 300 and len(bench.echo.failures) == 1)
    assert [data for data, _, _ in bench.echo.got] == [b"%d" % number for number in range(300)]


@pytest.mark.parametrize("size", [40, 400], ids=["short", "long"])
def test_no_other_message_suffers(bench: Bench, size: int) -> None:
    """An error is told to whatever call comes next. Each message has its own fate all the same, also those in one piece."""
    clients = [bench.client, bench.connect()]
    dead = [closed(bench.family) for _ in range(2)]
    ways = [bench.flow(clients[0]), dead[0], bench.flow(clients[1]), dead[1]]
    words = [(b"%04d" % number).ljust(size, b".") for number in range(800)]
    longer = [(b"%04d" % number).ljust(4 + number, b".") for number in range(800)]  # each leaves alone, see below
    bench.echo.reply = lambda data, flow: [
        (each, way)
        for word, other in zip(words, longer, strict=True)
        for each, way in zip((word, other, word, other), ways, strict=True)
    ]
    bench.driver.start(bench.echo)
    clients[0].send(b"go")
    bench.turn(lambda: len(bench.echo.failures) == 2 * len(words))
    for client in clients:
        assert [client.recv(1000) for _ in words] == words
    for flow in dead:
        quoted = sorted(data for way, data in bench.echo.failures if way == flow)
        assert [data[:QUOTED] for data in quoted] == [data[:QUOTED] for data in longer]
    counters = bench.counters()
    assert (counters["udp_sent"], counters["udp_send_errors"], counters["udp_send_drops"]) == (4 * len(words), 0, 0)
    bench.echo.reply = lambda data, flow: [(data, flow)]
    hears(bench)


def test_of_what_left_in_one_piece_the_first_is_quoted(make: Callable[..., Bench]) -> None:
    """Where the kernel cuts it late, one error is about the whole piece; what is sent again leaves alone."""
    bench = make()
    dead = closed()
    words = [b"%03d" % number + b"." * 397 for number in range(20)]
    bench.driver.start(bench.echo)
    send(bench, *((word, dead) for word in words))
    bench.turn(lambda: bench.echo.failures)
    assert bench.echo.failures[0][0] == dead
    assert bench.echo.failures[0][1].startswith(words[0])
    hears(bench)


def test_an_answer_leaves_from_the_address_that_was_asked_though_an_error_waits(make: Callable[..., Bench]) -> None:
    """RFC 3581 §4. What an error says of another message is no reason to try from another address."""
    bench = make()
    client = bench.connect(bench.listen(socket.AF_INET, "0.0.0.0"), "127.0.0.2")
    bench.driver.start(bench.echo)
    client.send(b"x")
    bench.turn(lambda: bench.echo.got)
    assert client.recv(100) == b"x"
    flow = bench.echo.got[0][1]
    for number in range(10):
        send(bench, (b"x", closed()), (b"%d" % number, flow))
        assert client.recv(100) == b"%d" % number


@pytest.mark.parametrize(
    ("data", "flow"),
    [
        pytest.param(b"x" * 65_530, None, id="too big"),
        pytest.param(b"nowhere", Flow("198.51.100.1", 9), id="no way from loopback"),
        pytest.param(b"nobody", Flow("255.255.255.255", 9), id="not permitted"),
    ],
)
def test_what_the_kernel_does_not_send_is_known_too(make: Callable[..., Bench], data: bytes, flow: Flow | None) -> None:
    """RFC 3261 §18.4"""
    bench = make()
    way = flow or bench.flow()
    bench.driver.start(bench.echo)
    send(bench, (b"1", bench.flow()), (data, way), (b"2", bench.flow()))
    assert bench.echo.failures == []  # not from within
    bench.turn(lambda: bench.echo.failures)
    assert bench.echo.failures == [(way, data)]
    assert [bench.client.recv(100), bench.client.recv(100)] == [b"1", b"2"]
    hears(bench)
    assert bench.counters()["udp_send_errors"] == 1


def test_what_comes_of_errors_is_one_batch(bench: Bench) -> None:
    """Told one after the other, then committed and sent."""
    dead = [closed(bench.family) for _ in range(3)]
    bench.echo.on_failed = lambda flow, data: [(b"480 " + data, bench.flow())]
    bench.driver.start(bench.echo)
    bench.echo.commits.clear()
    send(bench, *((b"%d" % number, flow) for number, flow in enumerate(dead)))
    bench.turn(lambda: len(bench.echo.failures) == 3)
    assert sorted(bench.client.recv(100) for _ in dead) == [b"480 0", b"480 1", b"480 2"]
    assert len(bench.echo.commits) <= 2  # of the read that has found nothing there is none


def test_an_answer_that_fails_too_is_told_in_its_turn(bench: Bench) -> None:
    dead = closed(bench.family)
    bench.echo.on_failed = lambda flow, data: [(data[1:], dead)] if len(data) > 1 else []
    bench.driver.start(bench.echo)
    send(bench, (b"12345", dead))
    bench.turn(lambda: len(bench.echo.failures) == 5)
    assert [data for _, data in bench.echo.failures] == [b"12345", b"2345", b"345", b"45", b"5"]
    hears(bench)


def test_an_exception_about_one_is_reported_and_the_others_have_their_turn(bench: Bench) -> None:
    def on_failed(flow: Flow, data: bytes) -> list[tuple[bytes, Flow]]:
        if data == b"bad":
            raise RuntimeError("on purpose")
        return [(data, bench.flow())]

    bench.echo.on_failed = on_failed
    bench.driver.start(bench.echo)
    send(bench, *((data, closed(bench.family)) for data in (b"1", b"bad", b"2")))
    bench.turn(lambda: len(bench.echo.failures) == 3)
    assert sorted([bench.client.recv(100), bench.client.recv(100)]) == [b"1", b"2"]
    assert [(event, str(error)) for event, error in bench.reports] == [("undeliverable-failed", "on purpose")]


def test_after_stop_nothing_is_told(bench: Bench) -> None:
    bench.driver.start(bench.echo)
    send(bench, (b"x" * 65_530, bench.flow()))
    bench.driver.stop()
    send(bench, (b"x", closed(bench.family)), (b"y", closed(bench.family)))
    turn_a_while(bench)
    assert bench.echo.failures == []
    bench.driver.start(bench.echo)
    hears(bench)


def test_no_message_is_held_when_it_was_told(bench: Bench) -> None:
    data = b"x" * 65_530
    before = sys.getrefcount(data)
    bench.driver.start(bench.echo)
    send(bench, (data, bench.flow()))
    bench.turn(lambda: bench.echo.failures)
    bench.echo.failures.clear()
    turn_a_while(bench)
    assert sys.getrefcount(data) == before


# ICMP errors as anybody may send them


class Forger:
    """Sends errors about what a server has sent, or is said to have sent."""

    def __init__(self) -> None:
        try:
            self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except PermissionError:
            pytest.skip("only root may make ICMP messages")

    def send(self, source: tuple[str, int], target: tuple[str, int], quoted: bytes, kind: int, code: int) -> None:
        """RFC 792: the IP header and what follows it, as if `source` had sent it to `target`."""
        udp = struct.pack(">HHHH", source[1], target[1], 8 + len(quoted), 0) + quoted
        addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0) + addresses
        whole = struct.pack(">BBHI", kind, code, 0, 1400 if (kind, code) == (3, 4) else 0) + ip + udp
        padded = whole + b"\0" * (len(whole) % 2)
        total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
        total = (total >> 16) + (total & 0xFFFF)
        total += total >> 16
        self.raw.sendto(whole[:2] + struct.pack(">H", ~total & 0xFFFF) + whole[4:], (source[0], 0))


@pytest.fixture
def forger() -> Iterator[Forger]:
    made = Forger()
    yield made
    made.raw.close()


@pytest.mark.parametrize(
    ("kind", "code", "known"),
    [
        pytest.param(3, 0, True, id="network unreachable"),
        pytest.param(3, 1, True, id="host unreachable"),
        pytest.param(3, 2, True, id="protocol unreachable"),
        pytest.param(3, 3, True, id="port unreachable"),
        pytest.param(3, 4, False, id="fragmentation needed"),  # the next copy is cut, and passes
        pytest.param(3, 13, True, id="forbidden"),
        pytest.param(12, 0, True, id="bad parameter"),
        pytest.param(4, 0, False, id="source quench"),
        pytest.param(11, 0, False, id="time exceeded"),
    ],
)
def test_the_kinds_of_errors(make: Callable[..., Bench], forger: Forger, kind: int, code: int, known: bool) -> None:
    """RFC 3261 §18.4"""
    bench = make()
    bench.driver.start(bench.echo)
    target = ("192.0.2.7", 5060)
    forger.send(bench.server.getsockname(), target, b"INVITE sip:bob", kind, code)
    turn_a_while(bench, 50)
    assert bench.echo.failures == ([(Flow(*target), b"INVITE sip:bob")] if known else [])
    hears(bench)
    assert not bench.reports


def test_an_error_that_quotes_nothing_tells_nothing(make: Callable[..., Bench], forger: Forger) -> None:
    """RFC 792 asks for eight bytes only, which are UDP's header."""
    bench = make()
    bench.driver.start(bench.echo)
    forger.send(bench.server.getsockname(), ("192.0.2.7", 5060), b"", 3, 3)
    turn_a_while(bench, 50)
    assert bench.echo.failures == []
    hears(bench)


def test_a_storm_of_forged_errors_keeps_nobody_from_talking(make: Callable[..., Bench], forger: Forger) -> None:
    bench = make()
    bench.driver.start(bench.echo)
    at = bench.server.getsockname()
    for number in range(300):
        for _ in range(10):
            forger.send(at, ("192.0.2.7", 5060), b"x" * 500, 3, number % 4)
        bench.client.send(b"%d" % number)
        bench.turn(lambda number=number: len(bench.echo.got) == number + 1)
        assert bench.client.recv(100) == b"%d" % number
    assert all(flow == Flow("192.0.2.7", 5060) for flow, _ in bench.echo.failures)
    turn_a_while(bench)
    assert bench.counters()["udp_send_errors"] == 0
    assert not bench.reports
