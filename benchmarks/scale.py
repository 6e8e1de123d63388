"""What a long watch list costs those who are not on it: REGISTER refreshed with a million watches armed, and with none.

The watches are for other callees. They are written by the server's own store and records, at random places of its trees
as calls would have armed them, once; each server starts on a copy.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lmdb

from .accounting import memory
from .loadgen.measure import generator, measure, prepare
from .peers.servers import DOMAIN, running
from .report import CPU, RATE, disturbance, faults, into_block, median, ratio
from .run import OURS, SERVER_CORE, Plan, beside_the_server, machine, ratios, turned

LOTS = 2
"""how often both servers are started"""
BATCH = 8
"""watches in one commit while they are prepared. A million callers come over hours, a few at a time. The larger the commits
were, the more free pages they leave, over which later writes wander"""
LIVES = (4 * 3600, 24 * 3600)
"""seconds that a watch still has, between these two: none runs out meanwhile"""
GOALS = {RATE: 0.95, CPU: 1.05}
"""ratios to a server with no watch: at least, at most"""
EACH_GOAL = 600
"""bytes of the server's memory for an armed watch, at most"""
PATIENCE = 60.0
"""seconds that a start may take"""
ARMED, NONE = "armed", "none"

Runs = dict[str, list[dict[str, Any]]]
"""by ARMED and NONE"""


def fill(folder: Path, count: int, now: int) -> float:
    """A data folder with so many armed watches. Returns the bytes of the store's trees that one of them takes."""
    from sipfast._flow import Flow
    from sipfast.store.backends.lmdb import LmdbTables
    from sipfast.store.records import Watch
    from sipfast.store.repository import Store

    flow = Flow("127.0.0.1", 5060).pack()
    chance = random.Random(1)
    store = Store(LmdbTables(folder))
    for number in range(count):
        mark = b"%08x" % chance.getrandbits(32)
        callee, caller = (b"sip:%b%b%07d@%b" % (who, mark, number, DOMAIN.encode()) for who in (b"w", b"v"))
        age, life = chance.randrange(3_600_000), chance.randrange(*LIVES) * 1000
        contact = b"sip:%b%07d@127.0.0.1:5060" % (mark, number)
        call_id = b"%032x@127.0.0.1" % chance.getrandbits(128)
        store.put_watch(Watch(callee, caller, now - age, now + life, call_id, contact, flow=flow))
        if (number + 1) % BATCH == 0:
            store.commit()
    store.commit()
    store.close()
    return tree_bytes(folder) / count


def tree_bytes(folder: Path) -> int:
    """What the pages of the two trees that hold watches come to, without those that are free."""
    total = 0
    with lmdb.open(str(folder), readonly=True, max_dbs=8, lock=False) as env:
        for name in (b"watches", b"callers"):
            database = env.open_db(name, create=False)
            with env.begin() as txn:
                stat = txn.stat(database)
            total += stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
    return total


