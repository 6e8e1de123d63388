# Calls that were answered, and not acknowledged yet. See _answers.pyx.

from libc.stdint cimport int64_t

from ._wheel cimport Timed, Wheel

cdef class Answers:
    cdef Wheel wheel
    cdef Timed owner
    cdef int kind
    cdef int64_t patience                # ms
    cdef readonly dict calls             # Call-ID -> pair (callee, caller), as they called
    # Note a call whose 2xx passes; nothing where it is known. The timer is the owner's, of `kind`, with the Call-ID as payload.
    cdef add(self, bytes call_id, tuple pair, int64_t now)
    # Its pair, which is known no longer; None where it was not.
    cdef tuple take(self, bytes call_id)

# The last Call-IDs that were added, between `least` and twice as many.
cdef class Recent:
    cdef Py_ssize_t least
    cdef set latest, before
    cpdef add(self, bytes call_id)
    cdef bint has(self, bytes call_id) except -1
