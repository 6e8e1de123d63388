"""Automatic redial, sentence by sentence, by what phones send and get: from the recall to the end.

The numbers are those of the numbered sentences on automatic redial in the specification of this project: 5 the recall,
6 its end, 7 recalls that come to nothing, 8 other ends, 9 limits, 10 restarts. test_redial.py has the others.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from net.network import Crash, Line
from net.phone import Phone
from net.redialing import (
    ALICE,
    BOB,
    CALL_INFO,
    arm,
    armed,
    come_back,
    final_of,
    refer_names,
    refers,
    refused,
    stage,
    three_callers,
    watch_of,
)
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal, uri_of
from net.stores import count_watches

from sipfast.config import Config, Redial, Timers

# 5. The recall


def test_5_the_form_of_the_refer() -> None:
    """RFC 3515 §2.1, RFC 3892 §2.1."""
    scene, alice, bob = armed()
    come_back(scene, bob)
    scene.run()
    (event,) = refers(scene)
    refer = Sip(event.data)
    assert event.target == "alice"
    assert refer.uri == f"sip:alice@{literal(alice.address)}"
    assert [uri_of(value) for value in refer.lines("refer-to")] == ["sip:bob@example.com"]
    assert [uri_of(value) for value in refer.lines("referred-by")] == ["sip:bob@example.com"]
    assert uri_of(refer.first("from")) == "sip:bob@example.com" and refer.from_tag
    assert uri_of(refer.first("to")) == "sip:alice@example.com" and not refer.to_tag  # out of any dialog
    assert [uri_of(value) for value in refer.lines("contact")] == [f"sip:{literal(SERVER)}"]
    assert refer.first("max-forwards") == "70" and refer.first("cseq").endswith(" REFER")
    assert len(refer.all("via")) == 1 and not refer.lines("route")
    assert refer.first("content-length") == "0"


def test_5_the_refer_goes_to_the_callers_current_binding() -> None:
    scene, alice, bob = armed()
    new = scene.place()
    alice.unregister()
    scene.run()
    scene.network.move(alice, new)
    alice.register()
    scene.run()
    come_back(scene, bob)
    scene.run()
    (event,) = refers(scene)
    assert event.target == "alice" and Sip(event.data).uri == f"sip:alice@{literal(new)}"


def test_5_of_several_phones_the_one_that_called_is_asked() -> None:
    """A device is known by its +sip.instance (RFC 5626 §4.1), whatever its Contact is now."""
    scene = Scene()
    desk = scene.phone("desk", user="alice", register=False, contact_params=';+sip.instance="<urn:uuid:1>"')
    cell = scene.phone("cell", user="alice", register=False, contact_params=';+sip.instance="<urn:uuid:2>"')
    bob = scene.phone("bob", register=False)
    for phone in (desk, cell):
        phone.register()
        scene.run()
    arm(scene, desk)
    scene.network.move(desk, scene.place())
    desk.register()
    scene.run()
    cell.register()  # the latest of all
    scene.run()
    come_back(scene, bob)
    scene.run()
    assert [event.target for event in refers(scene)] == ["desk"]


def test_5_a_caller_who_is_not_registered_is_asked_where_the_invite_came_from() -> None:
    scene = Scene()
    alice, bob = scene.phone("alice", register=False), scene.phone("bob", register=False)
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    assert Sip(refers(scene)[0].data).uri == f"sip:alice@{literal(alice.address)}"


def test_5_a_caller_behind_a_nat_is_asked_by_the_flow() -> None:
    """Contact names a private address; the INVITE came from another."""
    scene = Scene()
    nat = scene.peer("nat", ("10.7.7.7", 40_000))
    bob = scene.phone("bob", register=False)
    nat.ask(
        "INVITE", "sip:bob@example.com", sender="<sip:alice@example.com>;tag=1", headers=[("Expires", "3600")],
        via="SIP/2.0/UDP 192.168.0.5:5060;branch=z9hG4bKn;rport", contact="<sip:alice@192.168.0.5:5060>",
    )  # fmt: skip
    scene.run()
    nat.take("INVITE", 480)
    come_back(scene, bob)
    scene.run()
    assert nat.take("REFER").uri == "sip:alice@192.168.0.5:5060"


def test_5_the_watch_is_marked_before_the_refer_leaves() -> None:
    scene, _, bob = armed()
    seen: list[tuple[str, int, int]] = []

    def look(data: bytes, to: object) -> None:
        if data.startswith(b"REFER "):
            scene.store.abort()  # only what is committed remains
            watch = watch_of(scene)
            assert watch is not None
            seen.append((watch.state, watch.attempts, watch.recalled_at))

    scene.server.on_output = look
    come_back(scene, bob)
    scene.run()
    assert len(seen) == 1 and seen[0][:2] == ("recalling", 1) and scene.now - seen[0][2] < 1_000


# 6. What ends it


def test_6_a_202_proves_nothing() -> None:
    scene, alice, bob = armed({"recall_timeout": 600.0})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(300_000)
    assert alice.refers[0].status == 202
    watch = watch_of(scene)
    assert watch is not None and watch.state == "recalling"


def test_6_the_watch_ends_when_the_call_is_answered() -> None:
    scene, alice, bob = armed()
    bob.ring_time = 8_000
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "calling"
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None


def answered_and_deaf(redial: dict[str, Any] | None = None) -> tuple[Scene, Phone, Phone]:
    """Bob has answered the recalled call, and what is sent to alice is lost from then on."""
    scene, alice, bob = armed(redial)
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    scene.network.remove(alice)
    scene.network.wait(lambda: bob.calls[0].state == "answered")
    scene.run()
    return scene, alice, bob


def test_6_a_call_without_an_ack_was_not_answered() -> None:
    """RFC 3261 §13.3.1.4: the callee gives up after 64*T1. Its phone rings again, for a call that both know of."""
    scene, alice, bob = answered_and_deaf({"retry_pause": 20.0})
    watch = watch_of(scene)
    assert watch is not None and watch.state == "calling"
    scene.run(31_000)
    assert watch_of(scene) == watch
    scene.run(2_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.last_result) == ("armed", "answered, but there was no ACK")
    alice.lines = 2
    scene.network.plug(alice)
    scene.network.wait(lambda: alice.calls[-1].was_answered and bob.calls[-1].was_answered)
    assert watch_of(scene) is None and len(bob.calls) == 2


def test_6_the_ack_is_waited_for_as_long_as_the_t1_of_now_says() -> None:
    scene, alice, bob = armed({"retry_pause": 20.0})
    scene.server.engine.configure(Config(redial=Redial(retry_pause=20.0), timers=Timers(t1=0.1)))
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    scene.network.remove(alice)
    scene.network.wait(lambda: bob.calls[0].state == "answered")
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "calling"
    scene.run(2_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.last_result) == ("armed", "answered, but there was no ACK")


@pytest.mark.parametrize("down", [400, 40_000])
def test_6_a_crash_before_the_ack_loses_nothing(down: int) -> None:
    scene, alice, bob = answered_and_deaf()
    alice.lines = 2
    restart(scene, down)
    scene.network.plug(alice)
    scene.network.wait(lambda: alice.calls[-1].was_answered and bob.calls[-1].was_answered, 120_000)
    scene.run()
    assert watch_of(scene) is None and len(bob.calls) == (1 if down == 400 else 2)


def test_6_an_ack_after_a_crash_ends_the_watch() -> None:
    """The caller has its 2xx from before, and the callee has no need to repeat it."""
    scene, alice, bob = armed()
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.server.crash(scene.now, 1)
    scene.run()
    assert bob.calls[0].was_answered and watch_of(scene) is None
    scene.run(120_000)
    assert len(bob.calls) == 1


def test_6_who_hangs_up_had_its_2xx() -> None:
    """Its ACK was lost, and no other came before its BYE."""
    scene, alice, bob = armed()
    come_back(scene, bob)
    scene.network.wait(lambda: scene.network.sent(scene.server, "INVITE", 200))
    scene.network.line = Line(loss=1.0)
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.network.line = Line()
    assert watch_of(scene) is not None
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: bob.calls[0].over)
    scene.run()
    assert watch_of(scene) is None


def test_6_who_hangs_up_after_a_crash_had_its_2xx() -> None:
    """Its ACK came while the server was down, and its BYE before the callee repeats the 2xx."""
    scene, alice, bob = armed()
    come_back(scene, bob)
    scene.network.wait(lambda: scene.network.sent(scene.server, "INVITE", 200))
    scene.server.crash(scene.now, 100)
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.run(150)
    assert watch_of(scene) is not None
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: bob.calls[0].over)
    scene.run(120_000)
    assert watch_of(scene) is None and len(bob.calls) == 1


def test_6_a_call_may_ring_for_longer_than_it_took_to_place_it() -> None:
    scene, alice, bob = armed({"recall_timeout": 20.0})
    bob.ring_time = 60_000
    come_back(scene, bob)
    scene.run(50_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("calling", 1)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert len(refers(scene)) == 1 and len(alice.calls) == 2 and watch_of(scene) is None


def test_6_end_on_refer_ends_with_the_202() -> None:
    scene, alice, bob = armed({"end_on": "refer"})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    scene.run()
    assert watch_of(scene) is None
    scene.run(7_200_000)
    assert len(refers(scene)) == 1


@pytest.mark.parametrize("on_refer", ["ignore", "603"])
def test_6_end_on_refer_does_not_end_without_it(on_refer: str) -> None:
    scene, alice, bob = armed({"end_on": "refer"})
    alice.on_refer = on_refer
    come_back(scene, bob)
    scene.run(10_000)
    assert watch_of(scene) is not None
    alice.on_refer = "accept"
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    assert watch_of(scene) is None


def test_6_end_on_refer_is_serial_all_the_same() -> None:
    scene, callers, bob = three_callers({"end_on": "refer"})
    come_back(scene, bob)
    scene.network.wait(lambda: callers[-1].calls[-1].recalled and callers[-1].calls[-1].over, 120_000)
    assert all(a.ended_at <= b.started for a, b in pairwise(bob.calls))
    assert len(bob.calls) == 3


def test_6_notifies_are_answered_and_recorded() -> None:
    scene, alice, bob = armed()
    bob.ring_time = 5_000
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers and alice.refers[0].notify_statuses)
    watch = watch_of(scene)
    assert (watch is not None and "100 Trying" in watch.last_result) or watch.state == "calling"
    scene.network.wait(lambda: len(alice.refers[0].notify_statuses) == 2)
    assert alice.refers[0].notify_statuses == [200, 200]


def notify(peer: Speaker, refer: Sip, fragment: bytes, seq: int = 1) -> None:
    """What the phone says about the call that it was asked to place."""
    headers = [("Event", "refer"), ("Subscription-State", "active;expires=60"), ("Content-Type", "message/sipfrag")]
    peer.ask("NOTIFY", uri_of(refer.first("contact")), to=refer.first("from"), sender=f"{refer.first('to')};tag=n",
             call_id=refer.call_id, cseq=seq, headers=headers, body=fragment)  # fmt: skip


@pytest.mark.parametrize(
    "fragment", [b"SIP/2.0 180 Ringing\r\n", b"SIP/2.0 183 Session Progress", b"SIP/2.0 100 Trying\r\nTo: x\r\n"]
)
def test_6_the_sipfrag_is_the_last_result(fragment: bytes) -> None:
    scene = Scene(Config(redial=Redial(recall_timeout=600.0)))
    alice, bob = scene.peer("alice"), scene.phone("bob", register=False)
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    come_back(scene, bob)
    scene.run()
    refer = alice.take("REFER")
    alice.answer(refer, 202, headers=[("Contact", f"<sip:alice@{literal(alice.address)}>")])
    notify(alice, refer, fragment)
    scene.run()
    alice.take("NOTIFY", 200)
    watch = watch_of(scene)
    assert watch is not None
    assert fragment.split(b"\r\n")[0].partition(b" ")[2].decode() in watch.last_result


def asked(redial: dict[str, Any] | None = None) -> tuple[Scene, Speaker, Sip]:
    """Bob is back, and alice's phone has taken the REFER."""
    scene = Scene(Config(redial=Redial(**{"recall_timeout": 600.0, **(redial or {})})))
    alice, bob = scene.peer("alice"), scene.phone("bob", register=False)
    alice.bind()
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    come_back(scene, bob)
    scene.run()
    refer = alice.take("REFER")
    alice.answer(refer, 202, headers=[("Contact", f"<sip:alice@{literal(alice.address)}>")])
    scene.run()
    return scene, alice, refer


