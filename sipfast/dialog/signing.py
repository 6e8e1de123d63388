"""Requests of a leg that say who we are: how the header lines get into them, and what is stored of whom was answered."""

from __future__ import annotations

from collections.abc import Callable

from ..store.records import Nonce, Tried
from .digest import Answers, Challenge, Nonces, Request

_OURS = (b"Authorization:", b"Proxy-Authorization:")


def signature_of(data: bytes) -> Request:
    """What is signed of a request that is about to be sent."""
    method, uri, _ = data.split(b" ", 2)
    return Request(method, uri, data.partition(b"\r\n\r\n")[2])


def signed(data: bytes, lines: bytes) -> bytes:
    """A request with these header lines."""
    head, _, body = data.partition(b"\r\n\r\n")
    return b"%b\r\n%b\r\n%b" % (head, lines, body)


def again(data: bytes, branch: bytes, cseq: int, lines: bytes) -> bytes:
    """A request as a new one, with these lines instead of those that it had (RFC 3261 §8.1.3.5, §22.2)."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, via, *fields = head.split(b"\r\n")
    former = via.rpartition(b";branch=")[2].partition(b";")[0]
    method = first.partition(b" ")[0]
    fields = [
        b"CSeq: %d %b" % (cseq, method) if field.startswith(b"CSeq:") else field
        for field in fields
        if not field.startswith(_OURS)
    ]
    return signed(b"\r\n".join([first, via.replace(former, branch), *fields, b"\r\n"]) + body, lines)


def stored_nonces(nonces: Nonces) -> tuple[Nonce, ...]:
    """What a record has of them."""
    return tuple(
        Nonce(one.field, one.realm, one.nonce, one.algorithm, one.qops, one.opaque, used) for one, used in nonces.values()
    )


def nonces_of(stored: tuple[Nonce, ...]) -> Nonces:
    """Those that a record has."""
    return {
        (one.field, one.realm): (
            Challenge(one.field, one.realm, one.nonce, one.algorithm, one.qops, one.opaque, False), one.used)
        for one in stored
    }  # fmt: skip


def tried(answers: Answers | None) -> Tried | None:
    """What a record has of whom one request has answered."""
    if answers is None:
        return None
    return Tried(answers.rounds, tuple(sorted(answers.answered)), tuple(sorted(answers.renewed)))


def answers_of(stored: Tried | None, new_cnonce: Callable[[], bytes], nonces: Nonces) -> Answers | None:
    """The same again, without the credentials."""
    if stored is None:
        return None
    answers = Answers((), new_cnonce, nonces)
    answers.rounds, answers.answered, answers.renewed = stored.rounds, set(stored.answered), set(stored.renewed)
    return answers
