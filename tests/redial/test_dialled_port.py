"""A caller who has dialled a port has to dial it again: without it a phone asks DNS, then takes 5060 (RFC 3263 §4.2)."""

from __future__ import annotations

import pytest
from net.recalling import checked, set_up, settle
from net.scene import Scene
from net.sipwire import uri_of
from net.stores import count_watches

from sipfast.config import Config, Redial


@pytest.mark.parametrize(
    "dialled", ["sip:bob@example.com", "sip:bob@example.com:5060", "sip:bob@example.com:5060;transport=udp"]
)
def test_the_refer_names_the_port_that_was_dialled(dialled: str) -> None:
    scene = Scene(Config(redial=Redial(methods=("refer",))))
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    alice.call(dialled, 3600)
    scene.run(1_000)
    bob.register()
    scene.network.wait(lambda: count_watches(scene.store) == 0, 60_000, "the watch to end")
    (refer,) = alice.refers
    assert uri_of(refer.request.first("refer-to")) == dialled.partition(";")[0]
    assert uri_of(refer.request.first("from")) == "sip:bob@example.com"  # whom the watch is for
    assert [call.recalled for call in alice.calls if call.was_answered] == [True]


@pytest.mark.parametrize("start", ["dial", "ring"])
def test_so_does_the_callback(start: str) -> None:
    scene = set_up({}, {"start": start})
    scene.alice.call("sip:bob@example.com:5060", 3600)
    scene.run(1_000)
    scene.bob.register()
    settle(scene)
    checked(scene)
    incoming = next(call for call in scene.alice.calls if not call.outgoing)
    assert uri_of(incoming.remote) == "sip:bob@example.com:5060"  # who calls, as the phone shows it and dials it back
    assert {uri_of(refer.request.first("refer-to")) for refer in scene.alice.refers} == {"sip:bob@example.com:5060"}


def test_the_port_is_that_of_the_last_call() -> None:
    scene = Scene(Config(redial=Redial(methods=("refer",))))
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    for dialled in ("sip:bob@example.com:5060", "sip:bob@example.com"):
        alice.call(dialled, 3600)
        scene.run(1_000)
    bob.register()
    scene.run(10_000)
    assert uri_of(alice.refers[0].request.first("refer-to")) == "sip:bob@example.com"
