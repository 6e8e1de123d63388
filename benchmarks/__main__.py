"""python -m benchmarks: sipfast, Kamailio and the kernel's limit side by side; a table, JSON and plots."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from . import many, scale, storm, waiting, workers
from .report import into_readme, plot, table
from .run import QUICK, ROWS, Plan, compare

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")), help="about five minutes")
    parser.add_argument("--rows", metavar="MODE", nargs="+", choices=[row.mode for row in ROWS], help="only these")
    parser.add_argument("--rounds", type=int, help="how often each server is measured")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes")
    parser.add_argument("--patience", type=float, help="seconds to wait at the most for a quiet machine, before each")
    parser.add_argument("--output", metavar="DIR", type=Path, help="where JSON, table and plots go (benchmarks/results)")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    changes = {"rounds": arguments.rounds, "seconds": arguments.seconds, "modes": arguments.rows}
    changes["patience"] = arguments.patience
    changes["side_rounds"] = arguments.rounds
    plan = replace(plan, **{name: value for name, value in changes.items() if value})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended, too
    whole = plan == Plan(patience=plan.patience)
    # Only the whole comparison replaces the results that are kept.
    folder = arguments.output or (RESULTS if whole else RESULTS / "partial")
    folder.mkdir(parents=True, exist_ok=True)
    found = compare(plan, say)
    (folder / "comparison.json").write_text(json.dumps(found, indent=1) + "\n")
    text = table(found)
    (folder / "comparison.md").write_text(text)
    plots = plot(found, folder, "comparison")
    if folder == RESULTS:
        into_readme(RESULTS.parent.parent / "README.md", found)
    print(text)
    if "redial" in plan.modes:
        plots += wait(plan, folder)
    beside = (
        ("many", many, many.compare_many),
        ("workers", workers, workers.compare_workers),
        ("scale", scale, scale.compare_scale),
        ("storm", storm, storm.compare_storm),
    )
    for name, part, compared in beside:
        measured = compared(plan, say)
        if measured is not None:
            keep(name, part, measured, folder)
    print(f"written to {folder}: JSON, tables, {', '.join(path.name for path in plots)}")
    return 0


def wait(plan: Plan, folder: Path) -> list[Path]:
    """What waiting costs, into files of its own."""
    found = waiting.compare_waiting(plan, say)
    if found is None:
        say("what waiting costs is left out: nobody here plays presence")
        return []
    keep("waiting", waiting, found, folder)
    return waiting.plot(found, folder)


def keep(name: str, part: ModuleType, found: dict[str, Any], folder: Path) -> None:
    """JSON and table of a part of the suite, which the README shows where it was the whole suite that ran."""
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / f"{name}.md").write_text(part.table(found))
    if folder == RESULTS:
        part.into_readme(RESULTS.parent.parent / "README.md", found)
    print(part.table(found))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
