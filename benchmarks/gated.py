"""What `ci/bench_gate.py` times, in a process of its own: a compact set of the benchmarks, as ratios to the yardstick.

`python -m benchmarks.gated` prints the samples of one process as JSON. Each operation is timed in short slices, the
yardstick before and after each. A sample is the slice's CPU time, for one operation, over the mean of the two, for one
message of the yardstick: what makes the machine slower for longer than some milliseconds is in both.

The set-ups are those of the `bench_*.py` files. Order and number of all operations are fixed, so that two runs of the same
code do the same.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from sipfast._parser import parse
from sipfast._writer import response
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store

from . import bench_parser, bench_path, bench_store, bench_transaction, bench_wheel, bench_writer
from .build import built

WARM_UP = 3
YARD, YARD_SUM = 2000, 5628309399605929695
"""Messages of the yardstick in a slice of it, over a millisecond; and the sum that it comes to, for ever."""
TICK = 2000
"""Milliseconds between two slices on the whole path: transactions linger for 32 s, so soon as many end as begin."""

ARMED = 20_000
"""Timers of others. With a million the cost depends on where in memory the process has them, by up to a third."""


@dataclass(frozen=True)
class Operation:
    """Something to be timed. `prepare` says what `run` is called with in the next slice, outside of the measured time."""

    name: str
    run: Callable[[Any], object]
    count: int
    """how many of what the name says a slice does"""
    prepare: Callable[[], Iterable[Any]]

    def slice(self) -> float:
        """CPU nanoseconds of one."""
        run, prepared = self.run, self.prepare()
        began = time.thread_time_ns()
        for each in prepared:
            run(each)
        return (time.thread_time_ns() - began) / self.count


def repeated(name: str, call: Callable[[], object], times: int, each: int = 1) -> Operation:
    """Needs nothing made ready: `times` calls a slice, which do `each` of it."""
    return Operation(name, lambda _: call(), times * each, lambda: repeat(None, times))


def compiled_loops() -> Iterator[Operation]:
    """The parser and the wheel, as compiled callers call them."""
    parser, wheel = built("loops", "parser"), built("loops", "wheel")
    times = bench_parser.LOOPS
    yield repeated("parse an INVITE", partial(parser.parse, bench_parser.INVITE, times), 8, times)
    armed, _ = bench_wheel.registrations(ARMED)
    times = bench_wheel.LOOPS
    behind = partial(wheel.schedule_and_cancel, armed, bench_wheel.NOW + 500, bench_wheel.OWNER, times, 100)
    yield repeated("schedule and cancel a timer", behind, 60, times)
    yield repeated("schedule a timer, and it fires", bench_wheel.fired(armed), 16_000)


def modules() -> Iterator[Operation]:
    """Writer and transactions, through their Python faces."""
    register = parse(bench_writer.REGISTER)
    answer = partial(response, register, 200, bench_writer.PEER, to_tag=b"0123456789abcdef", extra=bench_writer.CONTACTS)
    yield repeated("write a 200 to REGISTER", answer, 4000)
    yield repeated("write a request forwarded", bench_writer.forwarded(), 20_000)
    yield repeated("INVITE transaction, server", bench_transaction.invite_server_life(bench_transaction.Bench()), 5000)
    yield repeated("transaction, client", bench_transaction.client_life(bench_transaction.Bench()), 3000)


def stored(folder: Path) -> Iterator[Operation]:
    store = Store(LmdbTables(folder, map_size_gib=1))
    bench_store.fill(store)
    some = bench_store.at_random()
    batch = bench_store.BATCH
    yield repeated("store: refresh, 64 a commit", bench_store.refreshed_in_batches(store, some), 10 * batch)
    yield repeated("store: arm and cancel a watch", bench_store.armed_and_cancelled(store, some), 2 * batch)


def whole_path(folder: Path) -> Iterator[Operation]:
    """Datagrams in, datagrams out, over LMDB."""
    for name, kind, rounds in (
        ("OPTIONS", bench_path.options_answered, 64),
        ("REGISTER", bench_path.bindings_refreshed, 32),
        ("call", bench_path.calls, 4),
        ("redial", bench_path.redials, 1),
    ):
        path = bench_path.Path64(Store(LmdbTables(folder / name, map_size_gib=1)))
        traffic = kind(path)
        prepare = partial(passing, path, traffic, rounds)
        yield Operation(f"whole path: {name}", traffic.target, rounds * bench_path.BATCH, prepare)


def passing(path: bench_path.Path64, traffic: bench_path.Traffic, rounds: int) -> list[Any]:
    """Time passes, and the next messages are written."""
    path.tick(TICK)
    return [traffic.setup() for _ in range(rounds)]


def operations(folder: Path) -> Iterator[Operation]:
    """All of it. The stores are made in the directory."""
    yield from compiled_loops()
    yield from modules()
    yield from stored(folder / "store")
    yield from whole_path(folder)


def samples(slices: int, folder: Path) -> dict[str, list[float]]:
    """Ratios to the yardstick, slice by slice."""
    work = built("yardstick", "work").work

    def yardstick() -> float:
        began = time.thread_time_ns()
        done = work(YARD)
        spent = time.thread_time_ns() - began
        assert done == YARD_SUM, "the yardstick is not what it was"
        return spent / YARD

    timed = list(operations(folder))
    found: dict[str, list[float]] = {each.name: [] for each in timed}
    gc.collect()
    gc.freeze()  # as the server does once it has started
    before = yardstick()
    for number in range(WARM_UP + slices):
        for each in timed:
            spent = each.slice()
            after = yardstick()
            if number >= WARM_UP:
                found[each.name].append(2 * spent / (before + after))
            before = after
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gated", description=__doc__, allow_abbrev=False)
    parser.add_argument("--slices", type=int, default=30, help="how often each operation is timed")
    parser.add_argument("--folder", help="where the stores are made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        json.dump(samples(arguments.slices, Path(folder)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
