"""`sipfast demo`: a server and two phones on loopback play one whole redial, shown as a message ladder with times.

The server is a process of its own, started by `sipfast serve` with its data in a temporary folder. The phones are as
dumb as phones are: they know REGISTER, INVITE and REFER, and no presence. Everything goes over real UDP sockets.
Asked to call by a REFER out of nothing, a phone that refuses says 501, as most do; once it is being called it obeys one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from .._parser import Message, parse, parse_address
from ..observe.printable import printable, text_of

HOST = "127.0.0.1"
DOMAIN = "example.test"
PERIOD = 3600  # seconds that Alice asks to be called back within
PATIENCE = 5.0  # seconds that each message may take
STARTUP = 15.0  # seconds that the server may take to answer
RING, TALK = 0.3, 0.3  # seconds
SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>; the socket module has no name for it
METHODS = ("refer", "callback")  # to make Alice's phone ring: what is tried first comes first
REFRESH = 600  # seconds, for the comparison: how often a presence subscription would be refreshed

COLUMN = 34
TELLING = {  # what the ladder shows of a message besides its method or status
    "INVITE": "Expires",
    "REGISTER": "Contact",
    "REFER": "Refer-To",
    "NOTIFY": "Subscription-State",
    "480 INVITE": "Call-Info",
    "200 REGISTER": "Contact",
}


class MissingError(Exception):
    """A message that should have come and did not; the text names it."""


class Ladder:
    """Prints each message as an arrow between two of three columns, as it happens."""

    def __init__(self, out: TextIO, colour: bool) -> None:
        self._out, self._colour = out, colour
        self._start = time.monotonic()
        self.count = 0
        self.extra = 0  # of those, what there is only because of redial
        self._beyond: set[str] = set()  # calls of the server's own

    def heading(self, text: str) -> None:
        """What happens next, in a sentence, between the rungs."""
        self._say(f"\n{'':8}{self._paint(text, '1')}")

    def columns(self) -> None:
        """The names above the columns. The clock starts here."""
        self._start = time.monotonic()
        self._say(f"{'ms':>6}  Alice{'sipfast':^{2 * COLUMN - 8}}Bob")

    def arrow(self, alices: bool, rightwards: bool, message: Message) -> None:
        """A message between Alice and sipfast, or between sipfast and Bob."""
        self.count += 1
        if alices and message.is_request and message.method == "INVITE" and not rightwards:
            self._beyond.add(header(message, "Call-ID"))
        # a response's method is that of its request
        self.extra += message.method in ("REFER", "NOTIFY") or header(message, "Call-ID") in self._beyond
        label = title(message)
        line = f" {label} ".center(COLUMN - 2, "-")
        arrow = self._paint(f"{line}>" if rightwards else f"<{line}", colour_of(label))
        empty = " " * (COLUMN - 1)
        rungs = f"|{arrow}|{empty}|" if alices else f"|{empty}|{arrow}|"
        at = round((time.monotonic() - self._start) * 1000)
        self._say(f"{at:6}  {rungs}  {self._paint(note(message), '2')}".rstrip())

    def end(self, text: str, good: bool) -> None:
        """The last line."""
        self._say(f"\n{self._paint(text, '32' if good else '31')}")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


def title(message: Message) -> str:
    """Method, or status and phrase, as the ladder shows it."""
    if message.is_request:
        return printable(message.method)[: COLUMN - 6]
    return printable(f"{message.status} {message.reason.partition(',')[0]}")[: COLUMN - 6]


def note(message: Message) -> str:
    """The header that tells most about a message."""
    kind = message.method if message.is_request else f"{message.status} {message.method}"
    name = TELLING.get(kind)
    value = text_of(message.header(name) or b"") if name else ""
    return f"{name}: {value}" if value else ""


def colour_of(label: str) -> str:
    """Requests cyan, the REFER magenta, success green, refusals yellow, provisional answers dim."""
    if not label[0].isdigit():
        return "1;35" if label == "REFER" else "36"
    return {"1": "2", "2": "32"}.get(label[0], "33")


def header(message: Message, name: str) -> str:
    """A header's first value as text, "" where there is none."""
    return (message.header(name) or b"").decode(errors="replace")


