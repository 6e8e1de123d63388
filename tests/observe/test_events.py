"""What an operator reads at `info`: a line for each change, and none for each message."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.phone import Phone
from net.redialing import arm, armed, come_back, refused, stage
from net.scene import DOMAIN, Scene, quiet
from net.stores import FailingStore, MemoryStore
from net.upstream import Upstream

from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, RedialDomain, RedialUser
from sipfast.config import Upstream as UpstreamSection
from sipfast.engine.engine import Engine

LISTENER = Listener(transport="UDP", host="10.0.0.1", port=5060, sent_by=b"10.0.0.1:5060")
PAIR = {"callee": b"sip:bob@example.com", "caller": b"sip:alice@example.com"}

Line = dict[str, Any]


class Silent(Sink):
    """Where nothing arrives."""

    def send(self, data: bytes, flow: Flow) -> int:
        return 0


class Lines:
    """What has been logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def of(self, *events: str) -> list[Line]:
        found = [record for record in self._caplog.records if not events or record.message in events]
        return [{"event": record.message, **getattr(record, "sip", {})} for record in found]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.INFO, "sipfast")
    return Lines(caplog)


# Registrations


def test_a_first_registration_is_told_and_a_refresh_is_not(lines: Lines) -> None:
    scene = Scene()
    bob = scene.phone("bob")
    (line,) = lines.of()
    assert (line["event"], line["aor"], line["peer"]) == ("registered", PAIR["callee"], b"10.0.1.1:5060")
    assert line["contact"] == b"sip:bob@10.0.1.1:5060" and line["seconds"] == 3600
    for _ in range(3):
        bob.register()
        scene.run()
    assert len(lines.of()) == 1


def test_a_logout_is_told(lines: Lines) -> None:
    scene = Scene()
    bob = scene.phone("bob")
    bob.unregister()
    scene.run()
    assert lines.of("gone") == [{"event": "gone", "aor": PAIR["callee"], "why": "its phone has logged out"}]
    bob.unregister()
    scene.run()
    assert len(lines.of("gone")) == 1  # it was gone already


@pytest.mark.parametrize("contacts", [["*"], ["<sip:bob@10.0.1.1>"], ["<sip:bob@10.0.1.1>", "<sip:bob@10.0.1.1:5080>"]])
def test_every_way_to_log_out_is_one(lines: Lines, contacts: list[str]) -> None:
    scene = Scene()
    bob = scene.peer("bob")
    bob.bind(contacts=["<sip:bob@10.0.1.1>"])
    scene.run()
    bob.bind(contacts=contacts, expires=0)
    scene.run()
    assert [line["event"] for line in lines.of()] == ["registered", "gone"]


def test_one_of_two_phones_that_goes_is_no_change_of_the_user(lines: Lines) -> None:
    scene = Scene()
    bob = scene.peer("bob")
    bob.bind(contacts=["<sip:bob@10.0.1.1>", "<sip:bob@10.0.1.1:5080>"])
    scene.run()
    bob.bind(contacts=["<sip:bob@10.0.1.1>"], expires=0)
    scene.run()
    assert [line["event"] for line in lines.of()] == ["registered"]


def test_a_registration_that_runs_out_is_told(lines: Lines) -> None:
    scene = Scene()
    scene.peer("bob").bind(expires=60)
    scene.run(62_000)
    assert lines.of("gone") == [{"event": "gone", "aor": PAIR["callee"], "why": "its registration ran out"}]


def test_an_upstreams_users_are_told_of_too(lines: Lines) -> None:
    scene = Scene(Config(upstream=(UpstreamSection(uri="sip:10.0.5.1:5060"),)))
    scene.network.add(Upstream("upstream", ("10.0.5.1", 5060)))
    bob = scene.phone("bob")
    assert [line["aor"] for line in lines.of("registered")] == [PAIR["callee"]]
    bob.unregister()
    scene.run()
    assert [line["aor"] for line in lines.of("gone")] == [PAIR["callee"]]


