"""Session descriptions: what a server without media offers, answers and passes on (RFC 3264, RFC 3725 §7)."""

from __future__ import annotations

import pytest

from sipfast.dialog import sdp

PHONE = (
    b"v=0\r\no=alice 5 7 IN IP4 10.0.1.1\r\ns=a call\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\n%b"
    b"m=audio 4000 RTP/AVP 9 0 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n%b"
    b"m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)


def test_the_offer() -> None:
    lines = sdp.offer(b"192.0.2.1", 7, 3).decode().split("\r\n")
    assert lines[:5] == ["v=0", "o=- 7 3 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    assert lines[5] == "m=audio 9 RTP/AVP 0 8 101" and lines[-2] == "a=sendrecv"


def test_an_ipv6_address() -> None:
    assert b"o=- 1 1 IN IP6 2001:db8::1\r\n" in sdp.offer(b"2001:db8::1", 1, 1)
    assert b"\r\nc=IN IP6 2001:db8::1\r\n" in sdp.offer(b"2001:db8::1", 1, 1)


@pytest.mark.parametrize(
    ("whole", "own", "answered"),
    [
        (b"", b"", b"sendrecv"),
        (b"", b"a=sendonly\r\n", b"recvonly"),
        (b"", b"a=recvonly\r\n", b"sendonly"),
        (b"", b"a=inactive\r\n", b"inactive"),
        (b"a=sendonly\r\n", b"", b"recvonly"),
        (b"a=sendonly\r\n", b"a=sendrecv\r\n", b"sendrecv"),
    ],
)
def test_an_answer_takes_the_audio_and_nothing_else(whole: bytes, own: bytes, answered: bytes) -> None:
    """RFC 3264 §6: as many media as were offered, in their order; §6.1: the direction is the other one."""
    lines = sdp.answer(PHONE % (whole, own), b"192.0.2.1", 7, 3).split(b"\r\n")
    media = [line for line in lines if line.startswith(b"m=")]
    assert media == [b"m=audio 9 RTP/AVP 9 0 101", b"m=video 0 RTP/AVP 96"]
    directions = [line for line in lines if line[2:] in (b"sendrecv", b"sendonly", b"recvonly", b"inactive")]
    assert directions == [b"a=" + answered]
    assert b"a=rtpmap:0 PCMU/8000" in lines and b"a=rtpmap:96 H264/90000" not in lines


def test_what_is_passed_on_is_the_phones_but_for_the_origin() -> None:
    body = PHONE % (b"", b"")
    relayed = sdp.relayed(body, b"192.0.2.1", 7, 3)
    assert relayed == body.replace(b"o=alice 5 7 IN IP4 10.0.1.1", b"o=- 7 3 IN IP4 192.0.2.1")
    assert sdp.relayed(b"no description", b"192.0.2.1", 7, 3) == b"no description"
    assert sdp.is_same(body, relayed) and not sdp.is_same(body, PHONE % (b"", b"a=sendonly\r\n"))


def test_line_ends_of_others() -> None:
    body = (PHONE % (b"", b"")).replace(b"\r\n", b"\n")
    assert sdp.answer(body, b"192.0.2.1", 7, 3) == sdp.answer(PHONE % (b"", b""), b"192.0.2.1", 7, 3)
    assert b"\no=- 7 3 IN IP4 192.0.2.1\r\n" in sdp.relayed(body, b"192.0.2.1", 7, 3)


def test_a_choice_of_codecs_moves_nothing() -> None:
    body = PHONE % (b"", b"")
    assert sdp.place(body) == sdp.place(body.replace(b"RTP/AVP 9 0 101", b"RTP/AVP 0 101"))
    for other in (
        body.replace(b"4000", b"5000"),
        body.replace(b"c=IN IP4 10.0.1.1", b"c=IN IP4 10.0.1.2"),
        PHONE % (b"", b"a=sendonly\r\n"),
    ):
        assert sdp.place(other) != sdp.place(body)
