"""What a message costs with several workers: some are handed from one to another, and each worker has fewer at a time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .report import disturbance, faults, into_block, median
from .run import ROWS, Plan, beside_the_server, machine, one_run, turned

COUNTS = (1, 2, 4)
PEERS = 1000
"""at each end: the kernel gives all of one peer to one worker, and messages to fewer peers would leave in one piece the
more, the more workers there are"""
WINDOW = 128
"""for each worker, so that four have as much to do at a time as one"""
MODES = ("options", "register", "call", "redial")
USERS = 20_000
"""of REGISTER"""
PAIRS = 2_000
"""of calls and redials, more than are going on at a time"""
COST = "cpu_us_per_message"


def compare_workers(plan: Plan, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Each row with each number of workers, in turns, all of them on one core; None where no such row is wanted."""
    rows = [row for row in ROWS if row.mode in MODES and row.mode in plan.modes]
    if not rows:
        return None
    short = replace(plan, rounds=plan.side_rounds, seconds=min(plan.seconds, 1.0), users=min(plan.users, USERS))
    found: dict[str, Any] = {"machine": machine(), "began": datetime.now(UTC).isoformat(timespec="seconds"), "rows": []}
    with beside_the_server() as pinned:
        for row in rows:
            runs: dict[str, list[dict[str, Any]]] = {str(count): [] for count in COUNTS}
            for number in range(short.rounds):
                for count in turned(COUNTS, number):
                    run = one_run(kind(count), row.mode, short, pinned, tell=True, **load(row.mode, count))
                    runs[str(count)].append(run)
                    say(
                        f"{row.mode} {number + 1}/{short.rounds}, workers: {count}: {run[COST]:.2f} us CPU a message, "
                        f"{handed(run):.0%} handed over, others kept {run['others']:.2f} cores busy"
                    )
            found["rows"].append({"mode": row.mode, "title": row.title.partition(",")[0], "runs": runs})
    return found | {"pinned": pinned, "rounds": short.rounds, "seconds": short.seconds, "peers": PEERS, "window": WINDOW}


def kind(count: int) -> str:
    return f"sipfast-{count}-workers"


def load(mode: str, count: int) -> dict[str, int]:
    """The generator's options."""
    size = {"call": PAIRS, "redial": PAIRS}
    return {"peers": PEERS, "window": WINDOW * count} | ({"size": size[mode]} if mode in size else {})


def handed(run: dict[str, Any]) -> float:
    """Of all datagrams that came, the share that belonged to another worker than the one that the kernel gave them to."""
    return float(run["told"]["handed_over"] / run["told"]["udp_received"])


def told(run: dict[str, Any]) -> float:
    """Notices of redial between workers, for each datagram that came."""
    return float(run["told"]["notices"] / run["told"]["udp_received"])


def batch(run: dict[str, Any]) -> float:
    """Datagrams that one worker got at a time."""
    return float(run["told"]["udp_received"] / run["told"]["batches"])


def dearer(row: dict[str, Any], count: int) -> tuple[float, float, float]:
    """CPU a message to that of one worker, round by round: median, least, greatest."""
    each = [many[COST] / one[COST] for many, one in zip(row["runs"][str(count)], row["runs"]["1"], strict=True)]
    return statistics.median(each), min(each), max(each)


def table(found: dict[str, Any]) -> str:
    """The Markdown."""
    parts = [summary(found), details(found), (f"- {line}" for line in remarks(found))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def summary(found: dict[str, Any]) -> Iterator[str]:
    yield "| CPU µs a message | " + " | ".join(f"workers: {count}" for count in COUNTS) + " |"
    yield "| --- |" + " ---: |" * len(COUNTS)
    for row in found["rows"]:
        cells = [f"{median(row['runs'][str(count)], COST):.2f}" for count in COUNTS]
        for place, count in enumerate(COUNTS[1:], 1):
            cells[place] += " = **{:.2f} x** ({:.2f} to {:.2f})".format(*dearer(row, count))
        yield f"| {row['title']} | {' | '.join(cells)} |"


def details(found: dict[str, Any]) -> Iterator[str]:
    yield "| | workers | CPU µs a message: median | min to max | handed over | notices a message | messages at a time |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in found["rows"]:
        for count in COUNTS:
            runs = row["runs"][str(count)]
            costs = [run[COST] for run in runs]
            middle = {of: statistics.median(map(of, runs)) for of in (handed, told, batch)}
            yield (
                f"| {row['title']} | {count} | {median(runs, COST):.2f} | {min(costs):.2f} to {max(costs):.2f} "
                f"| {middle[handed]:.0%} | {middle[told]:.2f} | {middle[batch]:.0f} |"
            )


def remarks(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "all workers and their supervisor on one core, whose CPU is counted: this tells what several workers cost, and not "
        "how much faster they are on cores of their own"
    )
    yield (
        f"{found['peers']} peers at each end; {found['window']} transactions, calls or cycles at a time for each worker; "
        "ratios to one worker are round by round: median (min to max)"
    )
    yield (
        f"{found['began']}; {found['machine']['cpu']}; {found['rounds']} rounds in turns of {found['seconds']:g} s"
        f"{'' if found['pinned'] else ' (NOT PINNED)'}"
    )
    everything = [run for row in found["rows"] for runs in row["runs"].values() for run in runs]
    yield disturbance(everything)
    yield from faults(everything)


def into_readme(readme: Path, found: dict[str, Any]) -> None:
    """Put the newest table where the README shows it."""
    into_block(readme, "workers", "\n".join(summary(found)) + "\n")
