# Which NOTIFYs are known. See subscriptions.pyx.

cimport cython

from .._wheel cimport Timed, Wheel


@cython.final
cdef class Subscriptions(Timed):
    cdef Wheel wheel
    cdef dict subjects                   # Call-ID of a request whose NOTIFYs are known -> the pair that it is about
    # What the phone tells by this Call-ID is about `pair`, until a while after `finished`.
    cdef int expect(self, bytes call_id, tuple pair) except -1
    cdef int finished(self, bytes call_id) except -1
    # The pair, None for a Call-ID that is not expected.
    cdef tuple pair_of(self, bytes call_id)

cdef Subscriptions make_subscriptions(Wheel wheel)
