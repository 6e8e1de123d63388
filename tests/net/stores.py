"""Stores in memory for the virtual network: one as it should be, some that fail, and one that takes note."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

from sipfast.errors import StoreUnavailable
from sipfast.store.backends.directory import Directory
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.repository import Store
from sipfast.store.tables import NAMES


class MemoryStore(Store):
    """In the memory of this process."""

    def __init__(self, randomness: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(MemoryTables(randomness))
        self._ended = self.writes

    def has_written(self) -> bool:
        """Whether there is something to commit: others may not write now."""
        return self.writes != self._ended

    def commit(self) -> None:
        super().commit()
        self._ended = self.writes

    def abort(self) -> None:
        super().abort()
        self._ended = self.writes


def row(store: Store, table: str, key: bytes) -> bytes | None:
    """What a table of the back end has under a key."""
    return store.tables.get(NAMES.index(table), key)


def put_row(store: Store, table: str, key: bytes, value: bytes) -> None:
    """Write past the repository, what is no record perhaps."""
    store.tables.put(NAMES.index(table), key, value)


def count_watches(store: Store) -> int:
    """All watches."""
    return store.tables.count(NAMES.index("watches"), b"")


def directory(store: Store) -> Directory:
    """Where a store of LMDB's lies."""
    assert isinstance(store.tables, LmdbTables)
    return store.tables.directory


class FailingStore(MemoryStore):
    """Cannot commit a watch or a binding while `broken`."""

    broken = False

    def commit(self) -> None:
        if self.broken:
            raise StoreUnavailable("no space left")
        super().commit()


class FullStore(MemoryStore):
    """While `full`, every write fails and spoils its batch, as tables have it (store/tables.pyx)."""

    full = False
    spoiled = False

    def _refuse(self) -> None:
        if self.full or self.spoiled:
            self.spoiled = True
            raise StoreUnavailable("no space left")

    def commit(self) -> None:
        if self.spoiled:
            self.abort()
            raise StoreUnavailable("no space left")
        super().commit()

    def abort(self) -> None:
        self.spoiled = False
        super().abort()


def writing(name: str) -> Any:
    def write(self: FullStore, *args: Any, **more: Any) -> Any:
        self._refuse()
        return getattr(MemoryStore, name)(self, *args, **more)

    return write


for name in (
    "put_bindings", "put_watch", "delete_watch", "claim", "put_talk", "delete_talk", "put_known", "put_leg",
    "delete_leg",
):  # fmt: skip
    setattr(FullStore, name, writing(name))


class FlakyStore(MemoryStore):
    """One commit in `odds` that has something to commit fails, and its writes are lost."""

    def __init__(self, seed: int, odds: int) -> None:
        super().__init__()
        self._draw = random.Random(seed)
        self._odds = odds
        self._committed = self.writes
        self.failures = 0

    def commit(self) -> None:
        if self.writes != self._committed:
            self._committed = self.writes
            if self._draw.randrange(self._odds) == 0:
                self.failures += 1
                raise StoreUnavailable("no space left")
        super().commit()


class Recording(MemoryStore):
    """Writes down its commits, and refuses them while `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.commits = 0
        self.sent_before: list[int] = []
        self.out: Any = None

    def commit(self) -> None:
        if self.broken:
            raise StoreUnavailable("no space left")
        self.commits += 1
        if self.out is not None:
            self.sent_before.append(len(self.out.sent))
        super().commit()
