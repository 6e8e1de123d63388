"""The regression gate's arithmetic, on made-up samples. Nothing is timed here."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ci import bench_gate
from ci.bench_gate import CannotTell, Row, Rows, Say, compare, condense, findings, judge, main, table, tolerance

STEADY = Row(ratio=2.0, spread=0.01, processes=15)
"""As most rows are: standard error 0.3 %, so less than the floor is noise."""


def of(**ratios: float) -> dict[str, Row]:
    return {name: Row(ratio, 0.01, 15) for name, ratio in ratios.items()}


def verdicts(before: Rows, now: Rows) -> dict[str, str]:
    return {line.name: line.verdict for line in compare(before, now)}


def in_turn(*measured: Rows) -> Callable[[], Rows]:
    return iter(measured).__next__


# ---- one row


def test_a_row_is_median_and_spread_of_the_processes() -> None:
    row = condense([1.00, 0.98, 1.02, 1.01, 0.99])
    assert row.ratio == 1.00
    assert row.spread == pytest.approx(1.4826 * 0.01)
    assert row.processes == 5


def test_spread_is_relative() -> None:
    assert condense([100, 98, 102, 101, 99]).spread == pytest.approx(condense([1.00, 0.98, 1.02, 1.01, 0.99]).spread)


def test_one_disturbed_process_changes_nothing() -> None:
    quiet = condense([1.00, 0.98, 1.02, 1.01, 0.99])
    assert condense([1.00, 0.98, 9.99, 1.01, 0.99]) == quiet


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(2.0, "ok"), (2.05, "ok"), (1.95, "ok"), (2.07, "LOST"), (4.0, "LOST"), (1.93, "gain"), (0.5, "gain")],
)
def test_verdict_of_a_steady_row(ratio: float, verdict: str) -> None:
    """Three per cent are noise, more is not; more CPU is a loss and less a gain."""
    assert verdicts({"a": STEADY}, {"a": Row(ratio, 0.01, 15)}) == {"a": verdict}


@pytest.mark.parametrize(("before", "now"), [(0.10, 0.01), (0.01, 0.10)], ids=["baseline", "now"])
def test_noise_in_either_measurement_widens_the_tolerance(before: float, now: float) -> None:
    """A spread of 10 % among 15: standard error 3.2 %, four of them 13 %."""
    a, b = Row(2.0, before, 15), Row(2.2, now, 15)
    assert tolerance(a, b) == pytest.approx(0.13, abs=0.005)
    assert verdicts({"a": a}, {"a": b}) == {"a": "ok"}
    assert verdicts({"a": a}, {"a": Row(2.3, now, 15)}) == {"a": "LOST"}


def test_both_errors_add_up_as_independent_ones_do() -> None:
    noisy = Row(1.0, 0.10, 15)
    assert tolerance(noisy, noisy) == pytest.approx(2**0.5 * tolerance(noisy, Row(1.0, 0.0, 15)))


def test_more_processes_narrow_the_tolerance() -> None:
    assert tolerance(Row(1, 0.1, 60), Row(1, 0.1, 60)) == pytest.approx(tolerance(Row(1, 0.1, 15), Row(1, 0.1, 15)) / 2)


def test_noisy_samples_widen_the_tolerance() -> None:
    """From the samples on: what is lost among steady ones is not among samples that lie 20 % apart."""
    steady, noisy = [1.00, 0.99, 1.01, 1.00, 1.00], [0.80, 1.20, 1.00, 0.85, 1.15]
    slower = 1.10
    for samples, verdict in (steady, "LOST"), (noisy, "ok"):
        now = condense([each * slower for each in samples])
        assert verdicts({"a": condense(samples)}, {"a": now}) == {"a": verdict}


# ---- several


def test_only_what_is_slower_is_named() -> None:
    lines = compare(of(parse=1, write=2, call=3), of(parse=1.1, write=2.01, call=2.5))
    said = list(findings(lines))
    assert said == [
        "lost: parse costs 10.0% more; up to 3.0% may be noise",
        "gained: call costs 16.7% less; --update keeps it from being lost again",
    ]


def test_what_only_one_of_them_has_is_told_and_not_compared() -> None:
    lines = compare(of(parse=1, former=2), of(parse=1, latest=3))
    assert {line.name: line.verdict for line in lines} == {"parse": "ok", "latest": "new", "former": "gone"}
    said = list(findings(lines))
    assert any("latest is not in the baseline; --update" in each for each in said)
    assert any("former is in the baseline, but nothing measures it; --update" in each for each in said)


def test_a_row_that_could_hide_a_loss_is_told() -> None:
    lines = compare({"a": Row(1, 0.2, 15)}, {"a": Row(1, 0.2, 15)})
    assert any(each.startswith("blunt: a could lose 37% unseen") for each in findings(lines))


def test_the_table_has_name_baseline_now_change_tolerance_verdict() -> None:
    heading, *rows = table(compare(of(parse=1, gone=2), of(parse=1.1)))
    assert heading.split() == ["baseline", "now", "change", "noise", "to"]
    assert rows[0].split() == ["parse", "1.0000", "1.1000", "+10.0%", "3.0%", "LOST"]
    assert rows[1].split() == ["gone", "2.0000", "-", "gone"]
    assert len({len(row.rstrip()) - len(row.split()[-1]) for row in rows}) == 1


# ---- measuring anew


def test_what_is_as_before_is_measured_once() -> None:
    lines = judge(of(a=1), in_turn(of(a=1)), pytest.fail)
    assert [line.verdict for line in lines] == ["ok"]


def test_measuring_anew_clears_a_fluke() -> None:
    said: list[str] = []
    lines = judge(of(a=1, b=1), in_turn(of(a=1.2, b=1), of(a=1.01, b=1)), said.append)
    assert [line.verdict for line in lines] == ["ok", "ok"]
    assert said == ["measured anew: a"]


def test_what_is_lost_twice_is_lost() -> None:
    lines = judge(of(a=1, b=1), in_turn(of(a=1.2, b=1), of(a=1.1, b=1)), lambda line: None)
    assert [(line.verdict, round(line.change, 3)) for line in lines] == [("LOST", 0.1), ("ok", 0)]


def test_measuring_anew_accuses_nobody_else() -> None:
    """What was as before the first time stays so, and is shown as it was."""
    lines = judge(of(a=1, b=1), in_turn(of(a=1.2, b=1), of(a=1, b=1.3)), lambda line: None)
    assert [(line.verdict, line.change) for line in lines] == [("ok", 0), ("ok", 0)]


# ---- the command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results" / "gate.json"


def play(file: Path, *measured: Rows, update: bool = False) -> int:
    turns = in_turn(*measured)

    def measure(processes: int, say: Say) -> Rows:
        assert processes == (30 if update else 15)
        return turns()

    return main(["--quiet", "--baseline", str(file), *(["--update"] if update else [])], measure)


def test_update_writes_what_is_compared_with_next(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(file, of(a=1), update=True) == 0
    assert play(file, of(a=1)) == 0
    assert play(file, of(a=1.1), of(a=1.1)) == 1
    assert "lost: a costs 10.0% more" in capsys.readouterr().out
    assert play(file, of(a=1.1), update=True) == 0
    assert play(file, of(a=1.1)) == 0


def test_the_baseline_says_where_it_comes_from(file: Path) -> None:
    play(file, of(a=1), update=True)
    kept = json.loads(file.read_text())
    assert kept["rows"] == {"a": {"ratio": 1.0, "spread": 0.01, "processes": 15}}
    assert set(kept["machine"]) == {"cpu", "python", "compiler", "store"}
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$", kept["date"])
    assert kept["commit"]
    assert [path.name for path in file.parent.iterdir()] == ["gate.json"]


def test_a_gain_does_not_fail(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play(file, of(a=1), update=True)
    assert play(file, of(a=0.8)) == 0
    assert "gained: a costs 20.0% less; --update" in capsys.readouterr().out


def damaged() -> Iterator[Any]:
    kept = {
        "commit": "x",
        "date": "y",
        "machine": {"cpu": "", "python": "", "compiler": "", "store": ""},
        "rows": {"a": {"ratio": 1.0, "spread": 0.01, "processes": 15}},
    }
    whole = json.dumps(kept)
    assert msgspec.json.decode(whole, type=bench_gate.Baseline)
    yield pytest.param("", id="empty")
    yield pytest.param(whole[: len(whole) // 2], id="cut off")
    yield pytest.param(whole.replace('"commit": "x", ', ""), id="without commit")
    yield pytest.param(whole.replace("1.0", '"fast"'), id="ratio is a word")
    yield pytest.param(whole.replace("1.0", "0"), id="ratio is nothing")
    yield pytest.param(whole.replace("15", "0"), id="nobody measured")


@pytest.mark.parametrize("text", list(damaged()))
def test_a_damaged_baseline_is_told_in_one_line(text: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir()
    file.write_text(text)
    assert play(file) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cannot tell: the baseline {file} cannot be read")
    assert "--update" in line


def test_without_baseline_it_says_how_to_make_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(file) == 2
    assert "there is no baseline" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["cpu", "python", "compiler", "store"])
def test_another_machines_baseline_is_refused(what: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play(file, of(a=1), update=True)
    kept = json.loads(file.read_text())
    kept["machine"][what] = "another"
    file.write_text(json.dumps(kept))
    assert play(file) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{what} 'another' there" in line
    assert "--update --baseline FILE" in line


def test_benchmarks_that_do_not_run_are_no_verdict(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play(file, of(a=1), update=True)

    def measure(processes: int, say: Say) -> Rows:
        raise CannotTell("the benchmarks do not run: no room")

    assert main(["--baseline", str(file)], measure) == 2
    assert capsys.readouterr().err == "cannot tell: the benchmarks do not run: no room\n"


def test_samples_come_from_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process's median counts once, however many slices it has."""
    told = iter([{"a": [1, 1, 9]}, {"a": [2, 2, 9]}, {"a": [3, 3, 9]}])

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "benchmarks.gated"]
        return subprocess.CompletedProcess(command, 0, json.dumps(next(told)), "")

    monkeypatch.setattr(subprocess, "run", run)
    rows = bench_gate.measure(3, lambda line: None)
    assert rows["a"] == condense([1, 2, 3])


def test_a_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", "Traceback\nAssertionError: the yardstick is not what it was\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(CannotTell, match="AssertionError: the yardstick is not what it was"):
        bench_gate.measure(3, lambda line: None)


def test_the_baseline_that_is_kept_has_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each benchmark runs once, in a real process; how long it takes is of no interest."""
    monkeypatch.setattr(bench_gate, "SLICES", 1)
    measured = bench_gate.measure(1, lambda line: None)
    assert list(measured) == list(bench_gate.read(bench_gate.BASELINE).rows)
