"""Memory that a flood took is given back once it is over, and not in the middle of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sipfast.node.memory import ENOUGH, Trimmer

MB = 1 << 20


def test_it_is_given_back_once_what_was_kept_has_fallen() -> None:
    trims: list[int] = []
    trimmer = Trimmer(lambda: trims.append(1))
    seen = [trimmer.look(held * MB) for held in (1, 60, 200, 120, 30, 10, 1, 1, 60, 0)]
    assert seen == [False, False, False, False, False, True, False, False, False, True]
    assert len(trims) == 2


def test_where_little_was_kept_nothing_is_done() -> None:
    trimmer = Trimmer(lambda: pytest.fail("trimmed"))
    assert not any(trimmer.look(held) for held in (0, ENOUGH - 1, 0))


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_the_machine_has_it_back() -> None:
    # Pieces of the size of a message, one in a hundred of which stays: so the heap's end does not fall by itself.
    code = """
import re
from sipfast.node.memory import trim
def resident(): return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
many = [bytes(3000) for _ in range(50_000)]
kept = many[::100]
del many
before = resident()
trim()
print(before, resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 100
    assert after < 50
