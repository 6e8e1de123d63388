"""What the fuzzer says: requests of all methods, answers to what was sent, and both of them spoiled.

Everything is drawn from one generator of random numbers, and from what the server has sent before: its branches, its tags,
its Record-Route and Path values, the Call-IDs of its REFERs.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Sequence

from hostile import HOSTILE, PIECES

from fuzz.course import Address, Course, answer_to, called, fields_of, whole
from fuzz.logins import login

SERVER = b"10.0.0.1:5060"
UPSTREAM = (b"10.0.2.1", b"10.0.2.2")
PEERS = [b"10.0.1.%d" % n for n in range(1, 9)]
USERS = (b"alice", b"bob", b"carol", b"dave")
METHODS = (
    *[b"INVITE"] * 6,
    *[b"REGISTER"] * 5,
    b"OPTIONS",
    b"MESSAGE",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"REFER",
    b"PUBLISH",
    b"INFO",
    b"UPDATE",
    b"PRACK",
    b"BYE",
    b"ACK",
    b"CANCEL",
    b"X-UNKNOWN",
)
STATUSES = (
    *[100, 180, 183, 200, 200, 200] * 3,
    199,
    202,
    299,
    300,
    302,
    380,
    400,
    401,
    403,
    404,
    407,
    408,
    420,
    423,
    430,
    480,
    481,
    482,
    486,
    486,
    487,
    487,
    488,
    489,
    500,
    501,
    503,
    503,
    504,
    513,
    600,
    603,
    699,
)
NUMBERS = (b"0", b"1", b"59", b"60", b"3600", b"4294967295", b"4294967296", b"9" * 20, b"1" * 4500, b"-1", b"x", b"")


SEVERE = [*HOSTILE.values()]


class Talker:
    """Makes one datagram after another; `heard` is given each that the server has sent."""

    def __init__(self, draw: random.Random, corpus: Sequence[bytes]) -> None:
        self.draw = draw
        self.corpus = list(corpus)
        self.count = 0
        self.requests: deque[tuple[bytes, Address]] = deque(maxlen=60)  # that the server has sent, not yet answered twice
        self.finals: deque[tuple[bytes, Address]] = deque(maxlen=40)
        self.said: deque[tuple[bytes, Address]] = deque(maxlen=60)
        self.routes: deque[bytes] = deque(maxlen=40)
        self.branches: deque[bytes] = deque(maxlen=40)
        self.refers: deque[bytes] = deque(maxlen=20)
        self.course = Course(draw, UPSTREAM)
        kinds: list[tuple[int, Callable[[], tuple[bytes, Address]]]] = [
            (8, self.request),
            (4, self.bind),
            (1, self.leave),
            (5, self.call),
            (14, self.go_on),
            (6, self.answer),
            (2, self.acknowledge),
            (2, self.cancel),
            (3, self.within),
            (1, self.repeat),
            (1, self.report),
            (1, self.from_corpus),
            (4, self.spoiled),
        ]
        self.kinds = [kind for weight, kind in kinds for _ in range(weight)]

    def heard(self, data: bytes, to: Address) -> None:
        """Remember what can be used."""
        if data.startswith(b"SIP/2.0 "):
            if data[8:9] in b"23456":
                self.finals.append((data, to))
            if data[8:11] in (b"401", b"407"):
                again = login(self.draw, data, reversed(self.said))
                if again is not None:
                    self.said.append(again)
                    self.course.say(*again)
        else:
            self.requests.append((data, to))
            if data.startswith(b"REFER ") and b"\r\nSubject: Automatic redial\r\n" in data:
                self.refers.append(data)
        fields = fields_of(data)
        self.course.heard(data, to, fields)
        for name, value in fields:
            if name in (b"record-route", b"path"):
                self.routes.append(value)
            elif name == b"via" and value.startswith(b"SIP/2.0/UDP " + SERVER):
                self.branches.append(value)

    def say(self) -> tuple[bytes, Address]:
        """One datagram, and who sends it."""
        data, source = self.draw.choice(self.kinds)()
        self.said.append((data, source))
        return data[:65_507], source

    # ---- pieces

    def pick(self, chosen: Sequence[bytes]) -> bytes:
        return self.draw.choice(chosen)

    def maybe(self, chance: float, *lines: bytes) -> list[bytes]:
        return [self.pick(lines)] if self.draw.random() < chance else []

    def unique(self, prefix: bytes) -> bytes:
        self.count += 1
        return b"%b%d" % (prefix, self.count)

    def peer(self) -> Address:
        if self.draw.random() < 0.1:
            return self.pick(UPSTREAM), 5060
        return self.pick(PEERS), self.draw.choice((5060, 5060, 5060, 5070))

    def number(self) -> bytes:
        return self.pick(NUMBERS)

    def uri(self) -> bytes:
        user = self.pick(USERS)
        return self.pick(
            (
                b"sip:%b@example.com" % user,
                b"sip:%b@example.com" % user,
                b"sip:%b@example.com" % user,
                b"sip:%b@up.example" % user,
                b"sip:%b@other.example" % user,
                b"sip:example.com",
                b"sip:" + SERVER,
                b"sip:%b;lr" % SERVER,
                b"sip:%b@%b" % (user, self.pick(PEERS)),
                b"sip:%b@%b:5070" % (user, self.pick(PEERS)),
                b"sips:%b@example.com" % user,
                b"tel:+4930123",
                b"sip:%b@example.com;method=BYE" % user,
                b"sip:%b@example.com:%b" % (user, self.number()),
                b"sip:%b@%b" % (self.unique(b"u"), SERVER),
                *self.course.tokens,
            )
        )

    def contact(self, source: Address) -> bytes:
        params = self.pick(
            (
                b"",
                b"",
                b"",
                b";expires=%b" % self.number(),
                b";q=0.%b" % self.number(),
                b';+sip.instance="<urn:uuid:%d>";reg-id=%b' % (self.draw.randint(1, 3), self.number()),
            )
        )
        return self.pick(
            (
                b"<sip:%b@%b:%d>%b" % (self.pick(USERS), *source, params),
                b"<sip:%b@%b>%b" % (self.pick(USERS), self.pick(PEERS), params),
                b"<%b>%b" % (self.uri(), params),
                b"*",
                b"sip:x@192.168.1.1" + params,
                b"<sip:%b>%b" % (self.unique(b"h"), params),
            )
        )

    def route_lines(self, chance: float) -> list[bytes]:
        lines: list[bytes] = []
        if self.draw.random() >= chance:
            return lines
        for _ in range(self.draw.choice((1, 1, 1, 2, 3, 30, 60))):
            values = [
                self.pick(
                    (
                        b"<sip:%b;lr>" % SERVER,
                        b"<sip:%b;lr>" % SERVER,
                        b"<sip:%b;lr>" % self.pick(PEERS),
                        b"<sip:%b>" % self.pick(PEERS),
                        b"<%b>" % self.uri(),
                        *self.routes,
                    )
                )
                for _ in range(self.draw.choice((1, 1, 1, 2, 3)))
            ]
            lines.append(b"Route: " + self.pick((b", ", b",", b" ,\r\n ")).join(values))
        for _ in range(self.draw.choice((0, 0, 0, 1, 2))):
            lines.insert(self.draw.randint(0, len(lines)), b"Route:")
        return lines

    # ---- requests

    def request(self) -> tuple[bytes, Address]:
        source, method = self.peer(), self.pick(METHODS)
        register = method == b"REGISTER"
        user, uri = self.pick(USERS), self.uri()
        if register and self.draw.random() < 0.8:
            uri = self.pick((b"sip:example.com", b"sip:example.com", b"sip:up.example"))
        aor = b"<sip:%b@%b>" % (user, uri[4:] if register and self.draw.random() < 0.9 else b"example.com")
        to = aor if register else b"<%b>" % uri
        branch = self.unique(b"z9hG4bKf")
        lines = [b"Via: SIP/2.0/UDP %b:%d;branch=%b%b" % (*source, branch, self.pick((b"", b"", b";rport", b";rport=1")))]
        lines += self.maybe(0.1, b"Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKx", *[b"Via: " + via for via in self.branches])
        lines += self.maybe(0.9, b"Max-Forwards: 70", b"Max-Forwards: 70", b"Max-Forwards: 1", b"Max-Forwards: 0")
        lines += self.route_lines(0.12)
        lines += [
            b"From: <sip:%b@example.com>;tag=%b" % (user, self.unique(b"f")),
            b"To: %b%b" % (to, self.pick((b"", b"", b"", b"", b";tag=" + self.unique(b"t")))),
            b"Call-ID: " + (self.unique(b"c") if not register else b"reg-%b-%b" % (user, self.pick(PEERS))),
            b"CSeq: %d %b" % (self.count, method),
        ]
        for _ in range(self.draw.choice((1, 1, 1, 0, 2, 3) if register else (1, 0))):
            lines.append(b"Contact: " + self.contact(source))
        lines += self.maybe(0.4, b"Expires: 3600", b"Expires: 600", b"Expires: 0", b"Expires: " + self.number())
        lines += self.maybe(
            0.05, b"Path: <sip:%b;lr>" % self.pick(PEERS), b"Path: <sip:%b;lr>" % SERVER, b"Path: <sip:edge;lr>"
        )
        lines += self.maybe(0.1, b"Max-Breadth: " + self.number())
        lines += self.maybe(
            0.05, b"Require: path", b"Require: x", b"Proxy-Require: y", b"Proxy-Require:", b"Supported: path, outbound"
        )
        lines += self.maybe(
            0.1, b"Event: refer", b"Refer-To: <sip:bob@example.com>", b"Subscription-State: active", b"Timestamp: 1"
        )
        lines += self.maybe(
            0.05, b"Session-Expires: " + self.number(), b"RAck: 1 1 INVITE", b"Reason: SIP;cause=%b" % self.number()
        )
        if self.draw.random() < 0.1:
            self.draw.shuffle(lines)
        return whole(b"%b %b SIP/2.0" % (method, uri), lines), source

    def bind(self) -> tuple[bytes, Address]:
        """A REGISTER as phones send it: each user has a phone or two, which go away and come back."""
        user = self.pick(USERS)
        source = contact = (PEERS[2 * USERS.index(user) + self.draw.randrange(2)], 5060)
        params = b""
        if self.draw.random() < 0.2:  # behind a NAT, which gives it another port now and then
            source, contact = (source[0], self.draw.choice((5060, 5070))), (b"192.168.1.1", 5060)
            params = b';+sip.instance="<urn:uuid:%b>";reg-id=1' % user
        uri = self.pick((b"sip:example.com", b"sip:example.com", b"sip:example.com", b"sip:up.example"))
        aor = b"<sip:%b@%b>" % (user, uri[4:])
        self.count += 1
        return whole(
            b"REGISTER %b SIP/2.0" % uri,
            [
                b"Via: SIP/2.0/UDP %b:%d;branch=z9hG4bKr%d;rport" % (*source, self.count),
                b"Max-Forwards: 70",
                b"From: %b;tag=r" % aor,
                b"To: " + aor,
                b"Call-ID: reg-" + source[0],
                b"CSeq: %d REGISTER" % self.count,
                b"Contact: <sip:%b@%b:%d>%b" % (user, *contact, params),
                b"Expires: " + self.pick((b"3600", b"600", b"0")),
            ],
        ), source

    def leave(self) -> tuple[bytes, Address]:
        """A user whose phones are all gone, so that calls arm."""
        user, self.count = self.pick(USERS), self.count + 1
        source, uri = (PEERS[2 * USERS.index(user)], 5060), self.pick((b"sip:example.com", b"sip:up.example"))
        lines = [
            b"Via: SIP/2.0/UDP %b:%d;branch=z9hG4bKl%d" % (*source, self.count),
            b"Max-Forwards: 70",
            b"From: <sip:%b@%b>;tag=l" % (user, uri[4:]),
            b"To: <sip:%b@%b>" % (user, uri[4:]),
            b"Call-ID: leave-%d" % self.count,
            b"CSeq: %d REGISTER" % self.count,
            b"Contact: *",
            b"Expires: 0",
        ]
        return whole(b"REGISTER %b SIP/2.0" % uri, lines), source

    def call(self) -> tuple[bytes, Address]:
        """An INVITE as phones send it, of somebody who wants to be recalled."""
        caller, callee = self.draw.sample(USERS, 2)
        source = (PEERS[2 * USERS.index(caller)], 5060)
        self.count += 1
        return whole(
            b"INVITE sip:%b@example.com SIP/2.0" % callee,
            [
                b"Via: SIP/2.0/UDP %b:%d;branch=z9hG4bKi%d;rport" % (*source, self.count),
                b"Max-Forwards: 70",
                b"From: <sip:%b@example.com>;tag=i%d" % (caller, self.count),
                b"To: <sip:%b@example.com>" % callee,
                b"Call-ID: call-%d" % self.count,
                b"CSeq: 1 INVITE",
                b"Contact: <sip:%b@%b:%d>" % (caller, *source),
                b"Expires: 3600",
            ],
        ), source

    # ---- what answers to something

    def go_on(self) -> tuple[bytes, Address]:
        return self.course.next() or self.request()

    def answer(self) -> tuple[bytes, Address]:
        if not self.requests:
            return self.request()
        at = self.draw.randrange(len(self.requests))
        data, source = self.requests[at]
        fields, status, lines = fields_of(data), self.draw.choice(STATUSES), list[bytes]()
        if data.startswith(b"REGISTER ") and status == 200:
            lines += [b"Contact: " + value for value in called(fields, b"contact", b"m")] + self.maybe(0.5, b"Expires: 600")
        lines += self.maybe(0.3, b"Contact: " + self.contact(source))
        lines += self.maybe(0.1, b"Retry-After: " + self.number(), b'WWW-Authenticate: Digest realm="x"', b"Require: 100rel")
        if status >= 200 and self.draw.random() < 0.8:
            del self.requests[at]
        answer = answer_to(fields, status, self.pick((b"a", b"b", b"")), lines)
        return answer, source if self.draw.random() < 0.95 else self.peer()

    def like(self, data: bytes, method: bytes, uri: bytes, more: Sequence[bytes], top_via: bool) -> bytes:
        """A request of the same call."""
        fields = fields_of(data)
        vias = called(fields, b"via", b"v")
        via = vias[0] if top_via and vias else b"SIP/2.0/UDP %b;branch=%b" % (self.pick(PEERS), self.unique(b"z9hG4bKw"))
        number = (b" ".join(called(fields, b"cseq")).split() or [b"1"])[0]
        lines = [b"Via: " + via, b"Max-Forwards: 70", *more]
        lines += [
            b"%b: %b" % (name, value) for name, value in fields if name in (b"from", b"f", b"to", b"t", b"call-id", b"i")
        ]
        return whole(b"%b %b SIP/2.0" % (method, uri), [*lines, b"CSeq: %b %b" % (number, method)])

    def acknowledge(self) -> tuple[bytes, Address]:
        if not self.finals:
            return self.request()
        data, source = self.draw.choice(self.finals)
        return self.like(data, b"ACK", self.uri(), self.route_lines(0.1), True), source

    def cancel(self) -> tuple[bytes, Address]:
        invites = [(data, source) for data, source in self.said if data.startswith(b"INVITE ")]
        if not invites:
            return self.request()
        data, source = self.draw.choice(invites)
        uri = data.split(b" ", 2)[1]
        return self.like(data, b"CANCEL", uri, self.maybe(0.2, b"Reason: SIP;cause=200"), True), source

    def within(self) -> tuple[bytes, Address]:
        """In a dialog that was seen, from either side, by the way that was recorded."""
        seen = [
            each
            for each in (*self.finals, *self.requests)
            if b"\r\nRecord-Route" in each[0] or b"\r\nroute" in each[0].lower()
        ]
        if not seen:
            return self.request()
        data, source = self.draw.choice(seen)
        routes = [b"Route: " + value for value in called(fields_of(data), b"record-route")]
        if self.draw.random() < 0.5:
            routes.reverse()
        method = self.pick(
            (b"BYE", b"BYE", b"ACK", b"INVITE", b"UPDATE", b"INFO", b"PRACK", b"NOTIFY", b"REFER", b"MESSAGE")
        )
        made = self.like(data, method, self.uri(), routes, False)
        if self.draw.random() < 0.5:  # from the callee
            made = (
                made.replace(b"\r\nfrom:", b"\r\nxx:", 1)
                .replace(b"\r\nto:", b"\r\nfrom:", 1)
                .replace(b"\r\nxx:", b"\r\nto:", 1)
            )
        return made, source

    def report(self) -> tuple[bytes, Address]:
        """A NOTIFY for a REFER of the server."""
        if not self.refers:
            return self.request()
        data = self.draw.choice(self.refers)
        fields = fields_of(data)
        sender, to = (called(fields, b"to") or [b""])[0] + b";tag=n", (called(fields, b"from") or [b""])[0]
        call_id, source = b", ".join(called(fields, b"call-id")), self.peer()
        body = b"SIP/2.0 %b Some\r\n" % self.pick((b"100", b"180", b"200", b"486", b"503", b"abc", self.number()))
        return whole(
            b"NOTIFY sip:%b SIP/2.0" % SERVER,
            [
                b"Via: SIP/2.0/UDP %b:%d;branch=%b" % (*source, self.unique(b"z9hG4bKn")),
                b"Max-Forwards: 70",
                b"From: " + sender,
                b"To: " + to,
                b"Call-ID: " + call_id,
                b"CSeq: %d NOTIFY" % self.count,
                b"Event: refer",
                b"Subscription-State: " + self.pick((b"active", b"terminated;reason=noresource")),
            ],
            body,
        ), source

    def repeat(self) -> tuple[bytes, Address]:
        return self.draw.choice(self.said) if self.said else self.request()

    def from_corpus(self) -> tuple[bytes, Address]:
        if self.draw.random() < 0.05:
            return self.pick(SEVERE), self.peer()
        if not self.corpus:
            return self.request()
        data = self.draw.choice(self.corpus)
        return (self.spoil(data) if self.draw.random() < 0.5 else data), self.peer()

    # ---- spoiled

    def spoiled(self) -> tuple[bytes, Address]:
        data, source = self.draw.choice(
            (self.request, self.answer, self.within, self.acknowledge, self.cancel, self.report)
        )()
        for _ in range(self.draw.choice((1, 1, 2, 4))):
            data = self.spoil(data)
        return data, source

    def spoil(self, data: bytes) -> bytes:
        draw, kind = self.draw, self.draw.randrange(9)
        at = draw.randint(0, len(data))
        if kind == 0:
            return data[:at] + draw.choice(PIECES) + data[at:]
        if kind == 1:
            return data[:at] + data[at + draw.choice((1, 1, 4, 40)) :]
        if kind == 2:
            return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        if kind == 3:
            return data[:at]
        if kind == 4:
            numbers = [*re.finditer(rb"\d+", data)]
            if numbers:
                found = draw.choice(numbers)
                return data[: found.start()] + self.number() + data[found.end() :]
        head, end, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        if kind == 5:
            lines.insert(other, lines[one])
        elif kind == 6:
            del lines[one]
        elif kind == 7:
            lines[one], lines[other] = lines[other], lines[one]
        else:
            name, colon, value = lines[one].partition(b": ")
            lines[one] = name + colon + b",".join([value] * draw.choice((2, 3, 30)))
        return b"\r\n".join(lines) + end + body
