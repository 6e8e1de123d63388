"""A store that answers later, as one across a network does, and a server that has one.

Several batches are under way at a time. They may be kept late, be lost, or be in conflict with what somebody else has
written meanwhile (sipfast/store/tables.pyx has what such a back end promises).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

from net.network import Server
from sipfast.errors import StoreConflict, StoreError, StoreUnavailable
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.repository import Store
from sipfast.store.tables import NAMES

Row = tuple[int, bytes]
NEAR = {NAMES.index(name) for name in ("bindings", "watches")}


class Unit:
    """What the engine has read and written about one message, or one timer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reads: list[tuple[int, bytes, bool]] = []  # table; key, or a prefix; which of these
        self.writes: dict[Row, bytes | None] = {}  # what a row was before
        self.lost = False

    def has_seen(self, changed: dict[Row, bytes | None]) -> bool:
        return any(
            row in self.writes
            or any(row[0] == at and (row[1] == key if whole else row[1].startswith(key)) for at, key, whole in self.reads)
            for row in changed
        )


class LateTables(MemoryTables):
    """In memory, with what is under way on top of it: `under_way` has the batches that wait for their answer."""

    def __init__(self, randomness: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(randomness)
        self.at_once = False
        self.units: list[Unit] = []  # of the batch that is being filled
        self.under_way: list[tuple[Any, list[Unit]]] = []
        self.reasons: dict[int, StoreError] = {}  # id of a batch -> why all of it is lost
        self.far = False  # rows have to be fetched before they are read
        self.near: set[bytes] = set()
        self.asked: list[tuple[set[bytes], Any]] = []

    # ---- reading and writing

    def now_handled(self) -> Unit:
        if not self.units or self.units[-1].number != self.unit:
            self.units.append(Unit(self.unit))
        return self.units[-1]

    def note_read(self, table: int, key: bytes, whole: bool = False) -> None:
        self.now_handled().reads.append((table, key, whole))

    def get(self, table: int, key: bytes) -> bytes | None:
        if self.far and table in NEAR:
            assert key.split(b"\0")[0] in self.near, f"{key!r} is read, and nobody has fetched it"
        self.note_read(table, key, True)
        return super().get(table, key)

    def rows(self, table: int, prefix: bytes) -> list[tuple[bytes, bytes]]:
        self.note_read(table, prefix)
        return super().rows(table, prefix)

    def rows_after(self, table: int, key: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        self.note_read(table, b"")
        return super().rows_after(table, key, limit)

    def each(self, table: int) -> Iterator[bytes]:
        self.note_read(table, b"")
        return super().each(table)

    def count(self, table: int, prefix: bytes) -> int:
        self.note_read(table, prefix)
        return len(super().rows(table, prefix))

    def last_key(self, table: int) -> bytes | None:
        self.note_read(table, b"")
        return super().last_key(table)

    def put(self, table: int, key: bytes, value: bytes) -> None:
        self.now_handled().writes.setdefault((table, key), super().get(table, key))
        super().put(table, key, value)
        super().commit()

    def delete(self, table: int, key: bytes) -> bool:
        former = self.get(table, key)
        if former is None:
            return False
        self.now_handled().writes.setdefault((table, key), former)
        super().delete(table, key)
        super().commit()
        return True

    def set_row(self, row: Row, value: bytes | None) -> None:
        """Past all accounts."""
        writes = self.writes
        if value is not None:
            super().put(*row, value)
        elif super().get(*row) is not None:
            super().delete(*row)
        super().commit()
        self.writes = writes

    # ---- batches

    def fetch(self, aors: set[bytes], group: Any) -> bool:
        if not self.far or aors <= self.near:
            return True
        self.asked.append((aors, group))
        return False

    def commit(self) -> None:
        raise AssertionError("this store is never to commit at once")

    def apply(self, batch: Any) -> bool:
        self.under_way.append((batch, self.units))
        self.units = []
        return False

    def abort(self) -> None:
        self.undo([unit for unit in self.units if not unit.lost])
        self.units = []

    def undo(self, units: list[Unit]) -> None:
        for unit in reversed(units):
            for row, former in unit.writes.items():
                self.set_row(row, former)

    def crash(self) -> None:
        """All that was not kept is gone."""
        for _, units in self.under_way:
            self.units[:0] = units
        self.abort()
        self.under_way.clear()
        self.reasons.clear()
        self.asked.clear()

    # ---- the answers

    def answer(self, batch: Any) -> StoreError | None:
        """Decide about the oldest batch under way. None: all of it is kept."""
        oldest, units = self.under_way.pop(0)
        assert oldest is batch
        lost = frozenset(unit.number for unit in units if unit.lost)
        reason = self.reasons.pop(id(batch), None)
        return reason or (StoreConflict("somebody else has written", lost) if lost else None)

    def lose(self, batch: Any) -> None:
        """Nothing of a batch will be kept, and nothing that has read what it has written."""
        (units,) = (units for each, units in self.under_way if each is batch)
        self.reasons[id(batch)] = StoreUnavailable("no space left")
        self.part_with(units, {})

    def write_elsewhere(self, table: str, key: bytes, value: bytes | None) -> None:
        """Another node has written a row."""
        row = NAMES.index(table), key
        self.part_with([], {row: None})
        self.set_row(row, value)

    def touch_elsewhere(self, row: Row) -> None:
        """Another node has written what the row was before."""
        self.part_with([], {row: None})

    def part_with(self, lost: list[Unit], changed: dict[Row, bytes | None]) -> None:
        former: dict[Row, bytes | None] = {}
        for unit in [unit for _, units in self.under_way for unit in units] + self.units:
            if not unit.lost and (unit in lost or unit.has_seen({**changed, **former})):
                unit.lost = True
                for row, before in unit.writes.items():
                    former.setdefault(row, before)
        for row, before in former.items():
            self.set_row(row, before)


class LateServer(Server):
    """Its store answers `latency` ms later, or while `held` not at all; one batch in `odds` is lost, or in conflict."""

    latency = 30
    odds = 0  # 0: none
    far = False  # what a message is about has to be fetched, which takes as long

    def __init__(self, *args: Any, store: Any = None, seed: int = 0, **more: Any) -> None:
        self.draw = random.Random(f"late {seed}")
        super().__init__(*args, store=store or Store(LateTables(self.draw.randbytes)), seed=seed, **more)
        self.tables.far = self.far
        self.held = False
        self.due: list[tuple[int, Any]] = []
        self.due_fetches: list[tuple[int, set[bytes], Any]] = []
        self.most_under_way = 0

    @property
    def tables(self) -> LateTables:
        tables = self.store.tables
        assert isinstance(tables, LateTables)
        return tables

    @property
    def batches(self) -> list[Any]:
        return [batch for batch, _ in self.tables.under_way]

    def crash(self, now: int, down: int = 400) -> None:
        self.tables.crash()
        self.due.clear()
        self.due_fetches.clear()
        super().crash(now, down)

    def advance(self, now: int) -> None:
        if self.engine is not None and not self.held:
            while self.due_fetches and self.due_fetches[0][0] <= now:
                _, aors, group = self.due_fetches.pop(0)
                self.tables.near |= aors
                self.engine.fetched(group, now)
            while self.engine is not None and self.due and self.due[0][0] <= now:
                self.settle(self.due[0][1], now)
        if self.engine is not None or now >= self.up_at:
            super().advance(now)

    def settle(self, batch: Any, now: int) -> None:
        """Have the engine told of the oldest batch under way."""
        self.due = [each for each in self.due if each[1] is not batch]
        if self.odds and self.draw.randrange(self.odds) == 0:
            self.go_wrong(batch)
        reason = self.tables.answer(batch)
        self._down = 0
        if reason is None:
            self.engine.committed(batch, now)
        else:
            self.engine.lost(batch, reason, now)
        if self._losing:
            self.crash(now, self._down)

    def go_wrong(self, batch: Any) -> None:
        (units,) = (units for each, units in self.tables.under_way if each is batch)
        rows = [row for unit in units for row in unit.writes]
        if rows and self.draw.random() < 0.5:
            self.tables.touch_elsewhere(self.draw.choice(rows))
        else:
            self.tables.lose(batch)

    def deadline(self) -> int | None:
        due = super().deadline()
        if self.engine is None or self.held:
            return due
        answers = [when for when, *_ in (*self.due[:1], *self.due_fetches[:1])]
        return min([*answers, *([] if due is None else [due])], default=None)

    def _commit(self, now: int) -> None:
        super()._commit(now)
        if self.engine is None:
            return
        known = {id(batch) for _, batch in self.due}
        self.due += [(now + self.latency, batch) for batch in self.batches if id(batch) not in known]
        waited_for = {id(group) for *_, group in self.due_fetches}
        self.due_fetches += [
            (now + self.latency, aors, group) for aors, group in self.tables.asked if id(group) not in waited_for
        ]
        self.tables.asked.clear()
        self.most_under_way = max(self.most_under_way, len(self.batches))
