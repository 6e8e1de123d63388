"""What a long watch list costs: the prepared store, the arithmetic, and the report."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from net.stores import count_watches

from benchmarks import accounting, scale
from benchmarks.peers.servers import running
from benchmarks.run import QUICK, Plan
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import ARMED
from sipfast.store.repository import Store

NOW = 1_790_000_000_000


def of(rate: float, cost: float, anonymous: int, mapped: int = 0) -> dict[str, Any]:
    counters = dict.fromkeys(("wrong", "stray", "lost", "retransmitted"), 0)
    run = {"server": "sipfast", "mode": "register", "clean": True, "drops_server": 0, "drops_generator": 0, "others": 0.0}
    memory = {"VmRSS": anonymous + mapped, "RssAnon": anonymous, "RssFile": mapped}
    return run | {
        "counters": counters, "cycles_per_second": rate, "cpu_us_per_cycle": cost, "start": 1.5, "memory": memory
    }  # fmt: skip


def found() -> dict[str, Any]:
    return {
        "machine": {"cpu": "x", "cores": 2},
        "began": "now",
        "pinned": True,
        "lots": 1,
        "rounds": 3,
        "seconds": 1.0,
        "users": 100,
        "watches": 1000,
        "store_bytes": 500.0,
        "runs": {
            "armed": [of(90, 5, 1_400_000, 900_000), of(100, 6, 1_500_000, 900_000), of(110, 4, 1_400_000, 900_000)],
            "none": [of(100, 5, 1_000_000, 100_000), of(100, 5, 1_000_000, 100_000), of(100, 5, 1_000_000, 100_000)],
        },
    }


def test_the_prepared_store_holds_armed_watches_of_different_people(tmp_path: Path) -> None:
    each = scale.fill(tmp_path / "data", 500, NOW)
    assert 300 < each < 2000
    store = Store(LmdbTables(tmp_path / "data"))
    watches = list(store.each_watch())
    store.close()
    assert len(watches) == len({watch.callee for watch in watches}) == len({watch.caller for watch in watches}) == 500
    assert all(watch.state == ARMED and watch.armed_at <= NOW for watch in watches)
    assert all(watch.expires_at - NOW >= scale.LIVES[0] * 1000 for watch in watches)  # none runs out while it is measured
    assert [watch.armed_at for watch in watches] != sorted(watch.armed_at for watch in watches)


def test_a_server_takes_the_prepared_watches_up(tmp_path: Path) -> None:
    plan = Plan(rounds=1, seconds=0.2, users=50, watches=300)
    told = scale.compare_scale(plan, lambda line: None)
    assert {kind: len(runs) for kind, runs in told["runs"].items()} == {"armed": scale.LOTS, "none": scale.LOTS}
    assert all(run["clean"] and run["counters"]["completed"] for runs in told["runs"].values() for run in runs)
    assert "| 50 users refresh | no watch | 300 watches |" in scale.table(told)


def test_a_server_is_started_on_what_was_laid_there(tmp_path: Path) -> None:
    def lay(folder: Path) -> None:
        scale.fill(folder / "data", 20, time.time_ns() // 1_000_000)

    with running("sipfast", "register", core=None, lay=lay) as peer:
        store = Store(LmdbTables(peer.folder / "data", readonly=True))
        assert count_watches(store) == 20
        store.close()
        assert peer.start_took > 0


def test_ratios_are_taken_round_by_round() -> None:
    lines = list(scale.summary(found()))
    assert lines[2] == "| REGISTER a second | 100 | 100 | **1.00 x** (0.90 to 1.10) | 0.95 x or more |"
    assert lines[3] == "| CPU µs each | 5.00 | 5.00 | **1.00 x** (0.80 to 1.20) | 1.05 x or less |"


def test_a_watch_takes_the_difference() -> None:
    assert scale.watch_bytes(found(), "RssAnon") == 400
    assert scale.watch_bytes(found(), "RssFile") == 800
    assert "| bytes of memory for a watch | | 400 | | 600 or less |" in scale.summary(found())


def test_what_went_wrong_is_told() -> None:
    story = found()
    bad = story["runs"]["armed"][1]
    bad |= {"clean": False, "counters": bad["counters"] | {"lost": 3}}
    assert "'lost': 3" in scale.table(story)
    assert "'lost'" not in scale.table(found())


def test_the_readme_shows_the_newest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- scale -->\nold\n<!-- end of scale -->\nz\n")
    scale.into_readme(readme, found())
    assert readme.read_text().startswith("a\n<!-- scale -->\n| 100 users refresh |")
    assert "old" not in readme.read_text()


def test_the_whole_comparison_has_a_million() -> None:
    assert (Plan().watches, QUICK.watches) == (1_000_000, 100_000)


def test_memory_is_what_the_kernel_says() -> None:
    before = accounting.memory(os.getpid())
    with mmap.mmap(-1, 32 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as fresh:  # never memory that was freed before
        fresh.write(bytes(32 << 20))
        after = accounting.memory(os.getpid())
    assert (30 << 20) < after["RssAnon"] - before["RssAnon"] < (100 << 20)
    assert after["VmRSS"] >= after["RssAnon"] + after["RssFile"]
