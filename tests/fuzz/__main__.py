"""The fuzzer (`make fuzz`): sequences of requests, answers, errors and passing time against whole engines.

A round is one server's life: some thousands of datagrams drawn from its seed, then all timers run out. Two things have to
hold. Nothing is raised out of the engine, and it counts no fault. And afterwards nothing is left: no transaction, branch,
response context, watch, recall, nor a timer but those that a server has from its start.

A round is played again by its seed and its kind, which a failure names. What brings an answer that no other message of the
round had brought goes into the corpus, from which later runs draw; what a failure was about goes there, too.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any
from zlib import crc32

from fuzz.course import Address
from fuzz.logins import table
from fuzz.messages import METHODS, SERVER, UPSTREAM, USERS, Talker
from sipfast._flow import Flow, Sink
from sipfast._listener import Listener
from sipfast.config import Config, Limits, Peer, Rates, Redial, Registrar, Upstream
from sipfast.engine.engine import Engine
from sipfast.errors import StoreUnavailable
from sipfast.routing.context import live_contexts
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.repository import Store
from sipfast.store.tables import NAMES
from sipfast.transaction.transaction import live_objects

CORPUS = Path(__file__).parent.parent / "data" / "fuzz"
MOST_KEPT, LARGEST_KEPT = 400, 2_000  # messages of the corpus, and bytes of each
START = 1_700_000_000_000
PER_ROUND = 4_000  # messages
ADMITTED, OVER = 0, 2  # what a limiter says of a message
AFTERWARDS = 10_000_000  # ms: longer than any binding, watch, move and memory of a REFER lasts here
STEP = 5_000  # ms, of those


@dataclass(frozen=True)
class Kind:
    """What a server is like."""

    workers: int = 1
    upstreams: tuple[Upstream, ...] = ()
    fails: bool = False  # its store, now and then
    unreadable: bool = False  # records of it, now and then
    guarded: bool = False  # by passwords, and by rates and bounds that are soon reached


def upstream(*hosts: bytes, domains: Sequence[str] = ("up.example",), **more: Any) -> Upstream:
    return Upstream(uri=tuple(f"sip:{host.decode()}" for host in hosts), domains=tuple(domains), **more)


ONE = upstream(UPSTREAM[0])
OTHER = upstream(UPSTREAM[1], domains=["example.com"])
GROUP = upstream(*UPSTREAM, domains=["up.example", "example.com"])
TOKEN = upstream(*UPSTREAM, domains=["up.example", "example.com"], contact="token")
KINDS = {
    "alone": Kind(),
    "workers": Kind(workers=2),
    "upstream": Kind(upstreams=(ONE, OTHER)),
    "workers+upstream": Kind(workers=2, upstreams=(ONE,)),
    "workers+group": Kind(workers=2, upstreams=(GROUP,)),
    "token": Kind(upstreams=(TOKEN,)),
    "workers+token": Kind(workers=2, upstreams=(TOKEN,)),
    "failing": Kind(fails=True),
    "workers+failing": Kind(workers=2, fails=True),
    "upstream+failing": Kind(upstreams=(ONE,), fails=True),
    "workers+token+failing": Kind(workers=2, upstreams=(TOKEN,), fails=True),
    "unreadable": Kind(unreadable=True),
    "workers+unreadable": Kind(workers=2, unreadable=True),
    "guarded": Kind(guarded=True),
    "workers+guarded": Kind(workers=2, guarded=True),
    "guarded+failing": Kind(guarded=True, fails=True),
}


# Soon reached, though hours pass in a round.
TIGHT = Rates(source=4, source_new=2, binding=1, binding_new=1, phone=2, phone_new=1, strangers_new=5, ban_after=30)


class Found(AssertionError):
    """Something that should not be."""


class Ill(Store):
    """A store in memory that is ill now and then."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        super().__init__(self.made())
        self.bad = False  # at present

    def made(self) -> MemoryTables:
        """The tables that it is over."""
        return MemoryTables(self.draw.randbytes)


class Failing(Ill):
    """Of which the disk is full: a write that fails spoils its batch (store/tables.pyx)."""

    spoiled = False

    def commit(self) -> None:
        if self.spoiled or (self.bad and self.draw.random() < 0.3):
            self.abort()
            raise StoreUnavailable("no space left")
        super().commit()

    def abort(self) -> None:
        self.spoiled = False
        super().abort()


