"""Random schedules with several workers and a store that answers later: the redial completes exactly once.

What that means is in test_schedules.py. Batches of several workers are under way at a time, are lost, and are in conflict.
"""

from __future__ import annotations

from typing import Any

import pytest
from net import scene
from net.late_cluster import LateCluster
from net.network import seeds
from test_schedules import ROUGH, play

SCENARIOS: list[dict[str, Any]] = [{}, {"callers": 3}, {"callers": 3, "order": "all"}, {"behind": True}]
NAMES = ["one", "serial", "all", "behind"]


@pytest.fixture(autouse=True, params=[(2, 3, 30), (3, 5, 300)], ids=["2 workers, 30 ms", "3 workers, 300 ms"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "Server", LateCluster)
    for name, value in zip(("workers", "salt", "latency"), request.param, strict=True):
        monkeypatch.setattr(LateCluster, name, value)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_over_rough_lines(scenario: dict[str, Any]) -> None:
    several = 0
    for seed in seeds(83_000, 10):
        several += play(seed, line=ROUGH, **scenario).scene.server.by_several
    assert several > 10


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_batches_that_are_lost_or_in_conflict(scenario: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LateCluster, "odds", 4)
    lost = 0
    for seed in seeds(84_000, 10):
        counters = play(seed, line=ROUGH, expires=120, **scenario).scene.server.counters
        lost += counters["failed_commits"] + counters["conflicts"]
    assert lost > 15
