"""In front of another server with every phone behind a NAT of its own: all of test_upstream.py holds there, too."""

from __future__ import annotations

import pytest
from net.scene import NATS, Scene
from test_upstream import *  # noqa: F403


@pytest.fixture(autouse=True, params=NATS.values(), ids=NATS)
def nat(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "nat", request.param)
