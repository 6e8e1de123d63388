"""What a flood consists of, and the process that sends it."""

from __future__ import annotations

from typing import Any

from ..build import built
from .phones import DOMAIN

UNKNOWN, SILENT = "nobody", "silent"


def request(method: str, user: str, more: str = "") -> bytes:
    """A datagram of a flood; eight # are replaced by a counter."""
    return (
        f"{method} sip:{user}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.64.0.1:5060;branch=z9hG4bK########\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:f########@{DOMAIN}>;tag=########\r\nTo: <sip:{user}@{DOMAIN}>\r\n"
        f"Call-ID: ########\r\nCSeq: 1 {method}\r\nContact: <sip:f@127.64.0.1:5060>\r\n{more}Content-Length: 0\r\n\r\n"
    ).encode()


FLOODS = {
    "garbage": b"\x00\x01garbage ########" * 8,
    "OPTIONS": request("OPTIONS", "ping").replace(b"sip:ping@", b"sip:", 1),
    "stray responses": b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK########\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:b@b>;tag=2\r\nCall-ID: ########\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
    "REGISTER": request("REGISTER", "f########").replace(b"sip:f########@", b"sip:", 1),
    "INVITE to nobody": request("INVITE", UNKNOWN),
    "INVITE that arms": request("INVITE", UNKNOWN, "Expires: 3600\r\n"),
    "MESSAGE to a silent phone": request("MESSAGE", SILENT),
    "BYE of no dialog": request("BYE", SILENT),
}


def send(port: int, template: bytes, sources: int, rate: int, seconds: float, counted: Any) -> None:
    """The flood, in a process of its own."""
    sender = built("flood", "sender").Sender(port, template, sources)
    counted[0] = 1
    sender.run(rate, seconds)
    counted[0] = sender.sent
    sender.close()
