"""Damaged files: found before LMDB trips over them, and left as they are."""

from __future__ import annotations

import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import lmdb
import pytest
from net.stores import directory

from sipfast.errors import StoreCorrupt
from sipfast.store.backends import pages
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Binding, Watch
from sipfast.store.repository import Store

NOW = 1_700_000_000_000
A = b"sip:a@example.org"


def watch(n: int, last_result: str) -> Watch:
    return Watch(b"sip:b%d@example.org" % n, A, NOW, NOW + 1000, b"c", b"sip:a@192.0.2.1", last_result=last_result)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def sound(path: Path) -> bytes:
    """The file of a store with trees of three levels, overflow pages and free pages."""
    store = Store(LmdbTables(path))
    for n in range(2000):
        store.put_watch(watch(n, "x" * 150))
    store.put_bindings(A, [Binding(b"sip:" + b"x" * 5000, NOW, b"c", 1)] * 4)
    store.commit()
    for n in range(0, 2000, 3):
        store.put_watch(watch(n, "y" * 170))
        if n % 90 == 0:
            store.commit()
    store.commit()
    store.close()
    return (path / "data.mdb").read_bytes()


# Opens a store and uses all of it: either refuses to open, or works.
USE = """
import sys
from sipfast.errors import StoreCorrupt
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store
from sipfast.store.tables import NAMES

def use(path):
    try:
        store = Store(LmdbTables(path))
    except StoreCorrupt as error:
        assert str(error).startswith(path + ": ") and "\\n" not in str(error)
        return "refused"
    try:
        assert len(list(store.each_watch())) == store.tables.count(NAMES.index("watches"), b"") == 2000
        assert len(store.bindings(b"sip:a@example.org")[0].contact) == 5004
        for each in list(store.each_watch()):
            store.delete_watch(each.callee, each.caller)
            store.put_watch(each)
        store.commit()
    except StoreCorrupt as error:
        return "failed"
    finally:
        store.close()
    return "sound"
"""


