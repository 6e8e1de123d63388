"""The UDP transport on real sockets of 127.0.0.1 and ::1: batches, order, sizes, errors, timers. Both ways of
reading and sending are held to the same."""

import asyncio
import errno
import itertools
import logging
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvloop

from sipfast._flow import Flow, Receiver
from sipfast.driver.clock import Clock
from sipfast.driver.driver import Driver
from sipfast.errors import ConfigError, TransportError
from sipfast.observe.faults import Complaints
from sipfast.transport import sockets as udp
from sipfast.transport.udp import UdpTransport, interface_addresses
from sipfast.transport.udp_socket import BATCHED, kernel_drops, may_segment, widen

BATCH = 256  # datagrams that one turn of the loop reads at the most
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no ::1 on this machine")


class Echo(Receiver):
    """Sends everything back at commit, and remembers what it was called with."""

    def __init__(self, transport):
        self.transport = transport
        self.output = []
        self.got = []
        self.commits = []
        self.advances = []
        self.deadline = -1
        self.reply = lambda data, flow: [(data, flow)]

    def may_wait(self, data):
        return data.startswith(b"REGISTER ")

    def receive(self, data, flow, now):
        self.got.append((data, flow, now))
        self.output += self.reply(data, flow)
        return 0

    def advance(self, now):
        self.advances.append(now)
        return 0

    def next_deadline(self):
        return self.deadline

    def commit(self, now):
        self.commits.append(len(self.got))
        waiting, self.output = self.output, []
        for data, flow in waiting:
            self.transport.send(data, flow)
        return 0


class Bench:
    """A transport with one echo behind it and a blocking client in front of it, on one loop that a test turns."""

    def __init__(self, batched: bool, family: int = socket.AF_INET, **options):
        self.loop = uvloop.new_event_loop()
        self.reports = []
        self.driver = Driver(self.loop, Clock(), lambda *report: self.reports.append(report))
        self.transport = UdpTransport(self.driver, batched=batched, **options)
        self.family = family
        self.echo = Echo(self.transport)
        self.clients = []
        self.server = self.listen(family)
        self.client = self.connect()

    def listen(self, family: int, host: str = "") -> socket.socket:
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.setblocking(False)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((host or LOOPBACK[family], 0))
        widen(server, 8 << 20)
        self.transport.add(server)
        return server

    def connect(self, server: socket.socket | None = None, host: str = "") -> socket.socket:
        server = server or self.server
        client = socket.socket(server.family, socket.SOCK_DGRAM)
        client.settimeout(10)
        widen(client, 8 << 20)
        client.connect((host or server.getsockname()[0], server.getsockname()[1]))
        self.clients.append(client)
        return client

    def flow(self, client: socket.socket | None = None, **options) -> Flow:
        return Flow(*(client or self.client).getsockname()[:2], **options)

    def turn(self, until, limit: float = 10.0) -> None:
        """Turn the loop until the condition holds."""
        deadline = time.monotonic() + limit

        async def wait() -> None:
            while not until():
                assert time.monotonic() < deadline, "nothing came of it"
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())

    def counters(self) -> dict[str, int]:
        return self.driver.counters() | self.transport.counters()

    def close(self) -> None:
        self.driver.close()
        for client in self.clients:
            client.close()
        self.loop.close()


@pytest.fixture(params=[True, False], ids=["batched", "plain"])
def batched(request) -> bool:
    if request.param and not BATCHED:
        pytest.skip("this platform has no recvmmsg")
    return request.param


@pytest.fixture
def make(batched):
    made = []

    def make_bench(**options) -> Bench:
        made.append(Bench(batched, **options))
        return made[-1]

    yield make_bench
    for bench in made:
        bench.close()


@pytest.fixture(params=[socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)], ids=["IPv4", "IPv6"])
def bench(request, make) -> Bench:
    return make(family=request.param)


