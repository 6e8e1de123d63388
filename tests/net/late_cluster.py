"""Several workers on a store that answers later: net.late and net.cluster in one.

Batches are settled in the order in which the workers have sealed them. What comes of the batch of a worker that was killed
meanwhile is decided as any other's, and nobody is told of it.
"""

from __future__ import annotations

import random
from typing import Any

from net.cluster import Cluster
from net.late import LateServer, LateTables, Row, Unit
from sipfast.store.repository import Store


class SharedTables(LateTables):
    """`at_work` is the engine that reads and writes now; `sealed` has each batch under way with its engine."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sealed: list[tuple[Any, Any]] = []
        self.at_work: Any = None
        self.put_aside: dict[int, list[Unit]] = {}  # id of an engine -> what it has done since its last commit

    def work_for(self, engine: Any) -> None:
        self.put_aside[id(self.at_work)] = self.units
        self.at_work = engine
        self.units = self.put_aside.pop(id(engine), [])

    def part_with(self, lost: list[Unit], changed: dict[Row, bytes | None]) -> None:
        own = self.units
        self.units = [*(unit for units in self.put_aside.values() for unit in units), *own]
        super().part_with(lost, changed)
        self.units = own

    def apply(self, batch: Any) -> bool:
        self.sealed.append((batch, self.at_work))
        return super().apply(batch)

    def crash(self) -> None:
        self.units = [*(unit for units in self.put_aside.values() for unit in units), *self.units]
        self.put_aside.clear()
        super().crash()
        self.sealed.clear()


class LateCluster(Cluster):
    """Workers whose store answers `latency` ms later; one batch in `odds` is lost, or in conflict."""

    latency = 30
    odds = 0  # 0: none

    def __init__(self, *args: Any, store: Any = None, seed: int = 0, **more: Any) -> None:
        self.draw = random.Random(f"late {seed}")
        super().__init__(*args, store=store or Store(SharedTables(self.draw.randbytes)), seed=seed, **more)
        self.due: list[int] = []  # when each of the sealed batches is settled
        self.by_several = 0  # times that batches of several workers were under way

    @property
    def tables(self) -> SharedTables:
        tables = self.store.tables
        assert isinstance(tables, SharedTables)
        return tables

    def go_wrong(self, batch: Any) -> None:
        LateServer.go_wrong(self, batch)  # type: ignore[arg-type]

    def _engine_of(self, number: int, now: int, resumed: bool) -> Any:
        engine = super()._engine_of(number, now, resumed)
        self.tables.work_for(engine)
        return engine

    def _turn(self, number: int, now: int) -> None:
        self.tables.work_for(self.engines[number])
        super()._turn(number, now)
        self.note_sealed(now)

    def note_sealed(self, now: int) -> None:
        self.due += [now + self.latency] * (len(self.tables.sealed) - len(self.due))
        self.by_several += len({id(engine) for _, engine in self.tables.sealed}) > 1

    def crash(self, now: int, down: int = 400) -> None:
        self.tables.crash()
        self.due.clear()
        super().crash(now, down)

    def advance(self, now: int) -> None:
        self.note_sealed(now)
        while self.engine is not None and self.due and self.due[0] <= now:
            self.settle(now)
        super().advance(now)

    def settle(self, now: int) -> None:
        del self.due[0]
        batch, engine = self.tables.sealed.pop(0)
        if self.odds and self.draw.randrange(self.odds) == 0:
            self.go_wrong(batch)
        reason = self.tables.answer(batch)
        if all(each is not engine for each in self.engines):
            return
        self.tables.work_for(engine)
        self._down = 0
        if reason is None:
            engine.committed(batch, now)
        else:
            engine.lost(batch, reason, now)
        if self._losing:
            self.crash(now, self._down)

    def deadline(self) -> int | None:
        due = super().deadline()
        return due if self.engine is None or not self.due else min([self.due[0], *([] if due is None else [due])])
