"""A suspended watch: its caller cannot take a recall now, which costs no attempt and ends by the period."""

from __future__ import annotations

from itertools import pairwise

import pytest
from net.redialing import ALICE, BOB, BUSY, armed, come_back, refers, suspended, watch_of


@pytest.mark.parametrize("status", ["404", "410", "430", "480", "486"])
def test_a_caller_who_is_away_or_in_a_call_loses_nothing(status: str) -> None:
    scene, alice, _ = suspended(status)
    scene.run(600_000 * 5 // 4)  # the pause, and its jitter
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and len(refers(scene)) == 2


def test_it_goes_on_when_the_caller_registers() -> None:
    scene, alice, _ = suspended()
    scene.run(60_000)
    assert len(refers(scene)) == 1
    alice.register()
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and len(refers(scene)) == 2


def test_it_goes_on_when_a_call_of_the_caller_ends() -> None:
    scene, alice, bob = armed(BUSY)
    carol = scene.phone("carol")
    call = carol.call("alice")
    scene.network.wait(lambda: call.state == "talking")
    alice.on_refer = "486"
    come_back(scene, bob)
    scene.run(30_000)
    assert len(refers(scene)) == 1
    alice.on_refer = "accept"
    carol.hang_up(call)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and len(refers(scene)) == 2


def test_its_pauses_grow() -> None:
    scene, alice, bob = armed({"retry_pause": 10.0, "attempts": 1})
    alice.on_refer = "486"
    come_back(scene, bob)
    scene.run(170_000)
    times = [event.at for event in refers(scene)]
    pauses = [after - before for before, after in pairwise(times)]
    assert len(pauses) == 3
    for pause, least in zip(pauses, (10_000, 20_000, 40_000), strict=True):
        assert least <= pause <= least * 5 // 4 + 100


def test_a_callee_who_did_not_answer_is_waited_for_after_many_pauses_too() -> None:
    """Pauses of the past say nothing about a recall that waits for the callee's next login."""
    scene, alice, bob = armed({"retry_pause": 10.0, "no_reply_after": 1.0})
    alice.on_refer = "486"
    come_back(scene, bob)
    scene.run(200_000)
    watch = watch_of(scene)
    assert watch is not None and watch.pauses > 3
    alice.on_refer, bob.on_invite, alice.patience = "accept", "ring", 5_000
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over, 400_000)
    bob.on_invite = "answer"
    bob.unregister()
    scene.run(600_000)
    come_back(scene, bob)
    scene.run(10_000)
    assert watch_of(scene) is None and alice.calls[-1].was_answered


def test_it_ends_with_its_period() -> None:
    scene, alice, _ = suspended()
    alice.on_refer = "486"
    scene.run(3_600_000)
    assert watch_of(scene) is None


def test_another_invite_renews_it() -> None:
    scene, alice, bob = suspended()
    bob.unregister()
    scene.run(1_000)
    alice.call("bob", expires=3600)
    scene.run(1_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"


def test_it_is_known_after_a_crash() -> None:
    scene, alice, _ = suspended()
    scene.server.crash(scene.now)
    scene.run(1_000)
    assert len(refers(scene)) == 1
    alice.register()
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None


def test_a_device_that_logged_out_is_not_asked_while_it_is_away() -> None:
    scene, alice, bob = armed(BUSY)
    alice.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(30_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts, refers(scene)) == ("suspended", 0, [])
    alice.register()
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None


@pytest.mark.parametrize(("others", "asked"), [("never", False), ("authenticated", False), ("always", True)])
def test_another_device_is_asked_where_that_is_wanted(others: str, asked: bool) -> None:
    scene, alice, bob = armed({**BUSY, "other_devices": others})
    cell = scene.phone("cell", user="alice")
    alice.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(5_000)
    assert [event.target for event in refers(scene)] == (["cell"] if asked else [])
    watch = watch_of(scene)
    assert asked or (watch is not None and "redial.other_devices lets no other be asked" in watch.last_result)
    assert (ALICE, BOB) and bool(cell.refers) == asked
