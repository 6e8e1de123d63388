"""One measurement: a mode of the generator against a server for some seconds, and what it came to."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

from ..accounting import busy_seconds, cpu_seconds, kernel_drops
from ..build import ensure_built

MODES = ("echo", "options", "register", "register-digest", "call", "redial", "redial-notify", "callback", "b2bua")
MODES += ("presence", "storm", "ordinary")
WINDOW = 128  # for all alike: neither Kamailio nor sipfast gains from a wider one
NARROW = {"storm": 64, "ordinary": 64}  # beside each other
SIZES = {"echo": 1024, "options": 1024, "register": 100_000, "register-digest": 100_000}
SIZES |= dict.fromkeys(("call", "redial", "redial-notify", "callback", "b2bua", "presence", "ordinary"), 1000)
SIZES |= {"storm": 100_000}
LINGER = 5.0  # seconds that calls in flight are waited for at the end


@dataclass
class Result:
    """What a run measured. A cycle is a transaction, a call, or a whole redial."""

    mode: str
    rate: float
    """cycles begun a second; 0: closed loop"""
    seconds: float
    counters: dict[str, int]
    cycles_per_second: float
    messages_per_second: float
    """datagrams sent to the server"""
    cpu_us_per_message: float
    """of all the server's processes, by datagram sent to it"""
    cpu_us_per_cycle: float
    latency_us: dict[str, float]
    others: float
    """cores that everybody else on the machine kept busy meanwhile: the noise"""
    generator_us_per_message: float
    """the generator's own CPU time for a datagram sent and one received, without its waiting: its limit is 1 / this"""
    drops_server: int
    drops_generator: int
    complaints: list[tuple[str, str]] = field(default_factory=list)
    recall_us: dict[str, float] = field(default_factory=dict)
    """of redial: from the callee's REGISTER to the caller's REFER"""

    @property
    def clean(self) -> bool:
        """Whether every answer was right and none was missing."""
        return not (self.counters["wrong"] or self.counters["lost"] or self.counters["stray"])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def generator(mode: str, server: tuple[str, int], **options: Any) -> Any:
    """A generator for a mode; see Generator for the options."""
    ensure_built("loadgen")
    from . import b2bua, callback, calls, core, digest, presence, redial, requests, storm

    assert core
    options.setdefault("size", SIZES[mode])
    options.setdefault("window", NARROW.get(mode, WINDOW))
    kinds = {
        "echo": requests.Echo,
        "options": requests.Options,
        "register": requests.Register,
        "register-digest": digest.RegisterDigest,
        "call": calls.Calls,
        "redial": redial.Redial,
        "redial-notify": redial.Redial,
        "callback": callback.Callback,
        "b2bua": b2bua.B2bua,
        "presence": presence.Presence,
        "storm": storm.Storm,
        "ordinary": storm.Ordinary,
    }
    if mode == "redial-notify":
        options["notify"] = True
    return kinds[mode](server, ends=1 if mode in ("echo", "options", "register", "register-digest") else 2, **options)


def prepare(load: Any, mode: str) -> Result | None:
    """What a mode needs before: all users bound, or all callees. Returns how the binding went."""
    calling = mode in ("call", "ordinary")
    if calling:
        load.bind()
    if not calling and not mode.startswith("register"):
        return None
    seconds = load.run(60, limit=load.size)
    load.drain(LINGER)
    bound = result(load, mode, 0, seconds, 0.0, (0, 0))
    if not bound.clean or bound.counters["completed"] != load.size:
        raise RuntimeError(f"not all users could be bound: {bound}")
    if calling:
        load.bind(False)
    load.reset()
    return bound


def measure(
    load: Any,
    mode: str,
    port: int,
    pid: int,
    seconds: float,
    *,
    rate: float = 0,
    warm_up: float = 0.3,
    patience: float = 0,
) -> Result:
    """Run a prepared generator against the server with this port and process.

    patience: seconds to wait at the most, before it begins, for everybody else on the machine to be quiet.
    """
    load.set_rate(rate)
    wait_for_calm(patience)
    if warm_up:
        load.run(warm_up)
        load.drain(LINGER)
    load.reset()
    before = cpu_seconds(pid), kernel_drops(port), sum(map(kernel_drops, load.ports))
    own, busy, began = time.process_time(), busy_seconds(), time.monotonic()
    took = load.run(seconds)
    completed = load.counters()["completed"]
    load.drain(LINGER)
    worked = time.process_time() - own - load.idle / 1e9
    cpu = cpu_seconds(pid) - before[0]
    others = busy_seconds() - busy - cpu - (time.process_time() - own)
    others = max(others / (time.monotonic() - began), 0.0)
    drops = kernel_drops(port) - before[1], sum(map(kernel_drops, load.ports)) - before[2]
    return result(load, mode, rate, took, cpu, drops, completed, others, worked)


def wait_for_calm(patience: float) -> None:
    """Return once the machine was idle for a moment, or after `patience` seconds."""
    until = time.monotonic() + patience
    calm = False
    while not calm and time.monotonic() < until:
        busy = busy_seconds()
        time.sleep(0.3)
        calm = busy_seconds() - busy < 0.03


def fetch(load: Any) -> int:
    """How many of a register mode's users the server says to have bound as they asked. Ask each once."""
    load.set_rate(0)
    load.fetch()
    load.reset()
    load.run(60, limit=load.size)
    load.drain(LINGER)
    counters: dict[str, int] = load.counters()
    return counters["completed"]


def result(
    load: Any,
    mode: str,
    rate: float,
    seconds: float,
    cpu: float,
    drops: tuple[int, int],
    completed: int | None = None,
    others: float = 0.0,
    worked: float = 0.0,
) -> Result:
    """What the generator has counted. `completed`: by the end of `seconds`, without what came while it drained."""
    counters = load.counters()
    done = counters["completed"] if completed is None else completed
    return Result(
        mode=mode,
        rate=rate,
        seconds=seconds,
        counters=counters,
        cycles_per_second=done / seconds,
        messages_per_second=done / seconds * counters["sent"] / max(counters["completed"], 1),
        cpu_us_per_message=cpu * 1e6 / max(counters["sent"], 1),
        cpu_us_per_cycle=cpu * 1e6 / max(counters["completed"], 1),
        latency_us=percentiles(load.latencies()),
        others=others,
        generator_us_per_message=worked * 1e6 / max(counters["sent"], 1),
        drops_server=drops[0],
        drops_generator=drops[1],
        complaints=[(reason, data.decode("utf-8", "backslashreplace")) for reason, data in load.complaints()],
        recall_us=percentiles(load.recalls()) if mode in ("redial", "redial-notify", "callback", "b2bua") else {},
    )


def percentiles(latencies: list[tuple[int, int]]) -> dict[str, float]:
    """p50, p99, p99.9 and the greatest, in microseconds."""
    histogram = HdrHistogram(1, 600_000_000_000, 3)  # nanoseconds, up to ten minutes
    for nanoseconds, count in latencies:
        histogram.record_value(max(nanoseconds, 1), count)
    names = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
    return {name: histogram.get_value_at_percentile(percent) / 1000 for name, percent in names.items()}
