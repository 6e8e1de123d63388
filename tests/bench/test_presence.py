"""The presence agent that redial is compared with: what RFC 6665, 3856, 3903 and 3863 ask, in virtual time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmarks are for Linux", allow_module_level=True)

from net.scene import DOMAIN, Speaker
from net.sipwire import Sip, literal, param, response, uri_of

from benchmarks.build import ensure_built
from benchmarks.presence.store import PresenceStore
from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, Redial
from sipfast.errors import StoreUnavailable

NOW = 1_700_000_000_000
BOB = f"sip:bob@{DOMAIN}"
SERVER = "10.0.0.1:5060"
PIDF = "application/pidf+xml"
OPEN = b"<presence><tuple id='1'><status><basic>open</basic></status></tuple></presence>"
AWAY = OPEN.replace(b"'1'", b"'2'")


class Out(Sink):
    def __init__(self) -> None:
        self.sent: list[tuple[Sip, Flow]] = []

    def send(self, data: bytes, flow: Flow) -> int:
        self.sent.append((Sip(data), flow))
        return 0


class Broken(PresenceStore):
    """Refuses its commits while `broken`."""

    broken = False
    committed = 0

    def commit(self) -> None:
        something, self.committed = self.writes != self.committed, self.writes
        if self.broken and something:
            self.abort()
            raise StoreUnavailable("no room")
        super().commit()


class Bench:
    """An agent with a store, and what it has sent since last asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.begin()

    def begin(self) -> None:
        ensure_built("presence")
        from benchmarks.presence.agent import Agent

        self.out = Out()
        self.store = Broken(self.folder, map_size_gib=0.1)
        place = Listener(transport="UDP", host="10.0.0.1", port=5060, sent_by=SERVER.encode())
        config = Config(redial=Redial(enabled=False))
        self.agent: Any = Agent(config, self.store, self.out, [place], domains=[DOMAIN])
        self.agent.start(self.now)
        self.agent.commit(self.now)

    def end(self) -> None:
        """As kill -9 would, as far as this process can tell."""
        self.store.abort()
        self.agent.close()
        self.store.close()

    def restart(self) -> None:
        self.end()
        self.begin()

    def tell(self, data: bytes, flow: Flow) -> list[Sip]:
        self.agent.receive(data, flow, self.now)
        return self.commit()

    def commit(self) -> list[Sip]:
        self.agent.commit(self.now)
        sent, self.out.sent = self.out.sent, []
        return [message for message, _ in sent]

    def wait(self, seconds: float) -> list[Sip]:
        """Time passes, each timer at its time."""
        until, got = self.now + round(seconds * 1000), []
        while 0 <= (due := self.agent.next_deadline()) <= until:
            self.now = max(self.now, due)
            self.agent.advance(self.now)
            got += self.commit()
        self.now = until
        return got


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "data")
    yield bench
    bench.end()


class Someone(Speaker):
    def __init__(self, bench: Bench, name: str, host: str = "10.0.1.1") -> None:
        super().__init__(name, (host, 5060))
        self.bench = bench
        self.flow = Flow(host, 5060)

    def send(self, method: str, uri: str = BOB, *, headers: dict[str, str] | None = None, **more: Any) -> list[Sip]:
        fields = {"Event": "presence"} | (headers or {})
        data = self.text(method, uri, headers=[(k, v) for k, v in fields.items() if v], **more)
        self.last = data
        return self.bench.tell(data, self.flow)

    def answer(self, notify: Sip, status: int = 200) -> list[Sip]:
        return self.bench.tell(response(notify, status, tag="x"), self.flow)


