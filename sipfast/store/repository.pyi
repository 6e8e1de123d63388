from collections.abc import Iterator, Sequence

from .codec import StoredBindings, StoredWatch
from .records import Anchor, Binding, Ended, Leg, Move, Phone, Talk, Watch
from .tables import Tables

class Store:
    """Bindings, watches and talks. Every method may raise StoreUnavailable or StoreCorrupt."""

    def __init__(self, tables: Tables) -> None: ...
    @property
    def tables(self) -> Tables:
        """The back end."""

    @property
    def writes(self) -> int:
        """Counts what has changed a row; never goes back."""

    def for_update(self) -> None:
        """From here to the end of the batch no other process writes: what is read stays true until it is written."""

    def hold_snapshot(self) -> None:
        """Until the batch ends, single records may be read as they are at the first read from now on."""

    def let_go(self) -> None:
        """From here on each read shows what is committed by then."""

    # Bindings, as stored: the caller filters out what has expired.
    def bindings(self, aor: bytes) -> StoredBindings:
        """All bindings of an AOR, expired ones included, in the order they were put."""

    def put_bindings(self, aor: bytes, bindings: Sequence[Binding], former: StoredBindings | None = None) -> None:
        """Replace all bindings of an AOR; an empty sequence removes the record. `former`: as this batch has read them."""

    def each_bindings(self) -> Iterator[tuple[bytes, tuple[Binding, ...]]]:
        """Every AOR with its bindings, in the order of keys, from one consistent snapshot."""

    def has_room_for_aor(self, most: int) -> bool:
        """Whether one more AOR with bindings may be stored, if `most` may be in all.

        Those that ran out and were not swept yet count, and those of batches under way. They are counted now and then, so
        that up to 16 processes keep to `most`.
        """

    def sweep_bindings(self, now: int, limit: int, keep: int = 0, gone: list[bytes] | None = None) -> int:
        """Look at up to `limit` AORs from where the last sweep stopped.

        Removes the bindings with `expires` <= now - keep, and returns how many that were. The sweep after the one that
        reached the last AOR begins at the first, and a new round with it. `gone`: is given the AORs whose last binding has
        run out between the beginnings of the round before and of this one, so that each is told once.
        """

    # Which AORs have a binding with a Contact (codec.contact_key). Kept with the bindings.
    def aors_of(self, contact: bytes) -> list[bytes]:
        """AORs that have had a binding with the Contact of this key; look whether they still do."""

    def put_contact(self, contact: bytes, aor: bytes) -> None:
        """Add an AOR to those of a key, whatever bindings it has."""

    # AORs that an upstream registrar has been seen to know
    def is_known(self, aor: bytes) -> bool:
        """Whether `put_known` was ever called for the AOR."""

    def put_known(self, aor: bytes) -> None:
        """Remember an AOR as registered at the upstream. Does not write when it is known already."""

    # Watches
    def watch(self, callee: bytes, caller: bytes) -> StoredWatch | None:
        """The pair's watch."""

    def has_watch(self, callee: bytes, caller: bytes) -> bool:
        """Whether there is one, readable or not."""

    def watches(self, callee: bytes) -> list[StoredWatch]:
        """All watches for a callee, the oldest `armed_at` first."""

    def put_watch(self, watch: StoredWatch | Watch, new: bool = True) -> None:
        """Add or replace the pair's watch. Not `new`: this batch has read that there is one."""

    def delete_watch(self, callee: bytes, caller: bytes) -> bool:
        """Remove it and what came of its recalls. Whether there was one."""

    def claim(self, watch: StoredWatch | Watch, claimed: StoredWatch | Watch) -> bool:
        """Replace `watch` by `claimed` only if it is still stored as given: exactly one of several claimants gets True."""

    def count_by_caller(self, caller: bytes) -> int:
        """Watches that a caller has armed."""

    def count_by_callee(self, callee: bytes) -> int:
        """Watches armed for a callee."""

    def has_room_for_watch(self, most: int) -> bool:
        """Whether one more watch may be stored, if `most` may be in all: as `has_room_for_aor`."""

    def each_watch(self) -> Iterator[StoredWatch]:
        """Every watch, in the order of keys, from one consistent snapshot."""

    # What became of watches, for people
    def attempts(self, callee: bytes, caller: bytes) -> tuple[tuple[int, str], ...]:
        """The recalls of the pair's watch that came to nothing: when the REFER left, and why."""

    def put_attempt(self, callee: bytes, caller: bytes, at: int, result: str) -> None:
        """Add one. Of more than records.MOST_ATTEMPTS the oldest goes."""

    def put_ended(self, ended: Ended) -> None:
        """Keep a watch that is over. Of more than records.MOST_ENDED the oldest goes."""

    def ended(self) -> list[Ended]:
        """Those that are kept, the last one first."""

    # Talks
    def talk(self, callee: bytes) -> Talk | None:
        """The recalled call that the callee is in."""

    def put_talk(self, talk: Talk) -> None:
        """Add or replace the callee's talk."""

    def delete_talk(self, callee: bytes) -> bool:
        """Whether there was one."""

    def each_talk(self) -> Iterator[Talk]:
        """Every talk."""

    # Moves
    def moves(self) -> list[Move]:
        """All of them, expired ones included."""

    def put_move(self, move: Move) -> None:
        """Add or replace the move of an AOR away from a flow."""

    def delete_move(self, move: Move) -> bool:
        """Whether there was one of its AOR away from its flow."""

    # What phones did when they were recalled
    def phone(self, kind: str, name: bytes) -> Phone | None:
        """What is remembered of a device (records.DEVICE) or a User-Agent (records.AGENT), expired notes included."""

    def put_phone(self, phone: Phone) -> None:
        """Add or replace it. Of more than records.MOST_PHONES some other goes."""

    def delete_phone(self, kind: str, name: bytes) -> bool:
        """Whether there was one."""

    def phones_after(self, key: bytes, limit: int) -> tuple[list[Phone], bytes]:
        """Those of up to `limit` rows after a key (b"": from the first), and the key to go on from, b"" at the end."""

    def each_phone(self) -> Iterator[Phone]:
        """Every one."""

    # Dialogs of the server's own
    def legs(self) -> list[Leg]:
        """All of them; 0 where the store answers later."""

    def put_leg(self, leg: Leg) -> None:
        """Add or replace the one with its Call-ID."""

    def delete_leg(self, call_id: bytes) -> bool:
        """Whether there was one."""

    # The whole
    def upgraded_at(self) -> int:
        """When the store was brought up from an earlier format, ms since the epoch; 0 where it was made in this one."""

    def anchor(self) -> Anchor | None:
        """What ties the times in the store to the machine's (node/clock.py); None where no server has left one."""

    def put_anchor(self, anchor: Anchor) -> None:
        """Replace it."""

    def secret(self) -> bytes:
        """16 random bytes, made and committed once in the life of the store: they key branches and tags."""

    def commit(self) -> None:
        """Make all writes since the last commit durable, and let other writers in. Cheap without any writes.

        Raises StoreUnavailable; then none of them is there, and the store goes on from the commit before.
        """

    def fetch(self, aors: set[bytes], group: object) -> bool:
        """Have what is kept of some AORs brought near (Tables.fetch). True: it is at hand."""

    def apply(self, batch: object) -> bool:
        """The same for a back end that answers later (Tables.apply). True: it is done already."""

    def abort(self) -> None:
        """Forget all writes since the last commit."""

    def flush(self) -> None:
        """Push what is committed to the disk (fsync), where commit does not do so itself."""

    def close(self) -> None:
        """Abort, flush and close; a second call does nothing."""
