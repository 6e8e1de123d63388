"""The recall method `b2bua`: the caller's phone and the callee are joined by third-party call control (RFC 3725)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from net.network import Crash, Line, replay, seeds
from net.phone import Call
from net.recalling import ALONE, LADDER, Stage, arm_surely, calls, connect, joined, over, people, place, scene_of
from net.redialing import come_back, watch_of
from net.scene import SERVER
from net.sipwire import literal, request, uri_of
from net.stores import count_watches
from net.stubborn import PHONES

# The call


@pytest.mark.parametrize("redial", [LADDER, ALONE], ids=["after callback", "alone"])
def test_two_who_are_joined(redial: dict[str, Any]) -> None:
    scene = scene_of(redial=redial)
    near, far = connect(scene)
    alice, bob = people(scene)
    assert far.remote.startswith("<sip:alice@example.com>") and not near.outgoing
    assert len([call for call in alice.calls if not call.outgoing]) == 1  # she has picked up once
    assert watch_of(scene) is None and len(bob.calls) == 1
    bob.hang_up(far)
    over(scene)
    assert near.was_answered and near.ended_at - far.ended_at < 100


@pytest.mark.parametrize("name", PHONES)
def test_every_phone_can_be_joined(name: str) -> None:
    scene = scene_of(PHONES[name])
    near, _ = connect(scene)
    people(scene)[0].hang_up(near)
    over(scene)


def test_the_callees_call_is_the_callers() -> None:
    """Through the front door, as any other: routed, and its end tells the next in turn."""
    scene = scene_of()
    arm_surely(scene)
    come_back(scene, people(scene)[1])
    scene.network.wait(lambda: people(scene)[1].calls, 20_000)
    invites = [message for message in scene.network.sent(scene.server, "INVITE") if "bob" in message.uri]
    assert (
        uri_of(invites[0].first("from")) == "sip:alice@example.com"
        and uri_of(invites[0].first("to")) == "sip:bob@example.com"
    )
    assert invites[0].uri == "sip:bob@example.com" and len(invites[0].all("via")) == 1
    assert len(invites[-1].all("via")) == 2 and invites[-1].lines("record-route")
    watch = watch_of(scene)
    assert watch is not None and watch.state == "calling"


def test_the_session_is_one_for_each_phone() -> None:
    """RFC 3264 §8, RFC 3725 §7: the media change, the o= line only in its version."""
    scene = scene_of()
    near, far = connect(scene)
    _alice, bob = people(scene)
    bob.reinvite(far)
    scene.run(1_000)
    shown = [
        re.search(rb"o=([^\r]+)", m.body)[1].split()  # type: ignore[index]
        for m in scene.network.sent(scene.server, "INVITE")
        if m.call_id == near.call_id and m.body
    ]
    assert len(shown) == 3 and len({tuple(o[:2] + o[3:]) for o in shown}) == 1
    assert [int(o[2]) for o in shown] == sorted({int(o[2]) for o in shown})


def test_a_callee_who_is_busy() -> None:
    scene = scene_of(redial={**ALONE, "retry_pause": 3600.0})
    alice, bob = people(scene)
    bob.on_invite = "486"
    arm_surely(scene)
    come_back(scene, bob)
    scene.run(20_000)
    assert not scene.store.legs() and all(call.over for call in alice.calls) and watch_of(scene) is not None


def test_a_caller_who_hangs_up_while_it_rings() -> None:
    scene = scene_of(redial={**ALONE, "retry_pause": 3600.0})
    alice, bob = people(scene)
    bob.ring_time = 60_000
    arm_surely(scene)
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing", 20_000)
    alice.hang_up(next(call for call in alice.calls if call.state == "talking"))
    scene.network.wait(lambda: bob.calls[0].status == 487, 2_000)
    over(scene)


def test_a_caller_who_loses_power() -> None:
    """Silence to what the other side wants ends both (RFC 3261 §12.2.1.2)."""
    scene = scene_of()
    _, far = connect(scene)
    alice, bob = people(scene)
    scene.network.remove(alice)
    alice.switch_off()
    bob.reinvite(far)
    scene.network.wait(lambda: far.over, 40_000, "bob's call to end")
    scene.network.wait(lambda: not scene.store.legs(), 60_000)


def test_a_side_that_has_gone_without_a_word_is_noticed_in_time() -> None:
    scene = scene_of()
    _, far = connect(scene)
    alice, _ = people(scene)
    scene.network.remove(alice)
    alice.switch_off()
    scene.network.wait(lambda: far.over, 1_900_000, "bob's call to end")


def test_tones_of_the_far_side_are_heard_while_it_rings() -> None:
    """A description in a 183 goes on at once, and the 200 with the same one changes nothing."""
    scene = scene_of()
    alice, _ = people(scene)
    bob = scene.peer("robert")
    arm_surely(scene)
    bob.bind("bob")
    scene.network.wait(lambda: bob.count("INVITE"), 20_000)
    invite = bob.take("INVITE")
    tones = people(scene)[1].describe()
    headers = [("Contact", f"<sip:bob@{literal(bob.address)}>"), ("Content-Type", "application/sdp")]
    bob.answer(invite, 183, headers=headers, body=tones)
    scene.run(500)
    (near,) = [call for call in alice.calls if call.state == "talking"]
    assert place(alice.media[near.call_id]) == place(tones)
    bob.answer(invite, 200, headers=headers, body=tones)
    scene.run(500)
    assert near.heard.count("INVITE") == 1 and count_watches(scene.store) == 0


# Within the call


@pytest.mark.parametrize("side", [0, 1])
def test_hold_and_back(side: int) -> None:
    scene = scene_of()
    both = people(scene)
    phone, other = both[side], both[1 - side]
    mine, theirs = connect(scene) if side == 0 else connect(scene)[::-1]
    for direction in ("sendonly", "sendrecv"):
        phone.reinvite(mine, direction)
        scene.run(1_000)
        assert f"a={direction}".encode() in other.media[theirs.call_id]
        assert place(other.media[theirs.call_id]) == (phone.address[0], phone.port)
    assert mine.answers == [("INVITE", 200)] * 2 and joined(scene)
    assert not scene.network.sent(scene.server, "BYE")


def test_a_phone_that_moves_its_audio() -> None:
    scene = scene_of()
    near, _ = connect(scene)
    alice, _ = people(scene)
    alice.port = 5004
    alice.reinvite(near)
    scene.run(1_000)
    assert joined(scene)


def test_a_reinvite_without_an_offer() -> None:
    """RFC 3261 §14.1: the answer is in the ACK, and goes on in the other one."""
    scene = scene_of()
    near, far = connect(scene)
    alice, bob = people(scene)
    alice.in_dialog(near, "INVITE", [("Contact", alice.contact)])
    bob.media.clear()

    def answer(call: Call, ok: Any) -> None:
        uri, routes, hop = alice._way(call)
        fields = [
            ("Via", alice.via()), ("Max-Forwards", "70"), *(("Route", route) for route in routes), ("From", call.local),
            ("To", call.remote), ("Call-ID", call.call_id), ("CSeq", f"{ok.cseq} ACK"), ("Content-Type", "application/sdp"),
        ]  # fmt: skip
        alice.transmit(request("ACK", uri, fields, alice.describe()), hop)

    alice._ack_again = answer  # type: ignore[method-assign]
    scene.run(2_000)
    assert place(bob.media[far.call_id]) == (alice.address[0], alice.port) and joined(scene)
    assert not scene.network.sent(scene.server, "BYE")


@pytest.mark.parametrize("method", ["INFO", "UPDATE", "MESSAGE"])
def test_what_one_says_the_other_hears(method: str) -> None:
    scene = scene_of()
    near, far = connect(scene)
    alice, _ = people(scene)
    body = alice.describe("sendonly") if method == "UPDATE" else b"Signal=5"
    headers = [] if method == "UPDATE" else [("Content-Type", "application/dtmf-relay")]
    alice.in_dialog(near, method, [*headers, ("Contact", alice.contact)], body)
    scene.run(500)
    passed = [m for m in scene.network.sent(scene.server, method) if m.call_id == far.call_id and len(m.all("via")) == 2]
    (sent,) = {m.raw: m for m in passed}.values()
    assert b"Signal=5" in sent.body if method != "UPDATE" else b"a=sendonly" in sent.body
    assert near.answers == [(method, 501 if method == "MESSAGE" else 200)]  # his own word


def test_session_timers_are_between_the_two() -> None:
    """RFC 4028"""
    scene = scene_of()
    near, far = connect(scene)
    alice, _bob = people(scene)
    timers = [("Session-Expires", "1800;refresher=uac"), ("Supported", "timer, 100rel"), ("Min-SE", "90")]
    alice.in_dialog(near, "INVITE", [("Contact", alice.contact), *timers], alice.describe())
    scene.run(500)
    sent = [m for m in scene.network.sent(scene.server, "INVITE") if m.call_id == far.call_id][-1]
    assert sent.first("session-expires") == "1800;refresher=uac" and sent.all("supported") == ["timer"]


def test_glare() -> None:
    """RFC 3261 §14.2: both are refused, and try again when they like."""
    scene = scene_of()
    near, far = connect(scene)
    alice, bob = people(scene)
    alice.reinvite(near)
    bob.reinvite(far)
    scene.run(1_000)
    assert 491 in [status for _, status in (*near.answers, *far.answers)]
    alice.reinvite(near)
    scene.run(1_000)
    assert joined(scene) and near.answers[-1] == ("INVITE", 200)


# Restarts


def steps(redial: dict[str, Any], act: Any = None) -> list[Crash]:
    scene = scene_of(redial=redial)
    connect(scene)
    before = scene.server.taken, scene.server.given
    if act is not None:
        act(scene)
        scene.run(2_000)
    else:
        before = 0, 0
    taken = [Crash(kind, n) for n in range(before[0] + 1, scene.server.taken + 1) for kind in ("before", "uncommitted")]
    return taken + [Crash("output", n) for n in range(before[1] + 1, scene.server.given + 1)]


@pytest.mark.parametrize("down", [100, 3_000])
@pytest.mark.parametrize("redial", [LADDER, ALONE], ids=["after callback", "alone"])
def test_a_restart_at_any_message_until_they_talk(redial: dict[str, Any], down: int) -> None:
    """A joined call lives on, one that was not is over on both sides, and in the end the two talk."""
    for crash in steps(redial):
        scene = scene_of(redial=redial, crashes=[Crash(crash.kind, crash.count, down)])
        try:
            arm_surely(scene)
            people(scene)[1].register()
            scene.network.wait(lambda scene=scene: count_watches(scene.store) == 0, 300_000, "the watch to end")
            scene.network.wait(lambda scene=scene: joined(scene), 60_000, "the two to hear each other")
            scene.run(40_000)
            _near, far = calls(scene)  # one, and no other
            assert joined(scene)
            people(scene)[1].hang_up(far)
            over(scene)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{crash} {down}: {error}\n{scene.network.ladder(300)}") from error


def hold(scene: Stage) -> None:
    people(scene)[0].reinvite(calls(scene)[0], "sendonly")


def hold_far(scene: Stage) -> None:
    people(scene)[1].reinvite(calls(scene)[1], "sendonly")


def bye(scene: Stage) -> None:
    people(scene)[0].hang_up(calls(scene)[0])


def bye_far(scene: Stage) -> None:
    people(scene)[1].hang_up(calls(scene)[1])


@pytest.mark.parametrize("down", [100, 3_000])
@pytest.mark.parametrize("act", [hold, hold_far, bye, bye_far])
def test_a_restart_at_any_message_while_they_talk(act: Any, down: int) -> None:
    for crash in steps(ALONE, act):
        scene = scene_of()
        connect(scene)
        scene.server.crashes = [Crash(crash.kind, crash.count, down)]
        alice, bob = people(scene)
        near, far = calls(scene)
        try:
            act(scene)
            scene.run(40_000)
            if act in (bye, bye_far):
                over(scene)
                continue
            mine, theirs = (near, bob.media[far.call_id]) if act is hold else (far, alice.media[near.call_id])
            if ("INVITE", 491) not in mine.answers:
                assert mine.answers == [("INVITE", 200)] and b"a=sendonly" in theirs
            assert near.state == far.state == "talking" and joined(scene)
            (alice if act is hold else bob).reinvite(mine)
            scene.run(2_000)
            assert mine.answers[-1] == ("INVITE", 200) and joined(scene)
            bye_far(scene)
            over(scene)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{crash} {down}: {error}\n{scene.network.ladder(120)}") from error


def test_over_rough_lines() -> None:
    line = Line(latency=(1, 40), loss=0.1, reorder=0.1, late=400, duplicate=0.1)
    for seed in seeds(0, 30):
        scene = scene_of(redial=LADDER, seed=seed, line=line)
        try:
            _, far = connect(scene)
            scene.run(40_000)
            assert joined(scene)
            people(scene)[1].hang_up(far)
            over(scene)
        except (AssertionError, ValueError) as error:
            raise AssertionError(replay(seed, scene.network, error)) from error


def test_contact_of_ours() -> None:
    scene = scene_of()
    near, _ = connect(scene)
    assert near.target == f"sip:{literal(SERVER)}"
