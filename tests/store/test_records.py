"""Records come back as they were, and anything else is told from them."""

from __future__ import annotations

from types import ModuleType

import msgspec
import pytest
from compiled import looks
from hypothesis import given
from hypothesis import strategies as st

from sipfast.errors import StoreCorrupt
from sipfast.store import codec, records
from sipfast.store.records import Binding, Leg, Move, Note, Phone, Talk, Watch


@pytest.fixture(scope="module")
def look() -> ModuleType:
    return looks()


times = st.integers(0, 2**62)
bindings = st.builds(
    Binding,
    contact=st.binary(),
    expires=times,
    call_id=st.binary(),
    cseq=st.integers(0, 2**32 - 1),
    q=st.integers(0, 1000),
    params=st.binary(),
    path=st.binary(),
    flow=st.binary(),
    instance=st.binary(),
    updated=times,
    reg_id=st.integers(0, 2**31),
    branch=st.integers(0, 2**32 - 1),
)
watches = st.builds(
    Watch,
    callee=st.binary(),
    caller=st.binary(),
    armed_at=times,
    expires_at=times,
    call_id=st.binary(),
    contact=st.binary(),
    path=st.binary(),
    flow=st.binary(),
    instance=st.binary(),
    mode=st.text(),
    state=st.text(),
    attempts=st.integers(0, 100),
    last_result=st.text(),
    refer_call_id=st.binary(),
    refer_tag=st.binary(),
    recalled_at=times,
    not_before=times,
)
talks = st.builds(Talk, callee=st.binary(), caller=st.binary(), call_id=st.binary(), since=times)


@given(st.binary(), st.lists(bindings, max_size=4).map(tuple))
def test_bindings_come_back(aor: bytes, some: tuple[Binding, ...]) -> None:
    assert records.decode_bindings(records.encode_bindings(aor, some)) == (aor, some)


sizes = st.sampled_from([0, 1, 127, 128, 255, 256, 65_535, 65_536]).map(bytes)
edges = st.sampled_from([0, 1, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**62])
at_edges = st.builds(
    Binding,
    contact=sizes,
    expires=edges,
    call_id=sizes,
    cseq=edges,
    q=edges,
    params=sizes,
    path=sizes,
    flow=sizes,
    instance=sizes,
    updated=edges,
    reg_id=edges,
    branch=edges,
)


@given(st.binary() | sizes, bindings | at_edges)
def test_the_fast_way_is_the_same(look: ModuleType, aor: bytes, binding: Binding) -> None:
    record = records.encode_bindings(aor, (binding,))
    written = look.write_one(aor, binding)
    assert written.record == record and written == (binding,)
    read = codec.stored_bindings(aor, record)
    assert read.single and read == (binding,)
    assert codec.stored_bindings(aor + b"x", record) == (), "another AOR's, whose shortened key is the same"


@given(st.binary(), st.lists(bindings, max_size=4).map(tuple).filter(lambda some: len(some) != 1))
def test_the_fast_way_leaves_any_other_number_alone(aor: bytes, some: tuple[Binding, ...]) -> None:
    read = codec.stored_bindings(aor, records.encode_bindings(aor, some))
    assert not read.single and read == some


@given(st.binary(max_size=20), bindings, st.data())
def test_the_fast_way_reads_nothing_beyond_damage(aor: bytes, binding: Binding, data: st.DataObject) -> None:
    """Whatever it takes for a record, the reference takes for the same one."""
    record = bytearray(records.encode_bindings(aor, (binding,)))
    at = data.draw(st.integers(0, len(record) - 1))
    if data.draw(st.booleans()):
        del record[at:]
    else:
        record[at] = data.draw(st.integers(0, 255))
    try:
        expected = records.decode_bindings(bytes(record))
    except StoreCorrupt:
        with pytest.raises(StoreCorrupt):
            codec.stored_bindings(aor, bytes(record))
        return
    assert codec.stored_bindings(aor, bytes(record)) == (expected[1] if expected[0] == aor else ())


@given(watches)
def test_watches_come_back(watch: Watch) -> None:
    assert records.decode_watch(records.encode_watch(watch)) == watch


