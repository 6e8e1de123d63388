"""The torture messages of RFC 4475 and, for IPv6, of RFC 5118: each with what the RFCs say of it.

Where an RFC leaves the choice between refusing and guessing, the parser refuses: it forwards the original bytes, and
what it guessed would go on uncorrected.
"""

from pathlib import Path

import pytest

from sipfast._parser import parse, parse_address, parse_via, uri_parts
from sipfast.errors import ParseError

DATA = Path(__file__).parent.parent / "data" / "torture"


def torture(name, rfc="rfc4475"):
    return (DATA / rfc / f"{name}.sip").read_bytes()


# RFC 4475 §3.1.1, and what is well-formed of §3.2 to §3.4: name, what is read from it
WELL_FORMED = {
    # §3.1.1.1
    "wsinv": {
        "method": "INVITE",
        "uri": b"sip:vivekg@chair-dnrc.example.com;unknownparam",
        "to_aor": b"sip:vivekg@chair-dnrc.example.com",
        "to_tag": b"1918181833n",
        "from_aor": b"sip:jdrosen@example.com",
        "from_tag": b"98asjd8",
        "call_id": b"wsinv.ndaksdj@192.0.2.1",
        "cseq": (9, "INVITE"),
        "branch": b"390skdjuw",
    },
    # §3.1.1.2
    "intmeth": {
        "method": "!interesting-Method0123456789_*+`.%indeed'~",
        "uri": b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
        b":&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        "branch": b"z9hG4bK-.!%66*_+`'~",
        "from_aor": b"sip:mundane@example.com",
        "from_tag": b"_token~1'+`*%!-.",
        "call_id": b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
        "cseq": (139122385, "!interesting-Method0123456789_*+`.%indeed'~"),
    },
    # §3.1.1.3: what is escaped in the user part is the user's character
    "esc01": {
        "uri": b"sip:sips%3Auser%40example.com@example.net",
        "to_aor": b"sip:user@example.com",
        "from_aor": b"sip:I%20have%20spaces@example.net",
        "from_tag": b"938",
    },
    # §3.1.1.4: the AOR is not cut at the null
    "escnull": {"to_aor": b"sip:null-%00-null@example.com", "from_tag": b"839923423"},
    # §3.1.1.5: an unknown method, not REGISTER
    "esc02": {"method": "RE%47IST%45R", "cseq": (29344, "RE%47IST%45R"), "branch": b"z9hG4bK209%fzsnel234"},
    # §3.1.1.6
    "lwsdisp": {"from_aor": b"sip:caller@example.com", "from_tag": b"323"},
    # §3.1.1.7
    "longreq": {
        "from_aor": b"sip:" + b"amazinglylongcallername" * 5 + b"@example.net",
        "from_tag": b"12" + b"982" * 50 + b"424",
        "to_aor": b"sip:user@example.com",
        "call_id": b"longreq.one" + b"really" * 20 + b"longcallid",
        "branch": b"",
    },
    # §3.1.1.8: the octets behind the body are noise
    "dblreq": {"method": "REGISTER", "body": b"", "cseq": (8, "REGISTER")},
    # §3.1.1.9
    "semiuri": {"request_aor": b"sip:user;par=u%40example.net@example.com"},
    # §3.1.1.10
    "transports": {"branch": b"z9hG4bKkdjuw"},
    # §3.1.1.11
    "mpart01": {"method": "MESSAGE", "call_id": b"3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA.."},
    # §3.1.1.12
    "unreason": {
        "status": 200,
        "reason": "= 2**3 * 5**2 но сто девяносто девять - простое",
        "method": "INVITE",
        "to_tag": b"2229",
    },
    # §3.1.1.13
    "noreason": {"status": 100, "reason": "", "cseq": (35, "INVITE")},
    # §3.1.2.12: "an element shouldn't" refuse for a Date that nobody reads
    "baddate": {"method": "INVITE"},
    # §3.1.2.13: the fault is in Contact, which is read when it is needed (see below)
    "regbadct": {"method": "REGISTER"},
    # §3.2.1
    "badbranch": {"branch": b"z9hG4bK"},
    # §3.3.2, §3.3.3: the caller answers 416
    "unkscm": {"uri": b"nobodyKnowsThisScheme:totallyopaquecontent"},
    "novelsc": {"uri": b"soap.beep://192.0.2.103:3002"},
    # §3.3.4
    "unksm2": {"from_tag": b"3234233", "to_aor": b"isbn:2983792873"},
    # §3.3.5 to §3.3.7
    "bext01": {"method": "OPTIONS"},
    "invut": {"body": b'<audio>\r\n <pcmu port="443"/>\r\n</audio>\r\n'},
    "regaut01": {"method": "REGISTER"},
    # §3.3.10, §3.3.11
    "bcast": {"status": 200},
    "zeromf": {"method": "OPTIONS"},
    # §3.3.12 to §3.3.15
    "cparam01": {"method": "REGISTER"},
    "cparam02": {"method": "REGISTER"},
    "regescrt": {"method": "REGISTER"},
    "sdp01": {"method": "INVITE"},
    # §3.4.1: RFC 2543, without From tag, branch, Max-Forwards and Content-Length
    "inv2543": {
        "from_tag": b"",
        "branch": b"",
        "from_aor": b"sip:+13035551111@ift.client.example.net",
        "body": b"v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n"
        b"m=audio 49217 RTP/AVP 0\r\n",
    },
}