def test_registrations_can_be_left_out(lines: Lines) -> None:
    scene = Scene(Config(log_registrations=False))
    scene.phone("bob").unregister()
    scene.run()
    assert lines.of() == []


# Calls


def test_an_armed_watch_is_told(lines: Lines) -> None:
    scene, alice, _ = stage()
    arm(scene, alice)
    assert lines.of("watch-armed") == [{"event": "watch-armed", **PAIR, "seconds": 3600, "renewed": False}]
    arm(scene, alice, 7200)
    assert lines.of("watch-armed")[1:] == [{"event": "watch-armed", **PAIR, "seconds": 7200, "renewed": True}]
    assert lines.of("call-not-watched") == []


@pytest.mark.parametrize(
    ("expires", "does"), [(3600, "offers a watch"), (7200, "renews its watch"), (0, "is to end its watch")]
)
def test_a_480_without_an_ack_is_told(lines: Lines, expires: int, does: str) -> None:
    scene, alice, _ = stage()
    if expires != 3600:
        arm(scene, alice)
    told = len(lines.of("watch-armed"))
    silent = quiet(scene, "silent")
    silent.ask("INVITE", "sip:bob@example.com", sender=f"<{alice.aor}>;tag=1", headers=[("Expires", str(expires))])
    scene.run(33_000)
    why = f"no ACK came for the 480 that {does}"
    assert lines.of("call-not-watched") == [{"event": "call-not-watched", **PAIR, "why": why}]
    assert len(lines.of("watch-armed")) == told and lines.of("watch-ended") == []


NOTHING_ARMED: dict[str, tuple[dict[str, Any], int | None, str]] = {
    "no Expires": ({}, None, "it has no Expires, and redial.default_period is 0"),
    "a short one": ({}, 180, "its Expires is 180, less than redial.min_period, and redial.default_period is 0"),
    "none is wanted": ({}, 0, "its Expires is 0: it asks for none"),
    "never": ({"policy": "never"}, 3600, 'the policy for its caller is "never" (redial.policy)'),
    "never for this user": (
        {"user": (RedialUser(aor="sip:alice@example.com", policy="never"),)},
        3600,
        'the policy for its caller is "never" (redial.user.policy)',
    ),
    "only when asked": (
        {"default_period": 600, "domain": (RedialDomain(domain="example.com", policy="ask"),)},
        180,
        'its Expires is 180, less than redial.min_period, and the policy for its caller is "ask" (redial.domain.policy)',
    ),
    "an emergency number": (
        {"never_callees": ("112", "b?b")},
        3600,
        "its callee is never watched for (redial.never_callees)",
    ),
    "redial is off": ({"enabled": False}, 3600, "redial is off (redial.enabled)"),
}


@pytest.mark.parametrize(("redial", "expires", "why"), NOTHING_ARMED.values(), ids=NOTHING_ARMED)
def test_why_a_call_armed_nothing(lines: Lines, redial: dict[str, Any], expires: int | None, why: str) -> None:
    scene, alice, _ = stage(redial)
    arm(scene, alice, expires)
    assert lines.of("call-not-watched") == [{"event": "call-not-watched", **PAIR, "why": why}]


def test_why_a_call_armed_nothing_when_a_limit_is_reached(lines: Lines) -> None:
    scene, alice, _ = stage({"per_caller": 1, "per_callee": 1})
    carol = scene.phone("carol")
    arm(scene, alice)
    arm(scene, alice, callee="dave")
    arm(scene, carol)
    assert [line["why"] for line in lines.of("call-not-watched")] == [
        "its caller has redial.per_caller watches", "its callee has redial.per_callee watches"
    ]  # fmt: skip


