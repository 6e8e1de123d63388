"""A server of several workers in the virtual network: engines that share one store and one address.

Each peer's datagrams come to one worker, by the peer's address, as the kernel hands them out among SO_REUSEPORT sockets.
What workers hand to each other takes a moment, and arrives in order. One of them can be killed and started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from net.network import START, Server
from net.sipwire import Address, literal
from net.stores import MemoryStore
from sipfast._flow import Flow, Sink
from sipfast._listener import Listener

if TYPE_CHECKING:
    from net.phone import Phone
    from net.scene import Scene, Speaker


@dataclass(frozen=True)
class Death:
    """When one worker is killed: `after` ms from the start, for `down` ms; `losing` as in `Cluster.kill`."""

    after: int
    worker: int
    down: int
    losing: bool


class Cluster(Server):
    """A Server of `workers` engines. `engine` is the first of them, or None while the server is down."""

    workers = 2
    salt = 0  # another one, and the peers come to other workers
    delay = 1  # ms that what is handed over takes
    deaths: Sequence[Death] = ()

    def __init__(self, name: str, address: Address, **more: Any) -> None:
        super().__init__(name, address, **more)
        self.engines: list[Any] = []
        self.posted: list[tuple[int, int, bytes, int]] = []  # when it is there, for whom, what, from whom
        self.backlog: list[list[tuple[bytes, Address]]] = []
        self.errors: list[list[tuple[bytes, Address]]] = []  # of ICMP, which the kernel gives to who has that peer
        self.dying = list(self.deaths)
        self.up: dict[int, int] = {}  # workers that are down: when they come back

    def home(self, peer: Address) -> int:
        """The worker that a peer's datagrams come to."""
        return crc32(literal(peer).encode(), self.salt) % self.workers

    def _engine_of(self, number: int, now: int, resumed: bool) -> Any:
        outer = self

        class Out(Sink):  # type: ignore[misc]
            def send(self, data: bytes, flow: Flow) -> int:
                outer._give(data, (flow.host, flow.port))
                return 0

        def bus(worker: int, frames: list[bytes]) -> None:
            outer.posted += [(outer.now + outer.delay, worker, frame, number) for frame in frames]

        host, port = self.address
        listener = Listener(transport="UDP", host=host, port=port, sent_by=literal(self.address).encode())
        engine = self.kind(
            self.config, self.store, Out(), [listener], domains=self.domains, hosts=self.hosts,
            worker=number, workers=self.workers, bus=bus, resumed=resumed, ringing=self.ringing,
            proofs=self.proofs, randomness=self.random.randbytes, users=self.users,
        )  # fmt: skip
        engine.start(now)
        return engine

    def start(self, now: int) -> None:
        self.now = now
        self.up.clear()
        self.posted.clear()
        self.backlog = [[] for _ in range(self.workers)]
        self.errors = [[] for _ in range(self.workers)]
        self.engines = []
        for number in range(self.workers):
            self.engines.append(self._engine_of(number, now, resumed=False))
            self.engines[number].commit(now)
        self.engine = self.engines[0]

    def crash(self, now: int, down: int = 400) -> None:
        super().crash(now, down)
        self.engines = []

    def end(self, now: int, down: int = 400) -> None:
        for engine in self.engines:
            if engine is not None:
                self._last(engine, now)
        self.crash(now, down)

    def kill(self, number: int, now: int, down: int = 400, *, losing: bool = False) -> None:
        """kill -9 of one worker: what it has not committed is gone; what comes for it waits in its sockets.

        `losing`: it had read what the others had sent it, and not yet sent what it had committed.
        """
        if losing:
            self.posted = [each for each in self.posted if number not in (each[1], each[3])]
        self.store.abort()
        self.engines[number] = None
        self.up[number] = now + down

    def receive(self, data: bytes, source: Address, now: int) -> None:
        if self.engine is not None:
            self.backlog[self.home(source)].append((data, source))

    def undelivered(self, data: bytes, to: Address, now: int) -> None:
        if self.engine is not None:
            self.errors[self.home(to)].append((data, to))

    def advance(self, now: int) -> None:
        if self.engine is None:
            if now >= self.up_at:
                self.start(now)
            return
        for death in [each for each in self.dying if now >= START + each.after]:
            self.dying.remove(death)
            self.restarts += 1
            self.kill(death.worker, now, death.down, losing=death.losing)
        for number, when in [*self.up.items()]:
            if now >= when:
                del self.up[number]
                self.engines[number] = self._engine_of(number, now, resumed=True)
        for number in range(self.workers):
            if self.engine is None:
                return
            if self.engines[number] is not None:
                self._turn(number, now)

    def _turn(self, number: int, now: int) -> None:
        engine = self.engines[number]
        errors, self.errors[number] = self.errors[number], []
        for data, to in errors:
            engine.failed(Flow(*to), data, now)
        batch, self.backlog[number] = self.backlog[number], []
        for data, source in batch:
            self.taken += 1
            if crash := self._due("before", self.taken):
                self.crash(now, crash.down)
                return
            engine.receive(data, Flow(*source), now)
            if crash := self._due("uncommitted", self.taken):
                self.crash(now, crash.down)
                return
        frames = [frame for when, worker, frame, _ in self.posted if worker == number and when <= now]
        if frames:
            self.posted = [each for each in self.posted if each[1] != number or each[0] > now]
        for frame in frames:
            engine.told(frame, now)
        engine.advance(now)
        self._down = 0
        engine.commit(now)
        while isinstance(self.store, MemoryStore) and self.store.has_written():  # a commit failed: nobody else can write
            engine.commit(now)
        if self._losing:
            self.crash(now, self._down)

    def deadline(self) -> int | None:
        if self.engine is None:
            return self.up_at
        waiting = [*enumerate(self.backlog), *enumerate(self.errors)]
        dues = [self.now for number, batch in waiting if batch and number not in self.up]
        dues += [when for when, worker, *_ in self.posted if worker not in self.up]
        dues += self.up.values()
        dues += [max(self.now, START + death.after) for death in self.dying]
        dues += [due for engine in self.engines if engine is not None and (due := engine.next_deadline()) >= 0]
        return min(dues, default=None)

    @property
    def counters(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for engine in self.engines:
            for name, count in engine.counters().items():
                total[name] = total.get(name, 0) + count
        return total


def cluster_of(scene: Scene) -> Cluster:
    assert isinstance(scene.server, Cluster)
    return scene.server


def stand(scene: Scene, worker: int) -> None:
    """Whoever comes next talks to that worker."""
    while cluster_of(scene).home((f"10.0.1.{scene._places + 1}", 5060)) != worker:
        scene._places += 1


def phone(scene: Scene, name: str, worker: int, **more: Any) -> Phone:
    stand(scene, worker)
    return scene.phone(name, **more)


def peer(scene: Scene, name: str, worker: int) -> Speaker:
    stand(scene, worker)
    return scene.peer(name)


def owner_of(scene: Scene, callee: bytes = b"sip:bob@example.com") -> int:
    return crc32(callee) % cluster_of(scene).workers


def retransmitted(scene: Scene) -> int:
    counters = cluster_of(scene).counters
    return counters["retransmissions_sent"] + counters["retransmissions_received"]
