"""What of the LMDB store every REGISTER passes through, compiled: keys, and a read and a write within a batch.

store/lmdb.py is the store and inherits from Batch; it begins, ends and fails batches (`for_update`, `_snapshot`, `_fail`,
`_spoil`). py-lmdb takes its arguments by place here: by name they cost half as much again as what it does with them.
"""

from hashlib import blake2b

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memchr

from lmdb import Error

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


cdef class Batch:
    cdef public object _txn         # the batch's write transaction, or None
    cdef public object _bindings    # py-lmdb's handle of that database
    cdef public long writes

    def bindings_record(self, bytes aor not None):
        return self.get(key_of(aor), self._bindings)

    def put_bindings_record(self, bytes aor not None, bytes record not None):
        self.put(key_of(aor), record, self._bindings)

    def _get(self, bytes key not None, database):
        return self.get(key, database)

    def _put(self, bytes key not None, bytes value not None, database):
        self.put(key, value, database)

    cdef object get(self, bytes key, object database):
        try:
            if self._txn is not None:
                return self._txn.get(key, None, database)
            with self._snapshot() as txn:
                return txn.get(key, None, database)
        except Error as error:
            self._fail(error)

    cdef int put(self, bytes key, bytes value, object database) except -1:
        if self._txn is None:
            self.for_update()
        try:
            self._txn.put(key, value, True, True, False, database)      # dupdata, overwrite, append
        except Error as error:
            self._spoil(error)
        self.writes += 1
        return 0
