# Response contexts (RFC 3261 §16.7): what gathers the responses to all branches of one request. See context.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._parser cimport Message
from .._wheel cimport Timed, Wheel
from .._edits cimport Edits
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from .ringing cimport Ringing
from .upstream cimport Group, Member, Waiter

cdef class ResponseContext(Waiter)
cdef class Forwarder(Timed)

cdef class Branch:
    cdef ResponseContext context
    cdef ClientTransaction transaction
    cdef Flow place         # where it was sent; None: nowhere
    cdef Member member      # of an upstream, where it leads there
    cdef uint64_t timer_c
    cdef int64_t noted_at   # of an INVITE: its place in Proxy.ringing, or -1
    cdef int number          # among those of its INVITE
    cdef Branch next        # of the same context; None: the last
    cdef bint done
    cdef bint given_up       # another branch has taken its place; only a 2xx to INVITE is still of use
    cdef bint by_token      # its target is that of a flow token
    cdef bint doubtful       # its phone has not answered before: it has DOUBTFUL_PATIENCE to say something
    cdef bint known          # its phone has the INVITE from before a restart, and will answer that one

# What is done with one of several branches; `given` is as for_each was told.
ctypedef int (*Deed)(Branch branch, object given, int64_t now) except -1

# RFC 3261 §16.7: what gathers the responses of all branches of one request.
cdef class ResponseContext(Waiter):
    cdef Forwarder proxy
    cdef ServerTransaction server
    cdef uint64_t key                    # of an INVITE in Proxy.ringing
    cdef int noted                       # branches that are there
    cdef list former                     # those of them that are from before a restart, as Ringing.branches; or None
    cdef Message request
    cdef Flow first_flow                 # by which it came before it was repeated by `flow`; None where it was not
    cdef Message original                # a REGISTER as its phone has sent it, where `request` differs; else None
    cdef Flow flow
    cdef Branch first, last
    cdef int pending                     # branches that are waited for
    cdef Message best
    cdef int best_status        # OUTCOME_UNREACHABLE: no branch has done better; `unreached` is the answer
    cdef int unreached
    cdef list challenges
    cdef bint final_sent
    cdef Group group            # the upstream that it goes to, whichever of its addresses; None: to phones
    cdef bytes retry_after               # the header line of a 503 of our own: the upstream is down
    cdef bint in_call                    # its Route has the flow token of its call
    cdef bint cancelled                  # by the caller
    cdef int64_t rang_at                 # when it first rang, ms; 0: it has not
    cdef bytes caller           # AORs of a call that redial wants to hear of, else None
    cdef bytes callee
    cdef bint awaited           # nobody has accepted the call yet, and its observer knows nothing of it
    cdef bint vouched           # its upstream has accepted it, and with it who it is from
    cdef bint called_off        # it has ended its pair's watch (Expires: 0)
    cdef int64_t held(self) noexcept
    cdef Branch add_branch(self)
    cdef Branch branch_of(self, ClientTransaction transaction)
    # The first that is `known` and still waited for; to that flow, or to any where it is None.
    cdef Branch known_branch(self, Flow way)
    cdef int for_each(self, Deed deed, object given, int64_t now) except -1
    # It is waited for no more.
    cdef int close(self, Branch branch) noexcept
    cdef int start_timer_c(self, Branch branch, int64_t now) except -1
    cdef int stop_timer_c(self, Branch branch) noexcept
    cdef int end_by_timer_c(self, Branch branch, int64_t now) except -1
    # Whether an answer of a branch in doubt is the phone's own; then it is in doubt no more.
    cdef int resolve_doubt(self, Branch branch, int status, int64_t now) except -1
    cdef int note_acceptance(self, Branch branch, int status, int64_t now) except -1
    cdef int pass_on_2xx(self, Message response, int64_t now) except -1
    cdef int consider(self, Message response, int status) except -1
    cdef list tried(self)                # addresses of the upstream
    # A branch to an upstream came to nothing: whether there are new ones in its place.
    cdef bint try_elsewhere(self, int64_t now) except -1
    cdef int consider_unreachable(self, Branch branch) except -1
    cdef int cancel_pending(self, bytes why, int64_t now) except -1
    # Until then the branch is of use to a server that begins anew.
    cdef void renew_note(self, Branch branch, int64_t until) noexcept
    cdef bytes with_challenges(self, Message best)
    cdef tuple known_key                 # in proxy.known
    cdef Message known_answer            # the 482 that waits for a better one
    cdef bint is_known_from_before(self, Branch branch) except -1
    cdef int wait_for_former(self, Branch branch, Message response, int64_t now) except -1
    cdef int receive_stray(self, Message response, int64_t now) except -1
    cdef int status_of_silence(self) noexcept
    cdef int finish_when_all_done(self, int64_t now) except -1
    cdef int finish(self, int64_t now) except -1
    # Whether that final response is made here, and its To tag.
    cdef bint is_ours(self, int status) noexcept
    cdef bytes tag_of_best(self, int status)
    cdef int send_best(self, int status, int64_t now) except -1
    cdef int forget_request(self, int64_t now) except -1

# What the proxy tells of. These do nothing.
cdef class CallObserver:
    # An INVITE with known AORs that was `awaited` is so no more; `vouched` says whether an upstream has accepted it.
    cdef int accepted(self, ResponseContext context, int64_t now) except -1
    # An INVITE with known AORs got its first 2xx.
    cdef int answered(self, ResponseContext context, Message response, int64_t now) except -1
    # The phone at `place` has not answered an INVITE, not even by a 100; it has answered, though it was in doubt.
    cdef int silent(self, ResponseContext context, Flow place, int64_t now) except -1
    cdef int heard(self, ResponseContext context, Flow place, int64_t now) except -1
    # It will get this final response other than 2xx. True: it was answered otherwise.
    cdef bint failed(self, ResponseContext context, int status, int64_t now) except -1
    # A BYE was answered, or never will be; `agreed`: with a 2xx.
    cdef int ended(self, ResponseContext context, bint agreed, int64_t now) except -1
    # An upstream registrar accepted a REGISTER; returns what its phone gets.
    cdef Message registered(self, ResponseContext context, Message response, int64_t now)
    # An address of its upstream does not serve it. True: it has other branches now.
    cdef bint lost(self, ResponseContext context, int64_t now) except -1

# The proxy as its response contexts see it.
cdef class Forwarder(Timed):
    cdef TransactionLayer transactions
    cdef Wheel wheel
    cdef Edits edits
    cdef int64_t timer_c
    cdef CallObserver observer
    cdef Ringing ringing
    cdef dict known                      # Call-ID and caller's branch -> ResponseContext with a branch that is `known`
    # The phones that ring since before a restart are to stop.
    cdef int cancel_former(self, ResponseContext context, Message cancel, int64_t now) except -1

# A response as it goes up: less our Via (RFC 3261 §16.7 step 3).
cdef bytes upward(Edits edits, Message response)
