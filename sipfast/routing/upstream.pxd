# The servers behind this one: which of their addresses answer, and which one a request goes to. See upstream.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .._wheel cimport Timed, Wheel

cdef class Upstreams(Timed)

# A transaction user that waits for the first answer of an address.
cdef class Waiter(Handler):
    # The address does not answer: look for another way.
    cdef int unanswered(self, ClientTransaction transaction, int64_t now) except -1

# One address of an upstream: up or down. The transaction user of the OPTIONS that probe it.
cdef class Member(Handler):
    cdef Flow flow
    cdef bint down
    cdef bytes name                      # host:port
    cdef int number                      # among all
    cdef Upstreams all
    cdef int64_t timeout, probe_interval  # ms
    cdef int64_t heard                   # when it last said something
    cdef int64_t since                   # when it went down
    cdef dict waiting                    # ClientTransaction of a Waiter -> since when, the longest first
    cdef uint64_t timer                  # up and waited for: SILENCE; down: PROBE
    cdef ClientTransaction probe         # the OPTIONS that is out, or None
    # A request was sent to it, by a transaction whose handler is a Waiter.
    cdef int wait_for(self, ClientTransaction transaction, int64_t now) except -1
    # It has answered that, with a status; any other message from it is `hear`.
    cdef int note_answer(self, ClientTransaction transaction, int status, int64_t now) except -1
    cdef int hear(self, int64_t now) except -1
    # The transaction has failed, with the status that stands for it (408, 503).
    cdef int note_failure(self, ClientTransaction transaction, int status, int64_t now) except -1
    # Nobody waits for that answer any more.
    cdef int wait_no_more(self, ClientTransaction transaction) except -1
    # It cannot be reached: down at once, all who wait are told, and it is probed until it answers. `told`: by another
    # worker.
    cdef int mark_down(self, int64_t now, str reason, bint told) except -1
    cdef int mark_up(self, int64_t now, bint told) except -1
    cdef int look_at_silence(self, int64_t now) except -1
    cdef int ask_options(self, int64_t now) except -1
    cdef int stop(self) except -1
    cdef bytes retry_after(self)         # the header line of a 503 while it is down

# What one [[upstream]] of the configuration names: addresses that stand in for each other.
cdef class Group:
    cdef tuple members
    cdef bint by_token          # it sees our URI with a token in the place of a phone's Contact
    cdef dict names                      # host name of several addresses -> list of Member
    cdef int current
    # The address that requests go to: the current one for as long as it is up, then the first that is; None: all are down.
    cdef Member choice(self)
    # The first one that is up and not among `tried`; None: there is none.
    cdef Member stand_in(self, list tried)
    cdef bytes retry_after(self)

cdef class Upstreams(Timed):
    cdef tuple members
    cdef tuple groups
    cdef TransactionLayer transactions
    cdef Wheel wheel
    cdef tuple listeners
    cdef dict hosts                      # the location's: host name -> the address that is meant by it now
    cdef int worker
    cdef object post                     # post(body, worker): tells that one; -1: all others
    cdef long failures
    # The address that a flow leads to or comes from; None: nobody's.
    cdef Member at(self, Flow flow)
    # Something other than a 503 came by that flow.
    cdef int hear(self, Flow flow, int64_t now) except -1
    cdef int changed(self, Member member, str reason, int64_t now, bint told) except -1
    cdef int choose(self) except -1
    cdef bytes state_of(self, Member member)
    cdef int start(self, TransactionLayer transactions, Wheel wheel, tuple listeners, dict hosts, int worker,
                   object post) except -1
    # What another worker has told, and what one that has just begun should be told.
    cdef int told(self, bytes body, int64_t now) except -1
    cdef list states(self)
