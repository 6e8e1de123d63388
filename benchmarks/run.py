"""Runs the comparison: every server on one core, the generator on the other, in turns; see `compare`."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from .loadgen.measure import fetch, generator, measure, prepare
from .peers.servers import available, find, running
from .recall import MODES, commit_us

SERVER_CORE, GENERATOR_CORE = 0, 1
T = TypeVar("T")
OURS, THEIRS, AGENT, RECIPE = "sipfast", "kamailio", "sipfast-presence", "kamailio-redial"


@dataclass(frozen=True)
class Row:
    """One line of the comparison."""

    mode: str
    title: str
    unit: str
    contenders: tuple[str, ...]
    goals: tuple[float, ...] = ()
    """ratios to Kamailio that issue and design ask for"""
    plays: Mapping[str, str] = field(default_factory=dict)
    """the mode of a contender that comes to the same outcome in another way"""
    further: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """goals against other contenders than Kamailio"""

    def mode_of(self, kind: str) -> str:
        return self.plays.get(kind, self.mode)


ROWS = (
    Row("options", "OPTIONS answered", "answers/s", (OURS, THEIRS, "echo", "uvloop"), (1.5, 1.8)),
    Row("register", "REGISTER refreshed", "answers/s", (OURS, THEIRS, "sipfast-power"), (1.3, 1.5)),
    Row("register-digest", "REGISTER refreshed, with a password", "answers/s", (OURS, THEIRS), (1.5,)),
    Row("call", "whole calls, proxied with Record-Route", "calls/s", (OURS, THEIRS), (2.0, 3.0)),
    Row(
        "redial",
        "redial cycles, against presence cycles",
        "cycles/s",
        (OURS, THEIRS, AGENT, RECIPE),
        (8.0, 12.0),
        plays={THEIRS: "presence", AGENT: "presence"},
        further={AGENT: (2.0,), RECIPE: ()},
    ),
    Row("redial-notify", "redial cycles, NOTIFYs included", "cycles/s", (OURS,)),
    Row("callback", "callback cycles, by an early REFER", "cycles/s", (OURS,)),
    Row("b2bua", "b2bua cycles, both called and joined", "cycles/s", (OURS,)),
)


@dataclass(frozen=True)
class Plan:
    """How much of it."""

    rounds: int = 5
    latency_rounds: int = 3
    side_rounds: int = 5
    """of the tables beside the comparison, in which a measurement takes a second at the most"""
    seconds: float = 2.0
    users: int = 100_000
    watches: int = 1_000_000
    """armed for others while REGISTER is measured, see scale.py"""
    phones: int = 100_000
    """that come back at once, see storm.py"""
    modes: tuple[str, ...] = tuple(row.mode for row in ROWS)
    power: bool = True
    patience: float = 0.0
    """seconds that each measurement waits at the most for others on the machine to be quiet"""


QUICK = Plan(
    rounds=3, latency_rounds=1, side_rounds=1, seconds=1.0, users=20_000, watches=100_000, phones=10_000, power=False
)


def compare(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, as what the JSON file holds. Raises RuntimeError where a server cannot be started or prepared."""
    found: dict[str, Any] = {"machine": machine(), "plan": vars(plan), "load_before": os.getloadavg()}
    found["began"] = datetime.now(UTC).isoformat(timespec="seconds")
    with beside_the_server() as pinned:
        found["rows"] = [compare_row(row, plan, pinned, say) for row in ROWS if row.mode in plan.modes]
    found["pinned"] = pinned
    found["load_after"] = os.getloadavg()
    return found


@contextlib.contextmanager
def beside_the_server() -> Iterator[bool]:
    """Keep this process, which is the generator, off the server's core meanwhile; says whether there is one for each."""
    cores = os.sched_getaffinity(0)
    pinned = len(cores) > 1 and {SERVER_CORE, GENERATOR_CORE} <= cores
    if pinned:
        os.sched_setaffinity(0, {GENERATOR_CORE})
    try:
        yield pinned
    finally:
        os.sched_setaffinity(0, cores)


