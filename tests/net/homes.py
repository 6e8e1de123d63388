"""What the tests of phones behind NATs set their scenes with: alice and bob are at home, both at one private address.

Each is behind a box of its own. The server stands alone or in front of others that do more or less for such phones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from net import scene as scenes
from net.cluster import Cluster
from net.phone import Call, Phone
from net.scene import NATS, SERVER, Scene
from net.sipwire import literal
from net.upstream import Upstream
from sipfast.config import Config
from sipfast.config import Upstream as Behind

BEHIND = ("10.0.5.1", 5060)
# What the server stands in front of: nothing (None), or an upstream with these attributes
FRONTS: dict[str, dict[str, object] | None] = {
    "alone": None,
    "Path": {},
    "Path and Record-Route": {"record_route": True},
    "no Path but an outbound proxy": {"follows_path": False, "outbound_proxy": SERVER},
    "a token in the Contact, and Record-Route": {"follows_path": False, "rewrites_contact": True, "record_route": True},
}


@dataclass
class Town:
    """Two homes with a phone each, and the server."""

    scene: Scene
    alice: Phone
    bob: Phone

    def ends(self, who: str) -> tuple[Phone, Call, Call]:
        """Alice calls bob: `who` of them, that end of their call, and the other one."""
        call, other = self.talk()
        return (self.alice, call, other) if who == "alice" else (self.bob, other, call)

    def partner(self, phone: Phone) -> Phone:
        return self.bob if phone is self.alice else self.alice

    def talk(self) -> tuple[Call, Call]:
        """Alice calls bob; both ends of it, once both say that they talk."""
        call = self.alice.call("bob")
        self.wait(lambda: call.state == "talking" and self.bob.calls and self.bob.calls[-1].state == "talking", "they talk")
        return call, self.bob.calls[-1]

    def wait(self, condition: object, what: str, ms: int = 10_000) -> None:
        self.scene.network.wait(condition, ms, what)  # type: ignore[arg-type]

    def rebind(self, *phones: Phone, register: bool = True, moves: bool = False) -> None:
        """The boxes of these phones get new ports (`moves`: and addresses), and the phones register again."""
        for nat in dict.fromkeys(self.scene.network.home(phone) for phone in phones):
            nat.rebind(f"198.51.100.{nat.host.rpartition('.')[2]}" if moves else None)
        for phone in phones if register else ():
            phone.registered = False
            phone.register()
        if register:
            self.wait(lambda: all(phone.registered for phone in phones), "they are registered again")

    def hold(self, by: Phone, call: Call, other: Call) -> None:
        """A re-INVITE and its ACK, and an UPDATE."""
        seen, answered = len(other.heard), len(call.answers)
        by.hold(call)
        self.wait(lambda: other.heard[seen:] == ["INVITE", "ACK"], "the re-INVITE and its ACK are there")
        by.in_dialog(call, "UPDATE", [("Contact", by.contact)])
        self.wait(lambda: len(call.answers) == answered + 2, "both are answered")
        assert call.answers[answered:] == [("INVITE", 200), ("UPDATE", 200)]
        assert other.heard[seen:] == ["INVITE", "ACK", "UPDATE"]

    def end(self, by: Phone, call: Call, other: Call) -> None:
        by.hang_up(call)
        self.wait(lambda: other.over and call.answers[-1:] == [("BYE", 200)], "the BYE is there, and answered")
        assert (call.state, other.state) == ("ended", "ended")


BOTH = pytest.mark.parametrize("who", ["alice", "bob"])


def town_of(front: str, *, workers: int = 1, register: bool = True, **nat: object) -> Town:
    kind = FRONTS[front]
    contact: Literal["phone", "token"] = "token" if front.startswith("a token") else "phone"
    upstream = () if kind is None else (Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",), contact=contact),)
    with pytest.MonkeyPatch.context() as patch:
        if workers > 1:
            patch.setattr(scenes, "Server", Cluster)
            patch.setattr(Cluster, "workers", workers)
        scene = Scene(Config(upstream=upstream))
    if kind is not None:
        behind = scene.network.add(Upstream("upstream", BEHIND))
        for name, value in kind.items():
            setattr(behind, name, value)
    homes = [scene.home(**nat) for _ in range(2)]
    alice = scene.phone("alice", behind=homes[0], ring_time=500)
    return Town(scene, alice, scene.phone("bob", behind=homes[1], ring_time=500, register=register))


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    """What the server stands in front of."""
    return str(request.param)


@pytest.fixture(params=[1, 3], ids=["1 worker", "3 workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=NATS.values(), ids=NATS)
def town(request: pytest.FixtureRequest, front: str, workers: int) -> Town:
    return town_of(front, workers=workers, **request.param)