def when(timespec: bytes) -> tuple[int, ...]:
    """Seconds and nanoseconds of a kernel's time stamp."""
    return struct.unpack("@ll", timespec) if len(timespec) == struct.calcsize("@ll") else (0, 0)


class Phone:
    """One user's phone: sends, and keeps what has come until the script asks for it."""

    def __init__(self, user: str, server: int, ladder: Ladder, alices: bool) -> None:
        self._ladder, self._alices, self._server = ladder, alices, (HOST, server)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((HOST, 0))
        self.user = user
        self.aor = f"sip:{user}@{DOMAIN}"
        self.port: int = self.socket.getsockname()[1]
        self.contact = f"<sip:{user}@{HOST}:{self.port}>"
        self.inbox: deque[Message] = deque()
        self._seen: set[tuple[bytes, str, int]] = set()

    def read(self) -> tuple[bytes, bytes]:
        """One datagram: when the kernel got it, and what it is."""
        data, ancillary, _, _ = self.socket.recvmsg(65535, socket.CMSG_SPACE(16))
        return ancillary[0][2] if ancillary else b"", data

    def take(self, data: bytes) -> None:
        """Take in one datagram. A retransmission is no news."""
        message = parse(data)
        key = (message.branch, message.method, message.status)
        if not message.error and key not in self._seen:
            self._seen.add(key)
            self._ladder.arrow(self._alices, not self._alices, message)
            self.inbox.append(message)

    def request(self, method: str, uri: str, *lines: str, branch: str = "", body: str = "") -> str:
        """Send a request with a Via of this phone; returns its branch."""
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        via = f"Via: SIP/2.0/UDP {HOST}:{self.port};branch={branch};rport"
        self._send(f"{method} {uri} SIP/2.0", via, "Max-Forwards: 70", *lines, body=body)
        return branch

    def answer(self, request: Message, status: str, *lines: str, tag: str = "") -> None:
        """Send a response (RFC 3261 §8.2.6.2)."""
        target = header(request, "To")
        if tag and not request.to_tag:
            target += f";tag={tag}"
        copied = [f"{name}: {value.decode()}" for name in ("Via", "Record-Route") for value in request.values(name)]
        copied += [f"From: {header(request, 'From')}", f"To: {target}"]
        copied += [f"{name}: {header(request, name)}" for name in ("Call-ID", "CSeq")]
        self._send(f"SIP/2.0 {status}", *copied, *lines)

    def _send(self, start: str, *lines: str, body: str = "") -> None:
        data = "\r\n".join([start, *lines, f"Content-Length: {len(body)}", "", body]).encode()
        self._ladder.arrow(self._alices, self._alices, parse(data))
        self.socket.sendto(data, self._server)


class Stage:
    """Both phones and who waits for what."""

    def __init__(self, server: int, ladder: Ladder) -> None:
        self.alice = Phone("alice", server, ladder, True)
        self.bob = Phone("bob", server, ladder, False)
        self._arrived: deque[tuple[bytes, bytes, Phone]] = deque()

    def close(self) -> None:
        """Close both sockets."""
        self.alice.socket.close()
        self.bob.socket.close()

    def let_pass(self, seconds: float) -> None:
        """Listen until a message has come, and take it in."""
        if not self._arrived:
            phones = {phone.socket: phone for phone in (self.alice, self.bob)}
            ready = select.select(list(phones), [], [], seconds)[0]
            # What came to both goes into the ladder in the order in which the server sent it, one at a time: a heading
            # may come between.
            arrived = [(*phones[one].read(), phones[one]) for one in ready]
            self._arrived.extend(sorted(arrived, key=lambda arrival: when(arrival[0])))
        if self._arrived:
            _, data, phone = self._arrived.popleft()
            phone.take(data)

    def expect(self, phone: Phone, kind: str) -> Message:
        """Wait for a request by its method, or for a response as in "200 INVITE". Raises MissingError."""
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0:
            while phone.inbox:
                message = phone.inbox.popleft()
                got = message.method if message.is_request else f"{message.status} {message.method}"
                if got == kind:
                    return message
                if got == "OPTIONS":  # after its REGISTER: whether it is there
                    phone.answer(message, "200 OK", tag=secrets.token_hex(4))
                if message.status >= 300:
                    told = printable(f"{got}: {message.reason}")
                    raise MissingError(f"{phone.user} should have got {kind}, and got {told}")
            self.let_pass(left)
        raise MissingError(f"{phone.user} got no {kind} within {PATIENCE:g} s")


