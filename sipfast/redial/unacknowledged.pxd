# Calls that were answered, and not acknowledged yet. See unacknowledged.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._parser cimport Message
from .._wheel cimport Timed, Wheel

# A call as its dialog is known (RFC 3261 §12): Call-ID and both tags in one, that of who calls first. One caller may use one
# Call-ID for several calls. This one is what a message of it has, whose sender is taken for who calls; and turned round.
cdef bytes call_of(Message message)
cdef bytes turned(bytes call)
# Call-ID, and both tags.
cdef tuple parts_of(bytes call)


@cython.final
cdef class Unacknowledged:
    cdef Wheel wheel
    cdef Timed told                      # by a timer of `kind`
    cdef int kind
    cdef int64_t patience                # ms
    cdef readonly dict calls             # call -> pair (callee, caller), as they called, and until when; the oldest first
    cdef bint timed                      # the timer runs
    # Note a call whose 2xx passes; nothing where it is known.
    cdef add(self, bytes call, tuple pair, int64_t now)
    # Its pair, which is known no longer; None where it was not.
    cdef tuple pop(self, bytes call)
    # Pair and Call-ID of each.
    cdef set awaited(self)
    # When the timer has run out: the call and the pair of one that has waited too long, which is known no longer; or None.
    cdef tuple pop_due(self, int64_t now)
    cdef watch_first(self)


# The last calls that were added, between `least` and twice as many.
@cython.final
cdef class Recent:
    cdef Py_ssize_t least
    cdef set latest, before
    cpdef add(self, bytes call)
    cdef bint has(self, bytes call) except -1
