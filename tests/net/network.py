"""A virtual network: endpoints at addresses, joined in memory by one virtual clock.

Every datagram has a latency and may be lost, delayed past others or doubled, all drawn from one seed: the same seed
gives the same run. An engine under test is a `Server`; it can be crashed at any datagram it takes or gives, and comes
back as a new engine on the same store.
"""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from net.endpoint import Endpoint
from net.nat import Nat
from net.sipwire import Address, Sip, literal
from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config

START = 1_700_000_000_000  # ms since the epoch: any time will do
QUOTED = 520  # bytes of a datagram that an ICMP error brings back (RFC 1812 §4.3.2.3)
E = TypeVar("E", bound=Endpoint)


@dataclass(frozen=True)
class Line:
    """What a datagram is like. Times in ms; `loss`, `reorder` and `duplicate` are probabilities."""

    latency: tuple[int, int] = (2, 2)
    loss: float = 0.0
    reorder: float = 0.0  # of being late by up to `late`, so that others overtake it
    late: int = 900
    duplicate: float = 0.0


@dataclass
class Event:
    """One datagram on its way, for the ladder."""

    at: int
    source: str
    target: str
    data: bytes
    fate: str = ""  # "" (arrives), "lost", "doubled", "late", "nobody there", "unplugged"; NATs: "filtered", "no hairpin"

    @property
    def title(self) -> str:
        try:
            return Sip(self.data).title
        except (ValueError, IndexError):
            return repr(self.data[:40])


