"""How a call goes on, for the fuzzer: what well-behaved phones and upstreams say next to what the server has sent.

Without it a server that is told nonsense only would rarely see a whole call, a recall or a talk.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

Address = tuple[bytes, int]
Field = tuple[bytes, bytes]
MOST_WAITING = 60  # messages; the oldest are never said then


def fields_of(data: bytes) -> list[Field]:
    """Names and values of what the server has sent, which is well-formed."""
    lines = data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    return [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


def called(fields: Sequence[Field], *names: bytes) -> list[bytes]:
    return [value for name, value in fields if name in names]


def whole(start: bytes, lines: Sequence[bytes], body: bytes = b"") -> bytes:
    return b"\r\n".join([start, *lines, b"Content-Length: %d" % len(body), b"", body])


def uri_in(value: bytes) -> bytes:
    """Of a Contact or Refer-To."""
    return value.partition(b"<")[2].partition(b">")[0]


def answer_to(fields: Sequence[Field], status: int, to_tag: bytes, more: Sequence[bytes] = ()) -> bytes:
    """RFC 3261 §8.2.6"""
    to = b", ".join(called(fields, b"to", b"t"))
    lines = [b"Via: " + value for value in called(fields, b"via", b"v")]
    lines += [b"Record-Route: " + value for value in called(fields, b"record-route")]
    lines += [b"To: %b%b" % (to, b"" if b"tag=" in to or not to_tag else b";tag=" + to_tag)]
    lines += [b"%b: %b" % (name, value) for name, value in fields if name in (b"from", b"f", b"call-id", b"i", b"cseq")]
    return whole(b"SIP/2.0 %d Some" % status, [*lines, *more])


class Course:
    """Messages that would come next, in their order. `heard` is given each that the server has sent."""

    def __init__(self, draw: random.Random, upstreams: Sequence[bytes]) -> None:
        self.draw, self.upstreams = draw, upstreams
        self.waiting: deque[tuple[bytes, Address]] = deque(maxlen=MOST_WAITING)
        self.tokens: deque[bytes] = deque(maxlen=20)  # Contacts that an upstream has seen
        self.count = 0

    def next(self) -> tuple[bytes, Address] | None:
        """Mostly the next one, now and then one out of order."""
        if not self.waiting:
            return None
        if self.draw.random() < 0.1:
            self.waiting.rotate(-self.draw.randrange(len(self.waiting)))
        return self.waiting.popleft()

    def heard(self, data: bytes, to: Address, fields: Sequence[Field]) -> None:
        method = data[: data.find(b" ")]
        if method == b"SIP/2.0":
            self.answered(data, to, fields)
        elif method == b"INVITE":
            self.invited(to, fields)
        elif method == b"REFER" and b"\r\nSubject: Automatic redial\r\n" in data:
            self.referred(to, fields)
        elif method == b"REGISTER":
            contacts = called(fields, b"contact", b"m")
            self.tokens.extend(filter(None, map(uri_in, contacts)))
            more = [b"Contact: " + value for value in contacts] + [b"Expires: 600"]
            self.say(answer_to(fields, 200, b"r", more), to)
        elif method not in (b"ACK", b"CANCEL"):
            status = 481 if method == b"INFO" and self.draw.random() < 0.5 else 200
            self.say(answer_to(fields, status, b"o"), to)

    def say(self, data: bytes, source: Address) -> None:
        if self.draw.random() < 0.9:
            self.waiting.append((data, source))

    def unique(self, prefix: bytes) -> bytes:
        self.count += 1
        return b"%b%d" % (prefix, self.count)

    # ---- what a phone or an upstream does

    def invited(self, to: Address, fields: Sequence[Field]) -> None:
        tag, contact = self.unique(b"ct"), b"Contact: <sip:c@%b:%d>" % to
        if to[0] in self.upstreams and self.draw.random() < 0.7:
            self.route(to, fields)
            return
        if self.draw.random() < 0.7:
            self.say(answer_to(fields, 180, tag, [contact]), to)
        status = self.draw.choice((200, 200, 200, 200, 486, 480, 302))
        self.say(answer_to(fields, status, tag, [contact]), to)
        if status == 200 and self.draw.random() < 0.3:  # the callee hangs up
            routes = [b"Route: " + value for value in called(fields, b"record-route")]
            local, remote = called(fields, b"to", b"t"), called(fields, b"from", b"f")
            if local and remote:
                self.say(self.request(b"BYE", to, fields, routes, local[0] + b";tag=" + tag, remote[0], 1), to)

    def route(self, to: Address, fields: Sequence[Field]) -> None:
        """An upstream knows nobody of that name, or calls the phone as it knows it."""
        if not self.tokens or self.draw.random() < 0.5:
            self.say(answer_to(fields, self.draw.choice((480, 404)), self.unique(b"ut")), to)
            return
        lines = [b"Via: SIP/2.0/UDP %b:%d;branch=%b" % (*to, self.unique(b"z9hG4bKup")), b"Max-Forwards: 69"]
        lines += [b"%b: %b" % (name, value) for name, value in fields if name in (b"from", b"f", b"to", b"t", b"cseq")]
        lines += [b"Call-ID: " + self.unique(b"up"), b"Contact: <sip:u@%b:%d>" % to]
        self.say(whole(b"INVITE %b SIP/2.0" % self.draw.choice(self.tokens), lines), to)

    def referred(self, to: Address, fields: Sequence[Field]) -> None:
        """202, and the call that it asks for (RFC 3515)."""
        self.say(answer_to(fields, self.draw.choice((202, 202, 202, 202, 603)), b"rf"), to)
        caller, callee = called(fields, b"to"), called(fields, b"refer-to")
        if not caller or not callee:
            return
        uri = uri_in(callee[0])
        lines = [
            b"Via: SIP/2.0/UDP %b:%d;branch=%b" % (*to, self.unique(b"z9hG4bKrc")),
            b"Max-Forwards: 70",
            b"From: %b;tag=%b" % (caller[0], self.unique(b"rc")),
            b"To: <%b>" % uri,
            b"Call-ID: " + self.unique(b"recalled"),
            b"CSeq: 1 INVITE",
            b"Contact: <sip:r@%b:%d>" % to,
        ]
        self.say(whole(b"INVITE %b SIP/2.0" % uri, lines), to)

    def answered(self, data: bytes, to: Address, fields: Sequence[Field]) -> None:
        """An ACK to what ends an INVITE, and a call that is answered ends some time."""
        if not called(fields, b"cseq")[-1:] or not called(fields, b"cseq")[-1].endswith(b"INVITE") or data[8:9] == b"1":
            return
        local, remote = called(fields, b"from", b"f"), called(fields, b"to", b"t")
        if not local or not remote:
            return
        if data[8:9] == b"2":
            routes = [b"Route: " + value for value in reversed(called(fields, b"record-route"))]
            self.say(self.request(b"ACK", to, fields, routes, local[0], remote[0], 0), to)
            if self.draw.random() < 0.6:
                self.say(self.request(b"BYE", to, fields, routes, local[0], remote[0], 1), to)
        else:
            vias = called(fields, b"via", b"v")[:1]
            self.say(self.request(b"ACK", to, fields, (), local[0], remote[0], 0, vias), to)

    def request(
        self,
        method: bytes,
        source: Address,
        fields: Sequence[Field],
        routes: Sequence[bytes],
        local: bytes,
        remote: bytes,
        later: int,
        vias: Sequence[bytes] = (),
    ) -> bytes:
        """In the dialog of an INVITE's fields or of those of its answer."""
        number = b"".join(called(fields, b"cseq")[-1:]).split()[:1]
        contact = uri_in(b"".join(called(fields, b"contact", b"m")[-1:])) or b"sip:10.0.1.1"
        lines = [b"Via: " + via for via in vias] or [
            b"Via: SIP/2.0/UDP %b:%d;branch=%b" % (*source, self.unique(b"z9hG4bKco"))
        ]
        lines += [b"Max-Forwards: 70", *routes, b"From: " + local, b"To: " + remote]
        lines += [b"Call-ID: " + value for value in called(fields, b"call-id", b"i")[:1]]
        cseq = int(number[0]) + later if number and number[0].isdigit() and len(number[0]) < 10 else 1
        return whole(b"%b %b SIP/2.0" % (method, contact), [*lines, b"CSeq: %d %b" % (cseq, method)])
