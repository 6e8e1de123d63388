"""One process that serves, alone or as one of several: it runs the engine on a uvloop loop, and ends it cleanly.

The order at the start is such that a mistake changes nothing: the ports first (a second server is told so before it
touches the data), then names, then the store, and only then the engine. Datagrams that come meanwhile wait in the
sockets. At the end nothing is read any more, what is due is done, committed and sent, and the store is synchronised.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import mmap
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import uvloop

from .. import __version__
from .._listener import Listener
from ..config import Config
from ..config.addresses import in_uri, is_ip, parse_listen, parse_upstream
from ..config.schema import is_for_anybody
from ..driver.clock import Clock
from ..driver.driver import Driver
from ..engine.engine import Engine
from ..errors import ConfigError, StoreError
from ..observe.faults import Complaints
from ..observe.steps import Step
from ..store.backends.lmdb import LmdbTables
from ..store.repository import Store
from ..transport.dns import Resolver
from ..transport.sockets import listener_for, open_shared, open_socket, primary_address, resolve_all
from ..transport.udp import UdpTransport, interface_addresses
from . import admin, clock, memory, outlet, signals
from .bus import Bus
from .user_watch import UserWatch

log = logging.getLogger(__name__)

TIME_KEPT_EVERY = 5.0  # seconds, where something was written
GRACE = 10.0  # seconds that the server has to finish what it is doing once it is told to end
WILDCARDS = ("0.0.0.0", "::")
RINGING_SIZE = 8 << 20  # bytes: 65,536 branches of INVITEs
PROOFS_SIZE = 2 << 20  # bytes: 262,144 addresses
LIMITS_SIZE = 16 << 20  # bytes: 262,144 addresses and registered flows


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor gives to one of several workers."""

    number: int
    count: int
    sockets: Sequence[socket.socket]
    listeners: Sequence[Listener]
    domains: Sequence[str]
    hosts: Mapping[str, Sequence[str]]
    reader: socket.socket
    """Where this worker reads what the others hand over."""
    writers: Sequence[socket.socket]
    """Where each worker, by number, is written to."""
    zero: int
    """The clock's (clock.py): all workers have the same time."""
    lifeline: int
    """Ends when the supervisor does."""
    resumed: bool
    """The worker that had this number has died, and the others went on."""


def serve(config: Config, announce: Callable[[str], object]) -> None:
    """Serve alone until SIGTERM or SIGINT. `announce` gets one line for people that says what is served, once it is.

    Raises ConfigError, TransportError or StoreError where it cannot begin; then nothing has been changed.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, announce))
    finally:
        faulthandler.cancel_dump_traceback_later()


def serve_with_others(config: Config, place: Place, ready: Callable[[], object]) -> None:
    """Serve as one of several until SIGTERM or SIGINT, or until the supervisor is gone. `ready` is called once it does.

    Raises StoreError where it cannot begin.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_with_others(config, place, ready))
    finally:
        faulthandler.cancel_dump_traceback_later()


async def _serve(config: Config, announce: Callable[[str], object]) -> None:
    outlet.check(config)
    with ExitStack() as stack:
        sockets = [open_listener(config, index)[0] for index in range(len(config.listen))]
        for opened in sockets:
            stack.callback(opened.close)
        listeners = [listener_for(opened, config.advertise) for opened in sockets]
        domains = served_domains(config, listeners)
        hosts = upstream_hosts(config, listeners)
        watch = open_users(config)
        store = Store(open_tables(config, exclusive=True))
        stack.callback(store.close)
        admin.sweep(config.store.data)
        driver = Driver(asyncio.get_running_loop(), clock.begin(store), Complaints(log, time.monotonic))
        stack.callback(driver.close)
        told = begin(outlet.events_outlet(config, driver.clock, 0), stack)
        knocks = begin(outlet.webhook_outlet(config, driver.clock, 0), stack)
        transport = UdpTransport(driver)
        for opened in sockets:
            transport.add(opened)
        resolver = Resolver(asyncio.get_running_loop(), driver, [listener.family for listener in listeners])
        stack.callback(resolver.stop)
        engine = Engine(
            config,
            store,
            driver,
            listeners,
            domains=domains,
            hosts=hosts,
            ringing=open_ringing(config),
            proofs=open_proofs(config),
            limits=open_limits(config),
            outlet=told.put if told else None,
            webhook=knocks.put if knocks else None,
            resolver=resolver,
            users=watch.users if watch else None,
        )

        def counters() -> dict[str, int]:
            return driver.counters() | transport.counters() | engine.counters() | outlet.counted(told, knocks)

        asked = admin.Admin(asyncio.get_running_loop(), config.store.data, 0, counters)

        def begun() -> None:
            asked.start()
            stack.callback(asked.stop)
            log.info("started", extra={"sip": {"version": __version__, "process": os.getpid()}})
            announce(describe(config, listeners, domains) + warn_open(config))

        why = await run(config, store, driver, engine, begun, watch)
        log.info("stopped", extra={"sip": {"by": why} | counters()})
        engine.close()


