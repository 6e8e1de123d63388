# Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3, §8.2.2.2), and who pays for what it causes.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .._flow cimport Flow
from .._parser cimport Message, Span
from ..trust.credit cimport Credit
from .client cimport ClientTransaction, ResponseHandler
from .matching cimport Key
from .server cimport ServerTransaction
from .shares cimport Shares
from .transaction cimport Surroundings

# What became of a request handed to the layer.
cdef enum Verdict:
    VERDICT_NEW = 0          # a new server transaction: layer.created
    VERDICT_ABSORBED = 1     # retransmission or ACK of ours, dealt with
    VERDICT_MERGED = 2       # §8.2.2.2; the layer has answered 482
    VERDICT_UNMATCHED = 3    # an ACK for a 2xx, or a CANCEL without transaction: the caller decides
    VERDICT_FULL = 4         # a new one, and there is no room for it: the caller answers 503

cdef class TransactionLayer(Surroundings):
    cdef ServerTransaction created
    cdef ServerTransaction elsewhere      # whose request has come again by another flow, which is its flow since
    cdef bint foreseen                   # the datagram's hashes, which follow, are there
    cdef Key key
    cdef uint64_t merge
    cdef bytes last_branch               # the last that was made
    # What is being handled, a datagram or a timer.
    cdef Message datagram                # None: a timer
    cdef Py_ssize_t taken                # bytes of the datagram, or of that which the timer comes from
    cdef int64_t now
    cdef Flow answered                   # whom its only answer went to, as long as no credit was asked about it; else None
    cdef Py_ssize_t answer_size          # bytes of that
    cdef list listeners                  # flows to ourselves
    cdef readonly int64_t most_servers, most_held
    cdef Shares shares                   # of these
    cdef int64_t refused                 # for which there was no room
    cdef int alike                       # transactions that find() has looked at, of those without the magic cookie
    cdef readonly int64_t unreachable
    cdef int64_t stray_responses, merged

    # What comes next comes of a datagram (of a timer: `resume`; of nothing but the server itself: `rest`).
    cdef int begin(self, Message datagram, int64_t now) except -1
    # What a timer of others does for a request is paid for by that request. True where there is to be `rest` after it.
    cdef bint answer_for(self, ServerTransaction server, int64_t now) except -1
    cdef Credit of_spiral(self)
    cdef Credit of_branch(self, Message request, Span branch)
    # Whether so many bytes may be sent to a flow; `answer`: to the one whose request is handled.
    cdef bint may_send(self, Py_ssize_t size, Flow flow, bint answer) except -1
    # Send without a transaction, where the budget allows it; whether it has left.
    cdef bint pass_on(self, bytes data, Flow flow, bint answer) except -1
    cdef bint is_first_answer(self, Py_ssize_t size) noexcept
    cdef int prove(self, Flow flow, int64_t now) except -1
    # A request that is about to be handed over: what it will be looked up by is near then.
    cdef int foresee(self, Message request) except -1
    # Not for REGISTER and OPTIONS to ourselves, which are answered statelessly. Responses go to `flow`.
    # Whether a request is a copy of one that has a transaction.
    cdef bint knows(self, Message request) except -1
    cdef int receive_request(self, Message request, Flow flow, int64_t now) except -1
    # True where it matched. A response that matches none is the caller's.
    cdef bint receive_response(self, Message response, Flow flow, int64_t now) except -1
    # What was sent by `flow` could not be delivered (§18.4): its client transaction hears of it at once. `data` is what the
    # error quotes, which may be cut. True where a transaction that waits for a response has sent that, and there.
    cdef bint undelivered(self, bytes data, Flow flow, int64_t now) except -1
    # The connection of a stream is gone (§18.4): all that was sent by it and waits for a response hears of it at once.
    cdef int closed(self, Flow flow, int64_t now) except -1
    # The worker that has sent what an error quotes, -1 where that shows no branch of ours.
    cdef int sender_of(self, bytes data) noexcept
    # A branch for a client transaction about to be started: "z9hG4bKsf" + locator + keyed check + `loop` (8 hex digits,
    # RFC 3261 §16.6 step 8). Reserves the slot that `start` then fills.
    cdef bytes new_branch(self, uint32_t loop)
    # Gives a reserved slot back where `start` will not follow. False where there is nothing to give back.
    cpdef bint release_branch(self, bytes branch) except -1
    # The same for the last branch made, where a fault has kept `start` from following.
    cdef int forget_branch(self) except -1
    # Starts it: `request` carries that branch in its topmost Via. Sends at once, calls the handler only later. ValueError
    # for a branch that is not reserved.
    cdef ClientTransaction start(self, bytes request, bytes branch, Flow flow, ResponseHandler handler, int64_t now)
    # For a request that an earlier process has sent, and that goes on: its branch is reserved again. False where that cannot be.
    cdef bint reserve_again(self, bytes branch) except -1
    # `start` without sending: an INVITE that rings, of which responses and the CANCEL are what is to come.
    cdef ClientTransaction take_up(self, bytes request, bytes branch, Flow flow, ResponseHandler handler)
    # Whether a branch was made with our secret, by this process or an earlier one with the same secret; loop gets its
    # 8 hex digits as a number.
    cdef bint is_own_branch(self, const unsigned char *p, int size, uint32_t *loop) noexcept
    # The worker that made a branch, -1 where it is not ours.
    cdef int worker_of(self, const unsigned char *p, int size) noexcept
    # Ends every transaction without telling anybody, for the end of the process and of tests.
    cpdef int close(self) except -1

    # Settings: what there is room for, a config.Limits.
    cpdef int limit(self, object limits) except -1
    cdef bint has_room(self, bint in_dialog, Flow flow, int64_t now) except -1
    cdef ServerTransaction find(self, Message request, uint32_t method)
    cdef int receive_initial(self, Message request, Flow flow, int64_t now) except -1
    cdef int receive_ack(self, Message ack, int64_t now) except -1
    cdef int receive_cancel(self, Message cancel, Flow flow, int64_t now) except -1
    cdef bint is_merged(self, Message request, uint64_t hash) noexcept
    cdef bint fail_unreachable(self, ClientTransaction transaction, Flow flow, int64_t now) except -1
