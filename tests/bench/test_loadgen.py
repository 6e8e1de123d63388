"""The load generator: each mode against a real server, and that it notices what a server does wrong."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the load generator reads /proc and uses recvmmsg", allow_module_level=True)
pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import accounting
from benchmarks.loadgen.measure import Result, generator, measure, percentiles, prepare
from benchmarks.peers.servers import available, running

Server = Callable[[bytes], list[bytes]]


def play(mode: str, seconds: float = 0.3, rate: float = 0, kind: str = "sipfast", **options: Any) -> Result:
    """One short measurement; not pinned, since others run here, too."""
    with running(kind, mode, core=None) as peer:
        load = generator(mode, peer.address, **options)
        prepare(load, mode)
        result = measure(load, mode, peer.port, peer.pid, seconds, rate=rate, warm_up=0.05)
        load.close()
    assert result.clean, (result.counters, result.complaints)
    assert result.counters["completed"] == result.counters["begun"] > 0
    return result


# What each mode is made of: datagrams to and from the server for one cycle. 100 Trying, which a busy server need not
# send within 200 ms (RFC 3261 §17.2.1), is counted apart.
CYCLES = {"options": (1, 1), "register": (1, 1), "call": (6, 6), "redial": (11, 10), "redial-notify": (13, 12)}
CYCLES |= {"callback": (14, 13), "b2bua": (11, 11)}


@pytest.mark.parametrize("mode", CYCLES)
def test_a_mode_runs_clean(mode: str) -> None:
    result = play(mode, size=200)
    counters = result.counters
    sent, received = CYCLES[mode]
    if not counters["retransmitted"] and not counters["duplicates"] and not counters["late"]:
        assert counters["sent"] == sent * counters["completed"]
        trying = counters["provisional"]
        assert counters["received"] - trying == received * counters["completed"]
    assert result.cpu_us_per_message > 0
    assert 0 < result.latency_us["p50"] <= result.latency_us["p99"] <= result.latency_us["p99.9"]


@pytest.mark.parametrize("mode", ["echo", *CYCLES])
def test_a_mode_runs_clean_with_many_peers(mode: str) -> None:
    play(mode, kind="echo" if mode == "echo" else "sipfast", size=200, peers=70)


@pytest.mark.peers
@pytest.mark.skipif(not available("kamailio", "presence"), reason="Kamailio's presence modules are not installed")
@pytest.mark.parametrize(("refreshes", "peers"), [(0, 1), (3, 1), (0, 70)])
def test_presence_runs_clean_against_kamailio(refreshes: int, peers: int) -> None:
    """33 messages, and SUBSCRIBE 200 NOTIFY 200 for each refresh."""
    result = play("presence", kind="kamailio", size=200, refreshes=refreshes, peers=peers)
    counters = result.counters
    if not counters["retransmitted"] and not counters["duplicates"] and not counters["late"]:
        assert counters["sent"] == (17 + 2 * refreshes) * counters["completed"]
        assert counters["received"] - counters["provisional"] == (16 + 2 * refreshes) * counters["completed"]
    assert counters["bytes_sent"] > 100 * counters["sent"]
    assert counters["bytes_received"] > 100 * counters["received"]


@pytest.mark.skipif(not available("kamailio-redial", "redial"), reason="no Kamailio with htable and uac here")
@pytest.mark.parametrize("peers", [1, 70])
def test_redial_by_kamailio_runs_clean(peers: int) -> None:
    """The same messages as by sipfast."""
    counters = play("redial", kind="kamailio-redial", size=200, peers=peers).counters
    if not counters["retransmitted"] and not counters["duplicates"] and not counters["late"]:
        assert counters["sent"] == 11 * counters["completed"]
        assert counters["received"] - counters["provisional"] == 10 * counters["completed"]


def test_register_refreshes_the_same_users_and_fetches_what_is_stored() -> None:
    with running("sipfast", "register", core=None) as peer:
        load = generator("register", peer.address, size=100)
        prepare(load, "register")
        load.run(5, limit=250)  # two and a half rounds of refreshes
        load.drain(5)
        assert load.counters()["completed"] == 250
        load.reset()
        load.fetch()
        load.run(5, limit=100)
        load.drain(5)
        assert load.counters()["completed"] == 100, load.complaints()
        assert load.counters()["wrong"] == 0
        load.close()


def test_fetch_notices_a_registrar_that_has_stored_nothing() -> None:
    with running("sipfast", "register", core=None) as peer:
        load = generator("register", peer.address, size=10, fetch=True)
        load.run(5, limit=10)
        load.drain(5)
        assert load.counters()["wrong"] == 10
        assert load.complaints()[0][0] == "the 200 does not name the contact"
        load.close()


def test_a_call_to_nobody_is_noticed_and_acknowledged() -> None:
    with running("sipfast", "call", core=None) as peer:
        load = generator("call", peer.address, size=5, window=5)
        load.run(5, limit=5)
        load.drain(1)
        counters = load.counters()
        load.close()
    assert (counters["wrong"], counters["completed"], counters["lost"]) == (5, 0, 0)
    assert counters["sent"] == 10  # INVITE and ACK


def test_an_open_loop_keeps_its_rate() -> None:
    result = play("options", seconds=0.5, rate=400)
    assert result.counters["begun"] == pytest.approx(200, abs=10)


def test_an_open_loop_begins_when_it_is_due() -> None:
    """Else each latency would hold the time between two, here 50 ms."""
    assert play("options", seconds=0.5, rate=20).latency_us["p50"] < 25_000


@pytest.mark.parametrize("mode", ["redial", "call"])
def test_how_long_a_recall_takes_is_noted_for_redial_alone(mode: str) -> None:
    result = play(mode, size=50)
    if mode == "call":
        assert result.recall_us == {}
    else:
        assert 0 < result.recall_us["p50"] <= result.recall_us["max"] < result.latency_us["max"]


# A server of this test's own, which does wrong.


def serving(answer: Server, to: Callable[[Any], Any] = lambda peer: peer) -> Any:
    """`to`: where the answers to a peer go."""
    return sending(lambda data, peer: [(each, to(peer)) for each in answer(data)])


@contextlib.contextmanager
def sending(answer: Callable[[bytes, Any], list[tuple[bytes, Any]]]) -> Iterator[tuple[str, int]]:
    """A server that says what it sends where."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    data, peer = bound.recvfrom(65535)
                    for each, to in answer(data, peer):
                        bound.sendto(each, to)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield bound.getsockname()
        finally:
            ended.set()
            thread.join()


