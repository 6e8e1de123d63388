"""The regression gate: has anything become slower, beyond the noise? See docs/benchmarks.md.

A compact set of benchmarks (`benchmarks/gated.py`) is timed as ratios to a yardstick in the same process, in several
processes, since where a process has its memory makes a difference of some per cent. What they say is compared with
`benchmarks/results/gate.json`.

Exit status: 0 if nothing is lost, 1 if something is, 2 if it cannot be told.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

ROOT = Path(__file__).parent.parent
BASELINE = ROOT / "benchmarks" / "results" / "gate.json"
PROCESSES, SLICES = 15, 15
FLOOR = 0.03
"""No smaller change is believed: the same code on the same machine differed by 2.4 % from one hour to the next."""
SIGMAS = 4.0
"""How many standard errors are noise. With 13 rows, three would cry wolf in one run of sixty."""
BLUNT = 0.10
"""A tolerance above this is told."""
ROOM = 256 << 20
"""bytes that the stores may need"""


class CannotTell(Exception):
    """Says why, and what to do about it, in one line."""


class Row(msgspec.Struct, frozen=True):
    """What several processes measured of one benchmark."""

    ratio: Annotated[float, msgspec.Meta(gt=0)]
    """CPU time of one operation over that of one message of the yardstick: median of the processes' medians"""
    spread: Annotated[float, msgspec.Meta(ge=0)]
    """how much processes differ, as a part of `ratio`: their standard deviation, estimated by the MAD"""
    processes: Annotated[int, msgspec.Meta(ge=1)]


class Machine(msgspec.Struct, frozen=True):
    """What ratios depend on besides the code. They cannot be compared where any of it differs."""

    cpu: str
    python: str
    compiler: str
    store: str
    """where the stores were made: in memory or on the disk"""


class Baseline(msgspec.Struct, frozen=True):
    """benchmarks/results/gate.json"""

    commit: str
    date: str
    machine: Machine
    rows: dict[str, Row]


class Line(msgspec.Struct, frozen=True):
    """One benchmark, then and now."""

    name: str
    before: Row | None
    now: Row | None
    verdict: str
    """ok, LOST, gain, new or gone"""

    @property
    def change(self) -> float:
        return self.now.ratio / self.before.ratio - 1 if self.before and self.now else 0.0

    @property
    def tolerance(self) -> float:
        return tolerance(self.before, self.now) if self.before and self.now else 0.0


Rows = Mapping[str, Row]
Say = Callable[[str], None]


# ---- arithmetic


def condense(medians: Sequence[float]) -> Row:
    """The processes' medians in one row."""
    ratio = statistics.median(medians)
    deviation = statistics.median(abs(each - ratio) for each in medians)
    # 1.4826 MAD is the standard deviation of what is distributed normally, and outliers do not disturb it.
    return Row(ratio, 1.4826 * deviation / ratio, len(medians))


def error(row: Row) -> float:
    """The median's standard error, as a part of it (of many normally distributed: sqrt(pi / 2) times the mean's)."""
    return float(1.2533 * row.spread / row.processes**0.5)


def tolerance(before: Row, now: Row) -> float:
    """The change that may be noise. Both measurements' errors count: they are independent."""
    return max(FLOOR, SIGMAS * float((error(before) ** 2 + error(now) ** 2) ** 0.5))


def compare(before: Rows, now: Rows) -> list[Line]:
    """In the order in which they are measured now; what is not measured any more comes last."""
    names = [*now, *(name for name in before if name not in now)]
    return [line_of(name, before.get(name), now.get(name)) for name in names]


def line_of(name: str, before: Row | None, now: Row | None) -> Line:
    line = Line(name, before, now, "ok")
    if before is None or now is None:
        verdict = "new" if before is None else "gone"
    elif abs(line.change) <= line.tolerance:
        verdict = "ok"
    else:
        verdict = "LOST" if line.change > 0 else "gain"
    return Line(name, before, now, verdict)


def judge(before: Rows, measure: Callable[[], Rows], say: Say) -> list[Line]:
    """Measure and compare. What looks lost is measured anew, and counts as lost if it looks so once more."""
    lines = compare(before, measure())
    suspects = [line.name for line in lines if line.verdict == "LOST"]
    if not suspects:
        return lines
    say(f"measured anew: {', '.join(suspects)}")
    # All of them, since what else is in the caches is a part of the conditions.
    anew = {line.name: line for line in compare(before, measure())}
    return [anew[line.name] if line.name in suspects else line for line in lines]


# ---- measuring


def measure(processes: int, say: Say) -> Rows:
    """Every row, in so many processes one after the other. Raises CannotTell where they fail."""
    medians: dict[str, list[float]] = {}
    command = [sys.executable, "-m", "benchmarks.gated", "--slices", str(SLICES), "--folder", folder()]
    for number in range(processes):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotTell(f"the benchmarks do not run: {done.stderr.strip().rpartition(chr(10))[2]}")
        for name, samples in json.loads(done.stdout).items():
            medians.setdefault(name, []).append(statistics.median(samples))
        say(f"process {number + 1} of {processes}")
    return {name: condense(each) for name, each in medians.items()}


