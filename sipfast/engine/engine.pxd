# The core as a whole: bytes in, bytes out, no socket, no clock.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow, Receiver, Sink
from .._parser cimport Message, Uri, Via
from ..transaction.layer cimport ServerTransaction, TransactionLayer
from .._wheel cimport Wheel
from ..routing.destination cimport Destination
from ..observe.events cimport Events
from ..routing.learning cimport Learning
from ..routing.location cimport Location
from ..routing.mid_registrar cimport MidRegistrar
from ..routing.outbound cimport Outbound
from ..trust.peers cimport Peers
from ..routing.probe cimport Probe
from ..trust.proven cimport Proven
from ..routing.proxy cimport Proxy, ResponseContext
from ..redial.redial cimport Redial
from ..routing.registrar cimport Registrar
from ..routing.router cimport RoutePlan, Router
from ..routing.upstream cimport Group, Upstreams

# What leaves at the next commit, in order.
cdef class Outbox(Sink):
    cdef list data
    cdef list flows

cdef class Engine(Receiver):
    cdef readonly object store
    cdef readonly Redial redial
    cdef Events events
    cdef bint registrations              # are told, too
    cdef readonly Wheel wheel
    cdef readonly Location location
    cdef TransactionLayer transactions
    cdef Registrar registrar
    cdef Learning learning
    cdef Proxy proxy
    cdef Router router
    cdef Peers peers
    cdef readonly Outbound outbound
    cdef MidRegistrar mid_registrar
    cdef object memory                   # for Ringing
    cdef object proofs                   # for Proven
    cdef Proven proven
    cdef Probe probe
    cdef Destination destination
    cdef tuple listeners, domains
    cdef dict hosts
    cdef Upstreams upstreams
    cdef Outbox outbox
    cdef Sink sink
    cdef object config, housekeeping, complaints
    cdef list sent_by
    cdef list promises                   # (index in the outbox, request, flow, server transaction or None)
    cdef uint64_t secret
    cdef int64_t longest_call            # ms
    cdef int64_t snapshot_at             # ms, -1: the store is to show what is committed by now
    cdef ServerTransaction current       # of the request being handled
    cdef bint local_callers
    cdef Message remarked                # has been logged
    cdef int64_t remark_at               # the next refusal of a domain may be logged again
    cdef int64_t complain_at             # the next failure of the store may be logged again
    # Of several workers
    cdef int worker, workers
    cdef int hops                        # workers that may still be asked about the message at hand
    cdef bint mailed, resumed
    cdef object bus
    cdef list mail                       # for each worker, the frames that leave at the next commit
    cdef long handed_over, handed_in, notices
    # counters
    cdef long undeliverable
    cdef long received, requests, responses, keepalives, malformed, discarded, stateless, strays, unpromised, commits
    cdef long failed_commits, rerouted, faults
    cdef int64_t fault_at                # the last one

    cdef int take(self, bytes data, Flow flow, int64_t now) except -1
    cdef int fault(self, str event, error, Message message, Flow flow, int64_t now) except -1
    cdef bint stumble(self, str event, error, int64_t now) except -1
    cdef bint has_more(self, int64_t now) except -1
    cdef int open(self, bytes frame, int64_t now) except -1
    cdef int hand(self, int worker, Message message, Flow flow, int hops) except -1
    cdef int told_of_upstream(self, bytes body, int64_t now) except -1
    cdef int deliver(self) except -1
    cdef int moved(self, list moves, int64_t now) except -1
    cdef int undelivered(self, Flow flow, bytes data, int64_t now) except -1
    cdef int request(self, Message request, Flow flow, int64_t now) except -1
    cdef int response(self, Message response, Flow flow, int64_t now) except -1
    cdef int answer(self, Message request, Flow flow, int status, bytes extra) except -1
    cdef int refuse(self, Message message, Flow flow) except -1
    cdef int register_elsewhere(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    cdef int moved_meanwhile(self, ResponseContext context, Message request, bytes aor, int64_t now) except -1
    cdef Flow way_of(self, Message request, Flow flow)
    cdef int reject(self, Message request, Flow flow, int status, bytes extra) except -1
    cdef int validate(self, Message request, Uri *uri) except -1
    cdef int options(self, Message request, Flow flow) except -1
    cdef int register(self, Message request, Flow flow, int64_t now) except -1
    cdef int hop_by_hop(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog,
                        int64_t now) except -1
    cdef bint forward_former(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog,
                             int64_t now) except -1
    cdef int dispatch(self, ServerTransaction server, Message request, Flow flow, RoutePlan *plan, Uri *uri,
                      bint in_dialog, int64_t now) except -1
    cdef int forward_register(self, ServerTransaction server, Message request, Flow flow, list targets, RoutePlan *plan,
                              Group group, int64_t now) except -1
    cdef int cut_off(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1
    cdef bytes path_lines(self, Message request, Flow flow)
    cdef int remark(self, Message request, Uri *uri, int64_t now) except -1
    cdef int to_self(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    # For people: an AOR got its first binding or lost its last one; a call that failed armed nothing; a request was refused.
    cdef int registered(self, bytes aor, Flow flow, int64_t now) except -1
    cdef int gone(self, bytes aor, str why) except -1
    cdef int unwatched(self, ResponseContext context, int status) except -1
    cdef int not_watched(self, bytes caller, bytes callee, str why) except -1
    cdef int refused(self, Message request, Flow flow, int status, bytes extra) except -1
    cdef int respond(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra,
                     int64_t now) except -1
    cdef int call_started(self, Message request, bytes caller, bytes callee, int64_t now) except -1
    cdef int call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now) except -1
    cdef bint call_failed(self, ResponseContext context, int status, int64_t now) except -1
    cdef int call_ended(self, Message bye, int64_t now) except -1
    cdef Message upstream_registered(self, ResponseContext context, Message response, int64_t now)
    cdef bint upstream_lost(self, ResponseContext context, int64_t now) except -1
    cdef int acknowledged(self, Message ack, int64_t now) except -1
    cdef int unbound(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1
    cdef bint is_local(self, Message request) except -1
    cdef int not_here(self, ServerTransaction server, Message request, Flow flow, object offer, int64_t now) except -1
    cdef bint is_absent(self, bytes callee, int status, int64_t now) except -1
    cdef bint is_sent_by_us(self, Message response) except -1
    cdef int stray(self, Message response, int64_t now) except -1
    cdef Flow via_flow(self, Message response, Via *via)
    cdef bint after_failure(self, ResponseContext context, int status, int64_t now) except -1

# The Unsupported line for a 420, naming what we do not understand of a header; b"" where it asks for nothing else.
cdef bytes unsupported_line(Message request, int header)
