"""`sipfast serve`, as a process: a phone that has crashed costs its callers no time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from net.sipwire import Address, Sip, is_probe, literal, request, response
from test_worker import Server

LIMIT = 0.4  # s: less than the first retransmission (T1), and by far less than the 32 s of timer B


class Line:
    """A blocking socket that speaks SIP to the server."""

    def __init__(self, server: Address, name: str) -> None:
        self.name = name
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.address = self.socket.getsockname()
        self.count = 0

    def ask(self, method: str, uri: str, to: str, *headers: tuple[str, str]) -> Sip:
        self.count += 1
        mark = f"{self.address[1]}{method}{self.count}"
        fields = [
            ("Via", f"SIP/2.0/UDP {literal(self.address)};branch=z9hG4bK{mark};rport"), ("Max-Forwards", "70"),
            ("From", f"<sip:{self.name}@example.com>;tag={mark}"), ("To", f"<{to}>"), ("Call-ID", mark),
            ("CSeq", f"{self.count} {method}"), ("Contact", f"<sip:{self.name}@{literal(self.address)}>"), *headers,
        ]  # fmt: skip
        data = request(method, uri, fields)
        self.socket.sendto(data, self.server)
        return Sip(data)

    def final(self) -> Sip:
        while (message := Sip(self.socket.recv(65535))).status < 200:
            pass
        return message

    def register(self) -> None:
        self.ask("REGISTER", "sip:example.com", f"sip:{self.name}@example.com", ("Expires", "3600"))
        assert self.final().status == 200
        asked = Sip(self.socket.recv(65535))
        assert is_probe(asked)
        self.socket.sendto(response(asked, 200, tag="x"), self.server)


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    made = Server("--listen", "udp:127.0.0.1:0", "--domain", "example.com", "--workers", request.param, folder=tmp_path)
    yield made.address()
    made.process.terminate()
    made.process.communicate(timeout=30)


@pytest.fixture
def line(server: Address) -> Iterator[type[Line]]:
    made = []

    def make(name: str) -> Line:
        made.append(Line(server, name))
        return made[-1]

    yield make  # type: ignore[misc]
    for each in made:
        each.socket.close()


def test_a_phone_that_has_crashed_is_480_at_once(line) -> None:
    """Eight of them: of two workers, the error comes to the one that has the phone's port, and not to the one that asks."""
    alice = line("alice")
    alice.register()
    for number in range(8):
        bob = line(f"bob{number}")
        bob.register()
        bob.socket.close()
        began = time.monotonic()
        alice.ask("INVITE", f"sip:{bob.name}@example.com", f"sip:{bob.name}@example.com", ("Expires", "3600"))
        answer = alice.final()
        assert (answer.status, len(answer.lines("call-info"))) == (480, 1)  # and its caller is offered redial
        assert time.monotonic() - began < LIMIT


def test_an_upstream_that_is_not_there_is_503_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        behind = literal(nobody.getsockname())
    made = Server("--listen", "udp:127.0.0.1:0", "--domain", "example.com", "--upstream", f"sip:{behind}", folder=tmp_path)
    alice = Line(made.address(), "alice")
    try:
        for method in ("REGISTER", "INVITE", "MESSAGE"):
            began = time.monotonic()
            uri = "sip:example.com" if method == "REGISTER" else "sip:bob@example.com"
            alice.ask(method, uri, "sip:bob@example.com", ("Expires", "3600"))
            answer = alice.final()
            assert (answer.status, answer.lines("call-info")) == (503, [])
            assert time.monotonic() - began < LIMIT
    finally:
        alice.socket.close()
        made.process.terminate()
        made.process.communicate(timeout=30)


def test_a_phone_that_has_crashed_does_not_delay_what_a_live_one_says(line) -> None:
    alice = line("alice")
    for number in range(4):
        crashed, live = line(f"bob{number}"), line(f"bob{number}")
        crashed.register()
        live.register()
        crashed.socket.close()
        began = time.monotonic()
        alice.ask("INVITE", f"sip:{live.name}@example.com", f"sip:{live.name}@example.com")
        invite = Sip(live.socket.recv(65535))
        live.socket.sendto(response(invite, 486, source=live.server, tag="t"), live.server)
        assert alice.final().status == 486
        assert time.monotonic() - began < LIMIT
