"""Random schedules with a store that answers later: the redial completes exactly once, with several batches under way.

What that means is in test_schedules.py. Here batches are lost and in conflict as well, and so are those that built on them.
"""

from __future__ import annotations

from typing import Any

import pytest
from net import scene
from net.late import LateServer
from net.network import seeds
from test_schedules import ROUGH, play, random_crashes

SCENARIOS: list[dict[str, Any]] = [{}, {"callers": 3}, {"callers": 3, "order": "all"}, {"behind": True}]
NAMES = ["one", "serial", "all", "behind"]


@pytest.fixture(autouse=True, params=[(30, False), (300, True)], ids=["30 ms", "300 ms, and as long to fetch"])
def late(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "Server", LateServer)
    for name, value in zip(("latency", "far"), request.param, strict=True):
        monkeypatch.setattr(LateServer, name, value)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_over_rough_lines(scenario: dict[str, Any]) -> None:
    for seed in seeds(80_000, 15):
        play(seed, line=ROUGH, **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_with_crashes(scenario: dict[str, Any]) -> None:
    for seed in seeds(81_000, 15):
        play(seed, line=ROUGH, crashes=random_crashes(seed, 50), **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_batches_that_are_lost_or_in_conflict(scenario: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As test_a_store_that_fails_now_and_then has it: the next refresh makes up for what was learned in vain."""
    monkeypatch.setattr(LateServer, "odds", 4)
    lost = 0
    for seed in seeds(82_000, 15):
        found = play(seed, line=ROUGH, expires=120, **scenario)
        counters = found.scene.server.counters
        lost += counters["failed_commits"] + counters["conflicts"]
    assert lost > 20
