"""What a 480 says of a watch is final when the ACK with its To tag has come: nothing is armed, renewed or cancelled before.

A source address can be forged; the To tag of the answer reaches only who is there (RFC 3261 §8.2.6.2, §17.1.1.3).
Alice's phone here acknowledges what a test says, and nothing by itself.
"""

from __future__ import annotations

from typing import Any

import pytest
from net.cluster import Cluster, stand
from net.late import LateServer
from net.network import Crash
from net.redialing import ALICE, BOB, refer_names, refers, watch_of
from net.scene import SERVER, Scene, Speaker, quiet
from net.sipwire import Sip
from net.stores import FailingStore, FullStore, count_watches

from sipfast.config import Config, Redial
from sipfast.identity.user_file import secrets_of
from sipfast.identity.users import User, UserTable

TIMER_H = 32_000  # 64*T1


def stage(redial: dict[str, Any] | None = None, **more: Any) -> tuple[Scene, Speaker, Speaker]:
    """Alice is registered, bob is not."""
    scene = Scene(Config(redial=Redial(**{"methods": ("refer",), **(redial or {})})), **more)
    alice, bob = quiet(scene), scene.peer("bob")
    alice.bind()
    scene.run()
    alice.inbox.clear()
    return scene, alice, bob


def call(scene: Scene, alice: Speaker, expires: int = 3600) -> tuple[Sip, Sip]:
    """An INVITE to bob, and its 480, which is not acknowledged."""
    alice.inbox.clear()
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", str(expires))])
    scene.run()
    return invite, alice.take("INVITE", 480)


def arm(scene: Scene, alice: Speaker, expires: int = 3600) -> None:
    alice.ack(*call(scene, alice, expires))
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"


def ended(scene: Scene) -> list[Any]:
    found: list[Any] = scene.store.ended()
    return found


# Armed


def test_without_an_ack_there_was_nothing() -> None:
    scene, alice, bob = stage()
    _, answer = call(scene, alice)
    assert answer.lines("call-info")
    watch = watch_of(scene)
    assert watch is not None and watch.state == "offered"
    bob.bind()
    scene.run(TIMER_H - 1_000)
    assert watch_of(scene) is not None
    scene.run(2_000)
    assert watch_of(scene) is None and not refers(scene) and not ended(scene)
    bob.bind()
    scene.run(60_000)
    assert not refers(scene) and scene.server.counters["redial_unacknowledged"] == 1
    assert scene.server.counters["redial_watches"] == 0 and scene.server.counters["redial_armed"] == 0


def test_with_its_ack_it_is_armed() -> None:
    scene, alice, bob = stage()
    arm(scene, alice)
    assert scene.server.counters["redial_armed"] == 1
    scene.run(2 * TIMER_H)
    assert watch_of(scene) is not None
    bob.bind()
    scene.run()
    assert refer_names(scene) == ["alice"]


def test_a_callee_who_came_back_before_the_ack_is_recalled_upon_at_once() -> None:
    scene, alice, bob = stage()
    invite, answer = call(scene, alice)
    bob.bind()
    scene.run(1_000)
    assert not refers(scene)
    alice.ack(invite, answer)
    scene.run()
    assert refer_names(scene) == ["alice"]


@pytest.mark.parametrize("tag", ["", ";tag=", ";tag=another", ";tag={}x"])
def test_an_ack_with_another_to_tag_is_none(tag: str) -> None:
    scene, alice, bob = stage()
    invite, answer = call(scene, alice)
    wrong = answer.first("to").partition(";tag=")[0] + tag.format(answer.to_tag)
    alice.ack(invite, Sip(answer.raw.replace(answer.first("to").encode(), wrong.encode())))
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "offered"
    bob.bind()
    scene.run(TIMER_H + 1_000)
    assert watch_of(scene) is None and not refers(scene)


