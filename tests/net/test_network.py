"""The bed and the phones themselves, without any engine: a phone that calls another directly is all it takes."""

from __future__ import annotations

from typing import Any

import pytest

from net.endpoint import T1, Endpoint, Peer
from net.network import START, Crash, Line, Network, Server, replay, seeds
from net.phone import Phone
from net.sipwire import Address, Sip, host_port, param, request, response, return_address, split_list, uri_of
from net.upstream import Upstream

A, B, PROXY = ("10.0.0.2", 5060), ("10.0.0.3", 5060), ("10.0.0.1", 5060)
ROUGH = Line(latency=(1, 30), loss=0.15, reorder=0.1, duplicate=0.1)


def pair(seed: int = 0, line: Line | None = None) -> tuple[Network, Phone, Phone]:
    """Two phones; alice's outbound proxy is bob himself."""
    network = Network(seed, line)
    return network, network.add(Phone("alice", A, B)), network.add(Phone("bob", B, A))


# The codec


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("a", ["a"]),
        ("<sip:a@b>, <sip:c@d>;q=1", ["<sip:a@b>", "<sip:c@d>;q=1"]),
        ('"x, y" <sip:a,b@c>, <sip:d@e>', ['"x, y" <sip:a,b@c>', "<sip:d@e>"]),
        ('"\\"," <sip:a@b>', ['"\\"," <sip:a@b>']),
    ],
)
def test_lists_split_only_at_their_own_commas(value: str, parts: list[str]) -> None:
    assert split_list(value) == parts


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sip:bob@10.0.0.1:5070;lr", ("10.0.0.1", 5070)),
        ("sip:10.0.0.1", ("10.0.0.1", 5060)),
        ("sip:bob@[2001:db8::1]:5070", ("2001:db8::1", 5070)),
        ("[2001:db8::1]", ("2001:db8::1", 5060)),
    ],
)
def test_host_and_port_of_a_uri(uri: str, address: Address) -> None:
    assert host_port(uri) == address


def test_a_message_reads_as_it_was_written() -> None:
    via = "SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKx;rport"
    fields = [("v", via), ("f", '"A" <sip:a@b;x=1>;tag=t1'), ("To", "<sip:c@d>"), ("i", "id"), ("CSeq", "7 INVITE")]
    message = Sip(request("INVITE", "sip:c@d", fields, b"body"))
    assert (message.method, message.uri, message.body) == ("INVITE", "sip:c@d", b"body")
    assert (message.branch, message.from_tag, message.to_tag, message.cseq) == ("z9hG4bKx", "t1", "", 7)
    assert uri_of(message.first("from")) == "sip:a@b;x=1"
    answer = Sip(response(message, 180, source=("10.9.9.9", 4000), tag="u"))
    assert (answer.status, answer.to_tag, answer.method) == (180, "u", "INVITE")
    # RFC 3581 §4: the answer goes to where the request came from
    assert return_address(answer) == ("10.9.9.9", 4000)
    assert param(answer.first("via"), "branch") == "z9hG4bKx"


def test_a_folded_header_reads_as_one_line() -> None:
    assert Sip(b"OPTIONS sip:a SIP/2.0\r\nSubject: one\r\n  two\r\nl: 0\r\n\r\n").first("subject") == "one two"


# The clock and the lines


class Counter(Endpoint):
    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name, address)
        self.got: list[tuple[int, bytes]] = []

    def receive(self, data: bytes, source: Address, now: int) -> None:
        self.got.append((now, data))


def test_a_datagram_takes_its_latency() -> None:
    network = Network(line=Line(latency=(7, 7)))
    a, b = network.add(Counter("a", A)), network.add(Counter("b", B))
    a.transmit(b"x", B)
    network.run(6)
    assert b.got == []
    network.run(1)
    assert b.got == [(START + 7, b"x")]


def test_timers_run_in_order_and_cancelled_ones_do_not() -> None:
    network, ran = Network(), []
    a = network.add(Counter("a", A))
    a.after(20, ran.append, "second")
    a.after(10, ran.append, "first")
    a.after(15, ran.append, "never").cancel()
    network.run(30)
    assert ran == ["first", "second"]


