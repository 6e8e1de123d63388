"""Whose a callee is: each belongs to one worker, by a hash of its AOR.

The owner holds the timers of the callee's watches, the recall that is going on, and whose turn it is; only the owner claims. So
one caller is called at a time, whichever workers the phones' datagrams come to. With one worker the owner is always here, and
telling it something is a call.
"""

from libc.stdint cimport int64_t, uint32_t

from ..trust.credit cimport Credit

from zlib import crc32


cdef class CalleeOwner(Timed):
    """The owner of a callee, as whoever sees an event knows it."""

    cdef int watch_armed(self, tuple pair, int64_t expires_at, int64_t now) except -1:
        raise NotImplementedError

    cdef int watch_cancelled(self, tuple pair, int64_t now) except -1:
        raise NotImplementedError

    cdef int callee_available(self, bytes callee, Credit credit, int64_t now) except -1:
        raise NotImplementedError

    cdef int call_started(self, tuple pair, bytes call_id, int worker, int64_t now) except -1:
        raise NotImplementedError

    cdef int call_failed(self, tuple pair, bytes call_id, int status, int64_t rang, int64_t now) except -1:
        raise NotImplementedError

    cdef int callee_gone(self, tuple pair, int64_t now) except -1:
        raise NotImplementedError

    cdef int talk_ended(self, bytes callee, bytes call_id, int64_t now) except -1:
        raise NotImplementedError

    cdef int caller_back(self, tuple pair, int64_t after, int64_t now) except -1:
        raise NotImplementedError


cdef class Ownership:
    """Whose a callee is, seen from `worker` of `workers`."""

    def __init__(self, int worker, int workers):
        self.worker = worker
        self.workers = workers
        self.alone = workers == 1

    cdef int worker_of(self, bytes callee) except -1:
        return self.worker if self.alone else <uint32_t>crc32(callee) % <uint32_t>self.workers

    cdef bint is_mine(self, bytes callee) except -1:
        return self.alone or self.worker_of(callee) == self.worker

    cdef CalleeOwner owner_of(self, bytes callee):
        return self.here if self.is_mine(callee) else self.elsewhere