def test_a_datagram_arrives_with_its_flow_and_is_answered_to_it(bench):
    bench.driver.start(bench.echo)
    before = bench.driver.clock.now()
    bench.client.send(b"OPTIONS")
    bench.turn(lambda: bench.echo.got)
    data, flow, now = bench.echo.got[0]
    assert data == b"OPTIONS"
    assert (flow.host, flow.port) == bench.client.getsockname()[:2]
    assert (flow.family, flow.transport_name, flow.local) == (6 if bench.family == socket.AF_INET6 else 4, "UDP", 0)
    assert before <= now <= bench.driver.clock.now()
    assert bench.client.recv(100) == b"OPTIONS"
    assert not bench.reports


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 8])
def test_what_waits_is_read_in_batches_each_with_one_time_and_one_commit(bench, count):
    sent = [b"%d" % number for number in range(count)]
    for data in sent:
        bench.client.send(data)
    bench.driver.start(bench.echo)
    bench.echo.commits.clear()
    bench.turn(lambda: len(bench.echo.got) == count)
    assert [data for data, _, _ in bench.echo.got] == sent
    assert [bench.client.recv(100) for _ in sent] == sent
    assert bench.echo.commits == [*range(BATCH, count, BATCH), count]
    start = 0
    for end in bench.echo.commits:
        assert len({now for _, _, now in bench.echo.got[start:end]}) == 1
        start = end
    counters = bench.counters()
    assert (counters["udp_received"], counters["udp_sent"]) == (count, count)
    assert counters["batches"] == len(bench.echo.commits)


def test_a_flood_leaves_the_loop_to_others_after_each_batch(bench):
    for _ in range(1000):
        bench.client.send(b"x")
    bench.driver.start(bench.echo)
    seen = []

    def other() -> None:
        seen.append(len(bench.echo.got))
        if seen[-1] < 1000:
            bench.loop.call_soon(other)

    bench.loop.call_soon(other)
    bench.turn(lambda: len(bench.echo.got) == 1000)
    steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert max(steps) <= BATCH


@pytest.mark.parametrize("size", [1, 1500, 9000, 65_000, 65_507])  # 65,507: the most that UDP over IPv4 can carry
def test_datagrams_of_any_size_pass_whole(bench, size):
    data = bytes(number % 251 for number in range(size))
    bench.driver.start(bench.echo)
    bench.client.send(data)
    assert not bench.echo.got
    bench.turn(lambda: bench.echo.got)
    assert bench.echo.got[0][0] == data
    assert bench.client.recv(70_000) == data


def test_a_slot_read_before_leaves_nothing_behind(bench):
    """A short datagram after long ones, an IPv4 length after an error: lengths are set anew for every read."""
    bench.driver.start(bench.echo)
    for size in (3000, 10, 1):
        count = len(bench.echo.got)
        bench.client.send(b"x" * size)
        bench.turn(lambda count=count: len(bench.echo.got) > count)
        assert bench.client.recv(4000) == b"x" * size
        assert bench.echo.got[-1][1] == bench.flow()


def test_an_empty_datagram_is_counted_and_no_more(bench):
    bench.driver.start(bench.echo)
    bench.client.send(b"")
    bench.client.send(b"after")
    bench.turn(lambda: bench.echo.got)
    assert [data for data, _, _ in bench.echo.got] == [b"after"]
    assert bench.counters()["udp_empty"] == 1


def test_a_datagram_that_was_cut_is_dropped_and_counted(make):
    bench = make(max_datagram=100)
    bench.driver.start(bench.echo)
    for size in (100, 101, 99):
        bench.client.send(b"x" * size)
    bench.turn(lambda: len(bench.echo.got) == 2)
    assert [len(data) for data, _, _ in bench.echo.got] == [100, 99]
    assert bench.counters()["udp_truncated"] == 1


def test_an_exception_is_reported_and_the_rest_of_the_batch_goes_on(bench):
    def reply(data, flow):
        if data == b"bad":
            raise RuntimeError("on purpose")
        return [(data, flow)]

    bench.echo.reply = reply
    for data in (b"1", b"bad", b"2"):
        bench.client.send(data)
    bench.driver.start(bench.echo)
    bench.turn(lambda: len(bench.echo.got) == 3)
    assert [bench.client.recv(100), bench.client.recv(100)] == [b"1", b"2"]
    assert [(event, str(error)) for event, error in bench.reports] == [("receive-failed", "on purpose")]
    assert bench.counters()["driver_failures"] == 1