texts = st.sampled_from([0, 1, 7, 8, 31, 32, 255, 256, 65_535]).map("x".__mul__)
watches_at_edges = st.builds(
    Watch,
    callee=sizes,
    caller=sizes,
    armed_at=edges,
    expires_at=edges,
    call_id=sizes,
    contact=sizes,
    path=sizes,
    flow=sizes,
    instance=sizes,
    mode=texts,
    state=texts,
    attempts=edges,
    last_result=texts,
    refer_call_id=sizes,
    refer_tag=sizes,
    recalled_at=edges,
    not_before=edges,
    method=texts,
    agent=sizes,
    registration=sizes,
    identity=texts,
    pauses=edges,
    offer=sizes,
)


@given(watches | watches_at_edges)
def test_the_fast_way_to_a_watch_is_the_same(look: ModuleType, watch: Watch) -> None:
    record = records.encode_watch(watch)
    read = codec.stored_watch(record)
    assert read == watch and repr(read) == repr(watch)
    assert all(getattr(read, name) == getattr(watch, name) for name in Watch.__struct_fields__)
    written = look.write_watch(record)
    assert written == read, "byte for byte"
    assert written == watch, "what is read of it without reading it again"


@pytest.mark.parametrize(("not_before", "result"), [(-1, b""), (-(2**63), b""), (0, b"x" * 65_536)])
def test_a_watch_that_could_not_be_read_again_is_not_written(look: ModuleType, not_before: int, result: bytes) -> None:
    stored = codec.stored_watch(records.encode_watch(WATCH))
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        look.write_watch_with(stored, not_before, result)


@given(watches | watches_at_edges, st.data())
def test_the_fast_way_to_a_watch_reads_nothing_beyond_damage(watch: Watch, data: st.DataObject) -> None:
    """What the reference refuses it refuses, and what it takes is the same."""
    record = bytearray(records.encode_watch(watch))
    at = data.draw(st.integers(0, len(record) - 1))
    if data.draw(st.booleans()):
        del record[at:]
    else:
        record[at] = data.draw(st.integers(0, 255))
    try:
        expected = records.decode_watch(bytes(record))
    except StoreCorrupt:
        with pytest.raises(StoreCorrupt):
            codec.stored_watch(bytes(record))
        return
    if min(expected.armed_at, expected.expires_at, expected.attempts, expected.recalled_at, expected.not_before,
           expected.pauses) < 0:
        return  # never written, and refused here
    assert codec.stored_watch(bytes(record)) == expected


def test_a_watch_whose_text_is_no_utf_8_is_corrupt() -> None:
    record = records.encode_watch(msgspec.structs.replace(WATCH, last_result="NOTIFY 486")).replace(b"486", b"4\xff6")
    for decode in (records.decode_watch, codec.stored_watch):
        with pytest.raises(StoreCorrupt, match="watch"):
            decode(record)


def test_the_fast_way_reads_watches_of_fewer_and_of_more_fields() -> None:
    fields = [b"sip:b@example.org", b"sip:a@example.org", 1, 2, b"c", b"sip:a@192.0.2.1"]
    assert codec.stored_watch(msgspec.msgpack.encode([1, fields])) == WATCH
    full = msgspec.msgpack.decode(records.encode_watch(WATCH))[1]
    later = msgspec.msgpack.encode([1, [*full, "of a later version"]])
    assert codec.stored_watch(later) == records.decode_watch(later) == WATCH


@given(talks)
def test_talks_come_back(talk: Talk) -> None:
    assert records.decode_talk(records.encode_talk(talk)) == talk


def test_a_leg_comes_back() -> None:
    full = msgspec.structs.replace(
        LEG,
        state="answered",
        routes=(b"<sip:r;lr>",),
        seq=3,
        remote_seq=2,
        pending=(b"BYE", b"INFO"),
        step="s",
        heard=b"v=0",
    )
    for leg in (LEG, full):
        assert records.decode_leg(records.encode_leg(leg)) == leg


