"""Session descriptions (RFC 4566) as a server needs them that takes no media.

What it offers and answers by itself, and the descriptions of two phones, passed on from one to the other (RFC 3725).
Bytes in, bytes out; what cannot be read is passed on as it is.
"""

from __future__ import annotations

DISCARD = 9  # the port where nothing is listened on (RFC 863)
# What every phone has; with anything less, or with a direction other than sendrecv, some refuse or stay mute.
LINES = (
    b"m=audio %d RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n" % DISCARD
)
TURNED = {
    b"a=sendonly": b"a=recvonly",
    b"a=recvonly": b"a=sendonly",
    b"a=inactive": b"a=inactive",
    b"a=sendrecv": b"a=sendrecv",
}


def origin(host: bytes, session: int, version: int) -> bytes:
    """The o= line of a session of ours: always the same but for its version, which grows with each change (RFC 3264 §8)."""
    return b"o=- %d %d IN IP%d %b\r\n" % (session, version, 6 if b":" in host else 4, host)


def _head(host: bytes, session: int, version: int) -> bytes:
    family = 6 if b":" in host else 4
    return b"v=0\r\n%bs=-\r\nc=IN IP%d %b\r\nt=0 0\r\n" % (origin(host, session, version), family, host)


def offer(host: bytes, session: int, version: int) -> bytes:
    """Audio both ways, at an address of ours where nothing is received."""
    return _head(host, session, version) + LINES


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.replace(b"\r\n", b"\n").split(b"\n") if line]


def answer(body: bytes, host: bytes, session: int, version: int) -> bytes:
    """An answer to somebody's offer (RFC 3264 §6): its audio is taken, with nothing behind it, and all else is not."""
    out = []
    audio = taken = begun = False
    whole = direction = b"a=sendrecv"
    for line in _lines(body):
        if line.startswith(b"m="):
            if audio:
                out.append(direction)
            begun = True
            media, port, rest = ([*line[2:].split(b" ", 2), b"", b""])[:3]
            audio = media == b"audio" and port != b"0" and not taken
            taken = taken or audio
            direction = whole
            out.append(b"m=%b %d %b" % (media, DISCARD if audio else 0, rest))
        elif audio and line.startswith((b"a=rtpmap:", b"a=fmtp:")):
            out.append(line)
        elif line in TURNED and (audio or not begun):
            direction = TURNED[line]
            whole = whole if begun else direction
    if audio:
        out.append(direction)
    return _head(host, session, version) + b"".join(line + b"\r\n" for line in out)


def relayed(body: bytes, host: bytes, session: int, version: int) -> bytes:
    """A description of one phone as the other one gets it: the media are the phone's, the session is ours (RFC 3725 §7)."""
    start = body.find(b"\no=")
    if not body.startswith(b"v=") or start < 0:
        return body
    end = body.find(b"\n", start + 1)
    return body[: start + 1] + origin(host, session, version) + (body[end + 1 :] if end >= 0 else b"")


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two descriptions ask for the same media, whatever their o= lines say."""
    return [line for line in _lines(one) if not line.startswith(b"o=")] == [
        line for line in _lines(other) if not line.startswith(b"o=")
    ]


def place(body: bytes) -> list[bytes]:
    """Where a phone wants its media, which way and by what keys: that changes, and its other side has to know.

    Not the codecs: the other side has chosen by then, of those that it was offered.
    """
    found = []
    for line in _lines(body):
        if line.startswith(b"m="):
            found.append(b" ".join(line.split(b" ")[:3]))
        elif line in TURNED or line.startswith(
            (b"c=", b"a=crypto", b"a=fingerprint", b"a=setup", b"a=ice-", b"a=candidate")
        ):
            found.append(line)
    return found
