"""A store of format 1 is brought up to date at the start of a server; nothing is lost on the way, whatever happens."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb
import msgspec
import pytest
from net.stores import directory

from sipfast._flow import Flow
from sipfast.errors import StoreCorrupt, StoreUnavailable
from sipfast.store.backends.directory import COPY, COPYING
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.upgrade import bindings_from_1
from sipfast.store.codec import changed_contacts
from sipfast.store.records import Binding, Talk, Watch, decode_bindings, encode_talk, encode_watch
from sipfast.store.repository import Store

NOW = 1_700_000_000_000
A, B = b"sip:a@example.org", b"sip:b@example.org"
# What the first version has written, byte for byte: sip:b@192.0.2.1:5070 and sip:x@192.168.1.10, each registered from
# 192.0.2.1:6123.
OWN_ADDRESS = bytes.fromhex(
    "9301c4117369703a62406578616d706c652e6f7267919ac4147369703a62403139322e302e322e313a35303730cf0000018bcfe65260c4016301cd"
    "03e8c400c400c40f01010417eb000000000000c0000201c400cf0000018bcfe56800"
)
BEHIND_NAT = bytes.fromhex(
    "9301c4117369703a61406578616d706c652e6f7267919ac4127369703a78403139322e3136382e312e3130cf0000018bcfe65260c4016301cd03e8"
    "c400c400c40f01010417eb000000000000c0000201c400cf0000018bcfe56800"
)


def entry(contact: str, flow: Flow | None, path: str = "") -> bytes:
    """A record of format 1 with one binding."""
    fields = [contact.encode(), NOW, b"c", 1, 1000, b"", path.encode(), flow.pack() if flow else b"", b"", NOW]
    return msgspec.msgpack.encode([1, B, [fields]])


CAME = Flow("192.0.2.1", 6123, local=1)
WILD = Flow.unpack(b"\x02" + CAME.pack()[1:] + b"\xc0\x00\x02\x63")  # asked at 192.0.2.99
CAME6 = Flow("2001:db8::1", 6123)

# Contact, flow, Path, and the port of the flow then
WAYS = {
    "its own address": ("sip:b@192.0.2.1:5070", CAME, "", 5070),
    "its own address, default port": ("sip:b@192.0.2.1", CAME, "", 5060),
    "its own address, IPv6": ("sip:b@[2001:DB8:0::1]:5070", CAME6, "", 5070),
    "maddr": ("sip:b@phone.local:5070;maddr=192.0.2.1", CAME, "", 5070),
    "asked at one of several addresses": ("sip:b@192.0.2.1:5070", WILD, "", 5070),
    "behind a NAT": ("sip:b@192.168.1.10:5070", CAME, "", 6123),
    "a name": ("sip:b@bobs-pc.local:5070", CAME, "", 6123),
    "with a Path": ("sip:b@192.0.2.1:5070", CAME, "<sip:192.0.2.1;lr>", 6123),
    "a connection": ("sip:b@192.0.2.1:5070", Flow("192.0.2.1", 6123, transport="TCP"), "", 6123),
    "no SIP URI": ("tel:+12015550123", CAME, "", 6123),
}


INSTANCE = b"<urn:uuid:1>"
REG_IDS = {
    "a reg-id": (b';+sip.instance="<urn:uuid:1>";reg-id=7', INSTANCE, 7),
    "in capitals": (b';+sip.instance="<urn:uuid:1>";Reg-ID=7', INSTANCE, 7),
    "without an instance": (b";reg-id=7", b"", 0),
    "none": (b';+sip.instance="<urn:uuid:1>";x="a;reg-id=7"', INSTANCE, 0),
    "no number": (b";reg-id=x", INSTANCE, 0),
    "negative": (b";reg-id=-1", INSTANCE, 0),
    "too large": (b";reg-id=2147483648", INSTANCE, 0),
    "empty": (b";reg-id", INSTANCE, 0),
}


@pytest.mark.parametrize(("params", "instance", "reg_id"), REG_IDS.values(), ids=REG_IDS)
def test_the_reg_id_is_read_from_the_parameters(params: bytes, instance: bytes, reg_id: int) -> None:
    """RFC 5626 §6: a phone that moves after the upgrade replaces its binding."""
    fields = [b"sip:b@192.0.2.1", NOW, b"c", 1, 1000, params, b"", CAME.pack(), instance, NOW]
    _, record = bindings_from_1(msgspec.msgpack.encode([1, B, [fields]]))
    (binding,) = decode_bindings(record)[1]
    assert (binding.reg_id, binding.params, binding.instance) == (reg_id, params, instance)


@pytest.mark.parametrize(("contact", "flow", "path", "port"), WAYS.values(), ids=WAYS)
def test_the_flow_becomes_the_way_that_was_taken(contact: str, flow: Flow, path: str, port: int) -> None:
    aor, record = bindings_from_1(entry(contact, flow, path))
    (binding,) = decode_bindings(record)[1]
    assert (aor, binding.contact, binding.path) == (B, contact.encode(), path.encode())
    packed = bytearray(flow.pack())
    packed[3:5] = port.to_bytes(2, "big")
    assert binding.flow == bytes(packed)
    assert (binding.reg_id, binding.branch) == (0, 0)


def test_a_binding_without_a_flow_stays_as_it_is() -> None:
    (binding,) = decode_bindings(bindings_from_1(entry("sip:b@192.0.2.1:5070", None))[1])[1]
    assert binding == Binding(b"sip:b@192.0.2.1:5070", NOW, b"c", 1, updated=NOW)


WATCH = Watch(B, A, NOW, NOW + 3_600_000, b"call-2", b"sip:a@192.0.2.7")


def old_store(path: Path, bindings: dict[bytes, bytes]) -> bytes:
    """A store of format 1; returns its secret."""
    path.mkdir()
    secret = os.urandom(16)
    env = lmdb.open(str(path), max_dbs=8)
    with env.begin(write=True) as txn:
        names = (b"bindings", b"watches", b"callers", b"known", b"talks", b"meta")
        opened = {name: env.open_db(name, txn) for name in names}
        txn.put(b"format", b"1", db=opened[b"meta"])
        txn.put(b"secret", secret, db=opened[b"meta"])
        for aor, record in bindings.items():
            txn.put(aor, record, db=opened[b"bindings"])
        txn.put(B + b"\0" + A, encode_watch(WATCH), db=opened[b"watches"])
        txn.put(A + b"\0" + B, b"", db=opened[b"callers"])
        txn.put(B, encode_talk(Talk(B, A, b"call-3", NOW)), db=opened[b"talks"])
    env.close()
    return secret


def record_1(path: Path, aor: bytes) -> bytes | None:
    env = lmdb.open(str(path), max_dbs=8, subdir=path.is_dir(), readonly=True)
    with env.begin() as txn:
        stored: bytes | None = txn.get(aor, db=env.open_db(b"bindings", txn, create=False))
    env.close()
    return stored


def test_a_server_brings_an_old_store_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "data"
    records = {B: OWN_ADDRESS, A: BEHIND_NAT, b"sip:damaged@example.org": b"\x93\x01"}
    secret = old_store(path, records)
    store = Store(LmdbTables(path, exclusive=True, now=NOW + 5))
    assert directory(store).upgraded == path / COPY and not (path / COPYING).exists()
    assert store.upgraded_at() == NOW + 5 and store.secret() == secret
    (own,), (nat,) = store.bindings(B), store.bindings(A)
    assert Flow.unpack(own.flow) == Flow("192.0.2.1", 5070) and Flow.unpack(nat.flow) == Flow("192.0.2.1", 6123)
    assert store.watch(B, A) == WATCH and store.talk(B) is not None
    with pytest.raises(StoreCorrupt):
        store.bindings(b"sip:damaged@example.org")
    (key,) = changed_contacts(A, None, store.bindings(A).record)[1]
    assert store.aors_of(key) == [A], "a Contact that does not name its user"
    store.close()
    assert record_1(path / COPY, B) == OWN_ADDRESS, "the copy is what was there before"
    again = Store(LmdbTables(path, exclusive=True, now=NOW + 9))
    assert directory(again).upgraded is None and again.upgraded_at() == NOW + 5
    again.close()


@pytest.mark.parametrize("options", [{}, {"readonly": True}], ids=["beside a server", "readonly"])
def test_who_only_looks_into_an_old_store_leaves_it_alone(tmp_path: Path, options: dict[str, bool]) -> None:
    path = tmp_path / "data"
    old_store(path, {B: OWN_ADDRESS})
    with pytest.raises(StoreCorrupt, match="has format 1: start the server once, it brings it up to date"):
        Store(LmdbTables(path, **options))
    assert record_1(path, B) == OWN_ADDRESS and not (path / COPY).exists()


class Killed(BaseException):
    """The process ends here."""


STEPS = ["copying", "copied", "half-way", "before the commit"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_on_the_way_it_is_as_it_was_and_begins_anew(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    old_store(path, {B: OWN_ADDRESS, A: BEHIND_NAT})
    (path / COPYING).mkdir()
    (path / COPYING / "data.mdb").write_bytes(b"half a copy of an attempt before")
    seen = []

    def die(*_: object) -> None:
        raise Killed

    def second(stored: bytes) -> tuple[bytes, bytes]:
        seen.append(stored)
        if len(seen) == 2:
            raise Killed
        return bindings_from_1(stored)

    if step == "copying":
        monkeypatch.setattr("sipfast.store.backends.directory.os.fsync", die)
    elif step == "copied":
        monkeypatch.setattr("sipfast.store.backends.upgrade.bindings_from_1", die)
    elif step == "half-way":
        monkeypatch.setattr("sipfast.store.backends.upgrade.bindings_from_1", second)
    elif step == "before the commit":
        monkeypatch.setattr("sipfast.store.backends.directory.Directory._stamp", die)
    with pytest.raises(Killed):
        Store(LmdbTables(path, exclusive=True, now=NOW))
    monkeypatch.undo()
    assert record_1(path, B) == OWN_ADDRESS
    store = Store(LmdbTables(path, exclusive=True, now=NOW + 7))
    assert store.upgraded_at() == NOW + 7 and store.bindings(B)[0].contact == b"sip:b@192.0.2.1:5070"
    store.close()
    assert record_1(path / COPY, B) == OWN_ADDRESS


def test_where_it_cannot_be_copied_it_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    old_store(path, {B: OWN_ADDRESS})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sipfast.store.backends.directory.os.fsync", full)
    with pytest.raises(StoreUnavailable, match=r"format 1 and cannot be copied .* No space left on device") as error:
        Store(LmdbTables(path, exclusive=True))
    assert "\n" not in str(error.value) and not (path / COPYING).exists()
    monkeypatch.undo()
    assert record_1(path, B) == OWN_ADDRESS


# An AOR with an IPv6 address, as the first version kept it, and in the spelling of RFC 5952
SPELLED = b"sip:b@[2001:db8:0::1]"
V6 = b"sip:b@[2001:db8::1]"


def test_an_ipv6_address_in_another_spelling_is_the_same_aor(tmp_path: Path) -> None:
    path = tmp_path / "data"
    both = {
        SPELLED: binding_1(SPELLED, "sip:desk@192.0.2.1:5070", NOW),
        V6: binding_1(V6, "sip:cell@192.0.2.1:5080", NOW - 1),
        A: binding_1(A, "sip:a@192.0.2.7", NOW),
        b"sip:[damaged": b"\x93\x01",
    }
    old_store(path, both)
    env = lmdb.open(str(path), max_dbs=8)
    with env.begin(write=True) as txn:
        opened = {name: env.open_db(name, txn) for name in (b"watches", b"callers", b"known", b"talks")}
        watches = {
            (SPELLED, A): Watch(SPELLED, A, NOW, NOW + 3_600_000, b"longer", b"sip:a@192.0.2.7"),
            (V6, A): Watch(V6, A, NOW, NOW + 60_000, b"shorter", b"sip:a@192.0.2.7"),
            (A, SPELLED): Watch(A, SPELLED, NOW, NOW + 60_000, b"back", b"sip:b@192.0.2.1"),
        }
        for (callee, caller), watch in watches.items():
            txn.put(callee + b"\0" + caller, encode_watch(watch), db=opened[b"watches"])
            txn.put(caller + b"\0" + callee, b"", db=opened[b"callers"])
        txn.put(SPELLED, encode_talk(Talk(SPELLED, SPELLED, b"talk", NOW)), db=opened[b"talks"])
        txn.put(SPELLED, b"", db=opened[b"known"])
    env.close()

    store = Store(LmdbTables(path, exclusive=True, now=NOW))
    assert {one.contact for one in store.bindings(V6)} == {b"sip:desk@192.0.2.1:5070", b"sip:cell@192.0.2.1:5080"}
    assert store.bindings(SPELLED) == () and len(store.bindings(A)) == 1
    by_contact = changed_contacts(V6, None, store.bindings(V6).record)[1]
    assert len(by_contact) == 2 and [store.aors_of(key) for key in by_contact] == [[V6], [V6]]
    assert [(one.caller, one.call_id) for one in store.watches(V6)] == [(A, b"longer")]
    assert [(one.caller, one.call_id) for one in store.watches(A)] == [(V6, b"back")]
    assert store.watches(SPELLED) == []
    assert [store.count_by_caller(one) for one in (A, V6, SPELLED)] == [2, 1, 0], "A waits for B, too"
    talk = store.talk(V6)
    assert talk is not None and (talk.callee, talk.caller) == (V6, V6) and store.talk(SPELLED) is None
    assert store.is_known(V6) and not store.is_known(SPELLED)
    store.close()


def test_a_binding_that_was_stored_in_two_spellings_is_the_later_one(tmp_path: Path) -> None:
    path = tmp_path / "data"
    contact = "sip:b@192.0.2.1:5070"
    old_store(path, {SPELLED: binding_1(SPELLED, contact, NOW), V6: binding_1(V6, contact, NOW - 1)})
    store = Store(LmdbTables(path, exclusive=True, now=NOW))
    (binding,) = store.bindings(V6)
    assert binding.updated == NOW
    store.close()


def binding_1(aor: bytes, contact: str, updated: int) -> bytes:
    """A record of format 1 with one binding of an AOR."""
    fields = [contact.encode(), NOW + 60_000, b"c", 1, 1000, b"", b"", CAME.pack(), b"", updated]
    return msgspec.msgpack.encode([1, aor, [fields]])
