"""python -m benchmarks.sipp: SIPp registers phones, calls them and has calls redialled, at a rate that you choose.

Against a sipfast of its own on loopback, or a server that you name. Shows how it gets on, then what SIPp and the server have
counted. Exit status: 0 if every call went as it should, 1 if one did not, 2 if nothing could be played.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..peers.servers import DOMAIN, HOST, answers, running
from ..run import OURS
from .loads import LOADS, Load, Play
from .phones import Count, Phones, SippMissing

EVERY = 1.0  # seconds between lines of progress


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    count: Count
    seconds: float | None
    """that it took; None where it began by waiting for others"""


class NotStarted(Exception):
    """The server does not answer; the text says why."""


def main() -> int:
    """Run it by a command line."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that SIPp and the server are ended, too
    rows: list[Row] = []
    fine = True
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipfast-sipp-")))
            address, data = _server(chosen, stack)
            before = _counters(data)
            load = Load(address, _local(address), chosen.domain, chosen.rate, chosen.calls, chosen.talk)
            for name in chosen.load or LOADS:
                fine = _play(name, load, folder, rows) and fine
            after = _counters(data)
    except (SippMissing, NotStarted) as error:
        print(f"sipp-load: {error}", file=sys.stderr)
        return 2
    print(_table(rows))
    print(_difference(before, after) if after else "\nserver: name its data directory (--data), and its counters are shown")
    return 0 if fine else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sipp", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("load", nargs="*", metavar="LOAD", help=f"{', '.join(LOADS)} (all of them)")
    parser.add_argument("--rate", type=int, default=100, help="of them a second (100)")
    parser.add_argument("--calls", type=int, default=1000, help="how many of each (1000)")
    parser.add_argument("--talk", type=int, default=200, metavar="MS", help="how long a call lasts, in milliseconds (200)")
    parser.add_argument("--server", metavar="HOST:PORT", help="play at this one instead of starting one")
    parser.add_argument("--domain", default=DOMAIN, help=f"of the users; the server has to serve it ({DOMAIN})")
    parser.add_argument("--data", type=Path, help="data directory of the server that is named, for its counters")
    parser.add_argument("--workers", type=int, default=1, help="of the server that is started (1)")
    chosen = parser.parse_args()
    wrong = [load for load in chosen.load if load not in LOADS]
    if wrong:
        parser.error(f"{wrong[0]!r} is no load: choose from {', '.join(LOADS)}")
    host, _, port = (chosen.server or "localhost:5060").rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"--server {chosen.server!r} is no HOST:PORT")
    if chosen.rate < 1 or chosen.calls < 1 or chosen.workers < 1 or chosen.talk < 0:
        parser.error("--rate, --calls and --workers are 1 at the least, --talk is 0")
    return chosen


def _server(chosen: argparse.Namespace, stack: ExitStack) -> tuple[str, Path | None]:
    """The address to play at, and the data directory where that is known. What it starts ends with the stack."""
    if chosen.server:
        host, _, number = chosen.server.rpartition(":")
        if not answers(int(number), host):
            raise NotStarted(f"nobody answers OPTIONS at {chosen.server}: start the server, or correct --server")
        return chosen.server, chosen.data
    options = ("--workers", str(chosen.workers), "--domain", chosen.domain)
    try:
        started = stack.enter_context(running(OURS, "call", None, options=options))
    except RuntimeError as error:
        raise NotStarted(str(error).strip().splitlines()[-1]) from error
    return f"{HOST}:{started.port}", started.folder / "data"


def _local(address: str) -> str:
    """Our own address on the way to another."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((host, int(port)))
        return str(way.getsockname()[0])


def _play(name: str, load: Load, folder: Path, rows: list[Row]) -> bool:
    print(f"{name}: {load.calls:,} at {load.rate:,} a second, at {load.server}", flush=True)

    def wait(what: str, phones: Phones, others: Iterable[Phones]) -> bool:
        return _watch(f"{name}: {what}", phones, others, load, rows)

    return LOADS[name](Play(load, folder, wait))


def _watch(what: str, phones: Phones, others: Iterable[Phones], load: Load, rows: list[Row]) -> bool:
    began = shown = time.monotonic()
    end = began + load.seconds
    count = phones.count()
    while phones.running and time.monotonic() < end:
        time.sleep(0.05)
        if time.monotonic() - shown >= EVERY:
            shown = time.monotonic()
            count = phones.count()
            print(f"  {shown - began:5.0f} s  {what}: {count.done:,} of {load.calls:,}, {count.failed:,} failed", flush=True)
            if not phones.begins and count.done + count.failed >= load.calls:
                break
    count = phones.count()
    rows.append(Row(what, count, time.monotonic() - began if phones.begins else None))
    fine = count.failed == 0 and count.done == load.calls
    for each in () if fine else (phones, *others):
        if complaint := each.complaint():
            print(f"  SIPp ({each.scenario}): {complaint}", flush=True)
    return fine


def _counters(data: Path | None) -> dict[str, int]:
    """What `sipfast stats` tells of a running server; nothing where its data directory is not known."""
    if data is None:
        return {}
    command = [sys.executable, "-m", "sipfast", "stats", "--json", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        print(f"sipp-load: {done.stderr.strip()}", file=sys.stderr)
        return {}
    total: dict[str, int] = json.loads(done.stdout)["total"]
    return total


def _table(rows: list[Row]) -> str:
    head = ("", "done", "failed", "sent again", "a second", "mean answer", "within 10 ms")
    lines = [head]
    for row in rows:
        count = row.count
        rate = f"{count.done / row.seconds:,.0f}" if row.seconds else "-"
        mean = f"{count.mean_ms:.0f} ms" if count.mean_ms >= 1 else "< 1 ms"
        lines.append((row.what, f"{count.done:,}", f"{count.failed:,}", f"{count.repeated:,}", rate, mean,
                      f"{count.within_10_ms:.0f} %"))  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n" + "\n".join(
        "  ".join(cell.rjust(widths[at]) if at else cell.ljust(widths[at]) for at, cell in enumerate(line)) for line in lines
    )


def _difference(before: dict[str, int], after: dict[str, int]) -> str:
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    width = max((len(name) for name in grown), default=0)
    return "\nserver, counted meanwhile:\n" + "\n".join(f"  {name:<{width}}  {value:+,}" for name, value in grown.items())


if __name__ == "__main__":
    sys.exit(main())
