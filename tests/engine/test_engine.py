"""The engine by its face: datagrams in, datagrams out, nothing before the commit."""

from __future__ import annotations

from typing import Any

import pytest
from net.scene import DOMAIN, SERVER, Scene, Speaker
from net.sipwire import Sip, literal, param, request, uri_of
from net.stores import MemoryStore, Recording

from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, Redial, Registrar, Timers
from sipfast.engine.engine import Engine

NOW = 1_700_000_000_000
CLIENT = Flow("10.0.1.1", 5060)


class Out(Sink):
    def __init__(self) -> None:
        self.sent: list[tuple[Sip, Flow]] = []

    def send(self, data: bytes, flow: Flow) -> int:
        self.sent.append((Sip(data), flow))
        return 0


def build(config: Config | None = None, store: Any = None, listeners: int = 1) -> tuple[Engine, Out]:
    out = Out()
    places = [
        Listener(transport="UDP", host=f"10.0.{i}.1", port=5060, sent_by=f"10.0.{i}.1:5060".encode())
        for i in range(listeners)
    ]
    engine = Engine(config or Config(), store or MemoryStore(), out, places, domains=[DOMAIN], hosts={})
    engine.start(NOW)
    engine.commit(NOW)
    return engine, out


def text(method: str, uri: str = f"sip:{DOMAIN}", **more: Any) -> bytes:
    peer = Speaker("alice", ("10.0.1.1", 5060))
    return peer.text(method, uri, **{"branch": "z9hG4bKb", "tag": "f", "call_id": "c", **more})


def register(seq: int = 1, expires: int = 3600, contact: str = "<sip:alice@10.0.1.1:5060>", **more: Any) -> bytes:
    aor = f"<sip:alice@{DOMAIN}>"
    headers = [("Expires", str(expires))]
    return text("REGISTER", to=aor, cseq=seq, contact=contact, headers=headers, branch=f"z9hG4bK{seq}", **more)


def exchange(engine: Engine, out: Out, data: bytes, now: int = NOW) -> list[Sip]:
    out.sent.clear()
    engine.receive(data, CLIENT, now)
    engine.commit(now)
    return [message for message, _ in out.sent]


# One batch, one commit, one send


def test_nothing_leaves_before_the_commit() -> None:
    engine, out = build()
    for i in range(3):
        engine.receive(text("OPTIONS", branch=f"z9hG4bK{i}", call_id=str(i)), CLIENT, NOW)
    assert out.sent == []
    engine.commit(NOW)
    assert [message.call_id for message, _ in out.sent] == ["0", "1", "2"]
    engine.commit(NOW)
    assert len(out.sent) == 3


def test_a_batch_is_committed_once_and_before_it_is_sent() -> None:
    store = Recording()
    engine, out = build(store=store)
    store.out, store.commits, store.sent_before = out, 0, []
    for i in range(64):
        engine.receive(register(call_id=f"c{i}", contact="<sip:alice@10.0.1.1>"), CLIENT, NOW)
    engine.commit(NOW)
    assert (store.commits, store.sent_before) == (1, [0])
    assert [message.status or message.method for message, _ in out.sent] == [200] * 64 + ["OPTIONS"]


def test_a_failed_commit_takes_back_what_it_promised() -> None:
    """The 200 to a REGISTER becomes a 5xx; what promised nothing is sent all the same."""
    store = Recording()
    engine, out = build(store=store)
    store.broken = True
    engine.receive(register(), CLIENT, NOW)
    engine.receive(text("OPTIONS", call_id="other"), CLIENT, NOW)
    engine.commit(NOW)
    by_method = {message.method: message.status for message, _ in out.sent}
    assert by_method["OPTIONS"] == 200
    assert by_method["REGISTER"] >= 500
    store.broken = False
    assert store.bindings(b"sip:alice@example.com") == ()
    (answer,) = exchange(engine, out, register(2))
    assert answer.status == 200
    assert engine.counters()["failed_commits"] == 1


def test_an_idle_engine_has_few_deadlines_and_they_are_in_the_future() -> None:
    engine, _ = build()
    woken, now = 0, NOW
    while (due := engine.next_deadline()) != -1 and due <= NOW + 10_000:
        assert due > now or woken == 0
        now = max(due, now + 1)
        engine.advance(now)
        engine.commit(now)
        woken += 1
    assert woken < 100


def test_time_may_stand_still_and_pass_in_leaps() -> None:
    engine, out = build()
    exchange(engine, out, text("INVITE", f"sip:bob@{DOMAIN}"))
    for now in (NOW, NOW, NOW + 1, NOW + 10**9, NOW + 10**9):
        engine.advance(now)
        engine.commit(now)
    assert exchange(engine, out, text("OPTIONS", call_id="later"), NOW + 10**9)[0].status == 200


