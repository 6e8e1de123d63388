# The owner of callees: whose turn it is, and the recalls. See owner.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..observe.events cimport Events
from ..routing.location cimport Location
from ..store.codec cimport StoredWatch
from ..store.repository cimport Store
from .._wheel cimport Wheel
from .availability cimport Availability
from .ownership cimport CalleeOwner, Ownership
from .policy cimport Policy
from .recall cimport Recalls, Turns
from .watchlist cimport Watchlist

cdef class Owner


@cython.final
cdef class OwnerTurns(Turns):
    cdef Owner owner


@cython.final
cdef class Owner(CalleeOwner):
    cdef Policy policy
    cdef Watchlist watchlist
    cdef Store store
    cdef Ownership ownership
    cdef Wheel wheel
    cdef Events events
    cdef Location location
    cdef Availability availability
    cdef Recalls recalls
    cdef dict counts                     # name -> int
    cdef dict engaged                    # callee -> pair being recalled, or call of the talk (serial); that of `recalls`
    cdef dict pauses                     # callee -> GUARD or RETRY timer
    cdef list offered                    # (pair, Watch.offer) of what was found at the start as offered, of whichever callee

    # Take up the watches that the store holds. Whether there was a recall going on, of whichever callee.
    cdef bint start(self, int64_t now) except -1
    cdef bint is_back(self, bytes callee, int64_t now) except -1
    # Make a pair anew from the store: its watch was not armed, or its attempt not begun.
    cdef int reload(self, tuple pair, int64_t now) except -1
    # The watch was armed, renewed or removed, by whomever.
    cdef int watch_changed(self, tuple pair, int64_t now) except -1
    # Its call has got a 2xx; no ACK came for that.
    cdef int call_answered(self, tuple pair, bytes call_id, int worker, int64_t now) except -1
    cdef int call_unconfirmed(self, tuple pair, bytes call_id, int64_t now) except -1

    cdef int next_turn(self, bytes callee, int64_t now) except -1
    cdef int claim_due(self, bytes callee, list watches, int64_t now) except -1
    cdef int give_up(self, tuple pair, str reason) except -1
    cdef bint is_held_back(self, StoredWatch watch, tuple pair, int64_t now) except -1
    cdef int claim(self, StoredWatch watch, tuple pair, int64_t now) except -1
    # Look at the callee's watches again at `when`.
    cdef int look_again(self, bytes callee, int64_t when, int kind, int64_t now) except -1
