"""The directory of an LMDB store: how it is claimed, opened, checked, copied, brought up to date, and what its errors mean.

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
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal, NoReturn

import lmdb

from ...errors import StoreCorrupt, StoreUnavailable, StoreUnreadable
from . import pages
from .upgrade import upgrade_from_1

FORMAT = b"2"
FORMER = b"1"  # can be brought up to date
NEW_SINCE_1 = ("moves", "contacts")
# A version that does not know them does not miss them: no new format.
MADE_WHERE_MISSING = ("attempts", "ended", "phones", "legs")
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
OURS = {"data.mdb", "lock.mdb", "server.lock", "ringing", "proofs", "limits", "workers", "lost+found", COPY, COPYING}

_places: set[Path] = set()  # what is open in this process


class Directory:
    """An LMDB environment in a directory of its own. Its databases are the tables of tables.pyx, by their names.

    `durability` and `map_size_gib` are those of config.Storage. `exclusive` is for the one server that may serve from the
    directory: it holds `server.lock` until it is closed. Commands that work beside a running server open without.
    `readonly` never writes and needs the store to be there. `now` (ms since the epoch) is written into a store that is
    brought up to date, which an exclusive one does; `upgraded` then is its copy's path.

    Raises StoreUnavailable where the directory cannot be used, or is in use by another server, and StoreCorrupt where it
    holds something else than a store that this version can read; then nothing in it has been changed.
    """

    def __init__(
        self,
        path: str | Path,
        durability: Literal["process", "power"],
        map_size_gib: float,
        readonly: bool,
        exclusive: bool,
        now: int,
        names: Sequence[str],
    ) -> None:
        self.path = Path(path)
        self.readonly = readonly
        self.upgraded: Path | None = None
        self.environment: Any = None  # None: closed
        self.handles: tuple[Any, ...] = ()  # of the tables, in the order of their names; None where one is missing
        self._names = tuple(names)
        self._map_size = int(map_size_gib * (1 << 30)) // pages.PAGE_SIZE * pages.PAGE_SIZE
        self._synchronous = durability == "power"
        self._exclusive = exclusive
        self._now = now
        self._lock = -1
        self._place: Path | None = None
        self._used = False  # what the lock file says
        try:
            self._prepare_directory()
            self._take_place()
            self._open()
            if exclusive and not self._used:
                os.pwrite(self._lock, USED, os.fstat(self._lock).st_size)
        except BaseException:
            self.close()
            raise

    def flush(self) -> None:
        """Push what is committed to the disk. May be called from another thread than the rest; takes a disk's time."""
        if self.environment is not None and not self.readonly:
            try:
                self.environment.sync(True)
            except lmdb.Error as error:
                self.fail(error)

    def keep_lock(self) -> int:
        """`server.lock` outlives `close`: other processes will serve. Returns its descriptor, whose closing gives it up."""
        lock, self._lock = self._lock, -1
        return lock

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
                self.environment.copyfd(descriptor, compact=True)
                os.fsync(descriptor)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            part.replace(file)
            self._keep_names(file.parent)
        except (OSError, lmdb.Error) as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreUnavailable(f"{file}: the copy cannot be written: {reason}") from error
        return size

    @staticmethod
    def _keep_names(folder: Path) -> None:
        """Names of new files are on the disk once their directory is."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """A second call does nothing."""
        environment, self.environment = self.environment, None
        if environment is not None:
            environment.close()
        if self._place is not None:
            _places.discard(self._place)
            self._place = None
        if self._lock != -1:
            os.close(self._lock)
            self._lock = -1

    def fail(self, error: lmdb.Error) -> NoReturn:
        """Say what happened and what can be done, in one line."""
        if isinstance(error, lmdb.PanicError):  # the roots could not be written: LMDB wants to be opened anew
            with suppress(lmdb.Error):
                self.environment.close()
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

    # ------------------------------------------------------------ opening

    def _prepare_directory(self) -> None:
        """Make the directory, or see that it is one of ours; nothing else is touched."""
        try:
            if not (self.path / "data.mdb").exists():
                if self.readonly:
                    raise StoreUnavailable(f"{self.path}: there is no store here: name the server's data directory")
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                strangers = {entry.name for entry in self.path.iterdir()} - OURS
                if strangers:
                    raise StoreCorrupt(f"{self.path}: holds {min(strangers)!r} and no store: choose a directory of its own")
            if self._exclusive:
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
            self.environment = lmdb.open(
                str(self.path),
                map_size=self._map_size,
                max_dbs=len(self._names),
                max_readers=MAX_READERS,
                max_spare_txns=4,
                mode=0o600,
                create=not self.readonly,
                readonly=self.readonly,
                sync=self._synchronous,
                metasync=self._synchronous,
                writemap=False,
            )
            self.environment.reader_check()  # the places of processes that were killed
            self._check_pages()
            if self.readonly:
                self._open_databases(None)
            else:
                self._upgrade()
                with self.environment.begin(write=True) as txn:  # two processes do not both make the databases
                    self._open_databases(txn)
        except lmdb.Error as error:
            self.fail(error)
        if not self.readonly:
            self.flush()

    def _check_pages(self) -> None:
        # A busy writer may overwrite the roots of a snapshot, also while they are read, never its pages. What is really
        # wrong is there the next time, too.
        for _ in range(10):
            with self.environment.begin() as txn:
                wrong = pages.damages(self.path / "data.mdb", txn.id())
            if not wrong or (self._exclusive and wrong != [pages.OVERTAKEN]):
                break
        if wrong and wrong != [pages.OVERTAKEN]:
            more = f"; and {len(wrong) - MOST_DAMAGES} more" if len(wrong) > MOST_DAMAGES else ""
            said = "; ".join(wrong[:MOST_DAMAGES]) + more
            raise StoreCorrupt(f"{self.path}: the store is damaged ({said}): restore it from a copy, or move it away")

    def _upgrade(self) -> None:
        """Bring a store of the former format up to date, all or nothing, and keep a copy of what it was."""
        with self.environment.begin() as txn:
            written = self._format(txn)
        if written != FORMER or not self._exclusive:
            return
        copy = self._copy()
        with self.environment.begin(write=True) as txn:
            for name in NEW_SINCE_1:
                self.environment.open_db(name.encode(), txn)
            upgrade_from_1(txn, lambda name: self.environment.open_db(name.encode(), txn, create=False))
            self._stamp(txn)
        self.upgraded = copy

    def _stamp(self, txn: Any) -> None:
        meta = self.environment.open_db(b"meta", txn)
        txn.put(b"upgraded", b"%d" % self._now, db=meta)
        txn.put(b"format", FORMAT, db=meta)

    def _format(self, txn: Any) -> bytes | None:
        try:
            stored: bytes | None = txn.get(b"format", db=self.environment.open_db(b"meta", txn, create=False))
            return stored
        except lmdb.NotFoundError:
            return None

    def _copy(self) -> Path:
        """A copy of the whole store beside it; it has its name only once it is complete and on the disk."""
        made, copy = self.path / COPYING, self.path / COPY
        try:
            rmtree(made, ignore_errors=True)  # of an attempt that did not end
            made.mkdir(mode=0o700)
            self.environment.copy(str(made), compact=True)
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

    def _open_databases(self, txn: Any) -> None:
        """Open the named databases, or make them where the environment is new."""

        def database(name: str, create: bool = False) -> Any:
            return self.environment.open_db(name.encode(), txn, create=create)

        whole = self.environment.stat() if txn is None else txn.stat(self.environment.open_db(None, txn))
        new = whole["entries"] == 0
        if new and txn is None:
            raise StoreUnavailable(f"{self.path}: the store is still empty: start the server first")
        if new:
            meta = database("meta", create=True)
            txn.put(b"format", FORMAT, db=meta)
            txn.put(b"secret", os.urandom(SECRET_SIZE), db=meta)
        try:
            meta = database("meta")
            with nullcontext(txn) if txn is not None else self.environment.begin() as reading:
                self._check_format(reading.get(b"format", db=meta))
            handles = {name: database(name, create=new) for name in self._names if name not in MADE_WHERE_MISSING}
        except lmdb.NotFoundError as error:
            raise StoreCorrupt(f"{self.path}: an LMDB environment, but no store of sipfast") from error
        for name in MADE_WHERE_MISSING:
            with suppress(lmdb.NotFoundError):  # where it is opened for reading only
                handles[name] = database(name, create=txn is not None)
        self.handles = tuple(handles.get(name) for name in self._names)

    def _check_format(self, written: bytes | None) -> None:
        if written != FORMAT:
            found, known = (written or b"?").decode("ascii", "replace"), FORMAT.decode()
            if written == FORMER:
                raise StoreCorrupt(f"{self.path}: the store has format 1: start the server once, it brings it up to date")
            raise StoreCorrupt(
                f"{self.path}: the store has format {found}, this sipfast reads {known}: use the version that wrote it"
            )