def reply(request: bytes, status: bytes = b"200 OK") -> bytes:
    """A right answer."""
    kept = [line for line in request.split(b"\r\n") if re.match(rb"(Via|From|Call-ID|CSeq):", line)]
    (to,) = re.findall(rb"To:[^\r]*", request)
    to += b"" if b";tag=" in to else b";tag=x"
    return b"\r\n".join([b"SIP/2.0 " + status, *kept, to, b"Content-Length: 0", b"", b""])


def against(answer: Server, mode: str = "options", limit: int = 1, **options: Any) -> tuple[dict[str, int], list[Any]]:
    with serving(answer) as address:
        load = generator(mode, address, size=1, t1=0.1, **options)
        load.run(5, limit=limit)
        load.drain(0.5)
        counters, complaints = load.counters(), load.complaints()
        load.close()
    return counters, complaints


def test_the_right_answer_is_right() -> None:
    counters, complaints = against(lambda request: [reply(request)])
    assert (counters["completed"], counters["wrong"], counters["lost"], complaints) == (1, 0, 0, [])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda r: [reply(r, b"503 Busy")], id="status"),
        pytest.param(lambda r: [reply(r).replace(b"CSeq: 1 ", b"CSeq: 2 ")], id="CSeq number"),
        pytest.param(lambda r: [reply(r).replace(b" OPTIONS\r\n", b" REGISTER\r\n")], id="CSeq method"),
        pytest.param(lambda r: [reply(r).replace(b";tag=x", b"")], id="no To tag"),
        pytest.param(lambda r: [re.sub(rb"(From:.*;tag=).", rb"\1f", reply(r))], id="From tag"),
        pytest.param(lambda r: [re.sub(rb"(;branch=z9hG4bK).", rb"\1f", reply(r))], id="branch"),
        pytest.param(lambda r: [re.sub(rb"(Call-ID: .{16}).{8}", rb"\1ffffffff", reply(r))], id="Call-ID of another run"),
        pytest.param(lambda r: [re.sub(rb"(Via:.*)\r\n", rb"\1\r\n\1\r\n", reply(r))], id="a Via too many"),
        pytest.param(lambda r: [r], id="the request itself"),
        pytest.param(lambda r: [b"nonsense"], id="no SIP"),
        pytest.param(lambda r: [re.sub(rb"CSeq:.*\r\n", b"", reply(r))], id="no CSeq"),
    ],
)
def test_a_wrong_answer_is_noticed(change: Server) -> None:
    counters, complaints = against(change)
    assert counters["completed"] == 0
    assert counters["wrong"] >= 1
    assert complaints


