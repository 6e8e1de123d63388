"""The embedded back end: one LMDB environment, shared by all processes of a machine.

LMDB has one writer at a time and any number of readers that never wait. A batch (tables.pyx) is one write transaction,
begun by its first write or by `for_update`, and committed once. Reads outside it take a snapshot of their own, for each
read (half a microsecond), so nothing stale is ever kept and no old page is held back from reuse.

Where it lies, how it is opened, copied and brought up to date, and what its errors mean is in directory.py.

py-lmdb takes its arguments by place here: by name they cost half as much again as what it does with them.
"""

from lmdb import Error, MapResizedError, Transaction

from ..tables cimport Tables

from ...errors import StoreError, StoreUnavailable
from ..tables import NAMES
from .directory import Directory


# Not looked up each time.
cdef object get_by = Transaction.get, put_by = Transaction.put, delete_by = Transaction.delete


cdef list rows_from(object cursor, bytes prefix):
    cdef list found = []
    cdef bytes key
    there = cursor.set_range(prefix)
    while there:
        key = cursor.key()
        if not key.startswith(prefix):
            break
        found.append((key, cursor.value()))
        there = cursor.next()
    return found


cdef list rows_behind(object cursor, bytes former, Py_ssize_t limit):
    cdef list found = []
    there = cursor.set_range(former + b"\0") if former else cursor.first()
    while there and len(found) < limit:
        found.append((cursor.key(), cursor.value()))
        there = cursor.next()
    return found


cdef Py_ssize_t count_from(object cursor, bytes prefix) except -1:
    cdef Py_ssize_t found = 0
    there = cursor.set_range(prefix)
    while there and (<bytes>cursor.key()).startswith(prefix):
        found += 1
        there = cursor.next()
    return found


