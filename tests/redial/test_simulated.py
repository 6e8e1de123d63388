"""Every simulated phone of docs/redial.md, by the generic order and by its profile: one confirmed call on any line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster, Death
from net.network import Crash, Line, replay, seeds
from net.scene import NATS, Scene
from net.simulated import EACH, IDS, SIMULATED, Simulated, check, played, rows, through
from net.stubborn import PHONES

from sipfast.redial.profiles import profile_of, shipped

PAGE = (Path(__file__).parents[2] / "docs" / "redial.md").read_text()
ROUGH = Line(latency=(1, 40), loss=0.1, reorder=0.1, late=400, duplicate=0.1)
every = pytest.mark.parametrize(("one", "way"), EACH, ids=IDS)


def test_the_page_has_them_all() -> None:
    assert list(rows(PAGE)) == [one.row for one in SIMULATED]


@every
def test_the_method_that_gets_the_call_through(one: Simulated, way: dict[str, Any]) -> None:
    scene = played(one, {**way, "agent": ""})
    check(one, scene)
    ended = scene.store.ended()[0]
    assert through(scene) == one.reached and ended.reason == ("told" if one.reached == "message" else "answered")
    assert ended.watch.attempts <= (2 if one.until == "his login" else 1)


@pytest.mark.parametrize("name", [name for name, how in PHONES.items() if "agent" in how])
def test_what_is_known_of_its_make_spares_what_it_refuses(name: str) -> None:
    (one,) = [one for one in SIMULATED if one.name == name]
    scene = played(one, one.ways[0])
    check(one, scene)
    outside = [refer for refer in scene.network.sent(scene.server, "REFER") if not refer.to_tag]
    known = profile_of(shipped(), PHONES[name]["agent"])
    assert known.verdict("refer") is False and known.verdict("callback")
    assert not outside


def play(one: Simulated, way: dict[str, Any], seed: int, most: int = 1, **more: Any) -> None:
    scene = None
    try:
        scene = played(one, {**way, "agent": ""}, seed=seed, **more)
        check(one, scene, most)
    except AssertionError as error:
        if scene is None:
            raise
        raise AssertionError(replay(seed, scene.network, error)) from error


@every
def test_over_rough_lines(one: Simulated, way: dict[str, Any]) -> None:
    for seed in seeds(90_000, 4):
        play(one, way, seed, 1 + (one.until == "a REFER"), line=ROUGH)


@pytest.mark.parametrize("nat", NATS.values(), ids=NATS)
@every
def test_behind_nats(one: Simulated, way: dict[str, Any], nat: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "nat", nat)
    for seed in seeds(91_000, 2):
        play(one, way, seed, 1 + (one.until == "a REFER"), line=ROUGH)


@pytest.mark.parametrize(("workers", "salt", "delay"), [(2, 3, 1), (4, 5, 10)], ids=["2 workers", "4 workers"])
@every
def test_with_workers_that_die(
    one: Simulated, way: dict[str, Any], workers: int, salt: int, delay: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    for name, value in (("workers", workers), ("salt", salt), ("delay", delay)):
        monkeypatch.setattr(Cluster, name, value)
    for seed in seeds(92_000, 3):
        draw = random.Random(seed)
        deaths = [Death(draw.randint(0, 12_000), draw.randrange(workers), draw.choice((50, 400, 3_000)), losing)
                  for losing in draw.choices((False, True), k=seed % 3)]  # fmt: skip
        monkeypatch.setattr(Cluster, "deaths", deaths)
        play(one, way, seed, 1 + len(deaths) + (one.until == "a REFER"), line=ROUGH)


# One way of each: they differ by a status only.
@pytest.mark.parametrize("one", SIMULATED, ids=[one.name for one in SIMULATED])
def test_a_restart_at_any_message(one: Simulated) -> None:
    clean = played(one, {**one.ways[0], "agent": ""})
    taken = [("before", "uncommitted")[count % 2] for count in range(clean.server.taken)]
    crashes = [Crash(kind, count) for count, kind in enumerate(taken, 1)]
    crashes += [Crash("output", count) for count in range(1, clean.server.given + 1)]
    assert len(crashes) > 20
    for index, crash in enumerate(crashes):
        down = (100, 3_000)[index % 2]
        try:
            check(
                one,
                played(one, {**one.ways[0], "agent": ""}, crashes=[Crash(crash.kind, crash.count, down)]),
                2 + (one.until == "a REFER"),
            )
        except AssertionError as error:
            raise AssertionError(f"{crash}, {down} ms: {error}") from error
