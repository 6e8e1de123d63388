"""The comparison with many peers: who plays what, its arithmetic, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import many, run
from benchmarks.run import Plan


def of(server: str, rate: float, cost: float) -> dict[str, Any]:
    counters = dict.fromkeys(("wrong", "stray", "lost", "retransmitted"), 0)
    spent = {"cycles_per_second": rate, "cpu_us_per_cycle": cost, "cpu_us_per_message": cost}
    run = {"server": server, "mode": "options", "clean": True, "drops_server": 0, "drops_generator": 0, "others": 0.0}
    return run | spent | {"counters": counters}


def found() -> dict[str, Any]:
    runs = {
        "sipfast": [of("sipfast", 300_000, 3.3), of("sipfast", 200_000, 5), of("sipfast", 200_000, 5)],
        "kamailio": [of("kamailio", 100_000, 9.9), of("kamailio", 200_000, 5), of("kamailio", 100_000, 10)],
        "echo": [of("echo", 200_000, 2) for _ in range(3)],
    }
    costs = {"echo": [2.0, 4.0], "echo-one-by-one": [3.0, 5.0]}
    return {
        "machine": {"cpu": "x", "kamailio": "k"},
        "began": "now",
        "pinned": True,
        "peers": 1000,
        "rounds": 2,
        "seconds": 1.0,
        "rows": [{"mode": "options", "title": "OPTIONS", "unit": "answers/s", "goals": (1.5,), "runs": runs}],
        "echoes": [
            {"server": kind, "peers": peers, "runs": [of(kind, 1, cost) for cost in costs[kind]]}
            for peers in many.CROWDS
            for kind in many.ECHOES
        ],
    }


def test_ratios_are_taken_round_by_round() -> None:
    line = list(many.summary(found()))[2]
    assert line == (
        "| OPTIONS | 200,000 answers/s | 100,000 | **2.00 x** (1.00 to 3.00) | **2.00 x** (1.00 to 3.00) | 1.5 x |"
    )


def test_what_one_piece_is_worth() -> None:
    assert list(many.pieces(found()))[2] == "| 1 | 4.00 | 3.00 | 1.38 x (1.25 to 1.50) |"


def test_who_was_not_busy_is_told() -> None:
    text = many.table(found())
    assert "OPTIONS: C echo (limit) was busy for 40% of the time only" in text
    assert "sipfast was busy" not in text


def test_what_went_wrong_is_told() -> None:
    story = found()
    for bad in (story["rows"][0]["runs"]["echo"][0], story["echoes"][0]["runs"][1]):
        bad |= {"clean": False, "counters": bad["counters"] | {"lost": 3}}
    assert many.table(story).count("'lost': 3") == 2
    assert "'lost'" not in many.table(found())


def test_the_readme_shows_the_newest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- many -->\nold\n<!-- end of many -->\nz\n")
    many.into_readme(readme, found())
    text = readme.read_text()
    assert text.startswith("a\n<!-- many -->\n| | sipfast |")
    assert text.endswith("<!-- end of many -->\nz\n")
    assert "old" not in text


def test_every_server_gets_the_same_many_peers_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, str, int]] = []

    def one_run(kind: str, mode: str, plan: Plan, pinned: bool, *, peers: int, **_: Any) -> dict[str, Any]:
        played.append((kind, mode, peers))
        return of(kind, 100, 1)

    monkeypatch.setattr(run, "available", lambda kind, mode: kind != "uvloop")
    monkeypatch.setattr(run, "one_run", one_run)
    monkeypatch.setattr(many, "one_run", one_run)
    plan = Plan(side_rounds=2, modes=("options", "call", "redial"))
    story = many.compare_many(plan, lambda line: None)
    assert story is not None
    assert [row["mode"] for row in story["rows"]] == ["options", "call"]
    options = [(kind, "options", 1000) for kind in ("sipfast", "kamailio", "echo")]
    calls = [(kind, "call", 1000) for kind in ("sipfast", "kamailio", "kamailio", "sipfast")]
    assert played[:10] == [*options, *options[1:], options[0], *calls]
    echoes = [(kind, "options", peers) for peers in (1, 16, 64, 1000) for kind in ("echo", "echo-one-by-one")]
    assert played[10:] == [*echoes, *echoes[1:], echoes[0]]
    assert all(len(each["runs"]) == 2 for each in story["echoes"])


def test_without_a_row_of_many_there_is_nothing() -> None:
    assert many.compare_many(Plan(modes=("redial",)), print) is None
