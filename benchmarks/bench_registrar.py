"""One REGISTER, from the datagram's bytes to the response's, parser included, and the store committed.

100,000 phones are bound and register again in random order. "alone" commits after each, as for a lone datagram; "of 64"
commits after 64, as under load. No socket, no engine.
"""

import random

import pytest

from sipfast import config
from sipfast._flow import Flow
from sipfast._parser import parse
from sipfast.routing.location import Location
from sipfast.routing.registrar import Registrar
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.repository import Store

NOW = 1_790_000_000_000
PHONES = 100_000
FLOW = Flow("192.0.2.1", 5060)
RUNS = {"rounds": 200, "iterations": 64, "warmup_rounds": 10}


def register(n, cseq, expires=3600):
    """As a common desk phone sends it."""
    return (
        b"REGISTER sip:example.org SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%08x%06x;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b'From: "User %06d" <sip:user%06d@example.org>;tag=%08x\r\n'
        b'To: "User %06d" <sip:user%06d@example.org>\r\n'
        b"Call-ID: %032x@192.0.2.1\r\n"
        b"CSeq: %d REGISTER\r\n"
        b'Contact: <sip:user%06d@192.0.2.1:5060;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-%012x>"'
        b";expires=%d\r\n"
        b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, INFO, UPDATE\r\n"
        b"Supported: path, replaces\r\n"
        b"User-Agent: Bench Phone 1.0\r\n"
        b"Content-Length: 0\r\n\r\n"
    ) % (cseq, n, n, n, n, n, n, n, cseq, n, n, expires)


class Server:
    def __init__(self, store):
        self.store = store
        self.registrar = Registrar(config.Registrar(), Location(store, (4,)), 1)
        self.cseq = 1
        for n in range(PHONES):
            self.receive(register(n, 1), n)
        store.commit()

    def receive(self, data, n):
        return self.registrar.answer(parse(data), FLOW, b"sip:user%06d@example.org" % n, NOW)


@pytest.fixture(scope="module", params=["memory", "lmdb"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "data"
    store = Store(MemoryTables() if request.param == "memory" else LmdbTables(folder))
    yield Server(store)
    store.close()


def datagrams(server, expires=3600):
    chance = random.Random(server.cseq)
    count = RUNS["rounds"] * RUNS["iterations"] + RUNS["warmup_rounds"] * RUNS["iterations"] + 64
    server.cseq += 1
    return iter([(register(n, server.cseq, expires), n) for n in chance.sample(range(PHONES), count)])


def test_refresh_alone(benchmark, server):
    sent = datagrams(server)

    def run():
        answer = server.receive(*next(sent))
        server.store.commit()
        return answer

    assert benchmark.pedantic(run, **RUNS).startswith(b"SIP/2.0 200")


@pytest.mark.parametrize("batch", [8, 64], ids="of {}".format)
def test_refresh_in_a_batch(benchmark, server, batch):
    sent = datagrams(server)
    left = batch

    def run():
        nonlocal left
        answer = server.receive(*next(sent))
        left -= 1
        if left == 0:
            server.store.commit()
            left = batch
        return answer

    assert benchmark.pedantic(run, **RUNS).startswith(b"SIP/2.0 200")
    server.store.commit()


def test_query(benchmark, server):
    """Without a Contact: nothing is written."""
    data = b"".join(line for line in register(7, 1).splitlines(keepends=True) if not line.startswith(b"Contact"))
    assert b"\r\nContact:" in benchmark.pedantic(server.receive, args=(data, 7), **RUNS)


def test_refuse(benchmark, server):
    """423"""
    assert benchmark.pedantic(server.receive, args=(register(7, 10**6, 5), 7), **RUNS).startswith(b"SIP/2.0 423")


def test_parse_alone(benchmark):
    """What of the figures above is the parser's."""
    assert benchmark.pedantic(parse, args=(register(7, 1),), **RUNS).error == 0
