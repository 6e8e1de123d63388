"""A phone or an upstream that is not there is known in a moment (RFC 3261 §16.9, §18.4), by the errors that come back.

Nobody is at the address of who is unplugged here, and each datagram to there brings an ICMP error back.
"""

from __future__ import annotations

from typing import Any

import pytest
from net import scene as scenes
from net.calling import dialog, forked, pair
from net.cluster import Cluster
from net.network import QUOTED
from net.phone import Phone
from net.redialing import armed, come_back, refer_names, refers, stage, three_callers, watch_of
from net.scene import SERVER, Scene
from net.sipwire import literal, request, uri_of
from net.upstream import Upstream

from sipfast._flow import Flow
from sipfast.config import Config
from sipfast.config import Upstream as Behind

SOON = 50  # ms: a few ways through the network, and no retransmission


def gone(scene: Scene, *endpoints: Any) -> None:
    """Their sockets are closed; their machines say so."""
    scene.network.icmp = True
    for endpoint in endpoints:
        scene.network.remove(endpoint)


def counters(scene: Scene) -> dict[str, int]:
    return scene.server.counters


# Phones


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_user_whose_phones_cannot_be_reached_is_480_at_once(method: str, count: int) -> None:
    """§21.4.18; §16.9 with §16.7 step 6 would make it 500."""
    scene, alice, phones = forked(count)
    gone(scene, *phones)
    alice.ask(method, "sip:bob@example.com")
    scene.run(SOON)
    assert alice.got() == ["480"]
    assert counters(scene)["unreachable"] == count


