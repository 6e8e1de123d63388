"""A 401 or 407 to what the server itself sends in `callback` and `b2bua` is answered with the credentials that there are."""

from __future__ import annotations

from typing import Any

import pytest
from net.endpoint import ServerTransaction
from net.network import Crash, Line, replay, seeds
from net.recalling import Stage, arm_surely, calls, checked, joined, over, settle
from net.redialing import come_back, watch_of
from net.scene import SERVER
from net.sipwire import Sip, literal
from net.stores import FlakyStore, count_watches
from net.wary import Guard, Wary, WaryUpstream

from sipfast.config import Config, Credentials, Redial, RedialUser
from sipfast.config import Phone as Profile
from sipfast.config import Upstream as Behind

PHONE = Credentials(user="sipfast", password="long and random", realm="phone")
ALICE = Credentials(user="alice", password="alice", realm="up")
WRONG = Credentials(user="sipfast", password="guessed", realm="phone")
BEHIND = ("10.0.5.1", 5060)
# Takes every REFER and never calls, so that the two are joined.
IDLE: dict[str, Any] = {"early": "idle", "inside": "idle", "ring_time": 2_000}


def phone_guard(*algorithms: str) -> Guard:
    return Guard("phone", PHONE.user, PHONE.password, algorithms or ("MD5", "SHA-256"))


def set_up(
    how: dict[str, Any] | None = None, redial: dict[str, Any] | None = None, *, behind: bool = False, **more: Any
) -> Stage:
    """Alice's phone asks who calls; `behind`: so does the upstream, each caller."""
    settings: dict[str, Any] = {"methods": ("callback",), "retry_pause": 10.0, "attempts": 24, "credentials": (PHONE,)}
    settings |= redial or {}
    upstream = (Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),) if behind else ()
    scene = Stage(Config(redial=Redial(**settings), upstream=upstream), **more)
    if behind:
        server = scene.network.add(WaryUpstream("upstream", BEHIND))
        server.guards["alice"] = Guard("up", "alice", "alice", ("MD5",))
    attributes = {"guard": phone_guard(), "asks": frozenset({"INVITE", "REFER", "BYE", "INFO", "UPDATE"}), **(how or {})}
    scene.alice = person(scene, "alice", attributes)
    scene.bob = person(scene, "bob", {"ring_time": 1_000, "lines": 5})
    scene.alice.register()
    scene.network.wait(lambda: scene.alice.registered, 300_000, "alice to register")
    return scene


def person(scene: Stage, name: str, attributes: dict[str, Any]) -> Wary:
    phone = scene.network.add(Wary(name, scene.place(), SERVER))
    phone.password = name
    for key, value in attributes.items():
        assert hasattr(phone, key), key
        setattr(phone, key, value)
    return phone


def play(how: dict[str, Any] | None = None, redial: dict[str, Any] | None = None, **more: Any) -> Stage:
    scene = set_up(how, redial, **more)
    arm_surely(scene)
    scene.bob.register()
    settle(scene)
    return scene


def of(messages: list[Sip], method: str) -> list[Sip]:
    return [message for message in messages if message.method == method]


# What is sent


@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256",), ("MD5", "SHA-256")])
@pytest.mark.parametrize("start", ["dial", "ring"])
def test_a_phone_that_asks_is_told(start: str, algorithms: tuple[str, ...]) -> None:
    scene = play({"guard": phone_guard(*algorithms)}, {"start": start})
    checked(scene)
    alice = scene.alice
    (asked,), (invite,) = of(alice.turned_away, "INVITE"), of(alice.let_in, "INVITE")
    # RFC 3261 §22.2: the same Call-ID, From and To, and a CSeq that is one higher.
    for field in ("call-id", "from", "to", "contact", "alert-info"):
        assert asked.first(field) == invite.first(field)
    assert invite.cseq == asked.cseq + 1 and not invite.to_tag and invite.body == asked.body
    assert invite.first("via") != asked.first("via")
    # §17.1.1.3: the 401 was acknowledged, and by the branch of what it refused.
    acks = [m for m in scene.network.sent(scene.server, "ACK") if (m.call_id, m.cseq) == (asked.call_id, asked.cseq)]
    assert acks and {m.first("via").partition(";rport")[0] for m in acks} == {asked.first("via").partition(";rport")[0]}
    assert not alice.unsigned and of(alice.let_in, "REFER")