def test_an_exception_out_of_commit_or_a_timer_is_reported_and_the_server_goes_on(bench):
    calls = []

    class Broken(Echo):
        def commit(self, now):
            calls.append("commit")
            raise ValueError("commit")

        def advance(self, now):
            calls.append("advance")
            raise ValueError("advance")

        def next_deadline(self):
            return self.deadline

    receiver = Broken(bench.transport)
    receiver.deadline = 0  # long ago, and for ever: must not become a loop that never sleeps
    bench.driver.start(receiver)
    bench.client.send(b"x")
    bench.loop.run_until_complete(asyncio.sleep(0.05))
    assert 3 <= calls.count("advance") <= 60
    assert len(receiver.got) == 1
    assert {event for event, _ in bench.reports} == {"commit-failed", "advance-failed"}
    bench.client.send(b"y")
    bench.turn(lambda: len(receiver.got) == 2)


def test_a_message_that_cannot_be_sent_does_not_hold_up_the_others(make):
    bench = make()
    good = bench.flow()
    replies = [
        (b"1", good),
        (b"x" * 65_508, good),  # EMSGSIZE
        (b"2", good),
        (b"nowhere", Flow("198.51.100.1", 9)),  # EINVAL: not from an address of the loopback interface
        (b"nobody", Flow("255.255.255.255", 9)),  # EACCES
        (b"3", good),
    ]
    bench.echo.reply = lambda data, flow: replies
    bench.driver.start(bench.echo)
    bench.client.send(b"go")
    bench.turn(lambda: bench.echo.got)
    assert [bench.client.recv(100) for _ in range(3)] == [b"1", b"2", b"3"]
    counters = bench.counters()
    assert (counters["udp_sent"], counters["udp_send_errors"]) == (3, 3)
    assert bench.transport.pending == 0


def test_more_than_the_ring_holds_can_leave_in_one_commit(make):
    bench = make()
    bench.echo.reply = lambda data, flow: [(b"%d" % number, flow) for number in range(3000)]
    bench.driver.start(bench.echo)
    bench.client.send(b"go")
    bench.turn(lambda: bench.echo.got)
    assert [bench.client.recv(100) for _ in range(3000)] == [b"%d" % number for number in range(3000)]
    assert bench.counters()["udp_send_drops"] == 0


def test_messages_of_one_size_arrive_one_by_one(bench):
    """Handed to the kernel in one piece or not: every message is a datagram of its own."""
    words = [b"%03d" % number + b"." * 397 for number in range(200)]
    bench.echo.reply = lambda data, flow: [(word, flow) for word in words]
    bench.driver.start(bench.echo)
    bench.client.send(b"go")
    bench.turn(lambda: bench.echo.got)
    assert [bench.client.recv(65535) for _ in words] == words
    counters = bench.counters()
    assert counters["udp_sent"] == 200
    assert counters["udp_sent_together"] == (200 if joins(bench) else 0)


def joins(bench: Bench) -> bool:
    return bench.transport.batched and may_segment(bench.server)


@pytest.mark.parametrize("seed", range(8))
def test_each_peer_gets_its_messages_once_and_in_order(bench, seed):
    """Of few sizes and of many, from one peer to two hundred, with some that cannot be sent at all."""
    die = random.Random(seed)
    clients = [bench.client, *(bench.connect() for _ in range(die.choice([0, 1, 5, 39, 200])))]
    sizes = die.choice([[300], [300, 301], [10, 400, 1300, 1301], range(8, 1500)])
    nowhere = Flow("255.255.255.255", 9) if bench.family == socket.AF_INET else Flow("::ffff:192.0.2.1", 9)
    due = {client: [] for client in clients}
    unsendable = 0

    def reply(data: bytes, flow: Flow) -> list[tuple[bytes, Flow]]:
        nonlocal unsendable
        messages = []
        for number in range(die.choice([2, 255, 256, 257, 700])):
            if die.random() < 0.01:
                unsendable += 1
                messages.append((b"x" * die.choice(sizes), nowhere))
            client = die.choice(clients)
            due[client].append((b"%07d" % number).ljust(die.choice(sizes), b"."))
            messages.append((due[client][-1], bench.flow(client)))
        return messages

    bench.echo.reply = reply
    bench.driver.start(bench.echo)
    bench.client.send(b"go")
    bench.turn(lambda: bench.echo.got and not bench.transport.pending)
    for client in clients:
        assert [client.recv(65535) for _ in due[client]] == due[client]
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(65535)
    counters = bench.counters()
    assert (counters["udp_sent"], counters["udp_send_errors"]) == (sum(map(len, due.values())), unsendable)
    assert counters["udp_sent_together"] == 0 or joins(bench)


