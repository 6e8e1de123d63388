# The timer wheel: hashed and hierarchical, ticks of 1 ms. See _wheel.pyx for workload, sizes and memory.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

# Whoever owns timers. `expired` is called by Wheel.advance; it may schedule and cancel on the same wheel.
cdef class Timed:
    cpdef int expired(self, int kind, object payload, int64_t now) except -1

cdef enum:
    TOGETHER = 64       # cancelled timers that are unlinked together
    LONGEST = 1_036_800_000  # ms that a timer may be away: 12 days

cdef struct Link:
    uint32_t next
    uint32_t prev

cdef struct Timer:
    int64_t when
    void *owner         # a counted reference to a Timed; NULL where the place is free
    void *payload       # a counted reference, or NULL for None
    uint32_t generation
    int32_t kind


@cython.final
cdef class Wheel:
    # All times are int milliseconds since the epoch. A timer never fires before `when`; a `when` in the past fires at
    # the next advance. The handle is never 0 and never reused for another timer (generation inside).
    cpdef uint64_t schedule(self, int64_t when, Timed owner, int kind=*, object payload=*) except 0
    cpdef bint cancel(self, uint64_t handle) noexcept         # False: fired, cancelled or never there
    cpdef int advance(self, int64_t now) except -1            # number of timers fired, in order of time
    cpdef int64_t deadline(self) noexcept                     # no timer fires before it; -1: none. May be early, never late
    cpdef clear(self)                                         # drop every timer unfired
    cdef readonly int64_t now
    cdef readonly int64_t count

    cdef Link *links              # sentinels first, then one for each place
    cdef Timer *timers            # one for each place
    cdef uint32_t capacity        # places allocated
    cdef uint32_t touched         # places ever used: those from here on are untouched memory
    cdef uint32_t free            # the list of free places, by their links' `next`; NO_PLACE at its end
    cdef bint advancing
    cdef uint64_t occupied[4][4]  # by level, one bit for each slot that holds a timer
    cdef uint32_t cancelled[TOGETHER]     # places whose timer is void but still linked
    cdef uint32_t cancelled_count

    cdef int grow(self) except -1
    cdef int fire(self, uint32_t node, int64_t now) except -1
    cdef void append(self, uint32_t sentinel, uint32_t node) noexcept
    cdef void unlink(self, uint32_t node) noexcept
    cdef void splice(self, uint32_t source, uint32_t target) noexcept
    cdef uint32_t slot_of(self, int64_t when) noexcept
    cdef uint32_t next_slot(self, int64_t *start) noexcept
    cdef void collect(self, int64_t now) noexcept
    cdef void release(self, uint32_t place) noexcept
    cdef void unlink_cancelled(self) noexcept
