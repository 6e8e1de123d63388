# How many recalls may begin. See bucket.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._hash cimport Secret


@cython.final
cdef class Bucket:
    cdef Secret secret
    cdef uint64_t made
    cdef int workers
    cdef int64_t between, depth          # us: from one recall to the next, and how far ahead of that they may come; 0: no bound
    cdef int64_t host_between, host_depth
    cdef int64_t level                   # us since the epoch: when all that has begun would have, one by one
    cdef dict hosts                      # address -> the same
    # A recall by this flow takes its place: ms until it may begin, 0 for now.
    cdef int64_t take(self, Flow flow, int64_t now) except -1
    cdef int64_t jitter(self, int64_t most) noexcept
    cdef int forget_idle(self, int64_t at) except -1

# `seed`: at least 16 random bytes.
cdef Bucket make_bucket(settings, bytes seed, int workers)