class Dialog:
    """The lines that all requests of one dialog share, as its caller writes them (RFC 3261 §12.1.2)."""

    def __init__(self, phone: Phone, answer: Message) -> None:
        self.target = address_of(header(answer, "Contact"))
        self.lines = [f"Route: {value.decode()}" for value in reversed(list(answer.values("Record-Route")))]
        self.lines += [f"From: {header(answer, 'From')}", f"To: {header(answer, 'To')}"]
        self.lines += [f"Call-ID: {header(answer, 'Call-ID')}"]


def address_of(value: str) -> str:
    """The URI of a name-addr."""
    return parse_address(value.encode())[1].decode()


def arm(stage: Stage) -> None:
    """Alice calls Bob, who is not logged in: 480, redial is on."""
    alice = stage.alice
    shared = [f"From: <{alice.aor}>;tag={secrets.token_hex(4)}", f"Call-ID: {secrets.token_hex(8)}"]
    about = [f"Contact: {alice.contact}", f"Expires: {PERIOD}"]
    to = f"To: <{stage.bob.aor}>"
    branch = alice.request("INVITE", stage.bob.aor, *shared, to, "CSeq: 1 INVITE", *about)
    refusal = stage.expect(alice, "480 INVITE")
    # RFC 3261 §17.1.1.3: the ACK to a refusal repeats the INVITE's branch
    to = f"To: {header(refusal, 'To')}"
    alice.request("ACK", stage.bob.aor, *shared, to, "CSeq: 1 ACK", branch=branch)
    if "m=NL" not in header(refusal, "Call-Info"):
        raise MissingError("the 480 did not say that redial is on (no Call-Info with m=NL)")


def log_in(stage: Stage, phone: Phone) -> None:
    """A phone registers."""
    lines = [f"From: <{phone.aor}>;tag={secrets.token_hex(4)}", f"To: <{phone.aor}>", f"Call-ID: {secrets.token_hex(8)}"]
    phone.request("REGISTER", f"sip:{DOMAIN}", *lines, "CSeq: 1 REGISTER", f"Contact: {phone.contact}", "Expires: 3600")
    stage.expect(phone, "200 REGISTER")


def recall(stage: Stage, refer: Message, tag: str) -> None:
    """Alice's phone is asked to call (RFC 3515) and agrees."""
    stage.alice.answer(refer, "202 Accepted", f"Contact: {stage.alice.contact}", tag=tag)
    notify(stage, refer, tag, 1, "active;expires=60", "SIP/2.0 100 Trying")


def refuse(stage: Stage) -> None:
    """Alice's phone is asked to call, and does not do so for somebody who is in no call with it."""
    refer = stage.expect(stage.alice, "REFER")
    stage.alice.answer(refer, "501 Not Implemented", tag=secrets.token_hex(4))


def ring(stage: Stage, tag: str) -> Message:
    """The server calls Alice's phone, which rings. Returns the INVITE."""
    invite = stage.expect(stage.alice, "INVITE")
    stage.alice.answer(invite, "180 Ringing", f"Contact: {stage.alice.contact}", tag=tag)
    return invite