def test_what_is_too_big_for_the_path_to_be_cut_by_the_kernel_leaves_one_by_one():
    """On a path with a small MTU the kernel refuses to cut; IP makes fragments of each message then."""
    if not shutil.which("unshare"):
        pytest.skip("needs unshare of util-linux, for a network namespace of its own")
    script = [sys.executable, str(Path(__file__).parent / "small_mtu.py")]
    done = subprocess.run(["unshare", "--net", "--map-root-user", *script], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no network namespace of one's own here: {done.stderr.strip()}")
    assert done.stdout.split() == ["40", "0"], done.stderr


def test_no_message_of_many_is_held_when_they_have_left(bench):
    data = [bytes([65 + number]) * 500 for number in range(20)]
    before = list(map(sys.getrefcount, data))
    for number in range(600):
        bench.transport.send(data[number % 20], bench.flow())
    bench.transport.send(b"", Flow("255.255.255.255" if bench.family == socket.AF_INET else "::ffff:192.0.2.1", 9))
    bench.transport.flush()
    assert bench.transport.pending == 0
    assert list(map(sys.getrefcount, data)) == before


@pytest.fixture
def narrow(make):
    """A transport whose one socket blocks: a TCP connection takes sendmsg's address and ignores it, and unlike UDP
    on loopback it stands still when nobody reads. Yields the bench and the reading end."""
    bench = make()
    bench.driver.close()
    bench.driver = Driver(bench.loop, Clock(), lambda *report: None)
    bench.transport = UdpTransport(bench.driver, batched=bench.transport.batched)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        writer = socket.create_connection(listener.getsockname())
        reader, _ = listener.accept()
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    writer.setblocking(False)
    bench.transport.add(writer)
    bench.calls = []
    add, remove = bench.loop.add_writer, bench.loop.remove_writer
    bench.loop.add_writer = lambda *arguments: bench.calls.append("add") or add(*arguments)
    bench.loop.remove_writer = lambda *arguments: bench.calls.append("remove") or remove(*arguments)
    yield bench, reader
    reader.close()


def test_what_the_kernel_has_no_room_for_waits_in_order_and_leaves_when_it_has(narrow):
    bench, reader = narrow
    reader.setblocking(False)
    words = [b"<%07d>" % number + b"." * 991 for number in range(100_000)]
    sent = 0
    while bench.transport.pending < 500:
        for word in words[sent : sent + 10]:
            bench.transport.send(word, bench.flow())
        sent += 10
        bench.transport.flush()
    received = bytearray()

    async def read() -> None:
        while True:
            received.extend(await bench.loop.sock_recv(reader, 1 << 20))

    reading = bench.loop.create_task(read())
    bench.turn(lambda: not bench.transport.pending)
    bench.transport.send(b"<the end>", bench.flow())  # not blocked any more: leaves at once
    bench.transport.flush()
    bench.turn(lambda: received.endswith(b"<the end>"))
    reading.cancel()
    numbers = [int(part[:7]) for part in bytes(received).split(b"<")[1:-1]]
    assert numbers == list(range(sent))  # cut by TCP perhaps, but each begun, once, in order
    assert bench.counters()["udp_send_drops"] == 0
    assert bench.calls == ["add", "remove"]  # or the loop would call for ever


def test_what_waits_is_bounded(narrow):
    bench, _ = narrow
    for _ in range(100_000):
        bench.transport.send(b"x" * 1000, bench.flow())
        bench.transport.flush()
        if bench.counters()["udp_send_drops"] == 10:
            break
    assert bench.transport.pending == 1024
    assert bench.counters()["udp_send_drops"] == 10
    bench.driver.close()
    assert bench.transport.pending == 0


def test_no_message_is_held_longer_than_it_waits(narrow):
    bench, _ = narrow
    data = b"x" * 1000
    before = sys.getrefcount(data)
    while not bench.counters()["udp_send_drops"]:
        bench.transport.send(data, bench.flow())
    assert sys.getrefcount(data) == before + bench.transport.pending
    bench.driver.close()
    assert sys.getrefcount(data) == before


@needs_ipv6
def test_each_message_leaves_by_the_socket_of_its_flow(make):
    bench = make()
    second, third = bench.listen(socket.AF_INET), bench.listen(socket.AF_INET6)
    clients = [bench.client, bench.connect(second), bench.connect(third)]
    bench.driver.start(bench.echo)
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    bench.turn(lambda: len(bench.echo.got) == 3)
    # A connected client takes an answer only from the address that it sent to.
    assert [client.recv(100) for client in clients] == [b"0", b"1", b"2"]
    assert sorted((data, flow.local) for data, flow, _ in bench.echo.got) == [(b"0", 0), (b"1", 1), (b"2", 2)]


def test_who_listens_on_all_addresses_answers_from_the_one_that_was_asked(make):
    """RFC 3581 §4. A connected client takes an answer only from the address that it sent to."""
    bench = make()
    server = bench.listen(socket.AF_INET, "0.0.0.0")
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]
    clients = [bench.connect(server, host) for host in hosts]
    bench.driver.start(bench.echo)
    for host, client in zip(hosts, clients, strict=True):
        client.send(host.encode())
    bench.turn(lambda: len(bench.echo.got) == len(hosts))
    assert [client.recv(100) for client in clients] == [host.encode() for host in hosts]
    # And so does what is sent long after, by a flow out of the store, also where much leaves at once.
    for number in range(5):
        for _, flow, _ in bench.echo.got:
            bench.transport.send(b"later %d" % number, Flow.unpack(flow.pack()))
    bench.transport.flush()
    for client in clients:
        assert [client.recv(100) for _ in range(5)] == [b"later %d" % number for number in range(5)]


