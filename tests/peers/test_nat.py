"""Phones behind real NATs (network namespaces with masquerading routers), all of them at one private address.

Alone, and in front of Kamailio that asks everybody for a password. The routers rebind in the middle of calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from net.phone import Call, Phone

from peers.baresip import Baresip
from peers.lab import DOMAIN, Lab
from peers.linphone import Linphone
from peers.natlab import LAN, Home, Town
from peers.phones import Fleet, run
from peers.process import wait_until
from peers.server import Server
from peers.twinkle import Twinkle

pytestmark = pytest.mark.peers

ANY_EXPIRES = "[registrar]\nmin_expires = 1\n"
Softphone = Baresip | Linphone | Twinkle


@dataclass
class Street:
    """A server, homes, and the scripted phones in them."""

    lab: Lab
    town: Town
    behind: int | None  # the port of a Kamailio
    path: bool = True  # which knows Path
    fleets: list[Fleet] = field(default_factory=list)
    homes: list[Home] = field(default_factory=list)
    server: Server | None = None

    def serve(self, config: str = ANY_EXPIRES, workers: int = 1) -> Server:
        self.server = self._start(config, None, workers)
        return self.server

    def restart(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server = self._start(ANY_EXPIRES, self.server, 1)

    def _start(self, config: str, like: Server | None, workers: int) -> Server:
        upstream = self.behind if self.path else None
        if not self.path:
            config += f'[[upstream]]\nuri = "sip:{self.town.at.servers}:{self.behind}"\ncontact = "token"\n'
        return self.lab.sipfast(config, upstream=upstream, like=like, workers=workers, at=self.town.at)

    def home(self, *, symmetric: bool = False) -> Home:
        self.homes.append(self.town.home(symmetric=symmetric))
        return self.homes[-1]

    def phone(self, name: str, *, register: bool = True, symmetric: bool = False) -> Phone:
        """A scripted phone (phone.py) in a home of its own."""
        assert self.server is not None
        fleet = Fleet(name, 1, self.server.port, DOMAIN, self.home(symmetric=symmetric).at)
        self.fleets.append(fleet)
        phone = fleet.phones[f"{name}0"]
        phone.password, phone.ring_time = phone.user, 300
        if register:
            phone.register()
            self.run(lambda: phone.registered, f"{name} is registered")
        return phone

    def softphone(self, make: str, user: str, home: Home, refresh: int = 60) -> Softphone:
        assert self.server is not None
        phone: Softphone = getattr(self.lab, make)(user, self.server.port, home.at, refresh=refresh)
        return phone

    def run(self, until: Callable[[], bool], what: str, seconds: float = 10) -> None:
        run(self.fleets, until, seconds, what)

    def seen(self, user: str) -> set[str]:
        """Where the server gets a user's registrations from."""
        assert self.server is not None
        return {
            str(row["received_from"]) for row in self.server.bindings() if row["aor"] == f"sip:{user}@{DOMAIN}"
        }  # fmt: skip

    def close(self) -> None:
        for fleet in self.fleets:
            fleet.close()


@pytest.fixture(params=["alone", "before Kamailio", "before Kamailio without Path"])
def street(request: pytest.FixtureRequest, lab: Lab, nat_town: Town) -> Iterator[Street]:
    """Nobody lives there yet, and nobody serves."""
    path = "without" not in request.param
    behind = None if request.param == "alone" else lab.kamailio(auth=True, path=path, at=nat_town.behind).port
    it = Street(lab, nat_town, behind, path)
    yield it
    it.close()


# Scripted phones, which know at both ends what has come


def talk(street: Street, alice: Phone, bob: Phone) -> tuple[Call, Call]:
    call = alice.call(bob.user)
    street.run(
        lambda: call.state == "talking" and bool(bob.calls) and bob.calls[-1].state == "talking", "both talk: ACK is there"
    )
    return call, bob.calls[-1]


def hold(street: Street, by: Phone, call: Call, other: Call) -> None:
    seen = len(other.heard)
    by.hold(call)
    street.run(lambda: other.heard[seen:] == ["INVITE", "ACK"], "the re-INVITE and its ACK have come")


def end(street: Street, by: Phone, call: Call, other: Call) -> None:
    by.hang_up(call)
    street.run(lambda: other.over and call.answers[-1:] == [("BYE", 200)], "the BYE has come, and was answered")