def test_counters_count() -> None:
    engine, out = build()
    before = engine.counters()
    assert before["received"] == 0
    exchange(engine, out, text("OPTIONS"))
    exchange(engine, out, b"\r\n\r\n")
    exchange(engine, out, b"rubbish")
    after = engine.counters()
    assert after["received"] - before["received"] == 3
    assert (after["requests"], after["keepalives"], after["malformed"]) == (1, 1, 1)
    assert all(isinstance(value, int) for value in after.values())


def test_an_answer_leaves_by_the_listener_that_the_request_came_by() -> None:
    engine, out = build(listeners=2)
    engine.receive(text("OPTIONS"), Flow("10.0.1.1", 5060, local=1), NOW)
    engine.commit(NOW)
    assert out.sent[0][1] == Flow("10.0.1.1", 5060, local=1)


# OPTIONS and REGISTER without a transaction


@pytest.mark.parametrize("uri", [f"sip:{DOMAIN}", f"sip:{literal(SERVER)}", "sip:10.0.0.1", f"sip:{DOMAIN.upper()}:5060"])
def test_options_to_the_server(uri: str) -> None:
    """RFC 3261 §11.2"""
    engine, out = build()
    (answer,) = exchange(engine, out, text("OPTIONS", uri))
    assert answer.status == 200 and answer.to_tag
    assert {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER"} <= set(answer.all("allow"))
    assert answer.lines("accept") and answer.lines("supported")


def test_a_stateless_answer_is_the_same_for_a_retransmission() -> None:
    """RFC 3261 §8.2.7: the To tag too; and another for another request."""
    engine, out = build()
    first, second = exchange(engine, out, text("OPTIONS")), exchange(engine, out, text("OPTIONS"), NOW + 500)
    assert first[0].raw == second[0].raw
    assert exchange(engine, out, text("OPTIONS", call_id="x", branch="z9hG4bKx"))[0].to_tag != first[0].to_tag


def test_a_stateless_answer_keeps_no_timer() -> None:
    engine, out = build()
    before = engine.counters()["timers"]
    for i in range(10):
        exchange(engine, out, text("OPTIONS", call_id=str(i)))
        exchange(engine, out, register(i + 1))
    assert engine.counters()["timers"] == before


def test_a_tag_of_the_request_is_kept() -> None:
    engine, out = build()
    (answer,) = exchange(engine, out, text("OPTIONS", to=f"<sip:{DOMAIN}>;tag=given"))
    assert answer.lines("to") == [f"<sip:{DOMAIN}>;tag=given"]


def test_a_register_is_answered_with_every_binding() -> None:
    """RFC 3261 §10.3 step 8"""
    engine, out = build()
    exchange(engine, out, register(1, contact="<sip:alice@10.0.1.1:5060>;q=0.5"))
    (answer,) = exchange(engine, out, register(2, 600, contact="<sip:alice@10.0.1.2:5060>"), NOW + 100_000)
    assert answer.status == 200 and answer.lines("date")
    listed = {uri_of(value): param(value, "expires") for value in answer.all("contact")}
    assert listed == {"sip:alice@10.0.1.1:5060": "3500", "sip:alice@10.0.1.2:5060": "600"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (register(expires=30), 423),
        (register(contact="*", expires=0), 200),
        (register(contact="*", expires=600), 400),
        (text("REGISTER", to="<sip:alice@other.example>"), 404),  # §10.3 step 5
        (text("REGISTER", to=f"<sip:alice@{DOMAIN}>", headers=[("Require", "nonsense")]), 420),
        (text("REGISTER", "sip:other.example", to="<sip:alice@other.example>"), 403),
        (text("REGISTER", to="<isbn:2983792873>"), 400),  # RFC 4475 §3.3.4
        (text("REGISTER", to="<tel:+12015550123>"), 400),  # RFC 3261 §10.2: a SIP or SIPS URI
        (text("REGISTER", to=f"<x-alice:alice@{DOMAIN}>", contact="<name:John_Smith>"), 400),
    ],
    ids=[
        "too-brief",
        "star",
        "star-with-expires",
        "foreign-user",
        "require",
        "foreign-domain",
        "unknown-scheme",
        "tel",
        "unknown-scheme-of-contact-too",
    ],
)
def test_registers_that_are_special(data: bytes, status: int) -> None:
    engine, out = build()
    (answer,) = exchange(engine, out, data)
    assert answer.status == status
    if status == 423:
        assert answer.first("min-expires") == "60"
    if status == 420:
        assert answer.all("unsupported") == ["nonsense"]


