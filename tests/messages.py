"""Messages for the tests of the parser, and a look at everything that a message gives."""

import re
from pathlib import Path

from sipfast._parser import parse, parse_address, parse_via
from sipfast.errors import ParseError

SOURCE = Path(__file__).parent.parent / "sipfast"

# Header names as the parser lists them
KNOWN = dict(re.findall(r'"([a-z-]{2,})": (H_\w+)', (SOURCE / "_names.pyx").read_text()))
COMPACT = {
    "a": None, "b": "Referred-By", "c": "Content-Type", "d": None, "e": "Content-Encoding", "f": "From", "g": None,
    "h": None, "i": "Call-ID", "j": None, "k": "Supported", "l": "Content-Length", "m": "Contact", "n": None,
    "o": "Event", "p": None, "q": None, "r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via",
    "w": None, "x": "Session-Expires", "y": None, "z": None,
}  # fmt: skip

BASE = {
    "Via": b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds",
    "Max-Forwards": b"70",
    "From": b"Alice <sip:alice@example.com>;tag=1928301774",
    "To": b"Bob <sip:bob@example.com>",
    "Call-ID": b"a84b4c76e66710@192.0.2.1",
    "CSeq": b"314159 OPTIONS",
}
REQUEST_LINE = b"OPTIONS sip:bob@example.com SIP/2.0"
STATUS_LINE = b"SIP/2.0 200 OK"


def build(start=REQUEST_LINE, *, extra=b"", body=b"", **changes):
    """A message of the mandatory fields; `Call_ID=None` leaves one out, `extra` is whole lines."""
    fields = BASE | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [start] + [name.encode() + b": " + value for name, value in fields.items() if value is not None]
    return b"\r\n".join(lines) + b"\r\n" + extra + b"\r\n" + body


def well_formed(data):
    message = parse(data)
    assert (message.error, message.error_reason) == (0, "")
    return message


def fields_only(lines):
    """A header without the rest, for tests of names."""
    return parse(b"no start line\r\n" + lines + b"\r\n")


def touch_all(message):
    """Use every accessor; each must come back, with nothing that is not in the message."""
    data = message.data
    for text in (message.uri, message.body, message.call_id, message.from_tag, message.to_tag, message.branch):
        assert text in data
    assert message.method.encode() in data
    assert message.cseq[0] < 2**31
    assert isinstance(message.reason + message.error_reason, str)
    assert isinstance(message.from_aor + message.to_aor + message.request_aor, bytes)
    assert 0 <= message.error_offset <= len(data)
    for name, value in message.headers:
        assert name in data
        assert b"\n" not in value
    for name in ("Via", "Contact", "Route", "Supported", "X-Unknown"):
        for value in message.values(name):
            for read in (parse_via, parse_address):
                try:
                    read(value)
                except ParseError as error:
                    assert error.status == 400
    for name in ("Expires", "Retry-After", "Session-Expires"):
        assert -2 <= message.seconds(name) < 2**32
    message.lists("Supported", "timer")


REQUEST = (
    b"INVITE sip:bob@biloxi.example.com;transport=udp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP bigbox3.site3.atlanta.example.com;branch=z9hG4bK77ef4c2312983.1\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bKnashds8 ;received=192.0.2.1\r\n"
    b"Max-Forwards: 69\r\n"
    b'To: "Bob" <sip:bob@biloxi.example.com>\r\n'
    b"From: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.example.com>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\n"
)
