"""No message, however broken, makes the parser point outside of it: looked at through its C face."""

from pathlib import Path

import pytest
from compiled import compiled
from hypothesis import given
from hypothesis import strategies as st
from messages import REQUEST, STATUS_LINE, build

HERE = Path(__file__).parent
TORTURE = sorted((HERE.parent / "data" / "torture").glob("*/*.sip"))


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    return compiled(HERE / "spans.pyx", tmp_path_factory.mktemp("spans"))


@pytest.mark.parametrize("path", TORTURE, ids=lambda path: path.stem)
def test_torture_messages_and_their_beginnings(spans, path):
    data = path.read_bytes()
    spans.check(data)
    for end in range(0, len(data), 7):
        spans.check(data[:end])


SPACED = (
    b"INVITE sip:bob:pw@[2001:db8::1]:5060;lr;x=%41 SIP/2.0\r\n"
    b"Via : SIP / 2.0 / UDP [::1] : 5060 ; branch = z9hG4bK1 ; rport ; received = ::1 , SIP/2.0/TCP b ; x\r\n"
    b'From :\r\n "A \\" B" <sip:a:b@c:5060;d=e?f=g&h=i> ; tag = 1 ; j = "k" \r\n'
    b"To : sip:bob@example.com ; tag = 2 ; l\r\n"
    b"Call-ID : 1@2 \r\nCSeq : 1 \r\n INVITE \r\nMax-Forwards : 70 \r\n"
    b"Contact : <tel:+1-2;ext=3> ; q = 0.5 , A B\t<sips:h> ; m , sip:n@o ;p=q\r\n"
    b"Retry-After : 120 ( a ( b ) ) ; duration = 1 \r\nl : 3 \r\n\r\nabc"
)


@pytest.mark.parametrize("byte", [b"", b" ", b">", b'"', b",", b";", b"\x00", b"\n", b"%", b"\\", b"\xff"])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_byte_changed_anywhere(spans, byte, cut):
    assert spans.check(SPACED) == 0
    for at in range(len(SPACED)):
        spans.check(SPACED[:at] + byte + SPACED[at + cut :])


PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\r\n\t", b",", b";", b":", b"=", b"<", b">", b'"', b"\\", b"@", b"%", b"%41"]
PIECES += [b"[::1]", b"]", b"(", b"\x00", b"\xff", b"?", b"&", b"sip:", b"tel:", b"SIP/2.0/UDP ", b"INVITE", b"9" * 25]
PIECES += [b"v:", b"f:", b"t:", b"i:", b"l:0", b"m: ", b"tag=1", b";rport", b";branch=z9hG4bK1", b"CSeq: 1 INVITE"]
PIECES += [b"\r\n\r\n", b"Retry-After: 1 (", b"\r\nx-y: z" * 40]
originals = [REQUEST, build(STATUS_LINE), *(path.read_bytes() for path in TORTURE if path.stem != "longreq")]


@given(
    data=st.sampled_from(originals),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.sampled_from(PIECES)), min_size=1, max_size=10),
)
def test_mutations(spans, data, edits):
    for where, cut, piece in edits:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + cut :]
    assert spans.check(data) in (0, 400, 505, 513)


@given(st.lists(st.sampled_from(PIECES), max_size=150).map(b"".join))
def test_mixtures(spans, data):
    spans.check(data)
    spans.check(build(extra=data))


@given(st.binary(max_size=3000))
def test_any_bytes(spans, data):
    spans.check(data)
