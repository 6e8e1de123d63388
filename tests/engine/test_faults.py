"""One message's fault is one message's loss: answered once where SIP allows it, counted, logged, and nothing is left."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from net import scene as scenes
from net.cluster import Cluster
from net.network import START
from net.redialing import ALICE, BOB, arm, come_back, refer_names, stage
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal
from net.stores import MemoryStore, put_row, row

from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast._parser import parse
from sipfast._wheel import Wheel
from sipfast.config import Config, Peer, Upstream
from sipfast.engine.engine import Engine
from sipfast.routing.context import live_contexts
from sipfast.store.records import Binding, Watch
from sipfast.transaction.layer import TransactionLayer
from sipfast.transaction.server import Handler
from sipfast.transaction.transaction import live_objects

OURS = f"<sip:{literal(SERVER)};lr>"
LONG = "1" * 5_000  # more digits than Python makes a number of (4,300)


class Stage(Scene):
    """A scene that knows whether everything is as it was before."""

    def __init__(self, *args: Any, register: bool = True, **more: Any) -> None:
        super().__init__(*args, **more)
        self.alice, self.bob = self.peer("alice"), self.peer("bob")
        if register:
            self.bob.bind()
            self.run()
            self.bob.take("REGISTER", 200)
        self.before = self.left()

    def left(self) -> tuple[int, ...]:
        gc.collect()
        counters = self.server.counters
        names = ("server_transactions", "client_transactions", "branches", "timers")
        return (*(counters[name] for name in names), live_objects(), live_contexts())

    def nothing_is_left(self) -> None:
        self.run(400_000)  # longer than any timer of a request
        assert self.left() == self.before


def statuses(peer: Speaker) -> list[int]:
    return [message.status for message in peer.inbox if message.status > 100]


# ---- what a message can say


@pytest.mark.parametrize("lines", [1, 27, 28, 40, 200])
def test_as_many_route_lines_that_name_us_as_somebody_likes(lines: int) -> None:
    """RFC 3261 §16.4: each is removed, and the request goes where it would have gone without."""
    stage = Stage()
    stage.alice.ask("INVITE", "sip:bob@example.com", route=[OURS] * lines)
    stage.run()
    invite = stage.bob.take("INVITE")
    assert not invite.lines("route")
    stage.bob.answer(invite, 486)
    stage.run()
    assert statuses(stage.alice) == [486]
    stage.nothing_is_left()


@pytest.mark.parametrize(
    ("route", "left"),
    [
        ([f"{OURS}, <sip:bob@10.0.1.2>"], []),
        ([f"{OURS} ,<sip:10.0.1.2;lr>, <sip:bob@10.0.1.2>"], ["<sip:10.0.1.2;lr>"]),
        ([OURS, "<sip:10.0.1.2;lr>, <sip:bob@10.0.1.2>"], ["<sip:10.0.1.2;lr>"]),
        ([f"{OURS}, <sip:10.0.1.2;lr>", "<sip:bob@10.0.1.2>"], ["<sip:10.0.1.2;lr>"]),
        ([f"{OURS},{OURS},<sip:bob@10.0.1.2>"], []),
        ([OURS, "<sip:bob@10.0.1.2>"], []),
        (["<sip:bob@10.0.1.2>"], []),
        (["<sip:bob@10.0.1.2>", ""], []),
        ([f"{OURS}, <sip:bob@10.0.1.2>", ""], []),
        (["", f"{OURS}, <sip:bob@10.0.1.2>"], []),
    ],
)
def test_a_strict_routed_request_loses_its_last_value_and_ours(route: Sequence[str], left: Sequence[str]) -> None:
    """RFC 3261 §16.4: the last value takes the place of our own URI, wherever the lines are broken."""
    stage = Stage(Config(peer=(Peer(addresses=("10.0.1.1",), rights=("relay",)),)))
    sent = stage.alice.ask("MESSAGE", f"sip:{literal(SERVER)};lr", route=route, to="<sip:bob@example.com>")
    stage.run()
    message = stage.bob.take("MESSAGE")
    assert message.uri == "sip:bob@10.0.1.2"
    assert [value for value in message.all("route") if value] == list(left)
    for name in ("from", "to", "call-id", "cseq"):
        assert message.first(name) == sent.first(name)
    stage.bob.answer(message, 200)
    stage.run()
    assert statuses(stage.alice) == [200]
    stage.nothing_is_left()


@pytest.mark.parametrize("empty", ["Route:", "Route: ", "Route:\t"])
def test_an_empty_route_line_takes_nothing_with_it(empty: str) -> None:
    stage = Stage()
    data = stage.alice.text("INVITE", "sip:bob@example.com", route=[OURS]).decode()
    for at in ("Max-Forwards", "From", "Contact", "Content-Length"):
        stage.alice.say(data.replace(f"\r\n{at}", f"\r\n{empty}\r\n{at}").replace("z9hG4bK", f"z9hG4bK{at}").encode())
    stage.run()
    for _ in range(3):  # the same request by other branches: the first is taken, the others are merged (§8.2.2.2)
        stage.alice.take("INVITE", 482)
    invite = stage.bob.take("INVITE")
    for name in ("from", "to", "call-id", "cseq", "contact"):
        assert invite.first(name) == Sip(data.encode()).first(name)
    stage.bob.answer(invite, 486)
    stage.nothing_is_left()


@pytest.mark.parametrize("rport", ["abc", "-1", "0", "65536", LONG, "1x", '"5060"'])
def test_a_port_that_is_none_in_the_via_below_ours(rport: str) -> None:
    """A stray response is forwarded by that Via; where it leads nowhere the response is dropped (RFC 3261 §16.11)."""
    stage = Stage()
    stage.alice.ask("INVITE", "sip:bob@example.com")
    stage.run()
    invite = stage.bob.take("INVITE")
    stage.server.crash(stage.now)
    stage.run(1_000)
    faults = stage.server.counters["faults"]
    answer = stage.bob.answer(invite, 200).decode()
    stage.run()
    stage.alice.inbox.clear()
    via = invite.all("via")[1]
    stage.bob.transmit(answer.replace(via, f"{via};rport={rport};received=10.0.1.1").encode(), SERVER)
    stage.run()
    assert not statuses(stage.alice)
    assert stage.server.counters["faults"] == faults


@pytest.mark.parametrize("digits", ["9" * 20, LONG, "0" * 5_000 + "1"])
def test_numbers_without_end(digits: str) -> None:
    """Wherever a number stands, it is read up to a bound: the answer is a status, and no fault."""
    stage = Stage()
    alice = stage.alice
    fields: list[dict[str, Any]] = [
        {"headers": [("Expires", digits)]},
        {"headers": [("Max-Breadth", digits)]},
        {"headers": [("Session-Expires", digits), ("Min-SE", digits)]},
        {"headers": [("Retry-After", digits), ("Timestamp", digits)]},
        {"headers": [("RAck", f"{digits} {digits} INVITE"), ("RSeq", digits)]},
        {"via": f"SIP/2.0/UDP 10.0.1.1;branch=z9hG4bK1;rport={digits};ttl={digits};maddr={digits}"},
        {"route": [f"<sip:10.0.0.1;lr;ttl={digits}>"]},
        {"contact": f'<sip:alice@10.0.1.1>;expires={digits};reg-id={digits};q=0.{digits};+sip.instance="<x>"'},
        {"contact": f"<sip:alice@10.0.1.1:{digits}>"},
        {"forwards": int(digits[:20])},
        {"body": f"SIP/2.0 {digits} OK".encode()},
    ]
    for n, more in enumerate(fields):
        for method, uri in (
            ("REGISTER", "sip:example.com"), ("INVITE", "sip:carol@example.com"), ("INVITE", "sip:bob@example.com"),
            ("OPTIONS", "sip:example.com"), ("NOTIFY", f"sip:{literal(SERVER)}"), ("MESSAGE", f"sip:{digits}@example.com"),
        ):  # fmt: skip
            alice.ask(method, uri, **({"call_id": f"digits-{n}-{method}-{uri[:9]}"} | more))
            stage.run(5)
    assert stage.server.counters["faults"] == 0
    assert alice.inbox
    assert stage.now > START


def test_a_notify_about_a_refer_with_a_status_without_end() -> None:
    """RFC 3420 §2: the body of a NOTIFY is a status line, whose code has three digits (RFC 3261 §25.1)."""
    stage = Stage()
    stage.bob.bind(expires=0)
    stage.run()
    stage.alice.bind()
    stage.alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    stage.run()
    stage.bob.bind()
    stage.run(5_000)
    refer = stage.alice.take("REFER")
    stage.alice.answer(refer, 202)
    stage.alice.ask(
        "NOTIFY", f"sip:{literal(SERVER)}", to=refer.first("from"), sender=refer.first("to") + ";tag=1",
        call_id=refer.call_id, body=f"SIP/2.0 {LONG} OK\r\n".encode(), headers=[("Event", "refer")],
    )  # fmt: skip
    stage.run()
    assert stage.alice.take("NOTIFY", 200)
    assert stage.server.counters["faults"] == 0


# ---- a record that cannot be read


def test_an_unreadable_record_is_the_loss_of_who_asks_for_it(caplog: pytest.LogCaptureFixture) -> None:
    """The others of the batch have their 200 (RFC 3261 §10.3), he has a 500 (§21.5.1); the log names the record."""
    scene = Scene()
    peers = [scene.peer(name) for name in ("alice", "bob", "carol", "dave")]
    put_row(scene.store, "bindings", b"sip:carol@example.com", b"\xc1torn")
    scene.store.commit()
    for peer in peers:
        peer.bind()
    scene.run()
    assert [statuses(peer) for peer in peers] == [[200], [200], [500], [200]]
    for peer in peers:
        assert bool(peer.name == "carol" or scene.store.bindings(f"sip:{peer.name}@example.com".encode()))
    counters = scene.server.counters
    assert (counters["failed_commits"], counters["faults"]) == (0, 1)
    lines = [record for record in caplog.records if record.getMessage() == "message-failed"]
    assert len(lines) == 1
    assert "10.0.1.3" in str(lines[0].sip)


def test_unreadable_records_do_not_keep_the_server_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    binding = Binding(b"sip:bob@10.0.1.2", START + 3_600_000, b"c", 1)
    store.put_bindings(b"sip:bob@example.com", (binding,))
    put_row(store, "bindings", b"sip:carol@example.com", b"\xc1torn")
    watch = Watch(b"sip:zoe@example.com", b"sip:alice@example.com", START, START + 3_600_000, b"i", b"sip:alice@10.0.1.1")
    store.put_watch(watch)
    store.put_watch(replace(watch, callee=b"sip:carol@example.com"))
    put_row(store, "watches", b"sip:adam@example.com\0sip:alice@example.com", b"\xc1torn")
    store.commit()
    scene = Scene(store=store)
    assert scene.server.counters["redial_watches"] == 2
    scene.run(10_000)  # and the sweeps go past it
    assert row(store, "bindings", b"sip:carol@example.com") == b"\xc1torn"
    scene.run(12_000_000)  # a while longer than a binding lasts, and its traces are kept
    assert store.bindings(b"sip:bob@example.com") == ()
    assert store.watch(b"sip:zoe@example.com", b"sip:alice@example.com") is None


# ---- the unexpected


class Broken(MemoryStore):
    """A store that is wrong about itself: what it is told to raise is none of our errors."""

    broken = ""

    def __getattribute__(self, name: str) -> Any:
        if name != "broken" and name == object.__getattribute__(self, "broken"):
            raise ZeroDivisionError(f"a bug in {name}")
        return object.__getattribute__(self, name)


@pytest.mark.parametrize(
    ("method", "uri", "broken", "expected"),
    [
        ("REGISTER", "sip:example.com", "bindings", 500),
        ("REGISTER", "sip:example.com", "put_bindings", 500),
        ("INVITE", "sip:bob@example.com", "bindings", 500),
        ("MESSAGE", "sip:bob@example.com", "bindings", 500),
        ("INVITE", "sip:carol@example.com", "put_watch", 500),
        ("ACK", "sip:bob@example.com", "bindings", None),
    ],
)
def test_a_bug_is_a_500_and_leaves_nothing(
    method: str, uri: str, broken: str, expected: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 3261 §21.5.1; an ACK is never answered (§17)."""
    store = Broken()
    stage = Stage(store=store)
    aor = "<sip:alice@example.com>" if method == "REGISTER" else ""
    store.broken = broken
    for _ in range(3):
        stage.alice.ask(method, uri, to=aor, headers=[("Expires", "3600")])
    stage.alice.ask("OPTIONS", "sip:example.com")
    stage.run(1)
    stage.run(20)
    store.broken = ""
    assert sorted(statuses(stage.alice)) == [200, *(3 * [expected] if expected else [])]
    assert stage.server.counters["faults"] == 3
    lines = [record for record in caplog.records if record.getMessage() == "message-failed"]
    assert len(lines) == 1, "the same fault is told once in a while"
    stage.nothing_is_left()