# RFC 4475 §3.1.2 and what is malformed of §3.3: name, status, what is wrong, the text at which it is wrong
MALFORMED = {
    "badinv01": (400, "Via", b"SIP/2.0/UDP 192.0.2.15;;,;,,"),  # §3.1.2.1
    "clerr": (400, "shorter", b"9999"),  # §3.1.2.2
    "ncl": (400, "Content-Length", b"-999"),  # §3.1.2.3
    "scalar02": (400, "CSeq", b"36893488147419103232"),  # §3.1.2.4
    "scalarlg": (400, "CSeq", b"9292394834772304023312"),  # §3.1.2.5
    "quotbal": (400, "To", b'"Mr. J. User'),  # §3.1.2.6
    "ltgtruri": (400, "Request-URI", b"<sip:user@example.com>"),  # §3.1.2.7
    "lwsruri": (400, "Request-URI", b"sip:user@example.com; lr"),  # §3.1.2.8
    "lwsstart": (400, "Request-URI", b" sip:user@example.com  SIP"),  # §3.1.2.9
    "trws": (400, "SIP/2.0", b"\r\nVia"),  # §3.1.2.10
    "escruri": (400, "headers in the Request-URI", b"Route=%3C"),  # §3.1.2.11
    "badaspec": (400, "To", b'"Watson, Thomas" < sip'),  # §3.1.2.14
    "baddn": (400, "From", b"Bell, Alexander"),  # §3.1.2.15
    "badvers": (505, "SIP/2.0", b"SIP/7.0\r\n"),  # §3.1.2.16
    "mismatch01": (400, "CSeq", b"INVITE"),  # §3.1.2.17
    "mismatch02": (400, "CSeq", b"INVITE"),  # §3.1.2.18
    "bigcode": (400, "status code", b"4294967301"),  # §3.1.2.19
    "insuf": (400, "no From", b"v=0"),  # §3.3.1
    "multi01": (400, "twice", b"CSeq: 59 INVITE"),  # §3.3.8
    "mcl01": (400, "Content-Length", b"5\r\nContent-Type"),  # §3.3.9
}

IPV6_WELL_FORMED = {
    "ipv6-good": {"uri": b"sip:[2001:db8::10]", "request_aor": b"sip:[2001:db8::10]"},  # §4.1
    "port-ambiguous": {"uri": b"sip:[2001:db8::10:5070]"},  # §4.3
    "port-unambiguous": {"uri": b"sip:[2001:db8::10]:5070"},  # §4.4
    "via-received-param-with-delim": {"branch": b"z9hG4bKas3-111"},  # §4.5
    "via-received-param-no-delim": {"branch": b"z9hG4bKas3"},  # §4.5
    "ipv6-in-sdp": {"request_aor": b"sip:user@[2001:db8::10]"},  # §4.6
    "mult-ip-in-header": {"branch": b"z9hG4bKas3-111"},  # §4.7
    "mult-ip-in-sdp": {"to_aor": b"sip:user@[2001:db8::10]"},  # §4.8
    "ipv4-mapped-ipv6": {"branch": b"z9hG4bKbh19"},  # §4.9
    "ipv6-bug-abnf-3-colons": {"uri": b"sip:user@[2001:db8:::192.0.2.1]"},  # §4.10
    "ipv6-correct-abnf-2-colons": {"uri": b"sip:user@[2001:db8::192.0.2.1]"},  # §4.10
}
IPV6_MALFORMED = {"ipv6-bad": (400, "Request-URI", b"sip:2001:db8::10")}  # §4.2