class Watcher(Someone):
    """A subscriber in its dialog."""

    def subscribe(self, expires: int | None = 3600, **headers: str) -> list[Sip]:
        fields = {"Accept": PIDF} | {name.replace("_", "-"): value for name, value in headers.items()}
        if expires is not None:
            fields["Expires"] = str(expires)
        got = self.send("SUBSCRIBE", headers=fields, tag=f"w-{self.name}", call_id=f"c-{self.name}")
        if got and got[0].status == 200:
            self.to = f"<{BOB}>;tag={got[0].to_tag}"
            self.target = uri_of(got[0].first("contact"))
            self.cseq = 1
        return got

    def again(self, expires: int = 3600, *, cseq: int | None = None, to: str = "", **more: Any) -> list[Sip]:  # type: ignore[override]
        self.cseq = self.cseq + 1 if cseq is None else cseq
        return self.send(
            "SUBSCRIBE", self.target, headers={"Expires": str(expires)}, to=to or self.to, tag=f"w-{self.name}",
            call_id=f"c-{self.name}", cseq=self.cseq, **more,
        )  # fmt: skip


class Phone(Someone):
    """A publisher of Bob's."""

    def publish(self, body: bytes = OPEN, *, etag: str = "", expires: int | None = 3600, **headers: str) -> list[Sip]:
        fields = {"Content-Type": PIDF if body else "", "SIP-If-Match": etag}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        if expires is not None:
            fields["Expires"] = str(expires)
        return self.send("PUBLISH", headers=fields, body=body, to=f"<{BOB}>")


def titles(got: list[Sip]) -> list[str]:
    return [str(message.status) if message.status else message.method for message in got]


def state_of(notify: Sip) -> str:
    return notify.first("subscription-state").partition(";")[0]


def basic(notify: Sip) -> bytes:
    found = re.findall(rb"<basic>(\w+)</basic>", notify.body)
    assert len(found) == 1
    return bytes(found[0])


# Subscriptions


