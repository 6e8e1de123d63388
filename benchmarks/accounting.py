"""What the kernel knows of a server: the CPU time of all its processes, and the datagrams that it could not take."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for each in found:
        for children in PROC.glob(f"{each}/task/*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, that the process and its descendants have used."""
    total = 0.0
    for each in family(pid):
        total += _of_threads(each) or _of_process(each)
    return total


def _of_threads(pid: int) -> float:
    """By the scheduler's nanoseconds, where the kernel keeps them."""
    total = 0
    for path in PROC.glob(f"{pid}/task/*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total / 1e9


def _of_process(pid: int) -> float:
    """By the clock tick."""
    try:
        fields = PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kernel_drops(port: int) -> int:
    """Datagrams for UDP sockets bound to the port that found the receive buffer full, so far."""
    wanted = f":{port:04X}"
    rows = [line.split() for line in PROC.joinpath("net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1].endswith(wanted))


def busy_seconds() -> float:
    """CPU time that the whole machine has spent on anything, over all cores."""
    fields = PROC.joinpath("stat").read_text().split(maxsplit=9)[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> dict[str, int]:
    """Bytes of memory that the process has: VmRSS in all, RssAnon of its own, RssFile of files that it has mapped."""
    found = {}
    for line in PROC.joinpath(str(pid), "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon", "RssFile"):
            found[name] = int(value.split()[0]) * 1024
    return found