def test_6_a_phone_that_says_that_it_could_not_call_is_asked_by_the_next_method() -> None:
    """A 2xx and then no INVITE, known by its last NOTIFY (RFC 3515 §2.4.5)."""
    scene, alice, refer = asked({"methods": ("refer", "refer-nosub")})
    notify(alice, refer, b"SIP/2.0 503 Service Unavailable\r\n")
    scene.run()
    second = alice.take("REFER")
    assert second.first("refer-sub") == "false"
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("recalling", 1)
    assert [result for _, result in scene.store.attempts(BOB, ALICE)] == ["202 Accepted; NOTIFY 503 Service Unavailable"]


def test_6_a_user_who_was_asked_and_said_no_is_asked_by_no_other_method() -> None:
    """By the NOTIFY of a phone that asks first: a person's no waits for the callee's next login."""
    scene, alice, refer = asked({"methods": ("refer", "refer-nosub"), "retry_pause": 1.0})
    notify(alice, refer, b"SIP/2.0 603 Declined\r\n")
    scene.run(60_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.last_result) == ("armed", "NOTIFY 603 Declined")
    assert len(refers(scene)) == 1


def test_6_a_notify_after_the_end_of_the_call_hides_nothing() -> None:
    """What became of the recall is known better than what her phone tells of it."""
    scene, alice, bob = armed()
    bob.on_invite = "486"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    scene.run()
    assert alice.refers[0].notify_statuses == [200, 200]
    watch = watch_of(scene)
    assert watch is not None and watch.last_result == "call got 486"


