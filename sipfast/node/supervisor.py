"""Several workers on one address: the supervisor opens what they share, starts them, and starts again one that dies.

It holds the sockets of all workers and the channels between them, and so do they: a worker that dies leaves its sockets
open. The kernel goes on giving the same peers to them, and what comes meanwhile waits there for the worker's successor.

Workers are forked from this process, which has no thread, no loop and no open store: LMDB must not be carried over a
fork. It never touches a message.
"""

from __future__ import annotations

import gc
import logging
import os
import platform
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import NoReturn

from .. import __version__
from .._listener import Listener
from ..config import Config
from ..config.schema import MOST_WORKERS
from ..errors import ConfigError, SipFastError, StoreError
from ..store.repository import Store
from ..transport.sockets import listener_for
from . import admin, bus, clock, outlet, signals, worker

log = logging.getLogger(__name__)

CAN_SHARE = platform.system() == "Linux"
SIGNALS = {*signals.ALL, signal.SIGCHLD}
HEALTHY = 5.0  # seconds: who lives so long did not die of its start
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before a worker that died at once is started again; doubles
LOOK_UP = 0.2  # seconds between looks for a signal while the workers start
GRACE = 10.0  # seconds that workers have to end


def serve(config: Config, announce: Callable[[str], object]) -> None:
    """Serve until SIGTERM, SIGINT or SIGQUIT, with as many workers as configured; a single one is this process itself.

    `announce` gets one line for people that says what is served, once it is. Raises ConfigError, TransportError or
    StoreError where it cannot begin.
    """
    count = config.workers or cores()
    if count == 1:
        worker.serve(config, announce)
        return
    if not CAN_SHARE:
        raise ConfigError(f"workers: only Linux spreads datagrams over the sockets of {count} workers; use 1")
    outlet.check(config)
    with ExitStack() as stack:
        sockets = []
        for index in range(len(config.listen)):
            sockets.append(worker.open_listener(config, index, count))
            for opened in sockets[-1]:
                stack.callback(opened.close)
        listeners = [listener_for(each[0], config.advertise) for each in sockets]
        domains = worker.served_domains(config, listeners)
        hosts = worker.upstream_hosts(config, listeners)
        worker.open_users(config)  # whatever is wrong with them is found here, and once
        # Whatever is wrong with the store is found here, and once.
        tables = worker.open_tables(config, exclusive=True)
        stack.callback(tables.close)
        zero = clock.begin(Store(tables)).zero
        stack.callback(os.close, tables.directory.keep_lock())
        tables.close()
        admin.sweep(config.store.data)
        by_worker = [[each[number] for each in sockets] for number in range(count)]
        supervisor = Supervisor(config, by_worker, listeners, domains, hosts, zero)
        stack.callback(supervisor.close)
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS))
        if not supervisor.start():
            return
        event = {"version": __version__, "process": os.getpid(), "workers": count}
        log.info("started", extra={"sip": event})
        announce(f"{worker.describe(config, listeners, domains)}; {count} workers{worker.warn_open(config)}")
        why = supervisor.watch()
        log.info("stopped", extra={"sip": {"by": why, "workers": count, "restarts": supervisor.restarts}})


