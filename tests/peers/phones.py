"""Many phones on one real socket: the scripted phones of the virtual network (phone.py), on loopback and on the clock.

SIPp keeps no state from one call to the next, so a phone that arms, survives a dead server, is recalled and calls
again is these. A thousand of them share a socket; what comes is given to the phone whose user it names.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator

from net.phone import Phone
from net.sipwire import Sip, uri_of

from .process import HERE, Place

BUFFER = 4 << 20  # octets; a burst to a thousand phones waits here


class Fleet:
    """Phones named prefix0, prefix1, ... at one address, all registering and calling through one server."""

    def __init__(self, prefix: str, count: int, server: int, domain: str, at: Place = HERE):
        self._socket = at.socket(socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.bind((at.host, 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.phones: dict[str, Phone] = {}
        for i in range(count):
            phone = Phone(f"{prefix}{i}", (at.host, self.port), (at.servers, server), domain)
            phone.transmit = self._send
            phone.now = now()
            self.phones[phone.user] = phone

    def __iter__(self) -> Iterator[Phone]:
        return iter(self.phones.values())

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def _send(self, data: bytes, to: tuple[str, int]) -> None:
        # Lost, as on any network: the server may be dead at the moment
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.sendto(data, to)

    def read(self) -> None:
        """Hand over what has come."""
        at = now()
        for _ in range(256):
            try:
                data, source = self._socket.recvfrom(65535)
            except (BlockingIOError, ConnectionRefusedError):
                return
            message = Sip(data)
            # Requests name the phone in the Request-URI; a phone's own requests come back as responses, with it in From.
            uri = uri_of(message.first("from")) if message.status else message.uri
            phone = self.phones.get(uri.partition(":")[2].partition("@")[0])
            if phone is not None:
                phone.receive(data, source, at)

    def advance(self) -> None:
        """Run the phones' timers."""
        at = now()
        for phone in self.phones.values():
            due = phone.deadline()
            if due is not None and due <= at:
                phone.advance(at)


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def run(fleets: Iterable[Fleet], until: Callable[[], bool], seconds: float, what: str) -> None:
    """Let the phones live until something is true. Raises AssertionError naming what did not happen."""
    everyone = list(fleets)
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for fleet in everyone:
            selector.register(fleet, selectors.EVENT_READ)
        look = 0.0
        while True:
            for key, _ in selector.select(0.02):
                key.fileobj.read()
            if time.monotonic() >= look:
                for fleet in everyone:
                    fleet.advance()
                if until():
                    return
                look = time.monotonic() + 0.02
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
