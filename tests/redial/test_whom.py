"""Which device of the caller is asked, and what it means that it is not there, busy, or that a person says no."""

from __future__ import annotations

from typing import Any

import pytest
from net.recalling import Stage, arm_surely, set_up
from net.redialing import arm, armed, come_back, refers, watch_of
from net.scene import Scene
from net.sipwire import literal
from net.upstream import Upstream

from sipfast.config import Config, Redial
from sipfast.config import Upstream as Behind

BEHIND = ("10.0.5.1", 5060)
INSTANCE = ';+sip.instance="<urn:uuid:%d>"'


def targets(scene: Scene) -> list[str]:
    return [event.target for event in refers(scene)]


# The order in which a device is looked for


def test_the_same_contact_before_the_same_registration() -> None:
    """Her cell has got the address that the desk phone had: the Contact says more than the registration (RFC 3261 §10.2)."""
    scene = Scene(Config(redial=Redial(methods=("refer",))))
    desk = scene.phone("desk", user="alice")
    bob = scene.phone("bob", register=False)
    arm(scene, desk)
    before = desk.address
    scene.network.move(desk, scene.place())  # the same registration, another Contact
    desk.register()
    cell = scene.phone("cell", user="alice", register=False)
    scene.network.move(cell, before)
    cell.register()
    scene.network.wait(lambda: cell.registered)
    scene.run()
    come_back(scene, bob)
    scene.run()
    assert targets(scene) == ["cell"]


def test_the_same_registration_under_another_contact() -> None:
    scene, desk, bob = armed()
    desk.unregister()
    scene.run()
    scene.network.move(desk, scene.place())
    desk.register()
    cell = scene.phone("cell", user="alice")
    scene.network.wait(lambda: cell.registered)
    come_back(scene, bob)
    scene.run()
    assert targets(scene) == ["alice"]


def test_others_the_newest_first_and_each_once() -> None:
    """Where the one that called is gone, and the next says that it is not there (404, 410, 430, 480)."""
    scene, desk, bob = armed({"other_devices": "always", "retry_pause": 3_600.0})
    phones = {}
    for name, says in (("new", "404"), ("middle", "480"), ("old", "accept")):
        phones[name] = scene.phone(name, user="alice", on_refer=says)
    for name in ("middle", "new"):  # registers once more
        scene.run(1_000)
        phones[name].contact_params = ";q=0.1"  # how recent it is counts, not where calls go first
        phones[name].register()
    desk.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(5_000)
    assert targets(scene) == ["new", "middle", "old"]
    scene.network.wait(lambda: watch_of(scene) is None, 10_000, "the call")


def test_with_no_other_left_it_is_suspended() -> None:
    scene, alice, bob = armed({"other_devices": "always", "retry_pause": 3_600.0})
    scene.phone("cell", user="alice", on_refer="480")
    alice.on_refer = "404"
    come_back(scene, bob)
    scene.run(5_000)
    watch = watch_of(scene)
    assert targets(scene) == ["alice", "cell"]
    assert watch is not None and (watch.state, watch.attempts) == ("suspended", 0)


@pytest.mark.parametrize("known", [True, False], ids=["the upstream says who she is", "nobody does"])
def test_another_device_is_asked_of_a_caller_whose_identity_is_known(known: bool) -> None:
    """other_devices = "authenticated", the default."""
    upstreams = (Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),) if known else ()
    scene = Scene(Config(redial=Redial(methods=("refer",)), upstream=upstreams))
    if known:
        upstream = scene.network.add(Upstream("upstream", BEHIND))
        upstream.users = frozenset({"alice", "bob"})
    desk = scene.phone("desk", user="alice", password="secret")
    cell = scene.phone("cell", user="alice", password="secret")
    bob = scene.phone("bob", register=False)
    arm(scene, desk)
    desk.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(3_000)
    assert bool(cell.refers) == known
    assert [event for event in refers(scene) if event.target == "desk"] == []


# What its answers mean


@pytest.mark.parametrize(
    "methods", [("refer", "message"), ("callback", "message"), ("b2bua", "message")], ids=lambda each: each[0]
)
def test_a_device_that_cannot_be_reached_suspends_the_watch(methods: tuple[str, ...]) -> None:
    """Its port is closed: no other method reaches it, and nothing is used up."""
    scene = set_up({"outside": "accept"}, {"methods": methods, "retry_pause": 3_600.0})
    scene.network.icmp = True
    arm_surely(scene)
    scene.network.remove(scene.alice)
    come_back(scene, scene.bob)
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts, scene.alice.messages) == ("suspended", 0, [])
    assert watch.last_result == "caller's phone cannot be reached"
    scene.network.plug(scene.alice)
    scene.alice.register()
    scene.network.wait(lambda: watch_of(scene) is None, 60_000, "the call")


NO: dict[str, dict[str, Any]] = {
    "603": {"no": "603", "early": "500"},
    "486": {"no": "486", "early": "500"},
    "nobody picks up": {"early": "500", "ring_time": 60_000},
}


def declined(how: dict[str, Any], methods: tuple[str, ...], word: str) -> Stage:
    scene = set_up({"ring_time": 1_000, **how}, {"methods": methods, "declined": word, "retry_pause": 5.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(60_000)
    return scene


@pytest.mark.parametrize("methods", [("callback", "message"), ("b2bua", "message")], ids=lambda each: each[0])
@pytest.mark.parametrize("how", NO.values(), ids=NO)
def test_a_persons_no_waits_for_the_next_login(how: dict[str, Any], methods: tuple[str, ...]) -> None:
    """redial.declined = "wait", the default: no other method, and no other pause ends it."""
    scene = declined(how, methods, "wait")
    rang = len([call for call in scene.alice.calls if not call.outgoing])
    scene.run(1_800_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and watch.not_before == watch.expires_at
    assert len([call for call in scene.alice.calls if not call.outgoing]) == rang == 1 and not scene.alice.messages
    scene.bob.unregister()
    scene.run(1_000)
    come_back(scene, scene.bob)
    scene.run(1_000)
    assert len([call for call in scene.alice.calls if not call.outgoing]) == 2


@pytest.mark.parametrize("methods", [("callback", "message"), ("b2bua", "message")], ids=lambda each: each[0])
@pytest.mark.parametrize("how", NO.values(), ids=NO)
def test_a_persons_no_ends_the_watch_where_that_is_wanted(how: dict[str, Any], methods: tuple[str, ...]) -> None:
    """redial.declined = "end"."""
    scene = declined(how, methods, "end")
    assert watch_of(scene) is None and not scene.alice.messages
    assert not any(call.was_answered for call in scene.bob.calls)


@pytest.mark.parametrize("status", [404, 408, 410, 430, 480, 302])
@pytest.mark.parametrize("method", ["callback", "b2bua"])
def test_a_device_that_is_not_there_is_asked_by_no_other_method(method: str, status: int) -> None:
    scene = set_up({"on_invite": str(status)}, {"methods": (method, "message"), "retry_pause": 3_600.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts, scene.alice.messages) == ("suspended", 0, [])


@pytest.mark.parametrize("status", [415, 420, 488, 500, 503, 606])
@pytest.mark.parametrize("method", ["callback", "b2bua"])
def test_a_device_that_cannot_that_offer_is_tried_by_the_next_method(method: str, status: int) -> None:
    scene = set_up({"on_invite": str(status), "on_message": "200"}, {"methods": (method, "message")})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(5_000)
    assert len(scene.alice.messages) == 1 and watch_of(scene) is None
