"""Host names, asked of the system's resolver in a thread: A and AAAA (RFC 3263 §4.2).

NAPTR and SRV (§4.1) are not asked: a name means the port that its URI names, or 5060, over UDP.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop
from collections.abc import Collection

from ..driver.driver import Driver


class Resolver:
    """Asks for a driver. `families`: 4 and 6, those that are listened on, the preferred one first."""

    def __init__(self, loop: AbstractEventLoop, driver: Driver, families: Collection[int]) -> None:
        self._loop = loop
        self._driver = driver
        self._families = list(dict.fromkeys(families))
        self._asking: set[asyncio.Task[None]] = set()

    def __call__(self, ticket: int, name: bytes) -> None:
        """Ask for a name; what it leads to comes to `Driver.resolved`."""
        task = self._loop.create_task(self._ask(ticket, name))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, ticket: int, name: bytes) -> None:
        found: list[str] = []
        try:
            told = await self._loop.getaddrinfo(name.decode("ascii"), None, type=socket.SOCK_DGRAM)
            found = [str(address[0]) for family, *_, address in told for wanted in self._families if _is(family, wanted)]
            found.sort(key=lambda address: self._families.index(6 if ":" in address else 4))
        except (OSError, UnicodeError):
            pass  # it leads nowhere
        self._driver.resolved(ticket, found)

    def stop(self) -> None:
        """Ask no more."""
        for task in [*self._asking]:
            task.cancel()


def _is(family: int, wanted: int) -> bool:
    return family == (socket.AF_INET if wanted == 4 else socket.AF_INET6)
