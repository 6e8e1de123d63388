# Who waits for whom, as far as this process knows. See waiting.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel


@cython.final
cdef class Waiting:
    cdef Wheel wheel
    cdef Timed told                      # by a timer of `kind` that a watch is over
    cdef int kind
    cdef readonly dict timers            # pair (callee, caller) -> timer of its watch
    cdef dict of_callee                  # callee -> pair, or where there are several, a dict whose keys they are
    cdef dict of_caller                  # caller -> number of pairs
    # Note a pair, or give a known one another time. Its timer has the pair as payload.
    cpdef remember(self, tuple pair, int64_t when)
    cpdef forget(self, tuple pair)
    cdef list pairs(self, bytes callee)
    cdef Py_ssize_t count_of_callee(self, bytes callee) except -1
    cdef Py_ssize_t count_of_caller(self, bytes caller) except -1