def cores() -> int:
    """A worker for each core that this process may use, MOST_WORKERS at most; 1 where several cannot share an address."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS) if CAN_SHARE else 1


class Supervisor:
    """Starts the workers, watches over them, and ends them. SIGNALS must be blocked."""

    def __init__(
        self,
        config: Config,
        sockets: list[list[socket.socket]],
        listeners: list[Listener],
        domains: list[str],
        hosts: dict[str, list[str]],
        zero: int,
    ) -> None:
        self._zero = zero
        self._config = config
        self._sockets = sockets
        self._listeners = listeners
        self._domains = domains
        self._hosts = hosts
        self._channels = bus.channels(len(sockets))
        self._lifeline = os.pipe()  # nobody writes: its end is the supervisor's
        self._ready = os.pipe()
        self._workers: dict[int, int] = {}  # process -> number
        self._started: dict[int, float] = {}  # number -> when
        self._pauses: dict[int, float] = {}  # number -> the last pause before its restart
        self._due: dict[int, float] = {}  # number -> when it is to be started again
        self.restarts = 0

    def start(self) -> bool:
        """Start all workers and wait until they serve; False where the end was asked for before. Raises StoreError."""
        gc.freeze()  # workers share these pages as long as nobody touches them
        for number in range(len(self._sockets)):
            self._spawn(number, resumed=False)
        os.close(self._ready[1])
        served = 0
        while served < len(self._sockets):
            readable, _, _ = select.select([self._ready[0]], [], [], LOOK_UP)
            pending = signal.sigpending() & {*signals.ENDING}
            if not readable and pending:
                log.info("stopped", extra={"sip": {"by": signals.name(min(pending)), "served": False}})
                self._end()
                return False
            if not readable:
                continue
            come = len(os.read(self._ready[0], 64))
            served += come
            if not come:
                break
        os.close(self._ready[0])
        self._ready = (-1, -1)
        if served < len(self._sockets):
            self._end()
            raise StoreError("a worker could not start: see the log above")
        return True

    def watch(self) -> str:
        """Start again who dies, until a signal asks for the end; then end all. Returns that signal's name."""
        while True:
            now = time.monotonic()
            for number, due in [*self._due.items()]:
                if due <= now:
                    del self._due[number]
                    self._spawn(number, resumed=True)
            pause = min(self._due.values(), default=now + 3600.0) - now
            caught = signal.sigtimedwait(SIGNALS, max(pause, 0.0))
            if caught is not None and caught.si_signo in signals.ENDING:
                self._end()
                return signals.name(caught.si_signo)
            if caught is not None and caught.si_signo in signals.IGNORED:
                signals.ignored(caught.si_signo)
            self._bury()

    def close(self) -> None:
        """Close the channels. The sockets are the caller's."""
        for reader, writer in self._channels:
            reader.close()
            writer.close()
        for end in self._lifeline:
            os.close(end)

    def _spawn(self, number: int, *, resumed: bool) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            self._become(number, resumed)
        self._workers[process] = number
        self._started[number] = time.monotonic()

    def _become(self, number: int, resumed: bool) -> NoReturn:
        """In the forked process: be a worker until the end."""
        status = 1
        try:
            signals.take_over("worker-stopped", worker=number, process=os.getpid(), served=False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(self._lifeline[1])
            if self._ready[0] >= 0:
                os.close(self._ready[0])
            for other, sockets in enumerate(self._sockets):
                if other != number:
                    for each in sockets:
                        each.close()
                    self._channels[other][0].close()
            place = worker.Place(
                number=number,
                count=len(self._sockets),
                sockets=self._sockets[number],
                listeners=self._listeners,
                domains=self._domains,
                hosts=self._hosts,
                zero=self._zero,
                reader=self._channels[number][0],
                writers=[writer for _, writer in self._channels],
                lifeline=self._lifeline[0],
                resumed=resumed,
            )
            worker.serve_with_others(self._config, place, self._say_ready)
            status = 0
        except SipFastError as error:
            log.error("worker-failed", extra={"sip": {"worker": number, "reason": str(error)}})
        except SystemExit:  # told to end before it served
            status = 0
        except BaseException:
            log.critical("worker-crashed", exc_info=True, extra={"sip": {"worker": number}})
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _say_ready(self) -> None:
        if self._ready[1] >= 0:
            os.write(self._ready[1], b".")
            os.close(self._ready[1])

    def _bury(self) -> None:
        """Take note of who has died, and when each is to be started again."""
        for process, status in self._dead():
            number = self._workers.pop(process)
            now = time.monotonic()
            pause = 0.0
            if now - self._started[number] < HEALTHY:
                pause = min(self._pauses.get(number, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE)
                self._pauses[number] = pause
            else:
                self._pauses.pop(number, None)
            self._due[number] = now + pause
            self.restarts += 1
            event = {"worker": number, "process": process, "status": status, "restart_in": pause}
            log.error("worker-died", extra={"sip": event})

    def _dead(self) -> list[tuple[int, int]]:
        """Processes of ours that have ended, and their status; negative: the signal."""
        found = []
        for process in [*self._workers]:
            with suppress(ChildProcessError):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    found.append((process, os.waitstatus_to_exitcode(status)))
        return found

    def _end(self) -> None:
        """Ask all workers to end, and make them after a while."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._workers:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
            until = time.monotonic() + GRACE
            while self._workers and time.monotonic() < until:
                signal.sigtimedwait({signal.SIGCHLD}, 0.1)
                for process, _ in self._dead():
                    del self._workers[process]
