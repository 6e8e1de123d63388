"""Several workers as processes, with the phones of the virtual network on many real sockets (peers/phones.py).

The kernel spreads the sockets over the workers, so each redial crosses them in its own way.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from net.phone import Phone

from peers.lab import DOMAIN, Lab
from peers.phones import Fleet, run
from peers.process import answers_options, wait_until
from peers.server import Server

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and needs the kernel to spread datagrams"),
]

SOCKETS = 12  # on each side; each with PHONES phones
PHONES = 10
MANY = SOCKETS * PHONES
CONFIG = """
[redial]
callers = "any"
attempts = 50
refer_timeout = 2.0
recall_timeout = 3.0
retry_pause = 0.5
"""


def workers_of(server: Server) -> list[int]:
    """The processes of the workers."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(child) for child in children.split()]


class Town:
    """Callers and callees, each on one of many sockets; caller i waits for callee i."""

    def __init__(self, server: Server):
        self.server = server
        self.fleets = [Fleet(f"{side}{i}x", PHONES, server.port, DOMAIN) for side in "ab" for i in range(SOCKETS)]
        self.callers = [phone for fleet in self.fleets[:SOCKETS] for phone in fleet]
        self.callees = [phone for fleet in self.fleets[SOCKETS:] for phone in fleet]
        for phone in (*self.callers, *self.callees):
            phone.ring_time = phone.dial_delay = 100
            phone.lines = 4
        for phone in self.callers:
            phone.talk_time = 300

    def run(self, until: Callable[[], object], seconds: float, what: str) -> None:
        try:
            run(self.fleets, lambda: bool(until()), seconds, what)
        except AssertionError as complaint:
            raise AssertionError(f"{complaint}\n{self.story()}") from None

    def arm(self, callee: Callable[[int], Phone] | None = None) -> None:
        for i, phone in enumerate(self.callers):
            phone.call((callee(i) if callee else self.callees[i]).user, expires=3600)
        self.run(lambda: all(phone.calls[0].over for phone in self.callers), 60, "every call is answered")
        refused = [phone.calls[0].final for phone in self.callers]
        assert all(final and final.status == 480 and "m=NL" in final.first("call-info") for final in refused)

    def recalls_answered(self) -> list[int]:
        return [sum(call.recalled and call.was_answered for call in phone.calls) for phone in self.callers]

    def done(self) -> bool:
        return all(self.recalls_answered()) and all(call.over for phone in self.callers for call in phone.calls)

    def story(self) -> str:
        late = [
            phone for phone, answered in zip(self.callers, self.recalls_answered(), strict=True)
            if not answered or not all(call.over for call in phone.calls)
        ]  # fmt: skip
        lines = [f"{len(late)} callers are not done"]
        for phone in late[:5]:
            calls = [f"{'recalled ' * call.recalled}{call.state} {call.status or ''}".strip() for call in phone.calls]
            lines.append(f"{phone.user}: calls {calls}, REFERs {[refer.status for refer in phone.refers]}")
        names = {f"sip:{phone.user}@{DOMAIN}" for phone in late[:5]}
        lines += [str(watch) for watch in self.server.watches() if watch["caller"] in names]
        return "\n".join([*lines, self.server.story()])


@pytest.fixture(params=[2, 4], ids=["2 workers", "4 workers"])
def town(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Town]:
    server = lab.sipfast(CONFIG, workers=request.param)
    assert len(workers_of(server)) == request.param
    it = Town(server)
    yield it
    for fleet in it.fleets:
        fleet.close()


def counted(server: Server, name: str) -> list[int]:
    """A counter of each worker that has ended orderly."""
    return [int(count) for count in re.findall(rf"event=worker-stopped .*?\b{name}=(\d+)", server.log.read_text())]


def test_all_are_called_back_once(town: Town) -> None:
    town.arm()
    for phone in town.callees:
        phone.register()
    town.run(town.done, 60, "every caller was called back")
    town.run(lambda: town.server.watches() == [], 10, "no watch is left")
    assert town.recalls_answered() == [1] * MANY
    assert town.server.stop() == 0
    received = counted(town.server, "udp_received")
    assert len(received) == len([each for each in received if each > MANY / 4])  # the kernel spread the sockets
    assert sum(counted(town.server, "handed_over")) == sum(counted(town.server, "handed_in")) > MANY
    assert sum(counted(town.server, "redial_recalls")) == MANY
    for name in ("stray_responses", "udp_kernel_drops", "bus_dropped", "redial_recall_failures"):
        assert sum(counted(town.server, name)) == 0, name


def test_one_callee_takes_one_call_after_the_other(town: Town) -> None:
    callee = town.callees[0]
    town.callers = [fleet.phones[f"a{i}x0"] for i, fleet in enumerate(town.fleets[:SOCKETS])]
    callee.lines = SOCKETS
    town.arm(lambda i: callee)
    callee.register()
    town.run(town.done, 60, "every caller was called back")
    assert town.recalls_answered() == [1] * SOCKETS
    assert len(callee.calls) == SOCKETS
    for one, next_one in zip(callee.calls, callee.calls[1:], strict=False):
        assert one.ended_at <= next_one.started


