# Logins that failed, by who tried them. See failures.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow

cdef struct Source:
    uint64_t key            # 0: free
    int64_t paid            # ms: when all its failures are forgiven

cdef class Failures:
    cdef uint64_t secret
    cdef Source *sources
    # How long (ms) a source has to wait until it may try a user again; 0: it may.
    cdef int64_t wait(self, Flow flow, bytes user, int64_t now) noexcept
    # It has tried, and failed.
    cdef int add(self, Flow flow, bytes user, int64_t now) noexcept
    # One more login of its was refused, looked at or not. Whether that were `most` (up to 60,000) in a minute.
    cdef bint refused_often(self, Flow flow, int64_t most, int64_t now) noexcept
    cdef uint64_t key_of(self, Flow flow) noexcept
    cdef Source *find(self, uint64_t key, bint taking) noexcept

cdef Failures make_failures(uint64_t secret)