def test_an_answer_to_nobody_is_a_stray() -> None:
    counters, _ = against(lambda r: [re.sub(rb"(Call-ID: ).{8}", rb"\g<1>000000ff", reply(r))])
    assert counters["stray"] >= 1
    assert counters["lost"] == 1


def test_silence_is_a_loss_after_retransmissions() -> None:
    counters, _ = against(lambda r: [])
    assert (counters["completed"], counters["lost"]) == (0, 1)
    assert counters["retransmitted"] == 2  # at 0.1 s and 0.3 s of the 0.5 s; the next would be at 0.7 s (RFC 3261 §17.1.2.2)


def test_a_lost_datagram_is_retransmitted_and_answered() -> None:
    seen: list[bytes] = []

    def forgetful(request: bytes) -> list[bytes]:
        seen.append(request)
        return [reply(request)] if len(seen) > 1 else []

    counters, _ = against(forgetful)
    assert (counters["completed"], counters["retransmitted"], counters["lost"]) == (1, 1, 0)
    assert seen[0] == seen[1]


def test_an_answer_twice_is_counted_and_harmless() -> None:
    counters, _ = against(lambda r: [reply(r), reply(r)], limit=3)
    assert (counters["completed"], counters["wrong"]) == (3, 0)
    assert counters["late"] >= 2


@pytest.mark.parametrize("to", [b";tag=x", b""], ids=["another's tag", "no tag"])
def test_a_call_answered_by_somebody_else_is_noticed(to: bytes) -> None:
    def answer(request: bytes) -> list[bytes]:
        return [reply(request).replace(b";tag=x", to)] if request.startswith(b"INVITE") else []

    counters, _ = against(answer, "call")
    assert (counters["completed"], counters["wrong"]) == (0, 1)


def test_a_redial_without_the_promise_is_noticed() -> None:
    """480 without Call-Info m=NL: the server does not watch."""
    counters, complaints = against(lambda r: [reply(r, b"480 Not Here")] if r.startswith(b"INVITE") else [], "redial")
    assert (counters["completed"], counters["wrong"]) == (0, 1)
    assert complaints[0][0] == "no 480 with Call-Info m=NL"


