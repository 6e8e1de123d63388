"""What a 480 offers and its ACK makes final, with 2 and 4 workers: as in test_offers.py; and what a dead one had offered."""

from __future__ import annotations

import pytest
from net import scene as scenes
from net.cluster import Cluster, cluster_of, owner_of, peer, stand
from net.redialing import BOB, refer_names, refers, watch_of
from net.scene import Scene, Speaker
from test_offers import *  # noqa: F403
from test_offers import TIMER_H, call
from test_workers_redial import SPREADS

from sipfast.config import Config, Redial


@pytest.fixture(autouse=True, params=SPREADS.values(), ids=SPREADS)
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(scenes, "Server", Cluster)
    for name, value in zip(("workers", "salt", "delay"), request.param, strict=True):
        monkeypatch.setattr(Cluster, name, value)
    number: int = request.param[0]
    return number


def spread(*, mine: bool) -> tuple[Scene, Speaker, Speaker, int]:
    """Alice, who comes to the owner of bob or to another worker; and that worker."""
    scene = Scene(Config(redial=Redial(methods=("refer",))))
    home = owner_of(scene, BOB) if mine else (owner_of(scene, BOB) + 1) % cluster_of(scene).workers
    alice = peer(scene, "alice", home)
    alice.answers_probes = False
    bob = scene.peer("bob")
    alice.bind()
    scene.run()
    return scene, alice, bob, home


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("losing", [True, False])
def test_what_a_dead_worker_has_offered_is_armed(mine: bool, losing: bool) -> None:
    scene, alice, bob, home = spread(mine=mine)
    call(scene, alice)
    scene.run(1_000)
    cluster_of(scene).kill(home, scene.now, losing=losing)
    scene.run(1_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    bob.bind()
    scene.run(1_000)
    assert refer_names(scene) == ["alice"]


@pytest.mark.parametrize("mine", [True, False])
def test_a_callee_who_came_back_is_recalled_upon_when_a_dead_workers_offer_is_armed(mine: bool) -> None:
    scene, alice, bob, home = spread(mine=mine)
    call(scene, alice)
    bob.bind()
    scene.run(1_000)
    assert not refers(scene)
    cluster_of(scene).kill(home, scene.now)
    scene.run(1_000)
    assert refer_names(scene) == ["alice"]


@pytest.mark.parametrize("mine", [True, False])
def test_the_death_of_another_worker_arms_nothing(mine: bool) -> None:
    scene, alice, bob, home = spread(mine=mine)
    call(scene, alice)
    for other in range(cluster_of(scene).workers):
        if other != home:
            cluster_of(scene).kill(other, scene.now)
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "offered"
    bob.bind()
    scene.run(TIMER_H)
    assert watch_of(scene) is None and not refers(scene)


@pytest.mark.parametrize("mine", [True, False])
def test_an_ack_that_comes_to_another_worker(mine: bool) -> None:
    scene, alice, bob, home = spread(mine=mine)
    invite, answer = call(scene, alice)
    stand(scene, (home + 1) % cluster_of(scene).workers)
    elsewhere = scene.peer("elsewhere")
    elsewhere.ack(invite, answer)
    scene.run(1_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    bob.bind()
    scene.run(1_000)
    assert refer_names(scene) == ["alice"]
