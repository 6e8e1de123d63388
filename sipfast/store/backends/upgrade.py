"""Brings stored records of earlier formats up to date.

Format 2 (format 1 is of the first version)
    bindings   `flow` has become the way to the phone. Before, it was the REGISTER's own, and a Contact at the address that
               the REGISTER came from was followed to the port that it names. `reg_id` is new: it stands in the parameters.
    moves      new: where flow tokens of old flows lead to.
    contacts   new: an index of bindings by their Contact.
    all AORs   with an IPv6 address are in its one spelling (RFC 5952). Before, each spelling was an AOR of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from ..._flow import Flow
from ..._parser import aor as canonical
from ..._parser import parse_address, uri_parts
from ...config.addresses import DEFAULT_PORT
from ...errors import ParseError, StoreCorrupt, StoreUnreadable
from ..codec import changed_contacts
from ..keys import key_of, pair_of
from ..records import (
    Binding,
    decode_bindings,
    decode_bindings_1,
    decode_talk,
    decode_watch,
    encode_bindings,
    encode_talk,
    encode_watch,
)

MOST_REG_ID = 2**31 - 1  # RFC 5626 §4.2
Opens = Callable[[str], Any]  # a database by its name


def upgrade_from_1(txn: Any, database: Opens) -> None:
    """Bring all records of a store of format 1 up to date, in a write transaction of LMDB's.

    A record that cannot be read concerns its own AOR: it stays, and is reported when that is looked up.
    """
    bindings, contacts = database("bindings"), database("contacts")
    _convert_bindings(txn, bindings)
    _respell_bindings(txn, bindings)
    _respell_pairs(txn, database)
    _respell_talks(txn, database("talks"))
    _respell_known(txn, database("known"))
    for key, record in _rows(txn, bindings):
        with suppress(StoreCorrupt):
            aor, _ = decode_bindings(record)
            for contact in changed_contacts(aor, None, record)[1]:
                txn.put(contact + key, b"" if key == aor else aor, db=contacts)


def _rows(txn: Any, db: Any) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values; what is written meanwhile may come, too."""
    cursor = txn.cursor(db)
    there = cursor.first()
    while there:
        key = cursor.key()
        yield key, cursor.value()
        there = cursor.set_range(key + b"\0")


def _spelled_otherwise(txn: Any, db: Any) -> list[tuple[bytes, bytes]]:
    """Rows that may hold an IPv6 address, from before any of them was changed: there are few."""
    return [(key, value) for key, value in _rows(txn, db) if b"[" in key or b"[" in value]


def _respelled(aor: bytes) -> bytes:
    try:
        return canonical(aor) if b"[" in aor else aor
    except ParseError:
        return aor


def _convert_bindings(txn: Any, db: Any) -> None:
    for key, record in _rows(txn, db):
        with suppress(StoreCorrupt):
            _, converted = bindings_from_1(record)
            txn.put(key, converted, db=db)


def _respell_bindings(txn: Any, db: Any) -> None:
    """Two spellings become one AOR: of bindings of one Contact the latest stays."""
    for key, record in _spelled_otherwise(txn, db):
        with suppress(StoreCorrupt):
            aor, mine = decode_bindings(record)
            there = _respelled(aor)
            if there == aor:
                continue
            stored = txn.get(key_of(there), db=db)
            both = sorted((*mine, *(decode_bindings(stored)[1] if stored else ())), key=lambda one: one.updated)
            merged = tuple({one.contact: one for one in both}.values())
            txn.delete(key, db=db)
            txn.put(key_of(there), encode_bindings(there, merged), db=db)


def _respell_pairs(txn: Any, database: Opens) -> None:
    """A pair that was stored in two spellings keeps the watch that lasts longer."""
    watches, callers = database("watches"), database("callers")
    for key, record in _spelled_otherwise(txn, watches):
        with suppress(StoreUnreadable):
            watch = decode_watch(record)
            moved = replace(watch, callee=_respelled(watch.callee), caller=_respelled(watch.caller))
            if moved == watch:
                continue
            there = pair_of(moved.callee, moved.caller)
            stored = txn.get(there, db=watches)
            lasting = moved if stored is None else max(moved, decode_watch(stored), key=lambda one: one.expires_at)
            txn.delete(key, db=watches)
            txn.delete(pair_of(watch.caller, watch.callee), db=callers)
            txn.put(there, encode_watch(lasting), db=watches)
            txn.put(pair_of(moved.caller, moved.callee), b"", db=callers)


def _respell_talks(txn: Any, db: Any) -> None:
    for key, record in _spelled_otherwise(txn, db):
        with suppress(StoreUnreadable):
            talk = decode_talk(record)
            moved = replace(talk, callee=_respelled(talk.callee), caller=_respelled(talk.caller))
            if moved != talk:
                txn.delete(key, db=db)
                txn.put(key_of(moved.callee), encode_talk(moved), db=db)


def _respell_known(txn: Any, db: Any) -> None:
    for key, shortened in _spelled_otherwise(txn, db):
        aor = shortened or key
        if (there := _respelled(aor)) != aor:
            txn.delete(key, db=db)
            txn.put(key_of(there), b"" if key_of(there) == there else there, db=db)


def bindings_from_1(stored: bytes) -> tuple[bytes, bytes]:
    """The AOR of a record of format 1, and the record in format 2. Raises StoreCorrupt."""
    aor, bindings = decode_bindings_1(stored)
    return aor, encode_bindings(aor, tuple(_with_reg_id(_with_way(binding)) for binding in bindings))


def _with_reg_id(binding: Binding) -> Binding:
    """RFC 5626 §6: by it and its instance a phone that moves is known again."""
    if not binding.instance:
        return binding
    try:
        _, _, params = parse_address(b"<" + binding.contact + b">" + binding.params)
        reg_id = int(params.get(b"reg-id") or b"0")
    except (ValueError, ParseError):
        return binding
    return replace(binding, reg_id=reg_id) if 0 < reg_id <= MOST_REG_ID else binding


def _with_way(binding: Binding) -> Binding:
    if binding.path:
        return binding
    try:
        flow = Flow.unpack(binding.flow)
        _, _, host, port, params = uri_parts(binding.contact)
        host = params.get(b"maddr") or host
        there = Flow(host.strip(b"[]"), DEFAULT_PORT if port < 0 else port, local=flow.local)
    except (ValueError, ParseError):
        return binding  # no flow, no SIP URI, or a name: nothing was followed
    if flow.transport_name != "UDP" or there.host != flow.host:
        return binding
    packed = bytearray(binding.flow)
    packed[3:5] = there.port.to_bytes(2, "big")
    return replace(binding, flow=bytes(packed))