def test_registers_out_of_order() -> None:
    """RFC 3261 §10.3 step 7: the same Call-ID with a lower CSeq changes nothing."""
    engine, out = build()
    exchange(engine, out, register(5))
    (answer,) = exchange(engine, out, register(4, 0))
    assert answer.status != 200
    (answer,) = exchange(engine, out, register(6))
    assert len(answer.all("contact")) == 1


def test_a_retransmitted_register_is_answered_again() -> None:
    """It changes nothing and is no error, since no transaction absorbs it (§8.2.7)."""
    engine, out = build()
    first = exchange(engine, out, register(5))
    second = exchange(engine, out, register(5), NOW + 500)
    assert (first[0].status, second[0].status) == (200, 200)
    assert len(second[0].all("contact")) == 1


def test_limits_come_from_the_configuration() -> None:
    config = Config(registrar=Registrar(min_expires=120, max_expires=1_800, max_contacts=2))
    engine, out = build(config)
    assert exchange(engine, out, register(1, 60))[0].first("min-expires") == "120"
    answer, asked = exchange(engine, out, register(2, 3_600))
    assert asked.method == "OPTIONS"
    assert param(answer.all("contact")[0], "expires") == "1800"
    exchange(engine, out, register(3, contact="<sip:alice@10.0.1.2>"))
    (answer,) = exchange(engine, out, register(4, contact="<sip:alice@10.0.1.3>"))
    assert [uri_of(value) for value in answer.all("contact")] == ["sip:alice@10.0.1.2", "sip:alice@10.0.1.3"]


# The server's own address


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE"])
def test_nobody_lives_at_the_servers_own_address(method: str) -> None:
    engine, out = build()
    (answer,) = [m for m in exchange(engine, out, text(method)) if m.status != 100]
    assert 400 <= answer.status < 500


def test_bindings_outlive_an_engine() -> None:
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind()
    scene.run()
    scene.server.crash(scene.now, 100)
    scene.run(200)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    assert bob.count("INVITE") == 1


def test_what_has_expired_is_swept_from_the_store() -> None:
    """Not sooner than a call may last: a phone that comes back takes the calls along that it is in."""
    scene = Scene(Config(redial=Redial(max_talk=600)))
    bob = scene.peer("bob")
    bob.bind(expires=60)
    scene.run(650_000)
    assert len(scene.store.bindings(b"sip:bob@example.com")) == 1
    scene.run(20_000)
    assert scene.store.bindings(b"sip:bob@example.com") == ()


def test_a_via_without_rport_is_answered_to_its_port() -> None:
    """RFC 3261 §18.2.2 and RFC 3581 §4, without a transaction too."""
    engine, out = build()
    away = Flow("10.0.1.1", 40_000)
    engine.receive(text("OPTIONS"), away, NOW)
    engine.receive(text("OPTIONS", via="SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKr;rport"), away, NOW)
    engine.commit(NOW)
    assert [flow.port for _, flow in out.sent] == [5060, 40_000]


def test_a_request_with_an_ipv6_address() -> None:
    out = Out()
    listener = Listener(transport="UDP", host="2001:db8::1", port=5060, sent_by=b"[2001:db8::1]:5060")
    engine = Engine(Config(), MemoryStore(), out, [listener], domains=[DOMAIN])
    engine.start(NOW)
    engine.commit(NOW)
    bob, alice = Flow("2001:db8::3", 5060), Flow("2001:db8::2", 5060)
    engine.receive(
        text(
            "REGISTER", to=f"<sip:bob@{DOMAIN}>", contact="<sip:bob@[2001:db8::3]:5060>",
            via="SIP/2.0/UDP [2001:db8::3]:5060;branch=z9hG4bK1",
        ),
        bob, NOW,
    )  # fmt: skip
    invite = text("INVITE", f"sip:bob@{DOMAIN}", via="SIP/2.0/UDP [2001:db8::2]:5060;branch=z9hG4bK2", call_id="d")
    engine.receive(invite, alice, NOW)
    engine.commit(NOW)
    got = {(message.status or message.method, flow.host) for message, flow in out.sent}
    assert {(200, "2001:db8::3"), ("INVITE", "2001:db8::3"), (100, "2001:db8::2")} <= got
    forwarded = next(message for message, _ in out.sent if not message.status)
    assert forwarded.all("via")[0].startswith("SIP/2.0/UDP [2001:db8::1]:5060;")
    assert forwarded.uri == "sip:bob@[2001:db8::3]:5060"