def called_back(then: bytes) -> Server:
    """A server that watches, calls the caller's phone at once, and upon its 180 sends a request within that call."""
    call: list[bytes] = []

    def of_call(method: bytes, more: bytes = b"") -> bytes:
        return b"\r\n".join([
            method + b" " + call[0] + b" SIP/2.0", b"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKc",
            b"From: <sip:b0@example.test>;tag=s", b"To: <sip:a0@example.test>" + more,
            b"Call-ID: server", b"CSeq: 1 " + method,
            b"Contact: <sip:127.0.0.1:9>", b"Refer-To: <sip:carol@example.test>", b"Content-Length: 0", b"", b"",
        ])  # fmt: skip

    def answer(data: bytes) -> list[bytes]:
        if data.startswith(b"INVITE"):
            call[:] = re.findall(rb"Contact: <([^>]*)>", data)
            promise = b"\r\nCall-Info: <sip:b>;purpose=call-completion;m=NL\r\nContent-Length"
            return [reply(data, b"480 Not Here").replace(b"\r\nContent-Length", promise)]
        if data.startswith(b"ACK"):
            return [of_call(b"INVITE")]
        return [of_call(then, b";tag=c")] if data.startswith(b"SIP/2.0 180") else []

    return answer


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        (b"CANCEL", "a CANCEL before the call that it is to make room for"),
        (b"REFER", "a REFER that is out of place, or to somebody else"),
        (b"BYE", "a request to the caller that is none of a callback"),
    ],
)
def test_a_wrong_request_within_a_callback_is_noticed(then: bytes, reason: str) -> None:
    counters, complaints = against(called_back(then), "callback")
    assert (counters["completed"], counters["wrong"]) == (0, 1)
    assert complaints[0][0] == reason


@pytest.mark.parametrize("then", [b"BYE", b"CANCEL", b"REFER"])
def test_a_wrong_request_to_who_is_to_be_joined_is_noticed(then: bytes) -> None:
    counters, complaints = against(called_back(then), "b2bua")
    assert (counters["completed"], counters["wrong"]) == (0, 1)
    assert complaints[0][0] == "a request to the caller that is none of a b2bua's"


def test_who_is_called_and_not_joined_is_a_loss() -> None:
    counters, _ = against(called_back(b"ACK"), "b2bua")
    assert (counters["completed"], counters["wrong"], counters["lost"]) == (0, 0, 1)


def watched(request: bytes) -> list[bytes]:
    """The first steps of a presence cycle: 480, and a subscription that is answered but for its NOTIFY."""
    if request.startswith(b"INVITE"):
        return [reply(request, b"480 Not Here")]
    head = b"\r\nExpires: 3600\r\nContact: <sip:agent@127.0.0.1>\r\nContent-Length"
    return [reply(request).replace(b"\r\nContent-Length", head)] if request.startswith(b"SUBSCRIBE") else []


def test_a_subscription_without_a_notify_is_a_loss() -> None:
    counters, complaints = against(watched, "presence")
    assert (counters["completed"], counters["wrong"], counters["lost"]) == (0, 0, 1), complaints


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.replace(b"480 Not Here", b"404 Not Found"), "the first INVITE not answered 480"),
        (lambda r: r.replace(b"200 OK", b"489 Bad Event"), "SUBSCRIBE not answered 200"),
        (lambda r: r.replace(b"Expires: 3600\r\n", b""), "the 200 to SUBSCRIBE does not tell how long"),
        (
            lambda r: re.sub(rb"Contact:.*\r\n", b"", r),
            "the 200 to SUBSCRIBE has no Contact, or a route that it did not take",
        ),
    ],
)
def test_a_wrong_answer_to_who_watches_presence_is_noticed(change: Callable[[bytes], bytes], reason: str) -> None:
    counters, complaints = against(lambda request: [change(each) for each in watched(request)], "presence")
    assert (counters["completed"], counters["wrong"]) == (0, 1)
    assert complaints[0][0] == reason


# Several peers at one end.


