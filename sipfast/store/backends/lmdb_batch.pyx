"""What of the LMDB store a REGISTER, a call or a recall passes through, compiled: keys, reads and writes within a batch.

lmdb.py is the store and inherits from Batch; it begins, ends and fails batches (`_open_batch`, `_snapshot`, `_fail`,
`_spoil`). py-lmdb takes its arguments by place here: by name they cost half as much again as what it does with them.
"""

from hashlib import blake2b

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

from lmdb import Error

from ...errors import StoreUnreadable
from ..codec import changed_contacts
from ..records import decode_bindings, decode_watch, encode_bindings, encode_watch, readable

cdef enum:
    SHORTENED_SIZE = 255    # two of them and a NUL are LMDB's 511 bytes

SHORTENED = SHORTENED_SIZE


cpdef bytes key_of(bytes aor):
    cdef Py_ssize_t size = len(aor)
    if 0 < size < SHORTENED_SIZE and memchr(PyBytes_AS_STRING(aor), 0, size) == NULL:
        return aor
    digest = blake2b(aor, digest_size=16).hexdigest().encode()
    beginning = aor[: SHORTENED_SIZE - len(digest)].replace(b"\0", b"\1")
    return beginning.ljust(SHORTENED_SIZE - len(digest), b"\1") + digest


cpdef bytes pair_of(bytes first, bytes second):
    cdef bytes one = key_of(first), other = key_of(second)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(one)
    cdef bytes pair = PyBytes_FromStringAndSize(NULL, size + 1 + PyBytes_GET_SIZE(other))
    cdef char *to = PyBytes_AS_STRING(pair)
    memcpy(to, PyBytes_AS_STRING(one), size)
    to[size] = 0
    memcpy(to + size + 1, PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other))
    return pair


def by_age(watch):
    return watch.armed_at, watch.caller


