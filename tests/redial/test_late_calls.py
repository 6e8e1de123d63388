"""`callback` and `b2bua` with a store that answers later, with several batches under way."""

from __future__ import annotations

from typing import Any

import pytest
from net import scene
from net.late import LateServer
from net.network import replay, seeds
from net.recalling import ALONE, IDLE, LADDER, arm_surely, checked, connect, joined, over, people, set_up, settle


@pytest.fixture(autouse=True, params=[0, 4], ids=["kept", "lost now and then"])
def late(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "Server", LateServer)
    monkeypatch.setattr(LateServer, "odds", request.param)


@pytest.mark.parametrize("redial", [{}, {"start": "ring"}, {"methods": ("refer", "callback")}], ids=["dial", "ring", "both"])
def test_callback(redial: dict[str, Any]) -> None:
    for seed in seeds(0, 12):
        one = set_up({}, redial, seed=seed)
        try:
            arm_surely(one)
            one.bob.register(120)
            settle(one)
            checked(one, 2)
        except AssertionError as error:
            raise AssertionError(replay(seed, one.network, error)) from error


@pytest.mark.parametrize("redial", [LADDER, ALONE], ids=["after callback", "alone"])
def test_b2bua(redial: dict[str, Any]) -> None:
    for seed in seeds(50, 12):
        one = set_up(IDLE, redial, seed=seed)
        try:
            near, far = connect(one)
            for phone, call in zip(people(one), (near, far), strict=True):
                for direction in ("sendonly", "sendrecv"):
                    phone.reinvite(call, direction)
                    one.run(5_000)
            assert joined(one)
            one.bob.hang_up(far)
            over(one)
        except (AssertionError, ValueError) as error:
            raise AssertionError(replay(seed, one.network, error)) from error
