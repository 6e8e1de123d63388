# The reference back end, in memory. See memory.pyx.

from ..tables cimport Tables

cdef class MemoryTables(Tables):
    cdef list tables
    cdef list orders
    cdef list journal
    cdef int change(self, int table, bytes key, bytes value) except -1
