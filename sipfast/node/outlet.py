"""Where events leave the server: a queue, and a thread that empties it into a file, stdout or a webhook.

Whoever has something to tell puts it into the queue and goes on. The queue is bounded: what a slow or dead receiver does not
take in time is lost, the oldest first, and counted. What was taken from the queue is tried until it is taken.
"""

from __future__ import annotations

import errno
import http.client
import logging
import os
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote, urlsplit

from ..config import Config
from ..driver.clock import Clock
from ..errors import ConfigError
from ..observe import steps
from ..observe.steps import Step
from .clock import ahead

log = logging.getLogger(__name__)

AT_A_TIME = 64  # lines of one write: the thread keeps the others of its process from running for so long (about 1 ms)
AT_ONCE = 4096  # bytes of one write to a pipe that come in one piece (PIPE_BUF, pipe(7))
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before what was not taken is tried again; doubles
COMPLAIN_EVERY = 60.0  # seconds
GATHER = 0.02  # seconds in which more may come before the thread looks: waking it costs whoever tells
GRACE = 2.0  # seconds at the end for what is still in the queue
MOST_ANSWER = 1 << 16  # bytes of an answer that are read to keep the connection
FULL = (errno.ENOSPC, errno.EDQUOT)
COME_AGAIN = (408, 425, 429)  # RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4: and 5xx

Item = TypeVar("Item")


class Refused(Exception):
    """The receiver will never take that."""


class Receiver(ABC):
    """Who gets the lines. Only one thread calls it."""

    at_a_time = AT_A_TIME
    name: str
    """For people."""

    @abstractmethod
    def take(self, lines: Sequence[bytes]) -> int:
        """Takes some of them, the first ones; returns how many. Raises OSError where it can not now, Refused where never."""

    @abstractmethod
    def close(self) -> None:
        """Nothing comes any more; or for a while, `take` opens it again."""


class Outlet(Generic[Item]):
    """A queue of `room` items, and the thread that writes each as a line."""

    def __init__(self, receiver: Receiver, line: Callable[[Item], bytes], room: int) -> None:
        self._receiver = receiver
        self._line = line
        self._room = room
        self._queue: deque[Item] = deque()
        self._awake = threading.Event()
        self._ending = threading.Event()
        self._complaints = 0
        self._complained = 0.0
        self._thread = threading.Thread(target=self._run, name=f"to {receiver.name}", daemon=True)
        self._in_hand = 0
        self.written = self.lost = 0

    def start(self) -> None:
        """From now on the queue is emptied."""
        self._thread.start()

    def put(self, items: Sequence[Item]) -> None:
        """Take items to tell. Never waits, never raises."""
        self._queue.extend(items)
        while len(self._queue) > self._room:
            try:
                self._queue.popleft()
            except IndexError:  # the thread has taken them meanwhile
                break
            self.lost += 1
        if not self._awake.is_set():
            self._awake.set()

    def counters(self) -> dict[str, int]:
        """What was counted since the start, by name."""
        waiting = len(self._queue) + self._in_hand
        return {"events_written": self.written, "events_lost": self.lost, "events_waiting": waiting}

    def stop(self) -> None:
        """Write what is there, for GRACE seconds at the most; what is left is lost."""
        self._ending.set()
        self._awake.set()
        self._thread.join(GRACE)
        left = len(self._queue) + self._in_hand
        if left:
            self.lost += left
            about = {"to": self._receiver.name, "lost": left, "why": "the server has ended"}
            log.warning("events-lost", extra={"sip": about})

    def _run(self) -> None:
        while (batch := self._next()) and self._tell(batch):
            pass
        self._receiver.close()

    def _next(self) -> list[bytes]:
        """What is to be written next, waiting for it; nothing at the end."""
        while True:
            batch: list[bytes] = []
            self._awake.clear()  # first: what is put from now on wakes again
            while self._queue and len(batch) < self._receiver.at_a_time:
                with suppress(IndexError):  # there were too many, and it was lost
                    batch.append(self._line(self._queue.popleft()))
            if batch or self._ending.is_set():
                return batch
            self._awake.wait()
            self._ending.wait(GATHER)

    def _tell(self, batch: list[bytes]) -> bool:
        """Have lines taken, however long that lasts. False: the end came first."""
        pause = FIRST_PAUSE
        self._in_hand = len(batch)
        while batch:
            try:
                taken = self._receiver.take(batch)
            except OSError as error:
                self._complain(error.strerror or str(error) or type(error).__name__)
                if self._ending.wait(pause):
                    return False
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            except Exception as error:  # Refused, or a fault of ours: it would be the same again
                self.lost += len(batch)
                self._complain(str(error) if isinstance(error, Refused) else repr(error))
                self._in_hand = 0
                return True
            self.written += taken
            batch = batch[taken:]
            self._in_hand = len(batch)
        if self._complaints:
            self._complaints = 0
            about = {"to": self._receiver.name} | self.counters()
            log.info("events-told-again", extra={"sip": about})
        return True

    def _complain(self, why: str) -> None:
        """Say that events are not taken: the first time, and then once in a while."""
        self._complaints += 1
        now = time.monotonic()
        if self._complaints > 1 and now - self._complained < COMPLAIN_EVERY:
            return
        self._complained = now
        log.error("events-not-told", extra={"sip": {"to": self._receiver.name, "error": why} | self.counters()})


