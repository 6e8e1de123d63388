"""`callback` and `b2bua` with several workers: what comes for a dialog of the server's own finds the worker that has it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import test_b2bua
from net import scene
from net.cluster import Cluster, Death
from net.network import Line, replay, seeds
from net.recalling import (
    ALONE,
    IDLE,
    LADDER,
    arm_surely,
    checked,
    connect,
    joined,
    over,
    people,
    play,
    scene_of,
    set_up,
    settle,
)
from net.stubborn import PHONES

ROUGH = Line(latency=(1, 40), loss=0.08, reorder=0.1, late=400, duplicate=0.1)


@pytest.fixture(autouse=True, params=[(2, 3, 1), (4, 5, 10)], ids=["2 workers", "4 workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "Server", Cluster)
    for name, value in zip(("workers", "salt", "delay"), request.param, strict=True):
        monkeypatch.setattr(Cluster, name, value)


def salts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The peers' datagrams come to other workers each time."""
    for salt in range(6):
        monkeypatch.setattr(Cluster, "salt", salt)
        yield salt


@pytest.mark.parametrize("start", ["dial", "ring"])
@pytest.mark.parametrize("name", ["baresip 1.0", "linphone 5.3", "Twinkle"])
def test_callback(name: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in salts(monkeypatch):
        checked(play(PHONES[name], {"start": start}))


@pytest.mark.parametrize("redial", [LADDER, ALONE], ids=["after callback", "alone"])
def test_two_who_are_joined(redial: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for salt in salts(monkeypatch):
        one = scene_of(redial=redial)
        near, far = connect(one)
        alice, bob = people(one)
        for phone, call in ((alice, near), (bob, far)):
            for direction in ("sendonly", "sendrecv"):
                phone.reinvite(call, direction)
                one.run(1_000)
            assert [each for each in call.answers if each[0] == "INVITE"] == [("INVITE", 200)] * 2, salt
        assert joined(one)
        (bob if salt % 2 else alice).hang_up(far if salt % 2 else near)
        over(one)


@pytest.mark.parametrize("act", [test_b2bua.bye, test_b2bua.bye_far, test_b2bua.hold, test_b2bua.hold_far])
def test_a_worker_that_dies_while_they_talk(act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for salt in salts(monkeypatch):
        for number in range(Cluster.workers):
            one = scene_of()
            near, far = connect(one)
            server: Any = one.server
            server.kill(number, one.now, 700, losing=bool(salt % 2))
            act(one)
            one.run(45_000)
            if act in (test_b2bua.bye, test_b2bua.bye_far):
                over(one)
                continue
            assert near.state == far.state == "talking" and joined(one), (salt, number)
            test_b2bua.bye(one)
            over(one)


@pytest.mark.parametrize(
    ("how", "redial"),
    [({}, {}), ({}, {"start": "ring"}), ({"early": "500"}, {"methods": ("refer", "callback")})],
    ids=["dial", "ring", "refer first"],
)
def test_callback_while_workers_die(how: dict[str, Any], redial: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds(100, 25):
        monkeypatch.setattr(Cluster, "deaths", deaths(seed))
        one = set_up(how, redial, seed=seed, line=ROUGH)
        try:
            arm_surely(one)
            people(one)[1].register()
            settle(one)
            checked(one, 2)
        except AssertionError as error:
            raise AssertionError(replay(seed, one.network, error)) from error


@pytest.mark.parametrize("redial", [LADDER, ALONE], ids=["after callback", "alone"])
def test_b2bua_while_workers_die(redial: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds(200, 25):
        monkeypatch.setattr(Cluster, "deaths", deaths(seed))
        one = set_up(IDLE, redial, seed=seed, line=ROUGH)
        try:
            _, far = connect(one)
            one.run(45_000)
            assert joined(one)
            people(one)[1].hang_up(far)
            over(one)
        except (AssertionError, ValueError) as error:
            raise AssertionError(replay(seed, one.network, error)) from error


def deaths(seed: int) -> list[Death]:
    draw = random.Random(seed)
    return [
        Death(draw.randint(0, 12_000), draw.randrange(Cluster.workers), draw.choice((50, 400, 3_000)), losing)
        for losing in draw.choices((False, True), k=draw.randint(1, 3))
    ]