class Network:
    """The clock, the heap of what is to happen, and the trace of what has."""

    def __init__(self, seed: int = 0, line: Line | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.line = line or Line()
        self.now = START
        self.trace: list[Event] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._at: dict[Address, Endpoint] = {}  # who has an address of the network itself
        self._homes: dict[Endpoint, Nat | None] = {}  # behind which NAT everybody is, plugged in or not
        self._plugged: dict[Endpoint, None] = {}
        self._nats: list[Nat] = []
        self._woken: dict[Endpoint, int] = {}  # the earliest wake-up that is in the heap
        self.watchers: list[Callable[[Event], None]] = []  # told of each datagram as it is sent
        self.icmp = False  # whether a datagram to nobody brings back an error: port unreachable

    # Who is where

    def add(self, endpoint: E, behind: Nat | None = None) -> E:
        """Plug an endpoint in; behind a NAT its address is one of that home."""
        endpoint.now = self.now
        self._homes[endpoint] = behind
        if behind is not None and behind not in self._nats:
            self._nats.append(behind)
        self.plug(endpoint)

        def transmit(data: bytes, to: Address) -> None:
            self._send(endpoint, data, to)

        endpoint.transmit = transmit
        return endpoint

    def move(self, endpoint: Endpoint, address: Address) -> None:
        """Give an endpoint another address, in its home if it has one."""
        self.remove(endpoint)
        endpoint.address = address
        self.plug(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Unplug it: what is sent to it is lost. Its timers still run."""
        self._plugged.pop(endpoint, None)
        places = self._places(endpoint)
        if places.get(endpoint.address) is endpoint:
            del places[endpoint.address]

    def plug(self, endpoint: Endpoint) -> None:
        """Undo `remove`."""
        self._plugged[endpoint] = None
        self._places(endpoint)[endpoint.address] = endpoint

    def home(self, endpoint: Endpoint) -> Nat:
        """The NAT that it is behind."""
        nat = self._homes[endpoint]
        assert nat is not None, f"{endpoint.name} is behind no NAT"
        return nat

    def seen(self, endpoint: Endpoint, by: Address) -> Address:
        """The address that `by` gets its datagrams from."""
        nat = self._homes[endpoint]
        outer = nat.outer(endpoint.address, by) if nat is not None else endpoint.address
        assert outer is not None, f"{endpoint.name} has sent nothing to {literal(by)}"
        return outer

    def _places(self, endpoint: Endpoint) -> dict[Address, Endpoint]:
        nat = self._homes[endpoint]
        return self._at if nat is None else nat.inside

    def _nat_at(self, address: Address) -> Nat | None:
        return next((nat for nat in self._nats if nat.host == address[0]), None)

    # Datagrams

    def _send(self, source: Endpoint, data: bytes, to: Address) -> None:
        home = self._homes[source]
        event = Event(self.now, source.name, self._name(to, home), data)
        self.trace.append(event)
        if source not in self._plugged:
            event.fate = "unplugged"
            return
        for watcher in self.watchers:
            watcher(event)
        if home is None or to in home.inside:
            self._carry(event, to, source.address, home)
        elif to[0] == home.host and not home.hairpin:
            event.fate = "no hairpin"
        else:
            self._carry(event, to, home.outgoing(source.address, to, self.now), None)

    def _carry(self, event: Event, to: Address, source: Address, home: Nat | None) -> None:
        """Over a line of the network, or (`home`) inside of one home."""
        line, draw = self.line, self.random.random
        if line.loss and draw() < line.loss:
            event.fate = "lost"
            return
        copies = 1
        if line.duplicate and draw() < line.duplicate:
            event.fate, copies = "doubled", 2
        for _ in range(copies):
            delay = self.random.randint(*line.latency)
            if line.reorder and draw() < line.reorder:
                event.fate = "late"
                delay += self.random.randint(1, line.late)
            self.at(self.now + delay, self._arrive, event, to, source, home)

    def _arrive(self, event: Event, to: Address, source: Address, home: Nat | None) -> None:
        places, nat = (self._at if home is None else home.inside), self._nat_at(to)
        if to not in places and nat is not None:
            inner = nat.incoming(to, source, self.now)
            if inner is None:
                event.fate = "filtered"
                return
            places, to = nat.inside, inner
        target = places.get(to)
        if target is None:
            event.fate = "nobody there"
            sender = self._at.get(source)
            if self.icmp and sender is not None:
                self.after(self.random.randint(*self.line.latency), self._bounce, sender, event.data[:QUOTED], to)
            return
        target.receive(event.data, source, self.now)
        self._wake(target)

    def _bounce(self, sender: Endpoint, quoted: bytes, to: Address) -> None:
        sender.undelivered(quoted, to, self.now)
        self._wake(sender)

    def _name(self, to: Address, home: Nat | None) -> str:
        """Who is meant by an address, for the ladder."""
        nat = self._nat_at(to)
        inner = nat.inner(to) if nat is not None else None
        target = (home.inside.get(to) if home is not None else None) or self._at.get(to)
        if target is None and nat is not None and inner is not None:
            target = nat.inside.get(inner)
        return target.name if target is not None else literal(to)

    # Time

    def at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Have something happen at a time."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, lambda: call(*args)))

    def after(self, delay: int, call: Callable[..., None], *args: Any) -> None:
        self.at(self.now + delay, call, *args)

    def have(self, endpoint: Endpoint, delay: int, call: Callable[..., None], *args: Any) -> None:
        """Have an endpoint do something later, by itself: its timers count from there."""
        self.after(delay, self._act, endpoint, call, args)

    def _act(self, endpoint: Endpoint, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        call(*args)
        self._wake(endpoint)

    def _wake(self, endpoint: Endpoint) -> None:
        due = endpoint.deadline()
        if due is None:
            return
        due = max(due, self.now)
        planned = self._woken.get(endpoint)
        if planned is None or due < planned:
            self._woken[endpoint] = due
            self.at(due, self._advance, endpoint, due)

    def _advance(self, endpoint: Endpoint, planned: int) -> None:
        if self._woken.get(endpoint) != planned:
            return  # a wake-up before this one took its place
        del self._woken[endpoint]
        endpoint.advance(self.now)
        due = endpoint.deadline()
        if due is not None and due <= self.now:  # a deadline may be early, but time has to go on
            self._woken[endpoint] = self.now + 1
            self.at(self.now + 1, self._advance, endpoint, self.now + 1)
        else:
            self._wake(endpoint)

    def run(self, ms: int) -> None:
        """Let that much time pass."""
        self._until(self.now + ms, lambda: False)

    def wait(self, condition: Callable[[], object], ms: int = 60_000, what: str = "") -> None:
        """Let time pass until something holds; AssertionError with the ladder if it does not within `ms`."""
        if not self._until(self.now + ms, condition):
            raise AssertionError(f"waited {ms} ms for {what or 'a condition'}\n{self.ladder()}")

    def _until(self, end: int, condition: Callable[[], object]) -> bool:
        # A test may have made an endpoint do something since: look at all of them
        for endpoint in list(self._plugged):
            endpoint.now = self.now
            self._wake(endpoint)
        if condition():
            return True
        while self._heap and self._heap[0][0] <= end:
            self.now, _, call = heapq.heappop(self._heap)
            for endpoint in self._plugged:
                endpoint.now = self.now
            call()
            if condition():
                return True
        self.now = end
        for endpoint in self._plugged:
            endpoint.now = end
        return False

    # What happened

    def sent(self, source: Endpoint | None = None, method: str = "", status: int = 0) -> list[Sip]:
        """Messages of a kind in the order they were sent; a request where `status` is 0. Copies count once."""
        found = []
        for event in self.trace:
            if source is None or event.source == source.name:
                message = Sip(event.data)
                if message.status == status and (not method or message.method == method):
                    found.append(message)
        return found

    def ladder(self, last: int = 200) -> str:
        """The trace as columns with arrows, at most the `last` datagrams."""
        names = list(dict.fromkeys(name for event in self.trace for name in (event.source, event.target)))
        width = 26
        column = {name: i * width for i, name in enumerate(names)}
        rows = [" " * 12 + "".join(f"{name:<{width}}" for name in names)]
        for event in self.trace[-last:]:
            a, b = column[event.source], column[event.target]
            left, right = min(a, b), max(a, b)
            text = f" {event.title} "[: max(right - left - 2, 10)]
            body = text.center(max(right - left - 1, 1), "-")
            arrow = f"{body}>" if b >= a else f"<{body}"
            note = f"  [{event.fate}]" if event.fate else ""
            rows.append(f"{(event.at - START) / 1000:>10.3f}  {' ' * left}{arrow}{note}  {_id(event)}")
        return "\n".join(rows)


def _id(event: Event) -> str:
    try:
        message = Sip(event.data)
    except (ValueError, IndexError):
        return ""
    return f"{message.call_id}/{message.first('cseq')}"


@dataclass(frozen=True)
class Crash:
    """When a server dies, and for how long.

    `kind` and `count`: "before" the count-th datagram that it takes, "uncommitted" (that datagram was handled, its
    batch not committed), or "output": the batch is committed, but the count-th message that the server gives and
    those after it never leave.
    """

    kind: str
    count: int
    down: int = 400


def _memory_store(randomness: Callable[[int], bytes]) -> Any:
    from net.stores import MemoryStore

    return MemoryStore(randomness)


def _engine() -> Any:
    from sipfast.engine.engine import Engine

    return Engine


class Server(Endpoint):
    """An engine at an address. Datagrams that arrive in one millisecond are one batch, with one commit."""

    def __init__(
        self, name: str, address: Address, *, config: Any = None, store: Any = None,
        domains: Sequence[str] = ("example.com",), hosts: Mapping[str, Sequence[str]] | None = None,
        crashes: Sequence[Crash] = (), reopen: Callable[[Any], Any] | None = None, kind: Any = None, seed: int = 0,
        users: Any = None, believes: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, address)
        self.config = config or Config()
        if believes and users is None:  # who is only there to call does not register before
            self.config = replace(self.config, redial=replace(self.config.redial, callers="any"))
        self.random = random.Random(f"{name} {seed}")  # a run of one seed is the same each time
        self.store = store if store is not None else _memory_store(self.random.randbytes)
        self.kind = kind or _engine()
        self.users = users  # who has a password; None: nobody is asked for one
        self.domains, self.hosts = list(domains), dict(hosts or {})
        self.crashes = list(crashes)
        self.reopen = reopen  # what a new process does with the store that the old one left
        self.ringing = bytearray(1 << 16)  # what the kernel keeps of a process that has died
        self.proofs = bytearray(1 << 16)
        self.taken = self.given = self.restarts = 0
        self.engine: Any = None
        self.up_at = 0  # while down: when it comes back
        self._batch: list[tuple[bytes, Address]] = []
        self._failed: list[tuple[bytes, Address]] = []
        self._losing = False
        self.on_output: Callable[[bytes, Address], None] = lambda data, to: None

    # Life and death

    def start(self, now: int) -> None:
        """A new engine on the store."""

        outer = self

        class Out(Sink):  # type: ignore[misc]
            def send(self, data: bytes, flow: Flow) -> int:
                outer._give(data, (flow.host, flow.port))
                return 0

        host, port = self.address
        listener = Listener(transport="UDP", host=host, port=port, sent_by=literal(self.address).encode())
        self._sink = Out()
        self.engine = self.kind(
            self.config, self.store, self._sink, [listener], domains=self.domains, hosts=self.hosts,
            ringing=self.ringing, proofs=self.proofs, randomness=self.random.randbytes, users=self.users,
        )  # fmt: skip
        self.engine.start(now)
        self._commit(now)

    def crash(self, now: int, down: int = 400) -> None:
        """Die: what is not committed is gone, and so is everything in memory."""
        self.engine = None
        self._batch.clear()
        self._failed.clear()
        self._losing = False
        self.store.abort()
        if self.reopen is not None:
            self.store = self.reopen(self.store)
        self.restarts += 1
        self.up_at = now + down

    def end(self, now: int, down: int = 400) -> None:
        """End as it is told to (SIGTERM), and come back."""
        self._last(self.engine, now)
        self.crash(now, down)

    def _last(self, engine: Any, now: int) -> None:
        engine.ending(now)
        engine.advance(now)
        engine.commit(now)

    def _due(self, kind: str, count: int) -> Crash | None:
        for crash in self.crashes:
            if crash.kind == kind and crash.count == count:
                self.crashes.remove(crash)
                return crash
        return None

    # What the network calls

    def receive(self, data: bytes, source: Address, now: int) -> None:
        if self.engine is not None:
            self._batch.append((data, source))

    def undelivered(self, data: bytes, to: Address, now: int) -> None:
        if self.engine is not None:
            self._failed.append((data, to))

    def advance(self, now: int) -> None:
        if self.engine is None:
            if now >= self.up_at:
                self.start(now)
            return
        failed, self._failed = self._failed, []
        for data, to in failed:
            self.engine.failed(Flow(*to), data, now)
        batch, self._batch = self._batch, []
        for data, source in batch:
            self.taken += 1
            if crash := self._due("before", self.taken):
                self.crash(now, crash.down)
                return
            self.engine.receive(data, Flow(*source), now)
            if crash := self._due("uncommitted", self.taken):
                self.crash(now, crash.down)
                return
        self.engine.advance(now)
        self._commit(now)

    def deadline(self) -> int | None:
        if self.engine is None:
            return self.up_at
        if self._batch or self._failed:
            return self.now
        due: int = self.engine.next_deadline()
        return due if due >= 0 else None

    def _commit(self, now: int) -> None:
        self._down = 0
        self.engine.commit(now)
        if self._losing:
            self.crash(now, self._down)

    def _give(self, data: bytes, to: Address) -> None:
        self.given += 1
        if crash := self._due("output", self.given):
            self._losing, self._down = True, crash.down
        if not self._losing:
            self.on_output(data, to)
            self.transmit(data, to)

    @property
    def counters(self) -> dict[str, int]:
        counted: dict[str, int] = self.engine.counters()
        return counted


def seeds(first: int, count: int) -> Iterator[int]:
    """The seeds of one test; one given in the environment replaces them all."""
    replayed = os.environ.get("NETWORK_SEED")
    yield from [int(replayed)] if replayed else range(first, first + count)


def replay(seed: int, network: Network, error: BaseException) -> str:
    """What a test of random schedules says when one of them fails."""
    return f"seed {seed}: {error}\nplay it again with NETWORK_SEED={seed} in the environment\n{network.ladder(400)}"
