# Whose a callee is. See ownership.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..trust.credit cimport Credit
from .._wheel cimport Timed

# A pair is a tuple: callee, caller.

# What the owner of a callee is told, in whichever worker it is; each call is a notice.
cdef class CalleeOwner(Timed):
    # A watch was armed or renewed; it was removed, and its caller wants no call.
    cdef int watch_armed(self, tuple pair, int64_t expires_at, int64_t now) except -1
    cdef int watch_cancelled(self, tuple pair, int64_t now) except -1
    # The callee can be reached again, as who tells of it has just seen. `credit` pays for what is sent to callers who have
    # proven nothing.
    cdef int callee_available(self, bytes callee, Credit credit, int64_t now) except -1
    # The recalled call is being proxied by `worker`; it got a final response other than 2xx, after it rang for so many ms (-1: it
    # did not); it found the callee gone again.
    cdef int call_started(self, tuple pair, bytes call_id, int worker, int64_t now) except -1
    cdef int call_failed(self, tuple pair, bytes call_id, int status, int64_t rang, int64_t now) except -1
    cdef int callee_gone(self, tuple pair, int64_t now) except -1
    # A talk that kept others waiting is over, and was removed.
    cdef int talk_ended(self, bytes callee, bytes call_id, int64_t now) except -1
    # The caller of a suspended watch may be able to take a recall, in `after` ms.
    cdef int caller_back(self, tuple pair, int64_t after, int64_t now) except -1


@cython.final
cdef class Ownership:
    cdef readonly int worker, workers
    cdef bint alone                      # one worker: all callees are its own, and memory knows of all that is armed
    cdef CalleeOwner here, elsewhere
    cdef int worker_of(self, bytes callee) except -1
    cdef bint is_mine(self, bytes callee) except -1
    cdef CalleeOwner owner_of(self, bytes callee)