@pytest.mark.parametrize("fragment", [b"", b"garbage", b"SIP/2.0 abc", b"\xff" * 50, b"SIP/2.0 "])
def test_6_a_strange_sipfrag_does_no_harm(fragment: bytes) -> None:
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.phone("bob", register=False)
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    come_back(scene, bob)
    scene.run()
    refer = alice.take("REFER")
    alice.answer(refer, 202)
    notify(alice, refer, fragment)
    scene.run()
    assert alice.got()[-1] in ("200", "400")
    assert watch_of(scene) is not None


def test_6_a_notify_of_nothing_is_481() -> None:
    """RFC 6665 §4.1.3"""
    scene = Scene()
    alice = scene.peer("alice")
    alice.ask("NOTIFY", f"sip:{literal(SERVER)}", to="<sip:bob@example.com>;tag=x", headers=[("Event", "refer")])
    scene.run()
    alice.take("NOTIFY", 481)


# 7. Recalls that come to nothing


@pytest.mark.parametrize(
    ("on_refer", "after", "attempts"),
    [("603", 0, 0), ("405", 0, 0), ("500", 0, 0), ("ignore", 5_000, 0), ("idle", 20_000, 1)],
)
def test_7_a_recall_that_comes_to_nothing_is_armed_again(on_refer: str, after: int, attempts: int) -> None:
    """It is an attempt only where the phone has accepted, and nothing came of it."""
    scene, alice, bob = armed({"retry_pause": 600.0})
    before = watch_of(scene)
    alice.on_refer = on_refer
    scene.run(100_000)
    come_back(scene, bob)
    scene.run(after - 500 if after else 0)
    watch = watch_of(scene)
    assert before is not None and watch is not None and watch.state == ("recalling" if after else watch.state)
    scene.run(1_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", attempts)
    assert (watch.armed_at, watch.expires_at) == (before.armed_at, before.expires_at)  # its remaining life
    assert watch.last_result


def test_7_a_refer_that_was_given_up_is_sent_no_more() -> None:
    """RFC 3261 §17.1.2.2 would go on for 32 s: a phone back on the net would call in the middle of another's turn."""
    scene, alice, bob = armed({"retry_pause": 600.0})
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.run(5_100)
    sent = [event for event in scene.network.trace if event.data.startswith(b"REFER ")]
    assert len(sent) > 2
    scene.run(60_000)
    assert len([event for event in scene.network.trace if event.data.startswith(b"REFER ")]) == len(sent)


@pytest.mark.parametrize("on_invite", ["486", "480", "600", "408", "500", "503"])
def test_7_a_call_that_finds_bob_busy_is_armed_again(on_invite: str) -> None:
    """A callee who phones for a while after login uses up none of the attempts."""
    scene, alice, bob = armed({"retry_pause": 60.0})
    before = watch_of(scene)
    bob.on_invite = on_invite
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    scene.run()
    watch = watch_of(scene)
    assert before is not None and watch is not None
    assert (watch.state, watch.attempts, watch.expires_at) == ("armed", 0, before.expires_at)
    bob.on_invite = "answer"
    scene.network.wait(lambda: alice.calls[-1].was_answered, 80_000)  # the pause and its jitter, at most 75 s
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None and len(refers(scene)) == 2


@pytest.mark.parametrize("expires", [None, 3600])
def test_7_a_call_that_finds_bob_gone_is_armed_again_with_its_remaining_life(expires: int | None) -> None:
    """Also where the phone puts Expires into every INVITE: the recalled call is no new wish."""
    scene, alice, bob = armed()
    before = watch_of(scene)
    alice.expires = expires
    alice.dial_delay = 3_000
    scene.run(600_000)
    come_back(scene, bob)
    scene.run(1_000)
    bob.unregister()
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    assert alice.calls[-1].status == 480
    scene.run()
    watch = watch_of(scene)
    assert before is not None and watch is not None
    assert (watch.state, watch.attempts, watch.expires_at) == ("armed", 0, before.expires_at)
    scene.run(60_000)
    come_back(scene, bob)  # at the next registration
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None


def test_7_a_refer_that_came_to_nothing_is_not_sent_again() -> None:
    """The next caller has his turn: a phone that comes back after the 5 s must not call as well."""
    scene, alice, bob = armed({"retry_pause": 600.0})
    scene.network.remove(alice)
    come_back(scene, bob)
    scene.run(5_500)
    sent = [event for event in scene.network.trace if event.data.startswith(b"REFER ")]
    assert len(sent) == 4  # at 0, 0.5, 1.5 and 3.5 s
    scene.network.plug(alice)
    scene.run(60_000)
    assert not alice.refers and len(refers(scene)) == 1


def test_7_the_pause_is_kept_while_bob_stays_bound() -> None:
    scene, alice, bob = armed({"retry_pause": 30.0})
    alice.on_refer = "603"
    come_back(scene, bob)
    scene.run(1_000)
    alice.on_refer = "accept"
    scene.run(28_000)
    assert len(refers(scene)) == 1
    scene.run(9_500)  # up to a quarter more
    assert len(refers(scene)) == 2
    scene.network.wait(lambda: alice.calls[-1].was_answered)


def test_7_no_retry_while_bob_is_away() -> None:
    scene, alice, bob = armed({"retry_pause": 30.0})
    alice.on_refer = "603"
    come_back(scene, bob)
    scene.run(1_000)
    bob.unregister()
    scene.run(300_000)
    assert len(refers(scene)) == 1
    watch = watch_of(scene)
    assert watch is not None and watch.attempts == 0


def test_7_a_new_registration_does_not_wait_for_the_pause() -> None:
    scene, alice, bob = refused()
    bob.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    assert len(refers(scene)) == 2


@pytest.mark.parametrize("attempts", [1, 3])
def test_7_after_the_last_attempt_it_ends_with_a_reason(attempts: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sipfast")
    scene, alice, bob = armed({"attempts": attempts, "retry_pause": 10.0})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(120_000)
    assert len(refers(scene)) == attempts
    assert watch_of(scene) is None
    (record,) = [record for record in caplog.records if "given-up" in record.getMessage()]
    assert "no call after REFER" in str(vars(record))


@pytest.mark.parametrize("on_refer", ["603", "501", "ignore"])
def test_7_a_phone_that_refuses_all_methods_uses_no_attempt_up(on_refer: str) -> None:
    """Its watch lives as long as it was asked for; the pauses grow, and are no less than redial.retry_pause."""
    scene, alice, bob = armed({"attempts": 1, "methods": ("refer", "refer-nosub"), "retry_pause": 60.0})
    alice.on_refer = on_refer
    come_back(scene, bob)
    for _ in range(29):
        scene.run(120_000)
        watch = watch_of(scene)
        assert watch is not None and watch.attempts == (watch.state == "recalling")
    times = [event.at for event in refers(scene)][::2]  # by two methods each time
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert all(60_000 * 2**index <= pause <= 95_000 * 2**index for index, pause in enumerate(pauses[:4]))
    assert len(times) >= 6 and all(pause >= 900_000 for pause in pauses[4:])
    scene.run(200_000)
    assert watch_of(scene) is None and scene.store.ended()[0].reason == "monitoring period over"


def test_7_a_callee_who_comes_and_goes_has_no_phone_asked_that_refuses_at_each_login() -> None:
    """Three logins cut the pause short, the later ones do not: no attempts that are used up put an end to it."""
    scene, alice, bob = armed({"retry_pause": 600.0})
    alice.on_refer = "501"
    for _ in range(10):
        come_back(scene, bob)
        scene.run(1_000)
        bob.unregister()
        scene.run(1_000)
    watch = watch_of(scene)
    assert len(refers(scene)) == 4 and watch is not None and (watch.state, watch.attempts) == ("armed", 0)


@pytest.mark.parametrize("first", [0, 1])
def test_7_one_method_that_was_accepted_makes_an_attempt(first: int) -> None:
    """Whatever the phone says to the others."""
    scene, alice, bob = armed({"methods": ("refer", "refer-nosub"), "retry_pause": 3600.0, "recall_timeout": 2.0})
    answers = ["idle", "501"][:: -1 if first else 1]
    alice.on_refer = answers[0]
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    alice.on_refer = answers[1]
    scene.run(10_000)
    watch = watch_of(scene)
    assert len(refers(scene)) == 2 and watch is not None and (watch.state, watch.attempts) == ("armed", 1)


@pytest.mark.parametrize("again", ["482", "501"])
def test_7_a_restart_forgets_what_a_phone_has_said_unless_it_says_so_again(again: str) -> None:
    """482 (RFC 3261 §8.2.2.2): it has accepted. Else nothing is known of it, and no attempt is counted."""
    scene, alice, bob = armed({"retry_pause": 3600.0, "recall_timeout": 30.0})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    scene.run(500)
    alice.on_refer = again
    scene.server.crash(scene.now, 40_000)  # longer than the phone's own transaction lasts
    scene.run(100_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", int(again == "482"))


def test_7_a_call_that_had_come_before_a_restart_makes_an_attempt() -> None:
    """By the state that is stored: her call came, whatever has become of it."""
    scene, alice, bob = armed({"retry_pause": 3600.0, "max_talk": 60.0})
    bob.on_invite = "ring"
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "calling"
    scene.network.remove(alice)
    scene.network.remove(bob)
    scene.server.crash(scene.now)
    scene.run(300_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", 1)


def test_7_attempts_are_those_of_one_watch() -> None:
    """A renewal is a new wish: it begins anew."""
    scene, alice, bob = armed({"attempts": 2, "retry_pause": 3600.0, "recall_timeout": 0.5})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(1_000)
    bob.unregister()
    scene.run(1_000)
    arm(scene, alice)
    for _ in range(2):
        come_back(scene, bob)
        scene.run(1_000)
        bob.unregister()
        scene.run(1_000)
    assert len(refers(scene)) == 3 and watch_of(scene) is None


def test_7_life_does_not_grow_by_trying() -> None:
    scene, alice, bob = stage({"retry_pause": 100.0, "attempts": 100, "recall_timeout": 1.0})
    arm(scene, alice, 300)
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(400_000)
    assert watch_of(scene) is None
    assert len(refers(scene)) == 3  # at 0, 101 and 202 s


# 8. Other ends


def test_8_alice_calls_bob_by_herself() -> None:
    scene, alice, bob = armed({"guard": 600.0})
    come_back(scene, bob)
    call = alice.call("bob")
    scene.network.wait(lambda: call.state == "talking")
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None
    scene.run(1_200_000)
    assert not refers(scene)


def test_8_bob_calls_alice() -> None:
    scene, alice, bob = armed({"guard": 600.0})
    come_back(scene, bob)
    call = bob.call("alice")
    scene.network.wait(lambda: call.state == "talking")
    scene.run()
    assert watch_of(scene) is None
    assert alice.calls[-1].was_answered
    scene.run(1_200_000)
    assert not refers(scene)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_8_a_call_that_is_not_answered_ends_nothing(who: str) -> None:
    scene, alice, bob = armed({"guard": 600.0})
    come_back(scene, bob)
    alice.on_invite = bob.on_invite = "486"
    call = alice.call("bob") if who == "alice" else bob.call("alice")
    scene.network.wait(lambda: call.over)
    scene.run()
    assert watch_of(scene) is not None


def test_8_a_cancel_takes_back_a_recall_that_is_going_on() -> None:
    """INVITE with Expires: 0 while the REFER is on its way: no second attempt."""
    scene, alice, bob = armed()
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(2_000)
    bob.on_invite = "486"
    call = alice.call("bob", 0)
    scene.network.wait(lambda: call.over)
    scene.run(10)
    assert watch_of(scene) is None
    scene.run(200_000)
    assert len(refers(scene)) == 1 and watch_of(scene) is None


# 9. Limits


def test_9_per_caller() -> None:
    scene, alice, _ = stage({"per_caller": 2})
    for callee in ("bob", "carol"):
        arm(scene, alice, callee=callee)
    answer = final_of(arm(scene, alice, callee="dave"))
    assert count_watches(scene.store) == 2 and not answer.lines("call-info")
    renewed = final_of(arm(scene, alice, 7_200))  # a renewal is no new watch
    assert renewed.lines("call-info") == [CALL_INFO]
    arm(scene, alice, 0, callee="carol")
    assert final_of(arm(scene, alice, callee="dave")).lines("call-info")


def test_9_per_callee() -> None:
    scene, alice, _ = stage({"per_callee": 2})
    carol, dave = scene.phone("carol"), scene.phone("dave")
    arm(scene, alice)
    arm(scene, carol)
    assert not final_of(arm(scene, dave)).lines("call-info")
    assert count_watches(scene.store) == 2
    assert final_of(arm(scene, dave, callee="erin")).lines("call-info")


@pytest.mark.parametrize(("callers", "arms"), [("local", False), ("any", True)])
def test_9_callers_of_other_domains(callers: str, arms: bool) -> None:
    scene, _, bob = stage({"callers": callers})
    guest = scene.peer("guest")
    guest.ask("INVITE", "sip:bob@example.com", sender="<sip:guest@other.example>;tag=1", headers=[("Expires", "3600")])
    scene.run()
    answer = guest.take("INVITE", 480)
    assert bool(answer.lines("call-info")) == arms
    assert (watch_of(scene, b"sip:guest@other.example") is not None) == arms
    come_back(scene, bob)
    scene.run()
    assert guest.count("REFER") == int(arms)


def test_9_redial_can_be_switched_off() -> None:
    scene, alice, bob = stage({"enabled": False})
    assert not final_of(arm(scene, alice)).lines("call-info")
    come_back(scene, bob)
    scene.run(30_000)
    assert count_watches(scene.store) == 0 and not refers(scene)


# 10. Restarts


def restart(scene: Scene, down: int = 1_000) -> None:
    scene.server.crash(scene.now, down)
    scene.run(down + 10)
    assert scene.server.engine is not None


def test_10_watches_and_bindings_are_there_after_a_restart() -> None:
    scene, alice, bob = armed()
    before = watch_of(scene)
    restart(scene)
    assert watch_of(scene) == before
    assert [binding.contact for binding in scene.store.bindings(ALICE)] == [uri_of(alice.contact).encode()]
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)


def test_10_timers_run_on_from_the_stored_times() -> None:
    scene, _, bob = armed()
    scene.run(1_800_000)
    restart(scene)
    scene.run(1_800_000 - 10_000)
    assert watch_of(scene) is not None
    scene.run(10_000)
    assert watch_of(scene) is None
    come_back(scene, bob)
    scene.run(30_000)
    assert not refers(scene)


def test_10_a_watch_that_ran_out_meanwhile_is_gone() -> None:
    scene, _, bob = armed()
    restart(scene, down=3_600_000)
    assert watch_of(scene) is None
    come_back(scene, bob)
    scene.run(30_000)
    assert not refers(scene)


def test_10_what_ran_out_meanwhile_goes_a_few_at_a_time() -> None:
    """Each is gone within a second, by commits of a few hundred: a huge one would leave LMDB with too many free pages."""
    scene, _, _ = armed()
    armed_before = watch_of(scene)
    assert armed_before is not None
    for number in range(2000):
        scene.store.put_watch(msgspec.structs.replace(armed_before.unpacked(), callee=b"sip:%d@example.com" % number))
    scene.store.commit()
    scene.server.crash(scene.now, 3_600_000)
    scene.run(3_600_000)
    most, before = 0, count_watches(scene.store)
    for _ in range(1_000):
        scene.run(1)
        most, before = max(most, before - count_watches(scene.store)), count_watches(scene.store)
    assert count_watches(scene.store) == 0
    assert most <= 600 * getattr(scene.server, "workers", 1)  # each by commits of its own


def test_10_a_recall_in_flight_is_taken_up() -> None:
    """The REFER was claimed and committed, and never left."""
    scene, alice, bob = armed()
    scene.server.crashes.append(Crash("output", scene.server.given + 2))  # the 200 leaves, the REFER does not
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers, 1_000)  # at once, and not as another attempt
    watch = watch_of(scene)
    assert watch is not None and watch.attempts == 1
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None and scene.server.restarts == 1
    assert len(bob.calls) == 1


def test_10_a_refer_that_left_before_the_crash_is_not_obeyed_twice() -> None:
    scene, alice, bob = armed()
    alice.dial_delay = 3_000
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    restart(scene)
    scene.run(1_000)
    watch = watch_of(scene)  # the phone's 482 says that it knows the REFER
    assert watch is not None and (watch.state, watch.attempts) == ("recalling", 1)
    scene.run(120_000)
    assert sum(call.recalled for call in alice.calls) == 1
    assert len(bob.calls) == 1 and bob.calls[0].was_answered
    assert watch_of(scene) is None


def test_10_a_registration_that_was_not_committed_recalls_when_it_comes_again() -> None:
    scene, alice, bob = armed()
    scene.server.crashes.append(Crash("uncommitted", scene.server.taken + 1))
    bob.register()
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    assert len(refers(scene)) == 1


def test_10_the_pause_between_attempts_survives() -> None:
    scene, alice, bob = armed({"retry_pause": 60.0})
    alice.on_refer = "603"
    come_back(scene, bob)
    scene.run(1_000)
    alice.on_refer = "accept"
    restart(scene)
    scene.run(30_000)
    assert len(refers(scene)) == 1
    scene.network.wait(lambda: alice.calls[-1].was_answered, 60_000)


def test_10_the_guard_survives() -> None:
    scene, alice, bob = armed({"guard": 10.0})
    come_back(scene, bob)
    scene.run(2_000)
    restart(scene)
    scene.run(5_000)
    assert not refers(scene)
    scene.network.wait(lambda: alice.calls[-1].was_answered, 30_000)
    assert len(refers(scene)) == 1


def test_10_serial_order_survives() -> None:
    """The next caller waits for the end of a call that was answered before the restart."""
    scene, callers, bob = three_callers()
    callers[0].talk_time = 60_000
    come_back(scene, bob)
    scene.network.wait(lambda: callers[0].calls[-1].state == "talking")
    restart(scene)
    scene.run(30_000)
    assert refer_names(scene) == ["carol"]
    scene.network.wait(lambda: callers[2].calls[-1].was_answered, 180_000)
    assert refer_names(scene) == ["carol", "alice", "dave"]


@pytest.mark.parametrize("recall_timeout", [1.0, 3.0, 20.0])
def test_10_a_call_that_is_answered_while_the_server_is_down_ends_its_watch(recall_timeout: float) -> None:
    """The caller hears of it by a repeated 200, which may take T2, 4 s (RFC 3261 §13.3.1.4), whatever recall_timeout is."""
    scene, alice, bob = armed({"recall_timeout": recall_timeout, "retry_pause": 0.5})
    come_back(scene, bob)
    scene.network.wait(lambda: bool(bob.calls))
    scene.run(10)
    scene.server.crash(scene.now, down=10_000)  # he answers after 2 s, and says so again after 2.5, 3.5, 5.5, 9.5 and 13.5
    scene.run(60_000)
    assert alice.calls[-1].was_answered and watch_of(scene) is None
    assert len(refers(scene)) == 1


@pytest.mark.parametrize("recall_timeout", [1.0, 3.0, 20.0])
def test_10_a_call_that_was_placed_while_the_server_was_down_is_waited_for(recall_timeout: float) -> None:
    """Its INVITE comes again, 16 s after the one before at the latest (RFC 3261 §17.1.1.2): no second call is asked for."""
    scene, alice, bob = armed({"recall_timeout": recall_timeout, "retry_pause": 0.5})
    alice.lines = bob.lines = 2
    come_back(scene, bob)
    scene.network.wait(lambda: bool(alice.refers))
    scene.run(10)
    scene.server.crash(scene.now, down=8_500)  # she calls after 0.3 s, and again after 0.8, 1.8, 3.8, 7.8 and 15.8
    scene.run(60_000)
    assert [call.was_answered for call in alice.calls if call.recalled] == [True]
    assert watch_of(scene) is None


def test_10_a_call_that_rings_on_after_a_restart_ends_its_watch_when_it_is_answered() -> None:
    """However long that takes: the recall has come to nothing meanwhile, and the two talk all the same."""
    scene, alice, bob = armed({"retry_pause": 600.0})
    bob.ring_time = 60_000
    come_back(scene, bob)
    scene.network.wait(lambda: bool(bob.calls))
    scene.run(10)
    restart(scene)
    scene.network.wait(lambda: alice.calls[-1].was_answered, 80_000)
    scene.run(1_000)
    assert watch_of(scene) is None and len(refers(scene)) == 1


def test_10_a_call_whose_end_is_never_seen_does_not_block_for_ever() -> None:
    scene, callers, bob = three_callers({"max_talk": 600.0})
    callers[0].talk_time = None
    come_back(scene, bob)
    scene.network.wait(lambda: callers[0].calls[-1].state == "talking")
    scene.run(590_000)
    assert refer_names(scene) == ["carol"]
    scene.run(20_000)
    assert refer_names(scene)[:2] == ["carol", "alice"]


def test_7_a_caller_who_hangs_up_before_it_rang_long_wants_no_more() -> None:
    scene, alice, bob = armed({"retry_pause": 60.0})
    bob.on_invite = "ring"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].state == "ringing", 70_000)
    scene.run(14_000)
    alice.hang_up(alice.calls[-1])
    scene.run(1_000)
    assert alice.calls[-1].status == 487
    assert watch_of(scene) is None and len(refers(scene)) == 1


