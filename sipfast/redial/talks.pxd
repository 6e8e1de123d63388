# Talks that keep other callers waiting. See talks.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..store.repository cimport Store
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .._wheel cimport Timed, Wheel
from .unacknowledged cimport Recent
from .notice cimport Notices
from .owner cimport Owner
from .ownership cimport Ownership
from .policy cimport Policy
from .watchlist cimport Watchlist


# Whether a talk goes on, asked of all phones of its caller.
@cython.final
cdef class Question(Handler):
    cdef Talks talks
    cdef bytes call
    cdef Py_ssize_t left                 # phones that have not said that they know nothing of it


@cython.final
cdef class Talks(Timed):
    cdef Policy policy
    cdef Watchlist watchlist
    cdef Store store
    cdef Ownership ownership
    cdef Owner owner
    cdef Notices notices
    cdef Wheel wheel
    cdef Location location
    cdef TransactionLayer transactions
    cdef tuple listeners
    cdef dict callees                    # call -> callee
    cdef bint untagged                   # there is one of an earlier version, whose tags are not known
    cdef readonly Recent ended           # of several workers: calls that have ended, and were no talks as far as known

    # Take up those that the store holds.
    cdef int start(self, int64_t now) except -1
    # The pair talk, and the next caller waits until that ends.
    cdef int begin(self, tuple pair, bytes call, int64_t now) except -1
    # One of a call's two has hung up, whichever: `call` as it is for that one.
    cdef int hung_up(self, bytes call, int64_t now) except -1
    # A talk is over: the callee's next watch is due.
    cpdef int end(self, bytes call, int64_t now) except -1
    # Whether a call has ended that was no talk as far as known.
    cdef bint has_ended(self, bytes call) except -1
    # What other workers have told.
    cdef int begun_elsewhere(self, talk, int64_t now) except -1
    cdef int ended_elsewhere(self, bytes callee, bytes call, int64_t now) except -1
    cdef int worker_restarted(self, int64_t now) except -1

    cdef int remember(self, talk, int64_t now) except -1
    cdef int remove(self, bytes callee, bytes call) except -1
    cdef bint is_stored(self, bytes callee, bytes call) except -1
    cdef int doubt(self, bytes call, int64_t when) except -1
    cdef int ask(self, bytes call, int64_t now) except -1
    cdef int send_question(self, talk, binding, Question question, int64_t now) except -1

# The call of a records.Talk, as `unacknowledged` has calls.
cdef bytes call_of_talk(talk)