def test_who_has_asked_in_a_dialog_need_not_ask_again() -> None:
    """RFC 3261 §22.3"""
    scene = play({"early": "500"})
    assert [message.method for message in scene.alice.turned_away] == ["INVITE"]
    assert [message.method for message in scene.alice.let_in] == ["INVITE", "REFER", "REFER", "BYE"]


def test_a_phone_whose_nonces_are_for_one_request_is_told_each_time() -> None:
    guard = phone_guard()
    guard.once = True
    scene = play({"guard": guard, "early": "500"})
    checked(scene)
    assert [message.method for message in scene.alice.let_in] == ["INVITE", "REFER", "REFER", "BYE"]
    assert len(scene.alice.turned_away) == 4 and not scene.alice.unsigned


@pytest.mark.parametrize("method", ["REFER", "BYE"])
def test_a_phone_that_asks_only_within_the_dialog(method: str) -> None:
    scene = play({"early": "500", "asks": frozenset({method})})
    checked(scene)
    assert {message.method for message in scene.alice.let_in} == {method}


def test_a_stale_nonce_is_answered_again_once() -> None:
    guard = phone_guard()
    guard.stale = 1
    scene = play({"guard": guard, "asks": frozenset({"INVITE"})})
    checked(scene)
    (invite,) = of(scene.alice.let_in, "INVITE")
    assert [m.cseq for m in scene.alice.turned_away] == [invite.cseq - 2, invite.cseq - 1]


@pytest.mark.parametrize("why", ["wrong", "stale", "none", "other realm", "other make"])
def test_credentials_that_do_not_help(why: str) -> None:
    """No more is tried than RFC 3261 §22.2 allows; the device cannot that way, and the next method's turn has come."""
    guard = phone_guard()
    guard.stale = 100 if why == "stale" else 0
    redial: dict[str, Any] = {"methods": ("callback", "message"), "credentials": (PHONE,) if why == "stale" else ()}
    if why == "wrong":
        redial["credentials"] = (WRONG,)
    elif why == "other realm":
        redial["credentials"] = (ALICE,)
    elif why == "other make":
        redial["phone"] = (Profile(agent="Other", credentials=(PHONE,)),)
    scene = set_up({"guard": guard, "on_message": "200"}, redial)
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(5_000)
    tries = {"wrong": 2, "stale": 3}.get(why, 1)
    assert len(scene.alice.turned_away) == tries and not scene.alice.let_in
    assert len(scene.alice.messages) == 1 and watch_of(scene) is None and not scene.store.legs()


@pytest.mark.parametrize("given", ["user", "make"])
def test_credentials_of_the_user_and_of_the_make(given: str) -> None:
    redial: dict[str, Any] = {"credentials": ()}
    if given == "user":
        redial["user"] = (RedialUser(aor="sip:alice@example.com", credentials=(PHONE,)),)
    else:
        redial["phone"] = (Profile(agent="", credentials=(PHONE,)),)
    checked(play(redial=redial))


def test_an_invite_that_was_cancelled_is_not_sent_again() -> None:
    """The 401 comes in the place of a 487."""
    scene = set_up({"asks": frozenset()})
    alice = scene.alice

    def refuse(invite: ServerTransaction) -> None:
        (call,) = [call for call in alice.calls if call.server is invite]
        invite.answer(401, call.local_tag, headers=[("WWW-Authenticate", each) for each in phone_guard().challenges()])
        call.status = 401
        alice._over(call)

    alice.on_cancel = refuse  # type: ignore[method-assign]
    arm_surely(scene)
    scene.bob.register()
    settle(scene)
    checked(scene)
    (rang,) = [call for call in alice.calls if not call.outgoing]
    assert rang.status == 401
    assert len({m.cseq for m in scene.network.sent(scene.server, "INVITE") if m.call_id == rang.call_id}) == 1