@pytest.mark.parametrize("symmetric", [False, True], ids=["", "symmetric"])
@pytest.mark.parametrize("workers", [1, 2])
def test_hold_and_hang_up_from_either_side(street: Street, symmetric: bool, workers: int):
    street.serve(workers=workers)
    alice, bob = (street.phone(name, symmetric=symmetric) for name in ("alice", "bob"))
    assert alice.address[0] == bob.address[0] == f"{LAN}.10"
    for caller, callee in ((alice, bob), (bob, alice)):
        call, other = talk(street, caller, callee)
        hold(street, caller, call, other)
        hold(street, callee, other, call)
        end(street, callee, other, call)
        call, other = talk(street, caller, callee)
        end(street, caller, call, other)


def test_a_restart_in_the_middle_of_a_call(street: Street):
    street.serve()
    alice, bob = street.phone("alice"), street.phone("bob")
    call, other = talk(street, alice, bob)
    street.restart()
    hold(street, bob, other, call)
    end(street, alice, call, other)


def test_redial_to_the_ack_and_to_the_bye(street: Street):
    server = street.serve()
    alice, bob = street.phone("alice"), street.phone("bob", register=False)
    first = alice.call(bob.user, 3600)
    street.run(lambda: first.over, "nobody is there")
    assert first.status == 480 and [row["state"] for row in server.watches()] == ["armed"]
    bob.register()
    street.run(lambda: len(alice.calls) == 2 and alice.calls[1].state == "talking", "alice's phone was told to call")
    call, other = alice.calls[1], bob.calls[0]
    street.run(lambda: other.state == "talking", "the callee has its ACK")
    wait_until(lambda: server.watches() == [], 5, "the watch has ended")
    end(street, bob, other, call)


# SIPp


def test_redial_of_a_sipp_phone(lab: Lab, nat_town: Town):
    """SIPp arms, is told to call by a REFER, and does so; bob's phone is baresip, which is in its call once the ACK came."""
    server = lab.sipfast(at=nat_town.at, believes=True)
    home, far = nat_town.home(), nat_town.home()
    port = home.at.free_port()
    lab.caller("redial_arm", server.port, at=home.at, port=port, caller="alice", callee="bob", expires=3600).done()
    assert [row["caller"] for row in server.watches()] == [f"sip:alice@{DOMAIN}"]
    alice = lab.waiting("redial_recalled", "-d", "1000", at=home.at, port=port, caller="alice")
    bob = lab.baresip("bob", server.port, far.at)
    bob.established()
    alice.done()
    bob.closed()
    assert server.watches() == []
    assert f"REFER sip:alice@{LAN}.10:{port} " in alice.trace()


# Softphones

# Twinkle reads no "Record-route" as linphonec spells it, so it cannot call one through a second server.
PAIRS = [("baresip", "baresip"), ("baresip", "linphone"), ("linphone", "twinkle"), ("twinkle", "baresip")]


@pytest.mark.parametrize("street", ["alone", "before Kamailio"], indirect=True)
@pytest.mark.parametrize("makes", PAIRS, ids="-".join)
def test_softphones_call_and_hang_up(street: Street, makes: tuple[str, str]):
    street.serve()
    alice, bob = (street.softphone(make, user, street.home()) for make, user in zip(makes, ("alice", "bob"), strict=True))
    for who_hangs_up in ("caller", "callee"):
        alice.dial(f"sip:bob@{DOMAIN}")
        bob.established()
        alice.established()
        time.sleep(1.5)  # without an ACK a phone would have complained, or sent its 200 again
        first, second = (alice, bob) if who_hangs_up == "caller" else (bob, alice)
        first.hang_up()
        second.closed()
        first.closed()


@pytest.mark.parametrize("street", ["before Kamailio without Path"], indirect=True)
def test_softphones_before_a_registrar_without_path(street: Street):
    test_softphones_call_and_hang_up(street, PAIRS[0])


@pytest.mark.parametrize("street", ["alone", "before Kamailio"], indirect=True)
@pytest.mark.parametrize("makes", PAIRS, ids="-".join)
def test_softphones_hang_up_after_both_have_rebound(street: Street, makes: tuple[str, str]):
    """The phones learn nothing of it: they register again as ever, every few seconds here."""
    street.serve()
    users = ("alice", "bob")
    alice, bob = (
        street.softphone(make, user, street.home(), refresh=8) for make, user in zip(makes, users, strict=True)
    )  # fmt: skip
    for who_hangs_up in ("caller", "callee"):
        alice.dial(f"sip:bob@{DOMAIN}")
        bob.established()
        alice.established()
        before = {user: street.seen(user) for user in users}
        for home in street.homes:
            home.rebind(moves=who_hangs_up == "callee")
        wait_until(
            lambda before=before: all(street.seen(user) - before[user] for user in users), 20, "both have registered anew"
        )  # fmt: skip
        first, second = (alice, bob) if who_hangs_up == "caller" else (bob, alice)
        first.hang_up()
        second.closed()
        first.closed()
