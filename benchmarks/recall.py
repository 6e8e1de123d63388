"""How soon a caller is recalled: from the callee's REGISTER to the caller's REFER, beside what one commit takes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .loadgen.measure import percentiles
from .peers.servers import DOMAIN

COMMITS = 2000
PEOPLE = 1000
GOAL = 1000
"""µs besides one commit, at p99"""
MODES = ("redial", "redial-notify")


def commit_us(core: int | None) -> dict[str, float]:
    """What the commit of one login takes that somebody waited for: its binding and its claim, by the server's own store.

    On the server's core and in a folder where the servers' are, without anybody who flushes: µs, as `percentiles`.
    """
    from sipfast._flow import Flow
    from sipfast.store.backends.lmdb import LmdbTables
    from sipfast.store.records import RECALLING, Binding, Watch
    from sipfast.store.repository import Store

    now, flow = time.time_ns() // 1_000_000, Flow("127.0.0.1", 5060).pack()
    took: list[tuple[int, int]] = []
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="sipfast-bench-") as name:
        store = Store(LmdbTables(Path(name) / "data"))
        watches = [
            Watch(
                *(b"sip:%b%d@%b" % (who, number, DOMAIN.encode()) for who in (b"b", b"a")),
                now, now + 3_600_000, b"%032x" % number, b"sip:%d@127.0.0.1:5060" % number, flow=flow,
            )
            for number in range(PEOPLE)
        ]  # fmt: skip
        for watch in watches:
            store.put_watch(watch)
        store.commit()
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})
            for number in range(COMMITS):
                place = number % PEOPLE
                watch = watches[place]
                claimed = watches[place] = msgspec.structs.replace(
                    watch, state=RECALLING, attempts=watch.attempts + 1, recalled_at=now + number
                )
                store.for_update()
                binding = Binding(watch.callee + b":5060", now + number, b"%032x" % number, number, flow=flow)
                store.put_bindings(watch.callee, [binding])
                if not store.claim(watch, claimed):
                    raise RuntimeError("a watch is not as it was written")
                began = time.perf_counter_ns()
                store.commit()
                took.append((time.perf_counter_ns() - began, 1))
        finally:
            os.sched_setaffinity(0, cores)
            store.close()
    return percentiles(took)


def recalls(rows: Sequence[dict[str, Any]], kind: str) -> Iterator[str]:
    """A table: how long the callers waited, in the open loops of the rows that are redial's."""
    heading = "| REGISTER in to REFER out | a second | p50 µs | p99 µs | p99.9 µs | a commit, p50 to p99 µs | goal at p99 |"
    for row in rows:
        runs = row["latency"].get(kind, ())
        if row["mode"] not in MODES or not runs:
            continue
        if heading:
            yield heading
            yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
            heading = ""
        shown = " | ".join(
            f"{statistics.median(run['recall_us'][name] for run in runs):,.0f}" for name in ("p50", "p99", "p99.9")
        )
        commit = row["commit_us"]
        yield (
            f"| {row['title']} | {runs[0]['rate']:,.0f} | {shown} | {commit['p50']:,.0f} to {commit['p99']:,.0f} "
            f"| {GOAL + commit['p50']:,.0f} |"
        )