@pytest.mark.parametrize(
    ("others", "answer"),
    [
        ([486], 486), ([480], 480), ([404, 486], 404), ([302], 302), ([603], 603), ([500], 500), ([503], 500),
        ([401], 401), ([487], 487),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dead", ["first", "last"])
def test_unreachable_ranks_below_every_answer_and_delays_none(others: list[int], answer: int, dead: str) -> None:
    """§16.7 step 6"""
    scene, alice, phones = forked(len(others) + 1)
    crashed = phones.pop(0 if dead == "first" else -1)
    gone(scene, crashed)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    for phone, status in zip(phones, others, strict=True):
        assert alice.got() == []
        phone.answer(phone.take("INVITE"), status, headers=[("WWW-Authenticate", 'Digest realm="x", nonce="y"')])
        scene.run(SOON)
    assert alice.got() == [str(answer)]


def test_a_phone_that_does_not_answer_ranks_above_one_that_is_not_there() -> None:
    """§16.8: 408 says that somebody may be there."""
    scene, alice, phones = forked(2)
    gone(scene, phones[0])
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(33_000)
    assert set(alice.got()) == {"408"}  # repeated until it is acknowledged


def test_a_crashed_phone_keeps_nobody_from_answering() -> None:
    scene, alice, (crashed, live) = forked(2)
    gone(scene, crashed)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    invite = live.take("INVITE")
    live.answer(invite, 180)
    scene.run(10_000)
    live.answer(invite, 200)
    scene.run(SOON)
    assert alice.got() == ["180", "200"]
    assert live.inbox == []  # no CANCEL


def test_without_errors_a_phone_that_is_not_there_is_waited_for() -> None:
    scene, alice, (crashed, live) = forked(2)
    scene.network.remove(crashed)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    live.answer(live.take("INVITE"), 486)
    scene.run(31_000)
    assert alice.got() == []
    scene.run(1_100)
    assert alice.got() == ["486"]


def test_a_phone_that_rang_and_crashed_has_no_part_in_the_call_any_more() -> None:
    """§17.1.4: also when a copy of the INVITE crossed its 180."""
    scene, alice, (crashed, live) = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    crashed.answer(crashed.take("INVITE"), 180)
    live.answer(live.take("INVITE"), 486)
    scene.run(SOON)
    assert alice.got() == ["180"]
    fail(scene, crashed, "INVITE")
    scene.run(SOON)
    assert alice.got() == ["180", "486"]


def fail(scene: Scene, who: Any, method: str, flow: Flow | None = None, change: Any = lambda data: data) -> None:
    """An error about the latest message of a kind that the server has sent to somebody."""
    sent = [e.data for e in scene.network.trace if e.source == "server" and e.target == who.name]
    data = [data for data in sent if data.startswith(method.encode() + b" ")][-1]
    scene.server.engine.failed(flow or Flow(*who.address), change(data)[:QUOTED], scene.now)
    scene.server.engine.commit(scene.now)


def test_a_caller_who_cancels_does_not_wait_for_a_phone_that_has_crashed() -> None:
    """§9.1, §16.10: nobody will answer the CANCEL with a 487."""
    scene, alice, bob = pair()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    bob.answer(bob.take("INVITE"), 180)
    scene.run(SOON)
    gone(scene, bob)
    alice.cancel(invite)
    scene.run(SOON)
    assert alice.got() == ["180", "200", "487"]


def test_a_phone_that_is_started_again_is_called_as_ever() -> None:
    scene, alice, bob = pair()
    gone(scene, bob)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    scene.network.plug(bob)
    dialog(scene, *(each for each in (alice, bob) if each.inbox.clear() is None))


def test_a_branch_that_failed_leaves_nothing_behind() -> None:
    scene, alice, bob = pair()
    scene.run(40_000)
    before = counters(scene)
    gone(scene, bob)
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    assert counters(scene)["client_transactions"] == 0
    alice.ack(invite, alice.take("INVITE", 480))
    scene.run(40_000)
    after = counters(scene)
    assert [after[name] - before[name] for name in ("timers", "client_transactions", "server_transactions")] == [0, 0, 0]
    assert after["retransmissions_sent"] == before["retransmissions_sent"]


# Redial


def test_the_caller_of_a_phone_that_cannot_be_reached_is_offered_redial() -> None:
    """Its binding is in doubt: its next REGISTER, a mere refresh included, is its return once it answers an OPTIONS."""
    scene, alice, _ = stage()
    bob = scene.phone("carol")
    gone(scene, bob)
    call = alice.call("carol", 3600)
    scene.network.wait(lambda: call.over, SOON)
    assert (call.status, call.final and call.final.reason) == (480, "Not Logged In, Automatic Redial On")
    assert call.final is not None and call.final.lines("call-info") != []
    assert watch_of(scene, callee=b"sip:carol@example.com") is not None


def test_a_caller_who_cannot_be_reached_has_failed_at_once_and_is_tried_again() -> None:
    scene, alice, bob = armed({"retry_pause": 60.0})
    gone(scene, alice)
    come_back(scene, bob)
    scene.run(SOON + 3_000)
    watch = watch_of(scene)
    assert watch is not None
    assert (watch.state, watch.attempts, watch.last_result) == ("suspended", 0, "caller's phone cannot be reached")
    assert len(refers(scene)) == 1
    scene.network.plug(alice)
    scene.run(80_000)  # the pause, and its jitter
    assert len(refers(scene)) == 2 and alice.calls[-1].was_answered


def test_the_next_caller_has_its_turn_at_once() -> None:
    scene, callers, bob = three_callers()
    gone(scene, callers[0])
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls, 5_000)
    assert refer_names(scene) == ["carol", "alice"]


def test_a_caller_who_stays_away_uses_up_no_attempt_and_is_asked_ever_less_often() -> None:
    scene, alice, bob = armed({"retry_pause": 10.0, "attempts": 3})
    gone(scene, alice)
    come_back(scene, bob)
    scene.run(1_800_000)
    assert 5 < len(refers(scene)) < 12
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("suspended", 0)


# Upstreams


BEHIND = ("10.0.5.1", 5060)


def behind() -> tuple[Scene, Upstream, Phone]:
    config = Config(upstream=(Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),))
    scene = Scene(config)
    upstream = scene.network.add(Upstream("upstream", BEHIND))
    return scene, upstream, scene.phone("alice")