def test_the_ack_may_come_by_another_flow() -> None:
    """Its sender's NAT has another port for it by now: the To tag says who it is."""
    scene, alice, _ = stage()
    invite, answer = call(scene, alice)
    other = quiet(scene, "other")
    other.ack(invite, answer)
    scene.run(200)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"


def test_who_has_the_answer_sent_to_himself_proves_nothing() -> None:
    """A stranger who sends the INVITE again from his own address is told the To tag (RFC 3261 §18.2.2)."""
    scene, alice, bob = stage()
    if isinstance(scene.server, Cluster):  # at another worker it is a call of his own
        stand(scene, scene.server.home(alice.address))
    stranger = quiet(scene, "stranger")
    invite, _ = call(scene, alice)
    stranger.transmit(invite.raw, SERVER)
    scene.run(1_000)
    stranger.ack(invite, stranger.take("INVITE", 480))
    scene.run(TIMER_H)
    bob.bind()
    scene.run(TIMER_H)
    assert watch_of(scene) is None and not refers(scene)


def test_a_copy_from_another_port_of_hers_is_hers() -> None:
    """Her NAT gives her another one now and then."""
    scene, alice, _ = stage()
    invite, answer = call(scene, alice)
    again = quiet(scene, "again", address=(alice.address[0], 6060))
    again.transmit(invite.raw, SERVER)
    scene.run()
    again.ack(invite, answer)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"


def test_copies_change_nothing() -> None:
    scene, alice, bob = stage()
    invite, answer = call(scene, alice)
    for _ in range(3):
        alice.again(invite)
        scene.run()
    assert len({message.to_tag for message in alice.inbox if message.status == 480}) == 1
    for _ in range(3):
        alice.ack(invite, answer)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    alice.ack(invite, answer)
    alice.again(invite)
    scene.run()
    assert watch_of(scene) == watch and scene.server.counters["redial_armed"] == 1
    bob.bind()
    scene.run()
    assert len(refers(scene)) == 1


def test_a_stranger_takes_no_part_in_what_she_arms() -> None:
    """His INVITE in her name is offered to her too, and she knows of none: hers alone is armed, whenever her ACK comes."""
    scene, alice, _ = stage()
    hers, answer = call(scene, alice)
    forged = alice.text("INVITE", "sip:bob@example.com", headers=[("Expires", "86400")], contact="<sip:mallory@10.9.9.9>")
    scene.server.receive(forged, alice.address, scene.now)
    scene.run()
    alice.ack(hers, answer)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and b"mallory" not in watch.contact
    scene.run(2 * TIMER_H)
    assert watch_of(scene) == watch


def test_what_a_stranger_offers_first_does_not_end_hers() -> None:
    scene, alice, _ = stage()
    forged = alice.text("INVITE", "sip:bob@example.com", headers=[("Expires", "86400")], contact="<sip:mallory@10.9.9.9>")
    scene.server.receive(forged, alice.address, scene.now)
    scene.run(TIMER_H - 100)
    hers, answer = call(scene, alice)
    scene.run(1_000)  # now his is over
    watch = watch_of(scene)
    assert watch is not None and watch.state == "offered"
    alice.ack(hers, answer)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and b"mallory" not in watch.contact


def test_two_who_talk_meanwhile_wait_no_more() -> None:
    scene, alice, _ = stage()
    invite, answer = call(scene, alice)
    bob = scene.phone("robert", register=False, user="bob")
    bob.register()
    scene.run()
    carol = scene.phone("carol", register=False, user="alice")
    talk = carol.call("bob")
    scene.network.wait(lambda: talk.state == "talking")
    scene.run()
    assert watch_of(scene) is None and not ended(scene)
    alice.ack(invite, answer)
    scene.run(60_000)
    assert watch_of(scene) is None and not refers(scene)


def test_one_that_runs_out_before_its_ack_leaves_no_trace() -> None:
    scene, alice, _ = stage({"min_period": 1})
    invite, answer = call(scene, alice, 2)
    scene.run(3_000)
    alice.ack(invite, answer)
    scene.run()
    assert watch_of(scene) is None and not ended(scene)


