# The owner of callees: whose turn it is, and the recalls. See owner.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from ..observe.events cimport Events
from ..routing.location cimport Location
from ..store.codec cimport StoredWatch
from ..store.repository cimport Store
from .._parser cimport Message
from .._wheel cimport Wheel
from .availability cimport Availability
from .methods.method cimport Attempt, AttemptObserver, Outcome, RecallMethod
from .ownership cimport CalleeOwner, Ownership
from .policy cimport Policy
from .watchlist cimport Watchlist

cdef enum:
    SAID_AGAIN = 9_000      # ms in which a 2xx that was lost with a server comes again: see owner.pyx

cdef class Owner


# A recall that is going on, from its claim until the call is answered or has come to nothing.
@cython.final
cdef class Recall(AttemptObserver):
    cdef Owner owner
    cdef tuple pair
    cdef bytes refer_call_id
    cdef StoredWatch claimed             # until the attempt is begun
    cdef Attempt attempt                 # until its outcome
    cdef int64_t number                  # of the attempt
    cdef str answer                      # of the phone to it, for people
    cdef bytes call_id                   # of the caller's INVITE, once it came
    cdef int worker                      # the one that proxies it, -1: not known
    cdef uint64_t timer
    cdef bint extended                   # its time has been, since its call may have started elsewhere
    cdef bint over


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
    cdef RecallMethod method
    cdef dict counts                     # name -> int
    cdef dict recalls                    # pair -> Recall
    cdef dict engaged                    # callee -> pair being recalled, or Call-ID of the talk (serial)
    cdef dict pauses                     # callee -> GUARD or RETRY timer
    cdef list claimed                    # recalls whose attempts begin after the commit

    # Take up the watches that the store holds. Whether there was a recall going on, of whichever callee.
    cdef bint start(self, int64_t now) except -1
    cdef bint is_back(self, bytes callee, int64_t now) except -1
    # The batch is committed: the attempts of the claims in it may begin.
    cdef int begin_claimed(self, int64_t now) except -1
    # Make a pair anew from the store: its watch was not armed, or its attempt not begun.
    cdef int reload(self, tuple pair, int64_t now) except -1
    # The watch was armed, renewed or removed, by whomever.
    cdef int watch_changed(self, tuple pair, int64_t now) except -1
    # Its call has got a 2xx; no ACK came for that; the two talk.
    cdef int call_answered(self, tuple pair, bytes call_id, int worker) except -1
    cdef int call_unconfirmed(self, tuple pair, bytes call_id, int64_t now) except -1
    cdef Recall pop_recall(self, tuple pair)
    cdef int end(self, Recall recall) except -1
    # A worker has died: the recalled calls through it have, too, but for those whose Call-IDs are in `answered`.
    cdef int worker_restarted(self, int worker, dict answered, int64_t now) except -1
    # A NOTIFY for the server itself: the status to answer with.
    cdef int notified(self, Message request, int64_t now) except -1

    cdef int next_turn(self, bytes callee, int64_t now) except -1
    cdef int claim_due(self, bytes callee, list watches, int64_t now) except -1
    cdef bint is_held_back(self, StoredWatch watch, tuple pair, int64_t now) except -1
    cdef bint claim(self, StoredWatch watch, tuple pair, int64_t now) except -1
    cdef Recall make_recall(self, StoredWatch watch, tuple pair, int64_t now)
    cdef int begin(self, Recall recall, StoredWatch watch, int64_t now) except -1
    cdef int attempt_ended(self, Recall recall, Outcome outcome, str answer, str result, int64_t now) except -1
    cdef int tell_answer(self, Recall recall, str answer) except -1
    cdef int fail(self, Recall recall, str result, int64_t now) except -1
    cdef int put_back(self, StoredWatch watch, Recall recall, str result, int64_t now) except -1
    cdef int give_up(self, StoredWatch watch, Recall recall, str result) except -1
    cdef int call_off(self, tuple pair, int64_t now) except -1

    cdef int overdue(self, Recall recall, int64_t now) except -1
    cdef bint started_elsewhere(self, Recall recall, int64_t now) except -1
    cdef int resume(self, Recall recall, int64_t now) except -1
    cdef int set_deadline(self, Recall recall, int64_t when) except -1
    cdef int stop_deadline(self, Recall recall) except -1
    # Look at the callee's watches again at `when`.
    cdef int look_again(self, bytes callee, int64_t when, int kind, int64_t now) except -1
