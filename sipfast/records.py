"""What the store keeps: bindings and watches, as msgspec structs with a version in front.

All times are whole milliseconds since the epoch. Wire values (AORs, URIs, tags) are bytes, as they came.
A record is read back by `decode_*`, which raise StoreCorrupt for anything that is not a record of a known version.
A field added at the end, with a default, keeps the version; any other change takes a new one, and a way to read the old.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NoReturn

import msgspec

from .errors import StoreCorrupt

VERSION = 1

ARMED = "armed"  # waiting for the callee
RECALLING = "recalling"  # REFER sent, or about to be: marked before it leaves
CALLING = "calling"  # the caller's new INVITE has been seen
NOT_LOGGED_IN = "NL"  # RFC 6910 m=NL


class Binding(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One contact of an AOR (RFC 3261 §10.3)."""

    contact: bytes  # the URI, without angle brackets
    expires: int  # ms since the epoch
    call_id: bytes
    cseq: int
    q: int = 1000  # thousandths
    params: bytes = b""  # header parameters to list again, other than q and expires: b';+sip.instance="..."'
    path: bytes = b""  # Path field values joined by ", " (RFC 3327), b"" where there is none
    flow: bytes = b""  # Flow.pack() of the REGISTER
    instance: bytes = b""  # +sip.instance value without quotes (RFC 5626 §4.1), b"" where there is none
    updated: int = 0  # ms since the epoch


class Watch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One stored caller-callee pair with its monitoring period."""

    callee: bytes  # AOR
    caller: bytes  # AOR
    armed_at: int  # first armed; the order of recalls
    expires_at: int
    call_id: bytes  # of the INVITE that armed it
    contact: bytes  # the caller's Contact URI of that INVITE
    path: bytes = b""  # Path of the caller's binding then, if any
    flow: bytes = b""  # Flow.pack() that the INVITE came by
    instance: bytes = b""  # +sip.instance of that Contact
    mode: str = NOT_LOGGED_IN
    state: str = ARMED
    attempts: int = 0  # REFERs sent since it was armed
    last_result: str = ""
    refer_call_id: bytes = b""  # of the recall in progress
    refer_tag: bytes = b""  # its From tag
    recalled_at: int = 0  # when the last REFER was sent
    not_before: int = 0  # no recall before it, while the callee stays bound: the pause after a failed one


class Talk(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A call that a recall brought about and that keeps the callee's next watch waiting (redial.order = "serial")."""

    callee: bytes
    caller: bytes
    call_id: bytes
    since: int


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


_encode = msgspec.msgpack.Encoder().encode
_versioned = msgspec.msgpack.Decoder(_Versioned)
_bindings = msgspec.msgpack.Decoder(_Bindings)
_watch = msgspec.msgpack.Decoder(_Watch)
_talk = msgspec.msgpack.Decoder(_Talk)


def encode_bindings(aor: bytes, bindings: tuple[Binding, ...]) -> bytes:
    """The stored form of all bindings of one AOR."""
    return _encode(_Bindings(VERSION, aor, bindings))


def decode_bindings(stored: bytes) -> tuple[bytes, tuple[Binding, ...]]:
    """The AOR and its bindings. Raises StoreCorrupt."""
    try:
        record = _bindings.decode(stored)
    except msgspec.MsgspecError as error:
        _refuse(stored, "bindings", error)
    _check(record.version, "bindings")
    return record.aor, record.bindings


def encode_watch(watch: Watch) -> bytes:
    """The stored form of one watch."""
    return _encode(_Watch(VERSION, watch))


def decode_watch(stored: bytes) -> Watch:
    """Raises StoreCorrupt."""
    try:
        record = _watch.decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _refuse(stored, "watch", error)
    _check(record.version, "watch")
    return record.watch


def encode_talk(talk: Talk) -> bytes:
    """The stored form of one talk."""
    return _encode(_Talk(VERSION, talk))


def decode_talk(stored: bytes) -> Talk:
    """Raises StoreCorrupt."""
    try:
        record = _talk.decode(stored)
    except msgspec.MsgspecError as error:
        _refuse(stored, "talk", error)
    _check(record.version, "talk")
    return record.talk


def _check(version: int, kind: str) -> None:
    if version != VERSION:
        raise StoreCorrupt(f"{kind} record has version {version}; this sipfast reads version {VERSION}")


def _refuse(stored: bytes, kind: str, error: Exception) -> NoReturn:
    """A record of no known shape: of another version, or none."""
    with suppress(msgspec.MsgspecError):
        _check(_versioned.decode(stored).version, kind)
    raise StoreCorrupt(f"{kind} record cannot be read: {error}") from error
