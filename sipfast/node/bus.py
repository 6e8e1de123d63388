"""The bus between workers: one AF_UNIX datagram socket for each, into which all the others write.

Frames are opaque. Those that one batch has for one worker travel together, in datagrams of up to MOST bytes, each frame
with its length in front; they arrive in the order of their sending. What the kernel has no room for waits here; a worker
that does not read for long loses what comes after BACKLOG datagrams, which is counted.

The supervisor makes the sockets and keeps them open, so what is sent to a worker that has died is there for the next one
of its number.
"""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from struct import Struct

from ..transport.udp_socket import widen

MOST = 60_000  # bytes of frames in one datagram, unless a single frame is longer
READ = 1 << 18  # bytes: longer than any datagram
READS = 16  # datagrams in one wake of the loop
BUFFER = 4 << 20
BACKLOG = 4096

_LENGTH = Struct("<I")

Channel = tuple[socket.socket, socket.socket]
"""Where a worker reads, and where the others write to it."""


def channels(count: int) -> list[Channel]:
    """A channel for each worker."""
    made = []
    for _ in range(count):
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (reader, writer):
            end.setblocking(False)
            widen(end, BUFFER)
        made.append((reader, writer))
    return made


def pack(frames: Iterable[bytes]) -> list[bytes]:
    """The datagrams that carry the frames."""
    datagrams = []
    parts: list[bytes] = []
    size = 0
    for frame in frames:
        if parts and size + len(frame) > MOST:
            datagrams.append(b"".join(parts))
            parts, size = [], 0
        parts += (_LENGTH.pack(len(frame)), frame)
        size += len(frame) + 4
    if parts:
        datagrams.append(b"".join(parts))
    return datagrams


def unpack(datagram: bytes | memoryview) -> list[bytes]:
    """The frames of a datagram."""
    frames = []
    at, end = 0, len(datagram)
    while at < end:
        (size,) = _LENGTH.unpack_from(datagram, at)
        frames.append(bytes(datagram[at + 4 : at + 4 + size]))
        at += 4 + size
    return frames


class Bus:
    """One worker's place on the bus: it reads from `reader` and writes to `writers`, one for each worker by number.

    `told(frames)` gets the frames of one wake.
    """

    def __init__(self, loop: AbstractEventLoop, reader: socket.socket, writers: Sequence[socket.socket]) -> None:
        self._loop = loop
        self._reader = reader
        self._writers = list(writers)
        self._space = memoryview(bytearray(READ))
        self._waiting: list[deque[bytes]] = [deque() for _ in writers]
        self._told: Callable[[list[bytes]], object] = lambda frames: None
        self._counts = dict.fromkeys(("bus_sent", "bus_received", "bus_dropped"), 0)

    def start(self, told: Callable[[list[bytes]], object]) -> None:
        """Read from now on."""
        self._told = told
        self._loop.add_reader(self._reader.fileno(), self._readable)

    def stop(self) -> None:
        """Read no more; what waits is given up."""
        self._loop.remove_reader(self._reader.fileno())
        for writer, waiting in zip(self._writers, self._waiting, strict=True):
            if waiting:
                self._loop.remove_writer(writer.fileno())
                self._counts["bus_dropped"] += len(waiting)
                waiting.clear()

    def post(self, worker: int, frames: list[bytes]) -> None:
        """Send frames to a worker. Never raises."""
        waiting = self._waiting[worker]
        for datagram in pack(frames):
            if waiting or not self._send(worker, datagram):
                if len(waiting) >= BACKLOG:
                    self._counts["bus_dropped"] += 1
                    continue
                if not waiting:
                    self._loop.add_writer(self._writers[worker].fileno(), self._writable, worker)
                waiting.append(datagram)

    def _send(self, worker: int, datagram: bytes) -> bool:
        """False where there is no room now."""
        try:
            self._writers[worker].send(datagram)
            self._counts["bus_sent"] += 1
        except BlockingIOError:
            return False
        except OSError:  # the supervisor is gone, and this process about to end
            self._counts["bus_dropped"] += 1
        return True

    def _writable(self, worker: int) -> None:
        waiting = self._waiting[worker]
        while waiting and self._send(worker, waiting[0]):
            waiting.popleft()
        if not waiting:
            self._loop.remove_writer(self._writers[worker].fileno())

    def _readable(self) -> None:
        frames: list[bytes] = []
        for _ in range(READS):
            try:
                size = self._reader.recv_into(self._space)
            except BlockingIOError:
                break
            self._counts["bus_received"] += 1
            frames += unpack(self._space[:size])
        self._told(frames)

    def counters(self) -> dict[str, int]:
        """Datagrams since the start."""
        return dict(self._counts)
