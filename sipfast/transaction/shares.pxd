# Who has too much of what there is room for. See shares.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .index cimport Index

cdef class Shares:
    cdef double part                     # of all, that one address may have
    cdef set large                       # addresses with more, as key_of() gives them
    cdef int64_t looked_at               # ms
    cdef size_t turn                     # which buckets are to be looked at next
    # Whether who is there may have no more. `held`: of `most_servers` transactions and `most_held` bytes all are known by the
    # index, and at least half of one of these is in use.
    cdef bint has_too_much(self, Flow flow, Index *transactions, int64_t most_servers, int64_t most_held, int64_t now) except -1
    cdef int look(self, Index *transactions, int64_t most_servers, int64_t most_held) except -1
