"""What a back end does (sipfast/store/tables.pyx), put to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.tables import NAMES, Tables

BACK_ENDS: dict[str, Callable[[Path], Tables]] = {"memory": lambda path: MemoryTables(), "lmdb": LmdbTables}
ONE, OTHER = NAMES.index("watches"), NAMES.index("callers")


@pytest.fixture(params=BACK_ENDS)
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tables]:
    tables = BACK_ENDS[request.param](tmp_path / "data")
    yield tables
    tables.close()


def test_a_row_is_of_one_table_and_one_key(tables: Tables) -> None:
    tables.put(ONE, b"k", b"1")
    assert (tables.get(ONE, b"k"), tables.get(OTHER, b"k"), tables.get(ONE, b"kk")) == (b"1", None, None)
    tables.put(ONE, b"k", b"")
    assert tables.get(ONE, b"k") == b""
    assert tables.delete(ONE, b"k") and not tables.delete(ONE, b"k")
    assert tables.get(ONE, b"k") is None


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "in a batch"])
def test_rows_come_in_the_order_of_keys(tables: Tables, committed: bool) -> None:
    keys = [b"b\0z", b"a\0x", b"b\xffq", b"b\0a", b"c", b"b"]
    for key in keys:
        tables.put(ONE, key, key.upper())
    tables.put(OTHER, b"b\0b", b"another table's")
    if committed:
        tables.commit()
    assert tables.rows(ONE, b"b\0") == [(b"b\0a", b"B\0A"), (b"b\0z", b"B\0Z")]
    assert tables.rows(ONE, b"d") == []
    assert [key for key, _ in tables.rows(ONE, b"")] == sorted(keys)
    assert list(tables.each(ONE)) == [key.upper() for key in sorted(keys)]
    assert [tables.count(ONE, prefix) for prefix in (b"b\0", b"b", b"d", b"")] == [2, 4, 0, 6]
    assert tables.size(ONE) == 6
    assert tables.rows_after(ONE, b"", 2) == [(b"a\0x", b"A\0X"), (b"b", b"B")]
    assert [key for key, _ in tables.rows_after(ONE, b"b", 9)] == [b"b\0a", b"b\0z", b"b\xffq", b"c"]
    assert tables.rows_after(ONE, b"b\0b", 1) == [(b"b\0z", b"B\0Z")], "after a key that is not there"
    assert tables.rows_after(ONE, b"c", 9) == tables.rows_after(ONE, b"", 0) == []
    assert (tables.last_key(ONE), tables.last_key(NAMES.index("ended"))) == (b"c", None)


def test_an_abort_undoes_the_batch_and_nothing_else(tables: Tables) -> None:
    tables.put(ONE, b"kept", b"1")
    tables.put(ONE, b"changed", b"1")
    tables.commit()
    writes = tables.writes
    tables.put(ONE, b"new", b"1")
    tables.put(ONE, b"changed", b"2")
    tables.put(ONE, b"changed", b"3")
    tables.delete(ONE, b"kept")
    tables.delete(ONE, b"new")
    tables.put(ONE, b"kept", b"again")
    tables.abort()
    assert tables.rows(ONE, b"") == [(b"changed", b"1"), (b"kept", b"1")]
    assert tables.writes == writes + 6, "it never goes back"
    tables.abort()
    assert tables.count(ONE, b"") == 2


def test_what_is_not_there_is_not_deleted(tables: Tables) -> None:
    writes = tables.writes
    assert not tables.delete(ONE, b"k")
    tables.commit()
    assert tables.writes == writes


def test_what_is_gone_through_is_as_it_was_at_the_beginning(tables: Tables) -> None:
    for key in (b"a", b"b", b"c"):
        tables.put(ONE, key, key)
    tables.commit()
    values = tables.each(ONE)
    tables.delete(ONE, b"c")
    tables.put(ONE, b"d", b"d")
    tables.commit()
    assert list(values) == [b"a", b"b", b"c"]


def test_a_held_snapshot_ends_with_the_batch_and_by_its_first_write(tables: Tables) -> None:
    tables.hold_snapshot()
    assert tables.get(ONE, b"k") is None
    tables.put(ONE, b"k", b"1")
    assert tables.get(ONE, b"k") == b"1"
    tables.commit()
    assert tables.get(ONE, b"k") == b"1"
    tables.hold_snapshot()
    tables.let_go()
    assert tables.get(ONE, b"k") == b"1"


def test_one_that_is_made_new_has_a_secret_of_its_own(tables: Tables) -> None:
    secret = tables.get(NAMES.index("meta"), b"secret")
    assert secret is not None and len(secret) == 16
    tables.abort()
    assert tables.get(NAMES.index("meta"), b"secret") == secret


few_keys = st.sampled_from([b"a", b"a\0b", b"a\0c", b"b\0a", b"\xff"])
steps = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "commit", "abort"]), few_keys, st.binary(max_size=3)), max_size=40
)


@pytest.mark.parametrize("name", BACK_ENDS)
@settings(deadline=None)
@given(steps=steps)
def test_any_run_of_changes_leaves_what_a_dictionary_has(
    name: str, steps: list[tuple[str, bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tables = BACK_ENDS[name](tmp_path_factory.mktemp("run") / "data")
    model: dict[bytes, bytes] = {}
    committed: dict[bytes, bytes] = {}
    for step, key, value in steps:
        if step == "put":
            tables.put(ONE, key, value)
            model[key] = value
        elif step == "delete":
            assert tables.delete(ONE, key) is (model.pop(key, None) is not None)
        elif step == "commit":
            tables.commit()
            committed = dict(model)
        else:
            tables.abort()
            model = dict(committed)
        assert tables.get(ONE, key) == model.get(key)
    assert tables.rows(ONE, b"") == sorted(model.items())
    assert tables.rows(ONE, b"a\0") == sorted((key, value) for key, value in model.items() if key.startswith(b"a\0"))
    tables.close()
