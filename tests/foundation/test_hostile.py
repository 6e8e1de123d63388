"""Messages at the limits and beyond them, and properties that hold for any bytes at all."""

import time
import tracemalloc

import pytest
from hostile import HOSTILE, PIECES
from hypothesis import assume, example, given
from hypothesis import strategies as st
from messages import BASE, COMPACT, KNOWN, REQUEST, REQUEST_LINE, STATUS_LINE, build, touch_all, well_formed

from sipfast._parser import parse, parse_address, parse_via
from sipfast.errors import ParseError

# Limits


def test_as_many_fields_as_we_take():
    extra = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(1024 - len(BASE)))
    message = well_formed(build(extra=extra, body=b"b"))
    assert len(message.headers) == 1024
    assert message.header("X-1017") == b"1017"
    message = parse(build(extra=extra + b"One: more\r\n", body=b"b"))
    assert (message.error, len(message.headers)) == (513, 1024)
    assert message.call_id == BASE["Call-ID"]
    touch_all(message)


@pytest.mark.parametrize("count", [34, 35, 36, 249, 250, 251])
def test_fields_survive_a_growing_table(count):
    message = well_formed(
        build(extra=b"".join(b"X-%d: %d\r\nRoute: <sip:%d.example>\r\n" % (n, n, n) for n in range(count)))
    )
    assert [value for name, value in message.headers if name.startswith(b"X-")] == [b"%d" % n for n in range(count)]
    assert list(message.values("Route")) == [b"<sip:%d.example>" % n for n in range(count)]


def test_the_largest_message():
    room = 65535 - len(build())
    assert len(well_formed(build(body=b"x" * room)).body) == room
    message = parse(build(body=b"x" * (room + 1)))
    assert (message.error, message.call_id) == (513, BASE["Call-ID"])
    message = parse(build(extra=b"X: " + b"x" * 10_000_000 + b"\r\n"))
    assert (message.error, message.call_id) == (513, BASE["Call-ID"])


def test_memory_of_large_messages_comes_back():
    data = build(extra=b"X: y\r\n" * 900)
    parse(data)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(500):
        parse(data)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 100_000


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_input_takes_linear_time(data):
    # A loop within a loop over 64 KiB is seconds; the bound leaves the slowest machine a factor of ten.
    start = time.process_time()
    message = parse(data)
    parsed = time.process_time() - start
    touch_all(message)
    assert parsed < 0.05
    assert time.process_time() - start < 1


# Properties

TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
names = st.text(TOKEN, min_size=2, max_size=24).filter(lambda name: name.lower() not in KNOWN)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=9)
folds = st.sampled_from([" ", "\r\n ", " \r\n\t", "\r\n \r\n  "])
spaces = st.sampled_from(["", " ", "\t ", "\r\n "])
fields = st.lists(st.tuples(names, st.lists(words, max_size=6)), max_size=60)


@given(fields=fields, data=st.data())
def test_headers_out_are_headers_in(fields, data):
    lines = []
    expected = []
    for name, parts in fields:
        value = "".join(part + (data.draw(folds) if i + 1 < len(parts) else "") for i, part in enumerate(parts))
        before, after, colon = data.draw(spaces), data.draw(spaces), data.draw(st.sampled_from([":", " :", "\t: "]))
        lines.append(f"{name}{colon}{before}{value}{after}\r\n")
        expected.append((name.encode(), " ".join(parts).encode()))
    assume(sum(map(len, lines)) < 60000)
    message = well_formed(build(extra="".join(lines).encode()))
    assert message.headers[len(BASE) :] == expected
    for name, _ in fields:
        first = next(value for other, value in expected if other.lower() == name.lower().encode())
        assert message.header(name) == first
        assert message.header(name.swapcase()) == first


@given(
    order=st.permutations(list(BASE)),
    compact=st.sets(st.sampled_from(["Via", "From", "To", "Call-ID"])),
    data=st.data(),
)
def test_the_same_message_in_any_spelling(order, compact, data):
    letters = {name: letter for letter, name in COMPACT.items() if name}
    lines = []
    for name in order:
        value = BASE[name].decode()
        spelled = letters[name] if name in compact else name
        spelled = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in spelled)
        if name != "Call-ID":
            value = "".join(data.draw(folds) if c == " " else c for c in value)
        lines.append(f"{spelled}{data.draw(st.sampled_from([':', ' :']))}{data.draw(spaces)}{value}{data.draw(spaces)}\r\n")
    spelled, plain = well_formed(REQUEST_LINE + b"\r\n" + "".join(lines).encode() + b"\r\n"), parse(build())
    for name in ("method", "uri", "call_id", "from_tag", "from_aor", "to_aor", "branch", "cseq", "body"):
        assert getattr(spelled, name) == getattr(plain, name)
    assert [parse_via(value) for value in spelled.values("Via")] == [parse_via(BASE["Via"])]


@given(
    st.lists(
        st.sampled_from([b"<sip:a,b@c.example>", b'"x, \\" y" <sip:d@e.example>;q=0.1', b"sip:f@g.example", b'h;i=","']),
        min_size=1,
    ),
    st.data(),
)
def test_values_out_are_values_in(values, data):
    lines = b"Contact: " + values[0]
    for value in values[1:]:
        lines += data.draw(st.sampled_from([b",", b" , ", b",\r\n ", b"\r\nm:", b"\r\nCONTACT : "])) + value
    assert list(well_formed(build(extra=lines + b"\r\n")).values("Contact")) == values


@given(st.binary(max_size=2000))
def test_any_bytes_are_survived(data):
    touch_all(parse(data))
    for read in (parse_via, parse_address):
        try:
            read(data)
        except ParseError as error:
            assert error.status == 400


@given(
    st.sampled_from([REQUEST, build(STATUS_LINE), HOSTILE["Via without end"][:3000]]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.sampled_from(PIECES)), min_size=1, max_size=8),
)
@example(REQUEST, [(0.0, 9, b"\r\n")])
def test_any_mutation_is_survived(data, edits):
    for where, cut, piece in edits:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + cut :]
    message = parse(data)
    touch_all(message)
    assert message.error in (0, 400, 505, 513)


@given(st.lists(st.sampled_from(PIECES), max_size=200).map(b"".join))
def test_any_mixture_of_separators_is_survived(data):
    touch_all(parse(data))
    touch_all(parse(build(extra=data)))
    touch_all(parse(build(Contact=data)))
    touch_all(parse(build(Via=data, From=data)))
