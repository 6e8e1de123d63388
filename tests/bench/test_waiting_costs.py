"""What waiting costs: the formula, what is made of the counted messages, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import waiting
from benchmarks.run import Plan


def of(server: str, mode: str, messages: int, size: int, cpu: float) -> dict[str, Any]:
    """A run of 100 cycles, with a 100 Trying each."""
    counters = dict.fromkeys(("wrong", "stray", "lost", "retransmitted"), 0)
    counters |= {"completed": 100, "sent": 1000, "received": 100 * messages - 900, "provisional": 100}
    counters |= {"bytes_sent": 100 * size - 7, "bytes_received": 7}
    run = {"server": server, "mode": mode, "clean": True, "drops_server": 0, "drops_generator": 0, "others": 0.0}
    return run | {"counters": counters, "cpu_us_per_cycle": cpu}


def found() -> dict[str, Any]:
    return {
        "machine": {"cpu": "x", "kamailio": "k"},
        "began": "now",
        "pinned": True,
        "rounds": 2,
        "seconds": 1.0,
        "refreshes": 10,
        "plain": {
            "sipfast": [of("sipfast", "redial-notify", 25, 9_000, 100), of("sipfast", "redial-notify", 25, 9_000, 120)],
            "kamailio": [of("kamailio", "presence", 33, 15_000, 300), of("kamailio", "presence", 33, 15_000, 400)],
        },
        "refreshed": {
            "kamailio": [of("kamailio", "presence", 73, 31_000, 700), of("kamailio", "presence", 73, 31_000, 900)],
        },
    }


@pytest.mark.parametrize(("hours", "every", "messages"), [(0, 3600, 10), (1, 3600, 14), (24, 3600, 106), (24, 600, 586)])
def test_the_formula(hours: float, every: float, messages: float) -> None:
    assert waiting.formula(hours, every) == messages


def test_a_refresh_is_what_the_cycle_with_refreshes_took_more() -> None:
    assert waiting.refresh(found(), "kamailio") == {"messages": 4, "bytes": 1_600, "cpu": 45}


def test_a_watch_has_nothing_to_refresh() -> None:
    assert waiting.refresh(found(), "sipfast") == {"messages": 0, "bytes": 0, "cpu": 0}
    assert waiting.waited(found(), "sipfast", 24, 600) == waiting.waited(found(), "sipfast", 0, 600)


def test_counted_and_formula_come_to_the_same_parts() -> None:
    assert waiting.own(found(), "kamailio") == waiting.WATCHED
    assert waiting.own(found(), "sipfast") == 6
    lines = list(waiting.counted(found()))[2:]
    assert lines[0] == "| sipfast | 25.00 | 19 | | 6.00 | | | |"
    assert lines[1] == "| Kamailio | 33.00 | 19 | 4 | 10.00 | 10 | 4.00 | 4 |"


def test_what_was_counted_is_shown_where_it_is_not_the_formula() -> None:
    story = found()
    story["refreshed"]["kamailio"] = [of("kamailio", "presence", 93, 31_000, 700)] * 2
    assert list(waiting.counted(story))[3].endswith("| 6.00 | 4 |")


def test_bytes_and_cpu_grow_with_the_hours() -> None:
    cost = waiting.waited(found(), "kamailio", 24, 3600)
    assert cost == {"messages": 33 + 24 * 4, "bytes": 15_000 + 24 * 1_600, "cpu": 350 + 24 * 45}
    line = next(line for line in waiting.costs(found()) if "| 24 h | 3,600 s |" in line)
    assert line == "| Kamailio | 24 h | 3,600 s | 53,400 | 1.43 | 5.9 x | 13.0 x |"


def test_cpu_grows_with_those_who_wait() -> None:
    seconds = waiting.day(found(), "kamailio", 24, 3600)
    assert seconds[-1] == pytest.approx(1430)  # a million of them
    assert seconds[0] == pytest.approx(0.143)


def test_messages_of_a_day() -> None:
    assert "| 24 h | 3,600 s | 106 | 6 | **18 x** |" in list(waiting.summary(found()))


def test_what_went_wrong_is_told() -> None:
    story = found()
    bad = story["refreshed"]["kamailio"][1]
    bad |= {"clean": False, "counters": bad["counters"] | {"lost": 3}}
    assert "'lost': 3" in waiting.table(story)
    assert "'lost'" not in waiting.table(found())


def test_the_readme_shows_the_newest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- waiting -->\nold\n<!-- end of waiting -->\nz\n")
    waiting.into_readme(readme, found())
    text = readme.read_text()
    assert text.startswith("a\n<!-- waiting -->\n| waiting |")
    assert text.endswith("<!-- end of waiting -->\nz\n")
    assert "old" not in text


def test_without_a_presence_server_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "available", lambda kind, mode: False)
    assert waiting.compare_waiting(Plan(), print) is None


def test_turns_are_taken_and_only_presence_is_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, str, int]] = []

    def one_run(kind: str, mode: str, plan: Plan, pinned: bool, *, refreshes: int) -> dict[str, Any]:
        played.append((kind, mode, refreshes))
        return of(kind, mode, 33, 1, 1.0)

    monkeypatch.setattr(waiting, "available", lambda kind, mode: kind == "kamailio")
    monkeypatch.setattr(waiting, "one_run", one_run)
    story = waiting.compare_waiting(Plan(rounds=2), lambda line: None)
    assert story is not None
    redial, plain, refreshed = ("sipfast", "redial-notify", 0), ("kamailio", "presence", 0), ("kamailio", "presence", 10)
    assert played == [redial, plain, refreshed, plain, refreshed, redial]
    assert len(story["plain"]["kamailio"]) == len(story["refreshed"]["kamailio"]) == len(story["plain"]["sipfast"]) == 2


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = waiting.plot(found(), tmp_path)
    assert [path.name for path in paths] == ["waiting.svg", "waiting.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
