"""Many who come back at once, after an outage: how many recalls begin, and when."""

from __future__ import annotations

from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.nat import Nat
from net.phone import Phone
from net.redialing import arm, refers
from net.scene import Scene

from sipfast.config import Config, Redial

MANY = 40


def outage(redial: dict[str, Any], *, seed: int = 0, behind: Nat | None = None) -> tuple[Scene, list[Phone]]:
    """Everybody waits for a callee of their own, and these all come back at once."""
    scene = Scene(Config(redial=Redial(**redial)), seed=seed)
    callers = []
    for number in range(MANY):
        place = (f"192.168.1.{number + 1}", 5060) if behind is not None else None
        callers.append(scene.phone(f"alice{number}", behind=behind, address=place, talk_time=500))
    callees = [scene.phone(f"bob{number}", register=False, ring_time=100) for number in range(MANY)]
    for caller, callee in zip(callers, callees, strict=True):
        arm(scene, caller, callee=callee.name)
    for callee in callees:
        callee.register()
    scene.run(100)
    return scene, callers


def times(scene: Scene) -> list[int]:
    return [event.at for event in refers(scene)]


def most_in_a_second(at: list[int]) -> int:
    return max(sum(one <= other < one + 1_000 for other in at) for one in at)


def test_all_at_once_where_nothing_is_said() -> None:
    scene, _ = outage({})
    assert len(times(scene)) == MANY


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_a_second_after_the_first_few(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    scene, callers = outage({"recalls_per_second": 3.0, "recalls_burst": 6})
    assert 3 <= len(times(scene)) <= 7
    scene.run(60_000)
    assert len(times(scene)) == MANY
    assert most_in_a_second(times(scene)) <= 6 + 3 + 3  # what is late by chance may meet what is not
    assert 8_000 <= times(scene)[-1] - times(scene)[0] <= 20_000
    assert all(caller.calls[-1].recalled and caller.calls[-1].was_answered for caller in callers)
    assert not list(scene.store.each_watch())


def test_one_address_gets_no_more_than_its_share() -> None:
    home = Nat("office", "203.0.113.200")
    scene, _ = outage({"recalls_per_host": 4.0, "recalls_burst": 4}, behind=home)
    assert len(times(scene)) == 4
    scene.run(60_000)
    assert len(times(scene)) == MANY and most_in_a_second(times(scene)) <= 12
    scene, _ = outage({"recalls_per_host": 4.0, "recalls_burst": 4})
    assert len(times(scene)) == MANY  # each at an address of their own


def test_they_do_not_march_in_step() -> None:
    """And by the same dice it is the same."""
    limits = {"recalls_per_second": 2.0, "recalls_burst": 1}
    seen = []
    for seed in (1, 1, 2):
        scene, _ = outage(limits, seed=seed)
        scene.run(60_000)
        begun = times(scene)
        seen.append([at - begun[0] for at in begun])
    assert seen[0] == seen[1] != seen[2]
    assert len({after - before for before, after in zip(seen[0], seen[0][1:], strict=False)}) > 10


def test_a_restart_begins_what_has_waited() -> None:
    scene, callers = outage({"recalls_per_second": 2.0, "recalls_burst": 2})
    scene.run(3_000)
    scene.server.crash(scene.now, 500)
    scene.run(90_000)
    assert all(caller.calls[-1].recalled and caller.calls[-1].was_answered for caller in callers)
    assert not list(scene.store.each_watch())


def test_who_cancels_meanwhile_is_not_called() -> None:
    scene, callers = outage({"recalls_per_second": 1.0, "recalls_burst": 1})
    for number in range(MANY):
        scene.store.delete_watch(b"sip:bob%d@example.com" % number, b"sip:alice%d@example.com" % number)
    scene.store.commit()
    scene.run(60_000)
    assert len(times(scene)) == 1
    assert sum(caller.calls[-1].recalled for caller in callers) == 1
