# What becomes of calls, for redial and for people. See calls.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message
from ..observe.events cimport Events
from ..redial.observer cimport Observer
from ..routing.doubt cimport Doubts
from ..routing.destination cimport Destination
from ..routing.location cimport Location
from ..routing.context cimport CallObserver, ResponseContext
from ..routing.proxy cimport Proxy
from ..routing.router cimport Router
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from .answers cimport Answers
from .batch cimport Batch
from .commits cimport Commits
from .registrations cimport Registrations

cdef class Calls(CallObserver):
    cdef object store
    cdef Batch batch
    cdef Commits commits
    cdef Answers answers
    cdef Registrations registrations
    cdef Events events
    cdef TransactionLayer transactions
    cdef Location location
    cdef Router router
    cdef Destination destination
    cdef Proxy proxy
    cdef Doubts doubts
    cdef Observer redial
    cdef bint local_callers              # only callers of our own domains are offered redial
    cdef long rerouted
    # An INVITE goes straight to phones. `cancels`: its Expires: 0 is to end a watch, for there is no upstream to ask; at once
    # where its caller has shown a password. False: it is a stranger's, of which redial hears no more.
    cdef bint started(self, Message request, Flow flow, bytes caller, bytes callee, bint cancels, int64_t now) except -1
    # A 2xx to an INVITE from before a restart.
    cdef int answered_before(self, bytes caller, bytes callee, Message response, int64_t now) except -1
    cdef int acknowledged(self, Message ack, Flow flow, int64_t now) except -1
    # A BYE; all as Observer.call_hung_up has it.
    cdef int hung_up(self, Message bye, Flow flow, Flow place, bint known, int64_t now) except -1
    # Nobody is there for the request: 480, and perhaps a watch.
    cdef int unbound(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1
    # Its upstream is down: 503.
    cdef int cut_off(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1
    cdef bint is_local(self, bytes caller) except -1
    cdef int not_here(self, ServerTransaction server, Message request, Flow flow, object offer, int64_t now) except -1
    cdef bint after_failure(self, ResponseContext context, int status, int64_t now) except -1
    cdef int cancel_later(self, ResponseContext context, int status, int64_t now) except -1
    cdef int call_over(self, ResponseContext context, int status, int64_t now) except -1
    # Whether the final response means that the callee is not logged in: where phones were called, and where an upstream was.
    # What was learned of it is given up then.
    cdef bint is_absent(self, ResponseContext context, int status, int64_t now) except -1
    cdef bint forget_absent(self, bytes callee, int status, int64_t now) except -1
    # By whom the caller is known, as records.Watch has it.
    cdef bytes identity(self, Message request, Flow flow)
    cdef int unwatched(self, ResponseContext context, int status) except -1
