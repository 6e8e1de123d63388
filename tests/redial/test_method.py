"""The interface of a recall method: the owner of a callee recalls by whatever stands behind it. Here that is a bell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compiled import compiled
from net.redialing import ALICE, BOB, armed, come_back, refers, watch_of


@pytest.fixture(scope="module")
def bell(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(Path(__file__).parent / "bell.pyx", tmp_path_factory.mktemp("bell"))


def ring(bell: Any, **redial: Any) -> tuple[Any, Any, Any]:
    scene, alice, bob = armed({"retry_pause": 5.0, **redial})
    hung = bell.hang(scene.server.engine.redial)
    come_back(scene, bob)
    scene.run(100)
    return scene, alice, hung


def test_the_caller_is_asked_by_it_and_by_nothing_else(bell: Any) -> None:
    scene, alice, hung = ring(bell)
    ((callee, caller, call_id, uri),) = hung.rings
    assert (callee, caller, uri) == (BOB, ALICE, b"sip:alice@%b:%d" % (alice.address[0].encode(), alice.address[1]))
    watch = watch_of(scene)
    assert watch is not None
    assert (watch.state, watch.last_result, watch.refer_call_id) == ("recalling", "bell rings", call_id)
    assert not refers(scene)


def test_a_call_after_it_was_accepted_ends_the_watch(bell: Any) -> None:
    scene, alice, hung = ring(bell)
    hung.heard(True, scene.now)
    alice.call("bob")
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None and len(hung.rings) == 1


def test_a_refusal_puts_the_watch_back_with_what_was_said(bell: Any) -> None:
    scene, _, hung = ring(bell)
    hung.heard(False, scene.now)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.last_result) == ("armed", "the bell was not wanted")
    scene.run(6_000)
    assert len(hung.rings) == 2


@pytest.mark.parametrize(("accepted", "result"), [(False, "no answer to bell"), (True, "no call after bell")])
def test_who_does_not_call_in_time_is_asked_again_later(bell: Any, accepted: bool, result: str) -> None:
    scene, _, hung = ring(bell, refer_timeout=2.0, recall_timeout=3.0)
    if accepted:
        hung.heard(True, scene.now)
    scene.run(4_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.last_result) == ("armed", result)
    assert hung.given_up == 1
    scene.run(6_000)
    assert len(hung.rings) == 2
