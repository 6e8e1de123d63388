"""How the command line shows things to people and to programs: times, people, tables, JSON, and what is wrong."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from ..observe.printable import printable, text_of

OWN_PROGRAM = "sipfast"
DONE, FAILED, WRONG = 0, 1, 2
"""The exit status: done; not found, or failed while running; wrong usage, configuration or data, and nothing was done."""


def person(address: bytes) -> str:
    """An AOR as people write it."""
    return text_of(address).removeprefix("sip:")


def iso(at: int) -> str:
    """A time for programs: ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(at: int) -> str:
    """A time for people: ISO 8601, local."""
    return datetime.fromtimestamp(at // 1000, UTC).astimezone().isoformat(sep=" ")


def until(at: int, now: int, ahead: int) -> str:
    """A time to come, and how far off it is."""
    return f"{local(at + ahead)} (in {duration((at - now) // 1000)})"


def duration(seconds: int) -> str:
    """A length of time in one or two units, rounded down."""
    if seconds < 60:
        return f"{max(seconds, 0)} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> int:
    """Aligned columns, or a line that says that there are none."""
    if not rows:
        print(empty)
        return 0
    lines = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def print_json(rows: Iterable[dict[str, Any]]) -> int:
    """All rows as one JSON array, a row a line."""
    lines = [as_json(row) for row in rows]
    print("[" + ",\n ".join(lines) + "]")
    return 0


def as_json(value: object) -> str:
    """JSON with escapes, which a reader takes back, for all that is not printable; json.dumps leaves C1 controls alone."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def complain(error: object, status: int) -> int:
    """Say what is wrong in one line; returns the status."""
    print(f"{OWN_PROGRAM}: {printable(str(error))}", file=sys.stderr)
    return status


def silence(stream: TextIO) -> None:
    """Let what is still to be printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