def test_7_a_call_that_nobody_answers_waits_for_the_next_login() -> None:
    """`no_reply_after`: bob's phone rings, and bob is not there."""
    scene, alice, bob = armed({"retry_pause": 1.0})
    bob.on_invite = "ring"
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].state == "ringing", 70_000)
    scene.run(16_000)
    alice.hang_up(alice.calls[-1])
    scene.run(300_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and len(refers(scene)) == 1
    bob.on_invite = "answer"
    bob.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()
    assert watch_of(scene) is None and len(refers(scene)) == 2


def test_7_a_callee_who_was_busy_often_and_then_does_not_answer_is_waited_for_still() -> None:
    """However often he was busy before: his next login ends that wait."""
    scene, alice, bob = armed({"retry_pause": 5.0})
    bob.on_invite = "486"
    come_back(scene, bob)
    scene.network.wait(lambda: len(refers(scene)) == 6, 900_000)
    scene.run(1_000)
    alice.patience = 20_000  # she hangs up then
    bob.on_invite = "ring"
    before = len(refers(scene))
    scene.network.wait(lambda: len(refers(scene)) == before + 1, 900_000)
    scene.run(60_000)
    assert alice.calls[-1].status == 487 and watch_of(scene) is not None
    bob.on_invite = "answer"
    bob.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered, 10_000)


