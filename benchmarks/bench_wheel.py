"""The timer wheel with a million timers armed. Figures are for one operation, through the Python face.

Calling a method from Python costs some 40 ns of each figure; compiled callers do not pay it.
"""

import random
from itertools import count

import pytest

from sipfast._wheel import Timed, Wheel

NOW = 1_790_000_000_000
HOUR = 3_600_000
MILLION = 1_000_000
EACH = {"rounds": 50, "iterations": 2000, "warmup_rounds": 2}  # operations timed: rounds * iterations


class Owner(Timed):
    def expired(self, kind, payload, now):
        return 0


OWNER = Owner()


@pytest.fixture
def armed():
    """A million registrations, to be renewed or to run out between one and two hours from now."""
    chance = random.Random(1)
    wheel = Wheel(NOW)
    for _ in range(MILLION):
        wheel.schedule(NOW + HOUR + chance.randrange(HOUR), OWNER, 1)
    return wheel


def test_schedule(benchmark, armed):
    benchmark.pedantic(armed.schedule, args=(NOW + 500, OWNER, 1), **EACH)


def test_cancel_the_latest(benchmark, armed):
    """As transactions do: what was scheduled a moment ago."""
    handles = [armed.schedule(NOW + 500 + i % 32_000, OWNER, 1) for i in range(52 * 2000 + 1)]
    benchmark.pedantic(map(armed.cancel, handles).__next__, **EACH)


def test_cancel_any_of_a_million(benchmark):
    """As renewals do: a timer that nobody touched for long. What is measured is the memory."""
    chance = random.Random(1)
    wheel = Wheel(NOW)
    handles = [wheel.schedule(NOW + HOUR + chance.randrange(HOUR), OWNER, 1) for _ in range(MILLION)]
    chance.shuffle(handles)
    benchmark.pedantic(map(wheel.cancel, handles).__next__, **EACH)


def test_fire(benchmark, armed):
    """A millisecond passes and one timer fires."""
    for i in range(52 * 2000):
        armed.schedule(NOW + 1 + i, OWNER, 1)
    benchmark.pedantic(map(armed.advance, count(NOW + 1)).__next__, **EACH)
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
