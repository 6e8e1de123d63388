"""The timer wheel with a million timers armed.

Figures are for one operation. What `loops/wheel.pyx` calls is what compiled callers pay, `ns` in extra_info; the others go
through the Python face, which adds some 40 ns and, of a million, the memory of the handle's own int.
"""

import random
from itertools import count

import pytest

from sipfast._wheel import Timed, Wheel

from .build import built

NOW = 1_790_000_000_000
HOUR = 3_600_000
MILLION = 1_000_000
EACH = {"rounds": 50, "iterations": 2000, "warmup_rounds": 2}  # operations timed: rounds * iterations


class Owner(Timed):
    def expired(self, kind, payload, now):
        return 0


OWNER = Owner()
ROUNDS, LOOPS = 40, 5000


@pytest.fixture(scope="session")
def loops():
    return built("loops", "wheel")


def registrations(timers=MILLION):
    """Timers to be renewed or to run out between one and two hours from now; and their handles."""
    chance = random.Random(1)
    wheel = Wheel(NOW)
    return wheel, [wheel.schedule(NOW + HOUR + chance.randrange(HOUR), OWNER, 1) for _ in range(timers)]


def run(benchmark, loop, *arguments):
    """One round is LOOPS operations."""
    result = benchmark.pedantic(loop, args=arguments, rounds=ROUNDS, warmup_rounds=0)
    if benchmark.enabled:
        benchmark.extra_info["ns"] = round(benchmark.stats.stats.median / LOOPS * 1e9, 1)
    return result


@pytest.fixture
def armed():
    return registrations()[0]


def test_schedule_compiled(benchmark, loops, armed):
    run(benchmark, loops.schedule, armed, NOW + 500, OWNER, LOOPS)


def test_schedule_and_cancel_compiled(benchmark, loops, armed):
    """As transactions do: each is cancelled soon, 100 others later. The two operations together."""
    run(benchmark, loops.schedule_and_cancel, armed, NOW + 500, OWNER, LOOPS, 100)


@pytest.mark.parametrize("order", ["as scheduled", "at random"])
def test_cancel_compiled(benchmark, loops, order):
    """At random, as renewals do: a timer that nobody has touched for long, and neighbours like it."""
    wheel, handles = registrations()
    if order == "at random":
        random.Random(2).shuffle(handles)
    to_cancel = loops.Handles(handles)
    assert run(benchmark, to_cancel.cancel, wheel, LOOPS) == LOOPS
    assert (MILLION - wheel.count) % LOOPS == 0


def test_schedule(benchmark, armed):
    benchmark.pedantic(armed.schedule, args=(NOW + 500, OWNER, 1), **EACH)


def test_cancel_the_latest(benchmark, armed):
    """As transactions do: what was scheduled a moment ago."""
    handles = [armed.schedule(NOW + 500 + i % 32_000, OWNER, 1) for i in range(52 * 2000 + 1)]
    benchmark.pedantic(map(armed.cancel, handles).__next__, **EACH)


def test_cancel_any_of_a_million(benchmark):
    """As renewals do: a timer that nobody touched for long. What is measured is the memory."""
    wheel, handles = registrations()
    random.Random(2).shuffle(handles)
    benchmark.pedantic(map(wheel.cancel, handles).__next__, **EACH)


def test_fire(benchmark, armed):
    """A millisecond passes and one timer fires."""
    timers = 52 * 2000
    for i in range(timers):
        armed.schedule(NOW + 1 + i, OWNER, 1)
    benchmark.pedantic(map(armed.advance, count(NOW + 1)).__next__, **EACH)
    assert armed.count == MILLION + (0 if benchmark.enabled else timers - 1)


def fired(wheel):
    """What schedules one for the next millisecond, which then comes."""
    now = NOW

    def run():
        nonlocal now
        now += 1
        wheel.schedule(now, OWNER, 1)
        wheel.advance(now)

    return run


def test_schedule_and_fire(benchmark, armed):
    benchmark.pedantic(fired(armed), **EACH)
    assert armed.count == MILLION


def test_a_millisecond_without_anything_due(benchmark, armed):
    benchmark.pedantic(map(armed.advance, count(NOW + 1)).__next__, **EACH)


def test_a_day_without_anything_due(benchmark):
    wheel = Wheel(NOW)
    wheel.schedule(NOW + 12 * 24 * HOUR, OWNER)
    benchmark.pedantic(map(wheel.advance, count(NOW, 24 * HOUR)).__next__, rounds=12, iterations=1)
    assert wheel.count == 1


def test_deadline(benchmark, armed):
    benchmark.pedantic(armed.deadline, **EACH)