BINDING = Binding(b"sip:b@192.0.2.1", 1, b"c", 1)
WATCH = Watch(b"sip:b@example.org", b"sip:a@example.org", 1, 2, b"c", b"sip:a@192.0.2.1")
TALK = Talk(b"sip:b@example.org", b"sip:a@example.org", b"c", 1)
LEG = Leg(b"call", b"recall", b"sip:b@example.org", b"sip:a@example.org", 1, b"<sip:b>;tag=1", b"<sip:a>", b"sip:a@h", b"f")
MOVE = Move(b"old", b"new", b"sip:b@example.org", b"sip:b@192.0.2.1", 1)
PHONE = Phone("device", b"<urn:uuid:1>", b"Acme", (Note("refer", False, 1, 2),))
KINDS = {
    "bindings": (records.decode_bindings, records.encode_bindings(b"sip:b@example.org", (BINDING,))),
    "watch": (records.decode_watch, records.encode_watch(WATCH)),
    "talk": (records.decode_talk, records.encode_talk(TALK)),
    "move": (records.decode_move, records.encode_move(MOVE)),
    "phone": (records.decode_phone, records.encode_phone(PHONE)),
    "leg": (records.decode_leg, records.encode_leg(LEG)),
}
VERSIONS = {"bindings": 2, "watch": 1, "talk": 1, "move": 1, "phone": 1, "leg": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_cut_short_or_with_something_behind_is_corrupt(kind: str) -> None:
    decode, stored = KINDS[kind]
    decode(stored)
    for wrong in [stored[:size] for size in range(len(stored))] + [stored + b"\0"]:
        with pytest.raises(StoreCorrupt, match=kind):
            decode(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_another_version_is_corrupt(kind: str) -> None:
    """The version comes first, so that it can be read whatever follows."""
    decode, stored = KINDS[kind]
    version, *rest = msgspec.msgpack.decode(stored)
    known = VERSIONS[kind]
    assert version == known
    with pytest.raises(StoreCorrupt, match=f"{kind} record has version 9; this sipfast reads version {known}"):
        decode(msgspec.msgpack.encode([9, *rest]))
    with pytest.raises(StoreCorrupt, match=f"{kind} record has version 9; this sipfast reads version {known}"):
        decode(msgspec.msgpack.encode([9, "another", {"shape": 1}]))


@pytest.mark.parametrize("kind", KINDS)
@given(noise=st.binary(max_size=64))
def test_noise_is_corrupt_and_nothing_worse(kind: str, noise: bytes) -> None:
    decode, _ = KINDS[kind]
    with pytest.raises(StoreCorrupt):
        decode(noise)


def test_what_stored_records_look_like() -> None:
    """Stores that exist must stay readable: fields may come at the end, with a default, and nothing else may change."""
    stored = [
        [2, b"sip:b@example.org", [[b"sip:b@192.0.2.1", 1, b"c", 1]]],
        [1, [b"sip:b@example.org", b"sip:a@example.org", 1, 2, b"c", b"sip:a@192.0.2.1"]],
        [1, [b"sip:b@example.org", b"sip:a@example.org", b"c", 1]],
        [1, [b"old", b"new", b"sip:b@example.org", b"sip:b@192.0.2.1", 1]],
        [1, ["device", b"<urn:uuid:1>", b"Acme", [["refer", False, 1, 2]]]],
        [
            1,
            [
                b"call",
                b"recall",
                b"sip:b@example.org",
                b"sip:a@example.org",
                1,
                b"<sip:b>;tag=1",
                b"<sip:a>",
                b"sip:a@h",
                b"f",
            ],
        ],
    ]
    read = [decode(msgspec.msgpack.encode(each)) for (decode, _), each in zip(KINDS.values(), stored, strict=True)]
    assert read == [(b"sip:b@example.org", (BINDING,)), WATCH, TALK, MOVE, PHONE, LEG]
    rest = [b"path", b"flow", b"instance", "NL", "armed", 3, "408", b"call", b"tag", 9]
    assert records.decode_watch(msgspec.msgpack.encode([1, [*stored[1][1], *rest]])) == msgspec.structs.replace(
        WATCH,
        path=b"path",
        flow=b"flow",
        instance=b"instance",
        mode="NL",
        state="armed",
        attempts=3,
        last_result="408",
        refer_call_id=b"call",
        refer_tag=b"tag",
        recalled_at=9,
    )
