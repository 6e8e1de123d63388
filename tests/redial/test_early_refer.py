"""Whether a phone obeys a REFER while it still rings is remembered, of the device and of its make."""

from __future__ import annotations

from typing import Any

import pytest
from net.network import Crash
from net.recalling import Stage, arm_surely, checked, set_up, settle
from net.stubborn import PHONES, Stubborn

from sipfast.store.records import AGENT, DEVICE

EARLY = "early-refer"


def agent_of(phone: Stubborn, agent: str) -> None:
    plain = phone.call

    def call(whom: str, expires: int | None = None, *, to: str = "", headers: Any = None) -> Any:
        return plain(whom, expires, to=to, headers=[("User-Agent", agent), *(headers or [])])

    phone.call = call  # type: ignore[method-assign]


def scene_with(how: dict[str, Any], agent: str = "Acme 1.0", **more: Any) -> Stage:
    scene = set_up(how, **more)
    if agent:
        agent_of(scene.alice, agent)
    return scene


def recall(scene: Stage) -> int:
    """One more; how many REFERs came while it rang."""
    before = len(scene.alice.refers)
    for phone in (scene.alice, scene.bob):
        for call in phone.calls:
            if call.state == "talking":
                phone.hang_up(call)
    scene.bob.register(0)
    scene.run(2_000)
    arm_surely(scene)
    scene.bob.register(3600)
    settle(scene)
    (rang,) = [call for call in scene.alice.calls if not call.outgoing and not hasattr(call, "seen")]
    rang.seen = True  # type: ignore[attr-defined]
    heard = len(scene.alice.refers) - before
    return heard - (1 if rang.was_answered else 0)  # the last one came in the answered call


def known(scene: Stage) -> list[tuple[str, bytes, bool]]:
    return sorted(
        (phone.kind, phone.name, note.worked)
        for phone in scene.store.each_phone()
        for note in phone.notes
        if note.method == EARLY
    )


@pytest.mark.parametrize("status", [400, 403, 481, 491, 500, 501, 603])
def test_a_phone_that_refuses_it_is_not_asked_so_again(status: int) -> None:
    scene = scene_with({"early": str(status)})
    assert recall(scene) == 1
    checked(scene)
    assert [(kind, worked) for kind, _, worked in known(scene)] == [(AGENT, False), (DEVICE, False)]
    assert recall(scene) == 0


def test_a_phone_that_says_nothing_of_itself_is_known_by_its_contact() -> None:
    scene = scene_with({"early": "501"}, agent="")
    assert (recall(scene), recall(scene)) == (1, 0)
    (row,) = known(scene)
    assert row == (DEVICE, b"sip:alice@10.0.1.1:5060", False)


def test_it_is_asked_anew_once_that_is_forgotten() -> None:
    scene = scene_with({"early": "501"}, redial={"remember_phones": 3600.0})
    assert (recall(scene), recall(scene)) == (1, 0)
    scene.run(3_700_000)
    scene.alice.register()
    scene.run(1_000)
    assert recall(scene) == 1


def test_nothing_is_remembered_where_that_is_off() -> None:
    scene = scene_with({"early": "501"}, redial={"remember_phones": 0.0})
    assert (recall(scene), recall(scene)) == (1, 1) and not known(scene)


@pytest.mark.parametrize("early", ["idle", "silence"])
def test_who_says_nothing_or_calls_only_when_asked_again(early: str) -> None:
    """As with a method: held against it once a later REFER has brought the call about."""
    scene = scene_with({"early": early, "ring_time": 3_000, "needs_ack": False})
    recall(scene)
    checked(scene)
    assert {worked for *_, worked in known(scene)} == {False}
    assert recall(scene) == 0


@pytest.mark.parametrize("name", ["baresip 1.0", "a phone that takes the early REFER to its user"])
def test_a_make_that_obeys_keeps_its_name(name: str) -> None:
    scene = scene_with(PHONES[name])
    recall(scene)
    assert known(scene) == [(AGENT, b"Acme 1.0", True)]
    scene.alice.early, scene.alice.asks_user = "501", False  # somebody has found a switch
    assert recall(scene) == 1
    assert [(kind, worked) for kind, _, worked in known(scene)] == [(AGENT, True), (DEVICE, False)]
    assert recall(scene) == 0


@pytest.mark.parametrize("status", [404, 480, 486])
def test_who_is_away_or_busy_has_refused_nothing(status: int) -> None:
    scene = scene_with({"early": str(status), "ring_time": 60_000}, redial={"retry_pause": 3600.0})
    arm_surely(scene)
    scene.bob.register()
    scene.run(10_000)
    assert scene.alice.refers and not known(scene)


def test_it_is_known_after_a_restart_at_any_message() -> None:
    scene = scene_with({"early": "501"})
    recall(scene)
    for number in range(1, scene.server.given + 1):
        scene = scene_with({"early": "501"}, crashes=[Crash("output", number, 100)])
        try:
            arm_surely(scene)
            scene.bob.register()
            settle(scene)
            asked = [refer for refer in scene.alice.refers if refer.status == 501]
            assert not asked or known(scene)
        except AssertionError as error:
            raise AssertionError(f"{number}: {error}\n{scene.network.ladder(100)}") from error