# Renewed and cancelled


@pytest.mark.parametrize("expires", [7200, 0])
def test_without_an_ack_a_watch_is_as_it_was(expires: int) -> None:
    scene, alice, bob = stage()
    arm(scene, alice)
    watch = watch_of(scene)
    call(scene, alice, expires)
    assert watch_of(scene) == watch
    scene.run(2 * TIMER_H)
    assert watch_of(scene) == watch and not ended(scene)
    bob.bind()
    scene.run()
    assert refer_names(scene) == ["alice"]


def test_with_its_ack_it_is_renewed() -> None:
    scene, alice, _ = stage()
    arm(scene, alice)
    first = watch_of(scene)
    invite, answer = call(scene, alice, 7200)
    told = scene.now
    scene.run(10_000)
    alice.ack(invite, answer)
    scene.run()
    second = watch_of(scene)
    assert first is not None and second is not None
    assert second.armed_at == first.armed_at and abs(second.expires_at - told - 7_200_000) < 1_000
    assert second.call_id == invite.call_id.encode() and scene.server.counters["redial_renewed"] == 1


def test_with_its_ack_it_is_cancelled() -> None:
    scene, alice, bob = stage()
    arm(scene, alice)
    alice.ack(*call(scene, alice, 0))
    scene.run()
    assert watch_of(scene) is None and [each.reason for each in ended(scene)] == ["cancelled by the caller"]
    bob.bind()
    scene.run(1_000)
    assert not refers(scene)


def test_a_renewal_of_what_runs_out_meanwhile_arms_anew() -> None:
    scene, alice, bob = stage({"min_period": 1})
    arm(scene, alice, 5)
    scene.run(2_000)
    invite, answer = call(scene, alice, 3600)
    scene.run(5_000)
    assert watch_of(scene) is None
    alice.ack(invite, answer)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    bob.bind()
    scene.run()
    assert refer_names(scene) == ["alice"]


def test_a_renewal_of_what_was_ended_by_hand_does_nothing() -> None:
    scene, alice, _ = stage()
    arm(scene, alice)
    invite, answer = call(scene, alice, 7200)
    scene.store.delete_watch(BOB, ALICE)
    scene.store.commit()
    alice.ack(invite, answer)
    scene.run()
    assert watch_of(scene) is None and count_watches(scene.store) == 0


def test_a_renewal_of_one_that_is_recalled_meanwhile_moves_its_end() -> None:
    scene, alice, bob = stage()
    arm(scene, alice)
    invite, answer = call(scene, alice, 7200)
    told = scene.now
    bob.bind()
    scene.run()
    claimed = watch_of(scene)
    assert claimed is not None and claimed.state == "recalling"
    alice.ack(invite, answer)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.state == "recalling" and watch.refer_call_id == claimed.refer_call_id
    assert abs(watch.expires_at - told - 7_200_000) < 1_000 and watch.attempts == 1


def test_a_cancellation_of_one_that_is_recalled_meanwhile_calls_it_off() -> None:
    scene, alice, bob = stage()
    arm(scene, alice)
    invite, answer = call(scene, alice, 0)
    bob.bind()
    scene.run()
    assert len(refers(scene)) == 1
    alice.ack(invite, answer)
    scene.run(60_000)
    assert watch_of(scene) is None and len(refers(scene)) == 1 and scene.server.counters["redial_recalling"] == 0


# Cancelled by a call that finds the callee


def forwarded(scene: Scene, alice: Speaker, bob: Speaker, status: int) -> tuple[Sip, Sip]:
    """A call with Expires: 0 that bob's phone answers so; bob is suspended from recalls meanwhile by the guard."""
    alice.inbox.clear()
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "0")])
    scene.run()
    bob.answer(bob.take("INVITE"), status)
    scene.run()
    return invite, alice.take("INVITE", status)


