"""A town of phones on loopback and a server that is killed; what its phones were told is what must be so.

The phones are those of the virtual network. A caller is told by a 480 that it will be called back, or that it will not; a
phone by a 200 that it is registered. Of a request without an answer nothing is known, and it is made again.
"""

from __future__ import annotations

import selectors
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from net.phone import Call, Phone, Refer
from net.sipwire import Sip
from peers.machine import Machine
from peers.phones import Fleet
from peers.process import HERE, wait_until
from peers.server import Server

from sipfast.identity.user_file import Record, secrets_of, write_records

DOMAIN = "crash.example"
REFER_TIMEOUT, RECALL_TIMEOUT = 2.0, 3.0
CONFIG = f"""
[redial]
attempts = 100
per_caller = 100
refer_timeout = {REFER_TIMEOUT}
recall_timeout = {RECALL_TIMEOUT}
retry_pause = 0.5
"""
PATIENCE = 3_000  # ms: an INVITE that had its 100, and then no answer, is given up by its caller


class Failed(Exception):
    """Something that was acknowledged is lost, or was done twice."""


class Caller:
    """One caller with what it has been told of its watch."""

    def __init__(self, phone: Phone, callee: str):
        self.phone, self.callee = phone, callee
        self.gives_up = False  # calls again with Expires: 0, once it is armed
        self.told = ""  # "armed", "off", or not known
        self._call: Call | None = None
        self.since = 0  # calls before are of an earlier epoch
        self.refers_since = 0

    def begin(self, gives_up: bool) -> None:
        """A new epoch: call, and be told."""
        self.gives_up, self.told, self._call = gives_up, "", None
        self.since, self.refers_since = len(self.phone.calls), len(self.phone.refers)

    @property
    def settled(self) -> bool:
        return self.told == ("off" if self.gives_up else "armed")

    def tick(self) -> bool:
        """Go on until it is settled. True where an answer has come that acknowledges something."""
        if self.settled:
            return False
        call = self._call
        if call is not None and call.over:
            self._call = None
            return self._hear(call)
        stuck = call is not None and call.client is not None and call.client.state == "proceeding"
        if call is None or (stuck and self.phone.now - call.started > PATIENCE):
            self._call = self.phone.call(self.callee, 0 if self.told == "armed" else 3600)
        return False

    def _hear(self, call: Call) -> bool:
        if call.final is None or call.status != 480:
            return False
        if "m=NL" in call.final.first("call-info"):
            self.told = "armed"
        elif self.told == "armed" and "redial" not in call.final.first("warning"):  # nothing is left to switch off
            self.told = "off"  # after "redial is off" it calls again: that is final with an ACK, which a kill may swallow
        return True

    # What became of it

    @property
    def refers(self) -> list[Refer]:
        return self.phone.refers[self.refers_since :]

    @property
    def answered(self) -> list[Call]:
        return [call for call in self.phone.calls[self.since :] if call.recalled and call.was_answered]

    def faults(self, seen: dict[str, list[tuple[int, Sip]]], unwritten: Sequence[tuple[int, int]] = ()) -> list[str]:
        """What of its REFERs is not as it should be. `seen`: by phone, when each REFER came.

        `unwritten`: times in which nothing could be written until the server was killed.
        """
        first: dict[str, tuple[int, Sip]] = {}
        wrong = []
        order = []
        for at, refer in seen.get(self.phone.user, []):
            known = first.setdefault(refer.call_id, (at, refer))[1]
            if (known.from_tag, known.cseq) != (refer.from_tag, refer.cseq):
                wrong.append(f"{self.phone.user}: REFER {refer.call_id} came again with another tag or CSeq")
            if known is refer:
                order.append((at, refer))
        for (before, one), (after, _) in pairwise(order):
            if after - before < REFER_TIMEOUT * 900 and not self._came_to_nothing(one, after):
                wrong.append(f"{self.phone.user}: another REFER {after - before} ms after {one.call_id}")
        kept = [call for call in self.answered if not any(a <= call.answered_at <= b for a, b in unwritten)]
        if len(kept) > 1:
            when = ", ".join(f"{call.answered_at / 1000:.3f}" for call in self.answered)
            wrong.append(f"{self.phone.user}: called back {len(kept)} times (at {when})")
        if self.gives_up and order:
            wrong.append(f"{self.phone.user}: asked to call after redial was off")
        return wrong

    def _came_to_nothing(self, request: Sip, until: int) -> bool:
        if any(refer.request.call_id == request.call_id and refer.status >= 300 for refer in self.refers):
            return True
        return any(
            call.report_to is not None and call.report_to.request.call_id == request.call_id
            and call.state == "failed" and call.ended_at <= until
            for call in self.phone.calls[self.since :]
        )  # fmt: skip


