"""Recall by REFER without subscription (RFC 4488), phones that ask who it is (RFC 3261 §22), and what is remembered."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from net.endpoint import ServerTransaction
from net.phone import Phone
from net.redialing import ALICE, arm, armed, come_back, refers, watch_of
from net.scene import SERVER, Scene
from net.sipwire import Sip

from sipfast.config import Config, Credentials, Redial, RedialUser
from sipfast.config import Phone as Profile
from sipfast.store.records import AGENT, DEVICE

BOTH = ("refer", "refer-nosub")
REALM, USER, PASSWORD = "phone.example", "sipfast", "long and random"
MINE = (Credentials(user=USER, password=PASSWORD),)


class Picky(Phone):
    """A phone that obeys a REFER with `Refer-Sub: false` only, and wants to know who asks where it has a password."""

    only_nosub = True
    asks = ""  # password of USER
    stale = 0  # so many of its nonces are stale as soon as they are used
    nosub = ""  # what it says to one without subscription, "" for 202
    agent = "Picky 1.0"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[Sip] = []
        self.nonces = 0

    def call(self, whom: str, expires: int | None = None, *, to: str = "", headers: Any = None) -> Any:
        agent = [("User-Agent", self.agent)] if self.agent else []
        return super().call(whom, expires, to=to, headers=agent + (headers or []))

    def _referred(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        self.seen.append(message)
        nosub = message.first("refer-sub") == "false"
        if self.only_nosub and not nosub:
            transaction.answer(501, self.token("n"))
        elif self.asks and (stale := self._is_stranger(message)) is not None:
            self.nonces += 1
            challenge = f'Digest realm="{REALM}", nonce="n{self.nonces}", algorithm=SHA-256, qop="auth"{stale}'
            transaction.answer(401, self.token("n"), headers=[("WWW-Authenticate", challenge)])
        elif nosub and self.nosub:
            transaction.answer(int(self.nosub), self.token("n"))
        elif nosub:
            transaction.answer(202, self.token("n"), headers=[("Contact", self.contact), ("Refer-Sub", "false")])
            self.after(self.dial_delay, self._dial_unasked, message)
        else:
            super()._referred(transaction)

    def _dial_unasked(self, message: Sip) -> None:
        self.call(message.first("refer-to").strip("<>")).recalled = True

    def _is_stranger(self, message: Sip) -> str | None:
        """None where it is who it says; else what the challenge adds."""
        given = dict(re.findall(r'(\w+)="?([^",]+)', message.first("authorization")))
        if not given:
            return ""
        if self.stale:
            self.stale -= 1
            return ", stale=true"
        first = sha(f"{USER}:{REALM}:{self.asks}")
        second = sha(f"REFER:{message.uri}")
        expected = sha(f"{first}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{second}")
        return None if given["response"] == expected and given["nonce"] == f"n{self.nonces}" else ""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recalled(redial: dict[str, Any] | None = None, **attributes: Any) -> tuple[Scene, Picky, Phone]:
    """Alice, who is picky, has called bob in vain, and he is back."""
    scene = Scene(Config(redial=Redial(**{"methods": BOTH, "retry_pause": 3600.0, **(redial or {})})))
    alice = scene.network.add(Picky("alice", scene.place(), SERVER, "example.com"), None)
    for key, value in attributes.items():
        setattr(alice, key, value)
    alice.register()
    bob = scene.phone("bob", register=False)
    scene.network.wait(lambda: alice.registered)
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(10_000)
    return scene, alice, bob


def sent(scene: Scene) -> list[Sip]:
    return [Sip(event.data) for event in refers(scene)]


def talked(alice: Phone) -> bool:
    return alice.calls[-1].recalled and alice.calls[-1].was_answered


def test_a_phone_that_refuses_a_subscription_is_asked_without_one() -> None:
    scene, alice, _ = recalled()
    first, second = sent(scene)
    assert (first.first("refer-sub"), first.first("supported")) == ("", "")
    assert (second.first("refer-sub"), second.first("supported"), second.first("require")) == ("false", "norefersub", "")
    assert first.first("refer-to") == second.first("refer-to")
    assert (first.call_id, first.from_tag) != (second.call_id, second.from_tag)
    assert talked(alice) and watch_of(scene) is None


@pytest.mark.parametrize(
    ("norefersub", "supported", "require"),
    [("require", "", "norefersub"), ("none", "", ""), ("supported", "norefersub", "")],
)
def test_the_option_tag_stands_where_the_profile_wants_it(norefersub: str, supported: str, require: str) -> None:
    profile = Profile(agent="Picky", refuses=("refer",), norefersub=norefersub)
    scene, alice, _ = recalled({"phone": (profile,)})
    (refer,) = sent(scene)
    assert (refer.first("refer-sub"), refer.first("supported"), refer.first("require")) == ("false", supported, require)
    assert talked(alice)


def test_notifys_that_come_all_the_same_are_heard() -> None:
    """RFC 4488 §4: a phone that does not know Refer-Sub subscribes as ever."""
    scene, alice, _ = armed({"methods": ("refer-nosub",), "retry_pause": 3600.0})
    come_back(scene, scene.phone("bob"))
    scene.run(10_000)
    assert alice.calls[-1].was_answered
    assert alice.refers[-1].notify_statuses == [200, 200]
    assert watch_of(scene) is None


@pytest.mark.parametrize("status", [400, 403, 405, 408, 420, 421, 481, 489, 491, 500, 501, 503, 603])
def test_a_phone_that_cannot_that_way_is_tried_by_the_next_method(status: int) -> None:
    scene, alice, _ = recalled({"methods": ("refer-nosub", "refer")}, only_nosub=False, nosub=str(status))
    assert [refer.first("refer-sub") for refer in sent(scene)] == ["false", ""]
    assert talked(alice) and watch_of(scene) is None


@pytest.mark.parametrize("status", [404, 410, 430, 480, 486])
def test_a_phone_that_is_away_or_busy_is_asked_by_no_other_method(status: int) -> None:
    scene, _, _ = recalled({"methods": ("refer-nosub", "refer")}, only_nosub=False, nosub=str(status))
    assert len(sent(scene)) == 1
    assert watch_of(scene) is not None
    assert list(scene.store.each_phone()) == []


def test_a_phone_that_asks_who_it_is_gets_an_answer_under_the_next_cseq() -> None:
    scene, alice, _ = recalled({"credentials": MINE, "methods": ("refer-nosub",)}, asks=PASSWORD)
    first, second = alice.seen
    assert (first.cseq, second.cseq) == (1, 2)
    assert (first.call_id, first.from_tag, first.uri) == (second.call_id, second.from_tag, second.uri)
    assert first.first("via") != second.first("via")
    assert first.first("authorization") == "" and f'username="{USER}"' in second.first("authorization")
    assert second.body == b"" and second.first("refer-sub") == "false"
    assert talked(alice) and watch_of(scene) is None


def test_a_challenge_to_a_plain_refer_is_answered_too() -> None:
    scene, alice, _ = recalled({"credentials": MINE, "methods": ("refer",)}, asks=PASSWORD, only_nosub=False)
    assert [refer.cseq for refer in alice.seen] == [1, 2]
    assert talked(alice) and watch_of(scene) is None


def test_a_stale_nonce_is_answered_once_more() -> None:
    _, alice, _ = recalled({"credentials": MINE, "methods": ("refer-nosub",)}, asks=PASSWORD, stale=1)
    assert [refer.cseq for refer in alice.seen] == [1, 2, 3]
    assert talked(alice)


@pytest.mark.parametrize(
    ("credentials", "asked"),
    [
        pytest.param((), 1, id="none"),
        pytest.param((Credentials(user=USER, password="wrong"),), 2, id="wrong"),
        pytest.param((Credentials(user=USER, password=PASSWORD, realm="x"),), 1, id="of another realm"),
    ],
)
def test_who_is_not_known_there_tries_the_next_method(credentials: tuple[Credentials, ...], asked: int) -> None:
    scene, alice, _ = recalled({"credentials": credentials, "retry_pause": 3600.0}, asks=PASSWORD)
    assert len(alice.seen) == 1 + asked
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("armed", 0)
    assert watch.last_result.startswith("REFER without subscription got 401")


def test_what_is_configured_for_another_user_is_not_told() -> None:
    settings = {"user": (RedialUser(aor="bob@example.com", credentials=MINE),), "methods": ("refer-nosub",)}
    _, alice, _ = recalled(settings, asks=PASSWORD)
    assert [refer.first("authorization") for refer in alice.seen] == [""]


# What is remembered


def verdicts(scene: Scene, kind: str, name: bytes) -> dict[str, bool]:
    phone = scene.store.phone(kind, name)
    return {} if phone is None else {note.method: note.worked for note in phone.notes}


def contact(alice: Phone) -> bytes:
    return alice.contact.strip("<>").encode()


def again(scene: Scene, alice: Phone, bob: Phone) -> list[Sip]:
    """Another call to bob, who is away and comes back: the REFERs of its recall."""
    before = len(sent(scene))
    scene.run(60_000)
    bob.unregister()
    scene.network.wait(lambda: not bob.registered)
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(10_000)
    return sent(scene)[before:]


def test_the_second_recall_begins_with_what_worked() -> None:
    scene, alice, bob = recalled({}, talk_time=1_000)
    assert verdicts(scene, AGENT, b"Picky 1.0") == {"refer": False, "refer-nosub": True}
    assert verdicts(scene, DEVICE, contact(alice)) == {"refer": False}
    (refer,) = again(scene, alice, bob)
    assert refer.first("refer-sub") == "false"
    assert talked(alice)


def test_what_was_learned_outlives_a_crash() -> None:
    scene, alice, bob = recalled({}, talk_time=1_000)
    scene.server.crash(scene.now)
    assert len(again(scene, alice, bob)) == 1


def test_another_phone_of_that_make_is_asked_at_once_by_what_worked() -> None:
    scene, _, bob = recalled({}, talk_time=1_000)
    carol = scene.network.add(Picky("carol", scene.place(), SERVER, "example.com"), None)
    carol.talk_time = 1_000
    carol.register()
    scene.network.wait(lambda: carol.registered)
    assert len(again(scene, carol, bob)) == 1


def test_a_phone_that_is_silent_is_remembered_once_another_method_has_brought_the_call_about() -> None:
    scene, alice, _ = recalled({}, on_refer="ignore", only_nosub=False)
    assert talked(alice)
    assert verdicts(scene, DEVICE, contact(alice)) == {"refer": False}


def test_a_phone_that_was_out_of_reach_is_not_thought_ill_of() -> None:
    scene, _, _ = recalled({"methods": ("refer",)}, on_refer="ignore", only_nosub=False)
    assert list(scene.store.each_phone()) == []
    assert watch_of(scene) is not None


def test_a_phone_that_tells_nothing_of_itself_and_obeys_what_is_tried_first_costs_no_write() -> None:
    scene, alice, _ = recalled({}, agent="", only_nosub=False)
    assert talked(alice) and len(sent(scene)) == 1
    assert list(scene.store.each_phone()) == []
    assert watch_of(scene, ALICE) is None


def test_what_another_device_of_the_caller_did_is_not_held_against_the_one_that_called() -> None:
    settings = {"other_devices": "always", "methods": ("refer",), "retry_pause": 3600.0}
    scene, alice, bob = armed(settings)
    cell = scene.phone("cell", user="alice", on_refer="501")
    alice.unregister()
    scene.run(1_000)
    come_back(scene, bob)
    scene.run(5_000)
    assert len(refers(scene)) == 1 and cell.refers
    assert list(scene.store.each_phone()) == []
