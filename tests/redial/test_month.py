"""A month of random life (`tests/month`): no watch is spent without cause, and none outlives its period.

What that means is in month/chronicle.py; `make month` plays others, for as long as one likes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import environment
from month.chronicle import Life
from month.resident import HOUR, KINDS, MINUTE
from month.town import Month, Plan
from msgspec.structs import replace

from sipfast.observe.steps import Step

TESTS = Path(__file__).parent.parent
PLANS = [Plan(1, 30, 10), Plan(2, 5, 24), Plan(3, 5, 14, workers=3)]
SHORT = Plan(4, 0.5, 20, workers=3)
DAY = Plan(5, 0.6, 20)


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_no_watch_is_spent_without_cause(plan: Plan) -> None:
    month = Month(plan)
    month.play()
    assert not month.chronicle.wrong, "\n".join([*month.chronicle.wrong[:5], plan.again()])
    # It was a life: something of each kind has happened.
    counts, ends = month.chronicle.counts, month.chronicle.ends
    assert month.server.restarts and counts["armed"] > 100 and counts["claimed"] > 100
    assert counts["suspended"] and counts["failed"] and counts["climbed"] and counts["renewed"]
    assert {"answered", "monitoring period over", "cancelled by the caller"} <= set(ends)


def test_a_month_is_the_same_each_time() -> None:
    """To the byte, in another process with other hashes, too."""
    month = Month(SHORT)
    month.play()
    assert month.datagrams > 1_000
    arguments = ["--seed", str(SHORT.seed), "--days", str(SHORT.days), "--people", str(SHORT.people), "--workers", "3"]
    command = [sys.executable, "-m", "month", "--months", "1", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=TESTS, check=False,
        env={**environment(), "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert month.digest.hexdigest()[:16] in done.stdout


def test_all_phones_of_the_table_live_there() -> None:
    assert {person.kind for person in Month(Plan(1, people=len(KINDS))).people.values()} == set(KINDS)


def once_watched(plan: Plan, what: Callable[[Month, Life], None]) -> Month:
    """A day in which something is done as soon as there is a watch."""
    month = Month(plan)

    def look() -> None:
        if month.chronicle.open:
            what(month, next(iter(month.chronicle.open.values())))
        else:
            month.network.after(MINUTE, look)

    look()
    month.play(afterwards=False)
    return month


def aors(life: Life) -> tuple[bytes, bytes]:
    return f"sip:{life.callee}@example.com".encode(), f"sip:{life.caller}@example.com".encode()


def test_a_watch_that_vanishes_is_seen() -> None:
    def lose(month: Month, life: Life) -> None:
        month.server.store.delete_watch(*aors(life))
        month.server.store.commit()

    assert any("vanished" in each for each in once_watched(DAY, lose).chronicle.wrong)


@pytest.mark.parametrize(
    "reason", ["answered", "attempts used up", "call got 603 Decline: declined", "cancelled by the caller", "told"]
)
def test_an_end_without_cause_is_seen(reason: str) -> None:
    def lie(month: Month, life: Life) -> None:
        step = Step("ended", 0, *aors(life), life.armed_at, life.expires_at, b"NL", 0, reason=reason)
        month.chronicle.hear(step)

    assert any(f"ended without cause: {reason}" in each for each in once_watched(DAY, lie).chronicle.wrong)


def test_a_recall_that_never_comes_is_seen() -> None:
    """The server is told that it is to wait for ever: two who are ready have no call."""

    def delay(month: Month, life: Life) -> None:
        store = month.server.store
        for watch in [*store.each_watch()]:
            if watch.state == "armed" and watch.expires_at - month.network.now > HOUR:
                store.put_watch(replace(watch.unpacked(), not_before=watch.expires_at - 1, pauses=10))
        store.commit()
        month.network.after(MINUTE, delay, month, life)

    assert any("both ready" in each for each in once_watched(Plan(5, 2, 24), delay).chronicle.wrong)