def run(script: str, path: Path) -> list[str]:
    """The words that a script prints, in a process of its own: LMDB ends the process on some of these files."""
    command = [sys.executable, "-c", USE + script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()


def test_a_damaged_page_is_found_before_it_does_harm(path: Path, sound: bytes) -> None:
    script = """
import random
random.seed(1)
path, name = sys.argv[1], sys.argv[1] + "/data.mdb"
sound = open(name, "rb").read()
pages = len(sound) // 4096
damages = [bytes(4096), b"\\xff" * 4096, random.randbytes(4096), None]
print(use(path))
for page in range(2, pages, max(1, pages // 60)):
    for damage in damages:
        if damage is None:
            other = random.randrange(2, pages)
            damage = sound[other * 4096 : other * 4096 + 4096]
        with open(name, "wb") as file:
            file.write(sound[: page * 4096] + damage + sound[page * 4096 + 4096 :])
        print(use(path))
"""
    first, *rest = run(script, path)
    assert first == "sound"
    assert set(rest) <= {"sound", "refused", "failed"}, "sound: the page was a free one"
    assert rest.count("refused") > len(rest) / 2
    assert rest.count("failed") < len(rest) / 20, "failed: the page was the inside of a record on overflow pages"


@pytest.mark.parametrize("keep", [0.0001, 0.3, 0.9, 0.999], ids=str)
def test_a_truncated_file_is_refused(path: Path, sound: bytes, keep: float) -> None:
    (path / "data.mdb").write_bytes(sound[: int(len(sound) * keep)])
    before = (path / "data.mdb").read_bytes()
    assert run("print(use(sys.argv[1]))", path) == ["refused"]
    assert (path / "data.mdb").read_bytes() == before


SIZE = 4096


def pages_of(data: bytes, kind: int) -> list[int]:
    """Numbers of the pages that say they are branches (1) or leaves (2)."""
    return [n for n in range(2, len(data) // SIZE) if struct.unpack_from("=QHH", data, n * SIZE)[::2] == (n, kind)]


def found(path: Path, data: bytes) -> list[str]:
    """What is wrong with a file; LMDB itself only reads its meta pages."""
    (path / "data.mdb").write_bytes(data)
    env = lmdb.open(str(path), max_dbs=8, map_size=1 << 30)
    with env.begin() as txn:
        wrong = pages.damages(path / "data.mdb", txn.id())
    env.close()
    return wrong


def kind_of(wrong: list[str]) -> str:
    """What the first damage is, without what it hits."""
    return wrong[0].partition(":")[0] if wrong else ""


def test_a_leaf_in_the_place_of_another_is_found(path: Path, sound: bytes) -> None:
    assert found(path, sound) == []
    results = []
    leaves = pages_of(sound, 2)
    for one, other in list(pairwise(leaves))[::5]:
        page = sound[other * SIZE : other * SIZE + SIZE]
        results.append((one, kind_of(found(path, sound[: one * SIZE] + page + sound[one * SIZE + SIZE :]))))
    assert {f"page {one} is not what it should be" for one, _ in results} >= {wrong for _, wrong in results if wrong}
    assert sum(wrong != "" for _, wrong in results) > len(results) / 2, "the rest are free pages"


def test_a_page_that_is_used_twice_is_found(path: Path, sound: bytes) -> None:
    results = set()
    for branch in pages_of(sound, 1):
        first, second = struct.unpack_from("=HH", sound, branch * SIZE + 16)
        data = bytearray(sound)
        data[branch * SIZE + second : branch * SIZE + second + 6] = sound[branch * SIZE + first : branch * SIZE + first + 6]
        wrong = [kind_of([each]) for each in found(path, bytes(data))]
        results.add(next((each[-10:] for each in wrong if "twice" in each), "".join(wrong)))
    assert "used twice" in results
    assert results <= {"used twice", ""}, "the rest are free pages"


def test_a_snapshot_that_a_busy_writer_has_overtaken_is_told_from_a_damaged_one(path: Path, sound: bytes) -> None:
    store = Store(LmdbTables(path))
    with directory(store).environment.begin() as txn:
        transaction = txn.id()
        assert pages.damages(path / "data.mdb", transaction) == []
        for n in range(2):
            store.put_watch(watch(n, "z"))
            store.commit()
        assert pages.damages(path / "data.mdb", transaction) == [pages.OVERTAKEN]
        assert pages.damages(path / "data.mdb", transaction + 2) == []
    store.close()


def leaves_of_watches(data: bytes) -> list[int]:
    """Leaf pages whose first key is a pair of callee and caller."""
    found = []
    for number in pages_of(data, 2):
        (first,) = struct.unpack_from("=H", data, number * SIZE + 16)
        key = data[number * SIZE + first + 8 : number * SIZE + first + 8 + 30]
        if key.startswith(b"sip:b") and b"\0" in key:
            found.append(number)
    return found


def test_all_damage_is_told_of_and_what_it_hits(path: Path, sound: bytes) -> None:
    """Not the first one only, and by the records that are on the page."""
    data = bytearray(sound)
    hit = [number for number in leaves_of_watches(sound) if found(path, spoilt(sound, number))][:3]
    assert len(hit) == 3
    for number in hit:
        data[number * SIZE : number * SIZE + SIZE] = bytes(SIZE)
    wrong = found(path, bytes(data))
    for number in hit:
        (told,) = [each for each in wrong if each.startswith(f"page {number} ")]
        name, _, key = told.partition(": ")[2].partition(" from ")
        assert name in ("watches", "callers"), told
        assert not key or key.startswith("sip:"), told
    with pytest.raises(StoreCorrupt, match=f"page {hit[0]} .*page {hit[1]} |page {hit[1]} .*page {hit[0]} "):
        Store(LmdbTables(path))


def spoilt(data: bytes, number: int) -> bytes:
    return data[: number * SIZE] + bytes(SIZE) + data[number * SIZE + SIZE :]


def test_keys_out_of_order_are_found(path: Path, sound: bytes) -> None:
    """A record under another's key: LMDB finds neither."""
    results = set()
    for number in pages_of(sound, 2):
        data = bytearray(sound)
        data[number * SIZE + 16 : number * SIZE + 20] = (
            sound[number * SIZE + 18 : number * SIZE + 20] + sound[number * SIZE + 16 : number * SIZE + 18]
        )
        results.add(kind_of(found(path, bytes(data))).partition(" has ")[2])
    assert "keys that are not in order" in results
    assert results <= {"keys that are not in order", "", "nodes that overlap, or a gap", "wrong bounds", "a node outside"}


@pytest.mark.parametrize("change", [1, 5], ids=["a size", "a key's size"])
def test_nodes_that_overlap_are_found(path: Path, sound: bytes, change: int) -> None:
    told = 0
    leaves = leaves_of_watches(sound)
    for number in leaves:
        (first,) = struct.unpack_from("=H", sound, number * SIZE + 16)
        data = bytearray(sound)
        data[number * SIZE + first + change - 1] ^= 2
        told += bool(found(path, bytes(data)))
    live = sum(bool(found(path, spoilt(sound, number))) for number in leaves)
    assert told == live > 0
