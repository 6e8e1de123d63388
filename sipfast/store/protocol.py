"""What every back end of the store does; tests/test_store.py holds each of them to it.

Reads see the writes made since the last commit. Writes are kept together until `commit`, which makes all of them
durable (against the death of the process; against a power cut, too, where so configured) or none and raises.
After a failed commit, as after `abort`, the store is as it was at the commit before. Keys are AORs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..records import Binding, Talk, Watch


class Store(Protocol):
    """Bindings, watches and talks. Every method may raise StoreUnavailable or StoreCorrupt."""

    writes: int  # counts writes; never goes back. The engine compares it to see whether a message touched the store

    # Bindings, as stored: the caller filters out what has expired.
    def bindings(self, aor: bytes) -> tuple[Binding, ...]:
        """All bindings of an AOR, b"expired" ones included; () where there are none."""
        ...

    def put_bindings(self, aor: bytes, bindings: Sequence[Binding]) -> None:
        """Replace all bindings of an AOR; an empty sequence removes the record."""
        ...

    def each_bindings(self) -> Iterator[tuple[bytes, tuple[Binding, ...]]]:
        """Every AOR with its bindings, in the order of keys, from one consistent snapshot."""
        ...

    def sweep_bindings(self, now: int, limit: int) -> int:
        """Look at up to `limit` records where the last sweep stopped, remove what has expired; returns how many went."""
        ...

    # AORs that an upstream registrar has been seen to know
    def is_known(self, aor: bytes) -> bool:
        """Whether `put_known` was ever called for the AOR."""
        ...

    def put_known(self, aor: bytes) -> None:
        """Remember an AOR as registered at the upstream. Does not write when it is known already."""
        ...

    # Watches
    def watch(self, callee: bytes, caller: bytes) -> Watch | None:
        """The pair's watch."""
        ...

    def watches(self, callee: bytes) -> list[Watch]:
        """All watches for a callee, the oldest `armed_at` first."""
        ...

    def put_watch(self, watch: Watch) -> None:
        """Add or replace the pair's watch."""
        ...

    def delete_watch(self, callee: bytes, caller: bytes) -> bool:
        """Whether there was one."""
        ...

    def claim(self, watch: Watch, claimed: Watch) -> bool:
        """Replace `watch` by `claimed` only if it is still stored as given: exactly one of several claimants gets True."""
        ...

    def count_watches(self) -> int:
        """All watches."""
        ...

    def count_by_caller(self, caller: bytes) -> int:
        """Watches that a caller has armed."""
        ...

    def count_by_callee(self, callee: bytes) -> int:
        """Watches armed for a callee."""
        ...

    def each_watch(self) -> Iterator[Watch]:
        """Every watch, in the order of keys, from one consistent snapshot."""
        ...

    # Talks
    def talk(self, callee: bytes) -> Talk | None:
        """The recalled call that the callee is in."""
        ...

    def put_talk(self, talk: Talk) -> None:
        """Add or replace the callee's talk."""
        ...

    def delete_talk(self, callee: bytes) -> bool:
        """Whether there was one."""
        ...

    def each_talk(self) -> Iterator[Talk]:
        """Every talk."""
        ...

    # The whole
    def secret(self) -> bytes:
        """16 random bytes, made and committed once in the life of the store: they key branches and tags."""
        ...

    def commit(self) -> None:
        """Make all writes since the last commit durable. Does nothing without any. Raises StoreUnavailable."""
        ...

    def abort(self) -> None:
        """Forget all writes since the last commit."""
        ...

    def flush(self) -> None:
        """Push what is committed to the disk (fsync), where commit does not do so itself."""
        ...

    def close(self) -> None:
        """Abort, flush and close; a second call does nothing."""
        ...