cdef class LmdbTables(Tables):

    def __init__(self, path, *, durability="process", map_size_gib=64, readonly=False, exclusive=False, now=0,
                 names=NAMES):
        self.where = str(path)
        self.directory = Directory(path, durability, map_size_gib, readonly, exclusive, now, names)
        self.handles = self.directory.handles

    # ---- reading

    cpdef bytes get(self, int table, bytes key):
        cdef object handle = self.handles[table], snapshot
        if handle is None:
            return None
        try:
            if self.txn is not None:
                return get_by(self.txn, key, None, handle)
            if self.held is not None:
                return get_by(self.held, key, None, handle)
            # Let go of, it is kept by py-lmdb for the next one to look at what is committed by then.
            snapshot = self.snapshot()
            if self.holding:
                self.held = snapshot
            return get_by(snapshot, key, None, handle)
        except Error as error:
            self.fail(error)

    cpdef list rows(self, int table, bytes prefix):
        cdef object handle = self.handles[table]
        if handle is None:
            return []
        try:
            if self.txn is not None:
                return rows_from(self.txn.cursor(handle), prefix)
            with self.snapshot() as snapshot:
                return rows_from(snapshot.cursor(handle), prefix)
        except Error as error:
            self.fail(error)

    cpdef list rows_after(self, int table, bytes key, Py_ssize_t limit):
        cdef object handle = self.handles[table]
        if handle is None:
            return []
        try:
            if self.txn is not None:
                return rows_behind(self.txn.cursor(handle), key, limit)
            with self.snapshot() as snapshot:
                return rows_behind(snapshot.cursor(handle), key, limit)
        except Error as error:
            self.fail(error)

    # In a batch they are read at once: a cursor would not outlive it.
    def each(self, int table):
        if self.txn is not None or self.spoiled is not None or self.handles[table] is None:
            return iter([value for _, value in self.rows(table, b"")])
        return self.walk(self.begun(False), self.handles[table])

    def walk(self, snapshot, handle):
        try:
            with snapshot:
                yield from snapshot.cursor(handle).iternext(keys=False)
        except Error as error:
            self.fail(error)

    cpdef Py_ssize_t count(self, int table, bytes prefix) except -1:
        cdef object handle = self.handles[table]
        if handle is None:
            return 0
        try:
            if self.txn is not None:
                if not prefix:
                    return self.txn.stat(handle)["entries"]
                return count_from(self.txn.cursor(handle), prefix)
            with self.snapshot() as snapshot:
                if not prefix:
                    return snapshot.stat(handle)["entries"]
                return count_from(snapshot.cursor(handle), prefix)
        except Error as error:
            self.fail(error)

    cpdef bytes last_key(self, int table):
        cdef object handle = self.handles[table]
        if handle is None:
            return None
        try:
            if self.txn is not None:
                cursor = self.txn.cursor(handle)
                return cursor.key() if cursor.last() else None
            with self.snapshot() as snapshot:
                cursor = snapshot.cursor(handle)
                return cursor.key() if cursor.last() else None
        except Error as error:
            self.fail(error)

    # ---- writing

    cpdef put(self, int table, bytes key, bytes value):
        if self.txn is None:
            self.begin()
        try:
            put_by(self.txn, key, value, True, True, False, self.handles[table])    # dupdata, overwrite, append
        except Error as error:
            self.spoil(error)
        self.writes += 1

    cpdef bint delete(self, int table, bytes key) except -1:
        cdef bint gone = False
        if self.txn is None:
            if self.get(table, key) is None:        # the writer's lock is not taken for nothing
                return False
            self.begin()
        try:
            gone = delete_by(self.txn, key, b"", self.handles[table])
        except Error as error:
            self.spoil(error)
        self.writes += gone
        return gone

    # ---- the batch

    cpdef for_update(self):
        if self.txn is None:
            self.begin()

    cpdef hold_snapshot(self):
        self.held = None
        self.holding = True

    cpdef let_go(self):
        self.held = None
        self.holding = False

    cpdef commit(self):
        cdef object txn = self.txn, spoiled = self.spoiled
        self.let_go()
        self.txn = self.spoiled = None
        if spoiled is not None:
            raise type(spoiled)(str(spoiled))
        if txn is not None:
            try:
                txn.commit()
            except Error as error:
                self.fail(error)

    cpdef abort(self):
        cdef object txn = self.txn
        self.let_go()
        self.txn = self.spoiled = None
        if txn is not None:
            txn.abort()

    cdef int begin(self) except -1:
        self.held = None
        if self.spoiled is not None:
            raise type(self.spoiled)(str(self.spoiled))
        if self.directory.readonly:
            raise StoreUnavailable(f"{self.where}: opened for reading only")
        self.txn = self.begun(True)
        return 0

    # What a read outside of a write transaction looks at: what is committed now. To be ended by who has it.
    cdef object snapshot(self):
        if self.spoiled is not None:
            raise type(self.spoiled)(str(self.spoiled))
        return self.begun(False)

    cdef object begun(self, bint write):
        cdef object environment = self.directory.environment
        if environment is None:
            raise StoreUnavailable(f"{self.where}: the store is closed")
        try:
            return environment.begin(None, None, write)
        except MapResizedError:             # another process has been given a larger map_size, and has used it
            self.held = None                # none may look at the former map
            environment.set_mapsize(0)
            return environment.begin(None, None, write)
        except Error as error:
            self.fail(error)

    # A write has failed: LMDB's transaction is lost with all that it held.
    cdef int spoil(self, object error) except -1:
        cdef object txn = self.txn
        self.txn = None
        txn.abort()
        try:
            self.fail(error)
        except StoreError as failure:
            self.spoiled = failure
            raise

    cdef int fail(self, object error) except -1:
        try:
            self.directory.fail(error)
        finally:
            self.handles = self.directory.handles       # it may have been opened anew

    # ---- the whole

    def flush(self):
        self.directory.flush()

    def close(self):
        if self.directory.environment is None:
            return
        self.abort()
        try:
            self.flush()
        finally:
            self.directory.close()