def test_a_call_that_is_refused_cancels_with_its_ack() -> None:
    scene, alice, bob = stage({"guard": 60.0})
    arm(scene, alice)
    bob.bind()
    scene.run()
    invite, answer = forwarded(scene, alice, bob, 486)
    assert watch_of(scene) is not None
    alice.ack(invite, answer)
    scene.run()
    assert watch_of(scene) is None and [each.reason for each in ended(scene)] == ["cancelled by the caller"]


def test_a_call_that_is_refused_cancels_nothing_without_one() -> None:
    scene, alice, bob = stage({"guard": 60.0})
    arm(scene, alice)
    watch = watch_of(scene)
    bob.bind()
    scene.run()
    forwarded(scene, alice, bob, 486)
    scene.run(TIMER_H + 1_000)
    assert watch_of(scene) == watch
    scene.run(60_000)
    assert refer_names(scene) == ["alice"]


@pytest.mark.parametrize("known", [True, False])
def test_who_has_shown_who_she_is_cancels_with_the_call(known: bool) -> None:
    users = UserTable()
    for name in ("alice", "bob") if known else ():
        secrets = secrets_of(name, "example.com", "x")
        aor = f"sip:{name}@example.com".encode()
        users.add(User(name.encode(), b"example.com", secrets["md5"].encode(), secrets["sha256"].encode(), (aor,)))
    scene = Scene(Config(redial=Redial(guard=60.0)), users=users if known else None)
    alice, bob = scene.phone("alice", password="x"), scene.phone("bob", register=False, password="x", on_invite="ring")
    call_of = alice.call("bob", 3600)
    scene.network.wait(lambda: call_of.over)
    scene.run()
    assert watch_of(scene) is not None
    bob.register()
    scene.run()
    alice.call("bob", 0)
    scene.run(1_000)
    assert (watch_of(scene) is None) == known


# A store that fails, and a server that dies


