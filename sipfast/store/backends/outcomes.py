"""What became of watches, for people: the recalls that came to nothing, and the last watches that are over.

    database  key                value
    attempts  callee NUL caller  record of the watch's recalls that came to nothing
    ended     number             record of a watch that is over: a ring of the last records.MOST_ENDED

Both are written in the batch that ends or changes the watch. They are made where they are missing, and a version that does
not know them does not miss them: so they are no new format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import lmdb

from ..records import MOST_ENDED, Ended, decode_attempts, decode_ended, encode_attempts, encode_ended, readable
from .lmdb_batch import Batch, pair_of

DATABASES = ("attempts", "ended")


class Outcomes(Batch):
    """A part of store.backends.lmdb.LmdbStore."""

    _ended: Any = None  # as _attempts: None where they are missing, and the store is opened for reading only

    if TYPE_CHECKING:  # LmdbStore has it

        def _spoil(self, error: lmdb.Error) -> NoReturn: ...

    def attempts(self, callee: bytes, caller: bytes) -> tuple[tuple[int, str], ...]:
        """The recalls of the pair's watch that came to nothing."""
        stored = None if self._attempts is None else self._get(pair_of(callee, caller), self._attempts)
        return () if stored is None else self._read(decode_attempts, stored)

    def put_attempt(self, callee: bytes, caller: bytes, at: int, result: str) -> None:
        """Add one."""
        record = encode_attempts((*self.attempts(callee, caller), (at, result)))
        self._put(pair_of(callee, caller), record, self._attempts)

    def put_ended(self, ended: Ended) -> None:
        """Keep a watch that is over."""
        self.for_update()
        try:
            cursor = self._txn.cursor(self._ended)
            number = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 1
        except lmdb.Error as error:
            self._spoil(error)
        self._put(number.to_bytes(8, "big"), encode_ended(ended), self._ended)
        if number > MOST_ENDED:
            self._delete((number - MOST_ENDED).to_bytes(8, "big"), self._ended)

    def ended(self) -> list[Ended]:
        """Those that are kept, the last one first."""
        if self._ended is None:
            return []
        return [*readable(decode_ended, reversed(self._range(self._ended, b"")))]
