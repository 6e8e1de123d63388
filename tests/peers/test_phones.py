"""Real phones, five stacks, and redial: the callee registers late, the caller's phone is recalled, and the two talk.

What happened is read from the wire: SIP messages in their order, RTP packets counted in both directions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from net.sipwire import uri_of

from peers.lab import DOMAIN, Lab
from peers.process import wait_until
from peers.server import Server
from peers.wire import Seen, Wire
from sipfast.identity.user_file import Record, secrets_of, write_records

pytestmark = pytest.mark.peers

KINDS = ["baresip", "linphone", "twinkle", "baresip_python", "pjsua2"]
REFUSES = {"baresip": 501, "linphone": 603, "twinkle": 403, "baresip_python": 501, "pjsua2": None}  # None: silence
ENOUGH = 50  # RTP packets of 20 ms in each direction
PICKED_UP = {"linphone", "twinkle"}  # those that call only when somebody has picked up the server's call
ENOUGH_RINGING = 1.0  # s, until somebody does
CONFIGURATION = """\
[redial]
methods = ["refer"]
default_period = 600
refer_timeout = 1.0
attempts = 2
retry_pause = 60.0
"""
LADDER = CONFIGURATION.replace('["refer"]', '["refer", "refer-nosub", "callback", "b2bua"]')
# Whatever is known of her phone.
GENERIC = f'''{LADDER}
[[redial.user]]
aor = "sip:alice@{DOMAIN}"
methods = ["refer", "refer-nosub", "callback", "b2bua"]
start = "dial"
'''
JOINED = CONFIGURATION.replace('["refer"]', '["b2bua"]')
RING = LADDER + 'start = "ring"\n'


@dataclass
class Scene:
    """A caller's phone of one kind, its server, and the wire."""

    lab: Lab
    server: Server
    wire: Wire
    kind: str
    door: int  # the port that phones register at
    alice: Any
    names: dict[int | None, str]
    bob: Any = None

    def saw(self, source: int, target: int, title: str) -> Seen | None:
        """The first message from one port to another whose title begins like that."""
        self.wire.read()
        return next(
            (
                one
                for one in self.wire.messages
                if (one.source, one.target) == (source, target) and one.message.title.startswith(title)
            ),
            None,
        )

    def sees(self, source: int, target: int, title: str, seconds: float = 10) -> Seen:
        """Wait for it."""
        self.until(lambda: self.saw(source, target, title), seconds, f"{title!r} of {self.names[source]}'s")
        found = self.saw(source, target, title)
        assert found is not None
        return found

    def until(self, true: Callable[[], object], seconds: float, what: str) -> None:
        """Wait, and tell what went over the wire where it does not come."""
        try:
            wait_until(true, seconds, what)
        except AssertionError as complaint:
            raise AssertionError(f"{complaint}\n{self.wire.ladder(self.names)}") from None

    def arm(self) -> None:
        """Alice calls Bob, who is not there."""
        self.alice.dial(f"sip:bob@{DOMAIN}")
        self.sees(self.door, self.alice.port, "480")
        self.until(self.server.watches, 5, "the watch")
        (watch,) = self.server.watches()
        assert (watch["callee"], watch["caller"]) == (f"sip:bob@{DOMAIN}", f"sip:alice@{DOMAIN}")

    def log_in(self) -> None:
        """Bob's phone, which answers, registers."""
        self.bob = self.lab.baresip("bob", self.door)
        self.names[self.bob.port] = "bob"
        self.wire.watch(self.bob.port, self.bob.media)

    def log_out(self) -> None:
        """End the phones while there is somebody to answer them."""
        for phone in (self.bob, self.alice):
            if phone is not None:
                phone.stop()

    def recalled(self) -> bool:
        """Wait until the two talk, and tell whether somebody had to pick up for that."""
        door, bob, alice = self.door, self.bob.port, self.alice.port
        rings_since, picked_up = 0.0, False

        def called() -> bool:
            """Whether the call is at Bob's phone. Alice's, when it has rung for a while, is picked up."""
            nonlocal rings_since, picked_up
            rings = self.saw(alice, door, "180")
            if rings and not rings_since:
                rings_since = time.monotonic()
            if rings and not picked_up and time.monotonic() > rings_since + ENOUGH_RINGING:
                self.alice.pick_up()
                picked_up = True
            return self.saw(door, bob, "INVITE") is not None

        self.until(called, 15, "the call at Bob's phone")
        self.sees(door, bob, "ACK")
        self.until(lambda: min(self.sound()) >= ENOUGH, 10, f"sound both ways ({self.sound()})")
        self.until(lambda: self.server.watches() == [], 5, "the watch has done its work")
        heard = self.sound()
        self.until(lambda: min(self.sound()) >= min(heard) + ENOUGH, 5, f"they go on talking ({heard}, {self.sound()})")
        assert self.saw(door, bob, "BYE") is None
        self.alice.hang_up()
        self.sees(bob, door, "200 OK (BYE)")
        self.until(lambda: not self.left_over(), 2, f"an answer to {self.left_over()}")
        return picked_up

    def in_vain(self) -> None:
        """Nobody was called, and Alice may be called back still."""
        time.sleep(0.2)
        assert self.saw(self.door, self.bob.port, "INVITE") is None
        assert len(self.server.watches()) == 1
        self.until(lambda: not self.left_over(), 2, f"an answer to {self.left_over()}")

    def answers(self, source: int, method: str) -> list[int]:
        """The statuses but for 100 that one port has answered requests with."""
        self.wire.read()
        return [
            one.message.status
            for one in self.wire.messages
            if one.source == source and one.message.status > 100 and one.message.method == method
        ]

    def has_ended(self, port: int) -> bool:
        """Whether a phone has sent or got a BYE."""
        self.wire.read()
        return any(port in (m.source, m.target) and m.message.title.startswith("BYE") for m in self.wire.messages)

    def refused(self, method: str) -> bool:
        """Whether the server asked Alice's phone in vain by that method, silence counted."""
        asked = [m for m in self.wire.messages if m.target == self.alice.port and m.message.method == method]
        return {m.message.branch for m in asked if not m.message.status} != {
            m.message.branch for m in self.wire.messages
            if m.source == self.alice.port and 200 <= m.message.status < 300 and m.message.method == method
        }  # fmt: skip

    def left_over(self) -> list[str]:
        """Requests that nobody answers, but for the REFER of a phone that is silent to it."""
        left = [title for title in self.wire.unanswered() if not title.startswith("OPTIONS")]  # is the server there?
        return [title for title in left if not title.startswith("REFER") or REFUSES[self.kind]]

    def sound(self) -> tuple[int, int]:
        """RTP packets of Alice's and of Bob's so far."""
        return self.wire.sound(self.alice.media, self.bob.media), self.wire.sound(self.bob.media, self.alice.media)