def test_an_upstream_that_is_dead_is_503_and_arms_nothing() -> None:
    """§16.7 step 6: what we know of our next hop we may say; nobody knows that the callee is absent."""
    scene, upstream, alice = behind()
    scene.store.put_known(b"sip:bob@example.com")
    scene.store.commit()
    gone(scene, upstream)
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over, SOON)
    assert call.status == 503
    assert watch_of(scene) is None


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "SUBSCRIBE"])
def test_every_request_for_a_dead_upstream_is_503(method: str) -> None:
    scene, upstream, _ = behind()
    bob = scene.peer("bob")
    gone(scene, upstream)
    bob.ask(method, "sip:example.com" if method == "REGISTER" else "sip:carol@example.com", to="<sip:bob@example.com>")
    scene.run(SOON)
    assert bob.got() == ["503"]
    assert not scene.store.bindings(b"sip:bob@example.com")


def test_another_address_of_the_upstream_or_a_known_phone_takes_its_place_at_once() -> None:
    """RFC 3263 §4.3"""
    second = ("10.0.5.2", 5060)
    uris = tuple(f"sip:{literal(address)}" for address in (BEHIND, second))
    scene = Scene(Config(upstream=(Behind(uri=uris, domains=("example.com",)),)))
    servers = [scene.network.add(Upstream(f"up{i}", address)) for i, address in enumerate((BEHIND, second))]
    servers[1].bindings = servers[0].bindings
    alice, bob = scene.phone("alice", talk_time=1_000), scene.phone("bob")
    for server in servers:
        gone(scene, server)
        call, begun = alice.call("bob"), scene.now
        scene.network.wait(lambda: call.was_answered, 5_000)  # noqa: B023
        assert bob.calls[-1].started - begun < SOON
        scene.network.wait(lambda: call.over)  # noqa: B023
    assert len(bob.calls) == 2


def test_a_known_phone_that_is_gone_as_well_is_480() -> None:
    scene, upstream, alice = behind()
    bob = scene.phone("bob")
    gone(scene, upstream, bob)
    call = alice.call("bob", 3600)
    scene.network.wait(lambda: call.over, 2 * SOON)
    assert call.status == 480
    assert watch_of(scene) is None


def test_what_an_upstream_sends_to_a_phone_that_is_gone_is_430() -> None:
    """RFC 5626 §5.3.1: by the flow token of our Path."""
    scene, upstream, alice = behind()
    (path,) = upstream.registers[0].all("path")
    gone(scene, alice, upstream)
    server = scene.peer("behind", BEHIND)
    server.ask("INVITE", uri_of(alice.contact), route=[path], to="<sip:alice@example.com>")
    scene.run(SOON)
    assert server.got() == ["430"]


# Within a call


def test_a_bye_by_a_token_whose_flow_is_gone_is_430() -> None:
    scene, alice, bob = pair()
    invite, _, ok = dialog(scene, alice, bob)
    gone(scene, bob)
    alice.say(
        request(
            "BYE", uri_of(ok.first("contact")),
            [
                ("Via", f"SIP/2.0/UDP {literal(alice.address)};branch={alice.token('z9hG4bK')}"), ("Max-Forwards", "70"),
                ("From", invite.first("from")), ("To", ok.first("to")), ("Call-ID", ok.call_id), ("CSeq", "2 BYE"),
                *(("Route", value) for value in ok.all("record-route")[::-1]),
            ],
        )
    )  # fmt: skip
    scene.run(SOON)
    assert alice.got() == ["430"]


