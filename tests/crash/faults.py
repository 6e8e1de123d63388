"""What is done to the server and its machine while phones talk to it. Each returns when the town may go on."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable
from contextlib import suppress

from peers.machine import faketime, may_boot
from peers.phones import now

from .town import Town

DAY = 86_400_000
WRITTEN_AGAIN = 3_000  # ms after there is room again, by which all is written
TAKEN_LATE = 1_000  # ms: for so long what a phone has sent may wait in a socket of a busy machine
STEPS = (-400 * DAY, -13 * DAY, -3 * 3_600_000, -60_000, 60_000, 3 * 3_600_000, 400 * DAY)


def kill_all(town: Town, die: random.Random) -> None:
    """kill -9 of the server with all of its workers."""
    town.server.kill()
    _killed(town)
    town.restart()


def kill_supervisor(town: Town, die: random.Random) -> None:
    """kill -9 of the supervisor alone: its workers end by themselves."""
    if town.workers == 1:
        kill_all(town, die)
        return
    os.kill(town.server.pid, signal.SIGKILL)
    town.server.wait(5)
    _killed(town)
    town.restart()


def kill_worker(town: Town, die: random.Random) -> None:
    """kill -9 of one worker."""
    if town.workers == 1:
        kill_all(town, die)
        return
    workers = town.family()[1:]
    if workers:
        with suppress(ProcessLookupError):
            os.kill(die.choice(workers), signal.SIGKILL)
            _killed(town)


def stop_and_go(town: Town, die: random.Random) -> None:
    """SIGSTOP of a process or all of them, and SIGCONT after a while."""
    family = town.family()
    chosen = family if die.random() < 0.5 else [die.choice(family)]
    for process in chosen:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
    town.live(lambda: False, die.uniform(0.1, 0.8), "")
    for process in chosen:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    town.counts["stops"] += 1


def end(town: Town, die: random.Random) -> None:
    """SIGTERM, and a new start."""
    if town.server.stop(15) != 0:
        town.lost([f"a clean end: {town.server.story()}"])
    town.counts["ends"] += 1
    town.restart()


def full_disk(town: Town, die: random.Random) -> None:
    """No file can be written to for a while (RLIMIT_FSIZE); half of the times the server is killed then."""
    began = now()
    fill(town)
    town.live(lambda: False, die.uniform(0.1, 0.5), "")
    town.counts["full disks"] += 1
    if die.random() < 0.5:
        _was_full(town, began)
        kill_all(town, die)
        return
    make_room(town)
    _was_full(town, began)


def _was_full(town: Town, began: int) -> None:
    if town.full and began > town.full[-1][1] + WRITTEN_AGAIN:
        town.full.clear()
    town.full.append((began - TAKEN_LATE, now()))


def fill(town: Town) -> None:
    """From now on no file can be written to."""
    _limit(town, 4096)


def make_room(town: Town) -> None:
    """It can be again."""
    _limit(town, resource.RLIM_INFINITY)


def _limit(town: Town, most: int) -> None:
    # Twice: a worker that was started meanwhile has the former limit of the supervisor.
    for _ in range(2):
        for process in town.family():
            with suppress(ProcessLookupError, PermissionError):
                resource.prlimit(process, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def _killed(town: Town) -> None:
    """Count it. Of a call that was answered while the disk was full it may not be written yet that it ended its watch."""
    town.counts["kills"] += 1
    if town.full and now() < town.full[-1][1] + WRITTEN_AGAIN:
        town.unwritten += town.full  # each was followed by the next before what it kept was written
    town.full.clear()


def step(town: Town, die: random.Random) -> None:
    """Somebody sets the machine's clock."""
    town.machine.set(die.choice(STEPS))
    town.counts["steps"] += 1


def boot(town: Town, die: random.Random) -> None:
    """kill -9, and the machine comes back with a clock that says anything up to the right time."""
    town.server.kill()
    _killed(town)
    town.counts["boots"] += 1
    town.machine.boot()
    town.machine.set(min(die.choice(STEPS), 0))
    town.restart()


def all_of_them() -> list[Callable[[Town, random.Random], None]]:
    """Those that can be had here, the frequent ones more than once."""
    found = [kill_all] * 4 + [kill_worker] * 6 + [kill_supervisor] * 2 + [stop_and_go, end, full_disk, full_disk]
    if faketime():
        found += [step] * 2
        if may_boot():
            found += [boot]
    return found
