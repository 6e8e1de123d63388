"""Messages: RFC 3261 §7, §8.1.1 and §18.3. RFC 4475's are in test_torture.py, hostile ones in test_hostile.py."""

import re

import pytest
from messages import (
    BASE,
    COMPACT,
    KNOWN,
    REQUEST,
    REQUEST_LINE,
    SOURCE,
    STATUS_LINE,
    build,
    fields_only,
    touch_all,
    well_formed,
)

from sipfast._parser import Message, parse, parse_via

# The whole


def test_a_request():
    message = well_formed(REQUEST)
    assert message.is_request and message.status == 0
    assert message.method == "INVITE"
    assert message.uri == b"sip:bob@biloxi.example.com;transport=udp"
    assert message.request_aor == b"sip:bob@biloxi.example.com"
    assert message.from_aor == b"sip:alice@atlanta.example.com"
    assert message.from_tag == b"1928301774"
    assert message.to_aor == b"sip:bob@biloxi.example.com"
    assert message.to_tag == b""
    assert message.call_id == b"a84b4c76e66710"
    assert message.cseq == (314159, "INVITE")
    assert message.branch == b"z9hG4bK77ef4c2312983.1"
    assert message.body == b"v=0\n"
    assert message.reason == ""
    assert message.data is REQUEST
    assert len(list(message.values("via"))) == 2
    assert message.header("contact") == b"<sip:alice@pc33.atlanta.example.com>"
    assert message.header("Route") is None
    assert list(message.values("Route")) == []


def test_a_response():
    message = well_formed(build(STATUS_LINE, CSeq=b"63104 INVITE"))
    assert not message.is_request
    assert (message.status, message.reason) == (200, "OK")
    assert message.method == "INVITE", "of the CSeq"
    assert message.uri == b""
    assert message.cseq == (63104, "INVITE")


def test_a_message_keeps_its_bytes():
    message = parse(b"".join([REQUEST[:10], REQUEST[10:]]))
    first = message.headers
    del message
    parse(build())
    assert first == parse(REQUEST).headers


def test_only_the_parser_makes_messages():
    message = Message.__new__(Message)
    assert (message.error, message.headers, message.method, message.body) == (0, [], "", b"")
    with pytest.raises(AttributeError):
        message.nothing  # noqa: B018
    with pytest.raises(TypeError):
        parse(None)
    with pytest.raises(TypeError):
        parse(bytearray(REQUEST))


# Start lines (§7.1, §7.2)

START_LINES = {
    "another method": (b"NOTHINGNEW sip:bob@example.com SIP/2.0", 0),
    "version in lower case": (b"OPTIONS sip:bob@example.com sip/2.0", 0),
    "no user": (b"OPTIONS sip:example.com SIP/2.0", 0),
    "sips": (b"OPTIONS sips:bob@example.com SIP/2.0", 0),
    "tel": (b"OPTIONS tel:+1-201-555-0123 SIP/2.0", 0),
    "another scheme": (b"OPTIONS http://example.com/a?b=c SIP/2.0", 0),
    "empty": (b"", 400),
    "method only": (b"OPTIONS", 400),
    "no URI": (b"OPTIONS SIP/2.0", 400),
    "no version": (b"OPTIONS sip:bob@example.com", 400),
    "empty URI": (b"OPTIONS  SIP/2.0", 400),
    "no scheme": (b"OPTIONS bob@example.com SIP/2.0", 400),
    "no host": (b"OPTIONS sip: SIP/2.0", 400),
    "tab for space": (b"OPTIONS\tsip:bob@example.com SIP/2.0", 400),
    "tab in the version": (b"OPTIONS sip:bob@example.com\tSIP/2.0", 400),
    "method is no token": (b"OPT(ONS sip:bob@example.com SIP/2.0", 400),
    "leading space": (b" OPTIONS sip:bob@example.com SIP/2.0", 400),
    "URI in brackets": (b"OPTIONS <sip:bob@example.com> SIP/2.0", 400),
    "bytes above 127": ("OPTIONS sip:bób@example.com SIP/2.0".encode(), 400),
    "HTTP": (b"OPTIONS sip:bob@example.com HTTP/1.1", 400),
    "SIP/1.0": (b"OPTIONS sip:bob@example.com SIP/1.0", 505),
    "SIP/3.0": (b"OPTIONS sip:bob@example.com SIP/3.0", 505),
    "SIP/2.1": (b"OPTIONS sip:bob@example.com SIP/2.1", 505),
    "SIP/22.0": (b"OPTIONS sip:bob@example.com SIP/22.0", 505),
    "SIP/2": (b"OPTIONS sip:bob@example.com SIP/2", 400),
    "SIP/2.": (b"OPTIONS sip:bob@example.com SIP/2.", 400),
    "SIP/2.0 and more": (b"OPTIONS sip:bob@example.com SIP/2.0x", 400),
    "null": (b"OPTIONS sip:bob\x00@example.com SIP/2.0", 400),
}