class Town:
    """Callers, callees (two callers for each), and the server between them."""

    def __init__(self, folder: Path, machine: Machine, workers: int, callers: int):
        self.folder, self.machine, self.workers = folder, machine, workers
        self.data = folder / "data"
        self.port = HERE.free_port()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.full: list[tuple[int, int]] = []  # when the disk was full, as far as not all may be written
        self.unwritten: list[tuple[int, int]] = []
        self.done: list[str] = []  # what was done to it, and when
        self._started = 0
        self._write_users(callers)
        self.server = self._serve()
        self.server.ready()
        self.calling = Fleet("a", callers, self.port, DOMAIN)
        self.called = Fleet("b", callers // 2, self.port, DOMAIN)
        self.callers = [Caller(phone, f"b{i // 2}") for i, phone in enumerate(self.calling)]
        self.seen: dict[str, list[tuple[int, Sip]]] = {}
        for phone in (*self.calling, *self.called):
            phone.ring_time, phone.dial_delay, phone.lines, phone.re_register_after = 100, 60, 1000, 300
            phone.password = phone.user
        for phone in self.calling:
            phone.talk_time = 150
            self._tap(phone)

    def _tap(self, phone: Phone) -> None:
        """Note every REFER as it comes, those that are 482 to the phone among them, but for retransmissions."""
        plain, branches = phone.receive, set()

        def receive(data: bytes, source: tuple[str, int], now: int) -> None:
            if data.startswith(b"REFER "):
                refer = Sip(data)
                if refer.first("via") not in branches:
                    branches.add(refer.first("via"))
                    self.seen.setdefault(phone.user, []).append((now, refer))
            plain(data, source, now)

        phone.receive = receive  # type: ignore[method-assign]

    # The server

    def _write_users(self, callers: int) -> None:
        """Everybody has a password, the own name."""
        names = [f"a{i}" for i in range(callers)] + [f"b{i}" for i in range(callers // 2)]
        records = [Record(user=name, realm=DOMAIN, **secrets_of(name, DOMAIN, name)) for name in names]
        write_records(self.folder / "users", records)

    def _serve(self) -> Server:
        self._started += 1
        return Server(
            self.folder, self._started, port=self.port, domain=DOMAIN, data=self.data, upstream=None,
            config=f"users = {str(self.folder / 'users')!r}\n{CONFIG}",
            workers=self.workers, at=self.machine,
        )  # fmt: skip

    def restart(self) -> None:
        """Start it, once the last process of the one before has let go of port and data; phones go on meanwhile."""
        wait_until(lambda: not self._port_taken() and not self._data_taken(), 20, "the former server is gone")
        self.server = self._serve()
        self.live(self._answers, 20, "the server answers")

    def _answers(self) -> bool:
        if not self.server.running:
            raise Failed(f"the server does not start\n{self.server.story()}")
        return "serves " in self.server.log.read_text(errors="replace")

    def _port_taken(self) -> bool:
        wanted = f":{self.port:04X} "
        return any(wanted in line for line in Path("/proc/net/udp").read_text().splitlines()[1:])

    def _data_taken(self) -> bool:
        lock = self.data / "server.lock"
        wanted = f":{lock.stat().st_ino} " if lock.exists() else "none"
        return any(wanted in line for line in Path("/proc/locks").read_text().splitlines())

    def family(self) -> list[int]:
        """The server and its workers."""
        try:
            children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        except OSError:
            return []
        return [self.server.pid, *map(int, children.split())]

    def close(self) -> None:
        """End it all."""
        self.server.stop()
        self.calling.close()
        self.called.close()

    # Time

    def live(self, until: Callable[[], bool], seconds: float, what: str) -> bool:
        """Let the phones live until something is so. False where it is not within that time, and `what` is empty."""
        end = time.monotonic() + seconds
        fleets = (self.calling, self.called)
        look = 0.0
        with selectors.DefaultSelector() as selector:
            for fleet in fleets:
                selector.register(fleet, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(0.01):
                    key.fileobj.read()  # type: ignore[union-attr]
                if time.monotonic() >= look:
                    for fleet in fleets:
                        fleet.advance()
                    if until():
                        return True
                    look = time.monotonic() + 0.01
                if time.monotonic() > end:
                    if what:
                        raise Failed(f"not within {seconds:g} s: {what}\n{self.server.story()}")
                    return False

    # What must be so

    def lists(self) -> tuple[set[tuple[str, str]], set[str]]:
        """The pairs that are watched and the users that are bound, as the command line tells them."""
        watches = {(user(row["callee"]), user(row["caller"])) for row in self.machine.says("watches", self.data)}
        return watches, {user(row["aor"]) for row in self.machine.says("bindings", self.data)}

    def lost(self, what: Iterator[str] | list[str]) -> None:
        """Something that was acknowledged is not so."""
        for each in what:
            self.counts["lost"] += 1
            self.wrong.append(f"lost: {each}")

    def twice(self, what: list[str]) -> None:
        """Something was done that should not have been."""
        for each in what:
            self.counts["twice"] += 1
            self.wrong.append(f"twice: {each}")


def user(aor: object) -> str:
    """bob of sip:bob@example.com"""
    return str(aor).partition(":")[2].partition("@")[0]
