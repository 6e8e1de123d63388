# What comes of a REGISTER. See registrations.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message
from ..observe.events cimport Events
from ..routing.binding_observer cimport BindingObserver
from ..routing.doubt cimport Doubts
from ..routing.learning cimport Learning
from ..routing.location cimport Location
from ..routing.mid_registrar cimport MidRegistrar
from ..routing.outbound cimport Outbound
from ..routing.probe cimport Probe
from ..routing.context cimport ResponseContext
from ..routing.proxy cimport Proxy
from ..routing.registrar cimport Registrar
from ..routing.router cimport RoutePlan, Router
from ..routing.upstream cimport Group
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from ..trust.limiter cimport Limiter
from .answers cimport Answers
from .batch cimport Batch
from .commits cimport Commits
from .mail cimport Mail

cdef class Registrations:
    cdef object store
    cdef Batch batch
    cdef Mail mail
    cdef Commits commits
    cdef Answers answers
    cdef Events events
    cdef TransactionLayer transactions
    cdef Location location
    cdef Outbound outbound
    cdef Router router
    cdef Registrar registrar
    cdef Learning learning
    cdef MidRegistrar mid_registrar
    cdef Probe probe
    cdef Doubts doubts
    cdef Limiter limiter
    cdef Proxy proxy
    cdef BindingObserver observer        # of bindings
    cdef int64_t longest_call            # ms
    cdef int register(self, Message request, Flow flow, int64_t now) except -1
    # To the upstream whose registrar it is.
    cdef int forward(self, ServerTransaction server, Message request, Flow flow, list targets, RoutePlan *plan, Group group,
                     int64_t now) except -1
    # The very same REGISTER has come again, by another flow.
    cdef int come_elsewhere(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    # The upstream has let it register. The response that its sender gets.
    # What the upstream's 200 to a REGISTER says. `first`: see Promise.
    cdef int learn(self, Message request, Message response, Flow flow, Flow first, bytes aor, int64_t now) except -1
    cdef Message accepted(self, ResponseContext context, Message response, int64_t now)
    # Our lines for a REGISTER that goes on: Path, and Supported where it is missing.
    cdef bytes path_lines(self, Message request, Flow flow)
    # Take up the moves that the store has, in the order that they were made.
    cdef int load_moves(self) except -1
    cdef int moved(self, list moves, int64_t now) except -1
    cdef int moved_meanwhile(self, Message request, Flow flow, Flow first, bytes aor, int64_t now) except -1
    cdef Flow way_of(self, Message request, Flow flow)
    cdef int registered(self, bytes aor, Flow flow, int64_t now) except -1