def folder() -> str:
    """In memory, if there is room: what a disk and its file system cost is not ours."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
        return str(memory)
    return os.environ.get("TMPDIR", "/tmp")


def machine() -> Machine:
    known: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        known.setdefault(key.strip(), value.strip())
    cpu = known.get("model name", platform.machine())
    if "model" in known:
        cpu += f", family {known.get('cpu family')}, model {known['model']}"
    compiler = said(os.environ.get("CC", "cc"), "--version").partition("\n")[0]
    return Machine(cpu, platform.python_version(), compiler, "memory" if folder() == "/dev/shm" else "disk")


def said(*command: str) -> str:
    """What a program prints; nothing if there is none."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


# ---- the baseline


def read(path: Path) -> Baseline:
    """Raises CannotTell where there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except FileNotFoundError:
        raise CannotTell(f"there is no baseline {path}: make one with --update") from None
    except (OSError, msgspec.DecodeError) as error:
        raise CannotTell(f"the baseline {path} cannot be read ({error}): restore it, or make it with --update") from None


def write(path: Path, rows: Rows) -> None:
    """A new baseline, in place of the old one in one step."""
    commit = said("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") or "unknown"
    made = Baseline(commit, datetime.now(UTC).isoformat(timespec="seconds"), machine(), dict(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    beside.replace(path)


def check_machine(made: Baseline, path: Path) -> None:
    """Raises CannotTell where the baseline is another machine's.

    How much ratios differ between two processors is not known, and is more than the losses that are looked for.
    """
    there, here = msgspec.structs.asdict(made.machine), msgspec.structs.asdict(machine())
    differing = ", ".join(f"{key} {there[key]!r} there and {here[key]!r} here" for key in here if here[key] != there[key])
    if differing:
        raise CannotTell(
            f"{path.name} was made elsewhere ({differing}): make one here, of the commit to compare with, "
            "by --update --baseline FILE in a work tree of it, and compare with --baseline FILE"
        )


# ---- what is told


def table(lines: Sequence[Line]) -> Iterator[str]:
    width = max(len(line.name) for line in lines)
    yield f"{'':{width}}  {'baseline':>10}  {'now':>10}  {'change':>8}  {'noise to':>8}"
    for line in lines:
        before = f"{line.before.ratio:10.4f}" if line.before else f"{'-':>10}"
        now = f"{line.now.ratio:10.4f}" if line.now else f"{'-':>10}"
        both = f"{line.change:+8.1%}  {line.tolerance:8.1%}" if line.before and line.now else f"{'':8}  {'':8}"
        yield f"{line.name:{width}}  {before}  {now}  {both}  {line.verdict}"


def findings(lines: Sequence[Line]) -> Iterator[str]:
    """A line for each that is not simply as before."""
    for line in lines:
        if line.verdict == "LOST":
            yield f"lost: {line.name} costs {line.change:.1%} more; up to {line.tolerance:.1%} may be noise"
        elif line.verdict == "gain":
            yield f"gained: {line.name} costs {-line.change:.1%} less; --update keeps it from being lost again"
        elif line.verdict == "new":
            yield f"not compared: {line.name} is not in the baseline; --update adds it"
        elif line.verdict == "gone":
            yield f"not compared: {line.name} is in the baseline, but nothing measures it; --update removes it"
        if line.tolerance > BLUNT and line.verdict != "LOST":
            yield f"blunt: {line.name} could lose {line.tolerance:.0%} unseen; a quieter machine or more --processes help"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ci/bench_gate.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--update", action="store_true", help="make the baseline anew, with twice the processes")
    parser.add_argument("--baseline", metavar="FILE", type=Path, default=BASELINE, help="another than gate.json")
    parser.add_argument("--processes", metavar="N", type=int, default=PROCESSES, help=f"at least 5 ({PROCESSES})")
    parser.add_argument("--quiet", action="store_true", help="say nothing while measuring")
    return parser


Measure = Callable[[int, Say], Rows]


def main(arguments: Sequence[str] | None = None, measure: Measure = measure) -> int:
    options = parser().parse_args(arguments)
    if options.processes < 5:
        parser().error("--processes: fewer than 5 say nothing of the noise")
    say: Say = (lambda line: None) if options.quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    try:
        if options.update:
            write(options.baseline, measure(2 * options.processes, say))
            print(f"written: {options.baseline}")
            return 0
        made = read(options.baseline)
        check_machine(made, options.baseline)
        lines = judge(made.rows, lambda: measure(options.processes, say), say)
    except CannotTell as error:
        print(f"cannot tell: {error}", file=sys.stderr)
        return 2
    print(f"baseline: {made.commit}, {made.date}")
    print("\n".join([*table(lines), *findings(lines)]))
    return 1 if any(line.verdict == "LOST" for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
