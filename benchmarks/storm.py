"""A REGISTER storm: everybody who is waited for comes back within a second, while others go on calling.

The watches are armed through the front door. Then every callee's REGISTER is due within SPREAD seconds, far more than the
server takes, and each is repeated by timer E (RFC 3261 §17.1.2.2) until it is answered; the callers answer their REFERs by
202. Ordinary calls between other people are made all the while, and before it, so that there is something to compare with.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .accounting import cpu_seconds, kernel_drops
from .loadgen.measure import LINGER, generator, percentiles, prepare, wait_for_calm
from .peers.servers import OTHER_DOMAIN, Peer, running
from .report import into_block
from .run import OURS, SERVER_CORE, Plan, beside_the_server, machine

SPREAD = 1.0
"""seconds within which all phones come back"""
CALLS = 200.0
"""ordinary calls begun a second"""
CALM = 3.0
"""seconds of ordinary calls alone"""
LONGEST = 32.0
"""seconds that a phone waits for the answer to its REGISTER: timer F"""
AFTERWARDS = 3.0
"""seconds that are listened for a recall too many, well below redial.recall_timeout, after which another one is due"""
GOAL = 1.0
"""seconds within which other calls are to be answered, the last of them"""
ROUNDS = 3


def compare_storm(plan: Plan, say: Callable[[str], None]) -> dict[str, Any] | None:
    """A few storms, each over a fresh server. Raises RuntimeError where one cannot be prepared."""
    if "redial" not in plan.modes:
        return None
    found: dict[str, Any] = {"machine": machine(), "began": datetime.now(UTC).isoformat(timespec="seconds")}
    runs = []
    with beside_the_server() as pinned:
        for number in range(min(plan.rounds, ROUNDS)):
            run = one_storm(plan.phones, pinned, patience=plan.patience)
            runs.append(run)
            say(
                f"storm {number + 1}: {run['recalled']:,} of {run['phones']:,} recalled, {run['twice']} twice, the last "
                f"after {run['last_recall']:.1f} s; {run['dropped']:,} datagrams dropped; other calls answered within "
                f"{run['answered_us']['max'] / 1000:,.0f} ms"
            )
    return found | {"runs": runs, "phones": plan.phones, "pinned": pinned}


def one_storm(
    phones: int, pinned: bool, *, rate: float = CALLS, calm: float = CALM, spread: float = SPREAD, patience: float = 0
) -> dict[str, Any]:
    """Arm, let others call for a while, and have all callees come back while the calls go on."""
    with running(OURS, "storm", SERVER_CORE if pinned else None) as peer:
        others = generator("ordinary", peer.address, domain=OTHER_DOMAIN)
        storm = generator("storm", peer.address, size=phones)
        try:
            prepare(others, "ordinary")
            arm(storm, phones)
            wait_for_calm(patience)
            others.set_rate(rate)
            others.run(calm)
            others.drain(LINGER)
            before = told(others, "calm")
            others.reset()
            with calling(others):
                during = blow(storm, phones, spread, peer)
            return {"phones": phones, "rate": rate} | before | told(others, "storm") | during
        finally:
            others.close()
            storm.close()


def arm(storm: Any, phones: int) -> None:
    """Each caller calls, and is told that there is a watch now."""
    storm.run(600, limit=phones)
    storm.drain(LINGER)
    counters = storm.counters()
    if counters["completed"] != phones or counters["wrong"]:
        raise RuntimeError(f"not all watches could be armed: {counters} {storm.complaints()}")
    storm.reset()


def blow(storm: Any, phones: int, spread: float, peer: Peer) -> dict[str, Any]:
    """The storm itself, until everybody is recalled or has given up."""
    cpu, drops = cpu_seconds(peer.pid), kernel_drops(peer.port)
    storm.storm()
    storm.set_rate(phones / spread)
    sent_in = storm.run(60, limit=phones)
    storm.drain(LONGEST)
    last = storm.last_recall
    took = cpu_seconds(peer.pid) - cpu
    storm.listen(AFTERWARDS)
    counters = storm.counters()
    return {
        "sent_in": sent_in,
        "recalled": storm.recalls_made,
        "twice": storm.recalls_again,
        "refers_repeated": storm.refers_repeated,
        "last_recall": last,
        "bound_us": percentiles(storm.bindings()),
        "recall_us": percentiles(storm.recalls()),
        "cpu_us_each": took * 1e6 / phones,
        "dropped": kernel_drops(peer.port) - drops,
        "dropped_generator": sum(map(kernel_drops, storm.ports)),
        "counters": counters,
        "complaints": [(reason, data.decode("utf-8", "backslashreplace")) for reason, data in storm.complaints()],
    }


class calling:
    """Ordinary calls from a thread of their own, as long as the context lasts; then what is in flight may end."""

    def __init__(self, others: Any) -> None:
        self._others = others
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def _call(self) -> None:
        while not self._ended.is_set():
            self._others.run(0.2)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._others.drain(LONGEST)


def told(others: Any, when: str) -> dict[str, Any]:
    """How the ordinary calls went."""
    prefix = "calm_" if when == "calm" else ""
    return {
        f"{prefix}calls": others.counters(),
        f"{prefix}answered_us": percentiles(others.answers_to_invite()),
        f"{prefix}calls_us": percentiles(others.latencies()),
    }


def table(found: dict[str, Any]) -> str:
    """The Markdown."""
    parts = [summary(found), each_run(found), (f"- {line}" for line in remarks(found))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def summary(found: dict[str, Any]) -> Iterator[str]:
    """The worst of the runs, against what was asked for."""
    runs = found["runs"]
    worst = max(run["answered_us"]["max"] for run in runs) / 1000
    calls = [run["calls"] for run in runs]
    yield f"| {found['phones']:,} phones back within {SPREAD:g} s, the worst of {len(runs)} | | goal |"
    yield "| --- | ---: | ---: |"
    yield f"| recalls lost | {max(run['phones'] - run['recalled'] for run in runs):,} | 0 |"
    yield f"| recalled twice | {max(run['twice'] for run in runs):,} | 0 |"
    yield f"| other calls: the longest wait of an INVITE for its 200 | {worst:,.0f} ms | {GOAL * 1000:,.0f} ms |"
    yield f"| other calls that were not completed | {max(each['begun'] - each['completed'] for each in calls):,} | 0 |"
    yield f"| the last one recalled after | {max(run['last_recall'] for run in runs):.1f} s | |"


def each_run(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "| run | REGISTER answered: p50 ms | p99 | max | other calls answered: p50 ms | p99 | max | before the storm: p50 | "
        "p99 | max | last recall s | CPU µs a phone | REGISTERs repeated | REFERs repeated | dropped by the kernel |"
    )
    yield "| ---: " * 15 + "|"
    for number, run in enumerate(found["runs"]):
        times = [
            f"{run[key][name] / 1000:,.1f}"
            for key in ("bound_us", "answered_us", "calm_answered_us")
            for name in ("p50", "p99", "max")
        ]
        counts = (run["counters"]["retransmitted"], run["refers_repeated"], run["dropped"])
        yield (
            f"| {number + 1} | {' | '.join(times)} | {run['last_recall']:.1f} | {run['cpu_us_each']:.1f} | "
            + " | ".join(f"{count:,}" for count in counts)
            + " |"
        )


def remarks(found: dict[str, Any]) -> Iterator[str]:
    first = found["runs"][0]
    yield (
        f"{found['began']}; {found['machine']['cpu']}, {found['machine']['cores']} cores"
        f"{'' if found['pinned'] else ' (NOT PINNED)'}; a fresh server for each run"
    )
    yield (
        f"times count from when a message was due; {first['rate']:g} other calls a second, by a thread that shares its core "
        f"with the storm, which left within {statistics.median(run['sent_in'] for run in found['runs']):.1f} s"
    )
    yield "REGISTERs are repeated after 0.5 s, 1 s, 2 s, then 4 s; nothing else of the phones is ever given up"
    for number, run in enumerate(found["runs"]):
        wrong = {name: run["counters"][name] for name in ("wrong", "stray", "lost") if run["counters"][name]}
        wrong |= {f"calls {name}": run["calls"][name] for name in ("wrong", "stray", "lost") if run["calls"][name]}
        if wrong:
            yield f"run {number + 1}: {wrong}, {run['complaints'][:1]}"


def into_readme(readme: Path, found: dict[str, Any]) -> None:
    """Put the newest table where the README shows it."""
    into_block(readme, "storm", "\n".join(summary(found)) + "\n")
