"""A dialog of the server's own with a phone that it has called (RFC 3261 §12 to §15): what leaves and what is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compiled import compiled
from net.network import Crash
from net.phone import Phone
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal, uri_of
from net.stores import FailingStore

from sipfast._flow import Flow

CALL_ID = b"00112233445566778899aabb"
CONTACT = f"sip:{literal(SERVER)}"
SDP = b"v=0\r\no=alice 5 7 IN IP4 10.0.1.1\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(Path(__file__).parent / "user.pyx", tmp_path_factory.mktemp("user"))


def called(user: Any, **more: Any) -> tuple[Scene, Speaker, Any, Sip]:
    """The server has called alice, who has said nothing yet."""
    scene = Scene(**more)
    alice = scene.peer("alice")
    caller = call(user, scene, alice)
    scene.run()
    return scene, alice, caller, alice.take("INVITE")


def call(user: Any, scene: Scene, alice: Speaker | Phone, route: bytes = b"") -> Any:
    caller = user.User()
    uri = f"sip:alice@{literal(alice.address)}".encode()
    assert do(scene, caller.call, scene.server.engine.dialogs, CALL_ID, uri, Flow(*alice.address), scene.now, route)
    return caller


def do(scene: Scene, act: Any, *args: Any, **more: Any) -> Any:
    """Have the server do something by itself: what it gives leaves with a commit."""
    found = act(*args, **more)
    scene.server._commit(scene.now)
    return found


def answered(user: Any, **more: Any) -> tuple[Scene, Speaker, Any, Sip]:
    """She has answered."""
    scene, alice, caller, invite = called(user, **more)
    alice.answer(invite, 180, headers=contact(alice))
    scene.run()
    alice.answer(invite, 200, headers=contact(alice), body=SDP)
    scene.run()
    return scene, alice, caller, invite


def contact(peer: Speaker) -> list[tuple[str, str]]:
    return [("Contact", f"<sip:alice@{literal(peer.address)};x=1>")]


def within(peer: Speaker, invite: Sip, method: str, cseq: int = 1, **more: Any) -> Sip:
    """A request of hers in the dialog."""
    return peer.ask(
        method, CONTACT, sender=f"{invite.first('to')};tag=tag-{peer.name}", to=invite.first("from"), call_id=invite.call_id,
        cseq=cseq, **more,
    )  # fmt: skip


def stored(user: Any, scene: Scene) -> list[Any]:
    found: list[Any] = user.records(scene.server.engine.dialogs)
    return found


# What leaves


def test_the_form_of_the_invite(user: Any) -> None:
    _, alice, _, invite = called(user)
    assert invite.uri == f"sip:alice@{literal(alice.address)}"
    assert invite.first("from") == '"bob" <sip:bob@example.com>;tag=tag' and invite.first("to") == "<sip:alice@example.com>"
    assert invite.first("cseq") == "1 INVITE" and invite.call_id == CALL_ID.decode()
    assert invite.lines("contact") == [f"<{CONTACT}>"] and invite.first("max-forwards") == "70"
    assert not invite.lines("supported") and not invite.lines("require") and not invite.lines("expires")
    assert invite.first("content-type") == "application/sdp"


def test_the_offer_is_audio_both_ways_that_every_phone_has(user: Any) -> None:
    """RFC 3264 §5.1. Never `inactive`: some phones crash at it, others stay mute."""
    lines = called(user)[3].body.decode().split("\r\n")
    assert [line[2:] for line in lines if line.startswith("m=")] == ["audio 9 RTP/AVP 0 8 101"]
    assert "a=sendrecv" in lines and f"c=IN IP4 {SERVER[0]}" in lines
    assert not {"a=inactive", "a=sendonly", "a=recvonly"} & set(lines)


def test_a_call_that_is_answered_and_hung_up(user: Any) -> None:
    scene, alice, caller, invite = answered(user)
    ack = alice.take("ACK")
    assert ack.uri == f"sip:alice@{literal(alice.address)};x=1" and ack.cseq == 1 and ack.to_tag == "tag-alice"
    assert ack.branch != invite.branch  # §13.2.2.4: of no transaction
    assert caller.heard == [("ringing", 180, b"tag-alice"), ("answered", b"tag-alice")]
    (leg,) = stored(user, scene)
    assert (leg.state, leg.heard, leg.target) == ("answered", SDP, ack.uri.encode())
    do(scene, caller.end, scene.now)
    scene.run()
    bye = alice.take("BYE")
    assert bye.cseq == 2 and bye.uri == ack.uri and bye.from_tag == "tag" and bye.to_tag == "tag-alice"
    assert stored(user, scene)[0].state == "ending"
    alice.answer(bye, 200)
    scene.run()
    assert not stored(user, scene) and scene.server.counters["legs"] == 0


def test_a_2xx_that_comes_again_gets_the_same_ack(user: Any) -> None:
    """§13.2.2.4, and after the transaction is over as well."""
    scene, alice, _, invite = answered(user)
    first = alice.take("ACK")
    for pause in (500, 40_000):
        scene.run(pause)
        alice.answer(invite, 200, headers=contact(alice), body=SDP)
        scene.run()
        assert alice.take("ACK").raw == first.raw


def test_a_fork_that_answers_too_is_acknowledged_and_sent_away(user: Any) -> None:
    scene, alice, caller, invite = answered(user)
    alice.take("ACK")
    alice.answer(invite, 200, headers=contact(alice), tag="other")
    scene.run()
    assert [alice.take("ACK").to_tag, alice.take("BYE").to_tag] == ["other", "other"]
    assert caller.heard[-1] == ("answered", b"tag-alice") and stored(user, scene)[0].state == "answered"


def test_a_call_that_is_given_up_while_it_rings(user: Any) -> None:
    scene, alice, caller, invite = called(user)
    do(scene, caller.end, scene.now)
    scene.run()
    assert not alice.count("CANCEL")  # §9.1: not before a provisional response
    alice.answer(invite, 180)
    scene.run()
    cancel = alice.take("CANCEL")
    assert cancel.branch == invite.branch and cancel.cseq == 1
    alice.answer(cancel, 200)
    alice.answer(invite, 487)
    scene.run()
    assert alice.take("ACK").branch == invite.branch and not stored(user, scene)


def test_a_cancel_that_comes_too_late_is_followed_by_a_bye(user: Any) -> None:
    scene, alice, caller, invite = called(user)
    alice.answer(invite, 180)
    scene.run()
    do(scene, caller.end, scene.now)
    scene.run()
    alice.answer(invite, 200, headers=contact(alice))
    scene.run()
    assert alice.take("ACK").to_tag == alice.take("BYE").to_tag == "tag-alice"
    assert ("answered", b"tag-alice") not in caller.heard


@pytest.mark.parametrize("status", [302, 404, 486, 488, 603])
def test_a_call_that_is_refused(user: Any, status: int) -> None:
    scene, alice, caller, invite = called(user)
    alice.answer(invite, status)
    scene.run()
    assert alice.take("ACK").branch == invite.branch
    assert caller.heard[0][:2] == ("refused", status) and not stored(user, scene)


def test_a_phone_that_says_nothing(user: Any) -> None:
    scene, _, caller, _ = called(user)
    scene.run(33_000)
    assert caller.heard == [("refused", 408, "none")] and not stored(user, scene)


def test_requests_go_by_the_route_set_of_the_dialog(user: Any) -> None:
    """§12.1.2, §12.2.1.1: Record-Route backwards, loose routers in Route."""
    scene, alice, caller, invite = called(user)
    here = literal(alice.address)
    routes = [("Record-Route", f"<sip:far.example.com;lr>, <sip:{here};lr>")]
    alice.answer(invite, 200, headers=[*contact(alice), *routes])
    scene.run()
    ack = alice.take("ACK")
    assert ack.all("route") == [f"<sip:{here};lr>", "<sip:far.example.com;lr>"] and ack.uri.startswith("sip:alice@")
    do(scene, caller.ask, b"REFER", b"Refer-To: <sip:bob@example.com>\r\n", b"", scene.now)
    scene.run()
    assert alice.take("REFER").all("route") == ack.all("route")


def test_a_strict_router_is_in_the_request_uri(user: Any) -> None:
    scene, alice, _, invite = called(user)
    alice.answer(invite, 200, headers=[*contact(alice), ("Record-Route", f"<sip:{literal(alice.address)}>")])
    scene.run()
    ack = alice.take("ACK")
    assert ack.uri == f"sip:{literal(alice.address)}"
    assert [uri_of(value) for value in ack.all("route")] == [f"sip:alice@{literal(alice.address)};x=1"]


def test_a_request_in_an_early_dialog(user: Any) -> None:
    scene, alice, caller, invite = called(user)
    alice.answer(invite, 180, headers=contact(alice), tag="early")
    scene.run()
    do(scene, caller.ask, b"REFER", b"Refer-To: <sip:bob@example.com>\r\n", b"", scene.now, early=True)
    scene.run()
    refer = alice.take("REFER")
    assert refer.to_tag == "early" and refer.cseq == 2 and refer.uri.endswith(";x=1")
    assert [uri_of(value) for value in refer.lines("contact")] == [CONTACT]
    alice.answer(refer, 202)
    scene.run()
    assert caller.heard[-1] == ("replied", b"REFER", 202)


# What comes


def test_she_hangs_up(user: Any) -> None:
    scene, alice, caller, invite = answered(user)
    within(alice, invite, "BYE")
    scene.run()
    assert alice.count("BYE", 200) == 1 and caller.heard[-1] == ("hung up",) and not stored(user, scene)


def test_a_phone_that_knows_nothing_of_the_dialog_any_more(user: Any) -> None:
    """§12.2.1.2"""
    scene, alice, caller, _ = answered(user)
    do(scene, caller.ask, b"REFER", b"Refer-To: <sip:bob@example.com>\r\n", b"", scene.now)
    scene.run()
    alice.answer(alice.take("REFER"), 481)
    scene.run()
    assert caller.heard[-1] == ("hung up",) and not stored(user, scene)


def test_a_reinvite_gets_an_answer_until_it_is_acknowledged(user: Any) -> None:
    """§13.3.1.4, §14.2; RFC 3264 §6.1: what is offered one way is answered the other way."""
    scene, alice, _, invite = answered(user)
    alice.inbox.clear()
    headers = [("Content-Type", "application/sdp"), ("Session-Expires", "1800"), ("Supported", "timer")]
    within(alice, invite, "INVITE", headers=headers, body=SDP)
    scene.run(700)
    ok, second = alice.take("INVITE", 200), alice.take("INVITE", 200)
    assert ok.raw == second.raw and [uri_of(value) for value in ok.lines("contact")] == [CONTACT]
    lines = ok.body.decode().split("\r\n")
    assert "m=audio 9 RTP/AVP 0" in lines and "a=recvonly" in lines
    assert ok.first("session-expires") == "1800;refresher=uac" and ok.first("require") == "timer"
    within(alice, invite, "ACK")
    scene.run(10_000)
    assert not alice.count("INVITE", 200) and not alice.count("BYE")


def test_a_reinvite_that_is_never_acknowledged_ends_it(user: Any) -> None:
    scene, alice, _, invite = answered(user)
    within(alice, invite, "INVITE", headers=[("Content-Type", "application/sdp")], body=SDP)
    scene.run(33_000)
    assert alice.count("BYE") and alice.count("INVITE", 200) == 11


def test_descriptions_of_ours_are_one_session(user: Any) -> None:
    """RFC 3264 §8: the o= line stays but for its version."""
    scene, alice, _, invite = answered(user)
    first = origin(invite.body)
    within(alice, invite, "INVITE")
    scene.run()
    second = origin(alice.take("INVITE", 200).body)
    assert first[:2] == second[:2] and int(second[2]) == int(first[2]) + 1 and first[3:] == second[3:]


def origin(body: bytes) -> list[str]:
    (line,) = [line for line in body.decode().split("\r\n") if line.startswith("o=")]
    return line[2:].split()


@pytest.mark.parametrize("method", ["UPDATE", "INFO", "OPTIONS", "NOTIFY"])
def test_what_phones_say_within_a_dialog_is_taken(user: Any, method: str) -> None:
    scene, alice, caller, invite = answered(user)
    within(alice, invite, method)
    scene.run()
    assert alice.count(method, 200) == 1 and caller.heard[-1] == ("asked", method.encode())


@pytest.mark.parametrize(("method", "status"), [("PRACK", 481), ("REFER", 405), ("SUBSCRIBE", 405), ("FOO", 501)])
def test_what_was_not_asked_for_is_refused(user: Any, method: str, status: int) -> None:
    scene, alice, _, invite = answered(user)
    within(alice, invite, method)
    scene.run()
    refusal = alice.take(method, status)
    assert bool(refusal.lines("allow")) is (status != 481)


def test_an_old_cseq_is_out_of_order(user: Any) -> None:
    """§12.2.2"""
    scene, alice, _, invite = answered(user)
    within(alice, invite, "INFO", 5)
    within(alice, invite, "INFO", 4)
    scene.run()
    assert alice.count("INFO", 200) == 1 and alice.count("INFO", 500) == 1


def test_an_extension_that_nobody_knows(user: Any) -> None:
    scene, alice, _, invite = answered(user)
    within(alice, invite, "INFO", headers=[("Require", "foo")])
    scene.run()
    assert alice.take("INFO", 420).lines("unsupported") == ["foo"]


def test_glare(user: Any) -> None:
    """§14.2: while an INVITE of ours waits for its answer, hers is refused."""
    scene, alice, caller, invite = answered(user)
    do(scene, caller.ask, b"INVITE", b"", b"", scene.now)
    scene.run()
    within(alice, invite, "INVITE")
    scene.run()
    assert alice.count("INVITE", 491) == 1 and alice.count("INVITE") == 1


@pytest.mark.parametrize("tags", [("tag-eve", "tag"), ("tag-alice", "other"), ("tag-alice", "")])
def test_a_request_with_other_tags_is_of_no_dialog(user: Any, tags: tuple[str, str]) -> None:
    scene, alice, _, invite = answered(user)
    to = "<sip:bob@example.com>" + (f";tag={tags[1]}" if tags[1] else "")
    alice.ask("BYE", CONTACT, sender=f"<sip:alice@example.com>;tag={tags[0]}", to=to, call_id=invite.call_id)
    scene.run()
    assert alice.count("BYE", 481 if tags[1] else 405) == 1 and stored(user, scene)


# Restarts


def restart(scene: Scene, down: int = 400) -> None:
    scene.server.crash(scene.now, down)
    scene.run(down + 1)


def test_an_invite_is_the_same_after_a_restart(user: Any) -> None:
    """To the phone it is a retransmission (§17.2.3): it rings once."""
    scene = Scene()
    alice = scene.phone("alice", ring_time=5_000)
    call(user, scene, alice)
    scene.run(1_000)
    restart(scene)
    again = user.User()
    assert again.take(scene.server.engine.dialogs, CALL_ID) == "invited"
    do(scene, again.resume, scene.now)
    scene.network.wait(lambda: alice.calls[0].was_answered)
    assert len(alice.calls) == 1 and [each[0] for each in again.heard] == ["ringing", "answered"]


def test_what_came_while_nobody_listened_is_heard_after_a_restart(user: Any) -> None:
    """A 2xx is repeated until its ACK: the new process gives that, before anybody has taken the leg up."""
    scene = Scene()
    alice = scene.phone("alice", ring_time=1_000)
    call(user, scene, alice)
    scene.run(500)
    restart(scene, 700)
    scene.network.wait(lambda: alice.calls[0].was_answered, 3_000)
    assert stored(user, scene)[0].state == "answered"


@pytest.mark.parametrize(("ring_time", "state"), [(60_000, 487), (500, 200)])
def test_what_nobody_goes_on_with_ends_after_a_restart(user: Any, ring_time: int, state: int) -> None:
    scene = Scene()
    alice = scene.phone("alice", ring_time=ring_time)
    call(user, scene, alice)
    scene.run(1_000)
    restart(scene)
    scene.network.wait(lambda: alice.calls[0].over, 5_000)
    scene.run(1_000)
    assert alice.calls[0].status == state and not stored(user, scene) and len(alice.calls) == 1


@pytest.mark.parametrize("ring_time", [500, 60_000])
def test_an_end_goes_on_after_a_restart(user: Any, ring_time: int) -> None:
    """BYE or CANCEL: the phone hears of it, whether the first one left or not."""
    scene = Scene()
    alice = scene.phone("alice", ring_time=ring_time)
    caller = call(user, scene, alice)
    scene.run(1_000)
    scene.server.crashes = [Crash("output", scene.server.given + 1)]
    do(scene, caller.end, scene.now)
    scene.network.wait(lambda: alice.calls[0].over, 5_000)
    scene.run(1_000)
    assert scene.server.restarts == 1 and not stored(user, scene)


def test_what_was_lost_with_a_commit_is_written_again(user: Any) -> None:
    store = FailingStore()
    scene = Scene(store=store)
    alice = scene.phone("alice", ring_time=60_000)
    store.broken = True
    call(user, scene, alice)
    scene.run(1_500)
    assert alice.calls and not stored(user, scene)
    store.broken = False
    scene.run(2_000)
    assert stored(user, scene)[0].state == "invited"


def test_a_final_response_that_nothing_is_known_of(user: Any) -> None:
    """A call of an earlier process that was never written down: it is acknowledged, and ended."""
    scene, alice, _, invite = called(user)
    scene.server.crash(scene.now)
    for leg in stored_in(scene):
        scene.store.delete_leg(leg.call_id)
    scene.store.commit()
    scene.run(500)
    alice.answer(invite, 200, headers=contact(alice))
    scene.run()
    assert alice.take("ACK").to_tag == alice.take("BYE").to_tag == "tag-alice"
    alice.answer(invite, 486, tag="x")
    scene.run()
    assert alice.take("ACK").branch == invite.branch


def stored_in(scene: Scene) -> list[Any]:
    found: list[Any] = scene.store.legs()
    return found
