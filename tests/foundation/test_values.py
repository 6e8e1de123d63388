"""What is inside header values: lists, numbers, Via, addresses (RFC 3261 §7.3.1, §20)."""

import pytest
from messages import build, well_formed

from sipfast._parser import parse, parse_address, parse_via
from sipfast.errors import ParseError

# Lists (§7.3.1)

LISTS = {
    "one line": b"Route: <sip:a.example;lr>, <sip:b.example;lr>,<sip:c.example;lr>\r\n",
    "three lines": b"Route: <sip:a.example;lr>\r\nRoute: <sip:b.example;lr>\r\nROUTE: <sip:c.example;lr>\r\n",
    "mixed": b"Route: <sip:a.example;lr>\r\nX: y\r\nRoute: <sip:b.example;lr> ,\r\n <sip:c.example;lr>\r\n",
    "an empty line between": b"Route: <sip:a.example;lr>\r\nRoute:\r\nRoute: <sip:b.example;lr>\t,\t<sip:c.example;lr>\r\n",
}


@pytest.mark.parametrize("lines", LISTS.values(), ids=LISTS)
def test_a_list_over_commas_and_lines(lines):
    values = list(well_formed(build(extra=lines)).values("Route"))
    assert values == [b"<sip:a.example;lr>", b"<sip:b.example;lr>", b"<sip:c.example;lr>"]


COMMAS = {
    "in quotes": (b'"a, b" <sip:c@d.example>, <sip:e@f.example>', [b'"a, b" <sip:c@d.example>', b"<sip:e@f.example>"]),
    "in brackets": (b"<sip:a,b@c.example>,<sip:d@e.example>", [b"<sip:a,b@c.example>", b"<sip:d@e.example>"]),
    "an escaped quote": (b'"a\\", <" <sip:c@d.example>,x:y', [b'"a\\", <" <sip:c@d.example>', b"x:y"]),
    "an escaped backslash": (b'"a\\\\",b', [b'"a\\\\"', b"b"]),
    "a quote in brackets": (b'<sip:a"b>,c', [b'<sip:a"b>', b"c"]),
    "an open quote": (b'a,"b,c', [b"a", b'"b,c']),
    "an open bracket": (b"a,<b,c", [b"a", b"<b,c"]),
    "empty values": (b"a,,b,", [b"a", b"", b"b", b""]),
    "only a comma": (b",", [b"", b""]),
    "nothing": (b"", []),
    "white space": (b" \t ", []),
    "a parameter in quotes": (b'<sip:a@b.example>;x=",",c', [b'<sip:a@b.example>;x=","', b"c"]),
}


@pytest.mark.parametrize("name", ["Contact", "X-Unknown"])
@pytest.mark.parametrize(("value", "expected"), COMMAS.values(), ids=COMMAS)
def test_where_values_part(name, value, expected):
    message = well_formed(build(extra=name.encode() + b": " + value + b"\r\n"))
    assert list(message.values(name)) == expected


def test_option_tags_in_any_case():
    message = well_formed(build(extra=b"Supported: 100rel,TIMER\r\nk: path , outbound\r\n"))
    for token in ("100rel", "timer", "path", "Outbound"):
        assert message.lists("Supported", token)
    for token in ("tim", "timers", "", "100rel,TIMER"):
        assert not message.lists("Supported", token)
    assert not message.lists("Require", "path")
    with pytest.raises(ValueError, match="X-Unknown"):
        message.lists("X-Unknown", "path")


# Numbers (§20.19, §20.33)

SECONDS = {
    "3600": 3600, "0": 0, "4294967295": 2**32 - 1, "4294967296": -2, "1" + 100 * "0": -2, "": -2, "-1": -2,
    "abc": -2, "10 20": -2, "10;x": -2, "10 (x)": -2, "1e3": -2,
}  # fmt: skip
RETRY_AFTERS = {
    "18000;duration=3600": 18000, "120 (I'm in a meeting)": 120, "120 (a (b) c) ; duration=1": 120,
    "120 (a\\)b)": 120, "120 (a": -2, "120 (a))": -2, "120 ;": -2, "120 x": -2, "120 (a\\)": -2, "4294967296;a": -2,
}  # fmt: skip


@pytest.mark.parametrize(("value", "number"), SECONDS.items())
def test_delta_seconds(value, number):
    assert well_formed(build(Expires=value.encode())).seconds("Expires") == number


@pytest.mark.parametrize(("value", "number"), RETRY_AFTERS.items())
def test_retry_after_with_comment_and_parameters(value, number):
    # RFC 3261 §20.33
    assert well_formed(build(Retry_After=value.encode())).seconds("Retry-After") == number


def test_session_expires_with_refresher():
    # RFC 4028 §4
    assert well_formed(build(x=b"4000;refresher=uac")).seconds("Session-Expires") == 4000
    assert well_formed(build()).seconds("Session-Expires") == -1
    with pytest.raises(ValueError, match="Nothing"):
        parse(build()).seconds("Nothing")


