"""Loops around what compiled callers ask of the timer wheel, so that what is measured is not the way there from Python.

Handles wait in a C array, read in order: in place of an owner that the caller has in hand anyway.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

from sipfast._wheel cimport Timed, Wheel


cdef class Handles:
    """Handles of timers, to be cancelled one after the other."""

    cdef uint64_t *handles
    cdef readonly long count
    cdef long at

    def __init__(self, list handles):
        cdef long i
        self.handles = <uint64_t *>malloc(len(handles) * sizeof(uint64_t))
        if self.handles == NULL:
            raise MemoryError()
        self.count = len(handles)
        for i in range(self.count):
            self.handles[i] = handles[i]

    def __dealloc__(self):
        free(self.handles)

    def cancel(self, Wheel wheel, long count):
        """The next ones; how many there were to cancel."""
        cdef long i, found = 0
        for i in range(self.at, min(self.at + count, self.count)):
            found += wheel.cancel(self.handles[i])
        self.at += count
        return found


def schedule(Wheel wheel, int64_t when, Timed owner, long count):
    """One in each of 32,000 ms, over and over, as transactions do."""
    cdef long i
    for i in range(count):
        wheel.schedule(when + i % 32_000, owner, 1)


def schedule_and_cancel(Wheel wheel, int64_t when, Timed owner, long count, long behind):
    """Each is cancelled when `behind` others have been scheduled after it: what a transaction does that is answered."""
    cdef long i
    cdef uint64_t *handles = <uint64_t *>malloc(behind * sizeof(uint64_t))
    if handles == NULL:
        raise MemoryError()
    for i in range(count):
        if i >= behind:
            wheel.cancel(handles[i % behind])
        handles[i % behind] = wheel.schedule(when + i % 32_000, owner, 1)
    for i in range(max(count, behind) - behind, count):
        wheel.cancel(handles[i % behind])
    free(handles)