cdef class Batch:
    cdef public object _txn         # the batch's write transaction, or None
    cdef public object _held        # what reads outside of that look at, where it is kept for the next one
    cdef bint holding
    cdef public object _bindings    # py-lmdb's handles of these databases
    cdef public object _contacts
    cdef public object _watches
    cdef public object _callers
    cdef public object _attempts
    cdef public long writes

    def for_update(self):
        if self._txn is None:
            self.begin()

    cdef int begin(self) except -1:
        self._held = None
        self._open_batch()
        return 0

    def hold_snapshot(self):
        self._held = None
        self.holding = True

    def let_go(self):
        self._held = None
        self.holding = False

    # ---- bindings

    def bindings(self, bytes aor not None):
        cdef tuple read
        cdef object stored = self.get(key_of(aor), self._bindings)
        if stored is None:
            return ()
        read = self.read(decode_bindings, stored)
        return read[1] if read[0] == aor else ()

    def bindings_record(self, bytes aor not None):
        return self.get(key_of(aor), self._bindings)

    def put_bindings_record(self, bytes aor not None, bytes record not None):
        self.put(key_of(aor), record, self._bindings)

    def put_bindings(self, bytes aor not None, bindings):
        cdef bytes key = key_of(aor), former = self.get(key, self._bindings), record = None, contact
        if bindings:
            record = encode_bindings(aor, tuple(bindings))
            self.put(key, record, self._bindings)
        elif former is not None:
            self.delete(key, self._bindings)
        gone, added = changed_contacts(aor, former, record)
        for contact in gone:
            self.delete(contact + key, self._contacts)
        for contact in added:
            self.put_contact(contact, aor)

    def put_contact(self, bytes contact not None, bytes aor not None):
        cdef bytes key = key_of(aor)
        self.put(contact + key, b"" if key == aor else aor, self._contacts)

    # ---- watches

    def watch(self, bytes callee not None, bytes caller not None):
        cdef object stored = self.get(pair_of(callee, caller), self._watches)
        if stored is None:
            return None
        watch = self.read(decode_watch, stored)
        return watch if watch.callee == callee and watch.caller == caller else None

    def watches(self, bytes callee not None):
        cdef list found = []
        for watch in readable(decode_watch, self.values(self._watches, key_of(callee) + b"\0")):
            if watch.callee == callee:
                found.append(watch)
        if len(found) > 1:
            found.sort(key=by_age)
        return found

    def put_watch(self, watch):
        self.put_watch_record(watch.callee, watch.caller, encode_watch(watch))

    def claim(self, watch, claimed):
        return self.claim_record(watch.callee, watch.caller, encode_watch(watch), encode_watch(claimed))

    def watch_record(self, bytes callee not None, bytes caller not None):
        return self.get(pair_of(callee, caller), self._watches)

    def put_watch_record(self, bytes callee not None, bytes caller not None, bytes record not None, bint new=True):
        self.put(pair_of(callee, caller), record, self._watches)
        if new:
            self.put(pair_of(caller, callee), b"", self._callers)

    def claim_record(self, bytes callee not None, bytes caller not None, bytes record not None,
                     bytes claimed not None):
        cdef bytes key = pair_of(callee, caller)
        self.for_update()
        if self.get(key, self._watches) != record:
            return False
        self.put(key, claimed, self._watches)
        return True

    def delete_watch(self, bytes callee not None, bytes caller not None):
        cdef bytes pair = pair_of(callee, caller)
        if not self.delete(pair, self._watches):
            return False
        self.delete(pair_of(caller, callee), self._callers)
        self.delete(pair, self._attempts)
        return True

    def count_by_caller(self, bytes caller not None):
        return self.count(self._callers, key_of(caller) + b"\0")

    def count_by_callee(self, bytes callee not None):
        return self.count(self._watches, key_of(callee) + b"\0")

    # ---- records by key

    def _get(self, bytes key not None, database):
        return self.get(key, database)

    def _put(self, bytes key not None, bytes value not None, database):
        self.put(key, value, database)

    cdef object get(self, bytes key, object database):
        try:
            if self._txn is not None:
                return self._txn.get(key, None, database)
            if self._held is not None:
                return self._held.get(key, None, database)
            # Let go of, it is kept by py-lmdb for the next one to look at what is committed by then.
            snapshot = self._snapshot()
            if self.holding:
                self._held = snapshot
            return snapshot.get(key, None, database)
        except Error as error:
            self._fail(error)

    cdef int put(self, bytes key, bytes value, object database) except -1:
        if self._txn is None:
            self.begin()
        try:
            self._txn.put(key, value, True, True, False, database)      # dupdata, overwrite, append
        except Error as error:
            self._spoil(error)
        self.writes += 1
        return 0

    def _delete(self, bytes key not None, database):
        return self.delete(key, database)

    cdef bint delete(self, bytes key, object database) except -1:
        cdef bint gone = False
        if self._txn is None:
            if self.get(key, database) is None:     # the writer's lock is not taken for nothing
                return False
            self.begin()
        try:
            gone = self._txn.delete(key, b"", database)
        except Error as error:
            self._spoil(error)
        self.writes += gone
        return gone

    def _range(self, database, bytes prefix not None):
        """The values of all keys that begin with `prefix`, in the order of keys."""
        return self.values(database, prefix)

    cdef list values(self, object database, bytes prefix):
        cdef list found = []
        try:
            with self._snapshot() as txn:
                cursor = txn.cursor(database)
                there = cursor.set_range(prefix)
                while there and (<bytes>cursor.key()).startswith(prefix):
                    found.append(cursor.value())
                    there = cursor.next()
        except Error as error:
            self._fail(error)
        return found

    cdef int count(self, object database, bytes prefix) except -1:
        cdef int found = 0
        try:
            with self._snapshot() as txn:
                cursor = txn.cursor(database)
                there = cursor.set_range(prefix)
                while there and (<bytes>cursor.key()).startswith(prefix):
                    found += 1
                    there = cursor.next()
        except Error as error:
            self._fail(error)
        return found

    def _read(self, decode, bytes stored not None):
        return self.read(decode, stored)

    cdef object read(self, object decode, bytes stored):
        try:
            return decode(stored)
        except StoreUnreadable as error:
            raise StoreUnreadable(f"{self.path}: {error}") from error
