from collections.abc import Sequence
from typing import final

from .records import Binding, Watch

def changed_contacts(
    aor: bytes, former: bytes | None, record: bytes | None
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Which keys of the index of Contacts an AOR leaves, and which it comes to, when one record takes another's place."""

def read_one(record: bytes, aor: bytes) -> Binding | None:
    """The binding of a record that holds exactly one, and of this AOR; None for any other record."""

def write_one(aor: bytes, binding: Binding) -> bytes:
    """The same bytes as records.encode_bindings(aor, (binding,))."""

@final
class StoredWatch:
    """A watch in its stored form, for redial; what it has in Python is as in records.Watch."""

    @property
    def callee(self) -> bytes: ...
    @property
    def caller(self) -> bytes: ...
    @property
    def armed_at(self) -> int: ...
    @property
    def expires_at(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def not_before(self) -> int: ...

def read_watch_record(record: bytes) -> Watch:
    """The same as records.decode_watch, read from the spans. Raises StoreCorrupt."""

def write_watch_record(record: bytes) -> bytes:
    """The record written again: the same bytes as records.encode_watch gives for what read_watch_record reads."""