def test_why_a_strangers_call_armed_nothing(lines: Lines) -> None:
    scene = Scene(believes=False)
    stranger = scene.peer("alice")
    stranger.ask("INVITE", f"sip:bob@{DOMAIN}", sender="<sip:alice@elsewhere.example>;tag=1", headers=[("Expires", "3600")])
    scene.run()
    (line,) = lines.of("call-not-watched")
    assert line["caller"] == b"sip:alice@elsewhere.example"
    assert line["why"] == "its caller is of no domain served here (redial.callers)"


@pytest.mark.parametrize("icmp", [True, False], ids=["its port is closed", "silence"])
def test_a_call_to_a_dead_phone_is_watched(lines: Lines, icmp: bool) -> None:
    scene, alice, bob = stage()
    bob.register()
    scene.run()
    scene.network.icmp = icmp
    scene.network.remove(bob)
    alice.call("bob", 3600)
    scene.run(40_000)
    assert lines.of("watch-armed") == [{"event": "watch-armed", **PAIR, "seconds": 3600, "renewed": False}]
    assert lines.of("call-not-watched") == []


@pytest.mark.parametrize(("status", "why"), [("486", "busy"), ("480", "says 480 itself")])
def test_why_a_call_that_a_phone_declined_armed_nothing(lines: Lines, status: str, why: str) -> None:
    scene, alice, bob = stage()
    bob.register()
    scene.run()
    bob.on_invite = status
    alice.call("bob", 3600)
    scene.run(1_000)
    (line,) = lines.of("call-not-watched")
    assert why in line["why"]


# Recalls


def test_a_recall_and_how_it_ended_are_told(lines: Lines) -> None:
    scene, _, bob = armed()
    come_back(scene, bob)
    scene.run(5_000)
    assert lines.of("recall") == [{"event": "recall", **PAIR, "attempt": 1, "method": "refer", "answer": "202 Accepted"}]
    assert lines.of("watch-ended") == [{"event": "watch-ended", **PAIR, "reason": "answered"}]


def test_what_the_phone_answered_is_told(lines: Lines) -> None:
    refused()
    (recall,) = lines.of("recall")
    assert recall["answer"].startswith("603")
    (failed,) = lines.of("recall-failed")
    assert failed["result"].startswith("REFER got 603")
    assert (failed["attempt"], failed["of"]) == (1, 3) and 3600.0 <= failed["again_in"] <= 3600.0 * 5 / 4


def test_a_phone_that_says_nothing(lines: Lines) -> None:
    scene, alice, bob = armed({"attempts": 1})
    alice.on_refer = "ignore"
    come_back(scene, bob)
    scene.run(10_000)
    (recall,) = lines.of("recall")
    assert recall["answer"] == "none"
    (line,) = lines.of("recall-failed")
    assert line["result"] == "no answer to REFER"
    assert lines.of("watch-ended", "redial-given-up") == []


def test_attempts_that_are_used_up_are_told_once(lines: Lines) -> None:
    scene, alice, bob = armed({"attempts": 1})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(30_000)
    (line,) = lines.of("redial-given-up")
    assert (line["attempts"], line["result"]) == (1, "no call after REFER")
    assert lines.of("watch-ended", "recall-failed") == []  # one line for one end


def test_a_period_that_is_over_is_told(lines: Lines) -> None:
    scene, alice, _ = stage()
    arm(scene, alice, 300)
    scene.run(301_000)
    assert lines.of("watch-ended") == [{"event": "watch-ended", **PAIR, "reason": "monitoring period over"}]


@pytest.mark.parametrize("caller", [0, 1])
@pytest.mark.parametrize("callee", [0, 1])
def test_of_several_workers_one_tells_each(lines: Lines, monkeypatch: pytest.MonkeyPatch, caller: int, callee: int) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    scene = Scene()
    alice = standing(scene, caller, "alice")
    bob = standing(scene, callee, "bob", register=False)
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(5_000)
    assert [line["event"] for line in lines.of()] == [
        "registered", "watch-armed", "registered", "recall", "watch-ended"
    ]  # fmt: skip


