"""Damaged files: found before LMDB trips over them, and left as they are."""

from __future__ import annotations

import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import lmdb
import pytest

from sipfast.records import Binding, Watch
from sipfast.store import pages
from sipfast.store.lmdb import LmdbStore

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
    store = LmdbStore(path)
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
from sipfast.store.lmdb import LmdbStore

def use(path):
    try:
        store = LmdbStore(path)
    except StoreCorrupt as error:
        assert str(error).startswith(path + ": ") and "\\n" not in str(error)
        return "refused"
    try:
        assert len(list(store.each_watch())) == store.count_watches() == 2000
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


def found(path: Path, data: bytes) -> str:
    """What is wrong with a file; LMDB itself only reads its meta pages."""
    (path / "data.mdb").write_bytes(data)
    env = lmdb.open(str(path), max_dbs=8, map_size=1 << 30)
    with env.begin() as txn:
        wrong = pages.damage(path / "data.mdb", txn.id())
    env.close()
    return wrong


def test_a_leaf_in_the_place_of_another_is_found(path: Path, sound: bytes) -> None:
    assert found(path, sound) == ""
    results = []
    leaves = pages_of(sound, 2)
    for one, other in list(pairwise(leaves))[::5]:
        page = sound[other * SIZE : other * SIZE + SIZE]
        results.append((one, found(path, sound[: one * SIZE] + page + sound[one * SIZE + SIZE :])))
    assert {f"page {one} is not what it should be" for one, _ in results} >= {wrong for _, wrong in results if wrong}
    assert sum(wrong != "" for _, wrong in results) > len(results) / 2, "the rest are free pages"


def test_a_page_that_is_used_twice_is_found(path: Path, sound: bytes) -> None:
    results = set()
    for branch in pages_of(sound, 1):
        first, second = struct.unpack_from("=HH", sound, branch * SIZE + 16)
        data = bytearray(sound)
        data[branch * SIZE + second : branch * SIZE + second + 6] = sound[branch * SIZE + first : branch * SIZE + first + 6]
        results.add(found(path, bytes(data))[-10:])
    assert "used twice" in results
    assert results <= {"used twice", ""}, "the rest are free pages"


def test_a_snapshot_that_a_busy_writer_has_overtaken_is_told_from_a_damaged_one(path: Path, sound: bytes) -> None:
    store = LmdbStore(path)
    with store._env.begin() as txn:
        transaction = txn.id()
        assert pages.damage(path / "data.mdb", transaction) == ""
        for n in range(2):
            store.put_watch(watch(n, "z"))
            store.commit()
        assert pages.damage(path / "data.mdb", transaction) == pages.OVERTAKEN
        assert pages.damage(path / "data.mdb", transaction + 2) == ""
    store.close()
