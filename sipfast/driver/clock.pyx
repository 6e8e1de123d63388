"""The clock: whole milliseconds since the epoch, which nobody sets while the machine runs."""

import cython

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <time.h>
    /* Nobody sets it; on Linux it counts the time that the machine sleeps, too. */
    #ifdef CLOCK_BOOTTIME
    #define SINCE_BOOT CLOCK_BOOTTIME
    #else
    #define SINCE_BOOT CLOCK_MONOTONIC
    #endif
    """
    const int CLOCK_REALTIME, SINCE_BOOT
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *result) nogil


cdef int64_t nanoseconds(int clock) noexcept nogil:
    cdef timespec at
    clock_gettime(clock, &at)
    return <int64_t>at.tv_sec * 1_000_000_000 + at.tv_nsec


@cython.final
cdef class Clock:

    def __cinit__(self, zero=None):
        self.zero = (nanoseconds(CLOCK_REALTIME) - nanoseconds(SINCE_BOOT)) // 1_000_000 if zero is None else zero

    cpdef int64_t now(self) noexcept:
        return nanoseconds(SINCE_BOOT) // 1_000_000 + self.zero