Stage = Callable[..., Scene]


@pytest.fixture
def stage(lab: Lab, tmp_path: Path) -> Iterator[Stage]:
    """Starts sipfast, alone or in front of Kamailio that authenticates, and a caller's phone that rings until answered."""
    with contextlib.ExitStack() as end:

        def begin(
            kind: str, config: str = CONFIGURATION, *, behind: bool = False, passwords: bool = False, **how: object
        ) -> Scene:
            if passwords:
                users = tmp_path / "users"
                write_records(users, [Record(user=u, realm=DOMAIN, **secrets_of(u, DOMAIN, u)) for u in ("alice", "bob")])
                config = f"users = {str(users)!r}\n{config}"
            wire = Wire()
            end.callback(wire.close)
            upstream = lab.kamailio(auth=True).port if behind else None
            server = lab.sipfast(config, upstream=upstream)
            wire.watch(server.port)
            alice = getattr(lab, kind)("alice", server.port, **{"answers": False, **how})
            wire.watch(alice.port, alice.media)
            names = {server.port: "sipfast", alice.port: "alice", upstream: "Kamailio"}
            scene = Scene(lab, server, wire, kind, server.port, alice, names)
            end.callback(scene.log_out)
            return scene

        yield begin


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "before Kamailio"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_of_them_are_recalled_and_talk(stage: Stage, kind: str, behind: bool):
    scene = stage(kind, GENERIC, behind=behind)
    scene.arm()
    scene.log_in()
    assert scene.recalled() == (kind in PICKED_UP)
    assert scene.refused("REFER"), "nothing was to be known of it"


@pytest.mark.parametrize("kind", KINDS)
def test_with_passwords(stage: Stage, kind: str):
    """Each registers, calls and is recalled with its password, by the challenge that it takes."""
    scene = stage(kind, LADDER, passwords=True)
    scene.arm()
    scene.log_in()
    scene.recalled()
    alice, door = scene.alice.port, scene.door
    assert {401, 407, 480} <= {m.message.status for m in scene.wire.messages if (m.source, m.target) == (door, alice)}
    assert scene.answers(door, "REGISTER").count(401) <= 2 + scene.answers(door, "REGISTER").count(200)
    assert "event=login-failed" not in scene.server.log.read_text()


