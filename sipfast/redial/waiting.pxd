# Who waits for whom, as far as this process knows. See waiting.pyx.

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel

cdef class Waiting:
    cdef Wheel wheel
    cdef Timed owner
    cdef int kind
    cdef readonly dict timers            # pair (callee, caller) -> timer of its watch
    cdef dict of_callee                  # callee -> pair, or where there are several, a dict whose keys they are
    cdef dict of_caller                  # caller -> number of pairs
    # Note a pair, or give a known one another time. The timer is the owner's, of `kind`, with the pair as payload.
    cpdef hold(self, tuple pair, int64_t when)
    cpdef drop(self, tuple pair)
    cdef list pairs(self, bytes callee)
    cdef Py_ssize_t count_of_callee(self, bytes callee) except -1
    cdef Py_ssize_t count_of_caller(self, bytes caller) except -1
