# The core as a whole: bytes in, bytes out, no socket, no clock.

from libc.stdint cimport int64_t

from .._flow cimport Flow, Receiver
from .._wheel cimport Wheel
from ..dialog.dialogs cimport Dialogs
from ..identity.claims cimport Claims
from ..observe.events cimport Events
from ..redial.redial cimport Redial
from ..routing.connections cimport Connections
from ..routing.destination cimport Destination
from ..routing.doubt cimport Doubts
from ..routing.learning cimport Learning
from ..routing.location cimport Location
from ..routing.mid_registrar cimport MidRegistrar
from ..routing.names cimport Names
from ..routing.outbound cimport Outbound
from ..routing.probe cimport Probe
from ..routing.proxy cimport Proxy
from ..routing.registrar cimport Registrar
from ..routing.router cimport Router
from ..routing.senders cimport Senders
from ..routing.upstream cimport Upstreams
from ..transaction.layer cimport TransactionLayer
from ..trust.limiter cimport Limiter
from ..trust.peers cimport Peers
from ..trust.proven cimport Proven
from .answers cimport Answers
from .arrivals cimport Arrivals
from .batch cimport Batch, Promise
from .calls cimport Calls
from .commits cimport Commits
from .dispatch cimport Dispatch
from .mail cimport Mail
from .registrations cimport Registrations
from .responses cimport Responses
from .speaker cimport Speaker

cdef class Engine(Receiver):
    cdef object config, memory, proofs, limits, resolver, randomness, outlet, webhook
    cdef tuple listeners, domains
    cdef object users                    # identity.users.Users; None: there are none, and every From is believed
    cdef dict hosts
    cdef bint resumed
    cdef int64_t longest_call            # ms
    cdef int64_t snapshot_at             # ms, -1: the store is to show what is committed by now
    cdef readonly object store
    # The parts, from the bottom up
    cdef readonly Wheel wheel
    cdef Events events
    cdef Peers peers
    cdef Connections connections
    cdef Proven proven
    cdef readonly Limiter limiter
    cdef TransactionLayer transactions
    cdef readonly Location location
    cdef readonly Outbound outbound
    cdef Router router
    cdef Upstreams upstreams
    cdef MidRegistrar mid_registrar
    cdef Destination destination
    cdef Registrar registrar
    cdef Senders senders
    cdef Learning learning
    cdef Probe probe
    cdef Doubts doubts
    cdef Names names
    cdef Proxy proxy
    cdef readonly Dialogs dialogs
    cdef readonly Redial redial
    # The engine's own
    cdef Batch batch
    cdef Mail mail
    cdef Arrivals arrivals
    cdef Commits commits
    cdef Answers answers
    cdef Registrations registrations
    cdef Calls calls
    cdef Responses responses
    cdef Speaker speaker
    cdef Claims claims
    cdef Dispatch dispatch
    # counters
    cdef long received, requests, responses_count, keepalives, undeliverable, handed_in, notices

    cdef int tell_of_limits(self) except -1
    cdef int make_parts(self, bytes key, tuple listeners, int64_t now) except -1
    cdef int connect(self) except -1
    cdef int connect_commits(self) except -1
    cdef int connect_registrations(self) except -1
    cdef int connect_calls(self) except -1
    cdef int connect_responses(self) except -1
    cdef int connect_dispatch(self) except -1
    cdef int make_speaker(self, bytes key, int64_t now) except -1
    cdef int take(self, bytes data, Flow flow, int64_t now) except -1
    cdef int take_arrivals(self, int64_t now) except -1
    cdef int hear(self, Batch batch, object reason, int64_t now) except -1
    cdef int dispatch_again(self, int64_t now) except -1
    cdef int decide_again(self, Promise promise, int64_t now) except -1
    cdef int learn_again(self, Promise promise, int64_t now) except -1
    cdef int undelivered(self, Flow flow, bytes data, int64_t now) except -1
    cdef int open(self, bytes frame, int64_t now) except -1
    cdef int told_of_upstream(self, bytes body, int64_t now) except -1
