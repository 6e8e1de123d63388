from typing import Any

SHORTENED: int

def key_of(aor: bytes) -> bytes:
    """The AOR as (part of) a key: itself, or a shortened form that no other AOR has, since all of that length are."""

class Batch:
    """Reads and writes of an LMDB store's batch; store.lmdb.LmdbStore is the rest of it."""

    writes: int
    _txn: Any
    _bindings: Any
    def bindings_record(self, aor: bytes) -> bytes | None:
        """The stored form of the AOR's bindings; None where there are none. Its owner may be another AOR."""

    def put_bindings_record(self, aor: bytes, record: bytes) -> None:
        """Replace all bindings of an AOR by those of its record."""

    def _get(self, key: bytes, database: Any) -> bytes | None: ...
    def _put(self, key: bytes, value: bytes, database: Any) -> None: ...