# Both are called


def joining(redial: dict[str, Any] | None = None, how: dict[str, Any] | None = None, **more: Any) -> Stage:
    settings = {
        "methods": ("b2bua",), "user": (RedialUser(aor="sip:alice@example.com", credentials=(ALICE,)),), **(redial or {})
    }  # fmt: skip
    return set_up(IDLE if how is None else how, settings, behind=True, **more)


def connect(scene: Stage) -> None:
    arm_surely(scene)
    scene.bob.register()
    scene.network.wait(lambda: count_watches(scene.store) == 0, 300_000, "the watch to end")
    scene.network.wait(lambda: joined(scene), 60_000, "the two to hear each other")
    scene.run(1_000)


@pytest.mark.parametrize("methods", [("b2bua",), ("callback", "b2bua")])
def test_the_call_to_the_callee_is_in_the_callers_name_and_by_the_callers_password(methods: tuple[str, ...]) -> None:
    scene = joining({"methods": methods, "recall_timeout": 5.0})
    connect(scene)
    _, far = calls(scene)
    invites = {m.cseq: m for m in scene.network.sent(scene.server, "INVITE") if m.call_id == far.call_id}
    assert sorted(invites) == [1, 2]
    assert invites[1].from_tag == invites[2].from_tag and invites[2].lines("proxy-authorization")
    (ack,) = {m.raw: m for m in scene.network.sent(scene.server, "ACK") if (m.call_id, m.cseq) == (far.call_id, 2)
              and len(m.all("via")) == 1}.values()  # fmt: skip
    assert ack.lines("proxy-authorization") == invites[2].lines("proxy-authorization")  # RFC 3261 §22.1
    scene.bob.hang_up(far)
    over(scene)


def test_what_is_sent_to_a_callee_who_asks_within_the_dialog() -> None:
    scene = joining({"credentials": (PHONE,)})
    scene.bob.guard, scene.bob.asks = phone_guard(), frozenset({"INVITE", "BYE"})
    connect(scene)
    near, far = calls(scene)
    scene.alice.reinvite(near, "sendonly")
    scene.run(1_000)
    assert near.answers == [("INVITE", 200)] and b"a=sendonly" in scene.bob.media[far.call_id]
    scene.alice.hang_up(near)
    over(scene)
    assert [m.method for m in scene.bob.let_in] == ["INVITE", "INVITE", "BYE"] and not scene.bob.unsigned


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("method", ["INFO", "UPDATE"])
@pytest.mark.parametrize("asks", ["alice", "bob"])
def test_what_one_of_two_who_are_joined_says_to_one_who_asks(asks: str, method: str, status: int) -> None:
    """RFC 3261 §22.2: it is said again with who we are; whoever has said it hears no challenge."""
    scene = joining({"credentials": (PHONE,)}, {**IDLE, "asks": frozenset(), "guard": None})
    connect(scene)
    near, far = calls(scene)
    speaker, call, listener, other = (
        (scene.bob, far, scene.alice, near) if asks == "alice" else (scene.alice, near, scene.bob, far)
    )
    listener.guard, listener.asks, listener.asks_by = phone_guard(), frozenset({method}), status
    headers, body = ([], b"Signal=5") if method == "INFO" else ([("Contact", speaker.contact)], speaker.describe("sendonly"))
    speaker.in_dialog(call, method, headers, body)
    scene.run(1_000)
    assert call.answers == [(method, 200)] and other.heard[-1] == method
    (asked,), (said,) = listener.turned_away, listener.let_in
    assert (said.cseq, said.call_id) == (asked.cseq + 1, asked.call_id)
    if method == "INFO":
        assert said.body == body
    else:
        assert b"a=sendonly" in listener.media[other.call_id]
    speaker.in_dialog(call, method, headers, body)  # §22.3: it need not ask again
    scene.run(1_000)
    assert len(listener.turned_away) == 1 and call.answers == [(method, 200)] * 2
    scene.alice.hang_up(near)
    over(scene)


