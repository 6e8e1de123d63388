"""A transaction layer with a virtual clock around it, for the tests of the layer and its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sipfast import config
from sipfast._flow import Flow, Sink
from sipfast._parser import Message, parse
from sipfast._wheel import Wheel
from sipfast._writer import response
from sipfast.errors import TransportError
from sipfast.transaction.client import UNREACHABLE, ClientTransaction
from sipfast.transaction.layer import NEW, TransactionLayer
from sipfast.transaction.server import Handler, ServerTransaction

START = 1_700_000_000_000
SECRET = 0x0123456789ABCDEF_FEDCBA9876543210
UDP = Flow("192.0.2.1", 5060)
TCP = Flow("192.0.2.1", 5060, transport="TCP", connection=7)


class Line(Sink):
    """Remembers what was sent and when; breaks on demand."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[tuple[int, bytes, Flow]] = []
        self.broken = False

    def send(self, data: bytes, flow: Flow) -> int:
        if self.broken:
            raise TransportError("no route")
        self.sent.append((self.world.now, data, flow))
        return 0


class User(Handler):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.times: list[int] = []

    def note(self, word: object, now: int) -> int:
        self.told.append(str(word))
        self.times.append(now - START)
        return 0

    def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
        return self.note(response.status, now)

    def on_failure(self, transaction: ClientTransaction, status: int, now: int) -> int:
        return self.note("unreachable" if status == UNREACHABLE else f"failure {status}", now)

    def on_cancel(self, transaction: ServerTransaction, cancel: Message, now: int) -> int:
        return self.note(f"cancel {cancel.method}", now)

    def on_gone(self, transaction: ServerTransaction, now: int) -> int:
        return self.note("gone", now)


@dataclass
class World:
    timers: config.Timers = field(default_factory=config.Timers)
    flow: Flow = UDP
    worker: int = 0
    now: int = START
    proven: bool = True  # the peer has received something of ours before

    def __post_init__(self) -> None:
        self.wheel = Wheel(self.now)
        self.line = Line(self)
        self.layer = TransactionLayer(self.timers, self.wheel, self.line, SECRET, self.worker)
        if self.proven:
            self.layer.proven.prove(self.flow, self.now)

    def run_to(self, ms: int) -> None:
        """Let time pass until `ms` after the start, every timer at its own moment."""
        while (due := self.wheel.deadline()) not in (None, -1) and due <= START + ms:
            self.now = max(self.now, due)
            self.wheel.advance(self.now)
        self.now = START + ms
        self.wheel.advance(self.now)

    def take(self, data: bytes, flow: Flow | None = None) -> tuple[int, ServerTransaction | None]:
        return self.layer.take_request(parse(data), flow or self.flow, self.now)

    def answer(self, data: bytes) -> bool:
        return self.layer.take_response(parse(data), self.flow, self.now)

    def sent(self) -> list[str]:
        """Methods and statuses sent since the last call."""
        words = [summary(data) for _, data, _ in self.line.sent]
        self.line.sent.clear()
        return words

    def schedule(self) -> list[tuple[int, str]]:
        return [(when - START, summary(data)) for when, data, _ in self.line.sent]

    def start(self, method: str = "INVITE") -> tuple[ClientTransaction, User]:
        user = User()
        branch = self.layer.branch(0xABCD)
        data = request(method, branch.decode())
        return self.layer.send_request(data, branch, self.flow, user, self.now), user

    def serve(self, method: str = "INVITE", branch: str = "z9hG4bK1", **more: str) -> tuple[ServerTransaction, User]:
        verdict, transaction = self.take(request(method, branch, **more))
        assert verdict == NEW
        assert transaction is not None
        transaction.handler = user = User()
        return transaction, user


def summary(data: bytes) -> str:
    first = data.split(b" ", 2)
    return (first[1] if first[0] == b"SIP/2.0" else first[0]).decode()


def request(
    method: str,
    branch: str | None = "z9hG4bK1",
    *,
    sent_by: str = "192.0.2.1:5060",
    uri: str = "sip:bob@example.com",
    from_tag: str = "f1",
    to_tag: str = "",
    call_id: str = "c1@192.0.2.1",
    cseq: int = 7,
    below: str = "",
) -> bytes:
    parameter = f";branch={branch}" if branch else ""
    tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {sent_by}{parameter}\r\n{below}Max-Forwards: 70\r\n"
        f"From: <sip:alice@example.com>;tag={from_tag}\r\nTo: <sip:bob@example.com>{tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def reply(transaction: ServerTransaction, status: int, now: int, data: bytes, tag: bytes = b"") -> int:
    """The transaction user answers."""
    answer = response(parse(data), status, transaction.flow, to_tag=tag or transaction.to_tag or b"x")
    return transaction.respond(answer, status, now)


def answer_to(data: bytes, status: int, method: str | None = None, tag: str = "t1") -> bytes:
    """What a peer answers to a request of ours; `method` replaces the CSeq's."""
    made = response(parse(data), status, UDP, to_tag=tag.encode())
    return re.sub(rb"(CSeq: \d+ )\S+", rb"\1" + method.encode(), made) if method else made