@pytest.mark.parametrize("status", ["408", "480"])
def test_7_a_call_that_rang_long_and_was_refused_waits_for_the_next_login(status: str) -> None:
    """Some phones give up ringing themselves: that is no answer, too."""
    scene, _, bob = armed({"retry_pause": 1.0})
    bob.on_invite = "ring"
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls, 10_000)
    scene.run(16_000)
    call = bob.calls[-1]
    assert call.server is not None
    call.server.answer(int(status), call.local_tag)
    scene.run(300_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", 1) and len(refers(scene)) == 1


@pytest.mark.parametrize("status", ["603", "604", "606"])
def test_7_a_no_of_the_callee_ends_the_watch(status: str) -> None:
    scene, alice, bob = armed({"retry_pause": 1.0})
    bob.on_invite = status
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    scene.run(10_000)
    assert watch_of(scene) is None and len(refers(scene)) == 1


def test_7_the_callee_answers_somebody_else_first() -> None:
    """Busy with another, who had no watch: tried again after the pause."""
    scene, alice, bob = armed({"guard": 2.0, "retry_pause": 20.0})
    carol = scene.phone("carol", talk_time=15_000)
    come_back(scene, bob)
    call = carol.call("bob")
    scene.network.wait(lambda: call.state == "talking")
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].over)
    assert alice.calls[-1].status == 486 and watch_of(scene) is not None
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None