def test_each_peer_has_an_address_of_its_own_which_its_messages_name() -> None:
    named: list[bytes] = []
    came: list[tuple[str, int]] = []

    def answer(request: bytes) -> list[bytes]:
        named.extend(re.findall(rb"Via: SIP/2.0/UDP ([^;]*);", request))
        named.extend(re.findall(rb"Contact: <sip:u[0-9]*@(.*)>", request))
        contact = b"\r\n" + re.findall(rb"Contact: .*", request)[0].strip() + b";expires=3600\r\nContent-Length"
        return [reply(request).replace(b"\r\nContent-Length", contact)]

    def note(peer: tuple[str, int]) -> tuple[str, int]:
        came.append(peer)
        return peer

    with serving(answer, note) as address:
        load = generator("register", address, size=600, peers=300)
        load.run(5, limit=600)
        load.drain(1)
        counters, complaints, (port,) = load.counters(), load.complaints(), load.ports
        load.close()
    assert (counters["completed"], counters["wrong"]) == (600, 0), complaints
    assert len(set(came)) == 300
    assert {port} == {each for _, each in came}
    assert named == [f"{host}:{port}".encode() for host, _ in came for _ in ("Via", "Contact")]


def test_an_answer_that_comes_to_another_peer_is_wrong() -> None:
    other = {"127.64.0.1": "127.64.0.2", "127.64.0.2": "127.64.0.1"}
    with serving(lambda r: [reply(r)], lambda peer: (other[peer[0]], peer[1])) as address:
        load = generator("options", address, size=2, peers=2)
        load.run(5, limit=2)
        load.drain(0.5)
        counters, complaints = load.counters(), load.complaints()
        load.close()
    assert (counters["completed"], counters["wrong"]) == (0, 2)
    assert complaints[0][0] == "it came to another peer than the call's"


def test_what_others_send_to_a_peer_is_a_stray() -> None:
    with serving(lambda r: []) as address, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        load = generator("options", address, size=2, peers=2)
        other.sendto(b"SIP/2.0 200 OK\r\n\r\n", ("127.64.0.2", load.ports[0]))
        load.run(5, limit=1)
        load.drain(0.1)
        counters = load.counters()
        load.close()
    assert (counters["stray"], counters["wrong"]) == (1, 0)


@pytest.mark.parametrize("peers", [0, 62_501])
def test_so_many_peers_cannot_be_played(peers: int) -> None:
    with pytest.raises(ValueError, match="peers"):
        generator("options", ("127.0.0.1", 5060), peers=peers)


def test_only_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        generator("options", ("192.0.2.1", 5060))


# A call's route set. It has to be taken as it came: a server's token is in the user part, and parameters belong to it, too.

RECORDED = [b"<sip:f1another@127.0.0.9;lr>", b"<sip:f1callee-side@%b;lr;x=y,z>", b"<sip:f1caller-side@%b;lr>;x=y"]
"""in an INVITE at its callee: what another proxy has recorded last, and our server's two sides"""


def proxied(data: bytes, me: bytes, callee: bytes) -> tuple[bytes, bytes]:
    """What a proxy makes of a message between caller and callee, and where it goes."""
    if data.startswith(b"SIP/2.0"):
        below = re.sub(rb"Via: [^\r]*\r\n", b"", data, count=1)
        (to,) = re.findall(rb"Via: SIP/2.0/UDP ([^;]*);", below)[:1]
        return below, to
    line, _, rest = data.partition(b"\r\n")
    top = b"Via: SIP/2.0/UDP %b;branch=z9hG4bKp\r\n" % me
    if line.startswith(b"INVITE"):
        line = b"INVITE sip:b0@%b SIP/2.0" % callee
        values = [value.replace(b"%b", me) for value in RECORDED]
        top += b"Record-Route: %b, %b\r\nRecord-Route: %b\r\n" % tuple(values)
    return line + b"\r\n" + top + re.sub(rb"Route: [^\r]*\r\n", b"", rest), callee


