# Which addresses have given back a secret of ours. See proven.pyx.

from libc.stdint cimport int64_t, uint64_t

from ._flow cimport Flow

cdef enum:
    MOST_DATAGRAMS = 4      # that one datagram may cause towards who has proven nothing
    MOST_TIMES = 6          # its bytes, too

cdef class Proven:
    cdef uint64_t secret
    cdef uint64_t *places
    cdef readonly long count             # proofs
    cdef bint has(self, Flow flow, int64_t now) noexcept
    cdef int add(self, Flow flow, int64_t now) except -1
    cdef uint64_t hash_of(self, Flow flow) noexcept

cdef Proven make_proven(uint64_t secret)
