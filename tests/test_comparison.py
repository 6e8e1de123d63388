"""The comparison's arithmetic and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import report, run


def of(rate: float, cost: float, server: str = "sipfast") -> dict[str, Any]:
    return {
        "server": server,
        "mode": "options",
        "rate": 0,
        "cycles_per_second": rate,
        "messages_per_second": rate,
        "cpu_us_per_cycle": cost,
        "cpu_us_per_message": cost,
        "latency_us": {"p50": 1.0, "p99": 2.0, "p99.9": 3.0, "max": 4.0},
        "others": 0.1,
        "generator_us_per_message": 1.5,
        "clean": True,
        "drops_server": 0,
        "drops_generator": 0,
        "counters": {"wrong": 0, "stray": 0, "lost": 0, "retransmitted": 0},
    }


def found(**runs: list[dict[str, Any]]) -> dict[str, Any]:
    row = {"mode": "options", "title": "OPTIONS", "unit": "answers/s", "goals": (1.5,), "runs": runs}
    return {
        "machine": {"cpu": "x", "cores": 2, "kernel": "6", "python": "3", "kamailio": ""},
        "plan": {"rounds": 3, "seconds": 1.0, "users": 10},
        "pinned": True,
        "began": "now",
        "load_before": (0, 0, 0),
        "load_after": (0, 0, 0),
        "rows": [row | {"latency": {kind: runs[kind][:1] for kind in runs}}],
    }


OURS = [of(300, 2), of(100, 4), of(200, 5)]
THEIRS = [of(100, 8, "kamailio"), of(100, 4, "kamailio"), of(50, 20, "kamailio")]


def test_ratios_are_taken_round_by_round() -> None:
    assert run.ratios(OURS, THEIRS, "cycles_per_second") == (3, 1, 4)


def test_more_a_second_and_less_cpu_are_both_better_above_one() -> None:
    line = list(report.summary(found(sipfast=OURS, kamailio=THEIRS)))[2]
    assert "| **3.00 x** (1.00 to 4.00) | **4.00 x** (1.00 to 4.00) | 1.5 x |" in line


def test_without_kamailio_there_is_no_ratio() -> None:
    line = list(report.summary(found(sipfast=OURS)))[2]
    assert " x** " not in line
    assert "| 200 answers/s |" in line


def test_turns_change() -> None:
    assert [list(run.turned(["a", "b", "c"], number)) for number in range(3)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


def test_what_went_wrong_is_told() -> None:
    bad = of(1, 1)
    bad |= {"clean": False, "drops_server": 7, "counters": bad["counters"] | {"lost": 3}}
    text = report.table(found(sipfast=[bad]))
    assert "'lost': 3" in text
    assert "dropped by the kernel: 7" in text


def test_the_readme_shows_the_newest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- comparison -->\nold\n<!-- end of comparison -->\nz\n")
    report.into_readme(readme, found(sipfast=OURS, kamailio=THEIRS))
    text = readme.read_text()
    assert text.startswith("a\n<!-- comparison -->\n| |")
    assert text.endswith("<!-- end of comparison -->\nz\n")
    assert "old" not in text


def test_a_readme_without_a_place_is_a_mistake(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        report.into_readme(readme, found(sipfast=OURS))


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = report.plot(found(sipfast=OURS, kamailio=THEIRS), tmp_path, "c")
    assert [path.name for path in paths] == ["c.svg", "c.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
