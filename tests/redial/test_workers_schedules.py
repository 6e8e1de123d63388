"""Random schedules with several workers: the redial completes exactly once, also while workers die one by one.

What that means is in test_schedules.py, which has the same for one.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from net import scene
from net.cluster import Cluster, Death
from net.network import seeds
from net.stores import FlakyStore
from test_schedules import ROUGH, play, random_crashes

SCENARIOS = [{}, {"callers": 3}, {"callers": 3, "order": "all"}, {"behind": True}]
NAMES = ["one", "serial", "all", "behind"]


@pytest.fixture(autouse=True, params=[(2, 3, 1), (4, 5, 10)], ids=["2 workers", "4 workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "Server", Cluster)
    for name, value in zip(("workers", "salt", "delay"), request.param, strict=True):
        monkeypatch.setattr(Cluster, name, value)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_over_rough_lines(scenario: dict[str, Any]) -> None:
    for seed in seeds(70_000, 60):
        play(seed, line=ROUGH, **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_with_restarts_of_them_all(scenario: dict[str, Any]) -> None:
    for seed in seeds(71_000, 60):
        play(seed, line=ROUGH, crashes=random_crashes(seed, 50), **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_while_workers_die(scenario: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds(72_000, 60):
        draw = random.Random(seed)
        deaths = [
            Death(draw.randint(0, 15_000), draw.randrange(Cluster.workers), draw.choice((50, 400, 3_000)), losing)
            for losing in draw.choices((False, True), k=draw.randint(1, 4))
        ]
        monkeypatch.setattr(Cluster, "deaths", deaths)
        play(seed, line=ROUGH, **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_on_a_store_that_fails_now_and_then(scenario: dict[str, Any]) -> None:
    for seed in seeds(73_000, 40):
        play(seed, line=ROUGH, store=FlakyStore(seed, 4), expires=120, **scenario)
