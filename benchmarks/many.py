"""Many phones in the place of one peer: the comparison's rows where who asks makes a difference, and why it does."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .report import CPU, NAMES, RATE, disturbance, faults, into_block, median, speeds, summary
from .run import OURS, ROWS, THEIRS, Plan, beside_the_server, compare_row, machine, one_run, turned

PEERS = 1000
"""at each end of a call"""
CONTENDERS = {"options": (OURS, THEIRS, "echo"), "register": (OURS, THEIRS), "call": (OURS, THEIRS)}
ECHOES = ("echo", "echo-one-by-one")
CROWDS = (1, 16, 64, PEERS)
"""peers of the echoes"""
ECHO_SECONDS = 0.5


def compare_many(plan: Plan, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The rows with many peers, in turns, and the echoes with more and more of them; None where no such row is wanted."""
    wanted = [row for row in ROWS if row.mode in CONTENDERS and row.mode in plan.modes]
    rows = [replace(row, contenders=CONTENDERS[row.mode]) for row in wanted]
    if not rows:
        return None
    short = replace(plan, rounds=plan.side_rounds, seconds=min(plan.seconds, 1.0), latency_rounds=0)
    found: dict[str, Any] = {"machine": machine(), "began": datetime.now(UTC).isoformat(timespec="seconds"), "peers": PEERS}
    with beside_the_server() as pinned:
        found["rows"] = [compare_row(row, short, pinned, say, peers=PEERS) for row in rows]
        found["echoes"] = echoes(short, pinned, say) if "options" in plan.modes else []
    return found | {"pinned": pinned, "rounds": short.rounds, "seconds": short.seconds}


def echoes(plan: Plan, pinned: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The echo that sends what it can in one piece, and the one that never does, with each number of peers."""
    turns = [(kind, peers) for peers in CROWDS for kind in ECHOES]
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {turn: [] for turn in turns}
    for number in range(plan.rounds):
        for kind, peers in turned(turns, number):
            run = one_run(kind, "options", replace(plan, seconds=min(plan.seconds, ECHO_SECONDS)), pinned, peers=peers)
            runs[kind, peers].append(run)
            say(f"{number + 1}/{plan.rounds} {kind}, {peers} peers: {run[CPU]:.2f} us CPU each")
    return [{"server": kind, "peers": peers, "runs": runs[kind, peers]} for kind, peers in turns]


def table(found: dict[str, Any]) -> str:
    """The Markdown."""
    parts = [summary(found), speeds(found["rows"]), pieces(found), (f"- {line}" for line in remarks(found))]
    return "\n\n".join(filter(None, ("\n".join(part) for part in parts))) + "\n"


def pieces(found: dict[str, Any]) -> Iterator[str]:
    """What it is worth to hand over in one piece what goes to one peer, as peers become more."""
    if not found["echoes"]:
        return
    runs = {(each["server"], each["peers"]): each["runs"] for each in found["echoes"]}
    yield "| an echo in C, peers | one by one: CPU µs | in one piece: CPU µs | less CPU |"
    yield "| ---: | ---: | ---: | ---: |"
    for peers in CROWDS:
        whole, single = runs[ECHOES[0], peers], runs[ECHOES[1], peers]
        each = [a[CPU] / b[CPU] for a, b in zip(single, whole, strict=True)]
        yield (
            f"| {peers:,} | {median(single, CPU):.2f} | {median(whole, CPU):.2f} "
            f"| {statistics.median(each):.2f} x ({min(each):.2f} to {max(each):.2f}) |"
        )


def remarks(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{found['peers']:,} peers at each end, each with an address of its own, in the place of one: hardly two messages "
        "of a batch go to the same"
    )
    yield (
        f"{found['began']}; {found['machine']['cpu']}, {found['machine']['kamailio'] or 'no Kamailio'}; "
        f"{found['rounds']} rounds in turns of {found['seconds']:g} s{'' if found['pinned'] else ' (NOT PINNED)'}"
    )
    rows = [run for row in found["rows"] for runs in row["runs"].values() for run in runs]
    everything = rows + [run for each in found["echoes"] for run in each["runs"]]
    yield disturbance(everything)
    for row in found["rows"]:
        for kind, runs in row["runs"].items():
            busy = statistics.median(run[CPU] * run[RATE] / 1e6 for run in runs)
            if busy < 0.9:
                yield f"{row['title']}: {NAMES[kind]} was busy for {busy:.0%} of the time only, so its CPU tells more"
    yield from faults(everything)


def into_readme(readme: Path, found: dict[str, Any]) -> None:
    """Put the newest table where the README shows it."""
    into_block(readme, "many", "\n".join(summary(found)) + "\n")
