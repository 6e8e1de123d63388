# A presence agent in front of the engine: see agent.pyx.

from libc.stdint cimport int64_t

from sipfast._flow cimport Flow, Receiver, Sink
from sipfast._parser cimport Message
from sipfast.transaction.layer cimport TransactionLayer
from sipfast.transaction.server cimport ServerTransaction
from sipfast.engine.batch cimport Batch
from sipfast.engine.engine cimport Engine

from .state cimport Presentity, Publication, State, Subscription

cdef class Agent(Receiver):
    cdef readonly Engine engine
    cdef object store, config
    cdef Sink sink
    cdef Batch outbox
    cdef TransactionLayer transactions
    cdef State state
    cdef list sent_by
    cdef list promises          # (request, flow, server transaction) of this batch
    cdef list started           # the NOTIFYs' client transactions of this batch
    cdef long aborts            # the store's, when the last batch ended
    cdef object failure         # what the store failed with, in a request of ours in this batch
    cdef long subscribes, publishes, notifies, failed_batches

    cdef bint take(self, Message message, Flow flow, int64_t now) except -1
    cdef int subscribe(self, ServerTransaction server, Message request, Flow flow, bytes aor, int64_t now) except -1
    cdef int renew(self, ServerTransaction server, Message request, Flow flow, Subscription found, int64_t expires,
                   int64_t now) except -1
    cdef Subscription new_subscription(self, Message request, Flow flow, bytes tag, bytes aor)
    cdef bint learn_target(self, Subscription subscription, Message request, Flow flow) except -1
    cdef Subscription dialog_of(self, Message request, bytes tag)
    cdef int publish(self, ServerTransaction server, Message request, Flow flow, bytes aor, int64_t now) except -1
    cdef int unpublish(self, ServerTransaction server, Message request, Flow flow, Publication found,
                       int64_t now) except -1
    cdef int64_t duration(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -2
    cdef int notify_all(self, Presentity presentity, int64_t now) except -1
    cdef int notify(self, Subscription subscription, bint ended, bytes body, int64_t now) except -1
    cdef bytes notification(self, Subscription subscription, bint ended, bytes body, bytes branch, int64_t now)
    cdef int answer(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra,
                    int64_t now) except -1
    cdef int roll_back(self, int64_t now) except -1
