"""`make crash`: kill the server for some minutes, and see that nothing that was acknowledged is lost or done twice.

Exit status: 0 nothing was; 1 something was, and the folder with data and logs is left; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from peers.machine import Machine

from .epochs import damage, epoch
from .town import Failed, Town

MOST_DONE = 40  # of what was done to the server, what is shown where something is wrong


def play(folder: Path, *, seed: int, seconds: float, callers: int, kills: int, workers: int, show: bool = True) -> Town:
    """Epochs in one town for about so long, one at the least; then damage."""
    die = random.Random(seed)
    town = Town(folder, Machine(folder), workers, callers)
    end, number = time.monotonic() + seconds, 0
    try:
        while number == 0 or time.monotonic() < end:
            began, number = time.monotonic(), number + 1
            epoch(town, die, kills)
            if show:
                print(
                    f"  {workers} worker{'s' * (workers > 1)}, epoch {number} "
                    f"({time.monotonic() - began:.0f} s): {figures(town.counts)}",
                    flush=True,
                )
            if town.wrong:
                break
        if not town.wrong:
            damage(town, die, 20 if seconds > 60 else 5)
    except (Failed, AssertionError) as failure:
        town.lost([str(failure)])
    finally:
        town.close()
    if show and town.wrong:
        print("\n".join([*town.done[-MOST_DONE:], *town.wrong]), flush=True)
    return town


def figures(counts: Counter[str]) -> str:
    """The counts in one line."""
    order = ("kills", "stops", "ends", "full disks", "steps", "boots", "damaged", "refused", "acknowledged", "recalled")
    always = ("lost", "twice")
    return ", ".join(f"{counts[name]} {name}" for name in (*order, *always) if counts[name] or name in always)


def main() -> int:
    """Run it by a command line."""
    parser = argparse.ArgumentParser(prog="crash", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="about how long (300)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what is done, and when")
    parser.add_argument("--callers", type=int, default=24, help="phones that call; half as many are called (24)")
    parser.add_argument("--kills", type=int, default=16, help="in each epoch (16)")
    parser.add_argument("--workers", type=int, choices=(1, 2, 3, 4), help="so many only (1 and then 2)")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sipfast-crash-"))
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    several = (chosen.workers,) if chosen.workers else (1, 2)
    print(f"crash: seed {chosen.seed}, {chosen.seconds:g} s", flush=True)
    for workers in several:
        place = folder / str(workers)
        place.mkdir()
        town = play(
            place, seed=chosen.seed, seconds=chosen.seconds / len(several), callers=chosen.callers, kills=chosen.kills,
            workers=workers,
        )  # fmt: skip
        counts += town.counts
        wrong += town.wrong
    print(f"crash: {figures(counts)}")
    if wrong:
        print(f"crash: again with --seed {chosen.seed}; data and logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
