"""The file of users while the server runs: what `sipfast users` changes is taken up without a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError
from ..identity.user_file import load_users
from ..identity.users import UserTable

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
REST = 0.001  # seconds between two pieces of a file, so that the loop gets its turn

Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp | None:
    """What tells one state of a file from another; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class UserWatch:
    """Reads a file at the start, ConfigError where that cannot be, and again whenever it is another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = stamp_of(path)
        self.users = load_users(path)

    async def run(self, ended: asyncio.Event, take: Callable[[UserTable], object]) -> None:
        """Until the end: look at the file every second. `take` gets what has changed, in the loop, between two batches."""
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), LOOK_EVERY)
            except TimeoutError:
                await self.look(take)

    async def look(self, take: Callable[[UserTable], object]) -> None:
        """Read the file where it has changed, in a thread and in small pieces.

        One that cannot be read changes nothing, and is told of once.
        """
        now = stamp_of(self.path)
        if now == self.seen:
            return
        self.seen = now
        try:
            users = await asyncio.get_running_loop().run_in_executor(None, load_users, self.path, lambda: time.sleep(REST))
        except ConfigError as error:
            log.error("users-not-read", extra={"sip": {"reason": str(error)}})
            return
        self.users = users
        take(users)
        log.info("users-read", extra={"sip": {"file": str(self.path), "users": users.count}})
