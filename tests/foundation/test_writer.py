"""The writer: byte-exact tables, the parser as its counterpart, and naive models."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfast._edits import edited, with_received, without_first_route, without_top_via
from sipfast._flow import Flow
from sipfast._parser import parse
from sipfast._writer import ack, cancel, reason_phrase, request, response, tag_of

PEER = Flow("192.0.2.4", 5062)
PEER6 = Flow("2001:db8::9:1", 5070)


def wire(*lines, body=b""):
    return "\r\n".join([*lines, "", ""]).encode() + body


def lines_of(data):
    """Header lines with their CRLF, folds included."""
    head = data[: data.index(b"\r\n\r\n") + 2]
    return re.findall(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", head)


def options(*vias, to="<sip:b@example.com>", first="OPTIONS sip:b@example.com SIP/2.0"):
    method = first.split(" ")[0]
    return wire(first, *vias, "From: <sip:a@example.com>;tag=1", f"To: {to}", "Call-ID: c1", f"CSeq: 7 {method}")


# The whole of it, byte by byte

INVITE = wire(
    "INVITE sip:bob@biloxi.example SIP/2.0",
    "Max-Forwards: 69",
    "v: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776;rport",
    'f : "Alice, <of> \\"Atlanta\\"" <sip:alice@atlanta.example>',
    " ;tag=1928301774",
    "Record-Route: <sip:p2.example;lr>,",
    "\t<sip:p1.example;lr>",
    "Timestamp: 54.2  ",
    "t:  Bob  <sip:bob@biloxi.example>  ",
    "Via: SIP/2.0/TCP first.example:5061;branch=z9hG4bK1",
    "i: a84b4c76e66710@pc33",
    "CSeq:   00314159   INVITE",
    "RECORD-ROUTE: <sip:p0.example;lr>",
    "Contact: <sip:alice@pc33.atlanta.example>",
    "Content-Length: 4",
    body=b"v=0\n",
)
VIAS = (
    "v: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776;rport=5062;received=192.0.2.4",
    "Via: SIP/2.0/TCP first.example:5061;branch=z9hG4bK1",
)
RECORD_ROUTES = (
    "Record-Route: <sip:p2.example;lr>,",
    "\t<sip:p1.example;lr>",
    "RECORD-ROUTE: <sip:p0.example;lr>",
)
SENDER = ('f : "Alice, <of> \\"Atlanta\\"" <sip:alice@atlanta.example>', " ;tag=1928301774")
IDS = ("i: a84b4c76e66710@pc33", "CSeq:   00314159   INVITE")

RESPONSES = {
    "100 copies Timestamp and needs no tag": (
        (100,),
        {},
        wire(
            "SIP/2.0 100 Trying",
            *VIAS,
            *SENDER,
            "t:  Bob  <sip:bob@biloxi.example>  ",
            *IDS,
            "Timestamp: 54.2  ",
            "Content-Length: 0",
        ),
    ),
    "180 copies Record-Route": (
        (180,),
        {"to_tag": b"x9"},
        wire(
            "SIP/2.0 180 Ringing",
            *VIAS,
            *RECORD_ROUTES,
            *SENDER,
            "t:  Bob  <sip:bob@biloxi.example>;tag=x9  ",
            *IDS,
            "Content-Length: 0",
        ),
    ),
    "200 with headers and body": (
        (200,),
        {"to_tag": b"x9", "extra": [("Contact", b"<sip:bob@192.0.2.9>"), ("X-Note", b"")], "body": b"\x00\r\n\xff"},
        wire(
            "SIP/2.0 200 OK",
            *VIAS,
            *RECORD_ROUTES,
            *SENDER,
            "t:  Bob  <sip:bob@biloxi.example>;tag=x9  ",
            *IDS,
            "Contact: <sip:bob@192.0.2.9>",
            "X-Note: ",
            "Content-Length: 4",
            body=b"\x00\r\n\xff",
        ),
    ),
    "480 with a phrase of its own": (
        (480,),
        {"to_tag": b"x9", "reason": "Später erreichbar"},
        wire(
            "SIP/2.0 480 Später erreichbar",
            *VIAS,
            *SENDER,
            "t:  Bob  <sip:bob@biloxi.example>;tag=x9  ",
            *IDS,
            "Content-Length: 0",
        ),
    ),
}


@pytest.mark.parametrize(("arguments", "options", "expected"), RESPONSES.values(), ids=RESPONSES)
def test_a_response_byte_by_byte(arguments, options, expected):
    message = parse(INVITE)
    assert message.error == 0
    assert response(message, *arguments, PEER, **options) == expected


@pytest.mark.parametrize(("status", "copied"), [(100, 0), (101, 2), (183, 2), (200, 2), (299, 2), (300, 0), (486, 0)])
def test_record_route_goes_into_what_creates_a_dialog(status, copied):
    """RFC 3261 §12.1.1; a 100 creates none."""
    names = [line[:12].lower() for line in lines_of(response(parse(INVITE), status, PEER))]
    assert names.count(b"record-route") == copied


def test_record_route_stays_out_of_answers_to_other_methods():
    bye = INVITE.replace(b"INVITE", b"BYE")
    assert b"p1.example" not in response(parse(bye), 200, PEER)


# Via, as RFC 3261 §18.2.1 and RFC 3581 §4 have it: (as sent, peer, as answered)

BOTH = ";rport=5062;received=192.0.2.4"
VIA_CASES = {
    "sent-by is the source": ("Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1", PEER, None),
    "another port does not count": ("Via: SIP/2.0/UDP 192.0.2.4:9;branch=z9hG4bK1", PEER, None),
    "a name": (
        "Via: SIP/2.0/UDP bobspc.biloxi.com:5060",
        PEER,
        "Via: SIP/2.0/UDP bobspc.biloxi.com:5060;received=192.0.2.4",
    ),
    "another address": (
        "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1 ",
        PEER,
        "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.4 ",
    ),
    "an address of which the source is a prefix": (
        "Via: SIP/2.0/UDP 192.0.2.40",
        PEER,
        "Via: SIP/2.0/UDP 192.0.2.40;received=192.0.2.4",
    ),
    "rport, and sent-by is the source": (
        "Via: SIP/2.0/UDP 192.0.2.4;rport",
        PEER,
        "Via: SIP/2.0/UDP 192.0.2.4;rport=5062;received=192.0.2.4",
    ),
    "rport in the middle, upper case": (
        "Via: SIP/2.0/UDP 10.1.1.1:4540;RPORT ; branch=z9hG4bKkjshdyff",
        PEER,
        "Via: SIP/2.0/UDP 10.1.1.1:4540;RPORT=5062 ; branch=z9hG4bKkjshdyff;received=192.0.2.4",
    ),
    "values that the client claims": (
        "Via: SIP/2.0/UDP 192.0.2.4;received=198.51.100.1;rport=53;branch=z9hG4bK1",
        PEER,
        "Via: SIP/2.0/UDP 192.0.2.4;received=192.0.2.4;rport=5062;branch=z9hG4bK1",
    ),
    "received claimed, rport asked for": (
        "Via: SIP/2.0/UDP 192.0.2.4;rport;received=198.51.100.1",
        PEER,
        "Via: SIP/2.0/UDP 192.0.2.4;rport=5062;received=192.0.2.4",
    ),
    "several in one line": (
        "Via: SIP/2.0/UDP 10.0.0.1;rport, SIP/2.0/UDP 10.0.0.2;rport,SIP/2.0/TLS x",
        PEER,
        f"Via: SIP/2.0/UDP 10.0.0.1{BOTH}, SIP/2.0/UDP 10.0.0.2;rport,SIP/2.0/TLS x",
    ),
    "folded, spaces wherever they may be": (
        'v :\r\n SIP / 2.0 / UDP\r\n\t10.0.0.1 : 99\r\n ; rport\r\n ; x = "a,b;rport" ,\r\n SIP/2.0/UDP y',
        PEER,
        'v :\r\n SIP / 2.0 / UDP\r\n\t10.0.0.1 : 99\r\n ; rport=5062\r\n ; x = "a,b;rport";received=192.0.2.4 ,'
        "\r\n SIP/2.0/UDP y",
    ),
    "a quoted comma and a quoted rport": (
        'Via: SIP/2.0/UDP 10.0.0.1;x=",;rport=1";branch=z9hG4bK1,SIP/2.0/UDP y',
        PEER,
        'Via: SIP/2.0/UDP 10.0.0.1;x=",;rport=1";branch=z9hG4bK1;received=192.0.2.4,SIP/2.0/UDP y',
    ),
    "IPv6 in another spelling is the source": (
        "Via: SIP/2.0/UDP [2001:DB8:0:0:0:0:9:1]:5060;branch=z9hG4bK1",
        PEER6,
        None,
    ),
    "IPv6, canonical": ("Via: SIP/2.0/TCP [2001:db8::9:1]", PEER6, None),
    "another IPv6": (
        "Via: SIP/2.0/UDP [2001:db8::9:2];branch=z9hG4bK1",
        PEER6,
        "Via: SIP/2.0/UDP [2001:db8::9:2];branch=z9hG4bK1;received=2001:db8::9:1",
    ),
    "IPv6 with rport": (
        "Via: SIP/2.0/UDP [2001:db8::9:1];rport;branch=z9hG4bK1",
        PEER6,
        "Via: SIP/2.0/UDP [2001:db8::9:1];rport=5070;branch=z9hG4bK1;received=2001:db8::9:1",
    ),
    "IPv4 sent-by, IPv6 source": (
        "Via: SIP/2.0/UDP 192.0.2.4",
        PEER6,
        "Via: SIP/2.0/UDP 192.0.2.4;received=2001:db8::9:1",
    ),
    "IPv6 sent-by, IPv4 source": (
        "Via: SIP/2.0/UDP [2001:db8::1]",
        PEER,
        "Via: SIP/2.0/UDP [2001:db8::1];received=192.0.2.4",
    ),
    "the longest that can be added": (
        "Via: SIP/2.0/UDP a;rport",
        Flow("2001:1db8:2db8:3db8:4db8:5db8:6db8:7db8", 65535),
        "Via: SIP/2.0/UDP a;rport=65535;received=2001:1db8:2db8:3db8:4db8:5db8:6db8:7db8",
    ),
}


@pytest.mark.parametrize(("sent", "peer", "answered"), VIA_CASES.values(), ids=VIA_CASES)
def test_the_topmost_via_says_where_the_request_came_from(sent, peer, answered):
    answered = answered or sent
    below = "Via: SIP/2.0/UDP below;rport"
    message = parse(options(sent, below))
    assert message.error == 0
    expected = [f"{answered}\r\n".encode(), f"{below}\r\n".encode()]
    assert lines_of(response(message, 200, peer))[1:3] == expected
    # A request to be forwarded says the same, and all else is as it was.
    assert with_received(message, peer) == options(answered, below)


TO_CASES = {
    "name-addr": ("Bob <sip:b@x>", "Bob <sip:b@x>;tag=T"),
    "addr-spec": ("sip:b@x", "sip:b@x;tag=T"),
    "other parameters": ('<sip:b@x>;q="a;tag=1"', '<sip:b@x>;q="a;tag=1";tag=T'),
    "a tag of the URI is none of To": ("<sip:b@x;tag=uri>", "<sip:b@x;tag=uri>;tag=T"),
    "a tag already": ("<sip:b@x>;tag=old", "<sip:b@x>;tag=old"),
    "a tag already, folded": ("<sip:b@x>\r\n ; TAG = old", "<sip:b@x>\r\n ; TAG = old"),
    "folded without tag": ('"B"\r\n <sip:b@x>', '"B"\r\n <sip:b@x>;tag=T'),
    "tel": ("<tel:+1-201-555-0123>", "<tel:+1-201-555-0123>;tag=T"),
}


@pytest.mark.parametrize(("sent", "answered"), TO_CASES.values(), ids=TO_CASES)
def test_to_gets_a_tag_where_it_has_none(sent, answered):
    message = parse(options("Via: SIP/2.0/UDP 192.0.2.4", to=sent))
    assert message.error == 0
    assert lines_of(response(message, 200, PEER, to_tag=b"T"))[3] == f"To: {answered}\r\n".encode()
    assert lines_of(response(message, 200, PEER))[3] == f"To: {sent}\r\n".encode()


# Requests that the parser refuses are answered as far as they can be read.

VIA = "Via: SIP/2.0/UDP 192.0.2.4;rport;branch=z9hG4bK1"
VIA_BACK = b"Via: SIP/2.0/UDP 192.0.2.4;rport=5062;branch=z9hG4bK1;received=192.0.2.4\r\n"
FROM, TO, CALL_ID, CSEQ = "From: <sip:a@x>;tag=1", "To: <sip:b@x>", "Call-ID: c1", "CSeq: 7 OPTIONS"
TO_BACK = b"To: <sip:b@x>;tag=T\r\n"
START = "OPTIONS sip:b@x SIP/2.0"
BROKEN = {
    "no CSeq": (wire(START, VIA, FROM, TO, CALL_ID), [VIA_BACK, FROM, TO_BACK, CALL_ID]),
    "no To": (wire(START, VIA, FROM, CALL_ID, CSEQ), [VIA_BACK, FROM, CALL_ID, CSEQ]),
    "an unreadable To is sent back as it is": (
        wire(START, VIA, FROM, 'To: "Bob <sip:b@x>', CALL_ID, CSEQ),
        [VIA_BACK, FROM, 'To: "Bob <sip:b@x>', CALL_ID, CSEQ],
    ),
    "two From": (
        wire(START, VIA, FROM, "From: <sip:other@x>", TO, CALL_ID, CSEQ),
        [VIA_BACK, FROM, TO_BACK, CALL_ID, CSEQ],
    ),
    "another version": (
        wire("OPTIONS sip:b@x SIP/7.0", VIA, FROM, TO, CALL_ID, CSEQ),
        [VIA_BACK, FROM, TO_BACK, CALL_ID, CSEQ],
    ),
    "a line that is no field": (
        wire(START, VIA, "nonsense", FROM, TO, CALL_ID, CSEQ),
        [VIA_BACK, FROM, TO_BACK, CALL_ID, CSEQ],
    ),
    "no end of the header": (
        wire(START, VIA, FROM, TO, CALL_ID, CSEQ)[:-2],
        [VIA_BACK, FROM, TO_BACK, CALL_ID, CSEQ],
    ),
    "an unreadable Via is sent back as it is": (
        wire(START, "Via: SIP/2.0/UDP ;;", FROM, TO, CALL_ID, CSEQ),
        ["Via: SIP/2.0/UDP ;;", FROM, TO_BACK, CALL_ID, CSEQ],
    ),
    "nothing": (wire(START), []),
}


@pytest.mark.parametrize(("data", "copied"), BROKEN.values(), ids=BROKEN)
def test_a_malformed_request_is_answered_with_what_can_be_read_of_it(data, copied):
    message = parse(data)
    assert message.error
    expected = [line if isinstance(line, bytes) else f"{line}\r\n".encode() for line in copied]
    assert response(message, 400, PEER, to_tag=b"T") == b"".join(
        [b"SIP/2.0 400 Bad Request\r\n", *expected, b"Content-Length: 0\r\n\r\n"]
    )


def test_lines_that_end_in_a_lone_lf_are_answered_in_lines_that_end_in_crlf():
    message = parse(options(VIA).replace(b"\r\n", b"\n"))
    answer = response(message, 200, PEER, to_tag=b"T")
    assert b"\n" not in answer.replace(b"\r\n", b"")
    assert lines_of(answer)[1] == VIA_BACK


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 30))
def test_no_garbage_makes_the_writer_fail(noise, at, cut):
    data = INVITE[:at] + noise + INVITE[at + cut :]
    message = parse(data)
    answer = response(message, 400, PEER6, to_tag=b"tag")
    assert answer.startswith(b"SIP/2.0 400 Bad Request\r\n")
    assert answer.endswith(b"Content-Length: 0\r\n\r\n")
    assert len(tag_of(message, 1)) == 16
    with_received(message, PEER6)
    without_top_via(message)
    without_first_route(message)


# Reader and writer

REQUESTS = {
    "bare": (("OPTIONS", b"sip:x", []), "OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"),
    "REFER": (
        (
            "REFER",
            b"sip:a@192.0.2.4:5060;transport=udp",
            [
                ("Via", b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
                ("Max-Forwards", b"70"),
                ("From", b"<sip:b@example.com>;tag=1"),
                ("To", b"<sip:a@example.com>"),
                ("Call-ID", b"c1"),
                ("CSeq", b"1 REFER"),
                ("Contact", b"<sip:192.0.2.1>"),
                ("Refer-To", b"<sip:b@example.com>"),
            ],
        ),
        "REFER sip:a@192.0.2.4:5060;transport=udp SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:b@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: c1\r\n"
        "CSeq: 1 REFER\r\nContact: <sip:192.0.2.1>\r\nRefer-To: <sip:b@example.com>\r\nContent-Length: 0\r\n\r\n",
    ),
    "a method of its own, and a body": (
        ("DANCE!", b"sip:x", [("X", "ä".encode()), ("Content-Type", b"text/plain")], b"\r\nhi\0"),
        "DANCE! sip:x SIP/2.0\r\nX: ä\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n\r\nhi\0",
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_written_as_it_is_read(arguments, expected):
    method, uri, headers, *body = arguments
    data = request(*arguments)
    assert data == expected.encode()
    message = parse(data)
    assert (message.method, message.uri, message.body) == (method, uri, body[0] if body else b"")
    assert message.headers[:-1] == [(name.encode(), value) for name, value in headers]


REFUSED = {
    "CRLF in a value": ("X", b"sip:x", [("A", b"1\r\nB: 2")]),
    "a fold in a value": ("X", b"sip:x", [("A", b"1\r\n 2")]),
    "LF in a value": ("X", b"sip:x", [("A", b"1\n")]),
    "CR in a value": ("X", b"sip:x", [("A", b"\r1")]),
    "CR in a name": ("X", b"sip:x", [("A\r", b"1")]),
    "LF in a name": ("X", b"sip:x", [("A\nB", b"1")]),
    "a colon in a name": ("X", b"sip:x", [("A:", b"1")]),
    "no name": ("X", b"sip:x", [("", b"1")]),
    "a name that is not ASCII": ("X", b"sip:x", [("Ä", b"1")]),
    "no method": ("", b"sip:x", []),
    "a space in the method": ("X Y", b"sip:x", []),
    "LF in the method": ("X\n", b"sip:x", []),
    "no URI": ("X", b"", []),
    "a space in the URI": ("X", b"sip:x y", []),
    "LF in the URI": ("X", b"sip:x\n", []),
    "a Content-Length of its own": ("X", b"sip:x", [("content-length", b"3")]),
    "the same in compact form": ("X", b"sip:x", [("l", b"3")]),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_a_request_that_would_not_be_read_back_is_refused(arguments):
    with pytest.raises(ValueError):
        request(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"extra": [("A", b"1\r\nB: 2")]},
        {"extra": [("A\r\nB", b"1")]},
        {"reason": "OK\r\nA: 1"},
        {"to_tag": b"a\r\nA: 1"},
        {"to_tag": b"a;b"},
    ],
    ids=["value", "name", "reason", "line break in the tag", "tag"],
)
def test_a_response_that_would_not_be_read_back_is_refused(arguments):
    with pytest.raises(ValueError):
        response(parse(INVITE), 200, PEER, **arguments)


@pytest.mark.parametrize("status", [-1, 0, 99, 700, 2**31 - 1])
def test_what_is_no_status_code_is_refused(status):
    with pytest.raises(ValueError, match="status"):
        response(parse(INVITE), status, PEER)
    with pytest.raises(ValueError, match="status"):
        reason_phrase(status)


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (100, "Trying"),
        (180, "Ringing"),
        (183, "Session Progress"),
        (200, "OK"),
        (202, "Accepted"),
        (302, "Moved Temporarily"),
        (408, "Request Timeout"),
        (423, "Interval Too Brief"),
        (430, "Flow Failed"),
        (480, "Temporarily Unavailable"),
        (481, "Call/Transaction Does Not Exist"),
        (487, "Request Terminated"),
        (500, "Server Internal Error"),
        (504, "Server Time-out"),
        (603, "Decline"),
        # RFC 3261 §7.2 for those that nobody registered
        (199 - 2, "Provisional"),
        (299, "Success"),
        (399, "Redirection"),
        (499, "Client Error"),
        (599, "Server Error"),
        (699, "Global Failure"),
    ],
)
def test_reason_phrases(status, phrase):
    assert reason_phrase(status) == phrase
    assert response(parse(INVITE), status, PEER).startswith(f"SIP/2.0 {status} {phrase}\r\n".encode())


# ACK and CANCEL

RFC_INVITE = wire(
    "INVITE sip:bob@biloxi.com SIP/2.0",
    "Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKkjshdyff",
    "To: Bob <sip:bob@biloxi.com>",
    "From: Alice <sip:alice@atlanta.com>;tag=88sja8x",
    "Max-Forwards: 70",
    "Call-ID: 987asjd97y7atg",
    "CSeq: 986759 INVITE",
)


def test_the_ack_of_rfc_3261_17_1_1_3():
    final = parse(response(parse(RFC_INVITE), 486, PEER, to_tag=b"99sa0xk"))
    expected = {
        b"Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKkjshdyff\r\n",
        b"To: Bob <sip:bob@biloxi.com>;tag=99sa0xk\r\n",
        b"From: Alice <sip:alice@atlanta.com>;tag=88sja8x\r\n",
        b"Max-Forwards: 70\r\n",
        b"Call-ID: 987asjd97y7atg\r\n",
        b"CSeq: 986759 ACK\r\n",
        b"Content-Length: 0\r\n",
    }
    start, *headers = lines_of(ack(parse(RFC_INVITE), final))
    assert start == b"ACK sip:bob@biloxi.com SIP/2.0\r\n"
    assert Counter(headers) == Counter(expected)


FORWARDED = wire(
    "INVITE sip:bob@192.0.2.9;x=%41 SIP/2.0",
    "Via: SIP/2.0/UDP us;branch=z9hG4bKsf1,",
    " SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK776",
    "Via: SIP/2.0/TCP first.example",
    "Max-Forwards: 9",
    "Route: <sip:p1.example;lr>,",
    " <sip:p2.example;lr>",
    "f: <sip:a@x>",
    "  ;tag=1",
    "To: <sip:b@x>",
    "i: c1",
    "route: <sip:p3.example;lr>",
    "CSeq: 4294 INVITE",
    "Require: foo",
    "Proxy-Require: bar",
    "Content-Type: application/sdp",
    "Content-Length: 2",
    body=b"v=",
)
FINAL = wire(
    "SIP/2.0 404 Not Found",
    "Via: SIP/2.0/UDP us;branch=z9hG4bKsf1",
    "From: <sip:a@x>;tag=1",
    "t: <sip:b@x>;tag=remote",
    "Call-ID: c1",
    "CSeq: 4294 INVITE",
)


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_ack_and_cancel_of_a_forwarded_invite_byte_by_byte(method):
    """RFC 3261 §17.1.1.3 and §9.1: one Via, the Route as sent, To of the response for ACK, no Require, no body."""
    made = ack(parse(FORWARDED), parse(FINAL)) if method == "ACK" else cancel(parse(FORWARDED))
    assert made == wire(
        f"{method} sip:bob@192.0.2.9;x=%41 SIP/2.0",
        "Via: SIP/2.0/UDP us;branch=z9hG4bKsf1",
        "Max-Forwards: 70",
        "Route: <sip:p1.example;lr>,",
        " <sip:p2.example;lr>",
        "route: <sip:p3.example;lr>",
        "f: <sip:a@x>",
        "  ;tag=1",
        "t: <sip:b@x>;tag=remote" if method == "ACK" else "To: <sip:b@x>",
        "i: c1",
        f"CSeq: 4294 {method}",
        "Content-Length: 0",
    )
    assert parse(made).error == 0


@pytest.mark.parametrize("data", [options(VIA), FINAL, wire("INVITE sip:x SIP/2.0")], ids=["OPTIONS", "404", "broken"])
def test_only_an_invite_is_acknowledged_or_cancelled(data):
    with pytest.raises(ValueError, match="INVITE"):
        ack(parse(data), parse(FINAL))
    with pytest.raises(ValueError, match="INVITE"):
        cancel(parse(data))


# Edits

MESSAGE = parse(options(VIA) + b"padding")  # without Content-Length a datagram's body goes to its end


def test_edits_at_the_ends_and_in_any_order():
    data = options(VIA)
    message = parse(data)
    size = len(data)
    assert edited(message, []) == data
    assert edited(message, [(0, size, b"")]) == b""
    assert edited(message, [(size, size, b"end"), (0, 7, b"REFER"), (0, 0, b"<")]) == b"REFER<" + data[7:] + b"end"
    assert edited(message, [(4, 4, b"a"), (4, 4, b"b"), (2, 4, b"c"), (4, 4, b"d")]) == b"OPcabd" + data[4:]


def test_padding_behind_content_length_is_not_forwarded():
    data = options(VIA, "Content-Length: 0")
    assert edited(parse(data + b"padding"), [(0, 0, b"")]) == data


@pytest.mark.parametrize(
    "edits",
    [
        [(3, 2, b"")],
        [(-1, 2, b"")],
        [(0, 10_000, b"")],
        [(10_000, 10_000, b"x")],
    ],
)
def test_edits_of_what_is_not_there_are_refused(edits):
    with pytest.raises(ValueError):
        edited(MESSAGE, edits)


@pytest.mark.parametrize(
    ("edits", "joined"),
    [
        ([(2, 5, b"a"), (4, 6, b"b")], (2, 6, b"ab")),
        ([(4, 6, b"b"), (2, 5, b"a")], (2, 6, b"ab")),
        ([(2, 5, b"a"), (2, 5, b"b")], (2, 5, b"ab")),
        ([(2, 9, b"a"), (3, 3, b"x")], (2, 9, b"ax")),
        ([(3, 3, b"x"), (2, 9, b"a")], (2, 9, b"ax")),
        ([(0, 9, b""), (3, 4, b"c"), (4, 5, b"d")], (0, 9, b"cd")),
        ([(3, 4, b"c"), (8, 10, b"e"), (5, 7, b"d"), (2, 9, b"a")], (2, 10, b"acde")),
        ([(2, 4, b"a"), (4, 6, b"b")], (2, 6, b"ab")),
    ],
)
def test_edits_that_meet_become_one(edits, joined):
    """No two of them overlap, whatever is asked for: what either removes is gone, and all texts stand there."""
    assert edited(MESSAGE, edits) == edited(MESSAGE, [joined])


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.binary(max_size=3)), max_size=80))
def test_any_edits_remove_the_bytes_that_they_name(spans):
    edits = [(min(a, b), max(a, b), text) for a, b, text in spans]
    removed = {at for a, b, _ in edits for at in range(a, b)}
    kept = bytes(byte for at, byte in enumerate(MESSAGE.data) if at not in removed)
    assert edited(MESSAGE, [(a, b, b"") for a, b, _ in edits]) == kept
    assert len(edited(MESSAGE, edits)) == len(kept) + sum(len(text) for *_, text in edits)


def test_there_is_room_for_any_number_of_edits():
    message = parse(options(VIA, "Subject: " + "s" * 4_000))
    edits = [(at, at + 1, b"x") for at in range(0, 4_000, 2)]
    made = b"".join(b"x" + message.data[at + 1 : at + 2] for at in range(0, 4_000, 2))
    assert edited(message, edits) == edited(message, edits[::-1]) == made + message.data[4_000:]


@st.composite
def disjoint_edits(draw):
    """Edits that do not overlap, with what a naive hand makes of them: from the back, one after the other."""
    size = len(MESSAGE.data)
    places = sorted(draw(st.lists(st.integers(0, size), max_size=32)))
    places = places[: len(places) // 2 * 2]
    edits = [(a, b, draw(st.binary(max_size=12))) for a, b in zip(places[::2], places[1::2], strict=True)]
    edits += [(a, a, draw(st.binary(max_size=12))) for a in draw(st.lists(st.sampled_from([*places, 0, size]), max_size=9))]
    edits = draw(st.permutations(edits))
    expected = b""
    position = 0
    for start, end, text in sorted(edits, key=lambda edit: edit[0]):
        expected += MESSAGE.data[position:start] + text
        position = max(position, end)
    return edits, expected + MESSAGE.data[position:]


@given(disjoint_edits())
def test_edits_against_a_naive_model(case):
    edits, expected = case
    assert edited(MESSAGE, edits) == expected


# Dropping the topmost value: (header lines before, header lines after)

DROPS = {
    "one line each": (["{}: {}1", "{}: {}2"], ["{}: {}2"]),
    "the only one": (["{}: {}1"], []),
    "the only one, folded": (["{}:", "  {}1", "Note: y"], ["Note: y"]),
    "several in one line": (["{}: {}1, {}2,{}3"], ["{}: {}2,{}3"]),
    "several in one line and more below": (["{}: {}1,{}2", "{}: {}3"], ["{}: {}2", "{}: {}3"]),
    "folded behind the comma": (["{}: {}1,", " {}2"], ["{}: {}2"]),
    "folded before the comma": (["{}: {}1", "\t,{}2", "Note: y"], ["{}: {}2", "Note: y"]),
    "folded at the start": (["{} :", " {}1 , {}2"], ["{} :", " {}2"]),
    "other lines between": (["Note: y", "{}: {}1", "Z: w", "{}: {}2"], ["Note: y", "Z: w", "{}: {}2"]),
}


def filled(lines, name, value):
    """Every first {} of a line that has a name is the name; the others are values."""
    done = []
    for line in lines:
        named = line.replace("{}", name, 1) if line.startswith("{}") else line
        done.append(named.replace("{}", value))
    return done


@pytest.mark.parametrize("value", ["SIP/2.0/UDP a;branch=z9hG4bK", 'SIP/2.0/TCP [::1]:5061;q="a,\\",b";branch=z'])
@pytest.mark.parametrize("name", ["Via", "v", "VIA"])
@pytest.mark.parametrize(("before", "after"), DROPS.values(), ids=DROPS)
def test_the_topmost_via_of_a_response_is_dropped(before, after, name, value):
    def answer(lines):
        return wire("SIP/2.0 200 OK", "Note: y", *filled(lines, name, value), FROM, TO, CALL_ID, CSEQ, body=b"body")

    message = parse(answer(before))
    assert message.error == 0
    assert without_top_via(message) == answer(after)


@pytest.mark.parametrize("value", ["<sip:p.example;lr>;n=", '"a, \\"b\\" <c>" <sip:u,v@p.example;x=,;lr>;n='])
@pytest.mark.parametrize(("before", "after"), DROPS.values(), ids=DROPS)
def test_the_topmost_route_is_dropped(before, after, value):
    def invite(lines):
        return options(VIA, *filled(lines, "Route", value))

    message = parse(invite(before))
    assert message.error == 0
    assert without_first_route(message) == invite(after)


def test_an_empty_field_holds_no_topmost_value():
    route = ["Route:", "Route: <sip:p1;lr>, <sip:p2;lr>"]
    message = parse(options(VIA, *route))
    assert without_first_route(message) == options(VIA, "Route:", "Route: <sip:p2;lr>")


def test_dropping_what_is_not_there_changes_nothing():
    assert without_first_route(MESSAGE) == MESSAGE.data


# The tag of a stateless answer

TAGGED = options("Via: SIP/2.0/UDP a;branch=z9hG4bK1")


def test_a_stateless_tag_is_the_same_for_a_retransmission_and_16_hex_digits():
    tag = tag_of(parse(TAGGED), 12345)
    assert re.fullmatch(b"[0-9a-f]{16}", tag)
    assert tag_of(parse(TAGGED), 12345) == tag
    # What a proxy on the way may change from one to the next does not count.
    assert tag_of(parse(TAGGED.replace(b"CSeq", b"Max-Forwards: 3\r\nCSeq")), 12345) == tag


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"z9hG4bK1", b"z9hG4bK2"),
        (b";tag=1", b";tag=2"),
        (b";tag=1", b""),
        (b"Call-ID: c1", b"Call-ID: c2"),
        (b"CSeq: 7", b"CSeq: 8"),
        (b"OPTIONS sip:b@", b"OPTIONS sip:c@"),
    ],
)
def test_a_stateless_tag_differs_for_another_request(old, new):
    assert old in TAGGED
    other = TAGGED.replace(old, new)
    assert parse(other).error == 0
    assert tag_of(parse(other), 1) != tag_of(parse(TAGGED), 1)


@pytest.mark.parametrize("size", range(1, 9))
def test_a_stateless_tag_knows_where_the_branch_ends_and_the_call_id_begins(size):
    text = b"0123456789abcdef"
    tags = {
        tag_of(parse(TAGGED.replace(b"K1", b"K1" + text[:cut]).replace(b"ID: c1", b"ID: " + text[cut:])), 1)
        for cut in (0, size, size + 1, 15)
    }
    assert len(tags) == 4


def test_a_stateless_tag_differs_for_another_secret():
    message = parse(TAGGED)
    tags = {tag_of(message, secret) for secret in [0, 1, 2, 2**63, 2**64 - 1]}
    assert len(tags) == 5


def test_stateless_tags_do_not_collide_in_a_small_crowd():
    tags = {tag_of(parse(TAGGED.replace(b"c1", b"c%d" % i)), 99) for i in range(5000)}
    assert len(tags) == 5000


# Any request

token = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=10)
user = st.text("abcXYZ019-_.!~*'()&=+$,;?/", min_size=1, max_size=10)
quoted = st.text("ab ,;<>@é:=?()", max_size=12).map(lambda text: f'"{text}\\""')
space = st.sampled_from(["", " ", "\t", "\r\n ", " \r\n\t"])
host = st.sampled_from(["192.0.2.4", "10.0.0.1", "pc33.example", "[2001:db8::9:1]", "[2001:DB8::0:9:1]", "[::1]"])
peers = st.sampled_from([PEER, PEER6, Flow("10.0.0.1", 1)])
SAME = {"192.0.2.4": [PEER], "[2001:db8::9:1]": [PEER6], "[2001:DB8::0:9:1]": [PEER6], "10.0.0.1": [Flow("10.0.0.1", 1)]}


@st.composite
def via_values(draw):
    """A Via value in pieces: (text up to rport, what may become of rport, text behind it), and its host."""
    name = draw(host)
    port = draw(st.sampled_from(["", ":5060", " : 9"]))
    text = f"SIP/2.0/{draw(st.sampled_from(['UDP', 'TCP', 'x-foo']))} {name}{port}"
    parameters = [f";branch=z9hG4bK{draw(token)}", f"{draw(space)};x-{draw(token)}={draw(st.one_of(token, quoted))}"]
    rport = draw(st.sampled_from(["", ";rport", " ; rport"]))
    before, behind = draw(st.sampled_from([([], parameters), (parameters, []), (parameters[:1], parameters[1:])]))
    return text + "".join(before), rport, "".join(behind), name


@st.composite
def requests(draw):
    """A request on the wire, its peer, the Via values as they should be answered, and the lines to be copied."""
    method = draw(st.sampled_from(["INVITE", "REGISTER", "DANCE"]))
    peer = draw(peers)
    vias = draw(st.lists(via_values(), min_size=1, max_size=5))
    joints = [draw(st.sampled_from([",", " , ", ",\r\n ", "\r\nVia: ", "\r\nv:"])) for _ in vias]
    sent = answered = f"{draw(st.sampled_from(['Via', 'v', 'vIA']))}{draw(st.sampled_from(['', ' ']))}: "
    for i, (before, rport, behind, name) in enumerate(vias):
        joint = joints[i] if i + 1 < len(vias) else ""
        sent += before + rport + behind + joint
        if i == 0 and (rport or peer not in SAME.get(name, [])):
            answered += before + rport + (f"={peer.port}" if rport else "") + behind + f";received={peer.host}"
        else:
            answered += before + rport + behind
        answered += joint
    display = draw(st.one_of(st.just(""), quoted, token))
    copied = [
        f"{draw(st.sampled_from(['From', 'f']))}: {display}{draw(space)}<sip:{draw(user)}@x>;tag={draw(token)}",
        f"{draw(st.sampled_from(['Call-ID', 'i', 'CALL-ID']))}:{draw(space)}{draw(token)}",
        f"CSeq: {draw(st.integers(0, 2**31 - 1))}{draw(space) or ' '}{method}",
    ]
    to = f"{draw(st.sampled_from(['To', 't']))}:{draw(space)}<sip:{draw(user)}@x>"
    routes = [f"Record-Route: <sip:{draw(user)}@p;lr>{draw(space)},<sip:q;lr>"] if method == "INVITE" else []
    others = draw(st.lists(st.tuples(token, quoted).map(lambda pair: f"X-{pair[0]}: {pair[1]}"), max_size=50))
    lines = draw(st.permutations([sent, to, *copied, *routes, *others]))
    data = wire(f"{method} sip:{draw(user)}@x SIP/2.0", *lines)
    return data, peer, answered, to, [*copied, *routes]


@given(requests(), st.sampled_from([100, 180, 200, 486]), st.binary(max_size=20))
def test_the_response_to_any_request_can_be_read_and_holds_the_same_bytes(case, status, body):
    data, peer, answered, to, copied = case
    message = parse(data)
    assert message.error == 0, message.error_reason
    answer = response(message, status, peer, to_tag=b"T", extra=[("Server", b"s")], body=body)
    expected = [*answered.replace("\r\nv:", "\r\n\0v:").replace("\r\nVia: ", "\r\n\0Via: ").split("\r\n\0")]
    expected += [f"{to};tag=T", "Server: s", f"Content-Length: {len(body)}"]
    expected += [line for line in copied if status in (180, 200) or not line.startswith("Record-Route")]
    lines = lines_of(answer)[1:]
    assert Counter(lines) == Counter(f"{line}\r\n".encode() for line in expected)
    again = parse(answer)
    assert again.error == 0, again.error_reason
    assert (again.status, again.body) == (status, body)
    assert (again.call_id, again.cseq, again.from_tag) == (message.call_id, message.cseq, message.from_tag)
    assert again.to_tag == b"T"
    assert len([*again.values("Via")]) == len([*message.values("Via")])


@given(requests())
def test_the_vias_of_any_request_can_be_taken_off_one_by_one(case):
    data, peer, *_ = case
    answer = parse(response(parse(data), 200, peer))
    vias = [*answer.values("Via")]
    while len(vias) > 1:
        answer = parse(without_top_via(answer))
        assert answer.error == 0
        vias.pop(0)
        assert [*answer.values("Via")] == vias
    assert not any(line[:1] in b"vV" for line in lines_of(without_top_via(answer)))


@given(requests())
def test_any_request_is_forwarded_with_nothing_changed_but_its_topmost_via(case):
    data, peer, *_ = case
    forwarded = with_received(parse(data), peer)
    before, after = lines_of(data), lines_of(forwarded)
    assert len(before) == len(after)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) <= 1
    assert all(b.startswith((b"V", b"v")) for _, b in changed)
    assert parse(forwarded).error == 0
