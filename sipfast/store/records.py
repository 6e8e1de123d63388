"""What the store keeps: bindings and watches, as msgspec structs with a version in front.

All times are whole milliseconds since the epoch. Wire values (AORs, URIs, tags) are bytes, as they came.
A record is read back by `decode_*`, which raise StoreUnreadable for anything that is not a record of a known version.
A field added at the end, with a default, keeps the version; any other change takes a new one, and a way to read the old.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Protocol, TypeVar

import msgspec

from ..errors import StoreUnreadable

log = logging.getLogger(__name__)

Number = Annotated[int, msgspec.Meta(le=2**63 - 1)]  # as much as compiled code holds; more is damage


class _Version(Protocol):
    @property
    def version(self) -> int: ...


Record = TypeVar("Record")
Stored = TypeVar("Stored", bound=_Version)
MOST_TOLD = 1_000  # records, of which each is told of once
SHOWN = 80  # bytes of such a record: its version and its AOR

VERSION = 1  # of watches, talks, moves, legs, phones and the anchor
BINDINGS_VERSION = 2  # 1: Binding.flow was the REGISTER's own, and a Contact at its address was followed instead

MOST_ENDED = 1000  # watches that are over and still kept
# A new login of the callee ends the pause after a recall, unless there were more of these in a row: a phone that comes and
# goes is no reason to have another one ring.
PAUSES_CUT_SHORT = 3
MOST_PHONES = 10_000  # devices and User-Agents of which is remembered what they did
MOST_ATTEMPTS = 16  # recalls of one watch whose outcomes are kept

OFFERED = "offered"  # a 480 has offered it to the caller, whose ACK has not come yet: it is not armed before
ARMED = "armed"  # waiting for the callee
RECALLING = "recalling"  # REFER sent, or about to be: marked before it leaves
CALLING = "calling"  # the caller's new INVITE has been seen
SUSPENDED = "suspended"  # the caller cannot take a recall now
WAITING = (ARMED, SUSPENDED)
CLAIMED = (RECALLING, CALLING)  # a recall goes on
DEVICE = "device"  # whom a Phone is about
AGENT = "agent"
EARLY_REFER = "early-refer"  # Note.method of the REFER that `callback` sends while the phone rings
NOT_LOGGED_IN = "NL"  # RFC 6910 m=NL

INVITED = "invited"  # a leg's INVITE has no final response yet
ANSWERED = "answered"  # it got a 2xx
ENDING = "ending"  # CANCEL or BYE is on its way


class Binding(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One contact of an AOR (RFC 3261 §10.3)."""

    contact: bytes  # the URI, without angle brackets
    expires: int  # ms since the epoch
    call_id: bytes
    cseq: int
    q: int = 1000  # thousandths
    params: bytes = b""  # header parameters to list again, other than q and expires: b';+sip.instance="..."'
    path: bytes = b""  # Path field values joined by ", " (RFC 3327), b"" where there is none
    flow: bytes = b""  # Flow.pack() of the way to the phone: mostly that of the REGISTER (location.way)
    instance: bytes = b""  # +sip.instance value without quotes (RFC 5626 §4.1), b"" where there is none
    updated: int = 0  # ms since the epoch
    reg_id: int = 0  # RFC 5626 §4.2; 0 where there is none
    branch: int = 0  # 32 bits of a hash of the REGISTER's Via branch, by which a retransmission is known
    doubtful: int = 0  # ms since the epoch: since then its phone has answered nothing; 0 where it is not in doubt


class Watch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One stored caller-callee pair with its monitoring period."""

    callee: bytes  # AOR
    caller: bytes  # AOR
    armed_at: Number  # first armed; the order of recalls
    expires_at: Number
    call_id: bytes  # of the INVITE that armed it
    contact: bytes  # the caller's Contact URI of that INVITE
    path: bytes = b""  # Path of the caller's binding then, if any
    flow: bytes = b""  # Flow.pack() that the INVITE came by
    instance: bytes = b""  # +sip.instance of that Contact
    mode: str = NOT_LOGGED_IN
    state: str = ARMED
    attempts: Number = 0  # REFERs sent since it was armed
    last_result: str = ""
    refer_call_id: bytes = b""  # of the recall in progress
    refer_tag: bytes = b""  # its From tag
    recalled_at: Number = 0  # when the last REFER was sent
    not_before: Number = 0  # no recall before it, while the callee stays bound: the pause after a failed one
    method: str = ""  # by which the caller's phone is being asked, "" before the first recall
    agent: bytes = b""  # User-Agent of the INVITE that armed it, cut
    registration: bytes = b""  # Call-ID of the caller's binding then (RFC 3261 §10.2), b"" where it had none
    identity: str = ""  # how the caller is known: "upstream", "peer", "password"; "": by its device, or it says so itself
    pauses: Number = 0  # suspensions and pauses in a row: each is longer than the last
    offer: bytes = b""  # while it is offered: which worker has, and the To tag of its 480; else b""
    port: Number = 0  # that the caller has dialled behind the callee's domain; 0: none


class Talk(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A call that a recall brought about and that keeps the callee's next watch waiting (redial.order = "serial")."""

    callee: bytes
    caller: bytes
    call_id: bytes
    since: int
    caller_tag: bytes = b""  # of the caller's side of the dialog (RFC 3261 §12); b"" where it is not known
    callee_tag: bytes = b""


