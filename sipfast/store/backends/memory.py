"""The reference back end: dictionaries, and a journal of what each write replaced, so that a batch can be undone.

Nothing outlives the process; there is one writer and it never fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ..codec import changed_contacts
from ..records import (
    MOST_ATTEMPTS,
    MOST_ENDED,
    Anchor,
    Binding,
    Ended,
    Move,
    Talk,
    Watch,
    decode_bindings,
    decode_watch,
    encode_bindings,
    encode_watch,
    readable,
)
from .sweep import Round

_ABSENT: Any = object()


class MemoryStore:
    """A Store (see protocol.py) in the memory of this process: for tests, demonstrations and as the reference."""

    def __init__(self) -> None:
        self.writes = 0
        self._bindings: dict[bytes, bytes] = {}  # records, as they would be stored: a fifth of the objects' memory
        self._known: dict[bytes, bool] = {}
        self._watches: dict[bytes, dict[bytes, bytes]] = {}  # callee -> caller -> record
        self._callers: dict[bytes, int] = {}  # caller -> number of watches
        self._watch_count = 0
        self._attempts: dict[bytes, tuple[tuple[int, str], ...]] = {}
        self._ended: dict[bytes, Ended] = {}
        self._talks: dict[bytes, Talk] = {}
        self._moves: dict[bytes, Move] = {}
        self._contacts: dict[bytes, tuple[bytes, ...]] = {}
        self._anchor: dict[bytes, Anchor] = {}
        self.upgraded = 0  # what upgraded_at says, for tests
        self._journal: list[tuple[dict[bytes, Any] | None, bytes, bytes, Any]] = []
        self._round = Round()
        self._sweep: Iterator[bytes] = iter(())
        self._secret = os.urandom(16)

    def hold_snapshot(self) -> None:
        """Nothing to do: nobody else writes here."""

    def let_go(self) -> None:
        """Nothing to do: nobody else writes here."""

    def for_update(self) -> None:
        """Nothing to do: nobody else writes here."""

    def bindings(self, aor: bytes) -> tuple[Binding, ...]:
        """All bindings of an AOR; () where there are none."""
        record = self._bindings.get(aor)
        return () if record is None else decode_bindings(record)[1]

    def put_bindings(self, aor: bytes, bindings: Sequence[Binding]) -> None:
        """Replace all bindings of an AOR; an empty sequence removes the record."""
        former, record = self._bindings.get(aor), None
        if bindings:
            record = encode_bindings(aor, tuple(bindings))
            self._put(self._bindings, aor, record)
        elif former is not None:
            self._put(self._bindings, aor, _ABSENT)
        gone, added = changed_contacts(aor, former, record)
        for contact in gone:
            self._put(self._contacts, contact, tuple(each for each in self._contacts[contact] if each != aor))
        for contact in added:
            self.put_contact(contact, aor)

    def bindings_record(self, aor: bytes) -> bytes | None:
        """The stored form of the AOR's bindings; None where there are none."""
        return self._bindings.get(aor)

    def put_bindings_record(self, aor: bytes, record: bytes) -> None:
        """Replace all bindings of an AOR by those of its record."""
        self._put(self._bindings, aor, record)

    def each_bindings(self) -> Iterator[tuple[bytes, tuple[Binding, ...]]]:
        """Every AOR with its bindings, in the order of keys."""
        return readable(decode_bindings, [record for _, record in sorted(self._bindings.items())])

    def sweep_bindings(self, now: int, limit: int, keep: int = 0, gone: list[bytes] | None = None) -> int:
        """Remove bindings of the next `limit` AORs that have run out `keep` ms ago; returns how many bindings went."""
        count = 0
        batch = list(islice(self._sweep, limit))
        if not batch:
            self._round.begin(now)
            self._sweep = iter(sorted(self._bindings))
            batch = list(islice(self._sweep, limit))
        found = list(readable(decode_bindings, [self._bindings[aor] for aor in batch if aor in self._bindings]))
        if gone is not None:
            gone += self._round.ended(found)
        now -= keep
        for aor, stored in found:
            live = tuple(binding for binding in stored if binding.expires > now)
            if len(live) < len(stored):
                count += len(stored) - len(live)
                self.put_bindings(aor, live)
        return count

    def aors_of(self, contact: bytes) -> list[bytes]:
        """AORs that have had a binding with the Contact of this key."""
        return list(self._contacts.get(contact, ()))

    def put_contact(self, contact: bytes, aor: bytes) -> None:
        """Add an AOR to those of a key."""
        aors = self._contacts.get(contact, ())
        if aor not in aors:
            self._put(self._contacts, contact, (*aors, aor))

    def is_known(self, aor: bytes) -> bool:
        """Whether the AOR has been seen registered at the upstream."""
        return aor in self._known

    def put_known(self, aor: bytes) -> None:
        """Remember an AOR as registered at the upstream."""
        if aor not in self._known:
            self._put(self._known, aor, True)

    def watch(self, callee: bytes, caller: bytes) -> Watch | None:
        """The pair's watch."""
        record = self.watch_record(callee, caller)
        return None if record is None else decode_watch(record)

    def watches(self, callee: bytes) -> list[Watch]:
        """All watches for a callee, the oldest `armed_at` first."""
        found = readable(decode_watch, self._watches.get(callee, {}).values())
        return sorted(found, key=lambda watch: (watch.armed_at, watch.caller))

    def put_watch(self, watch: Watch) -> None:
        """Add or replace the pair's watch."""
        self.put_watch_record(watch.callee, watch.caller, encode_watch(watch))

    def claim(self, watch: Watch, claimed: Watch) -> bool:
        """Replace `watch` by `claimed` only if it is still stored as given."""
        return self.claim_record(watch.callee, watch.caller, encode_watch(watch), encode_watch(claimed))

    def watch_record(self, callee: bytes, caller: bytes) -> bytes | None:
        """The stored form of the pair's watch."""
        pairs = self._watches.get(callee)
        return None if pairs is None else pairs.get(caller)

    def put_watch_record(self, callee: bytes, caller: bytes, record: bytes, new: bool = True) -> None:
        """Add or replace the pair's watch by that of a record."""
        self._journal.append((None, callee, caller, self.watch_record(callee, caller)))
        self._set_watch(callee, caller, record)
        self.writes += 1

    def claim_record(self, callee: bytes, caller: bytes, record: bytes, claimed: bytes) -> bool:
        """Replace `record` only if it is still what is stored."""
        if self.watch_record(callee, caller) != record:
            return False
        self.put_watch_record(callee, caller, claimed, new=False)
        return True

    def delete_watch(self, callee: bytes, caller: bytes) -> bool:
        """Remove it and what came of its recalls. Whether there was one."""
        stored = self.watch_record(callee, caller)
        if stored is None:
            return False
        self._journal.append((None, callee, caller, stored))
        self._set_watch(callee, caller, None)
        self.writes += 1
        if self.attempts(callee, caller):
            self._put(self._attempts, callee + b"\0" + caller, _ABSENT)
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
        records = [pairs[caller] for _, pairs in sorted(self._watches.items()) for caller in sorted(pairs)]
        return readable(decode_watch, records)

    def attempts(self, callee: bytes, caller: bytes) -> tuple[tuple[int, str], ...]:
        """The recalls of the pair's watch that came to nothing."""
        return self._attempts.get(callee + b"\0" + caller, ())

    def put_attempt(self, callee: bytes, caller: bytes, at: int, result: str) -> None:
        """Add one."""
        kept = (*self.attempts(callee, caller), (at, result))[-MOST_ATTEMPTS:]
        self._put(self._attempts, callee + b"\0" + caller, kept)

    def put_ended(self, ended: Ended) -> None:
        """Keep a watch that is over."""
        number = int.from_bytes(max(self._ended, default=b""), "big") + 1
        self._put(self._ended, number.to_bytes(8, "big"), ended)
        former = (max(number, MOST_ENDED) - MOST_ENDED).to_bytes(8, "big")
        if former in self._ended:
            self._put(self._ended, former, _ABSENT)

    def ended(self) -> list[Ended]:
        """Those that are kept, the last one first."""
        return [self._ended[number] for number in sorted(self._ended, reverse=True)]

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

    def moves(self) -> list[Move]:
        """All of them, expired ones included."""
        return list(self._moves.values())

    def put_move(self, move: Move) -> None:
        """Add or replace the move of an AOR away from a flow."""
        self._put(self._moves, move.old + move.aor, move)

    def delete_move(self, move: Move) -> bool:
        """Whether there was one."""
        if move.old + move.aor not in self._moves:
            return False
        self._put(self._moves, move.old + move.aor, _ABSENT)
        return True

    def upgraded_at(self) -> int:
        """0: what has no past has no earlier format."""
        return self.upgraded

    def anchor(self) -> Anchor | None:
        """What ties the times in the store to the machine's."""
        return self._anchor.get(b"")

    def put_anchor(self, anchor: Anchor) -> None:
        """Replace it."""
        self._put(self._anchor, b"", anchor)

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

    def _set_watch(self, callee: bytes, caller: bytes, record: bytes | None) -> None:
        """Put or (None) remove, and keep the counts; the journal is the caller's business."""
        pairs = self._watches.setdefault(callee, {})
        change = (record is not None) - (caller in pairs)
        if record is not None:
            pairs[caller] = record
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
