"""The recall method `callback`: the caller's phone is called, and asked within that call. With phones as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from net.network import Crash, Line, replay, seeds
from net.phone import Phone
from net.recalling import arm_surely, checked, play, set_up, settle
from net.redialing import ALICE, BOB, come_back, watch_of
from net.scene import SERVER, Scene, Speaker, forget_proofs
from net.sipwire import Address, literal, uri_of
from net.stores import FlakyStore, count_watches
from net.stubborn import OBEDIENT, PHONES

from sipfast._flow import Flow
from sipfast.config import Config, Redial
from sipfast.config import Phone as Profile
from sipfast.engine.engine import Engine
from sipfast.observe.steps import Step

# Every phone, in both ways


@pytest.mark.parametrize("start", ["dial", "ring"])
@pytest.mark.parametrize("name", OBEDIENT)
def test_every_phone_calls(name: str, start: str) -> None:
    scene = play(PHONES[name], {"start": start})
    checked(scene)
    alice = scene.alice
    rang = [call for call in alice.calls if not call.outgoing]
    assert len(rang) == 1
    if start == "dial" and PHONES[name].get("early", "accept") == "accept" and not PHONES[name].get("asks_user"):
        assert rang[0].status == 487 and len(alice.refers) == 1  # nobody had to pick up


@pytest.mark.parametrize("name", [name for name in OBEDIENT if not PHONES[name].get("asks_user")])
def test_every_phone_calls_over_rough_lines(name: str) -> None:
    line = Line(latency=(1, 40), loss=0.1, reorder=0.1, late=400, duplicate=0.1)
    for seed in seeds(0, 15):
        scene = set_up(PHONES[name], seed=seed, line=line)
        try:
            arm_surely(scene)
            scene.bob.register()
            settle(scene)
            checked(scene)
        except AssertionError as error:
            raise AssertionError(replay(seed, scene.network, error)) from error


def test_the_end_of_the_servers_own_call_is_no_outcome() -> None:
    """Its 487 says what the server's CANCEL has brought about, and nothing of what the phone's user thinks."""
    steps: list[Step] = []
    scene = play({}, {}, kind=partial(Engine, outlet=steps.extend))
    checked(scene)
    outcomes = [(step.result, step.reason) for step in steps if step.event == "outcome"]
    assert outcomes == [("202 Accepted", "accepted")]
    counters = scene.server.counters
    assert {name: counters[name] for name in counters if "callback" in name and counters[name]} == {
        "redial_callback_begun": 1, "redial_callback_accepted": 1, "redial_callback_answered": 1,
    }  # fmt: skip


def test_a_call_that_comes_before_any_answer_to_the_refer_is_one() -> None:
    """Its 2xx is lost, or comes later."""
    steps: list[Step] = []
    scene, alice, bob = quiet(kind=partial(Engine, outlet=steps.extend))
    invite, contact = alice.take("INVITE"), [("Contact", f"<sip:alice@{literal(alice.address)}>")]
    alice.answer(invite, 180, headers=contact)
    scene.run(10)
    refer = alice.take("REFER")
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(100)
    alice.answer(refer, 202, headers=contact)
    alice.answer(invite, 487)
    scene.run(100)
    outcomes = [(step.result, step.reason) for step in steps if step.event == "outcome"]
    assert bob.calls and outcomes == [("called", "accepted")]


# The form of what is sent


def quiet(redial: dict[str, Any] | None = None, **more: Any) -> tuple[Scene, Speaker, Phone]:
    """Alice has armed a watch, bob is back, and the server calls her, who says nothing by herself."""
    settings = {"methods": ("callback",), "retry_pause": 3600.0, **(redial or {})}
    scene = Scene(Config(redial=Redial(**settings)), **more)
    alice, bob = scene.peer("alice"), scene.phone("bob", register=False)
    alice.bind()
    invite = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
    scene.run()
    alice.ack(invite, alice.take("INVITE", 480))
    alice.inbox.clear()
    come_back(scene, bob)
    scene.run()
    return scene, alice, bob


def test_the_form_of_the_invite() -> None:
    """The callee calls, by name and number (RFC 7462 §5: and the phone may know that it is a callback)."""
    _, alice, _ = quiet()
    invite = alice.take("INVITE")
    assert invite.first("from").startswith('"bob" <sip:bob@example.com>;tag=') and not invite.to_tag
    assert uri_of(invite.first("to")) == "sip:alice@example.com" and invite.uri == f"sip:alice@{literal(alice.address)}"
    assert invite.lines("alert-info") == ["<urn:alert:service:recall:callback>"]
    assert b"a=sendrecv" in invite.body and not invite.lines("expires")


@pytest.mark.parametrize("methods", [("callback",), ("b2bua",)])
def test_what_the_profile_of_its_make_adds_is_in_the_invite(methods: tuple[str, ...]) -> None:
    """Beside what stands there anyhow; nothing of it is in what is sent to another make."""
    profile = Profile(agent="Acme ", headers=("Alert-Info: <http://127.0.0.1/ring>", "X-Answer: now"))
    for agent, alerts, answer in (
        ("Acme 1.0", ["<urn:alert:service:recall:callback>", "<http://127.0.0.1/ring>"], ["now"]),
        ("Other 1.0", ["<urn:alert:service:recall:callback>"], []),
    ):
        scene = Scene(Config(redial=Redial(methods=methods, phone=(profile,))))
        alice, bob = scene.peer("alice"), scene.phone("bob", register=False)
        alice.bind()
        wish = alice.ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600"), ("User-Agent", agent)])
        scene.run()
        alice.ack(wish, alice.take("INVITE", 480))
        alice.inbox.clear()
        come_back(scene, bob)
        scene.run()
        invite = alice.take("INVITE")
        assert (invite.lines("alert-info"), invite.lines("x-answer")) == (alerts, answer)


def test_the_form_of_the_refer() -> None:
    """RFC 3515 §2.1, RFC 3892 §2.1. What is more in the URI, some phones copy into their INVITE."""
    scene, alice, _ = quiet()
    alice.answer(alice.take("INVITE"), 180)
    scene.run()
    refer = alice.take("REFER")
    assert refer.first("refer-to") == refer.first("referred-by") == "<sip:bob@example.com>" and refer.to_tag == "tag-alice"


def test_only_a_180_is_followed_by_a_refer_and_with_ring_nothing_is() -> None:
    scene, alice, _ = quiet()
    alice.answer(alice.take("INVITE"), 100, tag="")
    scene.run()
    assert not alice.count("REFER")
    scene, alice, _ = quiet({"start": "ring"})
    alice.answer(alice.take("INVITE"), 180)
    scene.run()
    assert not alice.count("REFER")


def test_the_refer_follows_the_ack_by_a_moment() -> None:
    scene, alice, _ = quiet({"start": "ring"})
    alice.answer(alice.take("INVITE"), 200, headers=[("Contact", f"<sip:alice@{literal(alice.address)}>")])
    scene.run(40)
    assert alice.count("ACK") == 1 and not alice.count("REFER")
    scene.run(30)
    assert alice.count("REFER") == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_a_late_481_to_the_early_refer_says_nothing_of_the_answered_call(restarts: bool) -> None:
    """Some phones know no early dialogs. Somebody has picked up by the time that it comes."""
    scene, alice, _ = quiet()
    invite, contact = alice.take("INVITE"), [("Contact", f"<sip:alice@{literal(alice.address)}>")]
    alice.answer(invite, 180, headers=contact)
    scene.run(10)
    refer = alice.take("REFER")
    alice.answer(invite, 200, headers=contact)
    scene.run(10)
    if restarts:
        scene.server.crash(scene.now)
        scene.run(2_000)
    alice.inbox.clear()
    alice.answer(refer, 481)
    scene.run(3_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "recalling" and not alice.count("BYE")
    second = alice.take("REFER")
    assert second.cseq > refer.cseq and second.call_id == invite.call_id


@pytest.mark.parametrize("late", [202, 481, 501, 603])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_late_answer_to_the_early_refer_is_not_one_to_the_second(late: int, restarts: bool) -> None:
    """RFC 3261 §17.1.3, §8.1.1.5: the second one is another request of the dialog, by its CSeq and branch."""
    scene, alice, _ = quiet({"refer_timeout": 30.0})
    invite, contact = alice.take("INVITE"), [("Contact", f"<sip:alice@{literal(alice.address)}>")]
    alice.answer(invite, 180, headers=contact)
    scene.run(10)
    early = alice.take("REFER")
    alice.answer(invite, 200, headers=contact)
    alice.inbox.clear()
    scene.run(3_000)
    (second,) = {each.cseq: each for each in alice.inbox if each.method == "REFER" and each.cseq > early.cseq}.values()
    if restarts:
        scene.server.crash(scene.now)
        scene.run(1_500)
    alice.answer(early, late, headers=contact)
    scene.run(100)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "recalling" and not alice.count("BYE")
    assert not [step for _, step in scene.store.attempts(BOB, ALICE)]
    alice.answer(second, 501)
    scene.run(100)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.last_result) == ("armed", "REFER in a call got 501 Not Implemented")


@pytest.mark.parametrize("inside", ["silence", "accept"])
def test_a_phone_that_says_nothing_in_its_call_is_waited_for_as_long_as_out_of_one(inside: str) -> None:
    """redial.refer_timeout, and not the 32 s of its transaction; then its call goes on as that of the next method."""
    how = {"early": "silence", "inside": inside, "ring_time": 1_000}
    scene = set_up(how, {"methods": ("callback", "b2bua"), "refer_timeout": 4.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.network.wait(lambda: count_watches(scene.store) == 0, 10_000, "the two to talk")
    assert scene.store.ended()[0].watch.method == ("callback" if inside == "accept" else "b2bua")
    scene.run(60_000)
    assert [call.state for call in scene.bob.calls] == ["talking"]


def test_a_notify_that_it_could_not_may_come_before_the_202() -> None:
    """RFC 3515 §2.4.4. The phone was not ready for it yet, and is asked once more."""
    scene, alice, _ = quiet({"start": "ring"})
    invite, contact = alice.take("INVITE"), ("Contact", f"<sip:alice@{literal(alice.address)}>")
    alice.answer(invite, 200, headers=[contact])
    scene.run(100)
    refer = alice.take("REFER")
    headers = [
        ("Event", "refer"),
        ("Subscription-State", "terminated;reason=noresource"),
        ("Content-Type", "message/sipfrag"),
    ]
    alice.ask(
        "NOTIFY", uri_of(refer.first("contact")), to=refer.first("from"), sender=refer.first("to"), call_id=refer.call_id,
        headers=[*headers, contact], body=b"SIP/2.0 400 Bad Request\r\n",
    )  # fmt: skip
    alice.answer(refer, 202, headers=[contact])
    alice.inbox.clear()
    scene.run(3_000)
    assert alice.take("REFER").cseq > refer.cseq and not alice.count("BYE")


# What comes back


@pytest.mark.parametrize(
    ("status", "result"),
    [(404, "INVITE got 404 Not Found"), (486, "INVITE got 486 Busy Here"), (603, "INVITE got 603 Decline")],
)
def test_a_refused_invite(status: int, result: str) -> None:
    scene, alice, _ = quiet()
    alice.answer(alice.take("INVITE"), status)
    scene.run()
    watch = watch_of(scene)
    assert watch is not None and watch.last_result == result and not scene.store.legs()


@pytest.mark.parametrize(("first", "then", "attempts"), [(100, 488, 0), (180, 488, 1), (183, 500, 1), (200, 501, 1)])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_phone_that_has_rung_or_was_picked_up_has_taken_part(first: int, then: int, attempts: int, restarts: bool) -> None:
    """An attempt is what a device accepted and nothing came of: what it says in the end changes nothing of that."""
    scene, alice, _ = quiet({"start": "ring" if first == 200 else "dial", "recall_timeout": 600.0, "recall_ring": 60.0})
    invite, contact = alice.take("INVITE"), [("Contact", f"<sip:alice@{literal(alice.address)}>")]
    alice.answer(invite, first, tag="" if first == 100 else "tag-alice", headers=contact)
    scene.run(100)
    if restarts:
        scene.server.crash(scene.now)
        scene.run(500)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("recalling", 1)
    alice.answer(alice.take("REFER") if first == 200 else invite, then, headers=contact)
    scene.run(500)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", attempts)


def test_one_of_several_devices_that_rang_makes_an_attempt() -> None:
    """The first rings and is not there after all, the second one refuses."""
    scene, alice, _ = quiet({"other_devices": "always", "start": "ring"})
    other = scene.peer("alice")
    other.bind()
    invite = alice.take("INVITE")
    alice.answer(invite, 180)
    scene.run(10)
    alice.answer(invite, 404)
    scene.run(100)
    other.answer(other.take("INVITE"), 488)
    scene.run(100)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", 1)


def test_nobody_picks_up() -> None:
    scene = set_up({"early": "500", "ring_time": 60_000}, {"retry_pause": 3600.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(19_000)
    (rang,) = [call for call in scene.alice.calls if not call.outgoing]
    assert rang.state == "ringing"
    scene.run(2_000)
    watch = watch_of(scene)
    assert rang.status == 487 and watch is not None and watch.last_result == "nobody picked up"


def test_a_phone_that_takes_the_early_refer_and_never_calls_has_not_said_no() -> None:
    """baresip-python asks its user, and cannot be picked up meanwhile: the next method's turn."""
    scene = set_up({"early": "idle", "ring_time": 60_000}, {"methods": ("callback", "b2bua"), "recall_timeout": 60.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(19_000)
    scene.alice.ring_time = 2_000  # the second time somebody picks up
    scene.network.wait(lambda: count_watches(scene.store) == 0, 60_000, "the two to be joined")
    scene.run(1_000)
    assert [call.state for call in scene.bob.calls] == ["talking"]


def test_a_notify_that_overtakes_the_answer_is_heard() -> None:
    """RFC 6665 §4.1.2.4. A phone that was not ready is asked a second time, whichever came first."""
    scene, alice, _ = quiet({"start": "ring"})
    invite = alice.take("INVITE")
    contact = [("Contact", f"<sip:alice@{literal(alice.address)}>")]
    alice.answer(invite, 200, headers=contact)
    scene.run(100)
    refer = alice.take("REFER")
    alice.ask(
        "NOTIFY", f"sip:{literal(SERVER)}", sender=refer.first("to"), to=refer.first("from"), call_id=refer.call_id,
        headers=[("Event", "refer"), ("Subscription-State", "terminated"), ("Content-Type", "message/sipfrag")],
        body=b"SIP/2.0 400 Bad Request",
    )  # fmt: skip
    scene.run(10)
    alice.answer(refer, 202, headers=contact)
    scene.run(1_300)
    assert alice.count("REFER") == 0
    scene.run(300)
    assert alice.take("REFER").cseq == refer.cseq + 1


def test_the_next_method_waits_until_the_phone_has_stopped_ringing() -> None:
    """Its call would find the phone busy with the one that the server has just ended."""
    scene = set_up({"early": "idle", "ring_time": 60_000}, {"methods": ("callback", "b2bua"), "recall_timeout": 60.0})
    lost, receive = [], scene.alice.receive

    def lose_one(data: bytes, source: Address, now: int) -> None:
        if data.startswith(b"CANCEL ") and not lost:
            lost.append(data)
        else:
            receive(data, source, now)

    scene.alice.receive = lose_one  # type: ignore[method-assign]
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(19_000)
    scene.alice.ring_time = 2_000
    scene.network.wait(lambda: count_watches(scene.store) == 0, 9_000, "the two to be joined")
    assert lost and [call.status for call in scene.alice.calls if not call.outgoing] == [487, 200]


def test_a_phone_that_rings_on_after_a_restart_is_cancelled_though_it_speaks_first() -> None:
    """RFC 3261 §9.1. Its 180 comes before the new process has gone on to end what the old one had begun to end."""
    scene, alice, _ = quiet({"start": "ring", "recall_ring": 2.0})
    invite = alice.take("INVITE")
    alice.answer(invite, 180)
    scene.run(2_100)
    assert alice.count("CANCEL") == 1
    scene.server.crash(scene.now, down=10)
    scene.run(10)
    alice.inbox.clear()
    engine = scene.server.engine
    alice.transmit = lambda data, to: engine.receive(data, Flow(*alice.address), scene.now)  # type: ignore[method-assign]
    alice.answer(invite, 180)
    engine.commit(scene.now)
    scene.run(1_000)
    assert alice.count("CANCEL") >= 1
    scene.run(120_000)
    counters = scene.server.counters
    assert (counters["legs"], counters["client_transactions"]) == (0, 0)


def test_who_picks_up_and_hangs_up_wants_no_call() -> None:
    scene, alice, _ = quiet({"start": "ring"})
    invite = alice.take("INVITE")
    alice.answer(invite, 200, headers=[("Contact", f"<sip:alice@{literal(alice.address)}>")])
    scene.run(20)
    alice.ask(
        "BYE", f"sip:{literal(SERVER)}", sender=invite.first("to") + ";tag=tag-alice", to=invite.first("from"),
        call_id=invite.call_id,
    )  # fmt: skip
    scene.run(100)
    watch = watch_of(scene)
    assert watch is not None and watch.last_result == "the caller has picked up, and hung up" and not alice.count("REFER")


def test_the_invite_is_not_cancelled_before_the_call_has_come() -> None:
    """A phone was seen that places no call then."""
    scene = set_up({"dial_delay": 3_000, "ring_time": 60_000})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(2_900)
    assert not scene.network.sent(scene.server, "CANCEL")
    settle(scene)
    checked(scene)
    (cancel,) = {message.raw: message for message in scene.network.sent(scene.server, "CANCEL")}.values()
    assert cancel.first("reason") == 'SIP;cause=200;text="Call completed elsewhere"'


def test_a_phone_that_takes_every_refer_and_never_calls_is_hung_up_in_the_end() -> None:
    scene = set_up(PHONES["baresip-python asking its user"], {"retry_pause": 3600.0, "recall_timeout": 5.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(15_000)
    watch = watch_of(scene)
    assert watch is not None and watch.last_result == "no call after callback"
    assert all(call.over for call in scene.alice.calls) and not scene.store.legs()


def test_refer_first_then_callback() -> None:
    scene = play({}, {"methods": ("refer", "callback")})
    checked(scene)
    assert len({message.raw for message in scene.network.sent(scene.server, "REFER")}) == 2


def test_one_login_has_the_server_send_little_to_who_has_proven_nothing() -> None:
    """A caller's address is easily made up: what goes there is paid for by the callee's REGISTER."""
    settings: dict[str, Any] = {"methods": ("callback",), "default_period": 600, "retry_pause": 5.0}
    scene = Scene(Config(redial=Redial(**settings)))
    victim, bob = scene.peer("victim"), scene.peer("bob")
    for number in range(10):
        victim.ask(
            "INVITE", "sip:bob@example.com", sender=f"<sip:caller{number}@example.com>;tag=1", branch=f"z9hG4bK{number}"
        )
    scene.run(40_000)
    victim.answers_probes = False
    forget_proofs(scene)
    since = len(scene.network.trace)
    register = bob.bind()
    scene.run(200_000)
    sent = [e.data for e in scene.network.trace[since:] if e.source == "server" and e.target == "victim"]
    assert 1 <= len(sent) <= 4 and sum(map(len, sent)) <= 6 * len(register.raw)


# Restarts


def steps(how: dict[str, Any], redial: dict[str, Any]) -> list[Crash]:
    scene = play(how, redial)
    taken = [Crash(kind, count) for count in range(1, scene.server.taken + 1) for kind in ("before", "uncommitted")]
    return taken + [Crash("output", count) for count in range(1, scene.server.given + 1)]


WAYS = {
    "dial": ({}, {}),
    "ring": ({}, {"start": "ring"}),
    "refused early": ({"early": "500", "hangs_up": True}, {}),
    "refer first": ({}, {"methods": ("refer", "callback")}),
}


@pytest.mark.parametrize("down", [100, 3_000, 20_000])
@pytest.mark.parametrize("way", WAYS)
def test_a_restart_at_any_message(way: str, down: int) -> None:
    how, redial = WAYS[way]
    found = steps(how, redial)
    assert len(found) > 40
    for crash in found:
        scene = set_up(how, redial, crashes=[Crash(crash.kind, crash.count, down)])
        try:
            arm_surely(scene)
            scene.bob.register()
            settle(scene)
            checked(scene, 2)
        except AssertionError as error:
            raise AssertionError(f"{crash}: {error}\n{scene.network.ladder(300)}") from error


def test_a_store_that_fails_now_and_then() -> None:
    for seed in seeds(500, 40):
        store = FlakyStore(seed, 4)
        scene = set_up({}, seed=seed, store=store)
        try:
            arm_surely(scene)
            scene.bob.register(120)
            settle(scene)
            checked(scene, 2)
        except AssertionError as error:
            raise AssertionError(replay(seed, scene.network, error)) from error
