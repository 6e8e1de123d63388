"""Several workers in the virtual network: what goes from one to another, who does what, and what a dead one leaves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster, cluster_of, owner_of, peer, phone, retransmitted
from net.network import replay, seeds
from net.phone import Phone
from net.redialing import arm, come_back, refer_names, refers, watch_of
from net.scene import Scene, Speaker
from net.sipwire import Sip, literal, uri_of
from net.stores import count_watches

from sipfast.config import Config, Redial
from sipfast.redial.notice import HELLO, LOOK, Notice, encode
from sipfast.redial.talks import EARLY_ENDS


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    monkeypatch.setattr(scenes, "Server", Cluster)
    yield lambda count: monkeypatch.setattr(Cluster, "workers", count)


# Handing over


def test_responses_find_the_worker_of_their_transaction() -> None:
    scene = Scene()
    alice, bob = phone(scene, "alice", 0), phone(scene, "bob", 1, talk_time=1_000)
    call = alice.call("bob")
    scene.network.wait(lambda: call.over)
    scene.run(1_000)
    assert [call.state for call in (*alice.calls, *bob.calls)] == ["ended", "ended"]
    counters = cluster_of(scene).counters
    assert counters["handed_over"] == counters["handed_in"] >= 3  # 180, 200, and 200 to one of the BYEs
    assert retransmitted(scene) == 0 and counters["stray_responses"] == 0


def ringing(scene: Scene, count: int) -> tuple[Speaker, list[Speaker], Any]:
    """A call that rings; its caller also sends from elsewhere: peers whose datagrams come to each of the other workers."""
    caller = peer(scene, "caller", 0)
    others = [peer(scene, f"other{number}", number) for number in range(1, count)]
    bob = phone(scene, "bob", 1, ring_time=600_000)
    invite = caller.ask("INVITE", "sip:bob@example.com")
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    return caller, others, invite


@pytest.mark.parametrize("count", [2, 4])
def test_a_cancel_from_another_port_finds_its_invite(workers: Callable[[int], None], count: int) -> None:
    workers(count)
    scene = Scene()
    caller, others, invite = ringing(scene, count)
    others[-1].cancel(invite)
    scene.run(1_000)
    assert "487" in caller.got()
    assert others[-1].got() + [each for each in caller.got() if each == "200"] == ["200"]


@pytest.mark.parametrize("count", [2, 4])
def test_a_cancel_that_nobody_knows_is_answered_481_once(workers: Callable[[int], None], count: int) -> None:
    workers(count)
    scene = Scene()
    caller = peer(scene, "caller", 0)
    caller.cancel(Sip(caller.text("INVITE", "sip:bob@example.com")))
    scene.run(1_000)
    assert caller.got() == ["481"]


@pytest.mark.parametrize("count", [2, 4])
def test_an_ack_from_another_port_ends_the_retransmissions(workers: Callable[[int], None], count: int) -> None:
    workers(count)
    scene = Scene()
    caller, other = peer(scene, "caller", 0), peer(scene, "other", count - 1)
    invite = caller.ask("INVITE", "sip:nobody@example.com")
    scene.run(100)
    other.ack(invite, caller.take("INVITE", 480))
    scene.run(40_000)
    assert retransmitted(scene) == 0
    assert cluster_of(scene).counters["timeouts"] == 0


def test_a_notify_goes_to_the_worker_that_sent_the_refer() -> None:
    for worker in (0, 1):
        scene = Scene()
        alice, bob = phone(scene, "alice", worker), phone(scene, "bob", 0, register=False)
        arm(scene, alice)
        come_back(scene, bob)
        scene.network.wait(lambda alice=alice: alice.refers and len(alice.refers[0].notify_statuses) == 2)
        assert alice.refers[0].notify_statuses == [200, 200]


# Redial


def test_a_watch_armed_while_its_callee_came_back_elsewhere_is_recalled() -> None:
    """Two workers look at the same moment: the INVITE finds nobody, and the REGISTER finds no watch."""
    scene = Scene()
    alice, bob = phone(scene, "alice", 0), phone(scene, "bob", 1, register=False)
    arm(scene, alice)
    watch = watch_of(scene)
    scene.store.delete_watch(watch.callee, watch.caller)
    come_back(scene, bob)
    scene.run(1_000)
    assert not refers(scene)
    scene.store.put_watch(watch)
    scene.store.commit()
    notice = Notice(LOOK, 0, watch.callee, watch.caller)
    cluster_of(scene).posted.append((scene.now, owner_of(scene), b"R" + encode(notice), 0))
    scene.network.wait(lambda: alice.calls[-1].was_answered)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None and len(refers(scene)) == 1


@pytest.mark.parametrize("notice", [LOOK, HELLO])
@pytest.mark.parametrize("when", ["armed", "recalling", "talking", "over"])
def test_a_notice_too_many_does_no_harm(when: str, notice: int) -> None:
    scene = Scene(Config(redial=Redial(retry_pause=600.0)))
    alice, bob = phone(scene, "alice", 0, talk_time=10_000), phone(scene, "bob", 1, register=False)
    carol = phone(scene, "carol", 1, talk_time=10_000)
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)

    def again() -> None:
        for worker in range(2):
            data = Notice(notice, 1 - worker, b"sip:bob@example.com", b"sip:alice@example.com")
            cluster_of(scene).posted.append((scene.now, worker, b"R" + encode(data), 1 - worker))
        scene.run()

    if when == "armed":
        again()
    come_back(scene, bob)
    scene.run()
    if when == "recalling":
        again()
    scene.network.wait(lambda: alice.calls[-1].recalled and alice.calls[-1].state == "talking")
    if when == "talking":
        again()
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].over)
    if when == "over":
        again()
    scene.run(1_000_000)
    assert refer_names(scene) == ["alice", "carol"]
    assert [call.was_answered for call in bob.calls] == [True, True]
    assert all(a.ended_at <= b.started for a, b in pairwise(bob.calls))
    assert count_watches(scene.store) == 0


@pytest.mark.parametrize("ends", ["alice", "bob"])
def test_the_next_caller_waits_for_a_bye_wherever_that_comes(ends: str, workers: Callable[[int], None]) -> None:
    workers(4)
    for worker in range(4):
        scene = Scene()
        alice, carol = phone(scene, "alice", worker), phone(scene, "carol", 0, talk_time=1_000)
        bob = phone(scene, "bob", (worker + 1) % 4, register=False, lines=3)
        arm(scene, alice)
        scene.run(1_000)
        arm(scene, carol)
        (alice if ends == "alice" else bob).talk_time = 5_000
        come_back(scene, bob)
        scene.network.wait(lambda carol=carol: carol.calls[-1].recalled and carol.calls[-1].over)
        assert bob.calls[0].ended_at <= bob.calls[1].started <= bob.calls[0].ended_at + 2_000


# A worker dies


@pytest.mark.parametrize("killed", ["owner", "other"])
def test_watches_of_a_dead_worker_expire_in_time(killed: str) -> None:
    for worker in (0, 1):
        scene = Scene()
        alice, bob = phone(scene, "alice", worker), phone(scene, "bob", 0, register=False)
        arm(scene, alice, 600)
        scene.run(1_000)
        victim = owner_of(scene) if killed == "owner" else 1 - owner_of(scene)
        cluster_of(scene).kill(victim, scene.now)
        scene.run(590_000)
        assert watch_of(scene) is not None
        scene.run(10_000)
        assert watch_of(scene) is None
        come_back(scene, bob)
        scene.run(10_000)
        assert not refers(scene)


@pytest.mark.parametrize("lost", ["LOOK", "BOUND"])
def test_what_a_worker_committed_without_telling_is_told_by_its_successor(lost: str) -> None:
    scene = Scene()
    cluster = cluster_of(scene)
    other = 1 - owner_of(scene)
    alice, bob = phone(scene, "alice", other), phone(scene, "bob", other, register=False)
    if lost == "BOUND":
        arm(scene, alice)
        scene.run()
        bob.register()
    else:
        alice.call("bob", 600)
    scene.network.wait(lambda: cluster.posted)
    cluster.posted.clear()
    cluster.kill(other, scene.now)
    if lost == "BOUND":
        scene.network.wait(lambda: alice.calls[-1].was_answered)
        assert len(refers(scene)) == 1
    else:
        scene.run(601_000)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None


def test_a_recalled_call_rings_on_while_the_owner_dies() -> None:
    """It is proxied by another worker, which tells the owner's successor of it."""
    scene = Scene(Config(redial=Redial(retry_pause=1.0, recall_timeout=5.0)))
    owner = owner_of(scene)
    alice = phone(scene, "alice", 1 - owner)
    bob = phone(scene, "bob", 1 - owner, register=False, ring_time=40_000)
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    scene.run(1_000)
    cluster_of(scene).kill(owner, scene.now)
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.run(60_000)
    assert len(refers(scene)) == 1 and len(bob.calls) == 1 and watch_of(scene) is None


