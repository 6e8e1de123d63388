# Whose recalls wait until they can take one. See suspended.pyx.

cimport cython
from libc.stdint cimport int64_t

from .notice cimport Notices
from .ownership cimport Ownership


@cython.final
cdef class Suspended:
    cdef Ownership ownership
    cdef Notices notices
    cdef readonly dict callees           # caller -> those that it waits for: a set of AORs
    # The watch of a pair is suspended, which all workers are to know.
    cdef int add(self, tuple pair) except -1
    # The same, told by another worker or read from the store.
    cdef int remember(self, tuple pair) except -1
    cdef bint has(self, bytes caller) except -1
    # The caller may be able to take a recall now, in `after` ms: the owners of its suspended watches are told, once.
    cdef int caller_back(self, bytes caller, int64_t after, int64_t now) except -1
