from collections.abc import Iterator

NAMES: tuple[str, ...]
"""The tables; each is known by its place here."""

class Tables:
    """A back end. Every method may raise StoreUnavailable or StoreCorrupt."""

    where: str
    """what an error names as the place; "" where there is none"""
    writes: int
    """counts what has changed a row; never goes back"""

    at_once: bool
    """whether a batch is kept when `commit` returns; else it is given to `apply`, and the answer comes later"""
    unit: int
    """for who answers later: what reads and writes belong to from now on, one message say. 0: to nothing in particular"""

    def for_update(self) -> None:
        """From here to the end of the batch no other process writes: what is read stays true until it is written."""

    def hold_snapshot(self) -> None:
        """Until `let_go` or the end of the batch, `get` may show what was committed at the first `get` from now on."""

    def let_go(self) -> None:
        """From here on each read shows what is committed by then."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """The value of a key; None where there is none."""

    def put(self, table: int, key: bytes, value: bytes) -> None:
        """Add or replace a row."""

    def delete(self, table: int, key: bytes) -> bool:
        """Whether there was such a row. Where there was none, nothing is written and nobody shut out."""

    def rows(self, table: int, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Keys and values of all keys that begin so, in the order of keys."""

    def rows_after(self, table: int, key: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` rows whose keys come after this one; b"": from the first."""

    def each(self, table: int) -> Iterator[bytes]:
        """All values, in the order of keys, as they are now: later writes do not show. It may be a long way."""

    def count(self, table: int, prefix: bytes) -> int:
        """How many keys begin so."""

    def size(self, table: int) -> int:
        """How many keys there are, for bounds. No unit depends on it, else each new row would be in conflict with all.

        Those of the batches under way count. What another node has under way need not.
        """

    def last_key(self, table: int) -> bytes | None:
        """The greatest key; None where the table is empty."""

    def commit(self) -> None:
        """Make the batch durable, and let other writers in. Cheap without any writes.

        Raises StoreUnavailable; then none of it is there, and all goes on from the commit before.
        """

    def fetch(self, aors: set[bytes], group: object) -> bool:
        """Begin to bring near what is kept of some AORs, as callee or caller, too. True: it is at hand.

        Else whoever feeds the engine is told later that it is at hand, with `group`.
        """

    def apply(self, batch: object) -> bool:
        """Begin to make the batch durable, and begin the next one. True: it is done already.

        Else whoever feeds the engine is told later what has become of `batch`: committed, or lost with a StoreError.
        """

    def abort(self) -> None:
        """Forget the batch. Those that were given to `apply` stay as they are."""

    def flush(self) -> None:
        """Push what is committed to the disk, where commit does not do so itself. May be called from another thread."""

    def close(self) -> None:
        """Abort, flush and close; a second call does nothing."""