def same_fields(message, expected):
    assert (message.error, message.error_reason) == (0, "")
    assert {name: getattr(message, name) for name in expected} == expected


@pytest.mark.parametrize(("name", "expected"), WELL_FORMED.items(), ids=WELL_FORMED)
def test_a_well_formed_message_is_read(name, expected):
    same_fields(parse(torture(name)), expected)


@pytest.mark.parametrize(("name", "expected"), MALFORMED.items(), ids=MALFORMED)
def test_a_malformed_message_gets_its_status(name, expected):
    status, reason, at = expected
    data = torture(name)
    message = parse(data)
    assert (message.error, reason in message.error_reason) == (status, True), message.error_reason
    assert data[message.error_offset :].startswith(at)


@pytest.mark.parametrize(("name", "expected"), IPV6_WELL_FORMED.items(), ids=IPV6_WELL_FORMED)
def test_a_well_formed_ipv6_message_is_read(name, expected):
    same_fields(parse(torture(name, "rfc5118")), expected)


@pytest.mark.parametrize(("name", "expected"), IPV6_MALFORMED.items(), ids=IPV6_MALFORMED)
def test_a_malformed_ipv6_message_gets_its_status(name, expected):
    status, reason, at = expected
    data = torture(name, "rfc5118")
    message = parse(data)
    assert (message.error, reason in message.error_reason) == (status, True)
    assert data[message.error_offset :].startswith(at)


def test_no_message_is_left_out():
    assert {path.stem for path in (DATA / "rfc4475").iterdir()} == WELL_FORMED.keys() | MALFORMED.keys()
    assert {path.stem for path in (DATA / "rfc5118").iterdir()} == IPV6_WELL_FORMED.keys() | IPV6_MALFORMED.keys()


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_can_be_answered(name):
    message = parse(torture(name))
    if name in ("bigcode", "scalarlg"):
        assert not message.is_request, "a malformed response is no request: nobody answers it"
        return
    assert message.is_request
    assert list(message.values("Via"))
    if name not in ("insuf", "multi01"):
        assert message.from_tag or name in ("baddn",)
        assert message.call_id
        assert message.header("CSeq") is not None


# What is read on demand


def test_short_tortuous_invite_values():
    message = parse(torture("wsinv"))
    assert message.seconds("Max-Forwards") == 68
    assert [parse_via(value) for value in message.values("Via")] == [
        ("UDP", b"192.0.2.2", -1, {b"branch": b"390skdjuw"}),
        ("TCP", b"spindle.example.com", -1, {b"branch": b"z9hG4bK9ikj8"}),
        ("UDP", b"192.168.255.111", -1, {b"branch": b"z9hG4bK30239"}),
    ]
    assert [parse_address(value) for value in message.values("Contact")] == [
        (b'Quoted string ""', b"sip:jdrosen@example.com", {b"newparam": b"newvalue", b"secondparam": None, b"q": b"0.33"})
    ]
    assert parse_address(message.header("From"))[0] == b'J Rosenberg \\"'
    assert message.header("Subject") == b""
    assert message.header("NewFangledHeader") == b"newfangled value continued newfangled value"
    assert message.header("UnknownHeaderWithUnusualValue") == b";;,,;;,;"
    (route,) = message.values("Route")
    _, uri, _ = parse_address(route)
    assert uri_parts(uri)[4] == {b"lr": None, b"unknownwith": b"value", b"unknown-no-value": None}
    assert message.body.startswith(b"v=0\r\n") and len(message.body) == 150


def test_wide_range_of_characters():
    message = parse(torture("intmeth"))
    assert parse_address(message.header("To"))[0] == b"BEL:\x07 NUL:\x00 DEL:\x7f"
    display, _, params = parse_address(message.header("From"))
    assert display == b"token1~` token2'+_ token3*%!.-"
    assert params[b"fromparam''~+*_!.-%"] == '"работающий"'.encode()
    assert message.header("extensionHeader-!.%*+_`'~") == b"\xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb"
    scheme, user, host, port, _ = uri_parts(message.uri)
    assert (scheme, host, port) == ("sip", b"example.com", -1)
    assert user == b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"


def test_a_percent_sign_in_a_header_name_is_no_escape():
    message = parse(torture("esc02"))
    assert list(message.values("Contact")) == [b"<sip:alias1@host1.example.com>", b"<sip:alias3@host3.example.com>"]
    assert message.header("C%6Fntact") == b"<sip:alias2@host2.example.com>"
    assert parse_address(message.header("To"))[0] == b"%Z%45"


