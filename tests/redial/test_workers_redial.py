"""Automatic redial by 2 and by 4 workers: all that test_redial.py and test_recall.py say of one holds of them, too."""

from __future__ import annotations

import pytest
from net import scene
from net.cluster import Cluster
from test_recall import *  # noqa: F403
from test_redial import *  # noqa: F403

# Number of workers, who comes to which, ms that a notice takes
SPREADS = {
    "2 workers": (2, 0, 1),
    "2 workers otherwise": (2, 7, 20),
    "4 workers": (4, 1, 1),
    "4 workers otherwise": (4, 9, 20),
}


@pytest.fixture(autouse=True, params=SPREADS.values(), ids=SPREADS)
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "Server", Cluster)
    for name, value in zip(("workers", "salt", "delay"), request.param, strict=True):
        monkeypatch.setattr(Cluster, name, value)