# Via (§20.42, RFC 3581)

VIAS = {
    "RFC 3261 §20.42 first": (
        b"SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7",
        ("UDP", b"erlang.bell-telephone.com", 5060, {b"branch": b"z9hG4bK87asdks7"}),
    ),
    "RFC 3261 §20.42 second": (
        b"SIP/2.0/UDP 192.0.2.1:5060 ;received=192.0.2.207;branch=z9hG4bK77asjd",
        ("UDP", b"192.0.2.1", 5060, {b"received": b"192.0.2.207", b"branch": b"z9hG4bK77asjd"}),
    ),
    "RFC 3261 §20.42 spaced": (
        b"SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1",
        ("UDP", b"first.example.com", 4000, {b"ttl": b"16", b"maddr": b"224.2.0.1", b"branch": b"z9hG4bKa7c6a8dlze.1"}),
    ),
    "rport": (b"SIP/2.0/UDP a.example;rport", ("UDP", b"a.example", -1, {b"rport": None})),
    "rport with a value": (b"SIP/2.0/UDP a.example;rport=9988", ("UDP", b"a.example", -1, {b"rport": b"9988"})),
    "IPv6": (b"SIP/2.0/TCP [2001:db8::1]:5061", ("TCP", b"[2001:db8::1]", 5061, {})),
    "another protocol": (b"XYZ/9.1/ABC a.example", ("ABC", b"a.example", -1, {})),
    "an upper-case name": (b"SIP/2.0/UDP a.example;BRANCH=x", ("UDP", b"a.example", -1, {b"branch": b"x"})),
    "a quoted value": (b'SIP/2.0/UDP a.example;x=";,\\""', ("UDP", b"a.example", -1, {b"x": b'";,\\""'})),
    "a container's name": (b"SIP/2.0/UDP 0c4b2e_1", ("UDP", b"0c4b2e_1", -1, {})),
}
BAD_VIAS = {
    "empty": b"",
    "no host": b"SIP/2.0/UDP",
    "no host but a space": b"SIP/2.0/UDP ",
    "no space": b"SIP/2.0/UDP;branch=x",
    "no transport": b"SIP/2.0/ a.example",
    "no version": b"SIP/UDP a.example",
    "two hosts": b"SIP/2.0/UDP a.example b.example",
    "a port of letters": b"SIP/2.0/UDP a.example:x",
    "an empty port": b"SIP/2.0/UDP a.example:",
    "port 0": b"SIP/2.0/UDP a.example:0",
    "port 65536": b"SIP/2.0/UDP a.example:65536",
    "a port past 2**32": b"SIP/2.0/UDP a.example:4294972356",
    "an empty parameter": b"SIP/2.0/UDP a.example;",
    "two semicolons": b"SIP/2.0/UDP a.example;;branch=x",
    "an empty value": b"SIP/2.0/UDP a.example;branch=",
    "branch twice": b"SIP/2.0/UDP a.example;branch=x;branch=y",
    "received twice": b"SIP/2.0/UDP a.example;received=1.2.3.4;received=1.2.3.5",
    "rport twice": b"SIP/2.0/UDP a.example;rport;rport=1",
    "branch without a value": b"SIP/2.0/UDP a.example;branch",
    "an open quote": b'SIP/2.0/UDP a.example;x="y',
    "two values": b"SIP/2.0/UDP a.example, SIP/2.0/UDP b.example",
    "IPv6 without brackets": b"SIP/2.0/UDP 2001:db8::1",
    "an open bracket": b"SIP/2.0/UDP [2001:db8::1",
    "a user": b"SIP/2.0/UDP bob@a.example",
    "not ASCII": "SIP/2.0/UDP é.example".encode(),
}


@pytest.mark.parametrize(("value", "expected"), VIAS.values(), ids=VIAS)
def test_via(value, expected):
    assert parse_via(value) == expected
    assert parse_via(b" \r\n " + value + b"\t") == expected
    message = well_formed(build(Via=value + b" , SIP/2.0/TCP z.example;branch=other"))
    assert message.branch == (expected[3].get(b"branch") or b"")
    assert parse_via(next(message.values("Via"))) == expected


@pytest.mark.parametrize("value", BAD_VIAS.values(), ids=BAD_VIAS)
def test_a_malformed_via(value):
    with pytest.raises(ParseError) as caught:
        parse_via(value)
    assert caught.value.status == 400
    if value != BAD_VIAS["two values"]:
        message = parse(build(Via=value))
        assert (message.error, message.error_reason) == (400, "malformed Via")


# From, To, Contact (§20.10, §20.20, §20.39)