def test_a_bug_outside_of_any_message_ends_each_call_that_it_concerns() -> None:
    """The upstream has gone, and there is a bug in what finds another way: each caller gets a 500, and all goes away."""
    store = Broken()
    config = Config(upstream=(Upstream(uri="sip:10.0.1.9", domains=("example.com",), timeout=4),))
    stage = Stage(config, store=store, register=False)
    for method in ("INVITE", "MESSAGE", "INVITE"):
        stage.alice.ask(method, "sip:bob@example.com")
    stage.run(1_000)
    store.broken = "bindings"
    stage.run(10_000)
    store.broken = ""
    assert set(statuses(stage.alice)) == {500}
    assert len({message.call_id for message in stage.alice.inbox if message.status == 500}) == 3
    assert stage.server.counters["faults"] == 1
    stage.run(400_000)
    assert stage.left()[:3] == (0, 1, 1), "the OPTIONS that asks the upstream whether it is back"
    assert live_contexts() == stage.before[-1]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_watch_that_becomes_unreadable_keeps_the_next_caller_from_nothing(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers > 1:
        monkeypatch.setattr(scenes, "Server", Cluster)
        monkeypatch.setattr(Cluster, "workers", workers)
    store = MemoryStore()
    scene, alice, bob = stage(store=store)
    carol = scene.phone("carol")
    for caller in (alice, carol):
        arm(scene, caller)
        scene.run(1_000)
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.run(1_000)
    assert refer_names(scene) == ["alice"]
    record = row(store, "watches", BOB + b"\0" + ALICE)
    assert record is not None
    put_row(store, "watches", BOB + b"\0" + ALICE, b"\xc1" + record[1:])
    store.commit()
    scene.run(60_000)
    assert refer_names(scene) == ["alice", "carol"] and carol.calls[-1].was_answered


def test_a_bug_of_redial_is_not_the_loss_of_the_call() -> None:
    store = Broken()
    stage = Stage(store=store)
    stage.bob.bind(expires=0)
    stage.run()
    stage.alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    stage.run()
    assert stage.alice.take("INVITE", 480).first("call-info")
    stage.bob.bind()
    stage.run(5)
    store.broken = "delete_watch"
    stage.alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    stage.run()
    stage.bob.answer(stage.bob.take("INVITE"), 200)
    stage.run()
    answer = stage.alice.take("INVITE", 200)
    stage.alice.ask(
        "ACK", f"sip:bob@{literal(stage.bob.address)}", route=answer.all("record-route"), to=answer.first("to"),
        sender=answer.first("from"), call_id=answer.call_id,
    )  # fmt: skip
    stage.run()
    assert stage.bob.take("ACK")
    assert stage.server.counters["faults"] == 1


def test_who_handles_a_transaction_hears_of_its_own_fault() -> None:
    """Whatever a handler raises it is told, so that it can let go; the exception goes on to be counted."""
    heard: list[str] = []

    class Faulty(Handler):  # type: ignore[misc]
        def on_response(self, transaction: Any, response: Any, now: int) -> int:
            raise ZeroDivisionError

        def on_failure(self, transaction: Any, status: int, now: int) -> int:
            raise ZeroDivisionError

        def on_fault(self, now: int) -> int:
            heard.append("fault")
            return 0

    wheel = Wheel(START)
    layer = TransactionLayer(Config().timers, wheel, Nowhere(), 1)
    flow = Flow("10.0.1.1", 5060)
    for answered in (True, False):
        branch = layer.branch()
        data = (
            b"OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=%b\r\n"
            b"From: <sip:b@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n" % branch
        )
        layer.send_request(data, branch, flow, Faulty(), START)
        with pytest.raises(ZeroDivisionError):
            if answered:
                layer.take_response(parse(data.replace(data.split(b"\r\n")[0], b"SIP/2.0 200 OK")), flow, START)
            else:
                wheel.advance(START + 40_000)
    wheel.advance(START + 80_000)
    assert heard == ["fault", "fault"]
    assert (layer.counters()["client_transactions"], layer.counters()["branches"], wheel.count) == (0, 0, 0)


# ---- before the start, and after the end


class Nowhere(Sink):  # type: ignore[misc]
    def send(self, data: bytes, flow: Flow) -> int:
        return 0


@pytest.mark.parametrize(
    "call", ["receive", "failed", "closed", "told", "advance", "commit", "next_deadline", "counters", "ending", "close"]
)
def test_calls_before_start_are_refused(call: str) -> None:
    listener = Listener(transport="UDP", host="10.0.0.1", port=5060, sent_by=b"10.0.0.1:5060")
    engine = Engine(Config(), MemoryStore(), Nowhere(), [listener], domains=["example.com"])
    flow = Flow("10.0.1.1", 5060)
    arguments: dict[str, tuple[Any, ...]] = {
        "receive": (b"OPTIONS sip:example.com SIP/2.0\r\n\r\n", flow, START), "failed": (flow, b"x", START),
        "advance": (START,), "commit": (START,), "ending": (START,), "told": (b"M\0\0", START),
        "closed": (flow, START),
    }  # fmt: skip
    for _ in range(2):
        with pytest.raises(RuntimeError, match="start"):
            getattr(engine, call)(*arguments.get(call, ()))
    engine.start(START)
    engine.commit(START)
    engine.close()
