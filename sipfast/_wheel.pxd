# The timer wheel: hashed and hierarchical, ticks of 1 ms. See _wheel.pyx for workload, sizes and memory.

from libc.stdint cimport int64_t, uint64_t

# Whoever owns timers. `expired` is called by Wheel.advance; it may schedule and cancel on the same wheel.
cdef class Timed:
    cpdef int expired(self, int kind, object payload, int64_t now) except -1

cdef class Wheel:
    # (fields are the implementer's)
    # All times are int milliseconds since the epoch. A timer never fires before `when`; a `when` in the past fires at
    # the next advance. The handle is never 0 and never reused for another timer (generation inside).
    cdef uint64_t schedule(self, int64_t when, Timed owner, int kind, object payload=*) except 0
    cdef bint cancel(self, uint64_t handle) noexcept          # False: fired, cancelled or never there
    cdef int advance(self, int64_t now) except -1             # number of timers fired, in order of time
    cdef int64_t deadline(self) noexcept                      # no timer fires before it; -1: none. May be early, never late
    cdef readonly int64_t now
    cdef readonly int64_t count
