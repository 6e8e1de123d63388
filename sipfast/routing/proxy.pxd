# The stateful proxy of RFC 3261 §16: response contexts over client transactions, and the edits that forward a request.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .._flow cimport Flow, Target
from .._parser cimport Message, Via
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from .._wheel cimport Timed, Wheel
from .._writer cimport Edits
from .outbound cimport Outbound
from .ringing cimport Ringing
from .router cimport RoutePlan
from .upstream cimport Member, Group, Upstreams, Waiter

cdef class ResponseContext(Waiter)

cdef class Branch:
    cdef ResponseContext context
    cdef ClientTransaction transaction
    cdef Flow place         # where it was sent; None: nowhere
    cdef Member member      # of an upstream, where it leads there
    cdef uint64_t timer_c
    cdef int64_t taken_at       # of an INVITE: where it is taken down in Proxy.ringing, or -1
    cdef int number          # among those of its INVITE
    cdef Branch next        # of the same context; None: the last
    cdef bint done
    cdef bint given_up       # another branch has taken its place; only a 2xx to INVITE is still of use
    cdef bint by_token      # its target is that of a flow token
    cdef bint known          # its phone has the INVITE from before a restart, and will answer that one

# RFC 3261 §16.7: what gathers the responses of all branches of one request.
cdef class ResponseContext(Waiter):
    cdef Proxy proxy
    cdef readonly ServerTransaction server
    cdef uint64_t key                    # of an INVITE in Proxy.ringing
    cdef int taken_down                  # branches that are there
    cdef list former                     # those of them that are from before a restart, as Ringing.branches; or None
    cdef readonly Message request
    cdef Flow first_flow                 # by which it came before it was repeated by `flow`; None where it was not
    cdef Message original                # a REGISTER as its phone has sent it, where `request` differs; else None
    cdef readonly Flow flow
    cdef Branch first
    cdef Message best
    cdef readonly int best_status        # OUTCOME_UNREACHABLE: no branch has done better; `unreached` is the answer
    cdef int unreached
    cdef list challenges
    cdef readonly bint final_sent
    cdef readonly Group group            # the upstream that it goes to, whichever of its addresses; None: to phones
    cdef bytes retry_after               # the header line of a 503 of our own: the upstream is down
    cdef bint cancelled                  # by the caller
    cdef readonly bytes caller           # AORs of a call that redial wants to hear of, else None
    cdef readonly bytes callee
    cpdef int on_fault(self, int64_t now) except -1
    cdef bint pending(self) noexcept
    cdef Branch branch_of(self, ClientTransaction transaction)
    cdef int succeed(self, Message response, int64_t now) except -1
    cdef int consider(self, Message response, int status) except -1
    cdef list tried(self)                # addresses of the upstream
    cdef bint goes_on(self, int64_t now) except -1
    cdef int lose(self, Branch branch) except -1
    cdef int cancel_pending(self, bytes why, int64_t now) except -1
    # The branch is of use for so many ms to a server that begins anew.
    cdef void keep(self, Branch branch, int64_t until) noexcept
    cdef bytes with_challenges(self, Message best)
    cdef tuple known_key                 # in proxy.known
    cdef Message known_answer            # the 482 that waits for a better one
    cdef bint is_known_from_before(self, Branch branch) except -1
    cdef int wait_for_former(self, Branch branch, Message response, int64_t now) except -1
    cdef int take_stray(self, Message response, int64_t now) except -1
    cdef int silence(self) noexcept
    cdef int settle(self, int64_t now) except -1
    cdef int finish(self, int64_t now) except -1
    cdef int give(self, int status, int64_t now) except -1
    cdef int shrink(self, int64_t now) except -1

# What the proxy tells of. These do nothing.
cdef class CallObserver:
    # An INVITE with known AORs got its first 2xx.
    cdef int answered(self, bytes caller, bytes callee, bytes call_id, int64_t now) except -1
    # It will get this final response other than 2xx. True: it was answered otherwise.
    cdef bint failed(self, ResponseContext context, int status, int64_t now) except -1
    # A BYE was answered, or never will be.
    cdef int ended(self, Message bye, int64_t now) except -1
    # An upstream registrar accepted a REGISTER; returns what its phone gets.
    cdef Message registered(self, ResponseContext context, Message response, int64_t now)
    # An address of its upstream does not serve it. True: it has other branches now.
    cdef bint lost(self, ResponseContext context, int64_t now) except -1

cdef class Proxy(Timed):
    cdef TransactionLayer transactions
    cdef Wheel wheel
    cdef Edits edits
    cdef tuple listeners
    cdef Outbound outbound
    cdef uint64_t secret
    cdef int64_t timer_c
    cdef CallObserver observer
    cdef Upstreams upstreams
    cdef Ringing ringing
    cdef public int64_t started          # when this process began to serve
    cdef dict known                      # Call-ID and caller's branch -> ResponseContext with a branch that is `known`
    cdef readonly long forwarded
    cdef readonly long looped

    cdef bytes upward(self, Message response)
    cdef int ring_no_longer(self, Branch branch, int64_t now) except -1
    cdef int stop_timer_c(self, Branch branch) noexcept
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
    cdef Branch add_branch(self, ResponseContext context, Branch last)
    cdef int forward_ack(self, Message ack, Flow flow, Target target, RoutePlan *plan) except -1
    cdef int take_down(self, ResponseContext context, Branch branch, bytes mark, int64_t now) except -1
    # CANCEL or ACK for an INVITE of before a restart, by its branch (RFC 3261 §16.10, §16.11): no transaction is left.
    cdef int forward_former(self, Message request, Flow flow, Target target, RoutePlan *plan, bytes branch) except -1
    cdef int pass_back(self, Message response, Flow back) except -1
    cdef int cancel_former(self, ResponseContext context, Message cancel, int64_t now) except -1
    # A response to an INVITE of before a restart: `way` is where that went (Ringing.way), `back` where the Via below ours
    # leads.
    cdef int forward_stray(self, Message response, const Via *below, Flow way, Flow back, int64_t now) except -1
