"""What each message or call makes is kept out of the garbage collector's sight: a collection looks at all that lingers."""

from __future__ import annotations

import gc

import pytest
from net import scene as scenes
from net.cluster import Cluster, owner_of, phone
from net.network import Crash
from net.redialing import arm
from net.scene import Scene

from sipfast._flow import Flow
from sipfast._parser import Message
from sipfast.config import Config, Redial
from sipfast.engine.engine import Engine
from sipfast.redial.ladder import Ladder
from sipfast.routing import context
from sipfast.store.codec import StoredBindings, StoredWatch
from sipfast.transaction.client import ClientTransaction
from sipfast.transaction.server import ServerTransaction
from sipfast.trust import credit

TRACKED = 1 << 14  # Py_TPFLAGS_HAVE_GC
MANY = [
    Flow, Message, ClientTransaction, ServerTransaction, context.ResponseContext, context.Branch, StoredBindings,
    StoredWatch, credit.Credit,
]  # fmt: skip


@pytest.mark.parametrize("kind", MANY, ids=lambda kind: kind.__name__)
def test_the_collector_does_not_see_what_there_are_many_of(kind: type) -> None:
    assert not kind.__flags__ & TRACKED


def parts() -> int:
    gc.collect()
    return sum(isinstance(each, (Engine, Ladder)) for each in gc.get_objects())


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_left_of_an_engine_that_was_closed_before_its_commit(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the collector does not see may be in no cycle, or that stays for ever. Here there is a claim in the batch."""
    monkeypatch.setattr(scenes, "Server", Cluster)
    monkeypatch.setattr(Cluster, "workers", workers)
    before = parts()
    scene = Scene(Config(redial=Redial(guard=0.0)))
    alice, bob = scene.phone("alice"), phone(scene, "bob", owner_of(scene), register=False)
    arm(scene, alice)
    scene.run()  # the ACK is on its way
    assert isinstance(scene.server, Cluster)
    closed = scene.server.engines
    scene.server.crashes.append(Crash("uncommitted", scene.server.taken + 1, 60_000))
    bob.register()
    scene.run(100)
    assert sum(engine.counters()["redial_recalling"] for engine in closed) == 1
    assert parts() == before + 2 * workers
    for engine in closed:
        engine.close()
    del engine, closed, scene, alice, bob
    assert parts() == before