def failing(name: str) -> Any:
    """A method of stores that fails in a spoiled batch, and may spoil it if it writes."""
    plain, writes = getattr(Ill, name), name.startswith(("put", "delete", "claim"))

    def method(self: Failing, *args: Any, **more: Any) -> Any:
        if writes and self.bad and not self.spoiled:
            self.spoiled = self.draw.random() < 0.2
        if self.spoiled:
            raise StoreUnavailable("no space left")
        return plain(self, *args, **more)

    return method


for name, method in vars(Store).items():
    if callable(method) and not name.startswith("_") and name not in ("commit", "abort", "close"):
        setattr(Failing, name, failing(name))


class Damaged(Ill):
    """Of which some records cannot be read."""

    def made(self) -> MemoryTables:
        """Tables that damage what is written to them."""
        return DamagedTables(self)


class DamagedTables(MemoryTables):
    """Some records that are written are damaged, as long as the store is bad."""

    def __init__(self, store: Damaged) -> None:
        super().__init__()
        self.store = store

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """As ever, or not quite."""
        if NAMES[table] in ("bindings", "watches") and self.store.bad and self.store.draw.random() < 0.05:
            value = b"\xc1" + value[1:]
        super().put(table, key, value)


class Faults(logging.Handler):
    """Keeps the first exception that an engine has told of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not self.first:
            self.first = f"{record.getMessage()}: {logging.Formatter().formatException(record.exc_info)}"


class Round:
    """One server's life."""

    def __init__(self, seed: int, kind: str, corpus: Sequence[bytes]) -> None:
        self.seed, self.kind = seed, kind
        self.like = KINDS[kind]
        self.count = self.like.workers
        self.members = sum(len(each.uris) for each in self.like.upstreams)
        self.draw = random.Random(f"{seed} {kind}")
        self.talker = Talker(self.draw, corpus)
        self.now = START
        self.store = (Failing if self.like.fails else Damaged if self.like.unreadable else Ill)(self.draw)
        self.healthy = not self.like.unreadable
        self.ringing, self.proofs = bytearray(1 << 15), bytearray(1 << 12)  # outlive an engine
        self.sent: list[tuple[bytes, Address]] = []
        self.posted: list[tuple[int, bytes]] = []
        self.messages = 0
        self.verdicts = Counter[int]()
        self.last: tuple[bytes, Address] = (b"", (b"", 0))
        self.found: dict[tuple[Any, ...], bytes] = {}
        self.faults = Faults()
        gc.collect()
        self.before = (live_objects(), live_contexts())
        self.config = Config(
            registrar=Registrar(min_expires=1, max_expires=3_600),
            redial=Redial(
                min_period=1,
                max_period=3_600,
                max_talk=3_600,
                order=self.draw.choice(("serial", "all")),
                callers=self.draw.choice(("any", "any", "local")),
                max_watches=2 if self.like.guarded else Redial().max_watches,
            ),
            upstream=self.like.upstreams,
            peer=(Peer(addresses=("10.0.1.8",), rights=("relay", "path", "refer")),),
            limits=Limits(transactions=100) if self.like.guarded else Limits(),
            rates=TIGHT if self.like.guarded else Rates(),
        )
        self.engines = [self.engine(number) for number in range(self.count)]
        for engine in self.engines:
            self.start(engine)
            engine.commit(self.now)

    def start(self, engine: Engine) -> None:
        engine.start(self.now)

    def engine(self, number: int, *, resumed: bool = False) -> Engine:
        outer = self
        listener = Listener(transport="UDP", host="10.0.0.1", port=5060, sent_by=SERVER)

        class Out(Sink):  # type: ignore[misc]
            def send(self, data: bytes, flow: Flow) -> int:
                outer.sent.append((data, (flow.host.encode(), flow.port)))
                return 0

        def bus(worker: int, frames: list[bytes]) -> None:
            outer.posted += [(worker, frame) for frame in frames]

        return Engine(
            self.config,
            self.store,
            Out(),
            [listener],
            domains=["example.com"],
            worker=number,
            workers=self.count,
            bus=bus if self.count > 1 else None,
            resumed=resumed,
            ringing=self.ringing,
            proofs=self.proofs,
            users=table(USERS) if self.like.guarded else None,
            randomness=self.draw.randbytes,  # a round is the same each time
        )

    # ---- what happens

    def play(self, messages: int) -> None:
        """That many datagrams, then the end. Raises Found."""
        logging.getLogger("sipfast").addHandler(self.faults)
        try:
            while self.messages < messages:
                self.batch()
            self.end()
        except Found:
            raise
        except Exception as error:
            raise self.problem("raised out of the engine") from error
        finally:
            logging.getLogger("sipfast").removeHandler(self.faults)
            for engine in self.engines:
                engine.close()

    def batch(self) -> None:
        draw = self.draw
        self.store.bad = draw.random() < 0.3
        engine = self.engines[draw.randrange(self.count)]
        for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
            self.one(engine)
        if draw.random() < 0.05 and self.talker.requests:
            data, to = draw.choice(self.talker.requests)
            engine.failed(Flow(to[0], to[1]), data[: draw.choice((8, 100, 520))], self.now)
        if draw.random() < 0.5:
            self.pass_time(
                draw.choice((1, 1, 10, 10, 10, 100, 100, 500, 500, 1_000, 5_000, 33_000 if draw.random() < 0.3 else 50))
            )
        if draw.random() < 0.005:
            self.restart(draw.randrange(self.count))
        self.commit()

    def restart(self, number: int) -> None:
        """A worker dies, and another takes its place on what was committed."""
        self.store.abort()
        self.posted = [each for each in self.posted if each[0] != number]
        self.engines[number].close()
        self.engines[number] = self.engine(number, resumed=self.count > 1)
        self.start(self.engines[number])

    def one(self, engine: Engine) -> None:
        data, source = self.last = self.talker.say()
        if self.count > 1:  # as the kernel does: each peer comes to one worker
            engine = self.engines[crc32(source[0]) % self.count if self.draw.random() < 0.95 else 0]
        watched = self.draw.random() < 0.3
        if watched:
            engine.commit(self.now)
        before = len(self.sent)
        self.messages += 1
        self.give(engine, data, Flow(source[0], source[1]))
        if watched:
            engine.commit(self.now)
            starts = {sent.split(b" ", 2)[1 if sent.startswith(b"SIP") else 0] for sent, _ in self.sent[before:]}
            key = (kind_of(data), tuple(sorted(starts)[:3]))
            if key not in self.found and len(data) <= LARGEST_KEPT:
                self.found[key] = data

    def give(self, engine: Engine, data: bytes, flow: Flow) -> None:
        """As the transport does: what is over its source's rate is dropped, or only looked at."""
        verdict = engine.limiter.admits(data, flow, self.now) if self.like.guarded else ADMITTED
        self.verdicts[verdict] += 1
        if verdict == ADMITTED:
            engine.receive(data, flow, self.now)
        elif verdict == OVER:
            engine.receive_over(data, flow, self.now)

    def pass_time(self, ms: int) -> None:
        self.now += ms
        for engine in self.engines:
            engine.advance(self.now)

    def commit(self) -> None:
        for _ in range(10):
            for engine in self.engines:
                engine.commit(self.now)
            posted, self.posted = self.posted, []
            for worker, frame in posted:
                self.engines[worker].told(frame, self.now)
            if not posted:
                break
        sent, self.sent = self.sent, []
        for data, to in sent:
            self.talker.heard(data, to)
        if self.healthy and any(engine.counters()["faults"] for engine in self.engines):
            raise self.problem("a fault")

    def end(self) -> None:
        """All timers run out, nobody answers any more, and the store is well."""
        self.store.bad = False
        until = self.now + AFTERWARDS
        while self.now < until:
            self.pass_time(STEP)
            self.commit()
        members = self.members
        for number, engine in enumerate(self.engines):
            counters = engine.counters()
            left = {name: counters[name] for name in ("server_transactions", "redial_watches", "redial_recalling")}
            probes = members if number == 0 else 0  # the OPTIONS to those that are down
            left["client_transactions"] = max(0, counters["client_transactions"] - probes)
            left["branches"] = counters["branches"] - counters["client_transactions"]
            # Housekeeping, of phones in each worker; for each upstream a timer and those of its OPTIONS; what could not be
            # written is tried again.
            left["timers"] = max(0, counters["timers"] - 1 - (number == 0) - members * (4 if number == 0 else 1))
            if any(left.values()):
                raise self.problem(f"left in worker {number}: { {name: count for name, count in left.items() if count} }")
        self.talker = Talker(self.draw, ())
        gc.collect()
        alive = (live_objects() - self.before[0], live_contexts() - self.before[1])
        if alive[0] > members or alive[1]:
            raise self.problem(f"alive: {alive[0]} transactions, {alive[1]} response contexts")

    def problem(self, what: str) -> Found:
        again = f'make fuzz ARGS="--seed {self.seed} --kind {self.kind} --rounds 1"'
        return Found(f"{what}, after {self.messages} messages; again: {again}\nlast: {self.last!r}\n{self.faults.first}")


