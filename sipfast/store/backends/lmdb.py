"""The embedded back end: one LMDB environment, shared by all processes of a machine.

LMDB has one writer at a time and any number of readers that never wait. A batch (see protocol.py) is one write
transaction, begun by its first write or by `for_update`, and committed once. Reads outside it take a snapshot of their
own, for each read (half a microsecond), so nothing stale is ever kept and no old page is held back from reuse.

    database  key                value
    bindings  aor                record of all bindings of an AOR
    watches   callee NUL caller  record of a watch; one callee's watches lie side by side
    callers   caller NUL callee  empty: the same pairs, by caller
    known     aor                empty, or the AOR where the key is shortened
    attempts  callee NUL caller  what came of the watch's recalls (outcomes.py)
    ended     number             watches that are over (outcomes.py)
    talks     callee             record of a talk
    moves     flow aor           record of a move
    contacts  key aor            empty, or the AOR where the key is shortened: who has had a binding with a Contact
    meta      "format"           the number of this layout; of a newer one nothing is read or written
              "secret"           16 random bytes
              "clock"            record of the anchor (node/clock.py). A program that does not know it takes no harm
              "upgraded"         when it was brought up from an earlier format, ms since the epoch; absent where never

LMDB's keys are at most 511 bytes long, so in keys an AOR of 255 bytes or more is replaced by its beginning and a digest,
255 bytes together; the records hold it in full and are compared with it.

Durability. A commit writes to the file through the page cache: it survives the death of the process at any moment. With
durability "power" it is also synchronised to the disk. With "process" only `flush` does that, and since the kernel writes
pages back in any order, a power cut may damage more than what came after the last flush: `pages.py` refuses what it can
see of that at the next start. Where that is not good enough, "power" is.
The map is never written to directly: on a full disk that would be a SIGBUS, where a write is an error.

A store of an earlier format is brought up to date when a server opens it: first it is copied to `data.format-N.mdb` beside
itself, then all that has changed is written in one transaction. Killed at any moment, or out of space, it is as it was.
What only looks into a store, beside a server perhaps, leaves an earlier format alone.

An environment must not be used across a fork, nor opened twice in a process: each worker opens its own after the fork.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal, NoReturn

import lmdb

from ...errors import StoreCorrupt, StoreError, StoreUnavailable, StoreUnreadable
from ..records import (
    Anchor,
    Binding,
    Move,
    Talk,
    Watch,
    decode_anchor,
    decode_bindings,
    decode_move,
    decode_talk,
    decode_watch,
    encode_anchor,
    encode_move,
    encode_talk,
    readable,
)
from . import outcomes, pages
from .lmdb_batch import key_of as _key
from .sweep import Round
from .upgrade import upgrade_from_1

FORMAT = b"2"
FORMER = b"1"  # can be brought up to date
DATABASES = ("bindings", "watches", "callers", "known", "talks", "moves", "contacts", "meta", *outcomes.DATABASES)
NEW_SINCE_1 = ("moves", "contacts")
MAX_READERS = 512  # snapshots at one moment, of all processes
SECRET_SIZE = 16
MOST_DAMAGES = 20  # that are told of
USED = b"used\n"  # in server.lock, after the process: there has been a store here
DAMAGED = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)
COPY = "data.format-1.mdb"  # what a store was before it was brought up to date
COPYING = "copying"  # where that is made
# What may be there.
OURS = {"data.mdb", "lock.mdb", "server.lock", "ringing", "proofs", "workers", "lost+found", COPY, COPYING}

_places: set[Path] = set()  # what is open in this process


class LmdbStore(outcomes.Outcomes):
    """A Store (see protocol.py) in a directory of its own.

    `durability` and `map_size_gib` are those of config.Storage. `exclusive` is for the one server that may serve from the
    directory: it holds `server.lock` as long as the store is open. Commands that work beside a running server open without.
    `readonly` never writes and needs the store to be there. `now` (ms since the epoch) is written into a store that is
    brought up to date, which an exclusive one does; `upgraded` then is its copy's path.

    Raises StoreUnavailable where the directory cannot be used, or is in use by another server, and StoreCorrupt where it
    holds something else than a store that this version can read; then nothing in it has been changed.
    """

    databases: tuple[str, ...] = DATABASES
    """Their names; a subclass may have more, and finds all of them in `_opened`."""

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Literal["process", "power"] = "process",
        map_size_gib: float = 64,
        readonly: bool = False,
        exclusive: bool = False,
        now: int = 0,
    ) -> None:
        self.path = Path(path)
        self.writes = 0
        self._map_size = int(map_size_gib * (1 << 30)) // pages.PAGE_SIZE * pages.PAGE_SIZE
        self._synchronous = durability == "power"
        self._readonly = readonly
        self._txn: Any = None  # the batch's write transaction
        self._spoiled: StoreError | None = None  # why the batch must fail
        self._round = Round()
        self._sweep = b""  # key that the last sweep looked at last
        self._lock = -1
        self._env: Any = None
        self._place: Path | None = None
        self._used = False  # what the lock file says
        self._now = now
        self._exclusive = exclusive
        self.upgraded: Path | None = None
        try:
            self._prepare_directory(exclusive)
            self._take_place()
            self._open()
            if exclusive and not self._used:
                os.pwrite(self._lock, USED, os.fstat(self._lock).st_size)
        except BaseException:
            self._release()
            raise

    # ------------------------------------------------------------ bindings: what a REGISTER and a call look at is in Batch

    def each_bindings(self) -> Iterator[tuple[bytes, tuple[Binding, ...]]]:
        """Every AOR with its bindings, in the order of keys, from one snapshot."""
        return readable(decode_bindings, self._each(self._bindings))

    def sweep_bindings(self, now: int, limit: int, keep: int = 0, gone: list[bytes] | None = None) -> int:
        """Remove bindings of the next `limit` AORs that have run out `keep` ms ago; returns how many bindings went."""
        found = self._next_bindings(limit, now)
        if gone is not None:
            gone += self._round.ended(found)
        now -= keep
        expired = [aor for aor, bindings in found if any(each.expires <= now for each in bindings)]
        count = 0
        if expired:
            self.for_update()
        for aor in expired:
            stored = self.bindings(aor)
            live = [binding for binding in stored if binding.expires > now]
            if len(live) < len(stored):
                count += len(stored) - len(live)
                self.put_bindings(aor, live)
        return count

    def _next_bindings(self, limit: int, now: int) -> list[tuple[bytes, tuple[Binding, ...]]]:
        """Up to `limit` AORs after the position of the sweep, or the first ones where none come after it."""
        found: list[bytes] = []
        try:
            with self._snapshot() as txn:
                cursor = txn.cursor(self._bindings)
                there = cursor.set_range(self._sweep + b"\0")
                if not there or not self._sweep:
                    self._round.begin(now)
                    there = cursor.first()
                while there and len(found) < limit:
                    self._sweep = cursor.key()
                    found.append(cursor.value())
                    there = cursor.next()
        except lmdb.Error as error:
            self._fail(error)
        return list(readable(decode_bindings, found))

    # ------------------------------------------------------------ bindings by their Contact

    def aors_of(self, contact: bytes) -> list[bytes]:
        """AORs that have had a binding with the Contact of this key."""
        try:
            with self._snapshot() as txn:
                cursor = txn.cursor(self._contacts)
                found: list[bytes] = []
                there = cursor.set_range(contact)
                while there and cursor.key().startswith(contact):
                    found.append(cursor.value() or cursor.key()[len(contact) :])
                    there = cursor.next()
                return found
        except lmdb.Error as error:
            self._fail(error)

    # ------------------------------------------------------------ AORs known to the upstream

    def is_known(self, aor: bytes) -> bool:
        """Whether the AOR has been seen registered at the upstream."""
        key = _key(aor)
        return self._get(key, self._known) == (b"" if key == aor else aor)

    def put_known(self, aor: bytes) -> None:
        """Remember an AOR as registered at the upstream."""
        if not self.is_known(aor):
            key = _key(aor)
            self._put(key, b"" if key == aor else aor, self._known)

    # ------------------------------------------------------------ watches: what a call looks at is in Batch

    def count_watches(self) -> int:
        """All watches."""
        try:
            with self._snapshot() as txn:
                return int(txn.stat(self._watches)["entries"])
        except lmdb.Error as error:
            self._fail(error)

    def each_watch(self) -> Iterator[Watch]:
        """Every watch, in the order of keys, from one snapshot."""
        return readable(decode_watch, self._each(self._watches))

    # ------------------------------------------------------------ talks

    def talk(self, callee: bytes) -> Talk | None:
        """The recalled call that the callee is in."""
        stored = self._get(_key(callee), self._talks)
        if stored is None:
            return None
        talk = self._read(decode_talk, stored)
        return talk if talk.callee == callee else None

    def put_talk(self, talk: Talk) -> None:
        """Add or replace the callee's talk."""
        self._put(_key(talk.callee), encode_talk(talk), self._talks)

    def delete_talk(self, callee: bytes) -> bool:
        """Whether there was one."""
        return self._delete(_key(callee), self._talks)

    def each_talk(self) -> Iterator[Talk]:
        """Every talk, in the order of keys, from one snapshot."""
        return readable(decode_talk, self._each(self._talks))

    # ------------------------------------------------------------ moves

    def moves(self) -> list[Move]:
        """All of them, expired ones included."""
        return list(readable(decode_move, self._range(self._moves, b"")))

    def put_move(self, move: Move) -> None:
        """Add or replace the move of an AOR away from a flow."""
        self._put(move.old + _key(move.aor), encode_move(move), self._moves)

    def delete_move(self, move: Move) -> bool:
        """Whether there was one."""
        return self._delete(move.old + _key(move.aor), self._moves)

    # ------------------------------------------------------------ the whole

    def upgraded_at(self) -> int:
        """When the store was brought up from an earlier format; 0 where it was made in this one."""
        return int(self._get(b"upgraded", self._meta) or b"0")

    def anchor(self) -> Anchor | None:
        """What ties the times in the store to the machine's; None where no server has left one."""
        stored = self._get(b"clock", self._meta)
        return None if stored is None else self._read(decode_anchor, stored)

    def put_anchor(self, anchor: Anchor) -> None:
        """Replace it."""
        self._put(b"clock", encode_anchor(anchor), self._meta)

    def secret(self) -> bytes:
        """16 random bytes, made when the store was."""
        stored = self._get(b"secret", self._meta)
        if stored is None or len(stored) != SECRET_SIZE:
            raise StoreCorrupt(f"{self.path}: the store has lost its secret: restore it from a copy")
        return stored

    def _open_batch(self) -> None:
        if self._spoiled is not None:
            raise type(self._spoiled)(str(self._spoiled))
        if self._readonly:
            raise StoreUnavailable(f"{self.path}: opened for reading only")
        self._txn = self._begin(write=True)

    def commit(self) -> None:
        """Make the batch durable and let other writers in."""
        self.let_go()
        txn, self._txn = self._txn, None
        spoiled, self._spoiled = self._spoiled, None
        if spoiled is not None:
            raise type(spoiled)(str(spoiled))
        if txn is not None:
            try:
                txn.commit()
            except lmdb.Error as error:
                self._fail(error)

    def abort(self) -> None:
        """Forget the batch and let other writers in."""
        self.let_go()
        txn, self._txn, self._spoiled = self._txn, None, None
        if txn is not None:
            txn.abort()

    def flush(self) -> None:
        """Push what is committed to the disk. May be called from another thread than the rest; takes a disk's time."""
        if self._env is not None and not self._readonly:
            try:
                self._env.sync(True)
            except lmdb.Error as error:
                self._fail(error)

    def leave_to_others(self) -> int:
        """Close, but keep `server.lock`: other processes will serve. Returns its descriptor, whose closing gives it up."""
        lock, self._lock = self._lock, -1
        self.close()
        return lock

    def close(self) -> None:
        """Abort, flush and close; a second call does nothing."""
        if self._env is None:
            return
        self.abort()
        try:
            self.flush()
        finally:
            self._release()

    # ------------------------------------------------------------ transactions

    def _begin(self, *, write: bool = False) -> Any:
        if self._env is None:
            raise StoreUnavailable(f"{self.path}: the store is closed")
        try:
            return self._env.begin(write=write)
        except lmdb.MapResizedError:  # another process has been given a larger map_size, and has used it
            self._held = None  # none may look at the former map
            self._env.set_mapsize(0)
            return self._env.begin(write=write)
        except lmdb.Error as error:
            self._fail(error)

    def _snapshot(self) -> Any:
        """What a read is to look at, as a context manager: the batch, or else what is committed now."""
        if self._txn is not None:
            return nullcontext(self._txn)
        if self._spoiled is not None:
            raise type(self._spoiled)(str(self._spoiled))
        return self._begin()

    def _each(self, database: Any) -> Iterator[bytes]:
        """All values. Inside a batch they are read at once: a cursor would not outlive it."""
        if self._txn is not None or self._spoiled is not None:
            return iter(self._range(database, b""))
        return self._walk(self._begin(), database)

    def _walk(self, txn: Any, database: Any) -> Iterator[bytes]:
        try:
            with txn:
                yield from txn.cursor(database).iternext(keys=False)
        except lmdb.Error as error:
            self._fail(error)

    # ------------------------------------------------------------ opening and failing

    def _prepare_directory(self, exclusive: bool) -> None:
        """Make the directory, or see that it is one of ours; nothing else is touched."""
        try:
            if not (self.path / "data.mdb").exists():
                if self._readonly:
                    raise StoreUnavailable(f"{self.path}: there is no store here: name the server's data directory")
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                strangers = {entry.name for entry in self.path.iterdir()} - OURS
                if strangers:
                    raise StoreCorrupt(f"{self.path}: holds {min(strangers)!r} and no store: choose a directory of its own")
            if exclusive:
                self._lock = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._used = USED in os.pread(self._lock, 64, 0)
                self._refuse_emptied()
                os.truncate(self._lock, 0)
                os.pwrite(self._lock, b"%d\n" % os.getpid() + USED * self._used, 0)
        except BlockingIOError as error:
            owner = os.read(self._lock, 20).partition(b"\n")[0].decode("ascii", "replace").strip() or "unknown"
            raise StoreUnavailable(
                f"{self.path}: in use by another server (process {owner}): stop it, or choose another data directory"
            ) from error
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}: give this user a directory that it can write") from error

    def _refuse_emptied(self) -> None:
        """What was a store at the last start is not begun anew in silence: all that was acknowledged would be gone."""
        data = self.path / "data.mdb"
        if self._used and not (data.exists() and data.stat().st_size):
            state = "empty" if data.exists() else "gone"
            raise StoreCorrupt(
                f"{self.path}: data.mdb is {state}, and it was not at the last start: restore it from a copy, or remove "
                "server.lock to begin anew"
            )

    def _take_place(self) -> None:
        """Opened twice in one process, an environment loses its locks when either is closed; older LMDBs let it happen."""
        place = self.path.resolve()
        if place in _places:
            raise StoreUnavailable(f"{self.path}: already open in this process")
        _places.add(place)
        self._place = place

    def _open(self) -> None:
        try:
            self._env = lmdb.open(
                str(self.path),
                map_size=self._map_size,
                max_dbs=len(self.databases),
                max_readers=MAX_READERS,
                max_spare_txns=4,
                mode=0o600,
                create=not self._readonly,
                readonly=self._readonly,
                sync=self._synchronous,
                metasync=self._synchronous,
                writemap=False,
            )
            self._env.reader_check()  # the places of processes that were killed
            self._check_pages()
            if self._readonly:
                self._open_databases(None)
            else:
                self._upgrade()
                with self._env.begin(write=True) as txn:  # two processes do not both make the databases
                    self._open_databases(txn)
        except lmdb.Error as error:
            self._fail(error)
        if not self._readonly:
            self.flush()

    def _check_pages(self) -> None:
        # A busy writer may overwrite the roots of a snapshot, also while they are read, never its pages. What is really
        # wrong is there the next time, too.
        for _ in range(10):
            with self._env.begin() as txn:
                wrong = pages.damages(self.path / "data.mdb", txn.id())
            if not wrong or (self._exclusive and wrong != [pages.OVERTAKEN]):
                break
        if wrong and wrong != [pages.OVERTAKEN]:
            more = f"; and {len(wrong) - MOST_DAMAGES} more" if len(wrong) > MOST_DAMAGES else ""
            said = "; ".join(wrong[:MOST_DAMAGES]) + more
            raise StoreCorrupt(f"{self.path}: the store is damaged ({said}): restore it from a copy, or move it away")

    def _upgrade(self) -> None:
        """Bring a store of the former format up to date, all or nothing, and keep a copy of what it was."""
        with self._env.begin() as txn:
            written = self._format(txn)
        if written != FORMER or not self._exclusive:
            return
        copy = self._copy()
        with self._env.begin(write=True) as txn:
            for name in NEW_SINCE_1:
                self._env.open_db(name.encode(), txn)
            upgrade_from_1(txn, lambda name: self._env.open_db(name.encode(), txn, create=False))
            self._stamp(txn)
        self.upgraded = copy

    def _stamp(self, txn: Any) -> None:
        meta = self._env.open_db(b"meta", txn)
        txn.put(b"upgraded", b"%d" % self._now, db=meta)
        txn.put(b"format", FORMAT, db=meta)

    def _format(self, txn: Any) -> bytes | None:
        try:
            stored: bytes | None = txn.get(b"format", db=self._env.open_db(b"meta", txn, create=False))
            return stored
        except lmdb.NotFoundError:
            return None

    def _copy(self) -> Path:
        """A copy of the whole store beside it; it has its name only once it is complete and on the disk."""
        made, copy = self.path / COPYING, self.path / COPY
        try:
            rmtree(made, ignore_errors=True)  # of an attempt that did not end
            made.mkdir(mode=0o700)
            self._env.copy(str(made), compact=True)
            with (made / "data.mdb").open("rb") as whole:
                os.fsync(whole.fileno())
            (made / "data.mdb").replace(copy)
            made.rmdir()
        except (OSError, lmdb.Error) as error:
            rmtree(made, ignore_errors=True)
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreUnavailable(
                f"{self.path}: has format 1 and cannot be copied before it is brought up to date: {reason}"
            ) from error
        return copy

    def backup(self, file: Path) -> int:
        """Write a copy of what is committed now to a file, beside servers at work; returns its bytes.

        It has its name once it is whole and on the disk; a former backup of that name is replaced. Raises StoreUnavailable.
        """
        part = file.with_name(file.name + ".part")
        try:
            if file.exists() and not pages.is_lmdb(file):
                raise StoreUnavailable(f"{file}: is there and no backup: choose another name")
            part.unlink(missing_ok=True)  # of an attempt that did not end
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self._env.copyfd(descriptor, compact=True)
                os.fsync(descriptor)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            part.replace(file)
            self._settle(file.parent)
        except (OSError, lmdb.Error) as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreUnavailable(f"{file}: the copy cannot be written: {reason}") from error
        return size

    @staticmethod
    def _settle(folder: Path) -> None:
        """Names of new files are on the disk once their directory is."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _open_databases(self, txn: Any) -> None:
        """Open the named databases, or make them where the environment is new."""

        def database(name: str, create: bool = False) -> Any:
            return self._env.open_db(name.encode(), txn, create=create)

        new = self._env.stat()["entries"] == 0 if txn is None else txn.stat(self._env.open_db(None, txn))["entries"] == 0
        if new and txn is None:
            raise StoreUnavailable(f"{self.path}: the store is still empty: start the server first")
        if new:
            meta = database("meta", create=True)
            txn.put(b"format", FORMAT, db=meta)
            txn.put(b"secret", os.urandom(SECRET_SIZE), db=meta)
        try:
            self._meta = database("meta")
            self._check_format(self._get(b"format", self._meta) if txn is None else txn.get(b"format", db=self._meta))
            needed = [name for name in self.databases if name not in outcomes.DATABASES]
            self._opened = opened = {name: database(name, create=new) for name in needed}
        except lmdb.NotFoundError as error:
            raise StoreCorrupt(f"{self.path}: an LMDB environment, but no store of sipfast") from error
        self._bindings, self._watches, self._callers = opened["bindings"], opened["watches"], opened["callers"]
        self._known, self._talks = opened["known"], opened["talks"]
        self._moves, self._contacts = opened["moves"], opened["contacts"]
        with suppress(lmdb.NotFoundError):  # where it is opened for reading only
            self._attempts, self._ended = [database(name, create=txn is not None) for name in outcomes.DATABASES]

    def _check_format(self, written: bytes | None) -> None:
        if written != FORMAT:
            found, known = (written or b"?").decode("ascii", "replace"), FORMAT.decode()
            if written == FORMER:
                raise StoreCorrupt(f"{self.path}: the store has format 1: start the server once, it brings it up to date")
            raise StoreCorrupt(
                f"{self.path}: the store has format {found}, this sipfast reads {known}: use the version that wrote it"
            )

    def _release(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()
        if self._place is not None:
            _places.discard(self._place)
            self._place = None
        if self._lock != -1:
            os.close(self._lock)
            self._lock = -1

    def _spoil(self, error: lmdb.Error) -> NoReturn:
        """A write has failed: LMDB's transaction is lost with all that it held."""
        txn, self._txn = self._txn, None
        txn.abort()
        try:
            self._fail(error)
        except StoreError as failure:
            self._spoiled = failure
            raise

    def _fail(self, error: lmdb.Error) -> NoReturn:
        """Say what happened and what can be done, in one line."""
        if isinstance(error, lmdb.PanicError):  # the roots could not be written: LMDB wants to be opened anew
            with suppress(lmdb.Error):
                self._env.close()
            self._open()
        if isinstance(error, DAMAGED):
            raise StoreUnreadable(f"{self.path}: not a store, or a damaged one ({error}): restore it from a copy") from error
        way_out = str(error)
        if isinstance(error, lmdb.MapFullError):
            way_out = f"the store has grown to its limit of {self._map_size / (1 << 30):g} GiB: raise map_size"
        elif isinstance(error, lmdb.DiskError):
            way_out = "no space left on the disk: free some"
        elif isinstance(error, lmdb.ReadersFullError):
            way_out = f"more than {MAX_READERS} readers at once"
        raise StoreUnavailable(f"{self.path}: {way_out}") from error
