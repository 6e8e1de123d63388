"""Whether a callee can be reached now, and who is told when that changes.

Each kind says what it means to be available, and hears of what makes it so; it tells the owner of the callee. *Unbound* is the
one that there is: a callee without a binding, or with none but such as are in doubt (`routing/doubt`), is not logged in, and
available with its next binding or once its phone answers again.
"""

from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..transaction.layer cimport TransactionLayer
from .ownership cimport Ownership
from .suspended cimport Suspended
from .watchlist cimport Watchlist

from ..store.records import NOT_LOGGED_IN


cdef class Availability(BindingObserver):
    """One reason why a callee cannot be reached."""

    cdef bint is_available(self, bytes callee, int64_t now) except -1:
        raise NotImplementedError


cdef class Unbound(Availability):
    """Not logged in: without a binding that is not in doubt."""

    cdef bint is_available(self, bytes callee, int64_t now) except -1:
        return self.location.is_reachable(callee, now)

    cdef int bound(self, bytes aor, int64_t now) except -1:
        if self.suspended.callees:
            self.suspended.caller_back(aor, 0, now)
        if self.watchlist.is_waited_for(aor):
            self.ownership.owner_of(aor).callee_available(aor, self.transactions.payer(), now)
        return 0

    cdef int refreshed(self, bytes aor, int64_t now) except -1:
        if self.suspended.callees:
            self.suspended.caller_back(aor, 0, now)
        if self.watchlist.credits and aor in self.watchlist.credits:
            self.watchlist.credits[aor] = self.transactions.payer()
        return 0


cdef Unbound make_unbound(Location location, Watchlist watchlist, Suspended suspended, Ownership ownership,
                          TransactionLayer transactions):
    cdef Unbound unbound = Unbound.__new__(Unbound)
    unbound.mode = NOT_LOGGED_IN.encode()
    unbound.location = location
    unbound.watchlist = watchlist
    unbound.suspended = suspended
    unbound.ownership = ownership
    unbound.transactions = transactions
    return unbound
