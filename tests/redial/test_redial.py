"""Automatic redial, sentence by sentence, by what phones send and get: from the first call to the callee's return.

Alice calls, bob is called. The numbers are those of the numbered sentences on automatic redial in the specification of
this project: 1 arming, 2 the monitoring period, 3 expiry, 4 what counts as coming back. test_recall.py has the others.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from net.network import Crash
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
from net.scene import SERVER, quiet
from net.sipwire import Sip, is_probe, literal, uri_of
from net.stores import FailingStore, count_watches

from sipfast._flow import Flow
from sipfast.config import Peer

# The whole


def test_the_whole_redial() -> None:
    scene, alice, bob = armed()
    alice.talk_time = 10_000
    scene.run(60_000)
    come_back(scene, bob)
    scene.network.wait(lambda: len(alice.calls) == 2 and alice.calls[1].over)
    scene.run()
    assert alice.calls[1].recalled and alice.calls[1].was_answered
    assert [call.state for call in bob.calls] == ["ended"]
    assert watch_of(scene) is None
    scene.run(7_200_000)
    assert refer_names(scene) == ["alice"] and len(alice.calls) == 2 and len(bob.calls) == 1


# 1. Arming


def test_1_a_bound_callee_is_called_as_ever() -> None:
    scene, alice, bob = stage()
    come_back(scene, bob)
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.state == "talking")
    assert watch_of(scene) is None and count_watches(scene.store) == 0


def test_1_an_unbound_callee_arms() -> None:
    scene, alice, _ = stage()
    before = scene.now
    call = arm(scene, alice)
    watch = watch_of(scene)
    assert watch is not None
    assert (watch.callee, watch.caller, watch.mode, watch.state, watch.attempts) == (BOB, ALICE, "NL", "armed", 0)
    assert watch.call_id == call.call_id.encode()
    assert watch.contact == f"sip:alice@{literal(alice.address)}".encode()
    flow = Flow.unpack(watch.flow)
    assert (flow.host, flow.port) == scene.network.seen(alice, SERVER)
    assert before <= watch.armed_at <= scene.now
    assert watch.expires_at == watch.armed_at + 3_600_000


def test_1_the_480_says_that_redial_is_on() -> None:
    """RFC 6910 §7.1 for Call-Info; RFC 3261 §20.43 for Warning; the phrase is for a person."""
    scene, alice, _ = stage()
    answer = final_of(arm(scene, alice))
    assert answer.lines("call-info") == [CALL_INFO]
    assert "redial" in answer.reason.lower()
    (warning,) = answer.lines("warning")
    code, agent, text = warning.split(" ", 2)
    assert code == "399" and agent and text.startswith('"') and "redial" in text.lower()
    assert answer.to_tag


def test_1_the_path_of_the_callers_binding_is_kept() -> None:
    """RFC 3327: the caller is reached through the edge that it registered by."""
    scene, _, bob = stage(peer=(Peer(addresses=("10.9.0.1",), rights=("path",)),))
    carol, edge = scene.peer("carol"), scene.peer("edge", ("10.9.0.1", 5060))
    path = f"<sip:{literal(edge.address)};lr>"
    aor = "<sip:carol@example.com>"
    contact = f"<sip:carol@{literal(carol.address)}>"
    carol.ask("REGISTER", "sip:example.com", to=aor, sender=f"{aor};tag=1", contact=contact,
              headers=[("Path", path), ("Supported", "path")])  # fmt: skip
    scene.run()
    carol.take("REGISTER", 200)
    carol.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    watch = watch_of(scene, b"sip:carol@example.com")
    assert watch is not None and watch.path == path.encode()
    come_back(scene, bob)
    scene.run()
    refer = edge.take("REFER")
    assert refer.all("route") == [path] and refer.uri == uri_of(contact)


def test_1_the_watch_is_committed_before_the_480_leaves() -> None:
    scene, alice, _ = stage()
    scene.server.crashes.append(Crash("output", scene.server.given + 1, down=100_000))
    call = alice.call("bob", 3600)
    scene.run(1_000)
    assert call.state == "calling" and scene.server.restarts == 1
    assert watch_of(scene) is not None


def test_1_what_is_not_committed_was_not_promised() -> None:
    scene, alice, _ = stage()
    scene.server.crashes.append(Crash("uncommitted", scene.server.taken + 1, down=100))
    call = alice.call("bob", 3600)
    scene.run(100)
    assert call.state == "calling" and watch_of(scene) is None
    scene.network.wait(lambda: call.over)  # by a retransmission, when the server is back
    assert call.status == 480 and watch_of(scene) is not None


def test_1_a_watch_that_cannot_be_stored_is_not_promised() -> None:
    scene, alice, bob = stage(store=FailingStore())
    scene.store.broken = True
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over)
    answer = final_of(call)
    assert answer.status >= 500 and not answer.lines("call-info")
    scene.store.broken = False
    assert watch_of(scene) is None
    come_back(scene, bob)
    scene.run(30_000)
    assert not refers(scene)


def test_1_only_an_invite_arms() -> None:
    scene, _, _ = stage()
    carol = scene.peer("carol")
    for method in ("MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER"):
        carol.ask(method, "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    assert sorted(carol.got()) == ["480"] * 4
    assert count_watches(scene.store) == 0


def test_1_nobody_watches_himself() -> None:
    scene, alice, _ = stage()
    alice.unregister()
    scene.run()
    call = alice.call("alice", 3600)
    scene.network.wait(lambda: call.over)
    assert call.status == 480 and count_watches(scene.store) == 0


def test_1_a_callee_whose_bindings_ran_out_is_unbound() -> None:
    scene, alice, bob = stage()
    bob.register(60)
    scene.run(100)
    scene.network.remove(bob)
    scene.run(61_000)
    arm(scene, alice)
    assert watch_of(scene) is not None
    scene.network.plug(bob)
    bob.switch_off()
    come_back(scene, bob)
    scene.run()
    assert refer_names(scene) == ["alice"]


# 2. The monitoring period


@pytest.mark.parametrize("expires", [None, 1, 180, 240, 299])
def test_2_a_short_or_absent_expires_is_a_plain_480(expires: int | None) -> None:
    scene, alice, _ = stage()
    answer = final_of(arm(scene, alice, expires))
    assert watch_of(scene) is None
    assert not answer.lines("call-info") and not answer.lines("warning")
    assert answer.reason == "Temporarily Unavailable"


@pytest.mark.parametrize(
    ("settings", "expires", "period"),
    [
        ({}, 300, 300),
        ({}, 86_400, 86_400),
        ({}, 86_401, 86_400),
        ({}, 2**32 - 1, 86_400),
        ({"min_period": 60}, 60, 60),
        ({"max_period": 600}, 3_600, 600),
        ({"default_period": 900}, None, 900),
        ({"default_period": 900}, 180, 900),
        ({"default_period": 900}, 1_200, 1_200),
        ({"default_period": 900, "max_period": 600}, None, 600),
    ],
)
def test_2_the_period(settings: dict[str, int], expires: int | None, period: int) -> None:
    scene, alice, _ = stage(settings)
    arm(scene, alice, expires)
    watch = watch_of(scene)
    assert watch is not None and watch.expires_at - watch.armed_at == period * 1_000


@pytest.mark.parametrize("value", ["abc", "-1", "3600x", "", "99999999999999999999999"])
def test_2_an_expires_that_is_no_number_arms_nothing_wild(value: str) -> None:
    """Either it is refused, or taken as absent, or (too large a number) cut."""
    scene, _, _ = stage()
    carol = scene.peer("carol")
    carol.ask("INVITE", "sip:bob@example.com", headers=[("Expires", value)])
    scene.run()
    assert carol.got()[0] in ("480", "400")
    watch = watch_of(scene, b"sip:carol@example.com")
    if value.startswith("9"):
        assert watch is None or watch.expires_at - watch.armed_at == 86_400_000
    else:
        assert watch is None


def test_2_expires_zero_cancels_the_pairs_watch_and_no_other() -> None:
    scene, alice, bob = stage()
    carol = scene.phone("carol")
    arm(scene, alice)
    arm(scene, carol)
    answer = final_of(arm(scene, alice, 0))
    assert watch_of(scene) is None and watch_of(scene, b"sip:carol@example.com") is not None
    assert not answer.lines("call-info")
    come_back(scene, bob)
    scene.run()
    assert refer_names(scene) == ["carol"]


def test_2_expires_zero_cancels_when_the_callee_is_there_too() -> None:
    scene, alice, bob = armed({"guard": 60.0})
    come_back(scene, bob)
    bob.on_invite = "486"
    call = alice.call("bob", 0)
    scene.network.wait(lambda: call.over)
    scene.run(10)
    assert watch_of(scene) is None
    scene.run(120_000)
    assert not refers(scene)


def test_2_a_second_invite_renews_the_one_watch() -> None:
    scene, alice, _ = armed()
    first = watch_of(scene)
    scene.run(600_000)
    answer = final_of(arm(scene, alice, 7_200))
    second = watch_of(scene)
    assert first is not None and second is not None
    assert count_watches(scene.store) == 1
    assert second.armed_at == first.armed_at  # it keeps its place
    assert abs(second.expires_at - (scene.now + 7_200_000)) < 1_000
    assert answer.lines("call-info") == [CALL_INFO]


def test_2_a_renewal_may_shorten() -> None:
    scene, alice, bob = armed()
    arm(scene, alice, 300)
    scene.run(301_000)
    assert watch_of(scene) is None
    come_back(scene, bob)
    scene.run(30_000)
    assert not refers(scene)


def test_2_a_retransmitted_invite_is_no_second_one() -> None:
    scene, _, _ = stage()
    carol = quiet(scene, "carol")
    invite = carol.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    first = watch_of(scene, b"sip:carol@example.com")
    carol.again(invite)
    scene.run()
    assert watch_of(scene, b"sip:carol@example.com") == first
    assert [message.lines("call-info") for message in carol.inbox] == [[CALL_INFO]] * 2


# 3. Expiry


def test_3_a_watch_that_ran_out_is_removed_and_nothing_is_sent() -> None:
    scene, alice, bob = armed()
    scene.network.remove(alice)
    scene.run(40_000)  # what the call left behind is done
    scene.network.trace.clear()
    scene.run(3_600_000 - 45_000)
    assert watch_of(scene) is not None
    scene.run(10_000)
    assert watch_of(scene) is None
    assert [event for event in scene.network.trace if event.source == "server"] == []
    come_back(scene, bob)
    scene.run(30_000)
    assert not refers(scene)


def test_3_until_its_end_it_is_alive() -> None:
    scene, _, bob = armed()
    scene.run(3_590_000)
    come_back(scene, bob)
    scene.run()
    assert refer_names(scene) == ["alice"]


# 4. Coming back


def test_4_bob_gets_his_200_before_the_refer_leaves() -> None:
    scene, _, bob = armed()
    scene.network.trace.clear()
    come_back(scene, bob)
    scene.run()
    titles = [event.title for event in scene.network.trace if event.source == "server" and not is_probe(Sip(event.data))]
    assert titles[0] == "200 OK (REGISTER)" and titles[1].startswith("REFER ")


def test_4_a_refresh_does_not_recall() -> None:
    scene, _, bob = refused()
    bob.register()
    scene.run(10_000)
    assert len(refers(scene)) == 1


def test_4_another_binding_beside_one_does_not_recall() -> None:
    scene, _, _ = refused()
    second = scene.phone("second", user="bob")
    scene.run(10_000)
    assert second.registered and len(refers(scene)) == 1


def test_4_a_return_after_leaving_recalls() -> None:
    scene, _, bob = refused()
    bob.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(1_000)
    assert len(refers(scene)) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Contact", "*"), ("Expires", "0")], 200),
        ([("Contact", "<sip:bob@10.0.1.9>"), ("Expires", "0")], 200),
        ([("Contact", "<sip:bob@10.0.1.9>;expires=0")], 200),
        ([], 200),  # a query
        ([("Contact", "<sip:bob@10.0.1.9>"), ("Expires", "10")], 423),
        ([("Contact", "*"), ("Expires", "10")], 400),
        ([("Contact", "<sip:bob@10.0.1.9"), ("Expires", "600")], 400),
        ([("Contact", "<sip:bob@10.0.1.9>"), ("Require", "nonsense")], 420),
    ],
    ids=["star", "expires-0", "contact-expires-0", "query", "too-brief", "bad-star", "malformed", "require"],
)
def test_4_what_binds_nothing_recalls_nobody(headers: list[tuple[str, str]], status: int) -> None:
    scene, _, _ = armed()
    peer = scene.peer("bobs")
    aor = "<sip:bob@example.com>"
    peer.ask("REGISTER", "sip:example.com", to=aor, sender=f"{aor};tag=1", headers=headers, contact="")
    scene.run(30_000)
    assert peer.got() == [str(status)]
    assert not refers(scene)
    watch = watch_of(scene)
    assert watch is not None and watch.attempts == 0


def test_4_guard_delays_the_recall() -> None:
    scene, _, bob = armed({"guard": 5.0})
    come_back(scene, bob)
    scene.run(4_900)
    assert not refers(scene)
    scene.run(200)
    assert refer_names(scene) == ["alice"]


def test_4_who_is_gone_again_within_the_guard_is_not_called() -> None:
    scene, _, bob = armed({"guard": 5.0})
    come_back(scene, bob)
    scene.run(2_000)
    bob.unregister()
    scene.run(60_000)
    assert not refers(scene)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", 0)


def test_4_serial_goes_oldest_first_and_one_call_after_the_other() -> None:
    scene, callers, bob = three_callers()
    arm(scene, callers[0], 7_200)  # a renewal keeps its place
    come_back(scene, bob)
    for i, caller in enumerate(callers):
        scene.network.wait(lambda caller=caller: caller.calls[-1].state == "talking")
        scene.run(5_000)
        assert len(refers(scene)) == i + 1  # while they talk nobody else is asked
        scene.network.wait(lambda caller=caller: caller.calls[-1].over)
    scene.run(1_000)
    assert refer_names(scene) == ["carol", "alice", "dave"]
    assert count_watches(scene.store) == 0
    assert all(a.ended_at <= b.started for a, b in pairwise(bob.calls))


@pytest.mark.parametrize("on_refer", ["603", "ignore", "idle"])
def test_4_serial_goes_on_when_a_recall_comes_to_nothing(on_refer: str) -> None:
    scene, callers, bob = three_callers({"retry_pause": 3600.0})
    callers[0].on_refer = on_refer
    come_back(scene, bob)
    scene.network.wait(lambda: callers[2].calls[-1].recalled and callers[2].calls[-1].over, 120_000)
    assert refer_names(scene) == ["carol", "alice", "dave"]
    assert count_watches(scene.store) == 1


def test_4_all_asks_everyone_at_once() -> None:
    scene, callers, bob = three_callers({"order": "all"})
    come_back(scene, bob)
    scene.run(100)
    assert sorted(refer_names(scene)) == ["alice", "carol", "dave"]
    scene.network.wait(lambda: all(caller.calls[-1].was_answered for caller in callers))
    scene.run()  # the ACK is on its way
    assert count_watches(scene.store) == 0


def test_4_a_watch_armed_for_another_is_not_touched() -> None:
    scene, alice, bob = armed()
    arm(scene, alice, callee="carol")
    come_back(scene, bob)
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    assert watch_of(scene, callee=b"sip:carol@example.com") is not None


# Odd calls


@pytest.mark.parametrize(
    ("uri", "dialled"),
    [
        ("sip:bo%62@EXAMPLE.COM:5060;user=phone", "sip:bob@example.com:5060"),
        ("sip:bob:secret@example.com", "sip:bob@example.com"),
    ],
)
def test_1_a_user_is_the_same_however_it_is_written(uri: str, dialled: str) -> None:
    """RFC 3261 §10.3 step 5: the canonical AOR."""
    scene, _, bob = stage()
    carol = scene.peer("carol")
    carol.ask("INVITE", uri, headers=[("Expires", "3600")])
    scene.run()
    assert carol.take("INVITE", 480).lines("call-info") == [CALL_INFO]
    come_back(scene, bob)
    scene.run()
    assert uri_of(carol.take("REFER").first("refer-to")) == dialled


def test_1_the_request_uri_names_the_callee_and_not_to() -> None:
    scene, _, _ = stage()
    carol = scene.peer("carol")
    carol.ask("INVITE", "sip:bob@example.com", to="<sip:helpdesk@example.com>", headers=[("Expires", "3600")])
    scene.run()
    assert carol.take("INVITE", 480).lines("call-info") == [CALL_INFO]
    assert scene.store.count_by_callee(BOB) == 1


def test_1_a_call_that_a_phone_routes_by_us_arms_as_well() -> None:
    scene, _, _ = stage()
    carol = scene.peer("carol")
    carol.ask("INVITE", "sip:bob@example.com", route=[f"<sip:{literal(SERVER)};lr>"], headers=[("Expires", "3600")])
    scene.run()
    assert carol.take("INVITE", 480).lines("call-info")


def test_1_an_invite_inside_a_dialog_arms_nothing() -> None:
    scene, _, _ = stage()
    carol = scene.peer("carol")
    carol.ask("INVITE", "sip:bob@example.com", to="<sip:bob@example.com>;tag=old", headers=[("Expires", "3600")])
    scene.run()
    assert 400 <= carol.inbox[-1].status < 500
    assert count_watches(scene.store) == 0


def test_1_a_caller_without_contact_is_asked_where_the_invite_came_from() -> None:
    scene, _, bob = stage()
    carol = scene.peer("carol")
    carol.ask("INVITE", "sip:bob@example.com", contact="", headers=[("Expires", "3600")])
    scene.run()
    if carol.take("INVITE", 480).lines("call-info"):
        come_back(scene, bob)
        scene.run()
        assert carol.take("REFER").uri == f"sip:{literal(carol.address)}"


def test_1_an_anonymous_caller_is_of_no_domain_of_ours() -> None:
    """RFC 3323 §4.1.1.3"""
    scene, _, _ = stage({"callers": "local"})
    carol = scene.peer("carol")
    sender = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'
    carol.ask("INVITE", "sip:bob@example.com", sender=sender, headers=[("Expires", "3600")])
    scene.run()
    assert not carol.take("INVITE", 480).lines("call-info")


def test_4_a_call_and_a_return_in_one_batch() -> None:
    """The caller is told first, and called then."""
    scene, _, _ = stage()
    carol, bob = scene.peer("carol"), scene.peer("bob")
    carol.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    bob.bind()
    scene.run()
    assert carol.got() == ["480", "REFER"]
    assert bob.got() == ["200"]


def test_4_a_return_and_a_call_in_one_batch() -> None:
    scene, _, _ = stage()
    carol, bob = scene.peer("carol"), scene.peer("bob")
    bob.bind()
    carol.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    assert bob.got() == ["200", "INVITE"] and count_watches(scene.store) == 0


def test_4_a_return_and_a_leave_in_one_batch() -> None:
    """Whoever is gone by the time that the batch is done may be recalled in vain, but not forgotten."""
    scene, alice, _ = armed()
    bob = scene.peer("bobs")
    bob.bind("bob")
    bob.bind("bob", expires=0)
    scene.run(60_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    bob.bind("bob")
    scene.run(5_000)
    assert len(alice.calls) >= 2 and bob.count("INVITE")