ADDRESSES = {
    "name-addr": (b"<sip:a@b.example>", (b"", b"sip:a@b.example", {})),
    "quoted": (
        b'"A. G. Bell" <sip:agb@bell.example> ;tag=a48s',
        (b"A. G. Bell", b"sip:agb@bell.example", {b"tag": b"a48s"}),
    ),
    "addr-spec": (b"sip:+12125551212@server.example;tag=887s", (b"", b"sip:+12125551212@server.example", {b"tag": b"887s"})),
    "tokens": (
        b"Anonymous Caller <sip:c8oqz84zk7z@privacy.org>;tag=hyh8",
        (b"Anonymous Caller", b"sip:c8oqz84zk7z@privacy.org", {b"tag": b"hyh8"}),
    ),
    "URI parameters": (b"<sip:a@b.example;lr;x=1>;y=2", (b"", b"sip:a@b.example;lr;x=1", {b"y": b"2"})),
    "escaped quotes": (b'"a \\"b\\" \\\\" <sip:a@b.example>', (b'a "b" \\', b"sip:a@b.example", {})),
    "brackets in quotes": (
        b'"<sip:x@y>;tag=1" <sip:a@b.example>;tag=2',
        (b"<sip:x@y>;tag=1", b"sip:a@b.example", {b"tag": b"2"}),
    ),
    "empty quotes": (b'"" <sip:a@b.example>', (b"", b"sip:a@b.example", {})),
    "no space": (b'"a"<sip:a@b.example>;x', (b"a", b"sip:a@b.example", {b"x": None})),
    "UTF-8 in quotes": ('"Jörg" <sip:a@b.example>'.encode(), ("Jörg".encode(), b"sip:a@b.example", {})),
    "UTF-8 without quotes": ("Jörg <sip:a@b.example>".encode(), ("Jörg".encode(), b"sip:a@b.example", {})),
    "tel": (b"<tel:+358-555-1234567;postd=pp22>", (b"", b"tel:+358-555-1234567;postd=pp22", {})),
    "a quoted parameter": (
        b'<sip:a@b.example>;+sip.instance="<urn:uuid:1;,>"',
        (b"", b"sip:a@b.example", {b"+sip.instance": b'"<urn:uuid:1;,>"'}),
    ),
    "URI headers": (b"<sips:bob@[2001:db8::1]:5061?a=b>;q=0.5", (b"", b"sips:bob@[2001:db8::1]:5061?a=b", {b"q": b"0.5"})),
    "a fold in the display name": (b'"a\r\n b" <sip:a@b.example>', (b"a b", b"sip:a@b.example", {})),
}
BAD_ADDRESSES = {
    "empty": b"",
    "star": b"*",
    "no scheme": b"alice",
    "empty brackets": b"<>",
    "an open bracket": b"<sip:a@b.example",
    "only a closing bracket": b"sip:a@b.example>",
    "an open quote": b'"a <sip:a@b.example>',
    "quotes without brackets": b'"a" sip:a@b.example',
    "quotes, and a closing bracket only": b'"a" xsip:a@b.example>',
    "tokens without brackets": b"Alice sip:a@b.example",
    "spaces in brackets": b"< sip:a@b.example>",
    "a comma in the display name": b"Bell, Alexander <sip:a@b.example>",
    "an at sign in the display name": b"a@b <sip:a@b.example>",
    "more behind": b"<sip:a@b.example> x",
    "two addresses": b"<sip:a@b.example>, <sip:c@d.example>",
    "two semicolons": b"<sip:a@b.example>;;tag=1",
    "an empty parameter": b"<sip:a@b.example>;",
    "an empty tag": b"<sip:a@b.example>;tag=",
    "tag without a value": b"<sip:a@b.example>;tag",
    "tag in quotes": b'<sip:a@b.example>;tag="1"',
    "tag twice": b"<sip:a@b.example>;tag=1;tag=2",
    "no name": b"<sip:a@b.example>;=1",
    "a question mark without brackets": b"sip:a@b.example?x=y",
    "a malformed URI": b"<sip:a@b@c>",
}


@pytest.mark.parametrize(("value", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_address(value, expected):
    assert parse_address(value) == expected
    assert parse_address(b"\t" + value + b" ") == expected
    tag = expected[2].get(b"tag", b"")
    message = well_formed(build(From=value, To=value))
    assert (message.from_tag, message.to_tag) == (tag, tag)


@pytest.mark.parametrize("value", BAD_ADDRESSES.values(), ids=BAD_ADDRESSES)
def test_a_malformed_address(value):
    with pytest.raises(ParseError) as caught:
        parse_address(value)
    assert caught.value.status == 400
    for name in ("From", "To"):
        data = build(**{name: value})
        message = parse(data)
        assert (message.error, message.error_reason) == (400, f"malformed {name}")
        assert getattr(message, f"{name.lower()}_aor") == b""


@pytest.mark.parametrize("tail", [b" ", b"\r\n ", b"\t\r\n\t"])
def test_white_space_around_parameters(tail):
    spaced = tail.join([b"<sip:a@b.example>", b";", b"tag", b"=", b"1", b";", b"x", b""])
    assert parse_address(spaced) == (b"", b"sip:a@b.example", {b"tag": b"1", b"x": None})
