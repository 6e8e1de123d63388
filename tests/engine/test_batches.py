"""Several batches under way: each answers when it is kept, in their order; what is lost concerns who built upon it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from net import scene as scenes
from net.late import LateServer
from net.phone import Phone
from net.redialing import ALICE, BOB, arm, refers, watch_of
from net.scene import Scene, Speaker
from net.sipwire import Sip, literal
from net.stores import MemoryStore, count_watches, row
from net.upstream import Upstream
from test_faults import Stage as Counting

from sipfast.config import Config, Redial
from sipfast.config import Upstream as Behind
from sipfast.errors import StoreUnavailable
from sipfast.store.records import Binding
from sipfast.store.tables import NAMES

WATCH = BOB + b"\0" + ALICE
WATCHES = NAMES.index("watches")
ARMING = [("Expires", "3600")]


class Held(Counting):
    """The store answers when it is told to."""

    server: LateServer

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.server.held = True

    def keep(self, count: int = 1) -> None:
        """The store has kept, as far as it can, the oldest batches."""
        for _ in range(count):
            self.server.settle(self.server.batches[0], self.now)
            self.server._commit(self.now)
        self.run(5)

    def keep_all(self) -> None:
        while self.server.batches:
            self.keep()

    def lose(self, number: int = 0) -> None:
        """Nothing of a batch will be kept."""
        self.server.tables.lose(self.server.batches[number])

    def next_batch(self) -> None:
        self.run(5)

    def nothing_is_left(self) -> None:
        self.server.held = False
        self.server.due = [(self.now, batch) for batch in self.server.batches]
        super().nothing_is_left()
        assert self.server.counters["batches_under_way"] == 0
        assert self.server.counters["faults"] == 0


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "Server", LateServer)


def finals(peer: Speaker, method: str = "") -> list[int]:
    return [m.status for m in peer.inbox if m.status >= 200 and (not method or m.method == method)]


def invite(peer: Speaker, callee: str = "bob", **more: Any) -> Sip:
    return peer.ask("INVITE", f"sip:{callee}@example.com", headers=ARMING, **more)


def binding_of_another_node(aor: bytes, contact: bytes, now: int) -> bytes:
    store = MemoryStore()
    store.put_bindings(aor, (Binding(contact, now + 3_600_000, b"elsewhere", 1),))
    found = row(store, "bindings", aor)
    assert found is not None
    return found


# ---- kept, late


def test_each_answer_leaves_with_the_commit_of_its_own_batch() -> None:
    stage = Held(register=False)
    peers = [stage.peer(name) for name in ("one", "two", "three")]
    for peer in peers:
        peer.bind()
        stage.next_batch()
    assert stage.server.counters["batches_under_way"] == 3
    assert [finals(peer) for peer in peers] == [[], [], []]
    for count in range(1, 4):
        stage.keep()
        assert [finals(peer) for peer in peers] == [[200]] * count + [[]] * (3 - count)
    stage.nothing_is_left()


def test_answers_leave_in_the_order_of_the_batches_whichever_the_store_has_kept_first() -> None:
    stage = Held(register=False)
    stage.alice.bind()
    stage.next_batch()
    stage.bob.bind()
    stage.next_batch()
    first, second = stage.server.batches
    stage.server.engine.committed(second, stage.now)
    stage.run(5)
    assert finals(stage.alice) == finals(stage.bob) == []
    stage.server.engine.committed(first, stage.now)
    stage.run(5)
    assert finals(stage.alice) == finals(stage.bob) == [200]
    for batch in (first, second, object()):
        with pytest.raises((ValueError, TypeError)):
            stage.server.engine.committed(batch, stage.now)
    with pytest.raises(ValueError, match="StoreError"):
        stage.server.engine.lost(first, None, stage.now)


def test_a_batch_sees_what_those_under_way_have_written_and_leaves_after_them() -> None:
    stage = Held(register=False)
    stage.bob.bind()
    stage.next_batch()
    stage.alice.ask("INVITE", "sip:bob@example.com")
    stage.next_batch()
    assert stage.bob.inbox == stage.alice.inbox == []
    stage.keep()
    assert finals(stage.bob) == [200]
    assert not stage.bob.count("INVITE")
    stage.keep()
    stage.bob.answer(stage.bob.take("INVITE"), 486)
    stage.next_batch()
    stage.keep_all()
    assert finals(stage.alice) == [486]
    stage.nothing_is_left()


def test_what_writes_nothing_waits_for_nobody_but_those_before() -> None:
    stage = Held(register=False)
    stage.alice.ask("OPTIONS", "sip:example.com")
    stage.run(5)
    assert finals(stage.alice) == [200]
    stage.bob.bind()
    stage.next_batch()
    stage.alice.ask("OPTIONS", "sip:example.com")
    stage.next_batch()
    assert finals(stage.alice) == [200]
    stage.keep_all()
    assert finals(stage.alice) == [200, 200]
    stage.nothing_is_left()


def test_a_480_that_is_repeated_before_its_commit_leaves_after_it() -> None:
    """RFC 3261 §17.2.1: Timer G runs from the moment of the answer."""
    stage = Held(register=False)
    stage.alice.bind()
    stage.keep_all()
    stage.run(50)
    stage.keep_all()
    stage.alice.inbox.clear()
    call = invite(stage.alice)
    stage.run(2_000)
    assert stage.alice.got() == []
    stage.keep_all()
    answers = [message for message in stage.alice.inbox if message.status == 480]
    assert len(answers) >= 2 and all(answer.lines("call-info") for answer in answers)
    stage.alice.ack(call, answers[0])
    stage.run(50)
    stage.keep_all()
    assert count_watches(stage.store) == 1


# ---- lost


def test_one_batch_is_lost_while_two_more_are_under_way() -> None:
    """503 for what it has promised; who did not build upon it is answered as if nothing was; who did is decided anew."""
    stage = Held(register=False)
    stage.bob.bind()
    stage.next_batch()
    call = invite(stage.alice, "carol")
    stage.next_batch()
    stage.bob.bind()  # refreshes what the first has written
    stage.next_batch()
    stage.lose(0)
    stage.keep()
    assert finals(stage.bob) == [503]
    assert stage.bob.inbox[-1].first("retry-after") == "5"
    assert not stage.alice.count("INVITE", 480)
    stage.keep()
    refusal = stage.alice.take("INVITE", 480)
    assert refusal.lines("call-info")
    stage.alice.ack(call, refusal)
    stage.keep()  # it was in conflict, and waits for a commit of its own now
    assert finals(stage.bob) == [503]
    stage.keep_all()
    assert finals(stage.bob) == [503, 200]
    assert len(stage.store.bindings(b"sip:bob@example.com")) == 1
    assert count_watches(stage.store) == 1
    counters = stage.server.counters
    assert (counters["failed_commits"], counters["conflicts"], counters["answers_taken_back"]) == (1, 1, 1)


def test_what_was_lost_is_not_seen_by_what_comes_before_its_answer() -> None:
    stage = Held(register=False)
    stage.bob.bind()
    stage.next_batch()
    stage.lose(0)
    call = stage.alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "1")])
    stage.next_batch()
    stage.keep_all()
    assert finals(stage.bob) == [503]
    assert finals(stage.alice) == [480], "nobody is bound"
    stage.alice.ack(call, stage.alice.inbox[-1])
    stage.nothing_is_left()


def test_an_invite_whose_watch_is_lost_gets_503_and_no_copy_of_its_480_leaves() -> None:
    stage = Held(register=False)
    call = invite(stage.alice)
    stage.run(600)
    stage.alice.again(call)
    stage.run(1_500)
    batches = len(stage.server.batches)
    stage.lose(0)
    stage.keep_all()
    assert finals(stage.alice) == [503]
    stage.alice.ack(call, stage.alice.inbox[-1])
    stage.run(50)
    assert count_watches(stage.store) == 0
    assert stage.server.counters["redial_watches"] == 0
    assert batches >= 1
    stage.nothing_is_left()
    assert 480 not in finals(stage.alice)


def test_a_store_that_fails_when_it_is_given_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Held(register=False)

    def apply(batch: object) -> bool:
        raise StoreUnavailable("nobody there")

    monkeypatch.setattr(type(stage.server.tables), "apply", lambda self, batch: apply(batch))
    stage.bob.bind()
    call = invite(stage.alice, "carol")
    stage.run(5)
    assert finals(stage.bob) == finals(stage.alice) == [503]
    stage.alice.ack(call, stage.alice.inbox[-1])
    assert count_watches(stage.store) == 0
    monkeypatch.undo()
    stage.nothing_is_left()


# ---- conflicts


def test_a_conflict_about_one_row_concerns_one_message_of_a_batch() -> None:
    stage = Held(register=False)
    stage.alice.bind()
    stage.bob.bind()
    stage.next_batch()
    assert len(stage.server.batches) == 1
    other = binding_of_another_node(BOB, b"sip:bob@10.9.9.9", stage.now)
    stage.server.tables.write_elsewhere("bindings", BOB, other)
    stage.keep()
    assert (finals(stage.alice), finals(stage.bob)) == ([200], [])
    stage.keep_all()
    assert (finals(stage.alice), finals(stage.bob)) == ([200], [200])
    assert {binding.contact for binding in stage.store.bindings(BOB)} == {b"sip:bob@10.9.9.9", b"sip:bob@10.0.1.2:5060"}
    assert len(stage.bob.inbox[-1].all("contact")) == 2, "RFC 3261 §10.3 step 8: all of them"
    assert stage.server.counters["conflicts"] == 1


def test_an_invite_in_conflict_goes_where_its_callee_is_now() -> None:
    """Another node has bound the callee at the moment that it was found absent."""
    stage = Held(register=False)
    call = invite(stage.alice)
    stage.run(600)  # Timer G has its 480 repeated, which does not leave either
    contact = f"sip:bob@{stage.bob.address[0]}".encode()
    stage.server.tables.write_elsewhere("bindings", BOB, binding_of_another_node(BOB, contact, stage.now))
    stage.keep_all()
    assert finals(stage.alice) == []
    assert stage.bob.count("INVITE") == 1
    stage.bob.answer(stage.bob.take("INVITE"), 486)
    stage.run(5)
    stage.keep_all()
    assert finals(stage.alice) == [486]
    stage.alice.ack(call, stage.alice.inbox[-1])
    stage.run(50)
    assert count_watches(stage.store) == 0
    stage.nothing_is_left()


def test_an_invite_in_conflict_about_its_watch_arms_anew() -> None:
    stage = Held(register=False)
    call = invite(stage.alice)
    stage.next_batch()
    stage.server.tables.write_elsewhere("watches", WATCH, None)
    stage.keep()
    assert finals(stage.alice) == []
    stage.keep_all()
    assert finals(stage.alice) == [480]
    refusal = stage.alice.take("INVITE", 480)
    assert refusal.lines("call-info")
    stage.alice.ack(call, refusal)
    stage.run(50)
    assert count_watches(stage.store) == stage.server.counters["redial_watches"] == 1


def test_a_request_that_is_always_in_conflict_gets_503() -> None:
    stage = Held(register=False)
    stage.bob.bind()
    stage.next_batch()
    tries = 0
    while stage.server.batches:
        tries += 1
        stage.server.tables.write_elsewhere("bindings", BOB, None)
        stage.keep()
    assert tries == 4
    assert finals(stage.bob) == [503]
    assert len(stage.store.bindings(BOB)) == 0
    stage.nothing_is_left()


def test_people_are_told_of_what_was_kept_once_and_of_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def told() -> list[str]:
        return [str(record.sip["aor"]) for record in caplog.records if record.getMessage() == "registered"]  # type: ignore[attr-defined]

    stage = Held(register=False)
    stage.alice.bind()
    stage.bob.bind()
    stage.next_batch()
    assert told() == []
    stage.server.tables.write_elsewhere("bindings", BOB, None)
    stage.keep()
    assert told() == [str(ALICE)]
    stage.keep_all()
    assert told() == [str(ALICE), str(BOB)]


def test_what_was_learned_of_an_upstream_in_conflict_is_learned_again() -> None:
    """Its 200 has left, since it promises nothing of ours: what it says is true all the same."""
    place = ("10.0.5.1", 5060)
    stage = Held(Config(upstream=(Behind(uri=f"sip:{literal(place)}", domains=("example.com",)),)), register=False)
    stage.network.add(Upstream("upstream", place))
    stage.bob.bind()
    stage.run(20)
    while not finals(stage.bob):
        if len(stage.store.bindings(BOB)):
            stage.server.tables.touch_elsewhere((NAMES.index("bindings"), BOB))
            assert not stage.store.bindings(BOB)
        stage.keep()
        stage.run(20)
    assert finals(stage.bob) == [200]
    stage.keep_all()
    assert [binding.contact for binding in stage.store.bindings(BOB)] == [b"sip:bob@10.0.1.2:5060"]
    assert stage.server.counters["conflicts"]
    stage.nothing_is_left()


# ---- redial


def waiting(redial: dict[str, Any] | None = None) -> tuple[Scene, LateServer, Phone, Phone]:
    """Alice waits for bob; from here on the store answers when it is told to."""
    scene = Scene(Config(redial=Redial(**{"guard": 0.0, **(redial or {})})))
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    arm(scene, alice)
    scene.run(100)
    server = scene.server
    assert isinstance(server, LateServer)
    server.held = True
    return scene, server, alice, bob


def keep(scene: Scene, server: LateServer, count: int = 1) -> None:
    for _ in range(count):
        server.settle(server.batches[0], scene.now)
        server._commit(scene.now)
    scene.run(5)


def release(scene: Scene, server: LateServer) -> None:
    server.held = False
    server.due = [(scene.now, batch) for batch in server.batches]
    scene.run(0)


def test_a_refer_leaves_with_the_commit_of_its_claim() -> None:
    scene, server, alice, bob = waiting()
    bob.register()
    scene.run(20)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "recalling"
    assert not bob.registered and not refers(scene)
    keep(scene, server)
    assert bob.registered and len(refers(scene)) == 1
    release(scene, server)
    scene.run(60_000)
    assert [call.recalled for call in alice.calls if call.was_answered] == [True]
    assert len(refers(scene)) == 1
    assert count_watches(scene.store) == 0


@pytest.mark.parametrize("how", ["lost", "conflict about the watch", "conflict about the binding"])
def test_a_claim_that_is_not_kept_begins_nothing(how: str) -> None:
    """The phone is told 503 and comes again, or its REGISTER is decided anew; either way alice is asked once."""
    scene, server, alice, bob = waiting()
    bob.register()
    scene.run(20)
    if how == "lost":
        server.tables.lose(server.batches[0])
    elif how == "conflict about the watch":
        server.tables.touch_elsewhere((WATCHES, WATCH))
    else:
        server.tables.write_elsewhere("bindings", BOB, None)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    keep(scene, server)
    assert not refers(scene) and not bob.registered
    release(scene, server)
    scene.run(1_000)
    if how != "lost":
        assert bob.registered and len(refers(scene)) == 1
    else:
        bob.register()
    scene.run(60_000)
    assert [call.recalled for call in alice.calls if call.was_answered] == [True]
    assert len(refers(scene)) == 1
    assert count_watches(scene.store) == server.counters["redial_watches"] == server.counters["redial_recalling"] == 0


@pytest.mark.parametrize("how", ["kept", "lost", "conflict"])
def test_the_ack_of_a_recalled_call_ends_its_watch_whatever_becomes_of_its_batch(how: str) -> None:
    """It has passed, so it has happened: what was lost of that is written again, and nobody is called twice."""
    scene, server, _alice, bob = waiting()
    server.held = False
    bob.register()
    scene.network.wait(lambda: scene.network.sent(bob, status=200, method="INVITE"), what="bob to answer")
    server.held = True
    scene.run(200)
    while server.batches and not scene.network.sent(server, method="ACK"):
        ends = [unit for _, units in server.tables.under_way[:1] for unit in units if (WATCHES, WATCH) in unit.writes]
        if ends and how != "kept" and watch_of(scene) is None:
            if how == "lost":
                server.tables.lose(server.batches[0])
            else:
                server.tables.touch_elsewhere((WATCHES, WATCH))
            assert watch_of(scene) is not None
            how = "kept"
        keep(scene, server)
    release(scene, server)
    scene.run(70_000)
    assert how == "kept"
    assert count_watches(scene.store) == server.counters["redial_recalling"] == 0
    assert len(refers(scene)) == 1
    assert len([call for call in bob.calls if call.was_answered]) == 1


def test_what_dies_with_a_server_was_told_to_nobody() -> None:
    scene, server, _alice, bob = waiting()
    bob.register()
    scene.run(20)
    server.crash(scene.now)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed"
    assert not bob.registered and not refers(scene)
    server.held = False
    scene.run(60_000)
    assert bob.registered
    assert count_watches(scene.store) == 0


# ---- what has to be fetched


def test_messages_wait_in_their_order_for_what_they_are_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LateServer, "far", True)
    stage = Held(register=False)
    server = stage.server
    server.tables.near.add(ALICE)
    stage.bob.bind()
    stage.next_batch()
    stage.alice.bind()  # at hand, and behind one that is not
    stage.next_batch()
    assert [aors for _, aors, _ in server.due_fetches] == [{BOB, b"sip:example.com"}, {ALICE, b"sip:example.com"}]
    assert not server.batches
    (_, first, group), (_, second, other) = server.due_fetches
    server.due_fetches.clear()
    server.tables.near |= second
    server.engine.fetched(other, stage.now)
    server._commit(stage.now)
    assert not server.batches
    server.tables.near |= first
    server.engine.fetched(group, stage.now)
    server._commit(stage.now)
    stage.keep_all()
    assert finals(stage.bob) == finals(stage.alice) == [200]
    with pytest.raises(ValueError, match="not a group"):
        server.engine.fetched(group, stage.now)


@pytest.mark.parametrize("far", [False, True], ids=["at hand", "fetched"])
def test_a_recall_from_beginning_to_end(monkeypatch: pytest.MonkeyPatch, far: bool) -> None:
    monkeypatch.setattr(LateServer, "far", far)
    monkeypatch.setattr(LateServer, "latency", 250)
    scene = Scene()
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    before = names_left(scene)
    arm(scene, alice)
    bob.register()
    scene.run(10)
    alice.register()
    scene.run(60_000)
    assert len(refers(scene)) == 1
    assert [call.recalled for call in alice.calls if call.was_answered] == [True]
    assert count_watches(scene.store) == 0
    scene.run(400_000)
    assert names_left(scene) == before
    assert scene.server.counters["faults"] == 0
    assert isinstance(scene.server, LateServer) and (far or scene.server.most_under_way > 1)


def names_left(scene: Scene) -> Sequence[int]:
    return [scene.server.counters[name] for name in ("server_transactions", "client_transactions", "branches")]
