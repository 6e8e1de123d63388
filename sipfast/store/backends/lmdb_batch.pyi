from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..records import Binding, Watch

Record = TypeVar("Record")

SHORTENED: int

def key_of(aor: bytes) -> bytes:
    """The AOR as (part of) a key: itself, or a shortened form that no other AOR has, since all of that length are."""

def pair_of(first: bytes, second: bytes) -> bytes:
    """The key of a pair: both as `key_of` has them, and a NUL between them."""

class Batch:
    """Reads and writes of an LMDB store's batch; store.backends.lmdb.LmdbStore is the rest of it."""

    writes: int
    _txn: Any
    _bindings: Any
    _contacts: Any
    _watches: Any
    _callers: Any
    _attempts: Any
    _held: Any
    path: Path
    def for_update(self) -> None:
        """Begin the batch's write transaction: waits for the batch of another process to end."""

    def hold_snapshot(self) -> None:
        """From now until `let_go`, reads of single records outside a write transaction show one snapshot.

        It is the one of the first such read, and ends with a write transaction. Called again: a later one.
        """

    def let_go(self) -> None:
        """Have each read look at what is committed by then, as at first."""

    def bindings(self, aor: bytes) -> tuple[Binding, ...]:
        """All bindings of an AOR; () where there are none."""

    def bindings_record(self, aor: bytes) -> bytes | None:
        """The stored form of the AOR's bindings; None where there are none. Its owner may be another AOR."""

    def put_bindings(self, aor: bytes, bindings: Sequence[Binding]) -> None:
        """Replace all bindings of an AOR; an empty sequence removes the record."""

    def put_contact(self, contact: bytes, aor: bytes) -> None:
        """Add an AOR to those of a Contact's key (codec.contact_key)."""

    def put_bindings_record(self, aor: bytes, record: bytes) -> None:
        """Replace all bindings of an AOR by those of its record."""

    def watch(self, callee: bytes, caller: bytes) -> Watch | None:
        """The pair's watch."""

    def watches(self, callee: bytes) -> list[Watch]:
        """All watches for a callee, the oldest `armed_at` first."""

    def put_watch(self, watch: Watch) -> None:
        """Add or replace the pair's watch."""

    def watch_record(self, callee: bytes, caller: bytes) -> bytes | None:
        """The stored form of the pair's watch. Its owner may be another pair."""

    def put_watch_record(self, callee: bytes, caller: bytes, record: bytes, new: bool = True) -> None:
        """Add or replace the pair's watch by that of a record; not `new`: there is one."""

    def claim_record(self, callee: bytes, caller: bytes, record: bytes, claimed: bytes) -> bool:
        """Replace a record by another only if it is still the stored one."""

    def delete_watch(self, callee: bytes, caller: bytes) -> bool:
        """Remove it and what came of its recalls. Whether there was one."""

    def claim(self, watch: Watch, claimed: Watch) -> bool:
        """Replace `watch` by `claimed` only if it is still stored as given."""

    def count_by_caller(self, caller: bytes) -> int:
        """Watches that a caller has armed."""

    def count_by_callee(self, callee: bytes) -> int:
        """Watches armed for a callee."""

    def _get(self, key: bytes, database: Any) -> bytes | None: ...
    def _put(self, key: bytes, value: bytes, database: Any) -> None: ...
    def _delete(self, key: bytes, database: Any) -> bool: ...
    def _range(self, database: Any, prefix: bytes) -> list[bytes]: ...
    def _read(self, decode: Callable[[bytes], Record], stored: bytes) -> Record: ...
