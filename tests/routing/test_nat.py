"""Calls of phones behind NATs: every request of a call reaches the phone that it is meant for, alone and in front of others.

What happens when a NAT forgets where its phones are is in test_nat_rebinding.py.
"""

from __future__ import annotations

import pytest
from net.homes import BOTH, Town, town_of
from net.redialing import refers
from net.scene import HOME, SERVER
from net.stores import count_watches

# Within a call


@BOTH
def test_hold_and_hang_up(town: Town, who: str) -> None:
    phone, call, other = town.ends(who)
    town.hold(phone, call, other)
    town.end(phone, call, other)


@BOTH
def test_a_restart_in_the_middle_of_a_call(town: Town, who: str) -> None:
    phone, call, other = town.ends(who)
    town.scene.server.crash(town.scene.now, 400)
    town.scene.run(1_000)
    assert town.scene.server.restarts == 1 and town.scene.server.engine is not None
    town.hold(phone, call, other)
    town.end(town.partner(phone), other, call)


def test_prack(town: Town) -> None:
    """RFC 3262: a request inside of a dialog that is not answered yet."""
    town.alice.reliable = town.bob.reliable = True
    town.bob.ring_time = 2_000
    call, other = town.talk()
    assert call.answers == [("PRACK", 200)] and other.heard == ["PRACK"]
    town.end(town.bob, other, call)


def test_a_caller_who_gives_up(town: Town) -> None:
    town.bob.on_invite = "ring"
    call = town.alice.call("bob")
    town.wait(lambda: call.state == "ringing", "it rings")
    town.alice.hang_up(call)
    town.wait(lambda: call.over and town.bob.calls[0].over, "it has ended")
    assert call.status == 487


@BOTH
def test_names_and_twins_in_contacts(front: str, workers: int, who: str) -> None:
    """The Contacts of two phones are the same to the letter, and lead nowhere."""
    town = town_of(front, workers=workers, register=False)
    for phone in (town.alice, town.bob):
        phone.contact_user, phone.contact_host = "line1", "pc.local"
        phone.register()
    town.wait(lambda: town.alice.registered and town.bob.registered, "both are registered")
    phone, call, other = town.ends(who)
    town.hold(phone, call, other)
    town.end(phone, call, other)


def test_two_phones_of_one_home(front: str) -> None:
    """What goes through the server needs no hairpin at the box."""
    town = town_of(front)
    home = town.scene.network.home(town.alice)
    carol = town.scene.phone("carol", behind=home, address=("192.168.1.11", 5060), ring_time=500)
    call = town.alice.call("carol")
    town.wait(lambda: call.state == "talking" and carol.calls[-1].state == "talking", "they talk")
    town.hold(carol, carol.calls[-1], call)
    town.end(town.alice, call, carol.calls[-1])


# Between calls


@pytest.mark.parametrize(("keepalive", "reached"), [(25_000, True), (None, False)], ids=["kept alive", "asleep"])
def test_a_mapping_has_to_be_kept(front: str, keepalive: int | None, reached: bool) -> None:
    """RFC 4787 §4.3; what a phone has to do for that is its own affair (RFC 5626 §4.4)."""
    town = town_of(front, lifetime=60_000, register=False)
    for phone in (town.alice, town.bob):
        phone.keepalive = keepalive
        phone.register()
    town.scene.run(600_000)
    call = town.alice.call("bob")
    town.wait(lambda: call.over or call.state == "talking", "it ends or is answered", 60_000)
    assert (call.state == "talking") == reached


def test_a_call_to_a_contact_as_a_transfer_makes_it(town: Town) -> None:
    """RFC 5589 §7: the Contact of one phone is dialled by another. It leads nowhere but for whoever knows the bindings."""
    call = town.alice.call(town.bob.contact.strip("<>"))
    town.wait(lambda: call.state == "talking" and town.bob.calls[-1].state == "talking", "they talk")
    town.hold(town.bob, town.bob.calls[-1], call)
    town.end(town.alice, call, town.bob.calls[-1])


@pytest.mark.parametrize(
    ("to", "status"), [("sip:bob@example.com", 0), ("sip:line1@pc.local", 485)], ids=["known", "unknown"]
)
def test_a_call_to_a_contact_that_two_have(workers: int, to: str, status: int) -> None:
    """To tells which of them is meant; without that nobody can (RFC 3261 §21.4.23)."""
    town = town_of("alone", workers=workers, register=False)
    carol = town.scene.phone("carol", behind=town.scene.home(), register=False, ring_time=500)
    for phone in (town.bob, carol):
        phone.contact_user, phone.contact_host = "line1", "pc.local"
        phone.register()
    town.wait(lambda: town.bob.registered and carol.registered, "both are registered")
    call = town.alice.call("sip:line1@pc.local:5060", to=to)
    town.wait(lambda: call.over or call.state == "talking", "it ends or is answered")
    assert call.status == (status or 200) and [len(carol.calls), len(town.bob.calls)] == [0, 0 if status else 1]


# Redial


@BOTH
def test_redial_to_the_ack(town: Town, who: str) -> None:
    town.bob.unregister()
    town.scene.run(1_000)
    first = town.alice.call("bob", 3600)
    town.wait(lambda: first.over, "nobody is there")
    assert first.status == 480 and count_watches(town.scene.store) == 1
    town.bob.register()
    town.wait(lambda: count_watches(town.scene.store) == 0, "the watch has ended")
    (call,), (other,) = town.alice.calls[1:], town.bob.calls
    town.wait(lambda: other.state == "talking", "the callee has its ACK", 100)
    assert call.recalled and call.state == "talking"
    town.scene.run(60_000)
    assert (call.state, other.state) == ("talking", "talking") and len(refers(town.scene)) == 1
    phone, mine, yours = (town.alice, call, other) if who == "alice" else (town.bob, other, call)
    town.end(phone, mine, yours)


def test_where_they_are() -> None:
    """What the tests above rest on: nobody but its box knows where a phone is."""
    town = town_of("alone")
    network = town.scene.network
    assert town.alice.address == town.bob.address == HOME
    assert network.seen(town.alice, SERVER)[0] != network.seen(town.bob, SERVER)[0]
    stranger = town.scene.peer("stranger")
    stranger.transmit(b"x", network.seen(town.bob, SERVER))
    stranger.transmit(b"x", HOME)
    town.scene.run()
    assert [event.fate for event in network.trace if event.source == "stranger"] == ["filtered", "nobody there"]
