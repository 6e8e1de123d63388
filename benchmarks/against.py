"""python -m benchmarks.against: the servers of another checkout and of this one in turns. Has anything become slower?

Both are loaded by this checkout's generator. Exit status: 0 if the interval of each row's ratios reaches to 0.97 or
better, 1 if one does not or cannot be told, 2 if nothing could be measured. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .build import ensure_built
from .checkout import CannotTell, Checkout, Say, built_otherwise, here, other
from .loadgen.measure import generator, measure, prepare
from .many import PEERS
from .peers.servers import running
from .report import disturbance
from .run import OURS, SERVER_CORE, beside_the_server, machine, turned

RESULTS = Path(__file__).parent / "results"
BEFORE, AFTER = "before", "after"
CPU, SPEED, MESSAGE = "cpu_us_per_cycle", "cycles_per_second", "cpu_us_per_message"
ENOUGH = 0.97
"""the ratio that an interval has to reach"""
WIDE = 0.06
"""an interval wider than this, with its lower end below ENOUGH, could hide a loss and says nothing"""
SURE = 0.95
"""how often an interval has to hold the median, where there are rounds enough (six)"""
TITLES = {
    "options": "OPTIONS answered",
    "register": "REGISTER refreshed",
    "register-digest": "REGISTER refreshed, with a password",
    "call": "whole calls",
    "redial": "redial cycles",
    "redial-notify": "redial cycles with NOTIFYs",
}
OK, LOST, OPEN = "ok", "LOST", "not decided"


@dataclass(frozen=True)
class Turns:
    """How much of it."""

    rounds: int = 9
    """each with two fresh servers: where a process has its memory makes some per cent"""
    pairs: int = 10
    """slices of each server in a round, one pair after the other"""
    seconds: float = 0.1
    """of a slice"""
    users: int = 100_000
    modes: tuple[str, ...] = tuple(TITLES)
    crowds: tuple[int, ...] = (1, PEERS)
    """peers at each end"""
    again: int = 2
    """how often as many rounds may be added for a row that looks lost or cannot be told"""
    patience: float = 0.0
    """seconds that each slice waits at the most for others on the machine to be quiet"""


QUICK = Turns(rounds=6, pairs=5, users=20_000, again=1)


@dataclass(frozen=True)
class Round:
    """Two fresh servers, loaded in turns. Ratios are after / before, and better above 1."""

    cpu: float
    """of what gets done in a second of CPU time, that is cost before / cost after: the median of the pairs"""
    speed: float
    """of what gets done in a second"""
    sides: Mapping[str, Mapping[str, float]]
    """CPU, SPEED and MESSAGE of each side, medians of its slices"""
    others: tuple[float, ...]
    """cores that everybody else kept busy, slice by slice"""
    wrong: tuple[str, ...] = ()
    """what went wrong. The ratios do not count then: not the same was done"""


@dataclass(frozen=True)
class Interval:
    """The median of some rounds' ratios, and where it may lie."""

    median: float
    low: float
    high: float
    sure: float
    """how often such an interval holds the median of as many rounds as one likes"""

    def __str__(self) -> str:
        return f"{self.median:.3f} x ({self.low:.3f} to {self.high:.3f})"


@dataclass
class Row:
    """One line of the table."""

    mode: str
    peers: int
    rounds: list[Round] = field(default_factory=list)

    @property
    def title(self) -> str:
        return TITLES[self.mode] + (f", {self.peers:,} peers" if self.peers > 1 else "")

    @property
    def clean(self) -> list[Round]:
        return [each for each in self.rounds if not each.wrong]

    @property
    def cpu(self) -> Interval | None:
        return interval([each.cpu for each in self.clean])

    @property
    def speed(self) -> Interval | None:
        return interval([each.speed for each in self.clean])

    @property
    def verdict(self) -> str:
        return decide(self.cpu, self.speed)


# ---- arithmetic and decisions


