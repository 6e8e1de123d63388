"""python -m benchmarks.worst: what the dearest datagrams cost, in usual REGISTERs.

Anybody may send anything, so no datagram may cost more than MOST times the CPU of a REGISTER that prolongs a binding
(docs/security.md). Each kind of datagram here is as large as UDP takes and made of as many as possible of one thing. A
server is fed with them without a socket, over LMDB, one batch and one commit for each, and with the REGISTERs, too; what
is told is the time of the process, the median of the rounds.

It ends with 1 where a kind costs more than MOST.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, Rates, Redial, Registrar
from sipfast.engine.engine import Engine
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store

MOST = 100
"""Times the CPU of a usual REGISTER."""
DATAGRAM = 65_507
"""Bytes: the most that UDP over IPv4 takes."""
START = 1_700_000_000_000
SERVER = "10.0.0.1"
DOMAIN = "example.com"

serials = itertools.count(1)
PHONE = Flow("192.0.2.1", 5060)
STRANGER = Flow("192.0.2.1", 6000)


class Out(Sink):
    """Takes what leaves."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Flow]] = []

    def send(self, data: bytes, flow: Flow) -> int:
        self.sent.append((data, flow))
        return 0


class Served:
    """A server with some registered phones, and a clock."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("sipfast").setLevel(logging.ERROR)
        self.store = Store(LmdbTables(folder, map_size_gib=4))
        self.out = Out()
        listener = Listener(transport="UDP", host=SERVER, port=5060, sent_by=f"{SERVER}:5060".encode())
        redial = Redial(default_period=3600, callers="any")
        config = Config(registrar=Registrar(default_expires=3600), redial=redial, rates=Rates(enabled=False))
        self.engine = Engine(config, self.store, self.out, [listener], domains=[DOMAIN], hosts={})
        self.now = START
        self.engine.start(self.now)
        self.engine.commit(self.now)

    def take(self, data: bytes, flow: Flow) -> None:
        self.engine.receive(data, flow, self.now)
        self.engine.commit(self.now)

    def pass_time(self, milliseconds: int, step: int = 500) -> None:
        for _ in range(milliseconds // step):
            self.now += step
            self.engine.advance(self.now)
            self.engine.commit(self.now)


# ---- datagrams


class Request:
    """The parts of a request that a kind may enlarge; `with_` fills what is left of a datagram."""

    def __init__(self, method: str, uri: str, user: str = "alice") -> None:
        serial = next(serials)
        self.method = method
        self.start = f"{method} {uri} SIP/2.0"
        self.via = f"SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKw{serial}"
        self.sender = f"<sip:{user}@{DOMAIN}>;tag=f{serial}"
        self.target = f"<{uri}>" if method != "REGISTER" else f"<sip:{user}@{DOMAIN}>"
        self.call_id = f"worst-{serial}@192.0.2.1"
        self.cseq = f"{serial} {method}"
        self.contact = f"Contact: <sip:{user}@192.0.2.1:5060>\r\n"
        self.extra = ""

    def text(self, filling: str = "") -> str:
        return (
            f"{self.start}\r\nVia: {self.via}\r\nMax-Forwards: 70\r\nFrom: {self.sender}\r\nTo: {self.target}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {self.cseq}\r\n{self.contact}{self.extra}{filling}Content-Length: 0\r\n\r\n"
        )

    def room(self) -> int:
        return DATAGRAM - len(self.text().encode()) - 2

    def bytes(self, filling: str = "") -> bytes:
        data = self.text(filling).encode()
        if len(data) > DATAGRAM:
            raise AssertionError(f"{len(data)} bytes are no datagram")
        return data


def repeated(unit: str, room: int) -> str:
    """As many of it as there is room for; with {} in it each has its number."""
    if "{}" not in unit:
        return unit * (room // len(unit))
    out = []
    for i in itertools.count():
        piece = unit.format(i)
        room -= len(piece)
        if room < 0:
            return "".join(out)
        out.append(piece)
    raise AssertionError


METHODS = {
    "REGISTER": f"sip:{DOMAIN}",
    "OPTIONS": f"sip:{SERVER}",
    "INVITE": f"sip:nobody@{DOMAIN}",
    "call": f"sip:bob@{DOMAIN}",
    "MESSAGE": f"sip:bob@{DOMAIN}",
    "SUBSCRIBE": f"sip:bob@{DOMAIN}",
    "BYE": f"sip:bob@{DOMAIN}",
    "CANCEL": f"sip:bob@{DOMAIN}",
    "ACK": f"sip:bob@{DOMAIN}",
    "REFER": f"sip:bob@{DOMAIN}",
    "PUBLISH": f"sip:bob@{DOMAIN}",
    "NOTIFY": f"sip:{SERVER}",
    "XYZZY": f"sip:bob@{DOMAIN}",
}

# Header lines, or one line with many values.
LINES = {
    "lines that nobody knows": "X: y\r\n",
    "lines of a long name": "X-{}-" + "n" * 50 + ": y\r\n",
    "short lines": "a:\r\n",
    "Routes to us": f"Route: <sip:{SERVER};lr>\r\n",
    "Routes elsewhere": "Route: <sip:192.0.2.7;lr>\r\n",
    "forged tokens in Routes": f"Route: <sip:sfAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@{SERVER};lr>\r\n",
    "Record-Routes": "Record-Route: <sip:192.0.2.7;lr>\r\n",
    "Vias": "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{}\r\n",
    "Vias like ours": f"Via: SIP/2.0/UDP {SERVER}:5060;branch=z9hG4bKsf" + "0" * 38 + "\r\n",
    "Paths": "Path: <sip:192.0.2.7;lr>\r\n",
    "Requires": "Require: a{}\r\n",
    "Proxy-Requires": "Proxy-Require: a{}\r\n",
    "Supporteds": "Supported: a{}\r\n",
    "Contacts": "Contact: <sip:u{}@192.0.2.1>\r\n",
}
VALUES = {
    "Route to us": f"<sip:{SERVER};lr>,",
    "Route": "<sip:h>,",
    "Record-Route": "<sip:h>,",
    "Via": "SIP/2.0/UDP h,",
    "Path": "<sip:h>,",
    "Require": "a,",
    "Proxy-Require": "a,",
    "Supported": "a,",
    "Unsupported": "a,",
    "Accept": "a/b,",
    "Allow": "A,",
    "Contact": "<sip:u@h>,",
}
# What a From, To or Contact may have behind it, or in its URI.
TAILS = {
    "parameters": ";a",
    "parameters with values": ";p{}=v",
    "quoted parameters": ';p="\\"\\""',
    "folded parameters": "\r\n ;a",
}
IN_URI = {"URI parameters": ";a", "URI parameters with values": ";p{}=v", "escapes": ";%61%62=%63"}
TEXTS = {
    "folds": ("Subject", "\r\n a"),
    "tabs": ("Subject", "\t"),
    "quotes": ("Route", '"a" <sip:h>,'),
    "open quotes": ("Route", '"'),
    "open brackets": ("Route", "<"),
    "digits": ("Expires", "9"),
}
USERS = {"user of #": "#", "user of escapes": "%41", "user of letters": "a"}


def usual(i: int, seq: int) -> bytes:
    made = Request("REGISTER", METHODS["REGISTER"], f"user{i}")
    made.call_id, made.cseq = f"usual-{i}@192.0.2.1", f"{seq} REGISTER"
    made.extra = "Expires: 3600\r\nUser-Agent: bench\r\n"
    return made.bytes()


def request(method: str) -> Request:
    made = Request("INVITE" if method == "call" else method, METHODS[method])
    if method == "NOTIFY":
        made.extra = "Event: refer\r\nSubscription-State: active\r\n"
    return made


def with_lines(method: str, unit: str, most: int = 990) -> bytes:
    made = request(method)
    return made.bytes(repeated(unit, min(made.room(), most * (len(unit) + 2))))


def with_values(method: str, header: str, unit: str) -> bytes:
    made = request(method)
    name = f"{header}: "
    if header == "Contact":
        made.contact = ""
    return made.bytes(name + repeated(unit, made.room() - len(name) - 3 - len(unit)) + unit.rstrip(",") + "\r\n")


def with_tail(method: str, where: str, unit: str) -> bytes:
    made = request(method)
    filling = repeated(unit, made.room())
    if where == "Contact":
        made.contact = made.contact[:-2] + filling + "\r\n"
    elif where == "Via":
        made.via += filling
    else:
        setattr(made, where, getattr(made, where) + filling)
    return made.bytes()


def with_uri(method: str, where: str, unit: str) -> bytes:
    made = request(method)
    filling = repeated(unit, made.room())
    if where == "Contact":
        made.contact = made.contact.replace(">", filling + ">")
    elif where == "start":
        made.start = made.start.replace(" SIP/2.0", filling + " SIP/2.0")
    else:
        setattr(made, where, getattr(made, where).replace(">", filling + ">", 1))
    return made.bytes()


def with_user(method: str, where: str, unit: str) -> bytes:
    made = request(method)
    filling = repeated(unit, made.room())
    if where == "start":
        made.start = made.start.replace("sip:", "sip:" + filling + ("@" if "@" not in made.start else ""), 1)
    else:
        setattr(made, where, getattr(made, where).replace("sip:", "sip:" + filling, 1))
    return made.bytes()


def fat_bindings(params: int) -> bytes:
    made = Request("REGISTER", METHODS["REGISTER"], f"fat{params}")
    made.contact = ""
    names = [f"p{j:02d}" + "x" * max(0, 1300 // params - 6) for j in range(params)]
    uri = f"sip:fat@192.0.2.1:5060;{';'.join(names)}"
    return made.bytes("".join(f"Contact: <{uri};z={i}>\r\n" for i in range(16)))


def fat_update(params: int) -> bytes:
    made = Request("REGISTER", METHODS["REGISTER"], f"fat{params}")
    made.contact = ""
    names = [f"p{j:02d}" + "x" * max(0, 1300 // params - 6) for j in range(params)][::-1]
    uri = f"sip:fat@192.0.2.1:5060;{';'.join(names)}"
    return made.bytes("".join(f"Contact: <{uri};z={i}>;expires={3600 * (i % 2)}\r\n" for i in range(32)))


def response(unit: str, header: str = "") -> bytes:
    serial = next(serials)
    head = (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {SERVER}:5060;branch=z9hG4bKsf{serial:038x}\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:b@b>;tag=2\r\nCall-ID: {serial}\r\nCSeq: 1 INVITE\r\n"
    )
    end = "Content-Length: 0\r\n\r\n"
    room = DATAGRAM - len(head) - len(end)
    filling = repeated(unit, room)
    if header:
        filling = f"{header}: " + repeated(unit, room - len(header) - 4 - len(unit)) + unit.rstrip(",") + "\r\n"
    return (head + filling + end).encode()


def with_body(method: str) -> bytes:
    made = request(method)
    room = made.room() - 8
    return made.bytes().replace(b"Content-Length: 0", b"Content-Length: %d" % room) + b"x" * room


def without_cookie() -> bytes:
    made = Request("INVITE", f"sip:alike@{DOMAIN};x={next(serials)}")
    made.via = "SIP/2.0/UDP 192.0.2.1:5060;branch=1"
    made.call_id, made.cseq, made.sender = "alike", "1 INVITE", f"<sip:alice@{DOMAIN}>;tag=1"
    made.target = f"<sip:alike@{DOMAIN}>;tag=t{next(serials)}"
    return made.bytes(repeated("X: y\r\n", 5_000))


Kind = tuple[str, Callable[[], bytes]]


def kinds() -> Iterator[Kind]:
    """Name and maker of each kind; a maker gives another datagram at each call."""
    for method in METHODS:
        yield f"{method}: large body", partial(with_body, method)
        for name, unit in LINES.items():
            yield f"{method}: {name}", partial(with_lines, method, unit)
        yield f"{method}: too many lines", partial(with_lines, method, "X: y\r\n", 60_000)
        for name, unit in VALUES.items():
            yield f"{method}: values of {name}", partial(with_values, method, name.split()[0], unit)
        for where, (name, unit) in itertools.product(("sender", "target", "Contact", "via"), TAILS.items()):
            yield f"{method}: {name} of {where}", partial(with_tail, method, where, unit)
        for where, (name, unit) in itertools.product(("sender", "target", "Contact", "start"), IN_URI.items()):
            yield f"{method}: {name} of {where}", partial(with_uri, method, where, unit)
        for where, (name, unit) in itertools.product(("sender", "target", "start"), USERS.items()):
            yield f"{method}: {name} in {where}", partial(with_user, method, where, unit)
        for name, (header, unit) in TEXTS.items():
            yield f"{method}: {name}", partial(with_values, method, header, unit)
    for params in (8, 16, 32, 60):
        yield f"REGISTER: 16 large Contacts of {params} parameters", partial(fat_bindings, params)
        yield f"REGISTER: 32 of these in another order, {params} parameters", partial(fat_update, params)
    for name, unit in LINES.items():
        yield f"response: {name}", partial(response, unit)
    for name, unit in VALUES.items():
        yield f"response: values of {name}", partial(response, unit, name.split()[0])
    yield "INVITE: without the magic cookie, all alike", without_cookie
    yield "garbage", lambda: bytes(next(serials) % 255 for _ in range(DATAGRAM))
    yield "line breaks", lambda: b"\r\n" * (DATAGRAM // 2)
    yield "colons", lambda: b":" * DATAGRAM


def with_state(served: Served) -> Iterator[Kind]:
    """Kinds that find something there: phones that the request forks to, a branch to cancel, callers who wait."""
    contacts = "".join(f"Contact: <sip:many@192.0.2.{i}:5060>\r\n" for i in range(1, 17))
    made = Request("REGISTER", METHODS["REGISTER"], "many")
    made.contact = ""
    served.take(made.bytes(contacts.replace("192.0.2.", "192.0.2.1:60").replace(":5060>", ">")), PHONE)
    to_many = f"sip:many@{DOMAIN}"
    for method in ("INVITE", "MESSAGE"):
        yield f"{method}: to 16 phones", lambda m=method: Request(m, to_many).bytes()
        yield f"{method}: to 16 phones, large", lambda m=method: filled(Request(m, to_many))

    def cancel() -> bytes:
        invite = filled(Request("INVITE", to_many))
        served.take(invite, STRANGER)
        head, _, _ = invite.partition(b"Contact: ")
        return head.replace(b"INVITE", b"CANCEL") + b"Content-Length: 0\r\n\r\n"

    yield "CANCEL: of a call to 16 phones", cancel
    for i in range(100):
        served.take(Request("INVITE", f"sip:wanted@{DOMAIN}", f"waiting{i}").bytes(), PHONE)

    def back() -> bytes:
        gone = Request("REGISTER", METHODS["REGISTER"], "wanted")
        gone.extra = "Expires: 0\r\n"
        served.take(gone.bytes(), PHONE)
        return Request("REGISTER", METHODS["REGISTER"], "wanted").bytes()

    yield "REGISTER: of somebody whom 100 wait for", back
    served.take(fat_bindings(60), STRANGER)

    def query() -> bytes:
        made = Request("REGISTER", METHODS["REGISTER"], "fat60")
        made.contact = ""
        return filled(made)

    yield "REGISTER: without a Contact, 16 large bindings", query


def filled(made: Request) -> bytes:
    return made.bytes(repeated("X: y\r\n", 5_000) + "Subject: " + "x" * (made.room() - 5_100) + "\r\n")


def measure(take: Callable[[bytes], None], make: Callable[[], bytes], rounds: int) -> float:
    spent = []
    for _ in range(rounds):
        data = make()
        before = time.process_time_ns()
        take(data)
        spent.append(time.process_time_ns() - before)
    return statistics.median(spent)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worst", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--top", type=int, default=25, help="how many kinds are told, the dearest first; 0: all")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder) / "data")
        served.take(Request("REGISTER", METHODS["REGISTER"], "bob").bytes(), PHONE)
        seq = itertools.count(2)
        for i in range(1000):
            served.take(usual(i, 1), PHONE)
        at = itertools.count()
        base = []

        def one_usual(_: bytes) -> None:
            served.take(usual(next(at) % 1000, next(seq)), PHONE)

        base.append(measure(one_usual, bytes, 3000))
        found = []
        for name, make in itertools.chain(kinds(), with_state(served)):
            if arguments.only in name:
                found.append((measure(lambda data: served.take(data, STRANGER), make, arguments.rounds), name))
                served.pass_time(33_000)
        base.append(measure(one_usual, bytes, 3000))
        usual_cost = statistics.mean(base)
    found.sort(reverse=True)
    print(f"a usual REGISTER: {usual_cost / 1000:.1f} us")
    for cost, name in found[: arguments.top or None]:
        print(f"{cost / usual_cost:8.1f}  {cost / 1000:9.1f} us  {name}")
    return 1 if found and found[0][0] > MOST * usual_cost else 0


if __name__ == "__main__":
    sys.exit(main())