@needs_ipv6
def test_who_listens_on_all_ipv6_addresses_answers(make):
    bench = make()
    client = bench.connect(bench.listen(socket.AF_INET6, "::"), "::1")
    bench.driver.start(bench.echo)
    client.send(b"x")
    assert bench.turn(lambda: bench.echo.got) is None and client.recv(100) == b"x"


def test_an_own_address_that_is_gone_does_not_keep_a_message_back(make):
    bench = make()
    client = bench.connect(bench.listen(socket.AF_INET, "0.0.0.0"))
    bench.driver.start(bench.echo)
    client.send(b"x")
    bench.turn(lambda: bench.echo.got)
    assert client.recv(100) == b"x"
    packed = bytearray(bench.echo.got[0][1].pack())
    packed[-4:] = bytes([192, 0, 2, 99])  # an address that no machine has (RFC 5737)
    bench.transport.send(b"y", Flow.unpack(bytes(packed)))
    bench.transport.flush()
    assert client.recv(100) == b"y"
    assert bench.counters()["udp_send_errors"] == 0


@needs_ipv6
def test_a_short_peer_address_does_not_cut_the_next_long_one(make):
    bench = make()
    client6 = bench.connect(bench.listen(socket.AF_INET6))
    bench.driver.start(bench.echo)
    for client in (bench.client, client6, bench.client, client6):
        count = len(bench.echo.got)
        client.send(b"x")
        bench.turn(lambda count=count: len(bench.echo.got) > count)
        assert bench.echo.got[-1][1].host == client.getsockname()[0]
        assert bench.echo.got[-1][1].port == client.getsockname()[1]


@needs_ipv6
def test_a_flow_whose_listener_is_gone_takes_one_of_its_family(make):
    bench = make()
    client6 = bench.connect(bench.listen(socket.AF_INET6))
    for local in (0, 7, 65535):
        bench.transport.send(b"six", bench.flow(client6, local=local))
        bench.transport.flush()
        assert client6.recv(100) == b"six"
    bench.transport.send(b"four", bench.flow(local=1))
    bench.transport.flush()
    assert bench.client.recv(100) == b"four"


def test_a_flow_without_a_socket_is_counted(make):
    bench = make()
    bench.transport.send(b"x", Flow("::1", 5060))
    bench.transport.send(b"x", bench.flow(transport="TCP"))
    assert bench.counters()["udp_unroutable"] == 2
    bench.driver.close()
    bench.transport.send(b"x", bench.flow())
    assert bench.counters()["udp_unroutable"] == 3


