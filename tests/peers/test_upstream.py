"""In front of Kamailio, which dies or hangs and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from net.phone import Call, Phone

from peers.lab import DOMAIN, Lab
from peers.phones import Fleet, run
from peers.process import HOST
from peers.server import Server

pytestmark = pytest.mark.peers

TIMEOUT = 4.0  # s, the default
SOON = 1.0


class Town:
    """Two phones of one server."""

    def __init__(self, server: Server):
        self.server = server
        self.fleet = Fleet("u", 2, server.port, DOMAIN)
        self.alice, self.bob = self.fleet
        for phone in self.fleet:
            phone.ring_time, phone.re_register_after = 100, 500

    def log_in(self, phone: Phone) -> None:
        phone.registered = False
        phone.register()
        run([self.fleet], lambda: phone.registered, 10, f"{phone.user} registers")

    def call(self, to: str) -> tuple[Call, float]:
        """A call of alice's until it is answered or refused, and the seconds that it took; then she hangs up."""
        begun, call = time.monotonic(), self.alice.call(to, expires=3600)
        run([self.fleet], lambda: call.over or call.was_answered, 20, f"the call to {to}\n{self.server.story()}")
        took = time.monotonic() - begun
        if call.was_answered:
            run([self.fleet], lambda: any(other.state == "talking" for other in self.bob.calls), 5, "bob has the ACK")
            self.alice.hang_up(call)
            run([self.fleet], lambda: all(other.over for other in self.bob.calls), 5, "bob has the BYE")
        return call, took

    def events(self, name: str) -> int:
        """How often the server has logged something."""
        return self.server.log.read_text().count(f" event={name} ")


@pytest.fixture
def towns() -> Iterator[list[Town]]:
    made: list[Town] = []
    yield made
    for town in made:
        town.fleet.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_kamailio_goes_and_comes_back(lab: Lab, towns: list[Town], how: str, workers: int) -> None:
    """Killed, its machine says so at once; hanging, it is silent."""
    kamailio = lab.kamailio()
    server = lab.sipfast(upstream=kamailio.port, workers=workers)
    town = Town(server)
    towns.append(town)
    town.log_in(town.alice)
    town.log_in(town.bob)
    assert town.call("u1")[0].was_answered

    kamailio.kill() if how == "killed" else kamailio.freeze()
    call, took = town.call("nobody")
    assert call.status == 503 and call.final is not None and call.final.lines("retry-after") == ["5"]
    assert took < SOON if how == "killed" else TIMEOUT <= took < TIMEOUT + SOON
    call, took = town.call("u1")
    assert call.was_answered and took < SOON, "a call to a known phone goes on"
    call, took = town.call("nobody")
    assert call.status == 503 and took < SOON
    assert server.watches() == []
    assert (town.events("upstream-down"), town.events("upstream-up")) == (1, 0)

    if how == "killed":
        lab.kamailio(like=kamailio)
    else:
        kamailio.thaw()
    run([town.fleet], lambda: town.events("upstream-up") == 1, 8, "the probe is answered")
    town.log_in(town.bob)
    assert town.call("u1")[0].was_answered
    call, took = town.call("nobody")
    assert call.status == 480 and took < SOON
    assert [watch["callee"] for watch in server.watches()] == [f"sip:nobody@{DOMAIN}"]
    assert (town.events("upstream-down"), town.events("upstream-up")) == (1, 1)


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_two_of_them_stand_in_for_each_other(lab: Lab, towns: list[Town], how: str) -> None:
    first, second = lab.kamailio(), lab.kamailio()
    uris = ", ".join(f'"sip:{HOST}:{each.port}"' for each in (first, second))
    server = lab.sipfast(f"[[upstream]]\nuri = [{uris}]\n")
    town = Town(server)
    towns.append(town)
    town.log_in(town.alice)
    town.log_in(town.bob)

    first.kill() if how == "killed" else first.freeze()
    town.log_in(town.bob)  # in the middle of which the other takes over
    town.log_in(town.alice)
    call, took = town.call("u1")
    assert call.was_answered and took < SOON
    assert town.call("nobody")[0].status == 480
    assert (town.events("upstream-down"), town.events("upstream-up")) == (1, 0)
