"""What somebody sends to break a parser: whole messages at its limits, and pieces to put into others."""

from __future__ import annotations

from messages import build

HOSTILE = {
    "folds without end": build(extra=b"Subject: a" + b"\r\n a" * 21000 + b"\r\n"),
    "empty folds": build(extra=b"Subject: a" + b"\r\n " * 21000 + b"\r\n"),
    "folds before the value": build(extra=b"Subject:" + b"\r\n " * 21000 + b"a\r\n"),
    "commas": build(extra=b"Contact: " + b"," * 65000 + b"\r\n"),
    "commas and spaces": build(extra=b"Contact: " + b", " * 32000 + b"\r\n"),
    "open quotes": build(extra=b"Contact: " + b'",' * 32000 + b'"\r\n'),
    "open brackets": build(extra=b"Contact: " + b"<," * 32000 + b"\r\n"),
    "backslashes": build(extra=b'Contact: "' + b"\\" * 65000 + b"\r\n"),
    "brackets": build(extra=b"Contact: " + b"<>" * 32000 + b"\r\n"),
    "semicolons": build(extra=b"Contact: <sip:a@b>" + b";" * 65000 + b"\r\n"),
    "parameters": build(extra=b"Contact: <sip:a@b>" + b";a" * 32000 + b"\r\n"),
    "URI parameters": build(extra=b"Contact: <sip:a@b" + b";a" * 32000 + b">\r\n"),
    "comments": build(extra=b"Retry-After: 1" + b"(" * 65000 + b"\r\n"),
    "Via parameters": build(Via=b"SIP/2.0/UDP a" + b";a" * 32000),
    "Via without end": build(Via=b"SIP/2.0/UDP a" + b", SIP/2.0/UDP a" * 4000),
    "display name": build(From=b"a " * 32000 + b"<sip:a@b>"),
    "at signs": build(b"OPTIONS sip:" + b"@" * 65000 + b" SIP/2.0"),
    "escapes": build(b"OPTIONS sip:" + b"%40" * 21000 + b"@b SIP/2.0"),
    "spaces": build(b"OPTIONS" + b" " * 65000 + b"SIP/2.0"),
    "colons": build(b"OPTIONS sip:[" + b":" * 65000 + b"] SIP/2.0"),
    "lines of nothing": b"x\r\n" + b":\r\n" * 21000,
    "lines without colon": b"x\r\n" + b"a\r\n" * 21000,
    "empty names": build(extra=b" : a\r\n" * 10000),
    "carriage returns": b"\r" * 65535,
    "thousands of fields": build(extra=b"a:b\r\n" * 13000),
    "thousands of Vias": build(extra=b"v: SIP/2.0/UDP a\r\n" * 3500),
    "thousands of From": build(extra=b"f: <sip:a@b>\r\n" * 4000),
    "digits": build(CSeq=b"1" * 60000 + b" OPTIONS", Content_Length=b"1" * 4000),
}

PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n ", b" ", b"\t", b"\0", b"\xff", b"9" * 30, b"[::1]", b"tag=", b"?a=b", b"%41",
    *(b"%c" % letter for letter in b',;:=<>"\\@%[](*'), b"sip:", b"sips:", b"tel:", b"Via: ", b"v:", b"To: ", b"l: 3",
    b"SIP/2.0/UDP ", b"CSeq: 1 INVITE", b"Route:\r\n", b"Route: <sip:10.0.0.1:5060;lr>\r\n", b";tag=x", b";lr", b";rport",
    b";rport=abc", b";received=10.0.1.1", b";maddr=10.0.1.1", b";expires=0", b";q=1.1",
]  # fmt: skip
