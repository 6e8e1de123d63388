"""Another checkout in turns with this one: the arithmetic, the decisions, whose code runs, and one small real run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the load generator reads /proc and uses recvmmsg", allow_module_level=True)
pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import against, checkout
from benchmarks.against import AFTER, BEFORE, Interval, Round, Row, Turns, decide, findings, interval, settle
from benchmarks.checkout import CannotTell, Checkout
from benchmarks.peers.servers import Peer, running

OURS = checkout.here()


# ---- the interval


@pytest.mark.parametrize(
    ("rounds", "low", "high", "sure"),
    [
        # of a fair coin thrown so often: 1 - 2 * P(fewer heads than the rank)
        (2, 1, 2, 0.5),
        (5, 1, 5, 1 - 2 / 32),
        (6, 1, 6, 1 - 2 / 64),
        (8, 1, 8, 1 - 2 / 256),
        (9, 2, 8, 1 - 2 * (1 + 9) / 512),
        (12, 3, 10, 1 - 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_the_interval_is_of_order_statistics(rounds: int, low: int, high: int, sure: float) -> None:
    ratios = [float(each) for each in range(rounds, 0, -1)]
    assert interval(ratios) == Interval((rounds + 1) / 2, low, high, pytest.approx(sure))  # type: ignore[arg-type]


@pytest.mark.parametrize("rounds", range(6, 60))
def test_from_six_rounds_on_it_holds_the_median_often_enough(rounds: int) -> None:
    found = interval([1.0] * rounds)
    assert found is not None
    assert found.sure >= 0.95


def test_one_disturbed_round_of_nine_does_not_move_it() -> None:
    ratios = [0.99, 1.0, 1.01, 1.0, 0.99, 1.0, 1.01, 1.0]
    found = interval([*ratios, 3.0])
    assert found is not None
    assert (found.low, found.median, found.high) == (0.99, 1.0, 1.01)


@pytest.mark.parametrize("ratios", [[], [1.0]])
def test_of_fewer_than_two_rounds_there_is_none(ratios: list[float]) -> None:
    assert interval(ratios) is None


# ---- the decision


def of(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.96)


SAME = of(0.99, 1.01)


@pytest.mark.parametrize(
    ("cpu", "speed", "verdict"),
    [
        pytest.param(SAME, SAME, "ok", id="the same"),
        pytest.param(of(1.1, 1.5), SAME, "ok", id="wide, but certainly not slower"),
        pytest.param(of(0.93, 0.97), SAME, "ok", id="reaches to 0.97"),
        pytest.param(of(0.93, 0.969), SAME, "LOST", id="does not"),
        pytest.param(of(0.5, 0.96), SAME, "LOST", id="wide, but certainly slower"),
        pytest.param(of(0.9, 1.1), SAME, "not decided", id="could hide a loss"),
        pytest.param(SAME, of(0.7, 1.3), "ok", id="CPU decides, speed is noise"),
        pytest.param(SAME, of(0.7, 0.9), "LOST", id="the same CPU, but it waits"),
        pytest.param(of(0.9, 1.1), of(0.7, 0.9), "LOST", id="one is enough"),
        pytest.param(None, None, "not decided", id="nothing measured"),
    ],
)
def test_verdict(cpu: Interval | None, speed: Interval | None, verdict: str) -> None:
    assert decide(cpu, speed) == verdict


def a_round(cpu: float, speed: float = 1.0, wrong: tuple[str, ...] = ()) -> Round:
    side = {"cpu_us_per_cycle": 2.0, "cycles_per_second": 1000.0, "cpu_us_per_message": 1.0}
    return Round(cpu, speed, {BEFORE: side, AFTER: side}, (0.1, 0.3), wrong)


def measuring(found: dict[str, list[list[float]]]) -> Callable[[Row], None]:
    """Adds the rounds that are next, for each row."""

    def measure(row: Row) -> None:
        row.rounds += [a_round(cpu) for cpu in found[row.mode].pop(0)]

    return measure


NOISY = [0.8, 0.9, 1.0, 1.0, 1.1, 1.2]
STEADY = [0.99, 1.0, 1.0, 1.0, 1.0, 1.01]
SLOW = [0.89, 0.9, 0.9, 0.9, 0.9, 0.91]


def test_what_is_ok_is_measured_once_and_what_is_not_anew() -> None:
    rows = [Row("options", 1), Row("call", 1), Row("redial", 1), Row("register", 1)]
    left = {
        "options": [STEADY, STEADY],
        "call": [NOISY, [1.0] * 12, STEADY],
        "redial": [NOISY, NOISY, NOISY, NOISY],
        "register": [SLOW, SLOW, SLOW, SLOW],
    }
    said: list[str] = []
    settle(rows, measuring(left), 2, said.append)
    assert [row.verdict for row in rows] == ["ok", "ok", "not decided", "LOST"]
    assert {mode: len(each) for mode, each in left.items()} == {"options": 1, "call": 1, "redial": 1, "register": 1}
    assert said[0] == "anew: whole calls, not decided after 6 rounds"


def test_a_loss_that_was_chance_is_forgiven() -> None:
    row = Row("call", 1)
    settle([row], measuring({"call": [SLOW, [1.0] * 18]}), 1, print)
    assert row.verdict == "ok"


def test_each_row_that_is_not_ok_is_named_in_a_line() -> None:
    rows = [Row(mode, peers, [a_round(cpu) for cpu in ratios]) for mode, peers, ratios in (
        ("options", 1, STEADY), ("call", 1000, SLOW), ("redial", 1, NOISY), ("redial-notify", 1, []),
    )]  # fmt: skip
    rows.append(Row("register", 1, [a_round(1.0, 0.8)] * 6))
    assert list(findings(rows)) == [
        "lost: whole calls, 1,000 peers: by CPU 0.900 x (0.890 to 0.910)",
        "not decided: redial cycles: by CPU 1.000 x (0.800 to 1.200) after 6 rounds; a quieter machine or more of them "
        '(ARGS="--rounds 20") help',
        "not decided: redial cycles with NOTIFYs: answers were wrong or missing in all rounds but 0",
        "lost: REGISTER refreshed: a second 0.800 x (0.800 to 0.800), though by CPU 1.000 x (1.000 to 1.000): it waits for "
        "something",
    ]


# ---- a round


def a_run(cost: float, rate: float, **more: Any) -> dict[str, Any]:
    counters = {"wrong": 0, "stray": 0, "lost": 0}
    run = {"cpu_us_per_cycle": cost, "cycles_per_second": rate, "cpu_us_per_message": cost / 6, "others": 0.5}
    return run | {"clean": True, "complaints": [], "counters": counters} | more


def test_ratios_are_taken_pair_by_pair_and_are_better_above_one() -> None:
    runs = {
        BEFORE: [a_run(10, 100), a_run(20, 50), a_run(10, 100)],
        AFTER: [a_run(8, 125), a_run(10, 150), a_run(10, 90)],
    }
    made = against.condense(runs)
    assert (made.cpu, made.speed) == (1.25, 1.25)
    assert made.sides[AFTER]["cpu_us_per_cycle"] == 10
    assert made.others == (0.5,) * 6
    assert made.wrong == ()


def test_a_round_with_a_wrong_answer_does_not_count() -> None:
    counters = {"wrong": 3, "stray": 0, "lost": 1}
    bad = a_run(1, 100, clean=False, complaints=[("INVITE not answered 200", "...")], counters=counters)
    row = Row("call", 1, [against.condense({BEFORE: [a_run(2, 100)], AFTER: [bad]}), *[a_round(1.0)] * 6])
    assert row.rounds[0].wrong == ("after: INVITE not answered 200 (wrong 3, stray 0, lost 1)",)
    assert len(row.clean) == 6
    assert row.verdict == "ok"
    assert "a round that does not count: after: INVITE not answered 200" in against.table(story([row]))


# ---- what is told


def story(rows: list[Row]) -> dict[str, Any]:
    on = {"cpu": "x", "cores": 2, "kernel": "6", "python": "3"}
    found = {"machine": on, "began": "now", "rows": rows, "plan": vars(Turns()), "pinned": True, "built_otherwise": []}
    return found | {BEFORE: "0123456789ab (2026-01-01: Old)", AFTER: "ba9876543210-dirty (2026-01-02: New)"}


def test_table() -> None:
    text = against.table(story([Row("call", 1000, [a_round(each, 1.0) for each in STEADY])]))
    ratios = "**1.000 x** (0.990 to 1.010) | **1.000 x** (1.000 to 1.000)"
    assert f"| whole calls, 1,000 peers | {ratios} | 6 | 0.20, 0.30 | ok |" in text
    assert "| whole calls, 1,000 peers | 1,000 | 1,000 | 2.00 | 2.00 | 1.00 | 1.00 |" in text
    assert "- before: 0123456789ab (2026-01-01: Old); after: ba9876543210-dirty (2026-01-02: New)" in text
    assert "96.9% with 6 rounds" in text
    json.dumps(against.plain(story([Row("call", 1, [a_round(1.0)])])))


# ---- whose code runs


def test_an_option_that_a_checkout_does_not_know_is_left_out(tmp_path: Path) -> None:
    old = Checkout(tmp_path, Path("/old/python"))
    old.__dict__["help"] = "usage: sipfast serve [-h]\n  --listen udp:HOST:PORT\n  --work-load N  other\n"
    command = old.serving(["--workers", "1", "--listen", "udp:127.0.0.1:5", "--work", "1"])
    assert command == ["/old/python", "-m", "sipfast", "serve", "--listen", "udp:127.0.0.1:5"]


def test_every_option_is_known_here() -> None:
    options = ["--workers", "1", "--listen", "udp:127.0.0.1:1", "--domain", "a.test", "--data", "d", "--log-level", "info"]
    assert OURS.serving(options)[4:] == options


def test_nothing_of_this_environment_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    theirs = Checkout(checkout.ROOT, Path(sys.executable))
    assert "/elsewhere" not in theirs.environment.values()
    assert theirs.environment["PATH"] == os.environ["PATH"]
    assert theirs.package == checkout.ROOT / "sipfast"


def package(root: Path, *modules: str) -> Checkout:
    """A folder with a package that has nothing in it."""
    (root / "sipfast").mkdir(parents=True)
    for name in ("__init__.py", *modules):
        (root / "sipfast" / name).write_text("")
    return Checkout(root, Path(sys.executable))


def test_each_checkout_imports_its_own(tmp_path: Path) -> None:
    assert package(tmp_path / "one").package == tmp_path / "one" / "sipfast"
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "sipfast.py").write_text("__file__ = '/elsewhere/sipfast/__init__.py'\n")
    with pytest.raises(CannotTell, match="imports sipfast from /elsewhere/sipfast: make -C"):
        Checkout(tmp_path / "two", Path(sys.executable)).package  # noqa: B018


def test_a_server_with_another_checkouts_modules_is_refused(tmp_path: Path) -> None:
    own = package(tmp_path, "_a.so", "_b.so")
    own.judge([f"{tmp_path}/sipfast/_a.so", "/usr/lib/libc.so.6", "[stack]"])
    for room in ("one", "two"):
        (tmp_path / "sipfast" / room).mkdir()
        (tmp_path / "sipfast" / room / "same.so").touch()
    own.judge([f"{tmp_path}/sipfast/{room}/same.so" for room in ("one", "two")])
    with pytest.raises(CannotTell, match=r"has loaded /elsewhere/sipfast/_b\.so"):
        own.judge([f"{tmp_path}/sipfast/_a.so", "/elsewhere/sipfast/_b.so"])
    with pytest.raises(CannotTell, match="has loaded no compiled module of it"):
        own.judge(["/usr/lib/libc.so.6"])


def test_checkouts_that_were_built_with_other_flags_are_told(tmp_path: Path) -> None:
    one, two = (package(tmp_path / name, "same.pyx", "flags.pyx", "cimports.pyx", "changed.pyx") for name in ("1", "2"))
    for made, sizes in ((one, (1000, 1000, 1000, 1000)), (two, (1000, 1100, 1010, 1100))):
        for name, size in zip(("same", "flags", "cimports", "changed"), sizes, strict=True):
            (made.root / "sipfast" / f"{name}.cpython.so").write_bytes(bytes(size))
    (two.root / "sipfast" / "changed.pxd").write_text("cdef int x")
    assert checkout.built_otherwise(one, two) == checkout.built_otherwise(two, one) == ["flags"]
    assert "- NOT BUILT ALIKE: flags have the same source" in against.table(story([]) | {"built_otherwise": ["flags"]})
    assert "NOT BUILT ALIKE" not in against.table(story([]))


def test_a_checkouts_server_is_started_in_its_folder_by_its_interpreter(tmp_path: Path) -> None:
    theirs = Checkout(tmp_path, Path("/theirs/python"))
    theirs.__dict__["help"] = OURS.help
    command, folder, environment = Peer("sipfast", "call", 20_000, None, tmp_path / "data", theirs).way()
    assert command[:4] == ["/theirs/python", "-m", "sipfast", "serve"]
    assert (folder, environment) == (tmp_path, theirs.environment)


def test_a_server_of_this_checkout_has_loaded_its_modules() -> None:
    with running("sipfast", "options", core=None, checkout=OURS) as peer:
        OURS.check(peer.pid)
        elsewhere = Checkout(OURS.root, OURS.python)
        elsewhere.__dict__["package"] = Path("/elsewhere/sipfast")
        with pytest.raises(CannotTell):
            elsewhere.check(peer.pid)


@pytest.mark.parametrize(
    ("where", "story"),
    [
        ("no-such-revision", "no-such-revision is neither a folder nor a revision that git knows here"),
        ("/usr", "/usr is no checkout of sipfast: give its topmost folder, or a git revision"),
    ],
    ids=["nothing", "another folder"],
)
def test_what_cannot_be_compared_is_told_in_a_line(where: str, story: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert against.main([where]) == 2
    assert capsys.readouterr().err == f"cannot tell: {story}\n"


def test_a_folder_that_is_not_built_is_told_with_the_way_out(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "Makefile").write_text("build: never\nnever:\n\ttouch never\n")
    with pytest.raises(CannotTell, match=f"{tmp_path} is not built, or has changed since: make -C {tmp_path} build"):
        checkout.other(str(tmp_path), print)
    (tmp_path / "never").write_text("")
    assert checkout.other(str(tmp_path), print).python == tmp_path / ".venv" / "bin" / "python"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_revision_is_checked_out_and_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "Makefile").write_text("build:\n\techo built >> built\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "Old")
    (tmp_path / "Makefile").write_text("build:\n\tfalse\n")
    git("commit", "--quiet", "-a", "-m", "New")
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setenv("MAKEFLAGS", "n")  # which would only show what it does
    for times in (1, 2):
        made = checkout.other("HEAD~1", print)
        assert made.root == tmp_path / "build" / "against" / git("rev-parse", "HEAD~1")[:12]
        assert (made.root / "built").read_text() == "built\n" * times
    assert "Old" in made.revision
    with pytest.raises(CannotTell, match="does not build"):
        checkout.other("HEAD", print)


# ---- measured


def test_this_checkout_against_itself(tmp_path: Path) -> None:
    plan = Turns(rounds=2, pairs=1, seconds=0.05, users=200, modes=("call", "register"), crowds=(1,), again=0)
    found = against.compare_checkouts(OURS, OURS, plan, print)
    for row in found["rows"]:
        assert [each.wrong for each in row.rounds] == [(), ()]
        assert row.cpu is not None
        assert 0.1 < row.cpu.median < 10  # nothing more can be said of so little, where others run, too
    assert found[BEFORE] == found[AFTER]
    assert against.table(found).count("| whole calls |") == 2


def test_the_exit_status_says_whether_all_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "other", lambda where, say: OURS)
    for ratios, status in ((STEADY, 0), (SLOW, 1), (NOISY, 1)):
        rows = [Row("options", 1, [a_round(each) for each in ratios]), Row("call", 1, [a_round(1.0)] * 6)]
        monkeypatch.setattr(against, "compare_checkouts", lambda *_, rows=rows: story(rows))
        assert against.main(["x", "--output", str(tmp_path)]) == status
        assert (tmp_path / "against.md").read_text().startswith("| after / before |")
    assert json.loads((tmp_path / "against.json").read_text())["rows"][0]["verdict"] == "not decided"