@pytest.mark.parametrize(("line", "status"), START_LINES.values(), ids=START_LINES)
def test_request_line(line, status):
    method = line.split(b" ")[0]
    cseq = b"1 " + (method if method == b"NOTHINGNEW" else b"OPTIONS")
    message = parse(build(line, CSeq=cseq))
    assert message.error == status
    assert message.is_request
    assert message.call_id == BASE["Call-ID"], "the rest is read all the same"


@pytest.mark.parametrize("scheme", [b"http://example.com/a?b=c", b"tel:+1-201-555-0123", b"urn:service:sos"])
def test_a_uri_of_another_scheme_is_left_to_the_caller(scheme):
    assert well_formed(build(b"OPTIONS " + scheme + b" SIP/2.0")).uri == scheme


@pytest.mark.parametrize(
    "method",
    [
        *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "PRACK", "UPDATE", "SUBSCRIBE", "NOTIFY"),
        *("REFER", "MESSAGE", "PUBLISH", "invite", "Register", "INVITES", "INVIT", "X", "INVITE2"),
    ],
)
def test_methods_are_case_sensitive(method):
    line = f"{method} sip:bob@example.com SIP/2.0".encode()
    assert well_formed(build(line, CSeq=f"1 {method}".encode())).method == method
    message = parse(build(line, CSeq=f"1 {method.swapcase()}".encode()))
    assert message.error == 400 or method == method.swapcase()


STATUS_LINES = {
    "empty reason": (b"SIP/2.0 200 ", 0, 200, ""),
    "no space after the code": (b"SIP/2.0 200", 0, 200, ""),
    "UTF-8": ("SIP/2.0 486 Занято".encode(), 0, 486, "Занято"),
    "tab": (b"SIP/2.0 486 Busy\tHere", 0, 486, "Busy\tHere"),
    "lower case": (b"sip/2.0 180 Ringing", 0, 180, "Ringing"),
    "lowest": (b"SIP/2.0 100 Trying", 0, 100, "Trying"),
    "highest": (b"SIP/2.0 699 No", 0, 699, "No"),
    "below 100": (b"SIP/2.0 099 No", 400, -1, ""),
    "700": (b"SIP/2.0 700 No", 400, -1, ""),
    "two digits": (b"SIP/2.0 20 No", 400, -1, ""),
    "four digits": (b"SIP/2.0 0200 No", 400, -1, ""),
    "letters": (b"SIP/2.0 2OO No", 400, -1, ""),
    "no code": (b"SIP/2.0", 400, -1, ""),
    "no code but a space": (b"SIP/2.0 ", 400, -1, ""),
    "two spaces": (b"SIP/2.0  200 OK", 400, -1, ""),
    "negative": (b"SIP/2.0 -20 No", 400, -1, ""),
    "huge": (b"SIP/2.0 " + b"9" * 100 + b" No", 400, -1, ""),
    "SIP/3.0": (b"SIP/3.0 200 OK", 505, 200, "OK"),
    "no version": (b"SIP/ 200 OK", 400, 200, "OK"),
    "null in the reason": (b"SIP/2.0 200 O\x00K", 400, 200, "O\x00K"),
}


