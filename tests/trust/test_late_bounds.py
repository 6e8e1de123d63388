"""What is bounded, with a store that answers late: what is under way counts, so that no burst passes a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from net import scene as scenes
from net.late import LateServer
from net.late_cluster import LateCluster
from net.scene import Scene, Speaker
from net.stores import count_watches

from sipfast.config import Config, Redial, Registrar


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "Server", LateServer)


def hold(scene: Scene) -> None:
    """From here on the store answers nothing."""
    scene.server.held = True


def let_go(scene: Scene) -> None:
    server = scene.server
    server.held = False
    scene.run(200)
    assert not server.batches


def statuses(peers: list[Speaker], method: str) -> list[int]:
    return [message.status for peer in peers for message in peer.inbox if message.method == method and message.status >= 200]


@pytest.mark.parametrize("most", [3, 40])
def test_a_burst_of_new_aors_keeps_to_max_aors(most: int) -> None:
    scene = Scene(Config(registrar=Registrar(max_aors=most)))
    peers = [scene.peer(f"phone{number}") for number in range(most + 5)]
    hold(scene)
    for peer in peers:
        peer.bind()
        scene.run(5)  # a batch each
    assert len(scene.server.batches) > 1
    let_go(scene)
    assert sorted(statuses(peers, "REGISTER")) == [200] * most + [503] * 5
    assert len(list(scene.store.each_bindings())) == most


def test_what_was_lost_does_not_count() -> None:
    scene = Scene(Config(registrar=Registrar(max_aors=2)))
    first, second, third = (scene.peer(f"phone{number}") for number in range(3))
    hold(scene)
    first.bind()
    scene.run(5)
    scene.server.tables.lose(scene.server.batches[-1])
    second.bind()
    third.bind()
    scene.run(5)
    let_go(scene)
    assert (statuses([first], "REGISTER"), statuses([second, third], "REGISTER")) == ([503], [200, 200])


def test_new_aors_are_no_conflict_with_each_other() -> None:
    """How many there are is no row that somebody else has changed."""
    scene = Scene(Config(registrar=Registrar(max_aors=2)))
    peers = [scene.peer(f"phone{number}") for number in range(2)]
    hold(scene)
    for peer in peers:
        peer.bind()
        scene.run(5)
    scene.server.tables.write_elsewhere("bindings", b"sip:dave@example.com", None)
    let_go(scene)
    assert statuses(peers, "REGISTER") == [200, 200]
    assert scene.server.counters["conflicts"] == 0


BOUNDS: dict[str, tuple[dict[str, Any], Callable[[int], tuple[str, str]]]] = {
    "max_watches": ({"max_watches": 3}, lambda n: (f"caller{n}", f"callee{n}")),
    "per_caller": ({"per_caller": 3}, lambda n: ("caller0", f"callee{n}")),
    "per_callee": ({"per_callee": 3}, lambda n: (f"caller{n}", "callee0")),
}


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_burst_of_calls_keeps_to_the_bounds_of_watches(bound: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = LateCluster if workers > 1 else LateServer
    monkeypatch.setattr(scenes, "Server", kind)
    monkeypatch.setattr(kind, "latency", 2_000)
    limit, pair_of = BOUNDS[bound]
    scene = Scene(Config(redial=Redial(default_period=600, **limit)))
    pairs = [pair_of(number) for number in range(8)]
    callers = {caller: scene.peer(caller) for caller, _ in pairs}
    for caller, callee in pairs:
        callers[caller].ask("INVITE", f"sip:{callee}@example.com")
        scene.run(5)
    assert not statuses(list(callers.values()), "INVITE"), "the store has answered nothing yet"
    scene.run(10_000)
    told = [message for peer in callers.values() for message in peer.inbox if "redial" in message.first("warning")]
    assert count_watches(scene.store) == len({message.call_id for message in told}) == 3