class File(Receiver):
    """A file that lines are added to, by several processes perhaps; begun anew once somebody has moved it away."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._path = Path(path)
        self._open = -1
        self._place = (-1, -1)
        self._doubtful = False  # whether it ends with a whole line

    def take(self, lines: Sequence[bytes]) -> int:
        """Add them."""
        self._follow()
        data = b"".join(each + b"\n" for each in lines)
        if self._doubtful and not self._ends_well():
            data = b"\n" + data  # what was cut off stays a line of its own
        self._doubtful = True
        done = os.write(self._open, data)
        if done < len(data):  # no room: the next write says so. A line that was cut is written again
            return data[:done].lstrip(b"\n").count(b"\n")
        self._doubtful = False
        return len(lines)

    def close(self) -> None:
        """The file is not held open any more."""
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    def _follow(self) -> None:
        """See that the file with our name is open: by its inode, so that whoever rotates it need not tell."""
        place = (-1, -1)
        with suppress(FileNotFoundError):
            there = self._path.stat()
            place = (there.st_dev, there.st_ino)
        if self._open >= 0 and place == self._place:
            return
        self.close()
        self._open = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        now = os.fstat(self._open)
        self._place = (now.st_dev, now.st_ino)
        self._doubtful = True

    def _ends_well(self) -> bool:
        size = os.fstat(self._open).st_size
        with suppress(OSError):  # a pipe has no end that could be looked at
            return not size or os.pread(self._open, 1, size - 1) == b"\n"
        return True


class Stdout(Receiver):
    """Standard output: a pipe mostly, whose reader may share it with other processes."""

    name = "stdout"

    def take(self, lines: Sequence[bytes]) -> int:
        """Write as many of them as come in one piece."""
        data = lines[0] + b"\n"
        count = 1
        while count < len(lines) and len(data) + len(lines[count]) < AT_ONCE:
            data += lines[count] + b"\n"
            count += 1
        while data:
            data = data[os.write(1, data) :]
        return count

    def close(self) -> None:
        """It is not ours to close."""


class Webhook(Receiver):
    """An HTTP server that gets each line as the body of a POST, or several of them as lines (`batch`)."""

    def __init__(self, url: str, timeout: float, batch: int = 1) -> None:
        parts = urlsplit(url)
        # For people without path and password: they may be secrets.
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._timeout = timeout
        self._secure = parts.scheme.lower() == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kind = "application/json" if batch == 1 else "application/x-ndjson"
        self._headers = {"Content-Type": kind, "User-Agent": "sipfast"}
        if parts.username is not None:  # RFC 7617
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        self._connection: http.client.HTTPConnection | None = None
        self.at_a_time = batch

    def take(self, lines: Sequence[bytes]) -> int:
        """One POST of all."""
        kept = self._connection is not None
        body = lines[0] if self.at_a_time == 1 else b"".join(each + b"\n" for each in lines)
        try:
            status = self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A connection that was kept may have been closed meanwhile (RFC 9112 §9.5): once more, on a new one.
            if kept and isinstance(error, ConnectionError | http.client.BadStatusLine):
                return self.take(lines)
            raise error if isinstance(error, OSError) else OSError(f"no HTTP: {error!r}") from error
        if status in COME_AGAIN or status >= 500:
            raise OSError(f"HTTP status {status}")
        if not 200 <= status < 300:
            raise Refused(f"HTTP status {status}")
        return len(lines)

    def close(self) -> None:
        """The next POST makes a connection of its own."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            if self._secure:
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        self._connection.request("POST", self._target, body, self._headers)
        response = self._connection.getresponse()
        response.read(MOST_ANSWER)
        if not response.isclosed():  # it says more than anybody wants to read
            self.close()
        return response.status


