"""NATs that forget where their phones are, in the middle of a call and between calls.

The route set of a call is fixed when it begins (RFC 3261 §12.1), so what a phone's flow was then is in there until the call
ends: when the phone registers by another flow, the old one's token leads to the new one (RFC 5626 §5.3).
"""

from __future__ import annotations

import pytest
from net.homes import BOTH, Town, town_of
from net.scene import Scene
from net.stores import count_watches


@BOTH
@pytest.mark.parametrize("moves", [False, True], ids=["other ports", "other addresses"])
def test_hold_and_hang_up_after_both_have_rebound(town: Town, who: str, moves: bool) -> None:
    phone, call, other = town.ends(who)
    town.rebind(town.alice, town.bob, moves=moves)
    town.hold(phone, call, other)
    town.hold(town.partner(phone), other, call)
    town.end(phone, call, other)


@BOTH
def test_rebound_again_and_again(town: Town, who: str) -> None:
    phone, call, other = town.ends(who)
    for _ in range(3):
        town.rebind(town.alice)
        town.rebind(town.bob)
    town.hold(phone, call, other)
    town.end(town.partner(phone), other, call)


@BOTH
def test_who_has_rebound_and_not_registered_yet_is_heard(town: Town, who: str) -> None:
    """It comes from a flow that nobody knows; the token in its Route says where it goes, and that is the other side."""
    phone, call, other = town.ends(who)
    town.rebind(phone, register=False)
    town.hold(phone, call, other)
    town.end(phone, call, other)


@BOTH
def test_a_restart_after_both_have_rebound(town: Town, who: str) -> None:
    phone, call, other = town.ends(who)
    town.rebind(town.alice, town.bob)
    town.scene.server.crash(town.scene.now, 400)
    town.scene.run(1_000)
    town.hold(phone, call, other)
    town.end(town.partner(phone), other, call)


@BOTH
def test_both_rebind_while_the_server_is_down(town: Town, who: str) -> None:
    phone, call, other = town.ends(who)
    town.scene.server.crash(town.scene.now, 2_000)
    town.rebind(town.alice, town.bob)
    town.hold(phone, call, other)
    town.end(phone, call, other)


@BOTH
def test_twins_that_rebind(front: str, workers: int, who: str) -> None:
    """The Contacts of two phones are the same to the letter, and lead nowhere."""
    town = town_of(front, workers=workers, register=False)
    for phone in (town.alice, town.bob):
        phone.contact_user, phone.contact_host = "line1", "pc.local"
        phone.register()
    town.wait(lambda: town.alice.registered and town.bob.registered, "both are registered")
    phone, call, other = town.ends(who)
    town.rebind(town.alice, town.bob)
    town.hold(phone, call, other)
    town.end(phone, call, other)


def test_two_phones_of_one_home_rebind_together(front: str) -> None:
    town = town_of(front)
    home = town.scene.network.home(town.alice)
    carol = town.scene.phone("carol", behind=home, address=("192.168.1.11", 5060), ring_time=500)
    call = town.alice.call("carol")
    town.wait(lambda: call.state == "talking" and carol.calls[-1].state == "talking", "they talk")
    town.rebind(town.alice, carol)
    town.hold(carol, carol.calls[-1], call)
    town.end(town.alice, call, carol.calls[-1])


def test_an_old_token_does_not_lead_to_another_phone(front: str) -> None:
    """The new tenant of an outer port is not in the call of the old one."""
    town = town_of(front)
    call, _ = town.talk()
    network = town.scene.network
    old = network.seen(town.bob, town.bob.proxy)
    network.remove(town.bob)
    network.home(town.bob).rebind("198.51.100.2")
    carol = network.add(type(town.bob)("carol", old, town.bob.proxy))
    carol.register()
    town.wait(lambda: carol.registered, "carol is registered")
    town.alice.hang_up(call)
    town.scene.run(40_000)
    # It went to the flow that the token names, and whoever is there now says that it has no such call
    assert call.answers[-1][0] == "BYE" and call.answers[-1][1] in (408, 430, 480, 481)
    assert not carol.calls


# Between calls


@pytest.mark.parametrize("moves", [False, True], ids=["other ports", "other addresses"])
def test_a_call_to_a_phone_that_has_rebound_and_registered(town: Town, moves: bool) -> None:
    town.rebind(town.alice, town.bob, moves=moves)
    call, other = town.talk()
    town.end(town.alice, call, other)


@BOTH
def test_redial_of_a_caller_who_has_rebound(town: Town, who: str) -> None:
    """The REFER goes where the caller is now, and the call lives through a rebinding of both."""
    town.bob.unregister()
    town.scene.run(1_000)
    first = town.alice.call("bob", 3600)
    town.wait(lambda: first.over, "nobody is there")
    town.rebind(town.alice, moves=True)
    town.bob.register()
    town.wait(lambda: count_watches(town.scene.store) == 0, "the watch has ended")
    (call,), (other,) = town.alice.calls[1:], town.bob.calls
    town.wait(lambda: other.state == "talking", "the callee has its ACK", 100)
    assert call.recalled and call.state == "talking"
    town.rebind(town.alice, town.bob)
    phone, mine, yours = (town.alice, call, other) if who == "alice" else (town.bob, other, call)
    town.end(phone, mine, yours)


