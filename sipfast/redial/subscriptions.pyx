"""Which NOTIFYs are known: a REFER is an implicit subscription (RFC 3515 §2.4.4)."""

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel

cdef enum:
    FORGET = 1                  # timer: payload is a Call-ID
    FORGET_AFTER = 300_000      # ms that NOTIFYs of a finished recall are still known


cdef class Subscriptions(Timed):
    """Of which requests NOTIFYs are known, and whom they are about."""

    cdef int expect(self, bytes call_id, tuple pair) except -1:
        self.subjects[call_id] = pair

    cdef int finished(self, bytes call_id) except -1:
        self.wheel.schedule(self.wheel.now + FORGET_AFTER, self, FORGET, call_id)

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A Call-ID is to be forgotten."""
        self.subjects.pop(payload, None)
        return 0

    cdef tuple pair_of(self, bytes call_id):
        return self.subjects.get(call_id)


cdef Subscriptions make_subscriptions(Wheel wheel):
    cdef Subscriptions subscriptions = Subscriptions.__new__(Subscriptions)
    subscriptions.wheel = wheel
    subscriptions.subjects = {}
    return subscriptions
