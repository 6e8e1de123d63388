"""Automatic redial with every phone behind a NAT of its own, all at one private address: all of test_redial.py and
test_recall.py holds there, too."""

from __future__ import annotations

import pytest
from net.scene import NATS, Scene
from test_recall import *  # noqa: F403
from test_redial import *  # noqa: F403


@pytest.fixture(autouse=True, params=NATS.values(), ids=NATS)
def nat(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "nat", request.param)