def ringing(town: Town) -> None:
    """Bob is back, and his phone rings for alice's recall."""
    town.bob.unregister()
    town.scene.run(1_000)
    first = town.alice.call("bob", 3600)
    town.wait(lambda: first.over, "nobody is there")
    town.alice.lines = 2
    town.bob.register()
    town.wait(lambda: town.alice.calls[-1].recalled and town.alice.calls[-1].state == "ringing", "bob's phone rings")


def test_a_redial_whose_caller_never_heard_the_200_is_not_done(town: Town) -> None:
    """Answered is a call that both ends know of: the callee had its ACK."""
    ringing(town)
    town.rebind(town.alice, register=False)
    town.wait(lambda: town.bob.calls[0].state != "ringing", "bob picks up")
    town.scene.run(60_000)
    assert not town.bob.calls[0].was_answered and count_watches(town.scene.store) == 1
    town.alice.register()
    town.wait(lambda: count_watches(town.scene.store) == 0, "the watch has ended", 200_000)
    town.scene.run()
    assert town.bob.calls[-1].state == "talking" and town.alice.calls[-1].state == "talking"


def test_the_200_follows_a_caller_who_has_rebound_while_it_rang(town: Town) -> None:
    ringing(town)
    town.rebind(town.alice)
    town.wait(lambda: town.bob.calls[0].state == "talking", "the callee has its ACK", 3_000)
    assert count_watches(town.scene.store) == 0
    town.end(town.alice, town.alice.calls[-1], town.bob.calls[0])


def test_what_is_repeated_follows_a_caller_who_registers_late(town: Town) -> None:
    """The 200 has gone to where she was, and the callee repeats it."""
    ringing(town)
    town.rebind(town.alice, register=False)
    town.wait(lambda: town.bob.calls[0].state == "answered", "bob picks up")
    town.scene.run(3_000)
    town.alice.register()
    town.wait(lambda: town.bob.calls[0].state == "talking", "the callee has its ACK", 5_000)
    assert count_watches(town.scene.store) == 0


def test_a_refusal_follows_a_caller_who_has_rebound(town: Town) -> None:
    """RFC 3261 §17.2.1: it is repeated until its ACK is there."""
    town.bob.on_invite = "silent"
    call = town.alice.call("bob")
    town.wait(lambda: town.bob.calls, "bob has the INVITE")
    town.rebind(town.alice, register=False)
    ringing = town.bob.calls[0]
    assert ringing.server is not None
    ringing.server.answer(603, ringing.local_tag)
    town.scene.run(1_000)
    town.alice.register()
    town.wait(lambda: call.status == 603, "she hears of it", 5_000)


def test_a_cancel_follows_a_callee_who_has_rebound(town: Town) -> None:
    town.bob.on_invite = "ring"
    call = town.alice.call("bob")
    town.wait(lambda: call.state == "ringing", "it rings")
    town.rebind(town.bob)
    town.alice.hang_up(call)
    town.wait(lambda: town.bob.calls[0].over and call.status == 487, "it rings no more", 5_000)


@BOTH
def test_a_bye_that_is_repeated_follows_its_phone(town: Town, who: str) -> None:
    """It was sent in the gap between the NAT's rebinding and the phone's REGISTER."""
    phone, call, other = town.ends(who)
    partner = town.partner(phone)
    town.rebind(partner, register=False)
    phone.hang_up(call)
    town.scene.run(1_000)
    partner.register()
    town.wait(lambda: other.over and call.answers[-1:] == [("BYE", 200)], "the BYE is there", 5_000)


@BOTH
def test_a_binding_that_ran_out_takes_its_calls_along(town: Town, who: str) -> None:
    """The phone comes back from another flow when its old binding has expired, for as long as a call may last."""
    phone, call, other = town.ends(who)
    town.partner(phone).register(60)
    town.scene.run(1_000)
    partner = town.partner(phone)
    if partner._refresh is not None:
        partner._refresh.cancel()
    town.scene.run(70_000)
    town.rebind(partner)
    town.end(phone, call, other)


def test_a_register_that_comes_again_by_a_new_way(town: Town) -> None:
    """The NAT forgot its phone before the 200 was there, and the same REGISTER comes again from another port."""
    nat = town.scene.network.home(town.bob)
    town.bob.unregister()
    town.scene.run(1_000)
    town.bob.register()
    town.scene.run(1)
    nat.rebind()
    town.wait(lambda: town.bob.registered, "a retransmission is answered")
    call, other = town.talk()
    town.end(town.alice, call, other)


def test_a_register_that_comes_again_after_its_200(town: Town) -> None:
    """The 200 was on its way when the NAT forgot the phone, and was lost."""
    nat = town.scene.network.home(town.bob)
    call, other = town.talk()
    town.bob.registered = False
    town.bob.register()
    town.scene.run(3)
    nat.rebind()
    town.wait(lambda: town.bob.registered, "a retransmission is answered")
    town.end(town.alice, call, other)
    call, other = town.talk()
    town.end(town.bob, other, call)


def test_two_phones_at_one_private_address_hear_each_their_own_answers() -> None:
    """They have one Contact and no instance, so each takes the other's place as it registers: a rebinding by its looks."""
    scene = Scene()
    desk, flat = (scene.phone("bob", behind=scene.home()) for _ in range(2))
    alice = scene.phone("alice", behind=scene.home(), ring_time=500)
    for caller, other in ((desk, flat), (flat, desk)):
        call = caller.call("alice")
        scene.network.wait(lambda call=call: call.state == "talking", 5_000, "they talk")
        caller.hang_up(call)
        scene.run(1_000)
        assert not other.calls or other.calls[-1].over
        other.register()
        scene.run()
    assert alice.calls
