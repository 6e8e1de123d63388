# What a back end is: tables of bytes. See tables.pyx, and tables.pyi for what each method does.

from libc.stdint cimport int64_t

cdef enum:
    BINDINGS                # the tables by number, in the order of NAMES
    WATCHES
    CALLERS
    KNOWN
    TALKS
    MOVES
    CONTACTS
    META
    ATTEMPTS
    ENDED
    PHONES
    LEGS

cdef class Tables:
    cdef public str where
    cdef public long writes
    cdef public bint at_once
    cdef public int64_t unit
    cpdef for_update(self)
    cpdef hold_snapshot(self)
    cpdef let_go(self)
    cpdef bytes get(self, int table, bytes key)
    cpdef put(self, int table, bytes key, bytes value)
    cpdef bint delete(self, int table, bytes key) except -1
    cpdef list rows(self, int table, bytes prefix)
    cpdef list rows_after(self, int table, bytes key, Py_ssize_t limit)
    cpdef Py_ssize_t count(self, int table, bytes prefix) except -1
    cpdef Py_ssize_t size(self, int table) except -1
    cpdef bytes last_key(self, int table)
    cpdef commit(self)
    cpdef bint fetch(self, set aors, object group) except -1
    cpdef bint apply(self, object batch) except -1
    cpdef abort(self)
