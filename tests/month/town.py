"""The month itself: who lives there, what they do when, and what befalls the server. All of it from one seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from net.cluster import Cluster
from net.nat import Nat
from net.network import Crash, Event, Line, Network, Server
from net.phone import Call
from net.scene import DOMAIN, HOME, NATS, SERVER
from net.sipwire import Address
from net.stores import MemoryStore

from month.chronicle import DOZE, LATER, Chronicle
from month.resident import HOUR, KINDS, MINUTE, SECOND, Resident
from sipfast.config import Config, Redial
from sipfast.engine.engine import Engine

DAY = 24 * HOUR
MAX_PERIOD = 3 * DAY
PERIODS = (300, 900, 3600, 3600, 6 * 3600, 24 * 3600, 72 * 3600)  # seconds
SWEEP = 10 * SECOND
AWAKE = 40 * SECOND  # 64*T1 and more: no transaction goes on without a word for longer
LOOK_EVERY = 2 * MINUTE
TRACE = 3_000  # datagrams that are kept for the ladder
LINE = Line(latency=(1, 40), loss=0.03, reorder=0.05, late=400, duplicate=0.03)
AFTERWARDS = 6 * HOUR  # longer than any binding, move and memory of a REFER lasts here


@dataclass(frozen=True)
class Plan:
    """One month."""

    seed: int
    days: float = 30
    people: int = 24
    workers: int = 1

    def again(self) -> str:
        """What plays it again."""
        return (
            f'make month ARGS="--months 1 --seed {self.seed} --days {self.days:g} --people {self.people}'
            f' --workers {self.workers}"'
        )

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.days:g} days, {self.people} people, {self.workers} worker{'s' * (self.workers > 1)}"


class Drowsy(Server):
    """A server that is woken for its timers every DOZE ms only, where no call or recall goes on.

    It looks for expired bindings five times a second: a month would take as long as that.
    """

    awake_until = woken_at = 0
    on_down: Callable[[int, int], None] = staticmethod(lambda begin, end: None)

    def _heard(self, data: bytes) -> None:
        if b" REGISTER\r\n" not in data:
            self.awake_until = max(self.awake_until, self.now + (2 * SECOND if b" OPTIONS\r\n" in data else AWAKE))

    def receive(self, data: bytes, source: Address, now: int) -> None:
        self._heard(data)
        super().receive(data, source, now)

    def _give(self, data: bytes, to: Address) -> None:
        self._heard(data)
        super()._give(data, to)

    def advance(self, now: int) -> None:
        self.woken_at = now
        super().advance(now)

    def crash(self, now: int, down: int = 400) -> None:
        self.on_down(now, now + down)
        super().crash(now, down)

    def deadline(self) -> int | None:
        due = super().deadline()
        if due is None or self.engine is None or due <= self.now or self.now < self.awake_until:
            return due
        return max(due, self.woken_at + DOZE)


class Swept(MemoryStore):
    """Whose expired bindings are looked for every SWEEP ms only."""

    swept_at = 0

    def sweep_bindings(self, now: int, *args: Any) -> Any:
        if now >= self.swept_at + SWEEP:
            self.swept_at = now
            return super().sweep_bindings(now, *args)
        return 0


class DrowsyCluster(Drowsy, Cluster):
    """The same with several workers."""


class Month:
    """A town, its server, and the chronicle."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.draw = random.Random(f"month {plan.seed} {plan.workers}")
        self.network = Network(plan.seed, LINE)
        self.network.icmp = self.draw.random() < 0.5
        self.network.watchers.append(self._saw)
        self.digest = hashlib.sha256()
        self.datagrams = 0
        self.redial = Redial(
            max_period=MAX_PERIOD // SECOND, max_talk=900.0, order=self.draw.choice(("serial", "serial", "all")),
            declined=self.draw.choice(("wait", "wait", "end")), start=self.draw.choice(("dial", "dial", "ring")),
            keepalive=self.draw.choice((0.0, 0.0, 300.0)), guard=self.draw.choice((0.0, 0.0, 5.0)),
            default_period=self.draw.choice((0, 3600)),
        )  # fmt: skip
        self.people: dict[str, Resident] = {}
        self.chronicle = Chronicle(self.people, self.redial, lambda: self.network.now, self.network.after)
        self.server = self._server()
        self.people.update((person.name, person) for person in self._people())
        self.server.on_down = lambda begin, end: self.chronicle.down.append((begin, end))
        self.living = True
        for person in self.people.values():
            person.rung = self.chronicle.rung

    def _server(self) -> Drowsy:
        config = Config(redial=self.redial)
        kind = partial(Engine, outlet=self.chronicle.told)
        more: dict[str, Any] = {"config": config, "domains": (DOMAIN,), "seed": self.plan.seed, "kind": kind}
        more["store"] = Swept(random.Random(f"store {self.plan.seed}").randbytes)
        if self.plan.workers > 1:
            several = DrowsyCluster("server", SERVER, **more)
            several.workers, several.delay = self.plan.workers, self.draw.randint(1, 10)
            server: Drowsy = several
        else:
            server = Drowsy("server", SERVER, **more)
        self.network.add(server)
        server.start(self.network.now)
        return server

    def _people(self) -> list[Resident]:
        kinds = list(KINDS)
        self.draw.shuffle(kinds)
        people = []
        for number in range(self.plan.people):
            name = f"p{number:02}"
            nat = None
            if self.draw.random() < 0.4:
                nat = Nat(f"home{number}", f"203.0.113.{number + 1}", **self.draw.choice([*NATS.values()]))
            address = HOME if nat is not None else self._address(number)
            own = random.Random(f"{self.plan.seed} {name}")
            person = Resident(name, address, SERVER, kinds[number % len(kinds)], own, nat)
            person.lasts = self.draw.choice((600, 3600, 3600, 7200))
            if self.draw.random() < 0.5:
                person.contact_params = f';+sip.instance="<urn:uuid:00000000-0000-1000-8000-{number:012}>"'
            self.network.add(person, nat)
            people.append(person)
        return people

    def _address(self, number: int) -> tuple[str, int]:
        return f"10.0.{1 + self.draw.randrange(200)}.{number + 1}", 5060

    def _saw(self, event: Event) -> None:
        self.datagrams += 1
        self.digest.update(b"%d %s %s " % (event.at, event.source.encode(), event.target.encode()))
        self.digest.update(event.data)

    def figures(self) -> str:
        """What there was of it, in one line."""
        counts, ends = self.chronicle.counts, self.chronicle.ends
        return (
            f"{self.datagrams} datagrams, {self.server.restarts} restarts, {counts['armed']} watches, "
            f"{counts['claimed']} recalls; ended: {', '.join(f'{count} {why}' for why, count in ends.most_common())}"
        )

    # ---- what happens

    def play(self, *, afterwards: bool = True) -> None:
        """All of it; then, unless told otherwise, everybody goes, and nothing may be left."""
        for person in self.people.values():
            self._soon(person, 10 * MINUTE, self._arrive, person)
            self._soon(person, 3 * HOUR, self._call, person)
            self._soon(person, 4 * HOUR, self._mood, person)
            if person.nat is not None:
                self._soon(person, 2 * DAY, self._rebind, person)
            elif self.draw.random() < 0.4:
                self._soon(person, 2 * DAY, self._move, person)
        self.network.after(self._about(DAY), self._trouble)
        self._pass(round(self.plan.days * DAY))
        if afterwards:
            self._depart()

    def _depart(self) -> None:
        self.living = False
        for person in self.people.values():
            person.now = self.network.now
            for call in person.calls:
                person.hang_up(call)
            if not person.away:
                person.unregister()
            person.away = True
        self._pass(10 * MINUTE)
        for person in self.people.values():
            person.switch_off()
            self.network.remove(person)
        self._pass(MAX_PERIOD + AFTERWARDS)
        self._end()

    def _pass(self, ms: int) -> None:
        until = self.network.now + ms
        while self.network.now < until:
            self.network.run(min(LOOK_EVERY, until - self.network.now))
            if self.server.engine is not None:
                self.chronicle.look([*self.server.store.each_watch()])
            if self.network.now // HOUR != (self.network.now - LOOK_EVERY) // HOUR:
                for person in self.people.values():
                    person.forget()
                self.chronicle.forget()
                del self.network.trace[:-TRACE]

    def _about(self, mean: int) -> int:
        return min(round(self.draw.expovariate(1 / mean)), 8 * mean) + SECOND

    def _soon(self, person: Resident, mean: int, call: Callable[..., None], *args: Any) -> None:
        def act() -> None:
            person.now = self.network.now  # it may be unplugged, and then nobody tells it
            call(*args)

        self.network.have(person, self._about(mean), act)

    @property
    def night(self) -> bool:
        return (self.network.now % DAY) < 7 * HOUR

    # ---- coming and going

    def _arrive(self, person: Resident, how: str = "register") -> None:
        if not self.living:
            return
        person.away = False
        person.back_at = person.now
        if how in ("power", "network"):
            self.network.plug(person)
        if how != "network":
            person.register(person.lasts)
        person.change()
        self._soon(person, 5 * HOUR, self._leave, person)

    def _leave(self, person: Resident) -> None:
        how = self.draw.choice(("unregister", "unregister", "expire", "power", "power", "network"))
        if not self.living:
            return
        person.away = person.lost = True
        person.change()
        if person.out_since < 0:
            person.out_since = person.binding_until
        if how == "unregister":
            person.unregister()
        elif how == "expire":
            person.stop_refreshing()
        elif how == "power":
            person.switch_off()
        if how in ("power", "network"):
            self.network.remove(person)
        brief = self.draw.random() < 0.3
        self._soon(person, 3 * MINUTE if brief else 4 * HOUR, self._arrive, person, how)

    def _rebind(self, person: Resident) -> None:
        """The box at home gets another address or port; the phone hears of it when it next registers."""
        assert person.nat is not None
        person.nat.rebind()
        self._lost(person)
        if person.there and self.draw.random() < 0.7:
            self.network.have(person, self.draw.randint(0, MINUTE), self._register, person)
        self._soon(person, 2 * DAY, self._rebind, person)

    def _move(self, person: Resident) -> None:
        """To another network, with another address."""
        if not person.away and not person.busy:
            self.network.move(person, self._address(int(person.name[1:])))
            self._lost(person)
            self._register(person)
        self._soon(person, 2 * DAY, self._move, person)

    def _lost(self, person: Resident) -> None:
        person.lost = True
        person.back_at = person.now
        person.change()

    def _register(self, person: Resident) -> None:
        if not person.away:
            person.register(person.lasts)

    def _mood(self, person: Resident) -> None:
        person.willing = not person.willing
        person.change()
        self._soon(person, 8 * HOUR if person.willing else 3 * HOUR, self._mood, person)

    # ---- calling

    def _call(self, person: Resident) -> None:
        if not self.living:
            return
        if person.there and not person.busy and not (self.night and self.draw.random() < 0.9):
            friends = [name for name in self.people if name != person.name]
            callee = friends[min(int(self.draw.expovariate(0.2)), len(friends) - 1)]
            expires = self.draw.choice(PERIODS) if self.draw.random() < 0.85 else None
            call = person.call(callee, expires)
            self._soon(person, 20 * MINUTE, self._call_again, person, callee, call)
        self._soon(person, 2 * HOUR, self._call, person)

    def _call_again(self, person: Resident, callee: str, call: Call) -> None:
        """Now and then, to cancel what it was told of, or out of impatience."""
        told = call.final is not None and bool(call.final.lines("call-info"))
        if self.living and told and person.there and not person.busy:
            what = self.draw.random()
            if what < 0.12:
                person.call(callee, 0)
            elif what < 0.24:
                person.call(callee, self.draw.choice(PERIODS))

    # ---- the server

    def _trouble(self) -> None:
        if not self.living:
            return
        now, down = self.network.now, self.draw.choice((50, 400, 3_000, 20_000))
        server = self.server
        kind = self.draw.choice(("crash", "end", "before", "uncommitted", "output", "worker", "worker"))
        if server.engine is None:
            pass
        elif kind in ("before", "uncommitted", "output"):
            count = (server.given if kind == "output" else server.taken) + self.draw.randint(1, 40)
            server.crashes.append(Crash(kind, count, down))
        elif kind == "worker" and isinstance(server, Cluster):
            number = self.draw.randrange(server.workers)
            if number and server.engines[number] is not None:
                server.kill(number, now, down, losing=self.draw.random() < 0.5)
                server.on_down(now, now + down)
        else:
            (server.end if kind == "end" else server.crash)(now, down)
        self.network.after(self._about(DAY), self._trouble)

    # ---- the end

    def _end(self) -> None:
        self.network.run(LATER)
        for number, engine in enumerate(getattr(self.server, "engines", [self.server.engine])):
            counters = engine.counters()
            left = {
                name: counters[name]
                for name in ("server_transactions", "client_transactions", "branches", "redial_watches", "redial_recalling")
            }
            left["timers"] = max(0, counters["timers"] - 1 - (number == 0) - bool(self.redial.keepalive))
            left["faults"] = counters["faults"]
            if any(left.values()):
                self.chronicle.complain(None, f"left in worker {number}: { {k: v for k, v in left.items() if v} }")
        store = self.server.store
        left_behind = {
            "watches": [*store.each_watch()], "talks": [*store.each_talk()], "legs": list(store.legs()),
        }  # fmt: skip
        for name, rows in left_behind.items():
            if rows:
                self.chronicle.complain(None, f"left in the store: {name} {rows}")
        for life in self.chronicle.open.values():
            self.chronicle.complain(life, "never ended")
