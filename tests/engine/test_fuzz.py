"""A short run of the fuzzer on seeds that never change; `make fuzz` takes others, for as long as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command import environment
from fuzz.__main__ import KINDS, Found, Round
from fuzz.messages import Talker

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_raised_and_nothing_is_left(kind: str) -> None:
    # In a process of its own: what pytest keeps of the log has tracebacks, and these what their frames held.
    command = [sys.executable, "-m", "fuzz", "--seed", "1", "--kind", kind, "--rounds", "1", "--messages", "1500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=TESTS, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_round_is_the_same_each_time() -> None:
    one, other = Round(2, "workers", []), Round(2, "workers", [])
    one.play(300)
    other.play(300)
    assert one.talker.count == other.talker.count
    assert list(one.found) == list(other.found)


def test_what_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer sees what it is there for: an exception out of the engine."""
    game = Round(3, "alone", [])

    def broken(self: Talker) -> tuple[bytes, tuple[bytes, int]]:
        monkeypatch.undo()
        game.engines[0].close()
        game.engines[0].receive(None, None, 0)
        raise AssertionError("not reached")

    monkeypatch.setattr(Talker, "say", broken)
    with pytest.raises(Found, match='make fuzz ARGS="--seed 3 --kind alone --rounds 1"'):
        game.play(300)