@pytest.mark.parametrize(("line", "error", "status", "reason"), STATUS_LINES.values(), ids=STATUS_LINES)
def test_status_line(line, error, status, reason):
    message = parse(build(line))
    assert (message.error, message.status, message.reason) == (error, status, reason)
    assert not message.is_request


# Header names (§7.3.1, §7.3.3)


def test_every_header_has_its_name():
    enum = re.search(r"cdef enum Header:(.*?)HEADER_COUNT", (SOURCE / "_names.pxd").read_text(), re.DOTALL)
    constants = set(re.findall(r"H_\w+", enum[1])) - {"H_OTHER"}
    assert set(KNOWN.values()) == constants
    assert {name: "H_" + name.upper().replace("-", "_") for name in KNOWN} == KNOWN


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title, str.swapcase])
def test_a_name_in_any_case(name, spell):
    message = fields_only(f"{spell(name)}: 17\r\n".encode())
    assert message.header(name) == b"17"
    assert [other for other in KNOWN if message.header(other) is not None] == [name]
    assert message.seconds(name) == 17, "it is known"


@pytest.mark.parametrize(("letter", "name"), COMPACT.items(), ids=COMPACT)
def test_compact_forms(letter, name):
    for spelled in (letter, letter.upper()):
        message = fields_only(f"{spelled}: 17\r\n".encode())
        if name is None:
            assert [known for known in KNOWN if message.header(known) == b"17"] == []
            assert message.header(letter) == b"17"
        else:
            assert [known for known in KNOWN if message.header(known) == b"17"] == [name.lower()]


def near_misses(name):
    for i, letter in enumerate(name):
        for other in {chr(ord(letter) + 1), chr(ord(letter) - 1), "-", "_", "x", "X"} - {letter, letter.upper()}:
            if re.fullmatch(r"[\w.!%*+`'~-]", other):
                yield name[:i] + other + name[i + 1 :]
        yield name[:i] + name[i + 1 :]
        yield name[:i] + letter + name[i:]
        if i:
            yield name[: i - 1] + letter + name[i - 1] + name[i + 1 :]
    yield from (name + "s", "x" + name, name[::-1], name + "-" + name, name * 13)


@pytest.mark.parametrize("name", KNOWN)
def test_a_near_miss_is_another_header(name):
    misses = [miss for miss in near_misses(name) if miss and miss.lower() not in KNOWN and len(miss) > 1]
    assert len(misses) > 10
    message = fields_only(b"".join(miss.encode() + b": 1\r\n" for miss in misses))
    assert len(message.headers) == len(misses)
    assert [known for known in KNOWN if message.header(known) is not None] == []
    assert all(message.header(miss) == b"1" for miss in misses)