def stop_ringing(stage: Stage, invite: Message, tag: str) -> None:
    """The server takes its call back, since Alice's phone calls now (RFC 3261 §9)."""
    stage.alice.answer(stage.expect(stage.alice, "CANCEL"), "200 OK", tag=tag)
    stage.alice.answer(invite, "487 Request Terminated", tag=tag)
    stage.expect(stage.alice, "ACK")


def notify(stage: Stage, refer: Message, tag: str, number: int, state: str, fragment: str) -> None:
    """Alice's phone tells what came of the REFER (RFC 3515 §2.4.4)."""
    target = address_of(header(refer, "Contact"))
    me = header(refer, "To") if refer.to_tag else f"{header(refer, 'To')};tag={tag}"
    lines = [f"From: {me}", f"To: {header(refer, 'From')}"]
    lines += [f"Call-ID: {header(refer, 'Call-ID')}", f"CSeq: {number} NOTIFY", f"Contact: {stage.alice.contact}"]
    lines += ["Event: refer", f"Subscription-State: {state}", "Content-Type: message/sipfrag"]
    stage.alice.request("NOTIFY", target, *lines, body=f"{fragment}\r\n")
    stage.expect(stage.alice, "200 NOTIFY")


def call(stage: Stage, refer: Message, tag: str, rung: Message | None) -> None:
    """Alice's phone calls whom the REFER names; Bob answers; they talk; she hangs up. `rung`: by what it still rings."""
    alice, bob = stage.alice, stage.bob
    target = address_of(header(refer, "Refer-To"))
    lines = [f"From: <{alice.aor}>;tag={secrets.token_hex(4)}", f"To: <{target}>", f"Call-ID: {secrets.token_hex(8)}"]
    alice.request("INVITE", target, *lines, "CSeq: 1 INVITE", f"Contact: {alice.contact}")
    if rung is not None:
        stop_ringing(stage, rung, tag)

    invite = stage.expect(bob, "INVITE")
    tag_of_bob = secrets.token_hex(4)
    bob.answer(invite, "180 Ringing", f"Contact: {bob.contact}", tag=tag_of_bob)
    stage.expect(alice, "180 INVITE")
    stage.let_pass(RING)
    bob.answer(invite, "200 OK", f"Contact: {bob.contact}", tag=tag_of_bob)
    dialog = Dialog(alice, stage.expect(alice, "200 INVITE"))
    alice.request("ACK", dialog.target, *dialog.lines, "CSeq: 1 ACK")
    stage.expect(bob, "ACK")
    notify(stage, refer, tag, 2, "terminated;reason=noresource", "SIP/2.0 200 OK")
    stage.let_pass(TALK)
    alice.request("BYE", dialog.target, *dialog.lines, "CSeq: 2 BYE")
    bob.answer(stage.expect(bob, "BYE"), "200 OK")
    stage.expect(alice, "200 BYE")


def play(port: int, ladder: Ladder, refuses: bool = False) -> str:
    """The whole redial. `refuses`: Alice's phone obeys no REFER out of nothing.

    Returns the sentence that sums it up; raises MissingError for what did not happen.
    """
    stage = Stage(port, ladder)
    try:
        ladder.columns()
        ladder.heading("Alice is logged in: the watch is for who she is, and her phone is the one that rings")
        log_in(stage, stage.alice)
        ladder.heading(f"Alice calls Bob, who is not logged in, and asks for redial for {PERIOD} s")
        arm(stage)
        ladder.heading("Bob logs in")
        log_in(stage, stage.bob)
        rung, tag = None, secrets.token_hex(4)
        if refuses:
            ladder.heading("The server asks Alice's phone to call, which refuses: so it calls her phone")
            refuse(stage)
            rung = ring(stage, tag)
            ladder.heading("While that rings the server asks again, within that call; her phone calls Bob")
        else:
            ladder.heading("The server has Alice's phone ring, and it calls Bob")
        refer = stage.expect(stage.alice, "REFER")
        recall(stage, refer, tag)
        call(stage, refer, tag, rung)
    finally:
        stage.close()
    presence = 10 + 4 * PERIOD // REFRESH  # SUBSCRIBE, PUBLISH and what follows; then SUBSCRIBE, 200, NOTIFY, 200
    return (
        f"Redial done: {ladder.count} messages in all, {ladder.extra} of them beyond two plain calls and two logins, "
        f"and none while waiting.\nBy presence, with a subscription refreshed every {REFRESH} s, the {PERIOD} s that she "
        f"asked for could have cost {presence} messages beyond the calls."
    )