def interval(ratios: Sequence[float]) -> Interval | None:
    """The order statistics of one rank from below and from above, as near to the median as SURE permits.

    They hold the median of the distribution, whatever it is, unless fewer than `rank` of the n ratios lie on one side of
    it: that is a coin thrown n times. Too few ratios for SURE: from the least to the greatest. Nothing of fewer than two.
    """
    n = len(ratios)
    if n < 2:
        return None
    inside = [1 - 2 * sum(math.comb(n, k) for k in range(rank)) / 2**n for rank in range(1, n // 2 + 1)]
    rank = max([rank for rank, sure in enumerate(inside, 1) if sure >= SURE], default=1)
    ordered = sorted(ratios)
    return Interval(statistics.median(ordered), ordered[rank - 1], ordered[n - rank], inside[rank - 1])


def decide(cpu: Interval | None, speed: Interval | None) -> str:
    """CPU decides. Speed, which others on the machine disturb more, only says that something is lost where it is sure."""
    if cpu is None or speed is None:
        return OPEN
    if cpu.high < ENOUGH or speed.high < ENOUGH:
        return LOST
    return OK if cpu.low >= ENOUGH or cpu.high - cpu.low <= WIDE else OPEN


def settle(rows: Sequence[Row], measure: Callable[[Row], None], again: int, say: Say) -> None:
    """Measure each row, and anew what is not ok, up to `again` times. All rounds of a row count."""
    for row in rows:
        measure(row)
    for _ in range(again):
        doubtful = [row for row in rows if row.verdict != OK]
        for row in doubtful:
            say(f"anew: {row.title}, {row.verdict} after {len(row.rounds)} rounds")
        for row in doubtful:
            measure(row)


def doubts(found: Mapping[str, Any]) -> Iterator[str]:
    """What makes the whole of it doubtful."""
    if found["built_otherwise"]:
        yield (
            f"NOT BUILT ALIKE: {', '.join(found['built_otherwise'])} have the same source in both and another size: "
            "make clean build in both, with the same compiler and the same SIPFAST_CFLAGS"
        )


def findings(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each row that is not ok."""
    for row in rows:
        if row.cpu is None or row.speed is None:
            yield f"not decided: {row.title}: answers were wrong or missing in all rounds but {len(row.clean)}"
        elif row.verdict == LOST:
            if row.cpu.high < ENOUGH:
                yield f"lost: {row.title}: by CPU {row.cpu}"
            else:
                yield f"lost: {row.title}: a second {row.speed}, though by CPU {row.cpu}: it waits for something"
        elif row.verdict == OPEN:
            yield (
                f"not decided: {row.title}: by CPU {row.cpu} after {len(row.clean)} rounds; "
                'a quieter machine or more of them (ARGS="--rounds 20") help'
            )


# ---- measuring


def one_round(row: Row, checkouts: Mapping[str, Checkout], plan: Turns, core: int | None) -> Round:
    """Both servers at the same time on one core, both prepared, then loaded in turns; who is first changes, too.

    Raises RuntimeError where one cannot be started or prepared, CannotTell where one runs another checkout's code.
    """
    runs: dict[str, list[dict[str, Any]]] = {BEFORE: [], AFTER: []}
    order = list(turned((BEFORE, AFTER), len(row.rounds)))
    options = {"size": plan.users} if row.mode.startswith("register") else {}
    with ExitStack() as stack:
        peers, loads = {}, {}
        for side in order:
            peers[side] = stack.enter_context(running(OURS, row.mode, core, checkout=checkouts[side]))
            checkouts[side].check(peers[side].pid)
            loads[side] = generator(row.mode, peers[side].address, peers=row.peers, **options)
            stack.callback(loads[side].close)
            prepare(loads[side], row.mode)
        for number in range(plan.pairs):
            for side in turned(order, number):
                peer, first = peers[side], {} if number == 0 else {"warm_up": 0.0}
                run = measure(loads[side], row.mode, peer.port, peer.pid, plan.seconds, patience=plan.patience, **first)
                runs[side].append(run.as_dict() | {"clean": run.clean})
    return condense(runs)


def condense(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Round:
    """The slices of a round, in one; ratios pair by pair."""
    pairs = list(zip(runs[BEFORE], runs[AFTER], strict=True))
    wrong = [
        f"{side}: {run['complaints'][0][0] if run['complaints'] else 'answers were missing'} "
        f"(wrong {run['counters']['wrong']}, stray {run['counters']['stray']}, lost {run['counters']['lost']})"
        for side in runs
        for run in runs[side]
        if not run["clean"] or not run[SPEED] or not run[CPU]
    ]
    if wrong:
        return Round(0, 0, {}, (), tuple(wrong))
    return Round(
        statistics.median(before[CPU] / after[CPU] for before, after in pairs),
        statistics.median(after[SPEED] / before[SPEED] for before, after in pairs),
        {side: {key: statistics.median(run[key] for run in runs[side]) for key in (CPU, SPEED, MESSAGE)} for side in runs},
        tuple(run["others"] for side in runs for run in runs[side]),
    )


def compare_checkouts(before: Checkout, after: Checkout, plan: Turns, say: Say) -> dict[str, Any]:
    """All rows, as `table` takes them. Raises what `one_round` does."""
    checkouts = {BEFORE: before, AFTER: after}
    for side, checkout in checkouts.items():
        say(f"{side}: {checkout.revision}, {checkout.package}")
    found: dict[str, Any] = {"machine": machine(), "began": datetime.now(UTC).isoformat(timespec="seconds")}
    found["built_otherwise"] = built_otherwise(before, after)
    for line in doubts(found):
        say(line)
    rows = [Row(mode, peers) for peers in plan.crowds for mode in plan.modes]
    ensure_built("loadgen")
    with beside_the_server() as pinned:

        def measured(row: Row) -> None:
            for number in range(1, plan.rounds + 1):
                made = one_round(row, checkouts, plan, SERVER_CORE if pinned else None)
                row.rounds.append(made)
                shown = made.wrong[0] if made.wrong else f"by CPU {made.cpu:.3f} x, a second {made.speed:.3f} x"
                busy = f", others kept {statistics.median(made.others):.2f} cores busy" if made.others else ""
                say(f"{row.title} {number}/{plan.rounds}: {shown}{busy}")

        settle(rows, measured, plan.again, say)
    found |= {side: checkout.revision for side, checkout in checkouts.items()}
    return found | {"rows": rows, "plan": vars(plan), "pinned": pinned}


# ---- what is told


def table(found: Mapping[str, Any]) -> str:
    """The Markdown."""
    rows: list[Row] = found["rows"]
    parts = [summary(rows), details(rows), (f"- {line}" for line in [*doubts(found), *findings(rows), *remarks(found)])]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    yield "| after / before | by CPU | a second | rounds | others' cores: median, most | |"
    yield "| --- | ---: | ---: | ---: | ---: | --- |"
    for row in rows:
        others = [each for one in row.clean for each in one.others]
        busy = f"{statistics.median(others):.2f}, {max(others):.2f}" if others else ""
        yield f"| {row.title} | {shown(row.cpu)} | {shown(row.speed)} | {len(row.clean)} | {busy} | {row.verdict} |"


def shown(each: Interval | None) -> str:
    return f"**{each.median:.3f} x** ({each.low:.3f} to {each.high:.3f})" if each else ""


def details(rows: Sequence[Row]) -> Iterator[str]:
    yield "| medians | a second: before | after | CPU µs each: before | after | CPU µs a message: before | after |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        if row.clean:
            cells = [
                f"{statistics.median(each.sides[side][key] for each in row.clean):{form}}"
                for key, form in ((SPEED, ",.0f"), (CPU, ".2f"), (MESSAGE, ".2f"))
                for side in (BEFORE, AFTER)
            ]
            yield f"| {row.title} | {' | '.join(cells)} |"


def remarks(found: Mapping[str, Any]) -> Iterator[str]:
    """What one has to know to read the tables."""
    rows, plan, on = found["rows"], found["plan"], found["machine"]
    yield f"before: {found[BEFORE]}; after: {found[AFTER]}"
    yield (
        f"{found['began']}; {on['cpu']}, {on['cores']} cores, Linux {on['kernel']}, Python {on['python']}"
        f"{'' if found['pinned'] else ' (NOT PINNED: one core only)'}"
    )
    yield (
        f"a round: two fresh servers at the same time on one core, loaded in turns, {plan['pairs']} slices of "
        f"{plan['seconds']:g} s each; its ratio is the median of its pairs"
    )
    sure = {len(row.clean): row.cpu.sure for row in rows if row.cpu}
    held = ", ".join(f"{chance:.1%} with {count} rounds" for count, chance in sorted(sure.items()))
    yield (
        "by CPU: how much more gets done in the same CPU time (cost before / cost after); median of the rounds' ratios, and "
        f"the order statistics that hold it ({held or 'too few rounds'}, if rounds are independent)"
    )
    slices = [{"others": each} for row in rows for one in row.clean for each in one.others]
    if slices:
        yield disturbance(slices)
    for row in rows:
        for one in row.rounds:
            yield from (f"{row.title}, a round that does not count: {line}" for line in one.wrong)


def plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON holds it."""
    rows = [
        {
            "mode": row.mode,
            "peers": row.peers,
            "verdict": row.verdict,
            "cpu": row.cpu and vars(row.cpu),
            "speed": row.speed and vars(row.speed),
            "rounds": [vars(each) for each in row.rounds],
        }
        for row in found["rows"]
    ]
    return {**found, "rows": rows}


# ---- the command


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__, allow_abbrev=False)
    made.add_argument("other", metavar="CHECKOUT", help="the one before: a folder, built, or a git revision")
    made.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")), help="about three minutes")
    made.add_argument("--rows", metavar="MODE", nargs="+", choices=list(TITLES), help="only these")
    made.add_argument("--rounds", type=int, help="how often two fresh servers are measured, at least 6")
    made.add_argument("--seconds", type=float, help="how long a slice takes")
    made.add_argument("--patience", type=float, help="seconds to wait at the most for a quiet machine, before each slice")
    made.add_argument("--output", metavar="DIR", type=Path, help="where against.json and against.md go (benchmarks/results)")
    return made


def planned(arguments: argparse.Namespace) -> Turns:
    plan = QUICK if arguments.quick else Turns()
    changes = {"rounds": arguments.rounds, "seconds": arguments.seconds, "modes": arguments.rows}
    changes["patience"] = arguments.patience
    return replace(plan, **{name: value for name, value in changes.items() if value})


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.rounds is not None and options.rounds < 6:
        parser().error(f"--rounds: the interval of fewer than 6 does not hold the median in {SURE:.0%} of the cases")
    plan = planned(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended, too
    try:
        found = compare_checkouts(other(options.other, say), here(), plan, say)
    except (CannotTell, RuntimeError) as error:
        print(f"cannot tell: {error}", file=sys.stderr)
        return 2
    # Only the whole comparison replaces the results that are kept.
    folder = options.output or (RESULTS if plan == Turns(patience=plan.patience) else RESULTS / "partial")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "against.json").write_text(json.dumps(plain(found), indent=1) + "\n")
    (folder / "against.md").write_text(table(found))
    print("\n".join([*summary(found["rows"]), "", *doubts(found), *findings(found["rows"])]))
    print(f"written to {folder}: against.json, against.md")
    return 0 if all(row.verdict == OK for row in found["rows"]) else 1


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