def test_what_the_kernel_drops_is_counted(make):
    bench = make()
    bench.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(500):
        bench.client.send(b"x" * 500)
    bench.driver.start(bench.echo)
    drops = kernel_drops(bench.server)
    if not drops:
        pytest.skip("this kernel does not say what it drops")
    bench.turn(lambda: len(bench.echo.got) == 500 - drops)
    assert bench.counters()["udp_kernel_drops"] == drops


def test_the_timer_follows_the_deadline(make):
    bench = make()
    bench.driver.start(bench.echo)
    started = bench.driver.clock.now()
    bench.echo.advances.clear()
    bench.echo.deadline = started + 5_000
    bench.client.send(b"a later deadline")
    bench.turn(lambda: bench.echo.got)
    soon = bench.echo.deadline = bench.driver.clock.now() + 30
    bench.client.send(b"an earlier one takes its place")
    bench.turn(lambda: len(bench.echo.got) == 2)

    def fire(now):
        bench.echo.advances.append(now)
        if now >= soon:
            bench.echo.deadline = -1
        return 0

    bench.echo.advance = fire
    bench.turn(lambda: bench.echo.deadline == -1)
    assert soon <= bench.echo.advances[-1] < started + 5_000
    assert len(bench.echo.advances) <= 3  # perhaps a millisecond early, never a loop


def test_what_a_timer_produces_is_committed_and_sent(make):
    bench = make()

    class Late(Echo):
        def advance(self, now):
            self.output.append((b"late", bench.flow()))
            return 0

    receiver = Late(bench.transport)
    bench.driver.start(receiver)
    assert bench.client.recv(100) == b"late"
    assert receiver.commits == [0]


def test_after_stop_nothing_is_read_and_no_timer_runs(make):
    bench = make()
    bench.echo.deadline = bench.driver.clock.now() + 20
    bench.driver.start(bench.echo)
    bench.driver.stop()
    bench.echo.advances.clear()
    bench.client.send(b"x")
    bench.loop.run_until_complete(asyncio.sleep(0.05))
    assert (bench.echo.got, bench.echo.advances) == ([], [])
    bench.transport.send(b"still sent", bench.flow())
    bench.transport.flush()
    assert bench.client.recv(100) == b"still sent"
    bench.driver.close()
    bench.driver.close()


def test_a_receiver_may_stop_the_transport_in_the_middle_of_a_batch(make):
    bench = make()
    bench.echo.reply = lambda data, flow: bench.driver.stop() or [(data, flow)]
    for _ in range(2 * BATCH):
        bench.client.send(b"x")
    bench.driver.start(bench.echo)
    bench.turn(lambda: bench.echo.got)
    bench.loop.run_until_complete(asyncio.sleep(0))
    assert len(bench.echo.got) == BATCH
    assert bench.client.recv(100) == b"x"


def test_the_clock_is_the_wall_clock_and_never_goes_back():
    clock = Clock()
    assert abs(clock.now() - time.time() * 1000) < 1000
    readings = [clock.now() for _ in range(10_000)]
    assert readings == sorted(readings)


def test_a_clock_does_not_follow_the_wall_clock_when_that_is_set():
    """What it adds to its start is CLOCK_BOOTTIME, which nobody sets."""
    clock = Clock()
    wall, steady = clock.now(), time.monotonic_ns()
    time.sleep(0.02)
    assert abs((clock.now() - wall) - (time.monotonic_ns() - steady) / 1e6) <= 2


def test_clocks_of_one_zero_agree_to_the_millisecond():
    """Workers and the command line compare what they write with what others wrote."""
    one, other = Clock(1_700_000_000_000), Clock(1_700_000_000_000)
    for _ in range(1000):
        assert 0 <= other.now() - one.now() <= 1
    assert one.zero == 1_700_000_000_000
    passed = time.clock_gettime_ns(clock_id) // 1_000_000 if (clock_id := getattr(time, "CLOCK_BOOTTIME", 0)) else 0
    if passed:
        assert 0 <= one.now() - passed - one.zero < 1000


# Opening


