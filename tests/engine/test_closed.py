"""Flows of streams: they end with their connection, and whoever had them stored sees that they are gone."""

from __future__ import annotations

from typing import Any

import pytest
from net.scene import Speaker
from net.sipwire import Sip
from net.stores import MemoryStore

from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, Redial
from sipfast.engine.engine import Engine

NOW = 1_700_000_000_000
ALICE = Flow("10.0.1.1", 5060)
BOB = Flow("10.0.1.2", 40_000, transport="TCP", connection=5, generation=3)
OTHER = Flow("10.0.1.2", 40_001, transport="TCP", connection=6, generation=1)


class World:
    """An engine; alice sends datagrams, bob has a stream."""

    def __init__(self, store: Any = None, worker: int = 0) -> None:
        self.sent: list[tuple[Sip, Flow]] = []
        outer = self

        class Out(Sink):  # type: ignore[misc]
            def send(self, data: bytes, flow: Flow) -> int:
                outer.sent.append((Sip(data), flow))
                return 0

        listener = Listener(transport="UDP", host="10.0.0.1", port=5060, sent_by=b"10.0.0.1:5060")
        self.store = store or MemoryStore()
        config = Config(redial=Redial(enabled=False))
        self.engine = Engine(
            config, self.store, Out(), [listener], domains=["example.com"], worker=worker, workers=worker + 1, bus=print
        )
        self.engine.start(NOW)
        self.engine.commit(NOW)
        self.calls = 0

    def say(self, flow: Flow, method: str, uri: str, **more: Any) -> list[tuple[Sip, Flow]]:
        peer = Speaker("bob" if flow is not ALICE else "alice", (flow.host, flow.port))
        self.calls += 1
        data = peer.text(method, uri, branch=f"z9hG4bK{self.calls}", call_id=f"c{self.calls}", tag="f", **more)
        self.sent.clear()
        self.engine.receive(data, flow, NOW)
        self.engine.commit(NOW)
        return [*self.sent]

    def register(self, flow: Flow) -> None:
        contact = f"<sip:bob@{flow.host}:{flow.port};transport=tcp>"
        ((answer, _),) = self.say(
            flow, "REGISTER", "sip:example.com", to="<sip:bob@example.com>", contact=contact, headers=[("Expires", "600")]
        )
        assert answer.status == 200

    def call(self) -> list[tuple[Sip, Flow]]:
        return self.say(ALICE, "INVITE", "sip:bob@example.com")

    def closed(self, flow: Flow) -> list[tuple[Sip, Flow]]:
        self.sent.clear()
        self.engine.closed(flow, NOW)
        self.engine.commit(NOW)
        return [*self.sent]


def status(sent: list[tuple[Sip, Flow]]) -> list[int]:
    return [message.status for message, flow in sent if flow == ALICE]


def ways(sent: list[tuple[Sip, Flow]]) -> list[Flow]:
    """Where the call was sent on to."""
    return [flow for _, flow in sent if flow != ALICE]


def test_a_call_reaches_a_phone_by_its_connection() -> None:
    world = World()
    world.register(BOB)
    assert ways(world.call()) == [BOB]


def test_what_waits_for_an_answer_by_a_connection_hears_at_once_that_it_is_gone() -> None:
    """RFC 3261 §18.4, §16.9; all branches unreachable: 480."""
    world = World()
    world.register(BOB)
    assert status(world.call()) == [100]
    assert status(world.closed(OTHER)) == [], "another's"
    assert status(world.closed(BOB)) == [480]
    assert world.closed(BOB) == [], "once"


def test_a_binding_of_a_connection_that_is_gone_is_followed_nowhere() -> None:
    """RFC 5626 §5.3.1: neither by the connection nor by the Contact's host."""
    world = World()
    world.register(BOB)
    world.closed(BOB)
    answer = world.call()
    assert status(answer) == [480] and len(answer) == 1


@pytest.mark.parametrize("again", [Flow(BOB.host, BOB.port, transport="TCP", connection=5, generation=4), OTHER])
def test_a_phone_that_connects_anew_is_reached_by_that(again: Flow) -> None:
    world = World()
    world.register(BOB)
    world.closed(BOB)
    world.register(again)
    assert set(ways(world.call())) == {again}


def test_a_number_that_is_used_again_is_another_connection() -> None:
    world = World()
    world.register(BOB)
    world.closed(BOB)
    somebody = Flow("10.0.1.9", 41_000, transport="TCP", connection=5, generation=4)
    world.say(somebody, "OPTIONS", "sip:example.com")
    assert status(world.call()) == [480]


def test_after_a_restart_no_connection_of_before_is_open() -> None:
    world = World()
    world.register(BOB)
    again = World(world.store)
    assert status(again.call()) == [480]
    again.register(Flow("10.0.1.2", 42_000, transport="TCP", connection=1, generation=1))
    assert status(again.call()) == [100]


def test_what_another_worker_has_is_not_judged_here() -> None:
    """Its owner knows: the flow names it."""
    world = World()
    world.register(BOB)
    other = World(world.store, worker=1)
    assert ways(other.call()) == [BOB]


def test_a_datagrams_flow_is_not_closed() -> None:
    world = World()
    world.say(ALICE, "OPTIONS", "sip:example.com")
    assert world.closed(ALICE) == []
