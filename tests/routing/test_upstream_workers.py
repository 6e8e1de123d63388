"""A server behind that does not answer, seen by several workers: all that test_upstream_down.py says of one holds of them,
too, and what one finds out the others know."""

from __future__ import annotations

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.phone import Phone
from test_upstream_down import *  # noqa: F403
from test_upstream_down import FIRST, PROBE, SECOND, TIMEOUT, Stage, lines

# Number of workers, who comes to which, ms that a notice takes
SPREADS = {"2 workers": (2, 0, 1), "4 workers": (4, 1, 1), "4 workers otherwise": (4, 9, 20)}


@pytest.fixture(autouse=True, params=SPREADS.values(), ids=SPREADS)
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    for name, value in zip(("workers", "salt", "delay"), request.param, strict=True):
        monkeypatch.setattr(Cluster, name, value)


def cluster_of(stage: Stage) -> Cluster:
    assert isinstance(stage.scene.server, Cluster)
    return stage.scene.server


def one_at_each(stage: Stage) -> list[Phone]:
    """Phones, one at each worker."""
    cluster, phones = cluster_of(stage), []
    for worker in range(cluster.workers):
        while cluster.home((f"10.0.1.{stage.scene._places + 1}", 5060)) != worker:
            stage.scene._places += 1
        phones.append(stage.scene.phone(f"phone{worker}"))
    return phones


def statuses(stage: Stage, phones: list[Phone], ms: int) -> list[int]:
    """What each is answered that calls somebody within `ms`; 0: nothing."""
    calls = [phone.call("carol") for phone in phones]
    stage.scene.run(ms)
    return [call.status for call in calls]


def test_what_one_finds_out_all_know(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(FIRST)
    phones = one_at_each(stage)
    stage.kill(0)
    assert statuses(stage, phones[-1:], TIMEOUT + 100) == [503]
    assert statuses(stage, phones, 100) == [503] * len(phones)
    assert lines(caplog) == [("upstream-down", "10.0.5.1:5060")]
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE)
    assert statuses(stage, phones, 100) == [480] * len(phones)
    assert lines(caplog) == [("upstream-down", "10.0.5.1:5060"), ("upstream-up", "10.0.5.1:5060")]


def test_all_choose_the_same_address() -> None:
    """Else one would look for a phone where another has not registered it."""
    stage = Stage(FIRST, SECOND)
    phones = one_at_each(stage)
    stage.kill(0)
    statuses(stage, phones[-1:], TIMEOUT + 100)
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE + 1_000)
    stage.network.trace.clear()
    assert statuses(stage, phones, 100) == [480] * len(phones)
    invites = [event for event in stage.network.trace if event.source == "server" and event.data.startswith(b"INVITE")]
    assert {event.target for event in invites} == {"up2"} and len(invites) == len(phones)


def test_a_worker_that_was_started_again_is_told() -> None:
    stage = Stage(FIRST, SECOND)
    phones = one_at_each(stage)
    for number in (0, 1):
        stage.kill(number)
    statuses(stage, phones[:1], 2 * TIMEOUT + 100)
    cluster = cluster_of(stage)
    last = cluster.workers - 1
    cluster.kill(last, stage.scene.now, 400)
    stage.scene.run(500)
    assert statuses(stage, phones[last:], 100) == [503]


def test_a_worker_that_was_started_again_chooses_as_the_others_do() -> None:
    stage = Stage(FIRST, SECOND)
    phones = one_at_each(stage)
    stage.kill(0)
    statuses(stage, phones[:1], TIMEOUT + 100)
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE + 1_000)
    cluster = cluster_of(stage)
    last = cluster.workers - 1
    cluster.kill(last, stage.scene.now, 400)
    stage.scene.run(500)
    stage.network.trace.clear()
    assert statuses(stage, phones[last:], 100) == [480]
    servers = {event.target for event in stage.network.trace if b"carol" in event.data} & {"up1", "up2"}
    assert servers == {"up2"}


def test_what_crosses_the_word_that_it_is_back_does_not_bring_it_down(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that hold it to be down say so at each probe: also while the one that probes hears its answer."""
    monkeypatch.setattr(Cluster, "delay", 50)
    stage = Stage(FIRST)
    phones = one_at_each(stage)
    stage.kill(0)
    statuses(stage, phones[-1:], TIMEOUT + 200)
    stage.scene.run(PROBE - 1_000)  # the first OPTIONS is repeated no more before the next one
    stage.network.plug(stage.servers[0])
    stage.scene.run(2 * PROBE)
    assert lines(caplog) == [("upstream-down", "10.0.5.1:5060"), ("upstream-up", "10.0.5.1:5060")]
    assert statuses(stage, phones, 100) == [480] * len(phones)
