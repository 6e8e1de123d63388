"""kill -9 of the server with a thousand watches: what a phone was told is kept.

The phones are those of the virtual network on real sockets (peers/phones.py): SIPp ends a call on the first thing that
its scenario does not foresee, and a phone whose server dies between any two messages foresees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from net.phone import Phone

from peers.lab import DOMAIN, Lab
from peers.phones import Fleet, run
from peers.server import Server

pytestmark = [pytest.mark.peers, pytest.mark.slow]

MANY = 1000
CONFIG = """
[redial]
callers = "any"
attempts = 20
retry_pause = 0.5

[rates]  # a thousand callers at one address, of whom none has registered
source = 100_000
source_new = 100_000
phone = 100_000
phone_new = 100_000
strangers_new = 100_000
strangers_register = 100_000
"""


class Town:
    """A thousand callers and the thousand whom they call."""

    def __init__(self, server: Server):
        self.server = server
        self.callers = Fleet("a", MANY, server.port, DOMAIN)
        self.callees = Fleet("b", MANY, server.port, DOMAIN)
        for phone in (*self.callers, *self.callees):
            phone.ring_time = phone.dial_delay = 100
            phone.lines = 4
        for phone in self.callers:
            phone.talk_time = 300

    def run(self, until: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            run((self.callers, self.callees), until, seconds, what)
        except AssertionError as complaint:
            raise AssertionError(f"{complaint}\n{self.story()}") from None

    def arm(self) -> None:
        for i, phone in enumerate(self.callers):
            phone.call(f"b{i}", expires=3600)
        self.run(lambda: all(phone.calls[0].over for phone in self.callers), 60, "every call is answered")
        refused = [phone.calls[0].final for phone in self.callers]
        assert all(final and final.status == 480 and "m=NL" in final.first("call-info") for final in refused)

    def log_in(self) -> None:
        for phone in self.callees:
            phone.register()

    def recalls_answered(self) -> list[int]:
        """For each caller, how many recalled calls were answered."""
        return [sum(call.recalled and call.was_answered for call in phone.calls) for phone in self.callers]

    def twice(self) -> str:
        """What happened to the first few callers who were called back more than once; times are ms since the first call."""
        lines = []
        for phone in self.callers:
            began = phone.calls[0].started
            if sum(call.recalled and call.was_answered for call in phone.calls) > 1:
                calls = [(c.started - began, c.answered_at - began, c.ended_at - began, c.state) for c in phone.calls]
                refers = [(refer.request.call_id[:8], refer.status, refer.notify_statuses) for refer in phone.refers]
                lines.append(f"{phone.user}: calls (started, answered, ended) {calls}, REFERs {refers}")
        return "\n".join(lines[:5])

    def referred(self) -> int:
        return sum(bool(phone.refers) for phone in self.callers)

    def done(self) -> bool:
        """Whether every caller was called back and has hung up. A call that died with the server may hang in a phone for
        minutes yet: it had its 100, and nobody is left to give it an answer."""
        return all(self._called_back(phone) for phone in self.callers)

    def _called_back(self, phone: Phone) -> bool:
        return any(call.recalled and call.state == "ended" for call in phone.calls)

    def story(self) -> str:
        """The state of the first few callers who are not done."""
        late = [phone for phone in self.callers if not self._called_back(phone)]
        lines = [f"{len(late)} callers are not done"]
        for phone in late[:5]:
            calls = [f"{'recalled ' * call.recalled}{call.state} {call.status or ''}".strip() for call in phone.calls]
            refers = [(refer.status, refer.notify_statuses) for refer in phone.refers]
            lines.append(f"{phone.user}: calls {calls}, REFERs and answers to their NOTIFYs {refers}")
        watches = {str(watch["caller"]).partition(":")[2].partition("@")[0]: watch for watch in self.server.watches()}
        lines += [f"{phone.user}: {watches.get(phone.user, 'no watch')}" for phone in late[:5]]
        return "\n".join(lines)


@pytest.fixture(params=["alone", "before Kamailio"])
def town(request: pytest.FixtureRequest, lab: Lab) -> Iterator[tuple[Town, Callable[[], Server]]]:
    """The phones of a running server, and what kills that server and starts it anew."""
    behind = lab.kamailio().port if request.param == "before Kamailio" else None
    server = lab.sipfast(CONFIG, upstream=behind)
    it = Town(server)

    def restart() -> Server:
        return lab.sipfast(CONFIG, upstream=behind, like=server)

    def crash() -> Server:
        server.kill()
        # The phones live on meanwhile: one that says nothing for seconds is given up, and called anew.
        with ThreadPoolExecutor(1) as pool:
            back = pool.submit(restart)
            it.run(back.done, 30, "the server is back")
            return back.result()

    yield it, crash
    it.callers.close()
    it.callees.close()


def test_killed_after_a_thousand_armed_watches(town: tuple[Town, Callable[[], Server]]):
    phones, crash = town
    phones.arm()
    server = crash()
    assert len(server.watches()) == MANY
    phones.log_in()
    phones.run(phones.done, 60, "every caller was called back")
    assert phones.recalls_answered() == [1] * MANY, phones.twice()
    phones.run(lambda: server.watches() == [], 10, "no watch is left")


@pytest.mark.parametrize("share", [0.05, 0.5], ids=["early", "half way"])
def test_killed_in_the_middle_of_a_thousand_recalls(town: tuple[Town, Callable[[], Server]], share: float):
    phones, crash = town
    phones.arm()
    phones.log_in()
    phones.run(lambda: phones.referred() >= share * MANY, 30, "the recalls have begun")
    server = crash()
    phones.run(phones.done, 90, "every caller was called back")
    assert phones.recalls_answered() == [1] * MANY, phones.twice()
    phones.run(lambda: server.watches() == [], 10, "no watch is left")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_caller_hangs_up_on_a_phone_that_rings_since_before_the_crash(lab: Lab, workers: int):
    server = lab.sipfast(believes=True, workers=workers)
    fleets = [Fleet(name, 1, server.port, DOMAIN) for name in ("alice", "bob")]
    try:
        alice, bob = (next(iter(fleet)) for fleet in fleets)
        bob.ring_time = 60_000
        for phone in (alice, bob):
            phone.register()
        run(fleets, lambda: alice.registered and bob.registered, 10, "both are registered")
        call = alice.call(bob.user)
        run(fleets, lambda: call.state == "ringing", 10, "bob rings")
        server.kill()
        lab.sipfast(believes=True, like=server, workers=workers)
        alice.hang_up(call)
        run(fleets, lambda: call.over and bob.calls[-1].over, 10, "alice and bob's phone know that it is over")
        assert (call.status, bob.calls[-1].status) == (487, 487)
    finally:
        for fleet in fleets:
            fleet.close()
