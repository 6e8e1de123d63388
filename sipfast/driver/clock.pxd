# What everything behind the driver is timed by. See clock.pyx.

from libc.stdint cimport int64_t

cdef class Clock:
    cdef readonly int64_t zero          # when this boot began by this clock, ms since the epoch
    cpdef int64_t now(self) noexcept    # ms since the epoch