BAD_LINES = {
    "no colon": b"Subject\r\n",
    "no name": b": value\r\n",
    "space in the name": b"Sub ject: value\r\n",
    "name not ASCII": "Betréff: value\r\n".encode(),
    "a bracket in the name": b"Subject(: value\r\n",
    "colon on the next line": b"Subject\r\n : value\r\n",
    "a stray CR": b"Subject: a\rb\r\n",
    "CR CR LF": b"Subject: a\r\r\n",
    "null": b"Subject: a\x00b\r\n",
    "escape character": b"Subject: a\x1bb\r\n",
    "CR behind a backslash": b'Subject: "a\\\rb"\r\n',
    "null in the name": b"Sub\x00ject: value\r\n",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_malformed_line(line):
    data = build(extra=line, body=b"x").replace(b"Via:", b"X-First: 1\r\nVia:")
    message = parse(data)
    assert message.error == 400
    start = data.index(line)
    assert start <= message.error_offset < start + len(line)
    assert message.call_id == BASE["Call-ID"], "the lines around it are read"
    assert message.body == b"x"


def test_a_header_that_begins_with_a_fold():
    message = parse(build(REQUEST_LINE + b"\r\n folded"))
    assert (message.error, message.call_id) == (400, BASE["Call-ID"])


def test_a_lone_lf_ends_a_line():
    message = well_formed(build(body=b"a\nb", Content_Length=b"3").replace(b"\r\n", b"\n"))
    assert message.call_id == BASE["Call-ID"]
    assert message.body == b"a\nb"
    assert well_formed(build(extra=b"Subject: a\n  b\n")).header("Subject") == b"a b"


@pytest.mark.parametrize("tail", [b"\r\n", b"", b"Subject: x", b"Subject: x\r", b"Subject: x\r\n"])
def test_no_end_of_the_header(tail):
    message = parse(build()[:-2] + tail)
    assert message.error == (0 if tail == b"\r\n" else 400)
    assert message.call_id == BASE["Call-ID"]


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 1000])
def test_empty_lines_before_the_start_line(blank):
    # RFC 3261 §7.5
    message = well_formed(blank + REQUEST)
    assert message.data == REQUEST
    assert message.headers == parse(REQUEST).headers


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\x00", b"\x00\x00\x00\x00", b"\n" * 65535, b" "])
def test_nothing_to_read(data):
    message = parse(data)
    assert message.error == 400
    assert (message.headers, message.method, message.uri) == ([], "", b"")
    touch_all(message)


# Folding and white space (§7.3.1)

SPELLINGS = {
    "plain": b"Subject: I know you're there, pick up the phone and talk to me!\r\n",
    "no space": b"Subject:I know you're there, pick up the phone and talk to me!\r\n",
    "space before the colon": b"Subject \t :   I know you're there, pick up the phone and talk to me!  \t\r\n",
    "folds": b"Subject: I know you're there,\r\n  pick up the phone \r\n\tand talk to me!\r\n",
    "folds around": b"Subject:\r\n I know you're there, pick up the phone and talk to me!\r\n \r\n",
    "compact": b"s: I know you're there, pick up the phone and talk to me!\r\n",
    "lone LFs": b"SUBJECT: I know you're there, pick up\n the phone and talk to me!\n",
}


@pytest.mark.parametrize("line", SPELLINGS.values(), ids=SPELLINGS)
def test_spellings_of_one_header(line):
    message = well_formed(build(extra=line))
    assert message.header("subject") == b"I know you're there, pick up the phone and talk to me!"


def test_mandatory_headers_with_folds_everywhere():
    message = well_formed(
        b"INVITE sip:bob@example.com SIP/2.0\r\n"
        b"v:\r\n SIP \r\n / 2.0\r\n /\r\n UDP\r\n 192.0.2.1\r\n :\r\n 5060\r\n ;\r\n branch\r\n =\r\n z9hG4bK1\r\n"
        b" ;rport\r\n"
        b'f:\r\n "Alice"\r\n <sip:alice@example.com>\r\n ;\r\n tag\r\n =\r\n 1\r\n'
        b"t:\r\n sip:bob@example.com\r\n ;\r\n tag\r\n =\r\n 2\r\n"
        b"i:\r\n 1@192.0.2.1\r\n"
        b"CSeq:\r\n 0001\r\n INVITE\r\n"
        b"Max-Forwards:\r\n 0070\r\n"
        b"l:\r\n 2\r\n"
        b"\r\n"
        b"ab and what is not the body"
    )
    assert parse_via(message.header("Via")) == ("UDP", b"192.0.2.1", 5060, {b"branch": b"z9hG4bK1", b"rport": None})
    assert (message.from_tag, message.to_tag, message.call_id) == (b"1", b"2", b"1@192.0.2.1")
    assert (message.cseq, message.seconds("Max-Forwards"), message.body) == ((1, "INVITE"), 70, b"ab")
    assert (message.from_aor, message.to_aor) == (b"sip:alice@example.com", b"sip:bob@example.com")