class Move(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A phone that was reached by one flow and is now reached by another: flow tokens of the old one lead there."""

    old: bytes  # Flow.pack()
    new: bytes  # Flow.pack()
    aor: bytes
    contact: bytes  # the URI that the phone had registered from there
    expires: int  # ms since the epoch: no call lasts longer


class Nonce(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Who has asked who we are (RFC 3261 §22): the last challenge, as it was read."""

    field: str  # the header that answers it
    realm: bytes
    nonce: bytes
    algorithm: str
    qops: tuple[str, ...]
    opaque: bytes | None
    used: int  # requests that have answered it


class Tried(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Whom one request has answered, sent again and again: each by header and realm."""

    rounds: int  # it was sent again so often
    answered: tuple[tuple[str, bytes], ...]
    renewed: tuple[tuple[str, bytes], ...]  # twice, since a nonce was stale


class Leg(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A dialog that the server itself has with a phone that it has called (RFC 3261 §12), from its INVITE on."""

    call_id: bytes
    recall: bytes  # Call-ID of the recall that it is for (Watch.refer_call_id)
    callee: bytes  # AORs of the watch
    caller: bytes
    since: int  # when its INVITE was sent
    local: bytes  # From of what the server sends in it, with its tag
    remote: bytes  # To, with a tag once there is one
    target: bytes  # remote target: the URI
    flow: bytes  # Flow.pack() of the way to it
    state: str = INVITED
    routes: tuple[bytes, ...] = ()  # route set, in the order of Route values
    seq: int = 0  # CSeq of the last request that was sent in it
    remote_seq: int = -1  # and of the last that came; -1: none has
    pending: tuple[bytes, ...] = ()  # requests without a final response, as they were sent
    step: str = ""  # how far whoever uses it has come with it
    stepped: int = 0  # since when
    peer: bytes = b""  # Call-ID of the leg that it is joined with
    offered: bytes = b""  # the last session description that it was sent
    heard: bytes = b""  # and the last that came from there
    version: int = 0  # of the descriptions that it was sent (RFC 3264 §8)
    agent: bytes | None = None  # User-Agent of the phone, where it is the caller's
    nonces: tuple[Nonce, ...] = ()  # of who has asked in it who we are
    tried: tuple[Tried | None, ...] = ()  # for each of `pending`: whom it has answered that
    proof: bytes = b""  # the header lines that do so in its last INVITE


class Anchor(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What ties all other times of the store to the machine's time since its boot (node/clock.py)."""

    boot: str  # the kernel's id of that boot; "" where it gives none
    zero: int  # when that boot began, ms since the epoch
    latest: int  # the latest time that is known to have come


class Ended(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A watch that is over, and what became of it: the last MOST_ENDED are kept, for people."""

    watch: Watch  # as it was last
    ended_at: int
    reason: str
    attempts: tuple[tuple[int, str], ...] = ()  # each recall: when the REFER left, and what came of it


class Note(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What came of one recall method, or of a part of one."""

    method: str  # or EARLY_REFER
    worked: bool  # or it was refused
    at: Number
    until: Number  # then it is forgotten


class Phone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one device, or phones of one User-Agent, did when they were recalled."""

    kind: str  # DEVICE or AGENT
    name: bytes  # its +sip.instance, else its Contact URI; or the User-Agent
    agent: bytes  # the User-Agent
    notes: tuple[Note, ...]  # one for a method


class _Versioned(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int


class _Bindings(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    aor: bytes
    bindings: tuple[Binding, ...]


class _Watch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    watch: Watch


class _Talk(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    talk: Talk


class _Move(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    move: Move


class _Leg(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    leg: Leg


class _Anchor(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    anchor: Anchor


class _Ended(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    ended: Ended


class _Phone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    phone: Phone


class _Attempts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    attempts: tuple[tuple[int, str], ...]


_encode = msgspec.msgpack.Encoder().encode
_versioned = msgspec.msgpack.Decoder(_Versioned)
_bindings = msgspec.msgpack.Decoder(_Bindings)
_watch = msgspec.msgpack.Decoder(_Watch)
_talk = msgspec.msgpack.Decoder(_Talk)
_move = msgspec.msgpack.Decoder(_Move)
_leg = msgspec.msgpack.Decoder(_Leg)
_ended = msgspec.msgpack.Decoder(_Ended)
_attempts = msgspec.msgpack.Decoder(_Attempts)
_phone = msgspec.msgpack.Decoder(_Phone)
_anchor = msgspec.msgpack.Decoder(_Anchor)


def encode_bindings(aor: bytes, bindings: tuple[Binding, ...]) -> bytes:
    """The stored form of all bindings of one AOR."""
    return _encode(_Bindings(BINDINGS_VERSION, aor, bindings))


def decode_bindings(stored: bytes) -> tuple[bytes, tuple[Binding, ...]]:
    """The AOR and its bindings. Raises StoreUnreadable."""
    record = _read(_bindings, stored, "bindings", BINDINGS_VERSION)
    return record.aor, record.bindings


def decode_bindings_1(stored: bytes) -> tuple[bytes, tuple[Binding, ...]]:
    """Bindings of version 1, with their fields as they were then. Raises StoreUnreadable."""
    record = _read(_bindings, stored, "bindings")
    return record.aor, record.bindings


def encode_watch(watch: Watch) -> bytes:
    """The stored form of one watch."""
    return _encode(_Watch(VERSION, watch))


def decode_watch(stored: bytes) -> Watch:
    """Raises StoreUnreadable."""
    return _read(_watch, stored, "watch").watch


def encode_talk(talk: Talk) -> bytes:
    """The stored form of one talk."""
    return _encode(_Talk(VERSION, talk))


def decode_talk(stored: bytes) -> Talk:
    """Raises StoreUnreadable."""
    return _read(_talk, stored, "talk").talk


def encode_move(move: Move) -> bytes:
    """The stored form of one move."""
    return _encode(_Move(VERSION, move))


def decode_move(stored: bytes) -> Move:
    """Raises StoreUnreadable."""
    return _read(_move, stored, "move").move


def encode_leg(leg: Leg) -> bytes:
    """The stored form of one leg."""
    return _encode(_Leg(VERSION, leg))


def decode_leg(stored: bytes) -> Leg:
    """Raises StoreUnreadable."""
    return _read(_leg, stored, "leg").leg


def encode_anchor(anchor: Anchor) -> bytes:
    """The stored form of the anchor."""
    return _encode(_Anchor(VERSION, anchor))


def decode_anchor(stored: bytes) -> Anchor:
    """Raises StoreUnreadable."""
    return _read(_anchor, stored, "clock").anchor


def encode_ended(ended: Ended) -> bytes:
    """The stored form of a watch that is over."""
    return _encode(_Ended(VERSION, ended))


def decode_ended(stored: bytes) -> Ended:
    """Raises StoreUnreadable."""
    return _read(_ended, stored, "ended watch").ended


def encode_attempts(attempts: tuple[tuple[int, str], ...]) -> bytes:
    """The stored form of what came of a watch's recalls so far; the last MOST_ATTEMPTS of them."""
    return _encode(_Attempts(VERSION, attempts[-MOST_ATTEMPTS:]))


def decode_attempts(stored: bytes) -> tuple[tuple[int, str], ...]:
    """Raises StoreUnreadable."""
    return _read(_attempts, stored, "attempts").attempts


def encode_phone(phone: Phone) -> bytes:
    """The stored form of what a phone did."""
    return _encode(_Phone(VERSION, phone))


def decode_phone(stored: bytes) -> Phone:
    """Raises StoreUnreadable."""
    return _read(_phone, stored, "phone").phone


def readable(decode: Callable[[bytes], Record], stored: Iterable[bytes]) -> Iterator[Record]:
    """The records that can be read. Of each other one a log line tells once; it stays, and is the loss of its key only."""
    for record in stored:
        try:
            yield decode(record)
        except StoreUnreadable as error:
            tell_unreadable(error)


def tell_unreadable(error: StoreUnreadable) -> None:
    """Log a record that was passed over, the first time."""
    if len(_told) < MOST_TOLD and hash(error.record) not in _told:
        _told.add(hash(error.record))
        log.error("record-unreadable", extra={"sip": {"reason": str(error), "begins": error.record[:SHOWN]}})


_told: set[int] = set()


def _check(version: int, stored: bytes, kind: str, wanted: int) -> None:
    if version != wanted:
        raise StoreUnreadable(f"{kind} record has version {version}; this sipfast reads version {wanted}", stored)


def _read(decoder: msgspec.msgpack.Decoder[Stored], stored: bytes, kind: str, wanted: int = VERSION) -> Stored:
    try:
        record = decoder.decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        with suppress(msgspec.MsgspecError):
            _check(_versioned.decode(stored).version, stored, kind, wanted)
        raise StoreUnreadable(f"{kind} record cannot be read: {error}", stored) from error
    _check(record.version, stored, kind, wanted)
    return record