def compare_scale(plan: Plan, say: Callable[[str], None]) -> dict[str, Any] | None:
    """A server with the watches beside one without, loaded in turns; started anew LOTS times.

    Raises RuntimeError where one cannot be started or prepared.
    """
    if "register" not in plan.modes:
        return None
    found: dict[str, Any] = {"machine": machine(), "began": datetime.now(UTC).isoformat(timespec="seconds")}
    runs: Runs = {ARMED: [], NONE: []}
    with tempfile.TemporaryDirectory(prefix="sipfast-watches-") as name, beside_the_server() as pinned:
        prepared = Path(name) / "data"
        bytes_each = fill(prepared, plan.watches, time.time_ns() // 1_000_000)
        say(f"scale: {plan.watches:,} watches prepared, {bytes_each:.0f} bytes of the store each")
        for lot in range(LOTS):
            for kind, lot_runs in one_lot(prepared, lot, plan, pinned, say).items():
                runs[kind] += lot_runs
    found |= {"runs": runs, "watches": plan.watches, "users": plan.users, "store_bytes": bytes_each, "pinned": pinned}
    return found | {"lots": LOTS, "rounds": plan.rounds, "seconds": plan.seconds / 2}


def one_lot(prepared: Path, lot: int, plan: Plan, pinned: bool, say: Callable[[str], None]) -> Runs:
    """Two fresh servers on one core, one on a copy of the prepared data: all users bound, then refreshed in turns."""

    def lay(folder: Path) -> None:
        shutil.copytree(prepared, folder / "data")
        os.sync()  # else the server's first flush would wait for the copy to reach the disk

    runs: Runs = {ARMED: [], NONE: []}
    core = SERVER_CORE if pinned else None
    with (
        running(OURS, "register", core, lay=lay, patience=PATIENCE) as armed,
        running(OURS, "register", core) as none,
        ExitStack() as stack,
    ):
        peers, loads = {ARMED: armed, NONE: none}, {}
        for kind, peer in peers.items():
            loads[kind] = generator("register", peer.address, size=plan.users)
            stack.callback(loads[kind].close)
            prepare(loads[kind], "register")
        for number in range(plan.rounds):
            for kind in turned([ARMED, NONE], lot + number):
                peer = peers[kind]
                run = measure(loads[kind], "register", peer.port, peer.pid, plan.seconds / 2, patience=plan.patience)
                runs[kind].append(
                    run.as_dict()
                    | {"server": OURS, "clean": run.clean, "start": peer.start_took, "memory": memory(peer.pid)}
                )
                say(
                    f"scale {lot + 1}/{LOTS} {number + 1}/{plan.rounds}, {kind}: {run.cycles_per_second:,.0f} REGISTER/s, "
                    f"{run.cpu_us_per_cycle:.2f} us CPU each, started in {peer.start_took:.1f} s, "
                    f"others kept {run.others:.2f} cores busy"
                )
    return runs


def watch_bytes(found: dict[str, Any], key: str) -> float:
    """Bytes of the process's memory that one watch takes, of a kind of `accounting.memory`; medians of the rounds."""
    with_, without = (statistics.median(run["memory"][key] for run in found["runs"][kind]) for kind in (ARMED, NONE))
    return float(with_ - without) / int(found["watches"])


def table(found: dict[str, Any]) -> str:
    """The Markdown."""
    parts = [summary(found), (f"- {line}" for line in remarks(found))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def summary(found: dict[str, Any]) -> Iterator[str]:
    armed, none = found["runs"][ARMED], found["runs"][NONE]
    yield f"| {found['users']:,} users refresh | no watch | {found['watches']:,} watches | watches / none | goal |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield line("REGISTER a second", armed, none, RATE, "{:,.0f}", f"{GOALS[RATE]:g} x or more")
    yield line("CPU µs each", armed, none, CPU, "{:.2f}", f"{GOALS[CPU]:g} x or less")
    yield line("seconds to start", armed, none, "start", "{:.1f}", "", compared=False)
    each = watch_bytes(found, "RssAnon")
    yield f"| bytes of memory for a watch | | {each:,.0f} | | {EACH_GOAL} or less |"
    yield f"| bytes of the store for a watch | | {found['store_bytes']:,.0f} | | |"


def line(
    title: str, armed: Sequence[dict[str, Any]], none: Sequence[dict[str, Any]], key: str, shown: str, goal: str,
    *, compared: bool = True,
) -> str:  # fmt: skip
    beside = ratio(ratios(armed, none, key)) if compared else ""
    return f"| {title} | {shown.format(median(none, key))} | {shown.format(median(armed, key))} | {beside} | {goal} |"


def remarks(found: dict[str, Any]) -> Iterator[str]:
    everything = [run for runs in found["runs"].values() for run in runs]
    pinned = "" if found["pinned"] else " (NOT PINNED)"
    yield (
        f"{found['began']}; {found['machine']['cpu']}, {found['machine']['cores']} cores; both servers started "
        f"{found['lots']} times, each time {found['rounds']} rounds in turns of {found['seconds']:g} s{pinned}; ratios are "
        "round by round: median (min to max)"
    )
    yield (
        "memory is what the process has for itself alone; pages of the store's file that it has looked at come to "
        f"{watch_bytes(found, 'RssFile'):,.0f} bytes a watch besides, are the kernel's cache, and go when it needs room"
    )
    yield "seconds to start: until the first OPTIONS is answered, asked every 0.2 s; every page and every watch is read"
    yield disturbance(everything)
    yield from faults(everything)


def into_readme(readme: Path, found: dict[str, Any]) -> None:
    """Put the newest table where the README shows it."""
    into_block(readme, "scale", "\n".join(summary(found)) + "\n")
