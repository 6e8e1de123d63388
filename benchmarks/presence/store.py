"""The server's own store, and in the same batches what a presence agent has to remember.

    database       key        value
    subscriptions  its number state.pyx says
    publications   its number state.pyx says

Numbers are 8 bytes and grow, so that what is new lies side by side, and a batch touches few pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sipfast.store.backends.lmdb import LmdbStore


class PresenceStore(LmdbStore):
    """See LmdbStore. `aborts` counts the batches that were given up: whoever keeps in memory what is stored looks at it."""

    databases = (*LmdbStore.databases, "subscriptions", "publications")

    def __init__(self, *args: Any, **more: Any) -> None:
        self.aborts = 0
        super().__init__(*args, **more)
        self.subscriptions = self._opened["subscriptions"]
        self.publications = self._opened["publications"]

    put = LmdbStore._put
    """Add or replace: key, record, database."""
    delete = LmdbStore._delete
    """Whether there was one: key, database."""

    def each(self, database: Any) -> Iterator[bytes]:
        """All records of a database, in the order of keys."""
        return self._each(database)

    def abort(self) -> None:
        """Forget all writes since the last commit."""
        self.aborts += 1
        super().abort()
