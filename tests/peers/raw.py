"""One phone under the hand of a test: a registrar, proxy and other party in one socket, which sends what the test writes.

Nothing of it comes from the server under test. What the phone sends is kept in `log`, answered where every server would
answer it (REGISTER, OPTIONS, PUBLISH, SUBSCRIBE, NOTIFY, BYE, a re-INVITE), and otherwise waits for the test.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from net.sipwire import REASONS, Sip, uri_of

from .process import HERE, Place

DOMAIN = "example.test"
ALWAYS = {"REGISTER": 200, "OPTIONS": 200, "PUBLISH": 489, "SUBSCRIBE": 489, "NOTIFY": 200, "BYE": 200, "INFO": 200}
BRANCH = "z9hG4bK"


def sdp(host: str, port: int, direction: str = "sendrecv") -> str:
    """An offer or answer of one PCMU stream. `direction` "none": no m-line at all."""
    lines = ["v=0", f"o=- {random.getrandbits(31)} 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    if direction != "none":
        lines += [f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a={direction}"]
    return "".join(f"{line}\r\n" for line in lines)


@dataclass
class Leg:
    """A dialog with the phone, as our side of it sees it (RFC 3261 §12)."""

    call_id: str
    local: str  # From of our requests
    remote: str  # To of our requests
    target: str
    invite: Sip | str = ""
    branch: str = ""
    cseq: int = 0
    answer: Sip | None = None
    heard: list[Sip] = field(default_factory=list)


class Desk:
    """The socket and what came to it."""

    def __init__(self, at: Place = HERE):
        self.at, self.port = at, at.free_port()
        self._socket = at.socket(socket.SOCK_DGRAM)
        self._socket.bind((at.host, self.port))
        self._socket.settimeout(0.02)
        self.me = f"{at.host}:{self.port}"
        self.log: list[tuple[float, str, Sip]] = []  # s, "<" or ">", the message
        self.inbox: list[Sip] = []
        self.contact = self.aor = ""
        self._start = time.monotonic()
        self._phone = (at.host, 0)
        self._seen: set[tuple[str, str, int]] = set()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    # What comes

    def poll(self) -> None:
        """Take in a message, if one comes within 20 ms."""
        try:
            data, source = self._socket.recvfrom(65535)
        except (TimeoutError, ConnectionRefusedError):
            return
        if b"\r\n\r\n" not in data or not data.strip():
            return  # a keep-alive
        message = Sip(data)
        self.log.append((time.monotonic() - self._start, "<", message))
        self._phone = source
        key = (message.branch, message.method, message.status)
        if key in self._seen:
            if not message.status and message.method in ALWAYS:
                self.respond(message, ALWAYS[message.method])
            return
        self._seen.add(key)
        if not message.status and message.method in ALWAYS:
            if message.method == "REGISTER" and "expires=0" not in message.first("contact"):
                self.contact, self.aor = uri_of(message.first("contact")), uri_of(message.first("to"))
            self.respond(message, ALWAYS[message.method])
        if message.method == "INVITE" and not message.status and message.to_tag:
            self.respond(message, 200, f"Contact: <sip:{self.me}>", body=sdp(self.at.host, self.at.free_port()))
        self.inbox.append(message)

    def wait(self, wanted: Callable[[Sip], bool], seconds: float = 5.0) -> Sip | None:
        """The first message of that kind that nobody has taken yet, or None."""
        end = time.monotonic() + seconds
        while True:
            for message in self.inbox:
                if wanted(message):
                    self.inbox.remove(message)
                    return message
            if time.monotonic() > end:
                return None
            self.poll()

    def final(self, method: str, call_id: str, seconds: float = 5.0) -> int:
        """The status of the final answer to our request; 0: silence."""
        found = self.wait(lambda m: m.status >= 200 and m.method == method and m.call_id == call_id, seconds)
        return found.status if found else 0

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Somebody else does the listening, who answers what is always answered."""
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                self.poll()

        clerk = threading.Thread(target=listen)
        clerk.start()
        try:
            yield
        finally:
            over.set()
            clerk.join()

    def pause(self, seconds: float) -> None:
        """Let time pass, listening."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.poll()

    # What goes

    def _send(self, text: str, body: str, *, to: tuple[str, int] | None = None) -> None:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        data = f"{text}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        self.log.append((time.monotonic() - self._start, ">", Sip(data)))
        self._socket.sendto(data, to or self._phone)

    def respond(self, request: Sip, status: int, *lines: str, tag: str = "", body: str = "") -> None:
        """Answer a request of the phone's."""
        to = request.first("to")
        if "tag=" not in to:
            to += f";tag={tag or f'{random.getrandbits(32):x}'}"
        text = f"SIP/2.0 {status} {REASONS.get(status, 'Whatever')}\r\n"
        text += "".join(f"Via: {via}\r\n" for via in request.lines("via"))
        text += f"From: {request.first('from')}\r\nTo: {to}\r\n"
        text += f"Call-ID: {request.call_id}\r\nCSeq: {request.first('cseq')}\r\n"
        if request.method == "REGISTER":
            expires = "" if "expires=" in request.first("contact") else f";expires={request.first('expires') or 60}"
            text += f"Contact: {request.first('contact')}{expires}\r\n"
        self._send(text + "".join(f"{line}\r\n" for line in lines), body)

    def request(self, leg: Leg, method: str, *lines: str, body: str = "", branch: str = "", cseq: int = 0) -> str:
        """Send a request in a dialog, or the one that begins it; returns its branch."""
        if not cseq:
            leg.cseq += 1
        branch = branch or f"{BRANCH}{random.getrandbits(64):x}"
        text = f"{method} {leg.target} SIP/2.0\r\nVia: SIP/2.0/UDP {self.me};branch={branch};rport\r\nMax-Forwards: 70\r\n"
        text += f"From: {leg.local}\r\nTo: {leg.remote}\r\nCall-ID: {leg.call_id}\r\nCSeq: {cseq or leg.cseq} {method}\r\n"
        text += f"Contact: <sip:{self.me}>\r\n" + "".join(f"{line}\r\n" for line in lines)
        host, _, port = leg.target.partition("@")[2].partition(";")[0].partition(":")
        self._send(text, body, to=(host, int(port or 5060)))
        return branch

    def leg(self, to: str = "") -> Leg:
        """A dialog that is yet to begin, from bob's name, to the phone's AOR."""
        unique = f"{random.getrandbits(48):x}"
        return Leg(f"{unique}@desk", f'"Bob" <sip:bob@{DOMAIN}>;tag={unique}', f"<{to or self.aor}>", self.contact)

    def invite(self, *lines: str, body: str = "", to: str = "") -> Leg:
        """Call the phone."""
        leg = self.leg(to)
        leg.branch = self.request(leg, "INVITE", "Allow: INVITE, ACK, CANCEL, BYE, NOTIFY", *lines, body=body)
        return leg

    def rings(self, leg: Leg, seconds: float = 5.0) -> bool:
        """Whether its 180 comes; from then on there is an early dialog."""
        heard = self.wait(lambda m: m.status > 100 and m.call_id == leg.call_id and m.method == "INVITE", seconds)
        if heard is not None:
            self._learn(leg, heard)
            if heard.status >= 200:
                self.inbox.insert(0, heard)
        return heard is not None and heard.status < 200

    def answered(self, leg: Leg, seconds: float = 5.0, *, body: str = "", ack: bool = True) -> int:
        """The final status of our INVITE, acknowledged; 0: silence."""
        heard = self.wait(lambda m: m.status >= 200 and m.call_id == leg.call_id and m.method == "INVITE", seconds)
        if heard is None:
            return 0
        self._learn(leg, heard)
        leg.answer = heard
        if ack:
            self.ack(leg, heard, body=body)
        return heard.status

    def ack(self, leg: Leg, answer: Sip, *, body: str = "") -> None:
        """Acknowledge an answer (RFC 3261 §13.2.2.4, §17.1.1.3)."""
        if answer.status < 300:
            self.request(leg, "ACK", body=body, cseq=answer.cseq)
        else:
            refused = Leg(leg.call_id, leg.local, leg.remote, self.contact)
            self.request(refused, "ACK", branch=leg.branch, cseq=answer.cseq)

    def _learn(self, leg: Leg, message: Sip) -> None:
        leg.heard.append(message)
        if message.to_tag:
            leg.remote = message.first("to")
        if message.first("contact"):
            leg.target = uri_of(message.first("contact"))

    def refer(self, leg: Leg, *lines: str, to: str = f"sip:bob@{DOMAIN}") -> str:
        """Ask the phone to call."""
        return self.request(leg, "REFER", f"Refer-To: <{to}>", f"Referred-By: <sip:bob@{DOMAIN}>", *lines)

    def cancel(self, leg: Leg) -> None:
        """Take our INVITE back (RFC 3261 §9.1)."""
        first = Leg(leg.call_id, leg.local, leg.remote.partition(";tag=")[0], self.contact)
        self.request(first, "CANCEL", branch=leg.branch, cseq=1)

    def hang_up(self, leg: Leg, seconds: float = 3.0) -> int:
        """End it by a BYE."""
        self.request(leg, "BYE")
        return self.final("BYE", leg.call_id, seconds)

    def calls(self, leg: Leg, seconds: float = 4.0) -> Sip | None:
        """The new call that the phone places."""
        return self.wait(
            lambda m: m.method == "INVITE" and not m.status and not m.to_tag and m.call_id != leg.call_id, seconds
        )

    def story(self) -> str:
        """All messages, one a line."""
        return "\n".join(f"{at:8.3f} {way} {m.title} [{m.first('cseq')}]" for at, way, m in self.log)


class Ear:
    """A port where somebody listens for RTP."""

    def __init__(self, at: Place = HERE):
        self._socket = at.socket(socket.SOCK_DGRAM)
        self._socket.bind((at.host, at.free_port()))
        self.port: int = self._socket.getsockname()[1]
        self.sdp = sdp(at.host, self.port)

    def hears(self, packets: int, seconds: float = 4.0) -> bool:
        """Whether so many packets come, not counting what came before."""
        end, start = time.monotonic() + seconds, time.monotonic()
        self._socket.settimeout(0.05)
        while time.monotonic() < end:
            try:
                self._socket.recv(2048)
            except TimeoutError:
                continue
            packets -= time.monotonic() - start > 0.1  # what was there already is read in no time
            if packets <= 0:
                return True
        return False

    def close(self) -> None:
        """Hear nothing any more."""
        self._socket.close()