def standing(scene: Scene, worker: int, name: str, **more: Any) -> Phone:
    """A phone whose datagrams come to a worker."""
    assert isinstance(scene.server, Cluster)
    while scene.server.home((f"10.0.1.{scene._places + 1}", 5060)) != worker:
        scene._places += 1
    return scene.phone(name, **more)


# Refusals


def test_the_first_of_a_kind_of_refusal_is_told_and_then_one_a_minute(lines: Lines) -> None:
    scene = Scene()
    peer = scene.peer("eve")
    for _ in range(50):
        peer.ask("MESSAGE", f"sip:bob@{DOMAIN}", forwards=0)
        scene.run(100)
    (line,) = lines.of("refused")
    assert (line["status"], line["method"], line["peer"]) == (483, b"MESSAGE", b"10.0.1.1:5060")
    peer.ask("REGISTER", f"sip:{DOMAIN}", to=f"<sip:eve@{DOMAIN}>", headers=[("Expires", "5")])  # another kind: 423
    scene.run(60_000)
    peer.ask("MESSAGE", f"sip:bob@{DOMAIN}", forwards=0)
    scene.run()
    assert [(line["status"], line.get("more")) for line in lines.of("refused")] == [(483, None), (423, None), (483, 49)]


def test_a_server_without_timers_knows_the_time(lines: Lines) -> None:
    """Of several workers only the first has a timer that always runs: the wheel of another may stand still."""
    engine = Engine(Config(), MemoryStore(), Silent(), [LISTENER], domains=[DOMAIN], worker=1, workers=2, bus=print)
    engine.start(0)
    peer = Scene().peer("eve")
    for now in (1_000, 2_000, 61_000, 61_500):
        engine.receive(peer.text("MESSAGE", f"sip:bob@{DOMAIN}", forwards=0), Flow("192.0.2.9", 5060), now)
        engine.commit(now)
    assert [line.get("more") for line in lines.of("refused")] == [None, 1]


def test_a_refusal_that_says_why_is_told_with_it(lines: Lines) -> None:
    scene = Scene()
    peer = scene.peer("eve")
    for _ in range(2):
        peer.ask("MESSAGE", "sip:bob@elsewhere.example")
        scene.run()
    (line,) = lines.of("refused")
    assert line["status"] == 403 and line["why"]
    assert len(lines.of("domain-not-served")) == 1


def test_kinds_of_refusals_are_bounded(lines: Lines) -> None:
    scene = Scene()
    peer = scene.peer("eve")
    for number in range(400):
        peer.ask(f"METHOD{number}", f"sip:bob@{DOMAIN}", forwards=0)
        scene.run(1)
    scene.run(2_000)
    (line,) = lines.of("refused")  # all methods that are not known are of one kind
    assert line["method"] == b"METHOD0"


# The bound


def test_a_storm_of_registrations_is_summed_up(lines: Lines) -> None:
    scene = Scene()
    peer = scene.peer("phones")
    for number in range(1_000):
        peer.bind(f"user{number}")
        scene.run(1)
    scene.run(2_000)
    told = len(lines.of("registered"))
    left = sum(line["count"] for line in lines.of("lines-left-out"))
    assert 200 <= told <= 200 + 20 * 2 and told + left == 1_000
    assert len(lines.of("lines-left-out")) <= 3


def test_where_nobody_listens_nothing_is_put_together(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "sipfast")
    scene, alice, bob = armed()
    come_back(scene, bob)
    scene.run(5_000)
    alice.unregister()
    scene.run()
    assert caplog.records == []


def test_nobody_is_told_of_what_was_not_stored(lines: Lines) -> None:
    """The commit fails: the phone gets a 503, and it is not registered."""
    store = FailingStore()
    scene = Scene(store=store)
    bob = scene.peer("bob")
    store.broken = True
    bob.bind()
    scene.run()
    assert bob.got() == ["503"]
    store.broken = False
    scene.peer("carol").bind()
    scene.run()
    assert [line["aor"] for line in lines.of("registered")] == [b"sip:carol@example.com"]