def test_lines_lose_double_and_reorder_by_their_seed() -> None:
    def play(seed: int) -> list[tuple[int, bytes]]:
        network = Network(seed, Line(latency=(1, 5), loss=0.3, reorder=0.2, duplicate=0.2))
        a, b = network.add(Counter("a", A)), network.add(Counter("b", B))
        for i in range(300):
            a.transmit(b"%d" % i, B)
            network.run(1)
        network.run(5_000)
        return b.got

    got = [int(data) for _, data in play(1)]
    assert 180 <= len(set(got)) <= 240  # three in ten are lost
    assert len(got) > len(set(got))
    assert got != sorted(got)
    assert play(1) == play(1) != play(2)


def test_what_is_sent_to_nobody_is_lost() -> None:
    network = Network()
    network.add(Counter("a", A)).transmit(b"x", ("10.9.9.9", 1))
    network.run(10)
    assert network.trace[0].fate == "nobody there"


# Phones


def test_phones_call_answer_and_hang_up() -> None:
    network, alice, bob = pair()
    alice.talk_time = 5_000
    call = alice.call("bob")
    network.wait(lambda: call.state == "talking")
    assert (bob.calls[0].state, bob.calls[0].call_id) == ("answered", call.call_id)  # the ACK is on its way
    network.wait(lambda: call.state == "ended")
    network.run(100)
    assert bob.calls[0].state == "ended"
    assert [event.title.split()[0] for event in network.trace] == ["INVITE", "180", "200", "ACK", "BYE", "200"]