def compare_row(row: Row, plan: Plan, pinned: bool, say: Callable[[str], None], **options: Any) -> dict[str, Any]:
    """The closed loops in turns, then the open loops at half of what the slowest SIP server managed, in turns.

    `options` are the generator's.
    """
    kinds = [each for each in row.contenders if available(each, row.mode_of(each))]
    kinds = [each for each in kinds if plan.power or each != "sipfast-power"]
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    latency: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds if kind in (OURS, THEIRS)}
    for number in range(plan.rounds):
        for kind in turned(kinds, number):
            run = one_run(kind, row.mode_of(kind), plan, pinned, check_kill=number == 0 and kind.startswith(OURS), **options)
            runs[kind].append(run)
            say(
                f"{row.mode} {number + 1}/{plan.rounds} {kind}: {run['cycles_per_second']:,.0f} {row.unit}, "
                f"{run['cpu_us_per_cycle']:.2f} us CPU each, others kept {run['others']:.2f} cores busy"
            )
    rate = min(statistics.median(run["cycles_per_second"] for run in runs[kind]) for kind in latency) / 2
    for number in range(plan.latency_rounds):
        for kind in turned(list(latency), number):
            run = one_run(kind, row.mode_of(kind), plan, pinned, rate=rate, **options)
            latency[kind].append(run)
            shown = ", ".join(f"{name} {value:,.0f} us" for name, value in (run["recall_us"] or run["latency_us"]).items())
            say(f"{row.mode} latency {number + 1}/{plan.latency_rounds} {kind} at {rate:,.0f}/s: {shown}")
    told: dict[str, Any] = {"mode": row.mode, "title": row.title, "unit": row.unit, "goals": row.goals}
    told["further"] = row.further
    if row.mode in MODES:
        told["commit_us"] = commit_us(SERVER_CORE if pinned else None)
    return told | {"runs": runs, "latency": latency}


def turned(kinds: Sequence[T], number: int) -> Iterable[T]:
    """Who comes first changes from round to round."""
    first = number % len(kinds)
    return [*kinds[first:], *kinds[:first]]


def one_run(
    kind: str,
    mode: str,
    plan: Plan,
    pinned: bool,
    *,
    rate: float = 0,
    check_kill: bool = False,
    tell: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """A fresh server, prepared, measured, and asked for what it stored; `options` are the generator's.

    `tell`: it is also ended and asked for what it has counted itself.
    """
    playing = "echo" if kind.startswith(("echo", "uvloop")) else mode
    if mode == "register":
        options.setdefault("size", users_of(kind, plan))
    with running(kind, mode, SERVER_CORE if pinned else None) as peer:
        load = generator(playing, peer.address, **options)
        try:
            bound = prepare(load, playing)
            run = measure(load, playing, peer.port, peer.pid, plan.seconds, rate=rate, patience=plan.patience)
            found = run.as_dict() | {"server": kind, "clean": run.clean}
            if bound is not None:
                found["first_bindings_per_second"] = bound.cycles_per_second
            if mode == "register" and not rate:
                found["stored"] = fetch(load)
                if check_kill:
                    peer.kill()
                    peer.start()
                    found["stored_after_kill"] = fetch(load)
            if tell:
                found["told"] = peer.told()
        finally:
            load.close()
    return found


def users_of(kind: str, plan: Plan) -> int:
    """Fewer where each batch waits for the disk: binding them all would take longer than all else."""
    return plan.users // 10 if kind == "sipfast-power" else plan.users


def ratios(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], key: str) -> tuple[float, float, float]:
    """Median, least and greatest of ours / theirs, round by round."""
    each = [a[key] / b[key] for a, b in zip(ours, theirs, strict=True) if b[key]]
    return statistics.median(each), min(each), max(each)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    kamailio = find("kamailio")
    version = ""
    if kamailio:
        said = subprocess.run([kamailio, "-v"], capture_output=True, text=True, check=False).stdout
        version = said.partition("\n")[0].strip()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "kamailio": version,
    }