class Lines:
    """Steps as JSON, in the machine's time. `worker`: None for the command line."""

    def __init__(self, clock: Clock, worker: int | None) -> None:
        self._clock, self._worker = clock, worker
        self._node = socket.gethostname()
        self._at, self._ms, self._time = -1, 0, ""

    def __call__(self, step: Step) -> bytes:
        """One line, without its end."""
        if step.at != self._at:  # those of a batch have the same
            self._at = step.at
            self._ms = step.at + ahead(self._clock)
            self._time = rfc3339(self._ms)
        return steps.line(step, self._time, self._ms, self._node, self._worker)


def events_outlet(config: Config, clock: Clock, worker: int) -> Outlet[Step] | None:
    """The outlet of one worker's events; None where nobody is told."""
    receiver = receiver_of(config)
    return None if receiver is None else Outlet(receiver, Lines(clock, worker), config.events.queue)


def webhook_outlet(config: Config, clock: Clock, worker: int) -> Outlet[Step] | None:
    """The outlet to the webhook of redial; None where there is none."""
    if not config.redial.webhook:
        return None
    receiver = Webhook(config.redial.webhook, config.events.timeout)
    return Outlet(receiver, Lines(clock, worker), config.events.queue)


def tell_once(config: Config, step: Step, clock: Clock) -> None:
    """Tell of a step from outside of the server, whose stdout nobody else has. Raises OSError where it is not taken."""
    receiver = receiver_of(config) if config.events.to != "stdout" else None
    if receiver is None:
        return
    try:
        receiver.take([Lines(clock, None)(step)])
    except Refused as error:
        raise OSError(str(error)) from None
    finally:
        receiver.close()


def counted(*outlets: Outlet[Step] | None) -> dict[str, int]:
    """What those that there are have counted, all together."""
    total: dict[str, int] = {}
    for each in outlets:
        for name, count in each.counters().items() if each is not None else ():
            total[name] = total.get(name, 0) + count
    return total


def rfc3339(at: int) -> str:
    """Milliseconds since the epoch as RFC 3339 has them, in UTC."""
    seconds, ms = divmod(at, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{ms:03}Z"


def receiver_of(config: Config) -> Receiver | None:
    """Who gets the events; None: nobody."""
    events = config.events
    if events.to == "file":
        return File(events.path)
    if events.to == "stdout":
        return Stdout()
    return Webhook(events.url, events.timeout, events.batch) if events.to == "webhook" else None


def check(config: Config) -> None:
    """See at the start whether the file can be written; a full disk is no reason not to serve. Raises ConfigError."""
    if config.events.to != "file":
        return
    try:
        os.close(os.open(config.events.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
    except OSError as error:
        if error.errno not in (*FULL, errno.ENXIO):  # ENXIO: a FIFO that nobody reads yet
            raise ConfigError(f"cannot write {config.events.path}: {error.strerror}", "events.path") from None
