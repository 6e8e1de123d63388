"""The comparison's arithmetic and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import report, run
from benchmarks.peers import servers

COUNTED = {"completed": 10, "sent": 110, "received": 111, "provisional": 11, "bytes_sent": 4000, "bytes_received": 5000}


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
        "recall_us": {},
        "others": 0.1,
        "generator_us_per_message": 1.5,
        "clean": True,
        "drops_server": 0,
        "drops_generator": 0,
        "counters": dict.fromkeys(("wrong", "stray", "lost", "retransmitted"), 0) | COUNTED,
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


def differing() -> dict[str, Any]:
    """A row whose contenders come to the same in different ways."""
    theirs, agent = of(100, 8, "kamailio"), of(150, 3, "sipfast-presence")
    counted = COUNTED | {"sent": 170, "received": 170, "provisional": 10, "bytes_sent": 9000, "bytes_received": 9000}
    for each in theirs, agent:
        each |= {"mode": "presence", "counters": each["counters"] | counted}
    story = found(**{"sipfast": [of(300, 2)], "kamailio": [theirs], "sipfast-presence": [agent]})
    story["rows"][0]["further"] = {"sipfast-presence": (2.0,)}
    return story


def test_another_contender_has_a_line_and_goals_of_its_own() -> None:
    lines = list(report.summary(differing()))[2:]
    assert [line.rsplit(" | ", 1)[1] for line in lines] == ["1.5 x |", "2 x |"]
    assert "| 100 | **3.00 x** (3.00 to 3.00) | **4.00 x**" in lines[0]
    assert "| 150 | **2.00 x** (2.00 to 2.00) | **1.50 x**" in lines[1]


def test_what_one_outcome_takes_is_counted_without_100_trying() -> None:
    lines = list(report.methods(differing()["rows"]))[2:]
    assert len(lines) == 3
    assert lines[0].endswith("| 21.00 | 900 | 1.00 x | 1.00 x |")
    assert lines[1].endswith("| presence | 33.00 | 1,800 | 1.57 x | 2.00 x |")


def test_who_plays_the_same_needs_no_table_of_ways() -> None:
    assert list(report.methods(found(sipfast=OURS, kamailio=THEIRS)["rows"])) == []


def test_redial_is_compared_with_presence() -> None:
    row = next(row for row in run.ROWS if row.mode == "redial")
    modes = {kind: row.mode_of(kind) for kind in row.contenders}
    ours = {"sipfast": "redial", "kamailio-redial": "redial"}
    assert modes == {**ours, "kamailio": "presence", "sipfast-presence": "presence"}
    assert (row.goals, row.further) == ((8, 12), {"sipfast-presence": (2,), "kamailio-redial": ()})


def test_a_row_asks_for_and_plays_each_contenders_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    played: list[tuple[str, str]] = []

    def available(kind: str, mode: str) -> bool:
        asked.append((kind, mode))
        return kind != "sipfast-presence"

    def one_run(kind: str, mode: str, *_: Any, **__: Any) -> dict[str, Any]:
        played.append((kind, mode))
        return of(100, 1, kind)

    monkeypatch.setattr(run, "available", available)
    monkeypatch.setattr(run, "one_run", one_run)
    row = next(row for row in run.ROWS if row.mode == "redial")
    run.compare_row(row, run.Plan(rounds=1, latency_rounds=1), False, lambda line: None)
    ours, theirs = ("sipfast", "redial"), ("kamailio", "presence")
    recipe = ("kamailio-redial", "redial")
    assert asked == [ours, theirs, ("sipfast-presence", "presence"), recipe]
    assert played == [ours, theirs, recipe, ours, theirs]


@pytest.mark.parametrize("there", [True, False])
def test_kamailio_plays_presence_only_with_its_modules(there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find", lambda program: "/usr/sbin/kamailio")
    monkeypatch.setattr(servers, "LIBRARIES", tmp_path)
    modules = tmp_path / "x86_64-linux-gnu" / "kamailio" / "modules"
    modules.mkdir(parents=True)
    if there:
        (modules / "presence.so").touch()
    assert servers.available("kamailio", "presence") is there
    assert servers.available("kamailio", "call")


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
