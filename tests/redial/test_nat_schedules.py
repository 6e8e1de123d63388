"""Random schedules with every phone behind a NAT: the redial completes exactly once there, too, over rough lines and with
restarts, and while the NATs rebind. What exactly once means is in test_schedules.py."""

from __future__ import annotations

from typing import Any

import pytest
from net.network import seeds
from net.scene import NATS, Scene
from test_schedules import ROUGH, play, random_crashes

SCENARIOS = [{}, {"callers": 3}, {"callers": 3, "order": "all"}, {"behind": True}]
NAMES = ["one", "serial", "all", "behind"]


@pytest.fixture(autouse=True, params=NATS.values(), ids=NATS)
def nat(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "nat", request.param)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_over_rough_lines(scenario: dict[str, Any]) -> None:
    for seed in seeds(80_000, 40):
        play(seed, line=ROUGH, **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_with_restarts(scenario: dict[str, Any]) -> None:
    for seed in seeds(81_000, 40):
        play(seed, line=ROUGH, crashes=random_crashes(seed, 50), **scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_while_nats_rebind(scenario: dict[str, Any]) -> None:
    for seed in seeds(82_000, 40):
        play(seed, line=ROUGH, rebindings=3, **scenario)