def test_many_vias_in_every_spelling_of_the_name():
    vias = [parse_via(value) for value in parse(torture("longreq")).values("v")]
    assert [host for _, host, _, _ in vias[:-1]] == [f"sip{n}.example.com".encode() for n in range(33, 0, -1)]
    assert vias[-1][3] == {b"received": b"192.0.2.5", b"branch": b"very" + b"long" * 50 + b"branchvalue"}


def test_transports_known_and_unknown():
    vias = [parse_via(value) for value in parse(torture("transports")).values("Via")]
    assert [transport for transport, *_ in vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def test_a_binary_body_is_framed_by_its_length():
    message = parse(torture("mpart01"))
    assert len(message.body) == 553
    assert message.body.endswith(b"--7a9cbec02ceef655--\r\n")
    assert b"\x00" in message.body


def test_list_over_folded_lines():
    assert list(parse(torture("semiuri")).values("Accept")) == [
        b"application/sdp",
        b"application/pkcs7-mime",
        b"multipart/mixed",
        b"multipart/signed",
        b"message/sip",
        b"message/sipfrag",
    ]


def test_option_tags():
    message = parse(torture("bext01"))
    assert message.lists("Require", "nothingSupportsThisEither")
    assert message.lists("Proxy-Require", "noProxiesSupportThis")
    assert not message.lists("Require", "nothingSupports")


def test_scalar_values_over_their_limit():
    message = parse(torture("scalar02"))
    assert message.seconds("Expires") == -2
    assert message.seconds("Max-Forwards") == 300
    assert parse(torture("scalarlg")).seconds("Retry-After") == -2


def test_a_contact_with_headers_needs_brackets():
    # RFC 4475 §3.1.2.13, RFC 3261 §20.10
    (value,) = parse(torture("regbadct")).values("Contact")
    with pytest.raises(ParseError) as caught:
        parse_address(value)
    assert caught.value.status == 400
    (value,) = parse(torture("regescrt")).values("Contact")
    assert parse_address(value)[1] == b"sip:user@example.com?Route=%3Csip:sip.example.com%3E"


def test_whose_parameter_it_is():
    # RFC 4475 §3.3.12, §3.3.13
    (value,) = parse(torture("cparam01")).values("Contact")
    assert parse_address(value)[1:] == (b"sip:+19725552222@gw1.example.net", {b"unknownparam": None})
    (value,) = parse(torture("cparam02")).values("Contact")
    assert parse_address(value)[1:] == (b"sip:+19725552222@gw1.example.net;unknownparam", {})


def test_schemes_that_a_header_may_have():
    message = parse(torture("unksm2"))
    assert parse_address(message.header("From"))[1] == b"http://www.example.com"
    assert parse_address(message.header("Contact"))[1] == b"name:John_Smith"


@pytest.mark.parametrize("address", [b"[2001:db8::9:255]", b"2001:db8::9:255"])
def test_received_is_an_ipv6_address_with_or_without_brackets(address):
    name = "via-received-param-with-delim" if address.startswith(b"[") else "via-received-param-no-delim"
    assert parse_via(parse(torture(name, "rfc5118")).header("Via"))[3][b"received"] == address


def test_ipv6_hosts_and_ports():
    assert uri_parts(parse(torture("port-ambiguous", "rfc5118")).uri)[2:4] == (b"2001:db8::10:5070", -1)
    assert uri_parts(parse(torture("port-unambiguous", "rfc5118")).uri)[2:4] == (b"2001:db8::10", 5070)
    vias = [parse_via(value) for value in parse(torture("ipv4-mapped-ipv6", "rfc5118")).values("Via")]
    assert [via[1:3] for via in vias] == [(b"[::ffff:192.0.2.10]", 19823), (b"[::ffff:192.0.2.2]", -1)]
    vias = [parse_via(value) for value in parse(torture("mult-ip-in-header", "rfc5118")).values("Via")]
    assert [via[1:3] for via in vias] == [(b"[2001:db8::9:1]", 6050), (b"192.0.2.1", -1), (b"[2001:db8::9:255]", -1)]


# Cut short anywhere, none of them may pass for whole


@pytest.mark.parametrize("name", ["wsinv", "intmeth", "longreq", "mpart01", "unreason"])
def test_a_truncated_message_is_malformed(name):
    data = torture(name)
    whole = len(parse(data).body) + data.index(b"\r\n\r\n") + 4
    passed = [n for n in range(whole) if parse(data[:n]).error == 0]
    assert passed == []