def test_the_servers_own_calls_need_no_password(stage: Stage):
    """It calls both, by its own front door, and joins them."""
    scene = stage("linphone", JOINED, passwords=True)
    scene.arm()
    scene.log_in()
    scene.recalled()


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "before Kamailio"])
@pytest.mark.parametrize("kind", KINDS)
def test_by_its_profile_nothing_is_asked_in_vain(stage: Stage, kind: str, behind: bool):
    """pjsua2 says by no User-Agent what it is, and so has none."""
    scene = stage(kind, LADDER, behind=behind)
    scene.arm()
    scene.log_in()
    assert scene.recalled() == (kind in PICKED_UP)
    assert scene.refused("REFER") == (kind == "pjsua2")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "twinkle"])  # which cannot be told to
def test_a_phone_that_answers_by_itself(stage: Stage, kind: str):
    scene = stage(kind, LADDER, answers=True)
    scene.arm()
    scene.log_in()
    assert not scene.recalled()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in PICKED_UP])
def test_a_phone_that_is_to_ring_first(stage: Stage, kind: str):
    scene = stage(kind, RING)
    scene.arm()
    scene.log_in()
    assert scene.recalled()


@pytest.mark.parametrize("kind", ["linphone", "twinkle"])
def test_nobody_picks_up(stage: Stage, kind: str):
    """It stops ringing, nobody is called, and the watch lives."""
    scene = stage(kind, LADDER + "recall_ring = 1.0\n")
    scene.arm()
    scene.log_in()
    alice, door = scene.alice.port, scene.door
    scene.sees(alice, door, "180")
    scene.sees(door, alice, "CANCEL")
    scene.sees(alice, door, "487")
    scene.in_vain()


@pytest.mark.parametrize(("kind", "status"), [("baresip", "486"), ("linphone", "603")])
def test_somebody_says_no(stage: Stage, kind: str, status: str):
    scene = stage(kind, RING)
    scene.arm()
    scene.log_in()
    alice, door = scene.alice.port, scene.door
    scene.sees(alice, door, "180")
    scene.until(scene.alice.rings, 5, "it rings")
    scene.alice.hang_up()
    scene.until(lambda: scene.answers(alice, "INVITE") == [180, int(status)], 5, status)
    scene.in_vain()


@pytest.mark.parametrize("kind", ["linphone", "pjsua2"])
def test_the_server_dies_while_it_rings_and_somebody_picks_up_meanwhile(stage: Stage, kind: str):
    scene = stage(kind, RING)
    scene.arm()
    scene.log_in()
    scene.sees(scene.alice.port, scene.door, "180")
    scene.server.kill()
    scene.alice.pick_up()
    scene.sees(scene.alice.port, scene.door, "200")
    scene.server = scene.lab.sipfast(RING, like=scene.server)
    scene.recalled()


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_joined_with_whom_the_server_calls_for_it(stage: Stage, kind: str):
    scene = stage(kind, JOINED)
    scene.arm()
    scene.log_in()
    assert scene.recalled()
    call = scene.sees(scene.door, scene.bob.port, "INVITE")
    assert uri_of(call.message.first("from")) == f"sip:alice@{DOMAIN}"
    assert not scene.answers(scene.alice.port, "REFER")


def test_a_phone_that_accepts_and_places_no_call_is_joined(stage: Stage):
    """It asks its program first, which says nothing."""
    config = CONFIGURATION.replace('["refer"]', '["callback", "b2bua"]') + 'start = "ring"\nrecall_timeout = 1.0\n'
    scene = stage("baresip_python", config, transfer_policy="manual")
    scene.arm()
    scene.log_in()
    assert scene.recalled()
    assert 202 in scene.answers(scene.alice.port, "REFER")


@pytest.mark.parametrize(("kind", "who"), [("baresip", "alice"), ("linphone", "bob"), ("pjsua2", "alice")])
def test_a_joined_call_outlives_the_server(stage: Stage, kind: str, who: str):
    scene = stage(kind, JOINED)
    scene.arm()
    scene.log_in()
    scene.sees(scene.alice.port, scene.door, "180")
    scene.alice.pick_up()
    scene.until(lambda: min(scene.sound()) >= ENOUGH, 10, f"sound both ways ({scene.sound()})")
    scene.server.kill()
    scene.server = scene.lab.sipfast(JOINED, like=scene.server)
    heard = scene.sound()
    scene.until(lambda: min(scene.sound()) >= min(heard) + ENOUGH, 5, "they go on talking")
    getattr(scene, who).hang_up()
    for phone in (scene.alice, scene.bob):
        scene.until(lambda port=phone.port: scene.has_ended(port), 5, f"the end at {phone.user}'s")
    scene.until(lambda: not scene.left_over(), 2, f"an answer to {scene.left_over()}")
