# The embedded back end. See lmdb.pyx.

from ..tables cimport Tables

cdef class LmdbTables(Tables):
    cdef readonly object directory  # directory.Directory
    cdef tuple handles              # py-lmdb's, by table; None where a table is missing
    cdef object txn                 # the batch's write transaction, or None
    cdef object held                # what reads outside of that look at, where it is kept for the next one
    cdef object spoiled             # why the batch must fail, or None
    cdef bint holding
    cdef int begin(self) except -1
    cdef object begun(self, bint write)
    cdef object snapshot(self)
    cdef int fail(self, object error) except -1
    cdef int spoil(self, object error) except -1