# Headers that must be there, once, and right (§8.1.1)


@pytest.mark.parametrize("start", [REQUEST_LINE, STATUS_LINE])
@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_a_missing_mandatory_header(name, start):
    data = build(start, body=b"body", **{name.replace("-", "_"): None})
    message = parse(data)
    assert (message.error, message.error_reason) == (400, f"no {name}")
    assert data[message.error_offset :] == b"body"
    found = {"Via": message.branch, "From": message.from_tag, "To": message.to_aor, "Call-ID": message.call_id}
    assert {key for key, value in found.items() if not value} == {name} & found.keys()


def test_max_forwards_may_be_absent():
    assert well_formed(build(Max_Forwards=None)).seconds("Max-Forwards") == -1


SINGLE = {
    "From": b"<sip:alice@example.com>;tag=1928301774",
    "f": b"<sip:alice@example.com>;tag=2",
    "To": b"Bob <sip:bob@example.com>",
    "t": b"Bob <sip:bob@example.com>",
    "Call-ID": b"a84b4c76e66710@192.0.2.1",
    "i": b"another",
    "CSeq": b"314159 OPTIONS",
    "Max-Forwards": b"70",
    "Content-Length": b"5",
    "l": b"0",
    "Content-Type": b"application/sdp",
    "Expires": b"1",
    "Min-Expires": b"1",
    "Event": b"presence",
    "Refer-To": b"<sip:x@example.com>",
    "Referred-By": b"<sip:x@example.com>",
    "Replaces": b"1;to-tag=2;from-tag=3",
    "Session-Expires": b"90",
}


@pytest.mark.parametrize(("name", "value"), SINGLE.items(), ids=SINGLE)
def test_a_single_header_twice(name, value):
    again = {"f": "From", "t": "To", "i": "Call-ID", "l": "Content-Length"}.get(name, name)
    first = b"" if again in BASE else again.encode() + b": " + (b"4" if again == "Content-Length" else value) + b"\r\n"
    line = name.encode() + b": " + value + b"\r\n"
    data = build(extra=first + line, body=b"body!")
    message = parse(data)
    assert message.error == 400
    assert data.rindex(line) <= message.error_offset < data.rindex(line) + len(line)
    if again != "Content-Length":
        assert message.error_reason == "a header field twice that may be there once"
    assert message.call_id == BASE["Call-ID"], "the first counts"


@pytest.mark.parametrize("name", ["Via", "Contact", "Route", "Supported", "Allow", "X-Unknown", "User-Agent", "Warning"])
def test_other_headers_may_come_again(name):
    value = BASE["Via"] if name == "Via" else b"<sip:a@example.com>"
    well_formed(build(extra=(name.encode() + b": " + value + b"\r\n") * 3))