def test_a_subscription_is_answered_and_told_the_state(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    answer, notify = alice.subscribe(600)
    assert (answer.status, answer.first("expires")) == (200, "600")
    assert uri_of(answer.first("contact")) == f"sip:{SERVER}"
    # RFC 6665 §4.2.1.2, RFC 3261 §12.2.1.1
    assert (notify.method, notify.uri) == ("NOTIFY", f"sip:alice@{literal(alice.address)}")
    assert (notify.from_tag, notify.to_tag) == (answer.to_tag, "w-alice")
    assert (notify.call_id, notify.first("event")) == ("c-alice", "presence")
    assert notify.first("subscription-state") == "active;expires=600"
    assert notify.first("content-type") == PIDF
    assert basic(notify) == b"closed"
    assert notify.first("max-forwards") == "70"
    assert f'entity="{BOB}"'.encode() in notify.body


def test_an_answered_notify_is_not_sent_again(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    _, notify = alice.subscribe()
    assert alice.answer(notify) == []
    assert bench.wait(60) == []


def test_a_notify_without_answer_is_sent_again_and_then_ends_the_subscription(bench: Bench) -> None:
    """RFC 6665 §4.2.2: timer F."""
    alice = Watcher(bench, "alice")
    _, notify = alice.subscribe()
    got = bench.wait(33)
    assert len(got) == 10  # RFC 3261 §17.1.2.2: 11 in all within 32 s
    assert {message.raw for message in got} == {notify.raw}
    assert titles(alice.again()) == ["481"]


@pytest.mark.parametrize(("status", "ends"), [(404, True), (481, True), (489, True), (500, False), (403, False)])
def test_a_refused_notify_ends_the_subscription(bench: Bench, status: int, ends: bool) -> None:
    alice = Watcher(bench, "alice")
    _, notify = alice.subscribe()
    alice.answer(notify, status)
    assert titles(alice.again()) == (["481"] if ends else ["200", "NOTIFY"])


def test_a_refresh_prolongs(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe(600)[1])
    assert bench.wait(500) == []
    answer, notify = alice.again(700)
    assert (answer.status, answer.first("expires"), notify.first("subscription-state")) == (200, "700", "active;expires=700")
    assert notify.cseq == 2
    alice.answer(notify)
    assert bench.wait(699.9) == []
    (end,) = bench.wait(0.2)
    assert (end.method, end.first("subscription-state")) == ("NOTIFY", "terminated;reason=timeout")
    assert end.cseq == 3
    alice.answer(end)
    assert titles(alice.again()) == ["481"]


def test_an_unsubscription_ends_at_once(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe()[1])
    answer, notify = alice.again(0)
    assert (answer.status, answer.first("expires")) == (200, "0")
    assert (notify.method, notify.first("subscription-state")) == ("NOTIFY", "terminated;reason=timeout")
    alice.answer(notify)
    assert titles(Phone(bench, "bob").publish()) == ["200"]
    assert titles(alice.again()) == ["481"]
    assert bench.wait(7200) == []


def test_a_question_without_subscription_is_told_the_state_once(bench: Bench) -> None:
    """RFC 6665 §4.4.3."""
    Phone(bench, "bob").publish()
    alice = Watcher(bench, "alice")
    answer, notify = alice.subscribe(0)
    assert (answer.first("expires"), state_of(notify), notify.body) == ("0", "terminated", OPEN)
    alice.answer(notify)
    assert bench.agent.counters()["subscriptions"] == 0
    assert titles(Phone(bench, "bob").publish(AWAY)) == ["200"]


@pytest.mark.parametrize(
    ("expires", "headers", "status", "has"),
    [
        pytest.param(30, {}, 423, ("min-expires", "60"), id="too brief"),
        pytest.param(3600, {"Event": "dialog"}, 489, ("allow-events", "presence"), id="another event"),
        pytest.param(3600, {"Event": "presence.winfo"}, 489, ("allow-events", "presence"), id="a template of it"),
        pytest.param(3600, {"Event": ""}, 489, ("allow-events", "presence"), id="no event"),
        pytest.param(3600, {"Accept": "text/plain"}, 406, ("accept", PIDF), id="nothing acceptable"),
        pytest.param(3600, {"Require": "eventlist"}, 420, ("unsupported", "eventlist"), id="an extension"),
        pytest.param(None, {"Expires": "soon"}, 400, ("call-id", "c-alice"), id="no number"),
    ],
)
def test_a_subscription_is_refused(
    bench: Bench, expires: int | None, headers: dict[str, str], status: int, has: tuple[str, str]
) -> None:
    got = Watcher(bench, "alice").subscribe(expires, **headers)
    assert titles(got) == [str(status)]
    assert got[0].first(has[0]) == has[1]
    assert bench.agent.counters()["presentities"] == 0


@pytest.mark.parametrize("accept", [f"text/plain, {PIDF};q=0.5", "*/*", "application/*", ""])
def test_what_is_acceptable(bench: Bench, accept: str) -> None:
    assert titles(Watcher(bench, "alice").subscribe(Accept=accept)) == ["200", "NOTIFY"]


def test_how_long_is_the_servers_to_say(bench: Bench) -> None:
    assert Watcher(bench, "alice").subscribe(10**9)[0].first("expires") == "86400"
    assert Watcher(bench, "carol").subscribe(None)[0].first("expires") == "3600"  # RFC 3856 §6.4


def test_a_refresh_that_is_too_brief_changes_nothing(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe(600)[1])
    assert titles(alice.again(30)) == ["423"]
    assert bench.wait(590) == []
    assert titles(alice.again()) == ["200", "NOTIFY"]


def test_an_old_cseq_is_an_error(bench: Bench) -> None:
    """RFC 3261 §12.2.2."""
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe()[1])
    assert titles(alice.again(cseq=5)) == ["200", "NOTIFY"]
    assert titles(alice.again(cseq=5)) == ["500"]
    assert titles(alice.again(cseq=6)) == ["200", "NOTIFY"]


@pytest.mark.parametrize("change", ["to", "call_id", "tag"])
def test_another_dialog_is_unknown(bench: Bench, change: str) -> None:
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe()[1])
    ids = {"to": alice.to, "call_id": "c-alice", "tag": "w-alice"}
    ids |= {change: f"<{BOB}>;tag=nobody" if change == "to" else "other"}
    assert titles(alice.send("SUBSCRIBE", alice.target, cseq=9, **ids)) == ["481"]


