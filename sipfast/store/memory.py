"""The reference back end: dictionaries, and a journal of what each write replaced, so that a batch can be undone.

Nothing outlives the process; there is one writer and it never fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ..records import Binding, Talk, Watch, decode_bindings, encode_bindings

_ABSENT: Any = object()


class MemoryStore:
    """A Store (see protocol.py) in the memory of this process: for tests, demonstrations and as the reference."""

    def __init__(self) -> None:
        self.writes = 0
        self._bindings: dict[bytes, bytes] = {}  # records, as they would be stored: a fifth of the objects' memory
        self._known: dict[bytes, bool] = {}
        self._watches: dict[bytes, dict[bytes, Watch]] = {}  # callee -> caller -> watch
        self._callers: dict[bytes, int] = {}  # caller -> number of watches
        self._watch_count = 0
        self._talks: dict[bytes, Talk] = {}
        self._journal: list[tuple[dict[bytes, Any] | None, bytes, bytes, Any]] = []
        self._sweep: Iterator[bytes] = iter(())
        self._secret = os.urandom(16)

    def for_update(self) -> None:
        """Nothing to do: nobody else writes here."""

    def bindings(self, aor: bytes) -> tuple[Binding, ...]:
        """All bindings of an AOR; () where there are none."""
        record = self._bindings.get(aor)
        return () if record is None else decode_bindings(record)[1]

    def put_bindings(self, aor: bytes, bindings: Sequence[Binding]) -> None:
        """Replace all bindings of an AOR; an empty sequence removes the record."""
        if bindings:
            self._put(self._bindings, aor, encode_bindings(aor, tuple(bindings)))
        elif aor in self._bindings:
            self._put(self._bindings, aor, _ABSENT)

    def bindings_record(self, aor: bytes) -> bytes | None:
        """The stored form of the AOR's bindings; None where there are none."""
        return self._bindings.get(aor)

    def put_bindings_record(self, aor: bytes, record: bytes) -> None:
        """Replace all bindings of an AOR by those of its record."""
        self._put(self._bindings, aor, record)

    def each_bindings(self) -> Iterator[tuple[bytes, tuple[Binding, ...]]]:
        """Every AOR with its bindings, in the order of keys."""
        return (decode_bindings(record) for _, record in sorted(self._bindings.items()))

    def sweep_bindings(self, now: int, limit: int) -> int:
        """Remove expired bindings of the next `limit` AORs; returns how many bindings went."""
        gone = 0
        batch = list(islice(self._sweep, limit))
        if not batch:
            self._sweep = iter(sorted(self._bindings))
            batch = list(islice(self._sweep, limit))
        for aor in batch:
            stored = self.bindings(aor)
            live = tuple(binding for binding in stored if binding.expires > now)
            if len(live) < len(stored):
                gone += len(stored) - len(live)
                self.put_bindings(aor, live)
        return gone

    def is_known(self, aor: bytes) -> bool:
        """Whether the AOR has been seen registered at the upstream."""
        return aor in self._known

    def put_known(self, aor: bytes) -> None:
        """Remember an AOR as registered at the upstream."""
        if aor not in self._known:
            self._put(self._known, aor, True)

    def watch(self, callee: bytes, caller: bytes) -> Watch | None:
        """The pair's watch."""
        return self._watches.get(callee, {}).get(caller)

    def watches(self, callee: bytes) -> list[Watch]:
        """All watches for a callee, the oldest `armed_at` first."""
        return sorted(self._watches.get(callee, {}).values(), key=lambda watch: (watch.armed_at, watch.caller))

    def put_watch(self, watch: Watch) -> None:
        """Add or replace the pair's watch."""
        self._journal.append((None, watch.callee, watch.caller, self.watch(watch.callee, watch.caller)))
        self._set_watch(watch.callee, watch.caller, watch)
        self.writes += 1

    def delete_watch(self, callee: bytes, caller: bytes) -> bool:
        """Whether there was one."""
        stored = self.watch(callee, caller)
        if stored is None:
            return False
        self._journal.append((None, callee, caller, stored))
        self._set_watch(callee, caller, None)
        self.writes += 1
        return True

    def claim(self, watch: Watch, claimed: Watch) -> bool:
        """Replace `watch` by `claimed` only if it is still stored as given."""
        if self.watch(watch.callee, watch.caller) != watch:
            return False
        self.put_watch(claimed)
        return True

    def count_watches(self) -> int:
        """All watches."""
        return self._watch_count

    def count_by_caller(self, caller: bytes) -> int:
        """Watches that a caller has armed."""
        return self._callers.get(caller, 0)

    def count_by_callee(self, callee: bytes) -> int:
        """Watches armed for a callee."""
        return len(self._watches.get(callee, ()))

    def each_watch(self) -> Iterator[Watch]:
        """Every watch, in the order of keys."""
        return iter([pairs[caller] for _, pairs in sorted(self._watches.items()) for caller in sorted(pairs)])

    def talk(self, callee: bytes) -> Talk | None:
        """The recalled call that the callee is in."""
        return self._talks.get(callee)

    def put_talk(self, talk: Talk) -> None:
        """Add or replace the callee's talk."""
        self._put(self._talks, talk.callee, talk)

    def delete_talk(self, callee: bytes) -> bool:
        """Whether there was one."""
        if callee not in self._talks:
            return False
        self._put(self._talks, callee, _ABSENT)
        return True

    def each_talk(self) -> Iterator[Talk]:
        """Every talk, in the order of keys."""
        return iter([talk for _, talk in sorted(self._talks.items())])

    def secret(self) -> bytes:
        """16 random bytes, the same as long as this object lives."""
        return self._secret

    def commit(self) -> None:
        """Keep all writes since the last commit."""
        self._journal.clear()

    def abort(self) -> None:
        """Forget all writes since the last commit."""
        while self._journal:
            table, key, caller, former = self._journal.pop()
            if table is None:
                self._set_watch(key, caller, former)
            elif former is _ABSENT:
                del table[key]
            else:
                table[key] = former

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Forget what is not committed."""
        self.abort()

    def _put(self, table: dict[bytes, Any], key: bytes, value: Any) -> None:
        self._journal.append((table, key, b"", table.get(key, _ABSENT)))
        if value is _ABSENT:
            del table[key]
        else:
            table[key] = value
        self.writes += 1

    def _set_watch(self, callee: bytes, caller: bytes, watch: Watch | None) -> None:
        """Put or (None) remove, and keep the counts; the journal is the caller's business."""
        pairs = self._watches.setdefault(callee, {})
        change = (watch is not None) - (caller in pairs)
        if watch is not None:
            pairs[caller] = watch
        else:
            pairs.pop(caller, None)
        if not pairs:
            del self._watches[callee]
        self._watch_count += change
        count = self._callers.get(caller, 0) + change
        if count:
            self._callers[caller] = count
        else:
            self._callers.pop(caller, None)