CALL_IDS = {
    "RFC 3261 §20.8": (b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6@foo.bar.com", 0),
    "every character of word": (b"-.!%*_+`'~()<>:\\\"/[]?{}", 0),
    "what base64 needs": (b"abc==@x/y+z", 0),
    "empty": (b"", 400),
    "a space": (b"a b", 400),
    "a fold": (b"a\r\n b", 400),
    "two values": (b"a, b", 400),
    "a parameter": (b"a;b", 400),
    "not ASCII": ("é".encode(), 400),
}


@pytest.mark.parametrize(("value", "status"), CALL_IDS.values(), ids=CALL_IDS)
def test_call_id(value, status):
    message = parse(build(Call_ID=value))
    assert message.error == status
    if not status:
        assert message.call_id == value


CSEQS = {
    "zero": (b"0 OPTIONS", 0),
    "leading zeros": (b"0000000000000000000000000000000000001 OPTIONS", 0),
    "the most": (b"2147483647 OPTIONS", 0),
    "white space": (b"1 \t OPTIONS", 0),
    "2**31": (b"2147483648 OPTIONS", 400),
    "2**32": (b"4294967296 OPTIONS", 400),
    "2**64 + 1": (b"18446744073709551617 OPTIONS", 400),
    "very long": (b"1" * 1000 + b" OPTIONS", 400),
    "negative": (b"-1 OPTIONS", 400),
    "plus": (b"+1 OPTIONS", 400),
    "hexadecimal": (b"0x1 OPTIONS", 400),
    "no number": (b"OPTIONS", 400),
    "no method": (b"1", 400),
    "no method but a space": (b"1 ", 400),
    "no space": (b"1OPTIONS", 400),
    "another method": (b"1 INVITE", 400),
    "lower case": (b"1 options", 400),
    "a longer method": (b"1 OPTIONSX", 400),
    "more": (b"1 OPTIONS x", 400),
    "empty": (b"", 400),
}


@pytest.mark.parametrize(("value", "status"), CSEQS.values(), ids=CSEQS)
def test_cseq(value, status):
    message = parse(build(CSeq=value))
    assert (message.error, "CSeq" in message.error_reason) == (status, bool(status))
    if not status:
        assert message.cseq == (int(value.split()[0]), "OPTIONS")


NUMBERS = {"0": 0, "70": 70, "255": 255, "0068": 68, "256": None, "-1": None, "": None, "7 0": None, "7x": None,
           "99999999999999999999": None, "1.5": None, "70;x": None}  # fmt: skip


@pytest.mark.parametrize(("value", "number"), NUMBERS.items(), ids=NUMBERS)
def test_max_forwards(value, number):
    message = parse(build(Max_Forwards=value.encode()))
    assert message.error == (400 if number is None else 0)
    if number is not None:
        assert message.seconds("Max-Forwards") == number


# The body (§18.3, §20.14)

LENGTHS = {
    "exact": (b"5", 0, b"12345"),
    "padding is cut": (b"3", 0, b"123"),
    "none": (b"0", 0, b""),
    "absent": (None, 0, b"12345"),
    "leading zeros": (b"0005", 0, b"12345"),
    "the body is shorter": (b"6", 400, b"12345"),
    "more than a datagram": (b"65536", 400, b"12345"),
    "2**32": (b"4294967296", 400, b"12345"),
    "2**64 + 5": (b"18446744073709551621", 400, b"12345"),
    "negative": (b"-1", 400, b"12345"),
    "a word": (b"five", 400, b"12345"),
    "empty": (b"", 400, b"12345"),
    "two": (b"5, 5", 400, b"12345"),
}


@pytest.mark.parametrize(("value", "status", "body"), LENGTHS.values(), ids=LENGTHS)
def test_content_length(value, status, body):
    message = parse(build(body=b"12345", Content_Length=value))
    assert (message.error, message.body) == (status, body)


def test_the_same_content_length_twice_is_no_contradiction():
    assert well_formed(build(extra=b"l: 5\r\nContent-Length: 05\r\n", body=b"12345")).body == b"12345"


# A malformed message keeps what could be read


def test_the_first_fault_is_the_one_reported():
    message = parse(build(b"OPTIONS sip:bob@example.com SIP/3.0", CSeq=b"x", Via=b"y"))
    assert (message.error, message.error_reason) == (505, "not SIP/2.0")


def test_one_bad_field_leaves_the_others():
    message = parse(build(To=b'"open <sip:bob@example.com>', body=b"ab", Content_Length=b"1"))
    assert message.error == 400
    assert message.branch == b"z9hG4bK776asdhds"
    assert message.from_tag == b"1928301774"
    assert message.cseq == (314159, "OPTIONS")
    assert (message.to_aor, message.to_tag) == (b"", b"")
    assert message.body == b"a"