def test_a_request_is_sent_again_until_it_is_answered() -> None:
    """RFC 3261 §17.1.1.2 and §17.1.2.2: timers A and E, B and F."""
    network, alice, _ = pair()
    peer = Peer("peer", ("10.0.0.9", 5060))
    network.add(peer)
    alice.proxy = peer.address
    call = alice.call("bob")
    network.run(70_000)
    times = [event.at - START for event in network.trace]
    assert times == [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]
    assert (call.state, call.status) == ("failed", 408)
    network.trace.clear()
    start = network.now
    alice.re_register_after = 10**9
    alice.register()
    network.run(70_000)
    times = [event.at - start for event in network.trace]
    assert times == [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    assert alice.register_statuses == [408]


def test_a_busy_phone_is_acknowledged_and_repeats_until_then() -> None:
    network, alice, bob = pair()
    bob.on_invite = "486"
    call = alice.call("bob")
    network.run(1_000)
    assert (call.state, call.status) == ("failed", 486)
    assert [event.title.split()[0] for event in network.trace] == ["INVITE", "486", "ACK"]


def test_a_cancelled_call_ends_with_487() -> None:
    network, alice, bob = pair()
    bob.on_invite = "ring"
    call = alice.call("bob")
    network.run(1_000)
    alice.hang_up(call)
    network.run(1_000)
    assert (call.state, call.status, bob.calls[0].status) == ("failed", 487, 487)
    names = [event.title.split()[0] for event in network.trace]
    assert names == ["INVITE", "180", "CANCEL", "200", "487", "ACK"]


def test_a_2xx_is_repeated_until_its_ack_is_there() -> None:
    """RFC 3261 §13.3.1.4"""
    network, alice, bob = pair()
    alice.call("bob")
    network.wait(lambda: bob.calls and bob.calls[0].state == "answered")
    network.remove(alice)  # there will be no ACK
    network.trace.clear()
    network.run(3 * T1 + 10)
    assert [event.title for event in network.trace] == ["200 OK (INVITE)"] * 2


def test_the_same_request_by_two_ways_is_answered_482() -> None:
    """RFC 3261 §8.2.2.2"""
    network, alice, bob = pair()
    bob.on_invite = "ring"
    peer = Peer("peer", ("10.0.0.9", 5060))
    network.add(peer)
    alice.call("bob")
    network.run(100)
    copy = Sip(network.trace[0].data).raw.replace(b"10.0.0.2:5060;branch=", b"10.0.0.9:5060;branch=z9hG4bKother")
    peer.transmit(copy, B)
    network.run(100)
    assert [(message.method, message.status) for message in peer.inbox] == [("INVITE", 482)]
    assert len(bob.calls) == 1, "it rings once"


def test_a_refer_is_accepted_reported_and_done() -> None:
    """RFC 3515 §2.4.4 and §2.4.5"""
    network, alice, bob = pair()
    peer = Peer("peer", ("10.0.0.9", 5060))
    network.add(peer)
    fields = [
        ("Via", "SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKr"), ("From", "<sip:bob@example.com>;tag=f"),
        ("To", "<sip:alice@example.com>"), ("Call-ID", "r1"), ("CSeq", "1 REFER"), ("Max-Forwards", "70"),
        ("Contact", "<sip:10.0.0.9:5060>"), ("Refer-To", "<sip:bob@example.com>"),
        ("Referred-By", "<sip:bob@example.com>"),
    ]  # fmt: skip
    peer.transmit(request("REFER", "sip:alice@10.0.0.2:5060", fields), A)
    network.run(100)
    peer.take("REFER", 202)
    notify = peer.take("NOTIFY")
    assert notify.body == b"SIP/2.0 100 Trying\r\n"
    assert notify.first("subscription-state").startswith("active")
    peer.answer(notify, 200)
    network.wait(lambda: peer.count("NOTIFY"))
    notify = peer.take("NOTIFY")
    assert notify.body == b"SIP/2.0 200 OK\r\n"
    assert notify.first("subscription-state").startswith("terminated")
    peer.answer(notify, 200)
    network.run(100)
    assert alice.calls[0].recalled and bob.calls[0].state == "talking"
    assert alice.refers[0].notify_statuses == [200, 200]
    assert Sip(network.trace[4].data).first("referred-by") == "<sip:bob@example.com>"


def test_options_and_what_a_phone_does_not_know() -> None:
    network, _, _ = pair()
    peer = Peer("peer", ("10.0.0.9", 5060))
    network.add(peer)
    for method in ("OPTIONS", "PUBLISH"):
        fields = [
            ("Via", f"SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{method}"), ("From", "<sip:x@y>;tag=f"),
            ("To", "<sip:alice@example.com>"), ("Call-ID", method), ("CSeq", f"1 {method}"),
        ]  # fmt: skip
        peer.transmit(request(method, "sip:alice@10.0.0.2:5060", fields), A)
    network.run(100)
    peer.take("OPTIONS", 200)
    peer.take("PUBLISH", 501)


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_a_call_succeeds_over_rough_lines(first: int) -> None:
    """Random schedules: the transactions of the phones get a call through, and both agree on it."""
    for seed in seeds(first, 50):
        network, alice, bob = pair(seed, ROUGH)
        try:
            alice.talk_time = 5_000
            call = alice.call("bob")
            network.wait(lambda call=call: call.over, 120_000)
            network.run(100_000)
            assert call.was_answered
            assert [other.state for other in bob.calls] == ["ended"]
            assert bob.calls[0].was_answered
            assert not alice.clients and not bob.servers
        except AssertionError as error:
            raise AssertionError(replay(seed, network, error)) from error


def test_the_ladder_shows_who_said_what() -> None:
    network, alice, _ = pair()
    alice.call("bob")
    network.run(10)
    ladder = network.ladder()
    assert "alice" in ladder.splitlines()[0] and "bob" in ladder.splitlines()[0]
    assert "INVITE" in ladder and ">" in ladder and "<" in ladder


# Phones by way of the scripted server


def served(seed: int = 0, line: Line | None = None) -> tuple[Network, Phone, Phone, Upstream]:
    network = Network(seed, line)
    upstream = network.add(Upstream("upstream", PROXY))
    return network, network.add(Phone("alice", A, PROXY)), network.add(Phone("bob", B, PROXY)), upstream


def test_a_phone_registers_refreshes_and_leaves() -> None:
    network, alice, _, upstream = served()
    alice.register(600)
    network.run(100)
    assert alice.registered and [b.contact for b in upstream.live(alice.aor)] == ["sip:alice@10.0.0.2:5060"]
    network.run(700_000)  # at half of its life
    assert [message.cseq for message in upstream.registers] == [1, 2, 3]
    assert upstream.live(alice.aor)
    alice.unregister()
    network.run(1_000_000)
    assert not alice.registered and not upstream.live(alice.aor)
    assert len(upstream.registers) == 4


@pytest.mark.parametrize("record_route", [False, True])
@pytest.mark.parametrize("first", [0, 50])
def test_a_registered_call_succeeds_over_rough_lines(first: int, record_route: bool) -> None:
    for seed in seeds(first, 50):
        network, alice, bob, upstream = served(seed, ROUGH)
        upstream.record_route = record_route
        try:
            alice.talk_time = 5_000
            alice.register()
            bob.register()
            network.wait(lambda alice=alice, bob=bob: alice.registered and bob.registered)
            call = alice.call("bob")
            network.wait(lambda call=call: call.over, 120_000)
            network.run(100_000)
            assert call.was_answered
            assert [other.state for other in bob.calls] == ["ended"]
        except AssertionError as error:
            raise AssertionError(replay(seed, network, error)) from error


def test_nobody_there_is_480() -> None:
    network, alice, _, _ = served()
    call = alice.call("bob")
    network.run(1_000)
    assert call.status == 480


# Servers and their crashes, with a toy for an engine


class ToyStore:
    def __init__(self) -> None:
        self.committed = self.count = 0

    def commit(self) -> None:
        self.committed = self.count

    def abort(self) -> None:
        self.count = self.committed


class ToyEngine:
    """Counts datagrams in its store and answers each one with the count; says "alarm" one second after the first."""

    def __init__(self, config: object, store: ToyStore, sink: Any, listeners: object, **more: object) -> None:
        self.store, self.sink = store, sink
        self.out: list[tuple[bytes, Any]] = []
        self.alarm: tuple[int, Any] | None = None

    def start(self, now: int) -> None:
        pass

    def receive(self, data: bytes, flow: Any, now: int) -> None:
        self.store.count += 1
        self.out.append((b"%d" % self.store.count, flow))
        self.alarm = self.alarm or (now + 1_000, flow)

    def advance(self, now: int) -> None:
        if self.alarm and now >= self.alarm[0]:
            self.out.append((b"alarm", self.alarm[1]))
            self.alarm = None

    def next_deadline(self) -> int:
        return self.alarm[0] if self.alarm else -1

    def commit(self, now: int) -> None:
        self.store.commit()
        for data, flow in self.out:
            self.sink.send(data, flow)
        self.out.clear()


def toy(*crashes: Crash) -> tuple[Network, Server, Counter]:
    network = Network()
    server = Server("server", PROXY, store=ToyStore(), kind=ToyEngine, crashes=crashes)
    network.add(server)
    server.start(network.now)
    return network, server, network.add(Counter("a", A))


def test_a_server_answers_in_batches_and_runs_its_timers() -> None:
    network, server, a = toy()
    a.transmit(b"x", PROXY)
    a.transmit(b"x", PROXY)
    network.run(2_000)
    assert a.got == [(START + 4, b"1"), (START + 4, b"2"), (START + 1_004, b"alarm")]
    assert (server.taken, server.given, server.restarts) == (2, 3, 0)


@pytest.mark.parametrize(
    ("crash", "answers", "stored"),
    [
        (Crash("before", 2), [b"1", b"2"], 2),
        (Crash("uncommitted", 2), [b"1", b"2"], 2),
        (Crash("output", 2), [b"1", b"3"], 3),
        (Crash("output", 1), [b"2", b"3"], 3),
    ],
    ids=lambda value: value.kind if isinstance(value, Crash) else None,
)
def test_a_crash_loses_what_it_should(crash: Crash, answers: list[bytes], stored: int) -> None:
    network, server, a = toy(crash)
    for _ in range(3):
        a.transmit(b"x", PROXY)
        network.run(500)
    assert [data for _, data in a.got if data != b"alarm"] == answers
    assert (server.store.count, server.restarts) == (stored, 1)


def test_nothing_reaches_a_server_that_is_down() -> None:
    network, server, a = toy(Crash("before", 1, down=1_000))
    a.transmit(b"x", PROXY)
    network.run(500)
    a.transmit(b"x", PROXY)
    network.run(1_000)
    assert a.got == [] and server.engine is not None
    a.transmit(b"x", PROXY)
    network.run(10)
    assert [data for _, data in a.got] == [b"1"]
