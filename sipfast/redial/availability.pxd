# Whether a callee can be reached now. See availability.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..routing.binding_observer cimport BindingObserver
from ..routing.location cimport Location
from ..transaction.layer cimport TransactionLayer
from .ownership cimport Ownership
from .suspended cimport Suspended
from .watchlist cimport Watchlist

cdef class Availability(BindingObserver):
    cdef readonly bytes mode             # of the watches that wait for it (m= of RFC 6910)
    cdef bint is_available(self, bytes callee, int64_t now) except -1


# Not logged in: without a binding that is not in doubt.
@cython.final
cdef class Unbound(Availability):
    cdef Location location
    cdef Watchlist watchlist
    cdef Suspended suspended
    cdef Ownership ownership
    cdef TransactionLayer transactions

cdef Unbound make_unbound(Location location, Watchlist watchlist, Suspended suspended, Ownership ownership,
                          TransactionLayer transactions)