@pytest.mark.parametrize("when", ["before", "output"])
def test_after_a_crash_what_was_offered_is_armed(when: str) -> None:
    """The phone may have been told, and its ACK have found nobody; a stranger does not bring a crash about."""
    scene, alice, bob = stage()
    if when == "output":  # stored, and its 480 never leaves
        scene.server.crashes.append(Crash("output", scene.server.given + 1, down=100_000))
        alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
        scene.run(1_000)
    else:  # its ACK comes, and is not read any more
        invite, answer = call(scene, alice)
        scene.server.crashes.append(Crash("before", scene.server.taken + 1, down=100_000))
        alice.ack(invite, answer)
        scene.run(1_000)
    assert scene.server.restarts == 1
    scene.run(101_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and watch.offer == b""
    bob.bind()
    scene.run()
    assert refer_names(scene) == ["alice"]


def test_after_a_crash_a_callee_who_is_back_is_recalled_upon() -> None:
    scene, alice, bob = stage()
    call(scene, alice)
    bob.bind()
    scene.run()
    scene.server.crash(scene.now)
    scene.run(1_000)
    assert refer_names(scene) == ["alice"]


@pytest.mark.parametrize("expires", [7200, 0])
def test_a_crash_before_the_ack_leaves_the_watch_as_it_was(expires: int) -> None:
    scene, alice, _ = stage()
    arm(scene, alice)
    watch = watch_of(scene)
    invite, answer = call(scene, alice, expires)
    scene.server.crash(scene.now)
    scene.run(1_000)
    alice.ack(invite, answer)
    scene.run(2 * TIMER_H)
    assert watch_of(scene) == watch


def test_an_offer_that_was_not_stored_is_not_acknowledged_into_being() -> None:
    scene, alice, bob = stage(store=FailingStore())
    scene.store.broken = True
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    answer = alice.take("INVITE", 503)
    scene.store.broken = False
    alice.ack(invite, answer)
    scene.run(TIMER_H + 1_000)
    assert watch_of(scene) is None and count_watches(scene.store) == 0
    assert scene.server.counters["redial_watches"] == 0
    bob.bind()
    scene.run(1_000)
    assert not refers(scene) and scene.server.counters["redial_unacknowledged"] == 0


@pytest.mark.parametrize("expires", [7200, 0])
def test_an_answer_that_was_taken_back_changes_nothing(expires: int) -> None:
    """Its 503 has the same To tag."""
    scene, alice, _ = stage(store=FailingStore())
    arm(scene, alice)
    watch = watch_of(scene)
    alice.inbox.clear()
    scene.store.broken = True
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", str(expires))])
    scene.run()
    scene.store.broken = False
    alice.ack(invite, alice.take("INVITE", 503))
    scene.run(TIMER_H + 1_000)
    assert watch_of(scene) == watch and scene.server.counters["redial_unacknowledged"] == 0


@pytest.mark.parametrize("kind", [FailingStore, FullStore])
@pytest.mark.parametrize("expires", [3600, 7200, 0])
def test_an_ack_that_cannot_be_stored_is_stored_later(kind: Any, expires: int) -> None:
    scene, alice, _ = stage(store=kind())
    if expires != 3600:
        arm(scene, alice)
    invite, answer = call(scene, alice, expires)
    breaks = "broken" if kind is FailingStore else "full"
    setattr(scene.store, breaks, True)
    alice.ack(invite, answer)
    scene.run(5_000)
    setattr(scene.store, breaks, False)
    scene.run(5_000)
    watch = watch_of(scene)
    if expires:
        assert watch is not None and watch.state == "armed" and watch.offer == b""
        assert abs(watch.expires_at - scene.now - expires * 1000) < 20_000
    else:
        assert watch is None
    scene.run(2 * TIMER_H)
    assert watch_of(scene) == watch


def test_an_offer_is_gone_later_where_its_end_cannot_be_stored() -> None:
    scene, alice, bob = stage(store=FullStore())
    call(scene, alice)
    scene.store.full = True
    scene.run(TIMER_H + 5_000)
    scene.store.full = False
    scene.run(TIMER_H + 5_000)
    assert watch_of(scene) is None and not ended(scene)
    bob.bind()
    scene.run(1_000)
    assert not refers(scene)


def test_a_start_with_a_full_disk() -> None:
    scene, alice, _ = stage(store=FullStore())
    call(scene, alice)
    scene.store.full = True
    scene.server.crash(scene.now)
    scene.run(5_000)
    scene.store.full = False
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"


def test_her_ack_counts_though_what_another_call_of_the_batch_was_promised_is_lost() -> None:
    """An INVITE that is offered the same, in one batch with her ACK."""
    scene, alice, _ = stage(store=FailingStore())
    hers, answer = call(scene, alice)
    scene.store.broken = True
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "600")])
    alice.ack(hers, answer)
    scene.run(3_000)
    scene.store.broken = False
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and watch.call_id == hers.call_id.encode()
    scene.run(2 * TIMER_H)
    assert watch_of(scene) == watch


def test_a_store_that_answers_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from net import scene as scenes

    monkeypatch.setattr(scenes, "Server", LateServer)
    scene, alice, bob = stage()
    scene.run(500)
    alice.inbox.clear()
    server = scene.server
    assert isinstance(server, LateServer)
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run(10)
    server.tables.lose(server.batches[-1])
    scene.run(500)
    answer = alice.take("INVITE", 503)
    alice.ack(invite, answer)
    scene.run(2 * TIMER_H)
    assert watch_of(scene) is None and server.counters["redial_armed"] == 0
    alice.inbox.clear()
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run(100)
    alice.ack(invite, alice.take("INVITE", 480))
    scene.run(10)
    server.tables.lose(server.batches[-1])  # what has happened is written again
    scene.run(5_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    bob.bind()
    scene.run(1_000)
    assert refer_names(scene) == ["alice"]
