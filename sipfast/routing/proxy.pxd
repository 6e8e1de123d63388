# The stateful proxy of RFC 3261 §16: client transactions for each request, and the edits that forward it.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .._flow cimport Flow, Target
from .._parser cimport Message, Via
from ..identity.claims cimport Claims
from ..transaction.server cimport ServerTransaction
from .context cimport Branch, Forwarder, ResponseContext
from .outbound cimport Outbound
from .router cimport RoutePlan
from .upstream cimport Group, Upstreams

cdef enum:
    OWN_CALL = 0x6f776e     # loop value in the branches of requests that the server sends to itself: those are no loop

cdef class Proxy(Forwarder):
    cdef tuple listeners
    cdef Outbound outbound
    cdef dict doubtful            # Location.doubtful
    cdef uint64_t secret
    cdef Upstreams upstreams
    cdef Claims claims            # what of a request's words of its sender goes on
    cdef int64_t started          # when this process began to serve
    cdef long forwarded
    cdef long looped

    cdef uint32_t loop_value(self, Message request) noexcept
    cdef bint is_loop(self, Message request) except -1
    cdef int64_t breadth_of(self, Message request) noexcept
    cdef bytes top_lines(self, Message request, Flow came, Target target, bytes branch, int64_t breadth, bytes extra)
    # `breadth`: the branch's share of Max-Breadth (RFC 5393 §5.3), -1 to leave it as it is.
    cdef bytes rewrite(self, Message request, Flow came, Target target, bytes branch, RoutePlan *plan, int64_t breadth,
                       bytes extra)
    cdef ResponseContext forward(self, ServerTransaction server, Message request, Flow flow, list targets,
                                 RoutePlan *plan, bytes extra, Group group, bytes caller, bytes callee, int64_t now)
    # More branches of the same request.
    cdef bint fork(self, ResponseContext context, list targets, RoutePlan *plan, bytes extra, int64_t now) except -1
    cdef bint send_to(self, ResponseContext context, Branch branch, Target target, RoutePlan *plan, uint32_t loop,
                      int64_t breadth, bytes extra, int64_t now) except -1
    cdef int forward_ack(self, Message ack, Flow flow, Target target, RoutePlan *plan) except -1
    cdef int note_ringing(self, ResponseContext context, Branch branch, bytes mark, int64_t now) except -1
    # CANCEL or ACK for an INVITE of before a restart, by its branch (RFC 3261 §16.10, §16.11): no transaction is left.
    cdef int forward_former(self, Message request, Flow flow, Target target, RoutePlan *plan, bytes branch) except -1
    cdef int pass_back(self, Message response, Flow back) except -1
    # A response to an INVITE of before a restart: `way` is where that went (Ringing.way), `back` where the Via below ours
    # leads.
    cdef int forward_stray(self, Message response, const Via *below, Flow way, Flow back, int64_t now) except -1
