"""SIPp as a process: many phones at one port that all play one scenario, and what they have counted so far."""

from __future__ import annotations

import contextlib
import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..peers.servers import HOST, find, free_port

SCENARIOS = Path(__file__).parent
PATIENCE = 60  # seconds that the last calls may take after the last one has begun
HEADING = "The following events occurred:"  # of SIPp's file of errors
MOST_COMPLAINT = 300  # characters
BUFFER = 4 << 20  # bytes of SIPp's socket buffers


class SippMissing(Exception):
    """SIPp is not installed; the text says what to install."""


@dataclass(frozen=True)
class Count:
    """What SIPp counts, since its start."""

    done: int = 0
    failed: int = 0
    repeated: int = 0
    """messages that it sent again, since no answer came in time"""
    mean_ms: float = 0.0
    """from the first request to its answer; SIPp counts whole milliseconds, so 0 is less than one"""
    within_10_ms: float = 0.0
    """share of the answers, in per cent"""


class Phones:
    """One SIPp. With a `rate` it begins `calls` calls and ends with the last; else it waits for calls until it is ended.

    Either ends by itself after `seconds`. Raises SippMissing.
    """

    def __init__(
        self,
        scenario: str,
        folder: Path,
        *,
        server: str,
        local: str,
        calls: int,
        seconds: float,
        rate: int = 0,
        users: Path | None = None,
        talk_ms: int = 0,
        keys: dict[str, str] | None = None,
    ):
        program = find("sipp")
        if program is None:
            raise SippMissing("sipp is not installed: apt-get install sip-tester, or put it into PATH")
        self.port = free_port()
        self.scenario = scenario
        name = f"{scenario}-{self.port}"
        self._statistics, self._errors = folder / f"{name}.csv", folder / f"{name}.errors"
        argv = [program, "-sf", str(SCENARIOS / f"{scenario}.xml"), "-d", str(talk_ms)]
        argv += ["-i", local, "-p", str(self.port), "-bind_local", "-ci", HOST, "-cp", str(free_port()), "-nostdin"]
        argv += ["-trace_stat", "-stf", str(self._statistics), "-fd", "1", "-buff_size", str(BUFFER)]
        argv += ["-trace_err", "-error_file", str(self._errors), "-timeout", f"{seconds:.0f}s", "-timeout_error"]
        self.begins = rate > 0
        """whether it begins the calls, and does not wait for them"""
        if self.begins:
            argv += ["-r", str(rate), "-l", str(calls), "-m", str(calls)]
        else:
            argv.append("-aa")  # a server may ask a new address whether somebody is there (OPTIONS)
        if users is not None:
            argv += ["-inf", str(users)]
        for key, value in (keys or {}).items():
            argv += ["-key", key, value]
        if self.begins:
            argv.append(server)
        with (folder / f"{name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={"TERM": "dumb"}
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """End it, whatever it is doing."""
        if self.running:
            self._process.kill()
        self._process.wait()

    def count(self) -> Count:
        """What it has counted, at most a second ago; all of it once it has ended."""
        with contextlib.suppress(OSError):
            with self._statistics.open(newline="") as file:
                rows = [row for row in csv.DictReader(file, delimiter=";") if row.get("FailedCall(C)")]
            if rows:
                return _read(rows[-1])
        return Count()

    def complaint(self) -> str:
        """The first thing that went wrong, in a line; empty where nothing did."""
        with contextlib.suppress(OSError):
            for line in self._errors.read_text(errors="replace").splitlines():
                if line.strip() and line.strip() != HEADING:
                    return line.strip()[:MOST_COMPLAINT]
        return ""


def _read(row: dict[str, str]) -> Count:
    times = {name: float(value or 0) for name, value in row.items() if name and name.startswith("ResponseTimeRepartition1_")}
    quick = sum(value for name, value in times.items() if name.endswith(("<1", "<2", "<5", "<10")))
    return Count(
        done=int(row["SuccessfulCall(C)"]),
        failed=int(row["FailedCall(C)"]),
        repeated=int(row["Retransmissions(C)"]),
        mean_ms=_milliseconds(row["ResponseTime1(C)"]),
        within_10_ms=100 * quick / sum(times.values()) if sum(times.values()) else 0.0,
    )


def _milliseconds(clock: str) -> float:
    """Of hours:minutes:seconds:microseconds."""
    hours, minutes, seconds, micro = (float(part) for part in clock.split(":"))
    return (hours * 3600 + minutes * 60 + seconds) * 1000 + micro / 1000