def test_a_socket_is_opened_non_blocking_with_large_buffers():
    with udp.open_socket("udp:127.0.0.1:0") as opened:
        assert opened.getsockname()[0] == "127.0.0.1"
        assert opened.getblocking() is False
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 212_992  # Linux' default


@needs_ipv6
def test_an_ipv6_listener_leaves_ipv4_to_another():
    with udp.open_socket("udp:[::]:0") as six:
        assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        with udp.open_socket(f"udp:0.0.0.0:{six.getsockname()[1]}"):
            pass


def test_a_port_in_use_is_said_in_one_line():
    with udp.open_socket("udp:127.0.0.1:0") as first:
        listen = f"udp:127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(TransportError, match=f"cannot listen on {listen}: the port is in use; "):
            udp.open_socket(listen)


@pytest.mark.parametrize(
    ("listen", "kind", "line"),
    [
        ("udp:198.51.100.77:0", TransportError, "cannot listen on udp:198.51.100.77:0: this machine has no such"),
        ("udp:host.invalid:0", ConfigError, "cannot resolve 'host.invalid'"),
        ("tcp:127.0.0.1:0", ConfigError, "'tcp:127.0.0.1:0' is not udp:HOST:PORT"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(listen, kind, line):
    with pytest.raises(kind) as caught:
        udp.open_socket(listen)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("listen", "advertise", "host"),
    [
        ("udp:127.0.0.1:0", "", "127.0.0.1"),
        ("udp:localhost:0", "", "127.0.0.1"),
        ("udp:127.0.0.1:0", "sip.example.com", "sip.example.com"),
        ("udp:127.0.0.1:0", "192.0.2.7", "192.0.2.7"),
        pytest.param("udp:[::1]:0", "", "[::1]", marks=needs_ipv6),
        pytest.param("udp:[::1]:0", "192.0.2.7", "[::1]", marks=needs_ipv6, id="an address of the other family"),
        pytest.param("udp:[::1]:0", "2001:db8::7", "[2001:db8::7]", marks=needs_ipv6),
        pytest.param("udp:[::1]:0", "[2001:db8::7]", "[2001:db8::7]", marks=needs_ipv6),
    ],
)
def test_a_listener_names_itself_by_its_address_or_as_advertised(listen, advertise, host):
    with udp.open_socket(listen) as opened:
        port = opened.getsockname()[1]
        listener = udp.listener_for(opened, advertise)
    assert listener.sent_by == f"{host}:{port}".encode()
    assert (listener.transport, listener.port) == ("UDP", port)
    assert listener.host == opened_host(listen)


def opened_host(listen: str) -> str:
    return "::1" if "[" in listen else "127.0.0.1"


def test_a_listener_on_all_addresses_names_itself_by_one_of_them():
    with udp.open_socket("udp:0.0.0.0:0") as opened:
        listener = udp.listener_for(opened, "")
    assert listener.host == "0.0.0.0"
    assert listener.sent_by.rpartition(b":")[0].decode() in interface_addresses()


def test_names_are_resolved_into_a_family_that_is_listened_on():
    assert udp.resolve("localhost") == (socket.AF_INET, "127.0.0.1")
    assert udp.resolve("192.0.2.9") == (socket.AF_INET, "192.0.2.9")
    assert udp.resolve("2001:db8::9") == (socket.AF_INET6, "2001:db8::9")
    with pytest.raises(ConfigError, match=r"'192\.0\.2\.9' has no IPv6 address"):
        udp.resolve("192.0.2.9", [socket.AF_INET6])


def test_each_kind_of_complaint_is_logged_once_a_minute(caplog):
    now = [0.0]
    complain = Complaints(logging.getLogger("sipfast.test"), lambda: now[0])

    def fail(kind: type[Exception]) -> None:
        try:
            raise kind("boom")
        except Exception as error:
            complain("receive-failed", error)

    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            fail(ValueError)
        fail(KeyError)
        complain("read-failed", OSError(errno.ENOMEM, "no memory"))
        assert [record.getMessage() for record in caplog.records] == ["receive-failed", "receive-failed", "read-failed"]
        now[0] = 60.0
        fail(ValueError)
    assert caplog.records[-1].sip == {"suppressed": 4}
    assert caplog.records[0].exc_info[0] is ValueError
