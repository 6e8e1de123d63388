# Messages that wait for what they are about. See arrivals.pyx.

from .._flow cimport Flow

cdef class Arrival:
    cdef bytes data
    cdef Flow flow
    cdef int hops                        # Mail.hops

# Those of one batch: the store is asked for what they are about at once.
cdef class Group:
    cdef list messages                   # Arrival
    cdef bint ready

cdef class Arrivals:
    cdef object store
    cdef Group group                     # that is being filled
    cdef list groups                     # those that the store was asked for, in their order
    cdef int add(self, bytes data, Flow flow, int hops) except -1
    # Ask the store for what has come meanwhile. All messages that can be handled now, in their order.
    cdef list at_hand(self)
    cdef int fetched(self, Group group) except -1