def test_a_recalled_call_that_went_down_with_its_worker_is_tried_again() -> None:
    scene = Scene(Config(redial=Redial(retry_pause=1.0, recall_timeout=5.0)))
    owner = owner_of(scene)
    alice = phone(scene, "alice", 1 - owner)
    bob = phone(scene, "bob", owner, register=False, on_invite="ring", lines=3)
    alice.lines = 3
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    scene.run()
    bob.on_invite = "answer"
    cluster_of(scene).kill(1 - owner, scene.now)
    scene.network.wait(lambda: alice.calls[-1].was_answered, 120_000)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None


def test_a_call_that_went_down_with_its_worker_is_not_taken_for_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's phone has not acknowledged the recalled call, and she has called again: that one is the recall's by now."""
    scene = Scene(Config(redial=Redial(retry_pause=1.0, recall_timeout=5.0)))
    owner = owner_of(scene)
    alice = phone(scene, "alice", 1 - owner, lines=3)
    bob = phone(scene, "bob", owner, register=False, lines=3)
    acknowledge = alice._ack
    monkeypatch.setattr(bob, "_repeat_ok", lambda call: None)
    monkeypatch.setattr(alice, "_ack", lambda call, tag: acknowledge(call, tag) if call is not alice.calls[1] else None)
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: len(alice.calls) == 2 and alice.calls[1].was_answered)
    bob.on_invite = "ring"
    alice.call("bob")
    scene.network.wait(lambda: len(bob.calls) == 2 and bob.calls[1].state == "ringing")
    scene.run(100)
    bob.on_invite = "answer"
    cluster_of(scene).kill(1 - owner, scene.now)
    scene.network.wait(lambda: len(alice.calls) > 3 and alice.calls[-1].was_answered, 120_000)
    scene.run()  # the ACK is on its way
    assert watch_of(scene) is None and cluster_of(scene).counters["redial_recalling"] == 0


# Notices that come late


def test_a_call_whose_start_is_told_late_is_not_given_up() -> None:
    scene = Scene(Config(redial=Redial(retry_pause=0.0, recall_timeout=5.0)))
    owner = owner_of(scene)
    alice = phone(scene, "alice", 1 - owner, lines=3)
    bob = phone(scene, "bob", 1 - owner, register=False, ring_time=9_000, lines=3)
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    scene.run(100)
    scene.server.delay = 7_000
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.run(60_000)
    assert len(refers(scene)) == 1 and watch_of(scene) is None


def talking(count: int, answered_by: int) -> tuple[Scene, Phone, Phone, Phone]:
    """Alice and bob talk after a recall, by way of one worker; carol waits. What that worker has to tell is on its way."""
    scene = Scene()
    owner = owner_of(scene)
    worker = (owner + answered_by) % count
    alice, bob = phone(scene, "alice", worker), phone(scene, "bob", worker, register=False, lines=3)
    carol = phone(scene, "carol", owner, talk_time=1_000)
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)
    come_back(scene, bob)
    scene.network.wait(lambda: bob.calls and bob.calls[0].state == "ringing")
    scene.run(500)
    scene.server.delay = 3_000
    scene.network.wait(lambda: alice.calls[-1].state == "talking")
    scene.run(100)
    return scene, alice, bob, carol


@pytest.mark.parametrize("others", [0, EARLY_ENDS - 1], ids=["alone", "among others"])
@pytest.mark.parametrize("ended_by", [0, 2], ids=["the owner", "a third one"])
def test_a_call_that_ends_before_it_was_told_of_keeps_nobody_waiting(
    workers: Callable[[int], None], ended_by: int, others: int
) -> None:
    workers(4)
    scene, alice, bob, carol = talking(4, 1)
    home = cluster_of(scene).home
    elsewhere = (owner_of(scene) + ended_by) % 4
    moved = (alice.address, bob.address)  # by their NAT
    cluster_of(scene).home = lambda peer: elsewhere if peer in moved else home(peer)
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: bob.calls[0].over)
    assert cluster_of(scene).posted
    for number in range(others):
        cluster_of(scene).engines[elsewhere].redial.talks.end(b"another-%d" % number, scene.now)
    scene.run(3_000)
    scene.server.delay = 1
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].over, 20_000)


def test_ends_of_ordinary_calls_are_forgotten(workers: Callable[[int], None]) -> None:
    workers(2)
    scene = Scene()
    redial = cluster_of(scene).engines[0].redial
    for number in range(10 * EARLY_ENDS):
        redial.talks.end(b"call-%d" % number, scene.now)
    assert EARLY_ENDS <= len(redial.talks.ended) <= 2 * EARLY_ENDS


def test_an_end_that_is_told_before_the_answer_keeps_nobody_waiting(workers: Callable[[int], None]) -> None:
    """Three workers: one proxies the answer, another the BYE, and the owner hears of them in the wrong order."""
    workers(4)
    scene, alice, bob, carol = talking(4, 1)
    cluster, owner = cluster_of(scene), owner_of(scene)
    home, elsewhere, moved = cluster.home, (owner + 2) % 4, (alice.address, bob.address)
    slow = (cluster.home(alice.address), owner)
    cluster.posted = [(each[0] + 2_000 * ((each[3], each[1]) == slow), *each[1:]) for each in cluster.posted]
    cluster.delay = 1
    scene.run(3_000)
    assert any(each[1] == owner for each in cluster.posted)
    cluster.home = lambda peer: elsewhere if peer in moved else home(peer)
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].over, 20_000)
    assert list(scene.store.each_talk()) == []


def test_an_end_that_a_dead_worker_did_not_tell_keeps_nobody_waiting() -> None:
    scene, alice, bob, carol = talking(2, 1)
    scene.run(4_000)
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: bob.calls[0].over)
    scene.run(100)
    cluster_of(scene).kill(1 - owner_of(scene), scene.now, losing=True)
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].over, 20_000)


def test_an_answer_that_a_dead_worker_did_not_tell_keeps_the_next_caller_waiting() -> None:
    scene, alice, bob, carol = talking(2, 1)
    cluster_of(scene).kill(1 - owner_of(scene), scene.now, losing=True)
    scene.server.delay = 1
    scene.run(60_000)
    assert refer_names(scene) == ["alice"]
    alice.hang_up(alice.calls[-1])
    scene.network.wait(lambda: carol.calls[-1].recalled and carol.calls[-1].over, 20_000)
    assert bob.calls[0].ended_at <= bob.calls[1].started


MANY = 12
ROUGH = {"attempts": 50, "retry_pause": 2.0, "refer_timeout": 2.0, "recall_timeout": 5.0}


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("seed", list(seeds(1, 6)))
def test_all_are_called_back_once_while_workers_die(seed: int, count: int, workers: Callable[[int], None]) -> None:
    """Callers and callees spread over all workers, half of the callers for one callee; workers are killed all along."""
    workers(count)
    die = random.Random(seed)
    scene = Scene(Config(redial=Redial(**ROUGH)), seed=seed)
    cluster = cluster_of(scene)
    callers = [scene.phone(f"a{i}", talk_time=500, lines=3) for i in range(MANY)]
    popular = scene.phone("popular", register=False, lines=MANY, ring_time=200)
    callees = [scene.phone(f"b{i}", register=False, lines=3, ring_time=200) for i in range(MANY // 2)]
    assert {cluster.home(each.address) for each in callers} == set(range(count))
    for i, caller in enumerate(callers):
        arm(scene, caller, callee="popular" if i % 2 else f"b{i // 2}")

    def kill() -> None:
        cluster.kill(die.randrange(count), scene.now, 300, losing=die.random() < 0.7)

    for i in range(8):
        scene.network.after(200 + 700 * i + die.randrange(600), kill)
    for callee in (popular, *callees):
        scene.network.after(die.randrange(4_000), callee.register)
    try:
        scene.network.wait(lambda: count_watches(scene.store) == 0, 600_000, "every watch to end")
        scene.run(200_000)
        for caller in callers:
            assert sum(call.recalled and call.was_answered for call in caller.calls) == 1, caller.name
        calls = [call for call in popular.calls if call.was_answered]
        assert len(calls) == MANY // 2
        assert all(a.ended_at <= b.answered_at for a, b in pairwise(sorted(calls, key=lambda call: call.answered_at)))
        assert list(scene.store.each_talk()) == []
    except AssertionError as error:
        raise AssertionError(replay(seed, scene.network, error)) from None


def test_refers_name_the_server_not_a_worker() -> None:
    scene = Scene()
    alice, bob = phone(scene, "alice", 0), phone(scene, "bob", 1, register=False)
    arm(scene, alice)
    come_back(scene, bob)
    scene.network.wait(lambda: alice.refers)
    assert uri_of(alice.refers[0].request.first("contact")) == f"sip:{literal(cluster_of(scene).address)}"