def test_a_password_that_the_upstream_wants_and_nobody_has_is_not_held_against_the_phone() -> None:
    """The phone did all that `b2bua` asks of it: it is not remembered as one that refuses that."""
    scene = joining({"user": (), "retry_pause": 3600.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(30_000)
    watch = watch_of(scene)
    assert watch is not None and watch.last_result.startswith("the call to the callee got 407")
    assert [note.method for phone in scene.store.each_phone() for note in phone.notes if not note.worked] == []


@pytest.mark.parametrize(("status", "held"), [(401, True), (407, False)])
def test_a_401_is_the_phones_word_and_a_407_that_of_a_proxy_on_the_way(status: int, held: bool) -> None:
    """RFC 3261 §21.4.2, §21.4.8"""
    scene = set_up({"asks_by": status}, {"credentials": (), "retry_pause": 3600.0})
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(10_000)
    notes = [(note.method, note.worked) for phone in scene.store.each_phone() for note in phone.notes]
    assert notes == [("callback", False)] * held


def test_what_is_for_the_callers_make_of_phone_is_not_shown_to_the_upstream() -> None:
    nameless = Credentials(user="sipfast", password="long and random")
    redial = {"user": (), "credentials": (), "phone": (Profile(agent="", credentials=(nameless,)),), "retry_pause": 3600.0}
    scene = joining(redial)
    arm_surely(scene)
    come_back(scene, scene.bob)
    scene.run(20_000)
    assert of(scene.alice.let_in, "INVITE") and watch_of(scene) is not None and not scene.store.legs()
    own = [
        m for m in scene.network.sent(scene.server, "INVITE") if m.uri == "sip:bob@example.com" and len(m.all("via")) == 1
    ]
    assert own and not any(m.lines("proxy-authorization") for m in own)


# Restarts


def steps(play_it: Any) -> list[Crash]:
    scene = play_it()
    taken = [Crash(kind, count) for count in range(1, scene.server.taken + 1) for kind in ("before", "uncommitted")]
    return taken + [Crash("output", count) for count in range(1, scene.server.given + 1)]


@pytest.mark.parametrize("down", [100, 3_000])
@pytest.mark.parametrize("way", [{}, {"early": "500"}], ids=["early", "picked up"])
def test_a_restart_at_any_message(way: dict[str, Any], down: int) -> None:
    for crash in steps(lambda: play(way)):
        scene = set_up({**way, "guard": phone_guard()}, crashes=[Crash(crash.kind, crash.count, down)])
        try:
            arm_surely(scene)
            scene.bob.register()
            settle(scene)
            checked(scene, 2)
            assert not scene.alice.unsigned
        except AssertionError as error:
            raise AssertionError(f"{crash}: {error}\n{scene.network.ladder(300)}") from error


def joined_until_bye(**more: Any) -> Stage:
    scene = joining(**more)
    connect(scene)
    scene.run(40_000)
    near, _ = calls(scene)
    assert joined(scene)
    scene.alice.hang_up(near)
    over(scene)
    return scene


@pytest.mark.parametrize("down", [100, 3_000])
def test_a_restart_at_any_message_of_two_who_are_joined(down: int) -> None:
    for crash in steps(joined_until_bye):
        scene = joining(crashes=[Crash(crash.kind, crash.count, down)])
        try:
            connect(scene)
            scene.run(40_000)
            near, _ = calls(scene)
            assert joined(scene)
            scene.alice.hang_up(near)
            over(scene)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{crash} {down}: {error}\n{scene.network.ladder(300)}") from error


def test_over_rough_lines_and_with_a_store_that_fails_now_and_then() -> None:
    line = Line(latency=(1, 40), loss=0.1, reorder=0.1, late=400, duplicate=0.1)
    for seed in seeds(0, 20):
        scene = set_up(seed=seed, line=line, store=FlakyStore(seed, 4) if seed % 2 else None)
        try:
            arm_surely(scene)
            scene.bob.register(120)
            settle(scene)
            checked(scene, 2)
        except AssertionError as error:
            raise AssertionError(replay(seed, scene.network, error)) from error