# ---- the corpus


def kind_of(data: bytes) -> bytes:
    """Its method, if that is a known one, or the class of its status."""
    return data[:9] if data.startswith(b"SIP/2.0 ") else data[: data.find(b" ")] if data.startswith(METHODS) else b""


def load(directory: Path) -> list[bytes]:
    """Its messages, in an order that depends on nothing else."""
    return [path.read_bytes() for path in sorted(directory.glob("*.sip"))] if directory.is_dir() else []


def keep(directory: Path, messages: Mapping[object, bytes]) -> int:
    """Add those that are the first of what they did, by which they are named; returns how many were new."""
    directory.mkdir(parents=True, exist_ok=True)
    there = len(list(directory.glob("*.sip")))
    kept = 0
    named = {sha1(repr(key).encode(), usedforsecurity=False).hexdigest()[:12]: data for key, data in messages.items()}
    for name, data in sorted(named.items()):  # in no order that prefers a method, where there is no room for all
        path = directory / f"{name}.sip"
        if there + kept < MOST_KEPT and not path.exists():
            path.write_bytes(data)
            kept += 1
    return kept


# ---- runs


def rounds(first: int, kinds: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Seeds and kinds, one after the other."""
    seed = first
    while True:
        for kind in kinds:
            yield seed, kind
        seed += 1


def run(
    seed: int, kinds: Sequence[str], *, seconds: float, most_rounds: int, messages: int, corpus: Path, tell: bool
) -> int:
    """Rounds until the time or their number is up. Prints what was found; returns an exit status."""
    known, begun, played, total = load(corpus), time.monotonic(), Counter[str](), 0
    found: dict[tuple[Any, ...], bytes] = {}
    failures: list[bytes] = []
    for number, (each, kind) in enumerate(rounds(seed, kinds)):
        if number >= most_rounds or time.monotonic() - begun > seconds:
            break
        if tell:  # a sanitizer that finds something ends the process
            print(f"seed {each} {kind}", flush=True)
        game = Round(each, kind, known)
        try:
            game.play(messages)
        except Found as error:
            cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
            print(f"FOUND {error}\n{cause}", flush=True)
            failures.append(game.last[0])
        played[kind] += game.messages
        total += game.messages
        found |= {key: data for key, data in game.found.items() if key not in found}
    if most_rounds > 1:
        new = keep(corpus, dict(zip(failures, failures, strict=True))) + keep(corpus, found)
        print(f"{new} messages are new in {corpus}")
    print(f"{total} messages in {time.monotonic() - begun:.0f} s from seed {seed}: {dict(played)}; {len(failures)} failures")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000_000, help="of the first round")
    parser.add_argument("--seconds", type=float, default=60, help="when to end")
    parser.add_argument("--rounds", type=int, default=1 << 62, help="and how many at the most")
    parser.add_argument("--messages", type=int, default=PER_ROUND, help="of a round")
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all", help="what the server is like")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="a directory of messages")
    given = parser.parse_args()
    logging.getLogger("sipfast").propagate = False
    return run(
        given.seed,
        [*KINDS] if given.kind == "all" else [given.kind],
        seconds=given.seconds,
        most_rounds=given.rounds,
        messages=given.messages,
        corpus=given.corpus,
        tell="libasan" in os.environ.get("LD_PRELOAD", ""),
    )


if __name__ == "__main__":
    sys.exit(main())