async def _serve_with_others(config: Config, place: Place, ready: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        driver = Driver(loop, Clock(place.zero), Complaints(log, time.monotonic))
        stack.callback(driver.close)
        told = begin(outlet.events_outlet(config, driver.clock, place.number), stack)
        knocks = begin(outlet.webhook_outlet(config, driver.clock, place.number), stack)
        transport = UdpTransport(driver)
        for opened in place.sockets:
            transport.add(opened)
        watch = open_users(config)
        store = Store(open_tables(config, exclusive=False))
        stack.callback(store.close)
        bus = Bus(loop, place.reader, place.writers)
        resolver = Resolver(loop, driver, [listener.family for listener in place.listeners])
        stack.callback(resolver.stop)
        engine = Engine(
            config,
            store,
            driver,
            place.listeners,
            domains=place.domains,
            hosts=place.hosts,
            worker=place.number,
            workers=place.count,
            bus=bus.post,
            resumed=place.resumed,
            ringing=open_ringing(config),
            proofs=open_proofs(config),
            limits=open_limits(config),
            outlet=told.put if told else None,
            webhook=knocks.put if knocks else None,
            resolver=resolver,
            users=watch.users if watch else None,
        )

        def counters() -> dict[str, int]:
            counts = driver.counters() | transport.counters() | engine.counters() | bus.counters()
            return counts | outlet.counted(told, knocks)

        asked = admin.Admin(loop, config.store.data, place.number, counters)

        def begun() -> None:
            bus.start(driver.told)
            stack.callback(bus.stop)
            asked.start()
            stack.callback(asked.stop)
            event = {"worker": place.number, "process": os.getpid()}
            log.log(logging.INFO if place.resumed else logging.DEBUG, "worker-started", extra={"sip": event})
            ready()

        why = await run(config, store, driver, engine, begun, watch, place.lifeline)
        log.info("worker-stopped", extra={"sip": {"worker": place.number, "by": why} | counters()})
        engine.close()


async def run(
    config: Config,
    store: Store,
    driver: Driver,
    engine: Engine,
    begun: Callable[[], object],
    watch: UserWatch | None = None,
    lifeline: int = -1,
) -> str:
    """Start the engine, serve until the end is asked for, and finish what is due. Returns what asked: a signal's name."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    asked: list[str] = []

    def end(by: str) -> None:
        asked.append(by)
        ended.set()
        driver.stop()  # whatever still comes is not begun with
        faulthandler.dump_traceback_later(GRACE, exit=True)  # a thread that needs nothing of this one

    engine.start(driver.clock.now())
    gc.collect()
    gc.freeze()  # what is there now stays: collections need not look at it again
    signals.listen(loop, end)
    if lifeline >= 0:
        loop.add_reader(lifeline, end, "supervisor gone")
    driver.start(engine)
    begun()
    timekeeper = loop.create_task(keep_time(store, driver.clock, ended))
    trimming = loop.create_task(memory.keep_trimmed(lambda: engine.counters()["held_bytes"], ended))
    watcher = loop.create_task(watch.run(ended, engine.know)) if watch is not None else None
    await keep_flushed(store, config, ended)
    await timekeeper
    await trimming
    if watcher is not None:
        await watcher
    if lifeline >= 0:
        loop.remove_reader(lifeline)
    driver.stop()
    engine.ending(driver.clock.now())
    driver.advance()
    return asked[0]


def begin(told: outlet.Outlet[Step] | None, stack: ExitStack) -> outlet.Outlet[Step] | None:
    """Begin with an outlet, if there is one; with `stack` it ends, once nobody has anything to tell any more."""
    if told is not None:
        told.start()
        stack.callback(told.stop)
    return told


def open_tables(config: Config, *, exclusive: bool) -> LmdbTables:
    """The back end that the configuration names. Raises StoreError."""
    tables = LmdbTables(
        config.store.data,
        durability=config.store.durability,
        map_size_gib=config.store.map_size,
        exclusive=exclusive,
        now=clock.machine_time(),  # of a format that has no anchor yet
    )
    copy = tables.directory.upgraded
    if copy is not None:
        log.warning("store-upgraded", extra={"sip": {"data": config.store.data, "copy": str(copy)}})
    return tables


def open_users(config: Config) -> UserWatch | None:
    """Who has a password; None: nobody is asked for one. Raises ConfigError."""
    return UserWatch(Path(config.users)) if config.users else None


def open_ringing(config: Config) -> mmap.mmap | bytearray:
    """The memory for INVITEs that may still ring; without room on the disk what rings at a crash cannot be cancelled."""
    return open_memory(config, "ringing", RINGING_SIZE)


def open_proofs(config: Config) -> mmap.mmap | bytearray:
    """The memory for who is proven; without room on the disk each worker has its own, and it ends with the process."""
    return open_memory(config, "proofs", PROOFS_SIZE)


def open_limits(config: Config) -> mmap.mmap | bytearray:
    """The memory for what each source has sent; without room on the disk each worker counts alone."""
    return open_memory(config, "limits", LIMITS_SIZE)


def open_memory(config: Config, name: str, size: int) -> mmap.mmap | bytearray:
    """Memory that outlives the process, a file beside the store that all workers map.

    Without room on the disk it is memory of this process, and a line of the log says so.
    """
    path = Path(config.store.data) / name
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(opened, 0, size)  # a mapped page that the disk has no room for is a SIGBUS
            return mmap.mmap(opened, size)
        finally:
            os.close(opened)
    except OSError as error:
        log.warning(f"{name}-not-kept", extra={"sip": {"file": str(path), "error": error.strerror or str(error)}})
        return bytearray(size)


def open_listener(config: Config, index: int, count: int = 1) -> list[socket.socket]:
    """The sockets of `listen[index]`, one for each worker. Raises TransportError, or ConfigError, naming the key."""
    listen = config.listen[index]
    try:
        return [open_socket(listen)] if count == 1 else open_shared(listen, count)
    except ConfigError as error:
        raise ConfigError(error.reason, f"listen[{index}]") from None


def served_domains(config: Config, listeners: Sequence[Listener]) -> list[str]:
    """The configured domains, else this machine's names and addresses; lower-case, IPv6 without brackets."""
    names = list(config.domains)
    if not names:
        fqdn = socket.getfqdn()
        names += [] if is_ip(fqdn) or fqdn.endswith(".arpa") else [fqdn]
        names += [socket.gethostname(), "localhost", "127.0.0.1", "::1", *interface_addresses()]
        names += [primary_address(socket.AF_INET), primary_address(socket.AF_INET6), config.advertise]
        names += [parse_listen(listen)[1] for listen in config.listen]
        names += [listener.host for listener in listeners]
    plain = [name.strip("[]").rstrip(".").lower() for name in names]
    return list(dict.fromkeys(name for name in plain if name and name not in WILDCARDS))


def upstream_hosts(config: Config, listeners: Sequence[Listener]) -> dict[str, list[str]]:
    """The addresses of each upstream's hosts, in families that are listened on. Raises ConfigError, naming the key."""
    kinds = {4: socket.AF_INET, 6: socket.AF_INET6}
    families = list(dict.fromkeys(kinds[listener.family] for listener in listeners))
    hosts = {}
    for index, upstream in enumerate(config.upstream):
        for uri in upstream.uris:
            host, _ = parse_upstream(uri)
            try:
                hosts[host] = [address for _, address in resolve_all(host, families)]
            except ConfigError as error:
                raise ConfigError(f"upstream[{index}].uri: {error}") from None
    return hosts


def warn_open(config: Config) -> str:
    """A line for people where anybody may register; "": nobody may."""
    if not is_for_anybody(config):
        return ""
    return "\nAnybody may register here, by any name: there are no users (sipfast users add, then --users FILE)"


def describe(config: Config, listeners: Sequence[Listener], domains: Sequence[str]) -> str:
    """What is served, in one line."""
    parts = []
    for listener in listeners:
        bound, public = f"{in_uri(listener.host)}:{listener.port}", listener.sent_by.decode()
        parts.append(f"udp:{bound}" + ("" if public == bound else f" as {public}"))
    everything = any(not upstream.domains for upstream in config.upstream) and not config.domains
    shown = ["any domain"] if everything else [in_uri(domain) for domain in domains]
    more = f" and {len(shown) - 5} more" if len(shown) > 6 else ""
    behind = [
        f" {', '.join(upstream.uris)}" + (f" for {', '.join(upstream.domains)}" if upstream.domains else "")
        for upstream in config.upstream
    ]
    return (
        f"sipfast {__version__} serves {', '.join(shown[: 5 if more else 6])}{more} on {', '.join(parts)}; "
        f"data in {Path(config.store.data).absolute()}; "
        + (f"upstream{';'.join(behind)}; " if behind else "")
        + ("redial on" if config.redial.enabled else "redial off")
    )


async def keep_time(store: Store, own: Clock, ended: asyncio.Event) -> None:
    """Until the end, and then once more, note in the store how late it is (clock.py)."""
    noted = store.writes
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), TIME_KEPT_EVERY)
        if store.writes != noted or ended.is_set():
            try:
                clock.keep(store, own)
            except StoreError as error:
                store.abort()
                log.error("clock-not-kept", extra={"sip": {"reason": str(error)}})
            noted = store.writes
        if ended.is_set():
            return


async def keep_flushed(store: Store, config: Config, ended: asyncio.Event) -> None:
    """Until the end, push what was committed to the disk every so often, from a thread: it takes a disk's time."""
    if config.store.durability == "power":
        await ended.wait()
        return
    loop = asyncio.get_running_loop()
    flushed = 0  # the engine has written at its start, perhaps
    while not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), config.store.flush_interval)
        written = store.writes
        if written == flushed or ended.is_set():
            continue
        try:
            await loop.run_in_executor(None, store.flush)
            flushed = written
        except StoreError as error:
            log.error("flush-failed", extra={"sip": {"reason": str(error)}})