def test_errors_about_acks_and_responses_change_nothing() -> None:
    """§16.9: a response that cannot be forwarded is dropped. An ACK to a 2xx has no transaction."""
    scene, alice, bob = pair()
    invite, _, _ = dialog(scene, alice, bob)
    known = counters(scene)
    fail(scene, bob, "ACK")
    fail(scene, bob, "INVITE")  # a copy that crossed the 200
    sent = [e.data for e in scene.network.trace if e.source == "server" and e.target == "alice"]
    for data in sent:
        scene.server.engine.failed(Flow(*alice.address), data, scene.now)
    scene.server.engine.commit(scene.now)
    scene.run(SOON)
    after = counters(scene)
    assert alice.inbox == [] and bob.inbox == []
    assert after["undeliverable"] == known["undeliverable"] + 2 + len(sent)
    assert [after[name] for name in ("unreachable", "client_transactions", "server_transactions")] == [
        known[name] for name in ("unreachable", "client_transactions", "server_transactions")
    ]
    alice.again(invite)
    scene.run(SOON)
    assert bob.inbox == []  # still absorbed


def test_the_ack_to_a_refusal_may_fail() -> None:
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    invite = bob.take("INVITE")
    bob.answer(invite, 486)
    scene.run(SOON)
    bob.take("ACK")
    fail(scene, bob, "ACK")
    bob.answer(invite, 486)
    scene.run(SOON)
    bob.take("ACK")  # §17.1.1.2, Completed


# Errors that are not true


def spoilt(data: bytes) -> bytes:
    at = data.index(b"branch=") + 7 + 40
    return data[:at] + (b"1" if data[at : at + 1] == b"0" else b"0") + data[at + 1 :]


@pytest.mark.parametrize(
    ("flow", "change"),
    [
        pytest.param(Flow("10.0.1.77", 5060), lambda data: data, id="from elsewhere"),
        pytest.param(None, spoilt, id="a branch that is not ours"),
        pytest.param(None, lambda data: data[:100], id="cut before the branch"),
        pytest.param(None, lambda data: b"", id="nothing quoted"),
        pytest.param(None, lambda data: bytes(600), id="zeros"),
    ],
)
def test_a_forged_error_changes_nothing(flow: Flow | None, change: Any) -> None:
    """ICMP can be forged by anybody: the flow must be the branch's own, and the branch ours."""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    fail(scene, bob, "INVITE", flow, change)
    scene.run(SOON)
    assert alice.got() == []
    bob.answer(bob.take("INVITE"), 486)
    scene.run(SOON)
    assert alice.got() == ["486"]
    assert counters(scene)["unreachable"] == 0


def test_who_got_one_branch_of_a_fork_cannot_end_another() -> None:
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(SOON)
    fail(scene, phones[0], "INVITE", Flow(*phones[1].address))
    scene.run(SOON)
    assert counters(scene)["unreachable"] == 0


# Several workers


@pytest.mark.parametrize("home", [0, 1, 2])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_an_error_finds_the_worker_that_has_sent(monkeypatch: pytest.MonkeyPatch, home: int, method: str) -> None:
    """The kernel gives it to the worker that has the addressee's own datagrams."""
    monkeypatch.setattr(scenes, "Server", Cluster)
    monkeypatch.setattr(Cluster, "workers", 3)
    scene = Scene()
    cluster: Any = scene.server

    def stand(worker: int) -> None:
        while cluster.home((f"10.0.1.{scene._places + 1}", 5060)) != worker:
            scene._places += 1

    stand(0)
    alice = scene.peer("alice")
    stand(home)
    bob = scene.peer("bob")
    bob.bind()
    scene.run()
    gone(scene, bob)
    alice.ask(method, "sip:bob@example.com")
    scene.run(SOON)
    assert alice.got() == ["480"]
    assert cluster.counters["handed_over"] == (home != 0)


def test_a_forged_error_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    scene = Scene()
    cluster: Any = scene.server
    posted = len(cluster.posted)
    branch = b"z9hG4bKsf" + b"01" + b"0" * 36
    data = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP %b;branch=%b\r\n" % (literal(SERVER).encode(), branch)
    for engine in cluster.engines:
        engine.failed(Flow("10.0.1.1", 5060), data, scene.now)
        engine.commit(scene.now)
    assert len(cluster.posted) == posted and cluster.counters["handed_over"] == 0
