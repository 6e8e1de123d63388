# What a 480 of ours has offered, and what waits for its ACK. See offers.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..observe.events cimport Events
from ..store.codec cimport StoredWatch
from ..store.repository cimport Store
from ..transaction.transaction cimport Witness
from .._wheel cimport Wheel
from .ownership cimport Ownership
from .pending cimport Pending
from .policy cimport Policy
from .watchlist cimport Watchlist


# What becomes of a pair's watch once the ACK has come. A pair is a tuple: callee, caller.
@cython.final
@cython.freelist(64)
cdef class Offer:
    cdef tuple pair
    cdef StoredWatch watch               # as it is armed or renewed then; None: it is cancelled
    cdef StoredWatch stored              # as it was offered; None: it is renewed or cancelled
    cdef int64_t former_end              # when the watch that is to be renewed runs out; 0: it is a new one
    cdef int64_t due                     # until then


@cython.final
cdef class Offers(Witness):
    cdef Policy policy
    cdef Watchlist watchlist
    cdef Store store
    cdef Ownership ownership
    cdef Wheel wheel
    cdef Events events
    cdef dict counts                     # name -> int
    cdef int64_t patience                # ms: 64*T1
    cdef bytes place                     # which worker this is, as Watch.offer begins
    cdef dict waiting                    # To tag -> Offer; the oldest first
    cdef bint timed                      # the timer runs
    cdef dict unwritten                  # pair -> Offer: its ACK has come, and that was lost with a batch
    cdef list former                     # (pair, Watch.offer) of those that a worker in this one's place had made

    # A 480 with this To tag is about to leave. `watch`: as its ACK is to arm it; `before`: the pair's watch now, or None. One
    # that is not armed yet is stored as offered.
    cdef int arm(self, bytes tag, tuple pair, StoredWatch watch, StoredWatch before, int64_t now) except -1
    # A response with this To tag is about to leave, whose ACK is to end the pair's watch. Whether there is one.
    cdef bint cancel_later(self, bytes tag, tuple pair, int64_t now) except -1
    # The caller no longer wants to be recalled, which is final. Whether there was a watch.
    cdef bint cancel(self, tuple pair, int64_t now) except -1
    # After a start. `offered`: (pair, Watch.offer) of all that are stored as offered.
    cdef int take_over(self, list offered, int64_t now) except -1

    # A batch is lost, or `units` of it: what an ACK had made final in it is so all the same, and soon written.
    cdef int batch_lost(self, Pending batch, object units, int64_t now) except -1
    cdef int write_again(self, int64_t now) except -1

    cdef int add(self, bytes tag, tuple pair, StoredWatch watch, StoredWatch stored, int64_t former_end, int64_t now) except -1
    cdef int confirm(self, Offer offer, int64_t now) except -1
    cdef int confirm_all(self, list offers, int64_t now) except -1
    cdef int put_armed(self, tuple pair, StoredWatch watch, bint new, bint renewed, bint later, int64_t now) except -1
    cdef int tell_armed(self, tuple pair, StoredWatch watch, bint renewed, bint later, int64_t now) except -1
    cdef int give_up(self, bytes tag, Offer offer, int64_t now) except -1
    cdef int drop(self, bytes tag, Offer offer) except -1
    cdef int arm_former(self, int64_t now) except -1
    cdef bytes mark(self, bytes tag)     # Watch.offer
    cdef int watch_first(self) except -1
