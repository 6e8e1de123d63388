"""How the command line asks a running server: each worker has a socket in the folder `workers` of the data directory.

Who connects gets one JSON object and the end of the stream. Nothing is read from it, so that nothing can be asked in a wrong
way, and who may look into the data directory may ask.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FOLDER = "workers"
WAITING = 16  # who asks at a time
PATIENCE = 2.0  # seconds that a worker may take to answer
MOST_PATH = 100  # bytes of a socket's path: sockaddr_un has room for 107


class Admin:
    """Answers for one worker. `counters()` is what it has counted."""

    def __init__(self, loop: AbstractEventLoop, data: str, number: int, counters: Callable[[], dict[str, int]]) -> None:
        self._loop = loop
        self._place = Path(data) / FOLDER / f"{number}.sock"
        self._number = number
        self._counters = counters
        self._began = time.monotonic()
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Answer from now on. Where that cannot be, the server serves without it, and says so."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._place.parent.mkdir(mode=0o700, exist_ok=True)
            self._place.unlink(missing_ok=True)  # of a worker that was killed
            before = os.umask(0o177)
            try:
                with short(self._place) as address:
                    opened.bind(address)
            finally:
                os.umask(before)
            opened.listen(WAITING)
        except OSError as error:
            opened.close()
            log.warning("cannot-be-asked", extra={"sip": {"socket": str(self._place), "reason": error.strerror}})
            return
        opened.setblocking(False)
        self._socket = opened
        self._loop.add_reader(opened.fileno(), self._answer)

    def stop(self) -> None:
        """Answer no more."""
        opened, self._socket = self._socket, None
        if opened is not None:
            self._loop.remove_reader(opened.fileno())
            opened.close()
            with suppress(OSError):
                self._place.unlink()

    def _answer(self) -> None:
        assert self._socket is not None
        for _ in range(WAITING):
            try:
                asking, _ = self._socket.accept()
            except OSError:  # nobody any more, or no descriptor left
                return
            told = {
                "worker": self._number,
                "process": os.getpid(),
                "uptime": round(time.monotonic() - self._began),
                "counters": self._counters(),
            }
            with asking, suppress(OSError):  # a few kilobytes: the kernel has room for them at once
                asking.setblocking(False)
                asking.send(json.dumps(told).encode())


def sweep(data: str) -> None:
    """Remove the sockets that a killed server has left. For who holds the lock of the data directory."""
    for place in places(data):
        with suppress(OSError):
            place.unlink()


def places(data: str) -> list[Path]:
    """The sockets of all workers, by number."""
    found = [place for place in (Path(data) / FOLDER).glob("*.sock") if place.stem.isdigit()]
    return sorted(found, key=lambda place: int(place.stem))


def ask(place: Path) -> dict[str, Any] | None:
    """What a worker says; None where it does not. Takes PATIENCE seconds at most."""
    until = time.monotonic() + PATIENCE
    said = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(PATIENCE)
            with short(place) as address:
                asking.connect(address)
            while data := asking.recv(1 << 16):
                said += data
                asking.settimeout(max(until - time.monotonic(), 0.01))
        told = json.loads(said)
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


@contextmanager
def short(place: Path) -> Iterator[str]:
    """A path to a socket that fits into its address, however deep it lies."""
    if len(os.fsencode(place)) <= MOST_PATH:
        yield str(place)
        return
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{place.name}"
    finally:
        os.close(folder)
