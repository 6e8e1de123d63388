"""What the repository does (sipfast/store/repository.pyi), over every back end.

A new back end joins by one more entry in BACK_ENDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from net.stores import MemoryStore, count_watches, row

from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.codec import changed_contacts, stored_bindings, stored_watch
from sipfast.store.records import (
    AGENT,
    DEVICE,
    RECALLING,
    Anchor,
    Binding,
    Leg,
    Move,
    Note,
    Phone,
    Talk,
    Watch,
    encode_bindings,
    encode_watch,
)
from sipfast.store.repository import Store

NOW = 1_700_000_000_000
NOTES = (Note("refer", False, NOW, NOW + 60_000), Note("callback", True, NOW, NOW + 60_000))
A, B, C = b"sip:a@example.org", b"sip:b@example.org", b"sip:c@example.org"


@dataclass
class BackEnd:
    """One place that stores can be opened at."""

    open: Callable[[Path], Store]
    durable: bool  # what was committed is there for the next one that opens it


BACK_ENDS = {
    "memory": BackEnd(lambda path: MemoryStore(), durable=False),
    "lmdb": BackEnd(lambda path: Store(LmdbTables(path)), durable=True),
}


@pytest.fixture(params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest) -> BackEnd:
    return BACK_ENDS[request.param]


@pytest.fixture
def store(back_end: BackEnd, tmp_path: Path) -> Iterator[Store]:
    store = back_end.open(tmp_path / "data")
    yield store
    store.close()


def binding(contact: bytes = b"sip:b@192.0.2.1", expires: int = NOW + 60_000, **more: object) -> Binding:
    return Binding(contact, expires, b"call-1", 1, **more)


def watch(callee: bytes = B, caller: bytes = A, armed_at: int = NOW, **more: object) -> Watch:
    return Watch(callee, caller, armed_at, armed_at + 3_600_000, b"call-2", b"sip:a@192.0.2.7", **more)


def talk(callee: bytes = B, caller: bytes = A) -> Talk:
    return Talk(callee, caller, b"call-3", NOW)


def phone(kind: str = DEVICE, name: bytes = b"<urn:uuid:1>", notes: tuple[Note, ...] = NOTES) -> Phone:
    return Phone(kind, name, b"Acme", notes)


def content(store: Store) -> tuple[object, ...]:
    """All that can be read."""
    watches = list(store.each_watch())
    return (
        list(store.each_bindings()),
        watches,
        list(store.each_talk()),
        count_watches(store),
        list(store.each_phone()),
        [(store.count_by_callee(w.callee), store.count_by_caller(w.caller)) for w in watches],
        [store.is_known(aor) for aor in (A, B, C)],
    )


# ---------------------------------------------------------------- the index of Contacts

# Contact of sip:b@example.org, and another that has the same key, if it has one
INDEXED = {
    "another user": (b"sip:b-0x55d5@192.0.2.1:5070", b"sip:b-0x55d5@192.0.2.1:5070;transport=udp"),
    "host in another case": (b"sip:x@Phone.local", b"sip:x@phone.LOCAL"),
    "the user of the AOR": (b"sip:b@192.0.2.1", None),
    "no user": (b"sip:192.0.2.1", None),
    "no SIP URI": (b"tel:+12015550123", None),
    "no URI": (b"?", None),
}


@pytest.mark.parametrize(("contact", "alike"), INDEXED.values(), ids=INDEXED)
def test_an_aor_is_found_by_a_contact_that_does_not_name_its_user(store: Store, contact: bytes, alike: bytes | None) -> None:
    keys = changed_contacts(B, None, encode_bindings(B, (binding(contact),)))[1]
    assert bool(keys) == (alike is not None)
    store.put_bindings(B, [binding(contact)])
    store.put_bindings(A, [binding(b"sip:x@192.0.2.99")])
    for key in keys:
        assert store.aors_of(key) == [B]
        assert changed_contacts(B, None, encode_bindings(B, (binding(alike),)))[1] == [key]
    store.commit()
    store.put_bindings(B, [binding(b"sip:b@192.0.2.1")])
    for key in keys:
        assert store.aors_of(key) == []
    store.abort()
    store.sweep_bindings(NOW + 10**9, 10)
    for key in keys:
        assert store.aors_of(key) == []


def test_several_aors_may_have_one_contact(store: Store) -> None:
    same = binding(b"sip:line1@192.168.1.10:5060")
    long = b"sip:" + b"x" * 400 + b"@example.org"
    for aor in (A, B, long):
        store.put_bindings(aor, [same])
    (key,) = changed_contacts(B, None, encode_bindings(B, (same,)))[1]
    assert sorted(store.aors_of(key)) == sorted([A, B, long])
    store.put_bindings(A, ())
    store.put_contact(key, C)
    store.put_contact(key, C)
    assert sorted(store.aors_of(key)) == sorted([B, C, long])


def test_who_has_read_the_bindings_says_so_and_the_index_is_kept_as_ever(store: Store) -> None:
    first, other = binding(b"sip:line1@192.0.2.1"), binding(b"sip:line2@192.0.2.1")
    keys = [changed_contacts(B, None, encode_bindings(B, (each,)))[1][0] for each in (first, other)]
    for put in ([first], [msgspec.structs.replace(first, cseq=2)], [other], [first, other], [], [first]):
        store.put_bindings(B, put, store.bindings(B))
        assert store.bindings(B) == tuple(put)
        assert [store.aors_of(key) for key in keys] == [[B] if each.contact in [p.contact for p in put] else []
                                                        for each in (first, other)]  # fmt: skip
    writes = store.writes
    store.put_bindings(B, [msgspec.structs.replace(first, cseq=3)], store.bindings(B))
    assert store.writes == writes + 1


# ---------------------------------------------------------------- moves


def test_moves_are_kept_by_flow_and_aor(store: Store) -> None:
    first = Move(b"\x01\x00old", b"new", B, b"sip:b@192.168.1.10", NOW)
    other = Move(b"\x01\x00old", b"new", A, b"sip:a@192.168.1.10", NOW)
    later = Move(b"\x01\x00old", b"newer", B, b"sip:b@192.168.1.10", NOW + 1)
    assert store.moves() == []
    for move in (first, other):
        store.put_move(move)
    store.commit()
    store.put_move(later)
    assert set(store.moves()) == {other, later}
    store.abort()
    assert set(store.moves()) == {first, other}
    assert store.delete_move(later), "of the same AOR, away from the same flow"
    assert not store.delete_move(first)
    store.commit()
    assert store.moves() == [other]


def test_a_store_made_new_was_never_brought_up_to_date(store: Store) -> None:
    assert store.upgraded_at() == 0


# ---------------------------------------------------------------- bindings


def test_a_record_is_the_bindings_as_bytes(store: Store) -> None:
    some, other = (binding(), binding(b"sip:b@192.0.2.2")), (binding(b"sip:b@192.0.2.3"),)
    assert store.bindings(B).record is None
    store.put_bindings(B, some)
    assert store.bindings(B).record == encode_bindings(B, some)
    writes = store.writes
    store.put_bindings(B, stored_bindings(B, encode_bindings(B, other)), store.bindings(B))
    assert store.writes == writes + 1
    assert store.bindings(B) == other
    assert list(store.each_bindings()) == [(B, other)]
    store.commit()
    store.put_bindings(B, stored_bindings(B, encode_bindings(B, some)))
    store.abort()
    assert store.bindings(B).record == encode_bindings(B, other)
    store.put_bindings(B, ())
    assert store.bindings(B).record is None


def test_a_new_store_is_empty(store: Store) -> None:
    assert content(store) == ([], [], [], 0, [], [], [False, False, False])
    assert store.bindings(A) == ()
    assert store.watch(B, A) is None
    assert store.watches(B) == []
    assert store.talk(B) is None
    assert store.count_by_callee(B) == store.count_by_caller(A) == 0


def test_bindings_come_back_as_they_were_put(store: Store) -> None:
    full = Binding(
        contact=b"sip:b@[2001:db8::1]:5070;transport=udp",
        expires=NOW,
        call_id=b"\xff\x00",
        cseq=2**32 - 1,
        q=700,
        params=b';+sip.instance="<urn:uuid:1>"',
        path=b"<sip:p1.example.org;lr>, <sip:p2.example.org;lr>",
        flow=b"\x01\x01\x04",
        instance=b"<urn:uuid:1>",
        updated=NOW - 1,
    )
    store.put_bindings(B, [binding(), full])
    assert store.bindings(B) == (binding(), full)
    store.put_bindings(B, (full,))
    assert store.bindings(B) == (full,)
    assert store.bindings(A) == ()


def test_putting_no_bindings_removes_the_record(store: Store) -> None:
    store.put_bindings(B, [binding()])
    store.commit()
    store.put_bindings(B, [])
    assert store.bindings(B) == ()
    assert list(store.each_bindings()) == []


def test_each_bindings_is_in_the_order_of_keys(store: Store) -> None:
    for aor in (C, A, B):
        store.put_bindings(aor, [binding()])
    assert [aor for aor, _ in store.each_bindings()] == [A, B, C]
    store.commit()
    assert [aor for aor, _ in store.each_bindings()] == [A, B, C]


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "in a batch"])
def test_iterating_shows_one_snapshot(store: Store, committed: bool) -> None:
    for aor in (A, B, C):
        store.put_bindings(aor, [binding()])
        store.put_watch(watch(aor))
        store.put_talk(talk(aor))
    if committed:
        store.commit()
    bindings, watches, talks = store.each_bindings(), store.each_watch(), store.each_talk()
    first = next(bindings)[0], next(watches).callee, next(talks).callee
    assert first == (A, A, A)
    store.put_bindings(C, [])
    store.delete_watch(C, A)
    store.delete_talk(C)
    store.commit()
    assert [aor for aor, _ in bindings] == [B, C]
    assert [w.callee for w in watches] == [B, C]
    assert [t.callee for t in talks] == [B, C]


def test_sweeping_removes_what_has_expired_and_only_that(store: Store) -> None:
    old, due, live = binding(expires=NOW - 1), binding(b"sip:due", NOW), binding(b"sip:live", NOW + 1)
    store.put_bindings(A, [old, live, due])
    store.put_bindings(B, [old])
    store.put_bindings(C, [live])
    store.commit()
    assert store.sweep_bindings(NOW, 10) == 3
    store.commit()
    assert list(store.each_bindings()) == [(A, (live,)), (C, (live,))]


def test_a_sweep_goes_on_where_the_last_one_stopped(store: Store) -> None:
    aors = [b"sip:%d@example.org" % n for n in range(5)]
    for aor in aors:
        store.put_bindings(aor, [binding(expires=NOW)])
    store.commit()
    swept = []
    for _ in range(3):
        swept.append(store.sweep_bindings(NOW, 2))
        store.commit()
    assert swept == [2, 2, 1]
    assert list(store.each_bindings()) == []


def test_a_sweep_passes_by_what_is_live(store: Store) -> None:
    for aor in (A, B):
        store.put_bindings(aor, [binding()])
    store.put_bindings(C, [binding(expires=NOW)])
    store.commit()
    assert [store.sweep_bindings(NOW, 1) for _ in range(3)] == [0, 0, 1]


def test_a_sweep_begins_again_after_the_end(store: Store) -> None:
    for aor in (A, B, C):
        store.put_bindings(aor, [binding(aor.partition(b"@")[0] + b"@192.0.2.1", expires=NOW + 10)])
    store.commit()
    assert store.sweep_bindings(NOW, 2) == 0
    store.commit()
    assert store.writes == 3, "a sweep that finds nothing writes nothing"
    gone = sum(store.sweep_bindings(NOW + 10, 2) for _ in range(4))
    assert gone == 3
    assert list(store.each_bindings()) == []


def test_a_sweep_looks_at_no_more_than_its_limit(store: Store) -> None:
    for n in range(10):
        store.put_bindings(b"sip:%d@example.org" % n, [binding(expires=NOW)])
    store.commit()
    assert store.sweep_bindings(NOW, 3) <= 3
    assert store.sweep_bindings(NOW, 0) == 0
    assert len(list(store.each_bindings())) >= 7


# ---------------------------------------------------------------- known AORs


def test_known_aors_are_remembered(store: Store) -> None:
    store.put_known(A)
    assert store.is_known(A)
    assert not store.is_known(B)
    store.commit()
    assert store.is_known(A)


# ---------------------------------------------------------------- watches


def test_a_watch_comes_back_as_it_was_put(store: Store) -> None:
    full = Watch(
        callee=B,
        caller=A,
        armed_at=NOW,
        expires_at=NOW + 1,
        call_id=b"\xff",
        contact=b"sip:a@192.0.2.7",
        path=b"<sip:p.example.org;lr>",
        flow=b"\x01",
        instance=b"<urn:uuid:2>",
        mode="NL",
        state=RECALLING,
        attempts=2,
        last_result="408",
        refer_call_id=b"r",
        refer_tag=b"t",
        recalled_at=NOW,
    )
    store.put_watch(full)
    assert store.watch(B, A) == full
    store.commit()
    assert store.watch(B, A) == full
    assert store.watch(A, B) is None


def test_a_pair_has_one_watch(store: Store) -> None:
    store.put_watch(watch())
    store.put_watch(watch(attempts=1))
    assert store.watches(B) == [watch(attempts=1)]
    assert (count_watches(store), store.count_by_caller(A), store.count_by_callee(B)) == (1, 1, 1)


def test_watches_come_oldest_first(store: Store) -> None:
    third, first, second = watch(B, A, NOW + 2), watch(B, b"sip:z@example.org", NOW), watch(B, C, NOW + 1)
    for each in (third, first, second, watch(C, A)):
        store.put_watch(each)
    assert store.watches(B) == [first, second, third]
    store.commit()
    assert store.watches(B) == [first, second, third]


def test_an_aor_that_begins_like_another_is_another(store: Store) -> None:
    short, long = b"sip:b@example.co", b"sip:b@example.com"
    store.put_watch(watch(short, A))
    store.put_watch(watch(long, A))
    store.put_watch(watch(long, C))
    store.put_watch(watch(A, short))
    store.put_watch(watch(A, long))
    assert [w.caller for w in store.watches(short)] == [A]
    assert (store.count_by_callee(short), store.count_by_callee(long)) == (1, 2)
    assert (store.count_by_caller(short), store.count_by_caller(long)) == (1, 1)
    assert count_watches(store) == 5


def test_each_watch_is_in_the_order_of_keys(store: Store) -> None:
    for callee, caller in ((C, A), (A, C), (A, B), (B, A)):
        store.put_watch(watch(callee, caller))
    store.commit()
    assert [(w.callee, w.caller) for w in store.each_watch()] == [(A, B), (A, C), (B, A), (C, A)]


def test_deleting_a_watch(store: Store) -> None:
    store.put_watch(watch())
    store.commit()
    assert not store.delete_watch(A, B)
    assert store.delete_watch(B, A)
    assert not store.delete_watch(B, A)
    store.commit()
    assert content(store)[1:4] == ([], [], 0)
    assert store.count_by_caller(A) == store.count_by_callee(B) == 0


def test_a_claim_succeeds_once(store: Store) -> None:
    armed, recalling = watch(), watch(state=RECALLING)
    store.put_watch(armed)
    store.commit()
    assert store.claim(armed, recalling)
    assert not store.claim(armed, recalling)
    store.commit()
    assert not store.claim(armed, recalling)
    assert store.watch(B, A) == recalling
    assert (count_watches(store), store.count_by_caller(A)) == (1, 1)


def test_a_claim_of_a_changed_or_deleted_watch_fails(store: Store) -> None:
    armed, renewed = watch(), watch(armed_at=NOW + 1)
    store.put_watch(renewed)
    store.commit()
    writes = store.writes
    assert not store.claim(armed, watch(state=RECALLING))
    assert store.watch(B, A) == renewed
    assert not store.claim(watch(C, A), watch(C, A, state=RECALLING))
    assert store.watch(C, A) is None
    assert store.writes == writes


def record_of(store: Store) -> bytes | None:
    found = store.watch(B, A)
    return row(store, "watches", B + b"\0" + A) if found is not None and store.has_watch(B, A) else None


def test_a_watch_as_bytes_is_the_same_watch(store: Store) -> None:
    armed, recalling = watch(), watch(state=RECALLING)
    assert record_of(store) is None and not store.has_watch(B, A)
    store.put_watch(stored_watch(encode_watch(armed)))
    assert store.watch(B, A) == armed and record_of(store) == encode_watch(armed)
    assert (store.count_by_callee(B), store.count_by_caller(A), count_watches(store)) == (1, 1, 1)
    store.put_watch(stored_watch(encode_watch(recalling)), new=False)
    assert store.watches(B) == list(store.each_watch()) == [recalling]
    store.abort()
    assert record_of(store) is None and store.count_by_caller(A) == 0


def test_a_record_is_claimed_once(store: Store) -> None:
    armed, recalling = (stored_watch(encode_watch(each)) for each in (watch(), watch(state=RECALLING)))
    assert not store.claim(armed, recalling)
    store.put_watch(armed)
    assert store.claim(armed, recalling)
    assert not store.claim(armed, recalling)
    store.commit()
    assert record_of(store) == encode_watch(watch(state=RECALLING)) and store.count_by_caller(A) == 1


def test_an_aborted_claim_can_be_made_again(store: Store) -> None:
    armed, recalling = watch(), watch(state=RECALLING)
    store.put_watch(armed)
    store.commit()
    assert store.claim(armed, recalling)
    store.abort()
    assert store.watch(B, A) == armed
    assert store.claim(armed, recalling)


# ---------------------------------------------------------------- legs


def test_legs(store: Store) -> None:
    one, other = (Leg(call_id, b"recall", B, A, NOW, b"", b"", b"", b"") for call_id in (b"1", b"2"))
    store.put_leg(one)
    store.put_leg(other)
    store.put_leg(msgspec.structs.replace(one, state="answered"))
    store.commit()
    assert store.legs() == [msgspec.structs.replace(one, state="answered"), other]
    assert store.delete_leg(b"1") and not store.delete_leg(b"1")
    store.abort()
    assert len(store.legs()) == 2


# ---------------------------------------------------------------- talks


def test_talks(store: Store) -> None:
    store.put_talk(talk(C))
    store.put_talk(talk(B))
    store.put_talk(talk(B, C))
    assert store.talk(B) == talk(B, C)
    store.commit()
    assert list(store.each_talk()) == [talk(B, C), talk(C)]
    assert store.delete_talk(B)
    assert not store.delete_talk(B)
    assert store.talk(B) is None


# ---------------------------------------------------------------- phones


def test_phones_are_kept_by_kind_and_name(store: Store) -> None:
    long = b"sip:" + b"x" * 2000
    kept = [phone(AGENT), phone(), phone(name=long)]
    for each in kept:
        store.put_phone(each)
    store.commit()
    assert [store.phone(each.kind, each.name) for each in kept] == kept
    assert store.phone(AGENT, long) is store.phone(DEVICE, long + b"x") is None
    assert sorted(store.each_phone(), key=repr) == sorted(kept, key=repr)
    store.put_phone(phone(notes=()))
    assert store.phone(DEVICE, b"<urn:uuid:1>") == phone(notes=())
    assert store.delete_phone(DEVICE, b"<urn:uuid:1>")
    assert not store.delete_phone(DEVICE, b"<urn:uuid:1>")


def test_phones_are_gone_through_from_where_the_last_look_ended(store: Store) -> None:
    names = [b"<%d>" % number for number in range(7)]
    for name in names:
        store.put_phone(phone(name=name))
    found, key = [], b""
    while True:
        more, key = store.phones_after(key, 3)
        found += [each.name for each in more]
        if not key:
            break
    assert found == names
    assert store.phones_after(b"", 7)[1] != b""  # there may be more
    assert store.phones_after(b"", 8)[1] == b""


# ---------------------------------------------------------------- keys of any length

LONG = b"sip:" + b"x" * 2000
AORS = {
    "255 bytes": b"sip:" + b"x" * 251,
    "256 bytes": b"sip:" + b"x" * 252,
    "long": LONG,
    "a NUL": b"sip:a\0b@example.org",
    "only a NUL": b"\0",
    "empty": b"",
    "64 KiB": b"sip:" + b"y" * 65_532,
}


@pytest.mark.parametrize("aor", AORS.values(), ids=AORS)
def test_any_aor_will_do(store: Store, aor: bytes) -> None:
    like_it = aor + b"!"
    for callee, caller in ((aor, like_it), (like_it, aor), (aor, aor), (aor, A), (A, aor)):
        store.put_watch(watch(callee, caller))
    store.put_bindings(aor, [binding()])
    store.put_talk(talk(aor))
    store.put_known(aor)
    store.commit()
    assert store.bindings(aor) == (binding(),)
    assert store.bindings(like_it) == ()
    assert list(store.each_bindings()) == [(aor, (binding(),))]
    assert store.talk(aor) == talk(aor)
    assert store.talk(like_it) is None
    assert store.is_known(aor)
    assert not store.is_known(like_it)
    assert store.watch(aor, like_it) == watch(aor, like_it)
    assert store.watch(like_it, like_it) is None
    assert {w.caller for w in store.watches(aor)} == {like_it, aor, A}
    assert (store.count_by_callee(aor), store.count_by_caller(aor), count_watches(store)) == (3, 3, 5)
    assert store.claim(watch(aor, aor), watch(aor, aor, state=RECALLING))
    assert store.delete_watch(aor, like_it)
    assert store.count_by_callee(aor) == 2
    store.put_bindings(aor, ())
    assert store.delete_talk(aor)
    assert list(store.each_bindings()) == list(store.each_talk()) == []


def test_long_aors_that_differ_at_the_end_are_different(store: Store) -> None:
    one, other = LONG + b"1", LONG + b"2"
    store.put_bindings(one, [binding(b"sip:1")])
    store.put_bindings(other, [binding(b"sip:2")])
    store.commit()
    assert store.bindings(one) == (binding(b"sip:1"),)
    assert store.bindings(other) == (binding(b"sip:2"),)
    store.put_bindings(one, [binding(b"sip:1", NOW)])
    store.commit()
    assert [store.sweep_bindings(NOW, 10), store.bindings(one)] == [1, ()]


# ---------------------------------------------------------------- batches

CHANGES: dict[str, Callable[[Store], object]] = {
    "add bindings": lambda store: store.put_bindings(C, [binding()]),
    "replace bindings": lambda store: store.put_bindings(B, [binding(b"sip:new")]),
    "remove bindings": lambda store: store.put_bindings(B, []),
    "sweep": lambda store: store.sweep_bindings(NOW + 10**9, 10),
    "know": lambda store: store.put_known(C),
    "add watch": lambda store: store.put_watch(watch(C, A)),
    "replace watch": lambda store: store.put_watch(watch(attempts=1)),
    "delete watch": lambda store: store.delete_watch(B, A),
    "claim": lambda store: store.claim(watch(), watch(state=RECALLING)),
    "put stored watch": lambda store: store.put_watch(stored_watch(encode_watch(watch(C, A)))),
    "claim stored": lambda store: store.claim(stored_watch(encode_watch(watch())), watch(attempts=1)),
    "add talk": lambda store: store.put_talk(talk(C)),
    "replace talk": lambda store: store.put_talk(talk(B, C)),
    "delete talk": lambda store: store.delete_talk(B),
    "add phone": lambda store: store.put_phone(phone(AGENT, b"Acme")),
    "replace phone": lambda store: store.put_phone(phone(notes=())),
    "delete phone": lambda store: store.delete_phone(DEVICE, b"<urn:uuid:1>"),
}


def filled(store: Store) -> Store:
    store.put_bindings(B, [binding()])
    store.put_known(B)
    store.put_watch(watch())
    store.put_talk(talk())
    store.put_phone(phone())
    store.commit()
    return store


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_abort_undoes_a_change_and_commit_keeps_it(store: Store, change: Callable[[Store], object]) -> None:
    before, writes = content(filled(store)), store.writes
    change(store)
    changed = content(store)
    assert changed != before
    assert store.writes > writes
    store.abort()
    assert content(store) == before
    assert store.writes > writes, "the count of writes never goes back"
    change(store)
    store.commit()
    store.abort()
    if change is not CHANGES["sweep"]:  # which may be past B by now
        assert content(store) == changed


@pytest.mark.parametrize("most", [1, 5, 40])
def test_a_table_takes_as_many_records_as_it_may(store: Store, most: int) -> None:
    taken = 0
    while store.has_room_for_aor(most) and taken < 100:
        store.put_bindings(b"sip:%d@example.org" % taken, [Binding(b"sip:a@192.0.2.1", NOW, b"call", 1)])
        taken += 1
        if taken % 7 == 0:
            store.commit()
    assert taken == most
    store.put_bindings(b"sip:0@example.org", ())
    store.commit()
    assert store.has_room_for_aor(most), "one has gone"
    assert store.has_room_for_aor(most + 1), "the bound has grown"


def test_several_who_fill_a_table_keep_to_its_bound() -> None:
    tables = MemoryTables()
    one, other = Store(tables), Store(tables)
    taken = 0
    for number in range(300):
        store = (one, other)[number % 2]
        if store.has_room_for_watch(100):
            store.put_watch(Watch(b"sip:%d@example.org" % number, A, NOW, NOW + 1, b"call", b"sip:a@192.0.2.1"), True)
            store.commit()
            taken += 1
    assert taken == 100


def test_what_changes_nothing_is_not_counted_as_a_write(store: Store) -> None:
    filled(store)
    writes = store.writes
    store.for_update()
    store.put_bindings(A, [])
    store.put_known(B)
    store.delete_watch(A, B)
    store.delete_talk(A)
    store.claim(watch(attempts=9), watch())
    store.commit()
    store.abort()
    content(store)
    assert store.writes == writes


def test_reads_for_update_see_the_batch(store: Store) -> None:
    filled(store)
    store.for_update()
    store.for_update()
    assert store.bindings(B) == (binding(),)
    store.put_bindings(B, [binding(b"sip:new")])
    store.for_update()
    assert store.bindings(B) == (binding(b"sip:new"),)
    store.abort()
    assert store.bindings(B) == (binding(),)


@dataclass
class Model:
    """The same, as plainly as it can be put."""

    bindings: dict[bytes, tuple[Binding, ...]]
    watches: dict[tuple[bytes, bytes], Watch]
    talks: dict[bytes, Talk]

    def copy(self) -> Model:
        return replaced(self, bindings=dict(self.bindings), watches=dict(self.watches), talks=dict(self.talks))


few_aors = st.sampled_from([A, B, LONG + b"1", LONG + b"2"])
steps = st.lists(
    st.tuples(st.sampled_from(["bind", "arm", "cancel", "claim", "talk", "hang up", "commit", "abort"]), few_aors, few_aors),
    max_size=40,
)


@pytest.mark.parametrize("name", BACK_ENDS)
@settings(deadline=None)
@given(steps=steps)
def test_any_run_of_changes_leaves_what_a_plain_model_says(
    name: str, steps: list[tuple[str, bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = BACK_ENDS[name].open(tmp_path_factory.mktemp("run") / "data")
    model = Model({}, {}, {})
    committed = model.copy()
    for n, (step, callee, caller) in enumerate(steps):
        stored = model.watches.get((callee, caller))
        if step == "bind":
            made = tuple(binding(b"sip:%d" % k) for k in range(n % 3))
            store.put_bindings(callee, made)
            model.bindings[callee] = made
            if not made:
                del model.bindings[callee]
        elif step == "arm":
            model.watches[callee, caller] = watch(callee, caller, NOW + n)
            store.put_watch(watch(callee, caller, NOW + n))
        elif step == "cancel":
            assert store.delete_watch(callee, caller) is (stored is not None)
            model.watches.pop((callee, caller), None)
        elif step == "claim":
            wanted = watch(callee, caller, stored.armed_at if stored else NOW)
            claimed = msgspec.structs.replace(wanted, state=RECALLING)
            assert store.claim(wanted, claimed) is (stored == wanted)
            if stored == wanted:
                model.watches[callee, caller] = claimed
        elif step == "talk":
            store.put_talk(talk(callee, caller))
            model.talks[callee] = talk(callee, caller)
        elif step == "hang up":
            assert store.delete_talk(callee) is (model.talks.pop(callee, None) is not None)
        elif step == "commit":
            store.commit()
            committed = model.copy()
        else:
            store.abort()
            model = committed.copy()
    assert dict(store.each_bindings()) == model.bindings
    assert {(w.callee, w.caller): w for w in store.each_watch()} == model.watches
    assert {t.callee: t for t in store.each_talk()} == model.talks
    assert count_watches(store) == len(model.watches)
    for aor in (A, B, LONG + b"1", LONG + b"2"):
        assert store.count_by_caller(aor) == sum(caller == aor for _, caller in model.watches)
        assert store.count_by_callee(aor) == sum(callee == aor for callee, _ in model.watches)
        mine = [w for w in model.watches.values() if w.callee == aor]
        assert sorted(store.watches(aor), key=str) == sorted(mine, key=str)
        assert [w.armed_at for w in store.watches(aor)] == sorted(w.armed_at for w in mine)
    store.close()


# ---------------------------------------------------------------- the whole


def test_the_anchor_is_what_was_put_last_and_goes_with_its_batch(store: Store) -> None:
    assert store.anchor() is None
    first, second = Anchor("a", 1, 2), Anchor("b", 3, 4)
    store.put_anchor(first)
    store.commit()
    store.put_anchor(second)
    assert store.anchor() == second
    store.abort()
    assert store.anchor() == first


def test_the_secret_stays_and_is_nobody_elses(back_end: BackEnd, store: Store, tmp_path: Path) -> None:
    assert len(store.secret()) == 16
    assert store.secret() == store.secret()
    other = back_end.open(tmp_path / "other")
    assert other.secret() != store.secret()
    other.close()


def test_closing_twice_does_nothing(store: Store) -> None:
    store.put_watch(watch())
    store.close()
    store.close()


@pytest.mark.parametrize("back_end", [each for each in BACK_ENDS.values() if each.durable])
def test_what_was_committed_is_there_for_the_next(back_end: BackEnd, tmp_path: Path) -> None:
    store = filled(back_end.open(tmp_path / "data"))
    secret, before = store.secret(), content(store)
    store.put_watch(watch(C, A))
    store.close()
    store = back_end.open(tmp_path / "data")
    assert content(store) == before
    assert store.secret() == secret
    store.close()
