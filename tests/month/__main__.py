"""`make month`: months of random life around a server, and whether any watch was spent without cause or outlived its period.

Exit status: 0 none was; 1 one was, and it is told with its story; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from month.town import Month, Plan


def run(plan: Plan) -> Month:
    """One month, told in one line, and what is wrong in it."""
    begun = time.process_time()
    month = Month(plan)
    month.play()
    print(f"{plan}: {month.figures()}, {time.process_time() - begun:.0f} s, {month.digest.hexdigest()[:16]}", flush=True)
    for each in month.chronicle.wrong:
        print(f"WRONG {each}")
    if month.chronicle.wrong:
        print(f"again: {plan.again()}", flush=True)
    return month


def main() -> int:
    """Run it by a command line."""
    parser = argparse.ArgumentParser(prog="month", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000_000, help="of the first month")
    parser.add_argument("--months", type=int, default=1 << 62, help="how many at the most, each with the next seed")
    parser.add_argument("--seconds", type=float, default=300, help="after which no other is begun (300)")
    parser.add_argument("--days", type=float, default=30, help="of each (30)")
    parser.add_argument("--people", type=int, default=24, help="in each (24)")
    parser.add_argument("--workers", type=int, help="of the server (1 and 3 in turns)")
    given = parser.parse_args()
    begun, wrong = time.monotonic(), 0
    for number in range(given.months):
        if number and time.monotonic() - begun > given.seconds:
            break
        plan = Plan(given.seed + number, given.days, given.people, given.workers or 1)
        if not given.workers and number % 2:
            plan = replace(plan, workers=3)
        wrong += len(run(plan).chronicle.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