def test_ack_and_bye_take_the_recorded_route_as_it_came_in_reverse() -> None:
    """RFC 3261 §12.1.2, §12.2.1.1; the callee copies Record-Route into its 200 as it came (§12.1.1)."""
    seen: list[bytes] = []
    callee: list[bytes] = []
    me: list[bytes] = []

    def pass_on(data: bytes, peer: Any) -> list[tuple[bytes, Any]]:
        seen.append(data)
        if data.startswith(b"REGISTER"):
            callee[:] = re.findall(rb"Contact: <sip:b0@([^>]*)>", data)
            return [(reply(data), peer)]
        changed, to = proxied(data, me[0], callee[0])
        host, _, port = to.decode().partition(":")
        return [(changed, (host, int(port)))]

    with sending(pass_on) as address:
        me.append(b"%b:%d" % (address[0].encode(), address[1]))
        load = generator("call", address, size=1)
        prepare(load, "call")
        load.run(5, limit=1)
        load.drain(2)
        counters, complaints = load.counters(), load.complaints()
        load.close()
    assert (counters["completed"], counters["wrong"]) == (1, 0), complaints
    values = [value.replace(b"%b", me[0]) for value in RECORDED]
    for start in (b"ACK ", b"BYE "):
        (request,) = [each for each in seen if each.startswith(start)]
        assert request.startswith(start + b"sip:b0@" + callee[0])
        assert re.findall(rb"\r\nRoute: ([^\r]*)", request) == values[::-1]
    answers = [each for each in seen if each.startswith(b"SIP/2.0 200") and b" INVITE\r\n" in each]
    recorded = re.findall(rb"Record-Route: ([^\r]*)", answers[0])
    assert b", ".join(recorded) == b", ".join(values)


# What it reads of messages


def test_the_reader_knows_compact_forms_and_several_routes() -> None:
    from benchmarks.loadgen import wire

    message = (
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVIA : SIP/2.0/UDP b\r\nf: <sip:a@b>;tag=1\r\n"
        b't: "x;tag=no" <sip:b@b;tag=no>;q=1;tag=yes;z\r\ni: call\r\nCSeq: 7 INVITE\r\n'
        b"m: <sip:b@1.2.3.4;x=y>;expires=5\r\nRecord-Route: <sip:p1;lr>, <sip:p2,x;lr>\r\nRecord-Route: <sip:p3;lr>\r\n\r\n"
    )
    assert wire.read(message) == {
        "status": 200,
        "method": 1,
        "cseq": 7,
        "vias": 2,
        "call_id": b"call",
        "tag": b"yes",
        "branch": b"z9hG4bK1",
        "contact": b"sip:b@1.2.3.4;x=y",
        "routes": [b"<sip:p1;lr>", b"<sip:p2,x;lr>", b"<sip:p3;lr>"],
    }
    for end in range(len(message) - 2):
        wire.read(message[:end])  # reads nothing beyond its end, whatever it says


@pytest.mark.parametrize("data", [b"", b"\r\n", b"SIP/2.0 2", b"SIP/2.0 999 x\r\n\r\n", b"OPTIONS sip:a\r\n\r\n"])
def test_the_reader_refuses(data: bytes) -> None:
    from benchmarks.loadgen import wire

    assert wire.read(data) is None


# What the kernel knows


def test_percentiles_come_out_as_they_went_in() -> None:
    found = percentiles([(1_000_000, 98), (5_000_000, 1), (9_000_000, 1)])
    assert found == pytest.approx({"p50": 1000, "p99": 5000, "p99.9": 9000, "max": 9000}, rel=0.002)


def test_kernel_drops_are_seen() -> None:
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as full, socket.socket(*kind) as sender:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        full.bind(("127.0.0.1", 0))
        port = full.getsockname()[1]
        assert accounting.kernel_drops(port) == 0
        for _ in range(100):
            sender.sendto(b"x" * 500, ("127.0.0.1", port))
        assert 50 < accounting.kernel_drops(port) < 100


def test_cpu_time_includes_descendants() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = sum(range(10**7)); print(1); input()'])"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout and parent.stdout.readline() == b"1\n"
        assert len(accounting.family(parent.pid)) == 2
        assert 0.05 < accounting.cpu_seconds(parent.pid) < 60
        parent.communicate(b"\n")
    assert accounting.cpu_seconds(parent.pid) == 0
    assert accounting.cpu_seconds(os.getpid()) > 0
