"""The writer on messages as phones send them, through the Python face. A figure is for one message written."""

from functools import partial

import pytest

from sipfast._edits import edited, with_received, without_first_route, without_top_via
from sipfast._flow import Flow
from sipfast._parser import parse
from sipfast._writer import ack, cancel, request, response, tag_of

PEER = Flow("192.0.2.4", 5062)
COMMON = (
    b"Via: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK776asdhds;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Bob" <sip:bob@example.com>;tag=a73kszlfl\r\n'
    b"To: <sip:alice@example.com>\r\n"
    b"Call-ID: 1j9FpLxk3uxtm8tn@10.0.0.5\r\n"
    b"Contact: <sip:bob@10.0.0.5:5060>\r\n"
    b"User-Agent: Phone/1.0\r\n"
)
REGISTER = b"REGISTER sip:example.com SIP/2.0\r\n" + COMMON + b"CSeq: 2 REGISTER\r\nContent-Length: 0\r\n\r\n"
INVITE = (
    b"INVITE sip:alice@example.com SIP/2.0\r\n"
    + COMMON
    + b"CSeq: 2 INVITE\r\nRoute: <sip:192.0.2.1;lr>\r\nRecord-Route: <sip:192.0.2.7;lr>\r\n"
    + b"Content-Type: application/sdp\r\nContent-Length: 300\r\n\r\n"
    + b"v" * 300
)
CONTACTS = [("Contact", b"<sip:bob@10.0.0.5:5060>;expires=3600"), ("Date", b"Mon, 23 Nov 2026 06:00:00 GMT")]


@pytest.mark.parametrize(
    ("data", "status", "options"),
    [
        (REGISTER, 200, {"to_tag": b"0123456789abcdef"}),
        (REGISTER, 200, {"to_tag": b"0123456789abcdef", "extra": CONTACTS}),
        (INVITE, 100, {}),
        (INVITE, 480, {"to_tag": b"0123456789abcdef", "reason": "Not logged in, automatic redial is on"}),
    ],
    ids=["200 to REGISTER", "200 to REGISTER with Contact", "100 to INVITE", "480 to INVITE"],
)
def test_response(benchmark, data, status, options):
    assert benchmark(response, parse(data), status, PEER, **options)


def forwarded():
    """The edits of a proxy: Request-URI, our Via, the peer's address, Max-Forwards, our Route taken off."""
    message = parse(INVITE)
    at = INVITE.index(b"Via:")
    hops = INVITE.index(b"70\r\n")
    route = INVITE.index(b"Route:")
    edits = [
        (7, INVITE.index(b" SIP/2.0"), b"sip:alice@192.0.2.9:5060"),
        (at, at, b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsf0123456789abcdef01234567\r\n"),
        (hops, hops + 2, b"69"),
        (route, INVITE.index(b"Record-Route"), b""),
    ]
    return partial(edited, message, edits)


def test_forward_a_request(benchmark):
    assert benchmark(forwarded())


def test_note_where_a_request_came_from(benchmark):
    assert benchmark(with_received, parse(INVITE), PEER)


def test_take_off_the_topmost_route(benchmark):
    assert benchmark(without_first_route, parse(INVITE))


def test_take_off_the_topmost_via(benchmark):
    assert benchmark(without_top_via, parse(response(parse(INVITE), 200, PEER, to_tag=b"1")))


def test_ack(benchmark):
    assert benchmark(ack, parse(INVITE), parse(response(parse(INVITE), 486, PEER, to_tag=b"1")))


def test_cancel(benchmark):
    assert benchmark(cancel, parse(INVITE))


def test_stateless_tag(benchmark):
    assert benchmark(tag_of, parse(REGISTER), 12345)


def test_request_of_our_own(benchmark):
    headers = [
        ("Via", b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsf1"),
        ("Max-Forwards", b"70"),
        ("From", b"<sip:alice@example.com>;tag=1"),
        ("To", b"<sip:bob@example.com>"),
        ("Call-ID", b"c1"),
        ("CSeq", b"1 REFER"),
        ("Contact", b"<sip:192.0.2.1>"),
        ("Refer-To", b"<sip:alice@example.com>"),
    ]
    assert benchmark(request, "REFER", b"sip:bob@192.0.2.4:5060", headers)
