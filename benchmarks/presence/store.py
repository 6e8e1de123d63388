"""The server's own store, and in the same batches what a presence agent has to remember.

    database       key        value
    subscriptions  its number state.pyx says
    publications   its number state.pyx says

Numbers are 8 bytes and grow, so that what is new lies side by side, and a batch touches few pages.
"""

from __future__ import annotations

from typing import Any

from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store
from sipfast.store.tables import NAMES


class PresenceStore(Store):
    """See Store. `aborts` counts the batches that were given up: whoever keeps in memory what is stored looks at it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.aborts = 0
        super().__init__(LmdbTables(*args, names=(*NAMES, "subscriptions", "publications"), **more))
        self.subscriptions = len(NAMES)
        self.publications = self.subscriptions + 1
        self.put, self.delete = self.tables.put, self.tables.delete
        self.each = self.tables.each

    def abort(self) -> None:
        """Forget all writes since the last commit."""
        self.aborts += 1
        super().abort()