def test_a_retransmission_is_answered_as_before_and_counts_once(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    answer, notify = alice.subscribe()
    alice.answer(notify)
    (again,) = bench.tell(alice.last, alice.flow)
    assert again.raw == answer.raw
    assert bench.agent.counters()["subscriptions"] == 1


def test_the_route_of_a_subscription_is_kept(bench: Bench) -> None:
    """RFC 3261 §12.1.1: the 200 repeats it, and the NOTIFY takes it in the same order, first to its first hop."""
    routes = "<sip:10.0.9.9:5070;lr>, <sip:10.0.9.8;lr>"
    alice = Watcher(bench, "alice")
    bench.agent.receive(
        alice.text("SUBSCRIBE", BOB, headers=[("Event", "presence"), ("Record-Route", routes)]), alice.flow, bench.now
    )
    bench.agent.commit(bench.now)
    (answer, _), (notify, flow) = bench.out.sent
    assert answer.all("record-route") == notify.lines("route") == routes.split(", ")
    assert (flow.host, flow.port) == ("10.0.9.9", 5070)


def test_behind_a_nat_a_notify_goes_where_the_subscribe_came_from(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    data = alice.text("SUBSCRIBE", BOB, headers=[("Event", "presence")], contact="<sip:alice@192.168.1.2:5060>")
    bench.agent.receive(data, Flow("10.0.1.1", 40000), bench.now)
    bench.agent.commit(bench.now)
    notify, flow = bench.out.sent[1]
    assert (notify.uri, flow.host, flow.port) == ("sip:alice@192.168.1.2:5060", "10.0.1.1", 40000)


# Publications


def test_a_publication_is_told_to_all_who_watch(bench: Bench) -> None:
    watchers = [Watcher(bench, name, f"10.0.1.{n}") for n, name in enumerate(("alice", "carol"), 2)]
    for each in watchers:
        each.answer(each.subscribe()[1])
    answer, *notifies = Phone(bench, "bob").publish()
    assert (answer.status, answer.first("expires")) == (200, "3600")
    assert answer.first("sip-etag")
    assert [(n.method, n.uri, n.body, n.cseq) for n in notifies] == [
        ("NOTIFY", f"sip:{each.name}@{literal(each.address)}", OPEN, 2) for each in watchers
    ]
    assert basic(notifies[0]) == b"open"


def test_each_publication_has_an_etag_of_its_own(bench: Bench) -> None:
    """RFC 3903 §6 step 6: refresh (told to nobody), modification, removal; an old one is unknown then."""
    alice, bob = Watcher(bench, "alice"), Phone(bench, "bob")
    alice.answer(alice.subscribe()[1])
    (first, notify) = bob.publish()
    alice.answer(notify)
    tags = [first.first("sip-etag")]
    (refreshed,) = bob.publish(b"", etag=tags[-1])
    tags.append(refreshed.first("sip-etag"))
    changed, notify = bob.publish(AWAY, etag=tags[-1])
    assert notify.body == AWAY
    alice.answer(notify)
    tags.append(changed.first("sip-etag"))
    assert len(set(tags)) == 3
    assert titles(bob.publish(etag=tags[0])) == ["412"]
    removed, notify = bob.publish(b"", etag=tags[-1], expires=0)
    assert (removed.status, removed.first("expires")) == (200, "0")
    assert removed.first("sip-etag")
    assert (state_of(notify), basic(notify)) == ("active", b"closed")
    assert titles(bob.publish(b"", etag=tags[-1])) == ["412"]


def test_a_publication_that_is_not_refreshed_is_over(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe()[1])
    answer, notify = Phone(bench, "bob").publish(expires=600)
    alice.answer(notify)
    assert bench.wait(599.9) == []
    (notify,) = bench.wait(0.2)
    assert (state_of(notify), basic(notify)) == ("active", b"closed")
    assert titles(Phone(bench, "bob").publish(b"", etag=answer.first("sip-etag"))) == ["412"]


def test_of_several_publications_the_latest_counts(bench: Bench) -> None:
    bob, desk = Phone(bench, "bob"), Phone(bench, "desk", "10.0.1.3")
    bob.publish(OPEN)
    etag = desk.publish(AWAY)[0].first("sip-etag")
    assert Watcher(bench, "alice").subscribe()[1].body == AWAY
    _, notify = desk.publish(b"", etag=etag, expires=0)
    assert notify.body == OPEN


@pytest.mark.parametrize(
    ("body", "fields", "status", "has"),
    [
        pytest.param(OPEN, {"expires": 5}, 423, ("min-expires", "60"), id="too brief"),
        pytest.param(OPEN, {"Event": "dialog"}, 489, ("allow-events", "presence"), id="another event"),
        pytest.param(OPEN, {"Event": ""}, 489, ("allow-events", "presence"), id="no event"),
        pytest.param(OPEN, {"etag": "nonsense"}, 412, ("sip-etag", ""), id="an unknown etag"),
        pytest.param(OPEN, {"etag": "a, b"}, 400, ("sip-etag", ""), id="two etags"),
        pytest.param(OPEN, {"Content_Type": "text/plain"}, 415, ("accept", PIDF), id="another type"),
        pytest.param(OPEN, {"Content_Encoding": "gzip"}, 415, ("accept-encoding", "identity"), id="encoded"),
        pytest.param(b"", {}, 400, ("sip-etag", ""), id="nothing"),
        pytest.param(OPEN, {"Require": "x"}, 420, ("unsupported", "x"), id="an extension"),
    ],
)
def test_a_publication_is_refused(
    bench: Bench, body: bytes, fields: dict[str, Any], status: int, has: tuple[str, str]
) -> None:
    got = Phone(bench, "bob").publish(body, **fields)
    assert titles(got) == [str(status)]
    assert got[0].first(has[0]) == has[1]
    assert bench.agent.counters()["publications"] == 0


def test_another_users_etag_is_unknown(bench: Bench) -> None:
    etag = Phone(bench, "bob").publish()[0].first("sip-etag")
    fields = {"SIP-If-Match": etag, "Expires": "0"}
    assert titles(Phone(bench, "eve").send("PUBLISH", f"sip:eve@{DOMAIN}", headers=fields)) == ["412"]


# What outlives the process


def test_a_restart_keeps_subscriptions_and_publications(bench: Bench) -> None:
    alice, bob = Watcher(bench, "alice"), Phone(bench, "bob")
    alice.answer(alice.subscribe(600)[1])
    answer, notify = bob.publish(expires=900)
    bench.restart()  # and the NOTIFY's answer is lost with it
    (resumed,) = bench.wait(1.4)[:1]
    assert (resumed.body, state_of(resumed)) == (OPEN, "active")
    assert resumed.cseq > notify.cseq
    alice.answer(resumed)
    bench.wait(1)
    refreshed, notify = alice.again(600)
    assert (refreshed.status, notify.body) == (200, OPEN)
    assert notify.cseq > resumed.cseq
    alice.answer(notify)
    assert titles(bob.publish(AWAY, etag=answer.first("sip-etag"))) == ["200", "NOTIFY"]


def test_what_ran_out_meanwhile_ends_after_the_restart(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    alice.answer(alice.subscribe(600)[1])
    Phone(bench, "bob").publish(expires=500)
    bench.end()
    bench.now += 700_000
    bench.begin()
    got = bench.wait(0.1)
    assert state_of(got[-1]) == "terminated"
    assert bench.agent.counters()["publications"] == 0
    assert titles(alice.again()) == ["481"]


def test_a_subscribe_sent_again_after_a_crash_makes_no_second_subscription(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    answer, _ = alice.subscribe()
    bench.restart()
    again, notify = bench.tell(alice.last, alice.flow)
    assert (again.status, again.to_tag) == (200, answer.to_tag)
    assert notify.method == "NOTIFY"
    assert bench.agent.counters()["subscriptions"] == 1


def test_nothing_is_promised_that_is_not_committed(bench: Bench) -> None:
    alice, bob = Watcher(bench, "alice"), Phone(bench, "bob")
    alice.answer(alice.subscribe()[1])
    bench.store.broken = True
    assert titles(bob.publish()) == ["503"]  # and no NOTIFY
    assert titles(Watcher(bench, "carol").subscribe()) == ["503"]
    assert titles(alice.again(0)) == ["503"]
    assert bench.wait(5) == []
    bench.store.broken = False
    assert titles(alice.again()) == ["200", "NOTIFY"]
    assert bench.agent.counters()["publications"] == 0
    assert titles(bob.publish()) == ["200", "NOTIFY"]


def test_nothing_leaves_before_the_commit(bench: Bench) -> None:
    alice = Watcher(bench, "alice")
    bench.agent.receive(alice.text("SUBSCRIBE", BOB, headers=[("Event", "presence")]), alice.flow, bench.now)
    assert bench.out.sent == []
    assert titles(bench.commit()) == ["200", "NOTIFY"]


# What is not the agent's


def test_everything_else_is_the_servers(bench: Bench) -> None:
    bob = Someone(bench, "bob")
    aor = f"<{BOB}>"
    got = bob.send("REGISTER", f"sip:{DOMAIN}", headers={"Expires": "600"}, to=aor, sender=f"{aor};tag=1")
    assert titles(got) == ["200", "OPTIONS"]
    eve = Someone(bench, "eve", "10.0.1.9")
    assert titles(eve.send("INVITE", f"sip:carol@{DOMAIN}")) == ["480"]
    assert titles(eve.send("SUBSCRIBE", "sip:x@elsewhere.test")) == ["403"]
    assert titles(eve.send("MESSAGE")) == ["MESSAGE"]


def test_a_notify_between_phones_and_its_answer_pass(bench: Bench) -> None:
    bob, eve = Someone(bench, "bob"), Someone(bench, "eve", "10.0.1.9")
    aor = f"<{BOB}>"
    bob.send("REGISTER", f"sip:{DOMAIN}", headers={"Expires": "600"}, to=aor, sender=f"{aor};tag=1")
    (passed,) = eve.send("NOTIFY", headers={"Event": "message-summary", "Subscription-State": "active"})
    (back,) = bob.answer(passed)
    assert (back.status, len(back.all("via"))) == (200, 1)
    assert param(back.first("cseq").replace(" ", ";"), "notify") == ""


@pytest.mark.parametrize("refreshes", [0, 2])
def test_a_whole_presence_cycle_as_the_generator_plays_it(refreshes: int) -> None:
    pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")
    from benchmarks.loadgen.measure import generator, measure
    from benchmarks.peers.servers import running

    with running("sipfast-presence", "presence", core=None) as peer:
        load = generator("presence", peer.address, size=200, refreshes=refreshes)
        result = measure(load, "presence", peer.port, peer.pid, 0.3, warm_up=0.05)
        load.close()
    counters = result.counters
    assert result.clean, (counters, result.complaints)
    assert counters["completed"] == counters["begun"] > 0
    if not counters["retransmitted"] and not counters["duplicates"] and not counters["late"]:
        messages = counters["sent"] + counters["received"] - counters["provisional"]
        assert messages == (33 + 4 * refreshes) * counters["completed"]
