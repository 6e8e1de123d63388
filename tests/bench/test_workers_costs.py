"""What several workers cost: what is made of their counters, the arithmetic, and the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("only Linux spreads datagrams over workers", allow_module_level=True)
pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import workers
from benchmarks.loadgen.measure import generator
from benchmarks.peers.servers import running
from benchmarks.run import Plan


def of(count: int, cost: float, handed_over: int = 0) -> dict[str, Any]:
    counters = dict.fromkeys(("wrong", "stray", "lost", "retransmitted"), 0)
    told = {"udp_received": 1000, "batches": 1000 // 20, "handed_over": handed_over, "notices": 40}
    server = f"sipfast-{count}-workers"
    run = {"server": server, "mode": "call", "clean": True, "drops_server": 0, "drops_generator": 0, "others": 0.0}
    return run | {"cpu_us_per_message": cost, "counters": counters, "told": told}


def found() -> dict[str, Any]:
    runs = {
        "1": [of(1, 4), of(1, 8), of(1, 5)],
        "2": [of(2, 8, 250), of(2, 8, 200), of(2, 5, 300)],
        "4": [of(4, 12, 375)] * 3,
    }
    return {
        "machine": {"cpu": "x"},
        "began": "now",
        "pinned": True,
        "peers": 64,
        "window": 128,
        "rounds": 3,
        "seconds": 1.0,
        "rows": [{"mode": "call", "title": "whole calls", "runs": runs}],
    }


def test_ratios_are_taken_round_by_round() -> None:
    assert workers.dearer(found()["rows"][0], 2) == (1, 1, 2)
    assert workers.dearer(found()["rows"][0], 4) == (2.4, 1.5, 3)
    lines = list(workers.summary(found()))
    assert lines[2] == "| whole calls | 5.00 | 8.00 = **1.00 x** (1.00 to 2.00) | 12.00 = **2.40 x** (1.50 to 3.00) |"


def test_what_was_handed_over_is_a_share_of_what_came() -> None:
    line = list(workers.details(found()))[3]
    assert line == "| whole calls | 2 | 8.00 | 5.00 to 8.00 | 25% | 0.04 | 20 |"


def test_what_went_wrong_is_told() -> None:
    story = found()
    story["rows"][0]["runs"]["2"][1] |= {"drops_server": 7}
    assert "sipfast, workers: 2: " in workers.table(story)
    assert "dropped by the kernel: 7" in workers.table(story)
    assert "dropped" not in workers.table(found())


def test_the_readme_shows_the_newest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- workers -->\nold\n<!-- end of workers -->\nz\n")
    workers.into_readme(readme, found())
    text = readme.read_text()
    assert text.startswith("a\n<!-- workers -->\n| CPU µs a message |")
    assert text.endswith("<!-- end of workers -->\nz\n")
    assert "old" not in text


def test_turns_are_taken_and_each_worker_has_as_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, str]] = []
    windows: dict[str, int] = {}

    def one_run(kind: str, mode: str, plan: Plan, pinned: bool, *, tell: bool, **options: int) -> dict[str, Any]:
        assert tell
        assert options["peers"] == 1000
        played.append((kind, mode))
        windows[kind] = options["window"]
        return of(1, 1)

    monkeypatch.setattr(workers, "one_run", one_run)
    story = workers.compare_workers(Plan(side_rounds=2, modes=("redial", "redial-notify")), lambda line: None)
    assert story is not None
    one, two, four = ((f"sipfast-{count}-workers", "redial") for count in (1, 2, 4))
    assert played == [one, two, four, two, four, one]
    assert windows == {"sipfast-1-workers": 128, "sipfast-2-workers": 256, "sipfast-4-workers": 512}


@pytest.mark.parametrize("count", [1, 2])
def test_what_the_workers_counted_is_summed_up_once_they_have_ended(count: int) -> None:
    with running(f"sipfast-{count}-workers", "options", core=None) as peer:
        load = generator("options", peer.address, size=500, peers=64)
        load.run(5, limit=500)
        load.drain(5)
        load.close()
        told = peer.told()
    assert load.counters()["completed"] == 500
    assert 500 < told["udp_received"] < 600  # and those that asked whether it is there
    assert told["batches"] > 0
    assert told["handed_over"] == 0
    assert ("bus_sent" in told) == (count > 1)


def test_without_a_row_of_workers_there_is_nothing() -> None:
    assert workers.compare_workers(Plan(modes=("redial-notify",)), print) is None