@pytest.mark.parametrize(("sent_by", "ours"), [("[2001:DB8:0::1]", True), ("[2001:db8::2]", False)])
def test_a_response_with_our_address_in_another_spelling_is_ours(sent_by: str, ours: bool) -> None:
    """RFC 3261 §18.1.2; RFC 5954 §4.2: IPv6 addresses are compared as numbers."""
    listener = Listener(transport="UDP", host="2001:db8::1", port=5060, sent_by=b"[2001:db8::1]:5060")
    engine = Engine(Config(), MemoryStore(), Out(), [listener], domains=[DOMAIN])
    engine.start(NOW)
    response = (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {sent_by}:5060;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"
        "To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    engine.receive(response.encode(), Flow("2001:db8::3", 5060), NOW)
    engine.commit(NOW)
    assert engine.counters()["foreign_responses"] == (0 if ours else 1)


def test_a_message_of_the_largest_size_passes() -> None:
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind()
    scene.run()
    body = b"x" * 60_000
    alice.ask("MESSAGE", "sip:bob@example.com", body=body)
    scene.run()
    assert bob.take("MESSAGE").body == body


def test_requests_are_told_apart_by_their_method_in_one_transaction_id() -> None:
    """RFC 3261 §17.2.3: same branch, other method."""
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind()
    scene.run()
    alice.ask("MESSAGE", "sip:bob@example.com", branch="z9hG4bKsame", call_id="1")
    alice.ask("INFO", "sip:bob@example.com", branch="z9hG4bKsame", call_id="1", cseq=2)
    scene.run()
    assert bob.count("MESSAGE") == bob.count("INFO") == 1


def test_old_peers_without_the_magic_cookie_are_matched() -> None:
    """RFC 3261 §17.2.3, last part: RFC 2543 matching."""
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind()
    scene.run()
    fields = [
        ("Via", f"SIP/2.0/UDP {literal(alice.address)}"), ("From", "<sip:a@example.com>;tag=1"),
        ("To", "<sip:bob@example.com>"), ("Call-ID", "old"), ("CSeq", "1 INVITE"), ("Max-Forwards", "70"),
        ("Contact", "<sip:a@10.0.1.1>"),
    ]  # fmt: skip
    invite = alice.say(request("INVITE", "sip:bob@example.com", fields))
    scene.run()
    alice.again(invite)
    scene.run()
    assert bob.count("INVITE") == 1
    bob.answer(bob.take("INVITE"), 486)
    scene.run()
    final = alice.take("INVITE", 486)
    alice.ack(invite, final)
    alice.inbox.clear()
    scene.run(10_000)
    assert alice.count("INVITE", 486) == 0


# Settings that change while it runs


def test_other_settings_count_from_the_next_message_on() -> None:
    engine, out = build(Config(registrar=Registrar(max_expires=600)))
    answer, _ = exchange(engine, out, register())
    assert param(answer.all("contact")[0], "expires") == "600"
    engine.configure(Config(registrar=Registrar(max_expires=300, max_contacts=1, when_full="refuse")))
    (answer,) = exchange(engine, out, register(seq=2))
    assert param(answer.all("contact")[0], "expires") == "300"
    (answer,) = exchange(engine, out, register(seq=3, call_id="d", contact="<sip:alice@10.0.1.9>"))
    assert answer.status == 503
    assert len(engine.store.bindings(f"sip:alice@{DOMAIN}".encode())) == 1, "what is bound stays"


def test_other_timers_count_from_the_next_transaction_on() -> None:
    """RFC 3261 §17.2.1: a 480 to an INVITE is waited for during timer H, 64*T1."""

    def lives(engine: Engine, now: int) -> int:
        engine.receive(text("INVITE", f"sip:nobody@{DOMAIN}", branch=f"z9hG4bK{now}", call_id=str(now)), CLIENT, now)
        engine.commit(now)
        began = now
        while engine.counters()["server_transactions"]:
            now += 100
            engine.advance(now)
            engine.commit(now)
        return now - began

    engine, _ = build(Config(timers=Timers(t1=0.5)))
    long = lives(engine, NOW)
    engine.configure(Config(timers=Timers(t1=0.1)))
    short = lives(engine, NOW + 100_000)
    assert 32_000 <= long < 38_000 and 6_400 <= short < 12_500


def test_other_settings_of_redial_count_from_the_next_call_on() -> None:
    def armed(engine: Engine, out: Out, number: int) -> int:
        names = {"branch": f"z9hG4bKr{number}", "call_id": f"r{number}"}
        exchange(engine, out, text("INVITE", f"sip:nobody@{DOMAIN}", headers=[("Expires", "60")], **names))
        return engine.counters()["redial_watches"]

    engine, out = build(Config(redial=Redial(min_period=300, callers="any")))
    assert armed(engine, out, 1) == 0
    engine.configure(Config(redial=Redial(min_period=30, callers="any")))
    assert armed(engine, out, 2) == 1