@contextlib.contextmanager
def stamped() -> Iterator[None]:
    """The kernel stamps datagrams on arrival from a moment after the first socket asks for it: ask for it early."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as early:
        early.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        yield


@contextlib.contextmanager
def served() -> Iterator[int]:
    """A server on a free port of loopback; yields the port once it answers. Raises MissingError where it does not."""
    with tempfile.TemporaryDirectory(prefix="sipfast-demo-") as folder:
        port = free_port()
        command = [sys.executable, "-m", "sipfast", "serve", "--listen", f"udp:{HOST}:{port}", "--domain", DOMAIN]
        command += ["--data", str(Path(folder) / "data"), "--log-level", "warning", "--workers", "1"]
        configuration = Path(folder) / "sipfast.toml"
        configuration.write_text(f"[redial]\nmethods = {json.dumps(METHODS)}\n")
        command += ["--config", str(configuration)]
        with (Path(folder) / "log").open("w+b") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                end = time.monotonic() + STARTUP
                while not answers(port):
                    if server.poll() is not None or time.monotonic() > end:
                        log.seek(0)
                        told = log.read()[-500:].decode(errors="replace").strip()  # log lines are printable
                        raise MissingError(f"the server did not come up: {told or 'it said nothing'}")
                yield port
            finally:
                server.terminate()
                try:
                    server.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def free_port() -> int:
    """A UDP port of loopback that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether a SIP server there answers an OPTIONS within a tenth of a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        probe.settimeout(0.1)
        me, unique = f"{HOST}:{probe.getsockname()[1]}", secrets.token_hex(8)
        lines = [f"OPTIONS sip:{HOST}:{port} SIP/2.0", f"Via: SIP/2.0/UDP {me};branch=z9hG4bK{unique};rport"]
        lines += [f"From: <sip:demo@{me}>;tag={unique}", f"To: <sip:{HOST}:{port}>", f"Call-ID: {unique}"]
        lines += ["CSeq: 1 OPTIONS", "Max-Forwards: 70", "Content-Length: 0", "", ""]
        probe.sendto("\r\n".join(lines).encode(), (HOST, port))
        try:
            return probe.recv(65535).startswith(b"SIP/2.0 ")
        except ConnectionRefusedError:
            time.sleep(0.05)
        except TimeoutError:
            pass
        return False


def run(argv: Sequence[str], out: TextIO | None = None) -> int:
    """Play the demonstration. 0 only where the whole redial really happened, 1 where something was missing."""
    description = "Play one redial on loopback and show it."
    parser = argparse.ArgumentParser(prog="sipfast demo", description=description, allow_abbrev=False)
    parser.add_argument(
        "--phone",
        choices=("obeys", "refuses"),
        default="obeys",
        help="what Alice's phone does when it is asked to call out of nothing (default: obeys)",
    )
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.exit(2, f"{parser.prog}: unrecognized arguments: {' '.join(unknown)}; see {parser.prog} --help\n")
    out = out or sys.stdout
    ladder = Ladder(out, colour=out.isatty() and "NO_COLOR" not in os.environ)
    try:
        with stamped(), served() as port:
            summary = play(port, ladder, arguments.phone == "refuses")
    except MissingError as missing:
        ladder.end(f"The redial did not happen: {missing}.", good=False)
        return 1
    ladder.end(summary, good=True)
    return 0
