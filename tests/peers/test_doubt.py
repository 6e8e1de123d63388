"""What real phones say to the question whether a call goes on: an empty INFO with CSeq 0, in the dialog or in none."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator

import pytest
from net.sipwire import Sip, host_port, request

from peers.lab import DOMAIN, Lab
from peers.process import HERE, HOST, Typist

pytestmark = pytest.mark.peers

OFFER = (
    f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio {{}} RTP/AVP 0\r\n"  # nobody listens there
)


class Caller:
    """Somebody who talks to a phone directly."""

    def __init__(self, user: str, contact: str):
        self.contact, self.to = contact, f"<sip:{user}@{DOMAIN}>"
        self.socket = HERE.socket(socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.socket.settimeout(0.2)
        self.me = f"{HOST}:{self.socket.getsockname()[1]}"

    def say(self, method: str, number: int, body: str = "") -> None:
        lines = [
            ("Via", f"SIP/2.0/UDP {self.me};branch=z9hG4bK{random.getrandbits(64):x};rport"), ("Max-Forwards", "70"),
            ("From", f"<sip:caller@{DOMAIN}>;tag=caller"), ("To", self.to), ("Call-ID", f"call-{self.me}"),
            ("CSeq", f"{number} {method}"), ("Contact", f"<sip:caller@{self.me}>"),
        ]  # fmt: skip
        lines += [("Content-Type", "application/sdp")] if body else []
        self.socket.sendto(request(method, self.contact, lines, body.encode()), host_port(self.contact))

    def heard(self, seconds: float = 10) -> Iterator[Sip]:
        """Answers as they come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                message = Sip(self.socket.recv(65535))
            except TimeoutError:
                continue
            if message.status:
                yield message

    def ask(self, method: str, number: int) -> int:
        """The answer's status."""
        self.say(method, number)
        return next(answer.status for answer in self.heard() if answer.first("cseq") == f"{number} {method}")


@pytest.mark.parametrize("make", ["baresip", "linphone", "twinkle"])
def test_a_phone_says_481_for_a_call_that_is_over_and_nothing_like_it_in_one(lab: Lab, make: str) -> None:
    server = lab.sipfast()
    phone = getattr(lab, make)("bob", server.port)
    (row,) = server.bindings()
    caller = Caller("bob", str(row["contact"]))
    caller.say("INVITE", 1, OFFER.format(HERE.free_port()))
    answered = ""
    for answer in caller.heard():
        if answer.status == 180 and isinstance(phone, Typist):
            phone.tell("answer")
        if answer.status >= 200:
            assert answer.status == 200
            answered = answer.first("to")
            break
    caller.to = answered
    caller.say("ACK", 1)
    time.sleep(0.2)
    assert caller.ask("INFO", 0) in (200, 500)  # RFC 3261 §12.2.2: out of order, in a dialog that there is
    assert caller.ask("BYE", 2) == 200, "it goes on after the question"
    assert caller.ask("INFO", 0) == 481
    caller.to += "other"
    assert caller.ask("INFO", 0) == 481
