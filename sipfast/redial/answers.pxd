# Calls that were answered, and not acknowledged yet. See answers.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel


@cython.final
cdef class Answers:
    cdef Wheel wheel
    cdef Timed told                      # by a timer of `kind`
    cdef int kind
    cdef int64_t patience                # ms
    cdef readonly dict calls             # Call-ID -> pair (callee, caller), as they called, and until when; the oldest first
    cdef bint timed                      # the timer runs
    # Note a call whose 2xx passes; nothing where it is known.
    cdef add(self, bytes call_id, tuple pair, int64_t now)
    # Its pair, which is known no longer; None where it was not.
    cdef tuple pop(self, bytes call_id)
    # When the timer has run out: the Call-ID and the pair of one that has waited too long, which is known no longer; or None.
    cdef tuple pop_due(self, int64_t now)
    cdef watch_first(self)


# The last Call-IDs that were added, between `least` and twice as many.
@cython.final
cdef class Recent:
    cdef Py_ssize_t least
    cdef set latest, before
    cpdef add(self, bytes call_id)
    cdef bint has(self, bytes call_id) except -1