def test_a_worker_is_killed_in_the_middle_of_the_recalls(town: Town) -> None:
    town.arm()
    before = workers_of(town.server)
    for phone in town.callees:
        phone.register()
    town.run(lambda: sum(bool(phone.refers) for phone in town.callers) > MANY / 5, 30, "the recalls have begun")
    os.kill(before[0], signal.SIGKILL)
    town.run(town.done, 90, "every caller was called back")
    assert town.recalls_answered() == [1] * MANY
    town.run(lambda: town.server.watches() == [], 10, "no watch is left")
    after = workers_of(town.server)
    assert len(after) == len(before) and before[0] not in after and set(before[1:]) < set(after)


def test_calls_go_on_while_a_worker_is_dead(town: Town) -> None:
    for phone in town.callees:
        phone.register()
    town.run(lambda: all(phone.registered for phone in town.callees), 20, "everybody is registered")
    for callee, caller in zip(town.callees, town.callers, strict=True):
        caller.call(callee.user)
    town.run(lambda: all(phone.calls[0].was_answered for phone in town.callers), 20, "everybody talks")
    os.kill(workers_of(town.server)[0], signal.SIGKILL)
    for callee, caller in zip(town.callees, town.callers, strict=True):
        caller.call(callee.user)  # what comes to the dead one's sockets waits there
    everybody = (*town.callers, *town.callees)
    town.run(lambda: all(len(p.calls) == 2 and all(call.over for call in p.calls) for p in everybody), 30, "all calls end")
    states = Counter((call.state, call.status) for phone in everybody for call in phone.calls)
    assert states == {("ended", 200): 4 * MANY}, states


def test_watches_survive_the_workers_one_by_one(town: Town) -> None:
    town.arm()
    for process in workers_of(town.server):
        count = len(workers_of(town.server))
        os.kill(process, signal.SIGKILL)
        wait_until(
            lambda process=process, count=count: len(now := workers_of(town.server)) == count and process not in now,
            15, "the worker was started again",
        )  # fmt: skip
    assert len(town.server.watches()) == MANY
    for phone in town.callees:
        phone.register()
    town.run(town.done, 60, "every caller was called back")
    assert town.recalls_answered() == [1] * MANY


def test_it_ends_when_asked_to_and_leaves_nobody(lab: Lab) -> None:
    server = lab.sipfast(believes=True, workers=3)
    workers = workers_of(server)
    began = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - began < 3.0
    assert not any(Path(f"/proc/{process}").exists() for process in workers)
    events = re.findall(r" event=(\S+)", server.log.read_text())
    assert sorted(events) == ["started", "stopped", "worker-stopped", "worker-stopped", "worker-stopped"]


def test_workers_end_without_their_supervisor(lab: Lab) -> None:
    server = lab.sipfast(believes=True, workers=2)
    workers = workers_of(server)
    os.kill(server.pid, signal.SIGKILL)
    server.wait(5)
    wait_until(lambda: not any(alive(process) for process in workers), 5, "the workers ended")
    lab.sipfast(believes=True, like=server, workers=2)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_port_in_use_by_workers_is_refused_to_a_second_server(lab: Lab) -> None:
    server = lab.sipfast(believes=True, workers=2)
    second = Server(
        lab.folder,
        9,
        port=server.port,
        domain=DOMAIN,
        data=lab.folder / "other",
        upstream=None,
        config="",
        workers=2,
    )
    assert second.wait(10) == 2
    assert "the port is in use" in second.log.read_text()
    assert not (lab.folder / "other").exists()
    assert answers_options(server.port)


def test_a_worker_that_dies_at_once_is_not_started_in_a_hurry(lab: Lab) -> None:
    server = lab.sipfast(believes=True, workers=2)
    for _ in range(3):
        victim = workers_of(server)[-1]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda victim=victim: victim not in (now := workers_of(server)) and len(now) == 2, 15, "a new one")
    pauses = [float(pause) for pause in re.findall(r"event=worker-died .*restart_in=(\S+)", server.log.read_text())]
    assert pauses == [0.5, 1.0, 2.0]
    assert answers_options(server.port)


def test_datagrams_for_a_dead_worker_wait_for_its_successor(lab: Lab) -> None:
    server = lab.sipfast(believes=True, workers=2)
    phones = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
    os.kill(workers_of(server)[0], signal.SIGKILL)
    try:
        for number, phone in enumerate(phones):
            phone.connect(("127.0.0.1", server.port))
            me = f"127.0.0.1:{phone.getsockname()[1]}"
            phone.send(
                f"OPTIONS sip:127.0.0.1:{server.port} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{number}\r\n"
                f"From: <sip:a@{me}>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n"
                "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
            )
        for phone in phones:
            phone.settimeout(10)
            assert phone.recv(65535).startswith(b"SIP/2.0 200 ")
    finally:
        for phone in phones:
            phone.close()
