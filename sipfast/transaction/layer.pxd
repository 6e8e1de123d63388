# Client and server transactions (RFC 3261 §17, RFC 6026), matching (§17.1.3, §17.2.3), merged requests (§8.2.2.2).
# Knows nothing of routing: a Handler above is told what happened, a Sink below takes bytes.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from .branch cimport Slots
from ..trust.credit cimport Credit
from .._hash cimport Secret
from .._flow cimport Flow, Sink
from .index cimport Index, Link
from .machines cimport Machine
from .matching cimport Key
from .._parser cimport Message, Span
from .._wheel cimport Timed, Wheel
from ..trust.proven cimport Proven

# RFC 3261 §17.1.4, §18.4: the request could not be delivered. An outcome of its own, and no status code.
cdef enum:
    OUTCOME_UNREACHABLE = -1

# What is said in place of an answer of so many bytes that cannot be sent there, such as a 200 with all Contacts (RFC 3261
# §10.3 step 8): 513 where no datagram holds it, else 500 with Retry-After.
cdef bytes too_large(Message request, Flow flow, bytes tag, Py_ssize_t size)

# The transaction user. One per transaction; Python subclasses may override.
cdef class Handler:
    # A response to our request: each 1xx, the first final one, and every 2xx to INVITE (RFC 6026 Accepted).
    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1
    # No final response will come: 408 after timer B or F, OUTCOME_UNREACHABLE after a transport error.
    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1
    # The server transaction: CANCEL matched it; it is gone (terminated or timed out).
    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1
    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1
    # One of the above has raised, or what led to it: end what was begun, and answer what is to be answered.
    cpdef int on_fault(self, int64_t now) except -1

cdef enum:
    MOST_UDP = 65_507        # bytes of a datagram by IPv4 (RFC 768, RFC 791 §3.1)

cdef enum Mark:
    LEGACY = 1               # of a server transaction: RFC 2543 matching; it keeps its request
    PROVISIONAL = 2          # of a client's: a 1xx has come; Python sees it as `provisional`
    CANCEL_WANTED = 4
    CANCEL_SENT = 8
    MOVED = 16               # has gone to more than one address

# What the four machines have in common. Narrow fields, in this order: hundreds of thousands linger.
cdef class Transaction(Timed):
    cdef uint32_t method                 # a Method, or a hash of another method's name with the top bit set
    cdef readonly unsigned char state    # a State of machines
    cdef unsigned char invite
    cdef unsigned char over              # timer B, F or H ran out; Python sees it as `timed_out`
    cdef unsigned char marks             # of Mark
    cdef const Machine *machine
    cdef int32_t interval                # of timer A, E or G, ms
    cdef uint32_t slot                   # of a client transaction, in the layer's Slots; of a server's: moves made before
    cdef readonly Flow flow              # dropped (None) when nothing will be sent by it any more
    cdef public Handler handler
    cdef TransactionLayer layer          # None when terminated
    cdef bytes data                      # what is sent again: the request or its ACK, the last response
    cdef Credit credit                   # that its timers are paid from; None: nobody has had to be paid for
    cdef uint64_t resend_timer           # A, E, G
    cdef uint64_t end_timer              # all others: only one of them runs at a time
    # Send to its flow where the budget allows it (RFC 3261 §17.2.1); whether it has left.
    cdef bint send(self, bytes data, int64_t now) except -1
    cdef bint pay(self, bytes data, int64_t now) except -1
    cdef Py_ssize_t origin(self) noexcept          # bytes of the datagram that it comes from, about
    cdef bint is_answer(self) noexcept
    cdef int start_timers(self, int resend, int end, int64_t now) except -1
    cdef void stop_timers(self) noexcept
    cdef int run_out(self, int event, int64_t now) except -1       # a timer did: by its Event


@cython.final
cdef class ServerTransaction(Transaction):
    cdef readonly Message request        # dropped (None) when the transaction has shrunk to absorbing retransmissions
    cdef uint64_t key_high
    cdef uint64_t first                  # once MOVED: Proven.hash_of the first address, which its tag is of
    cdef Link by_key
    cdef Link by_merge
    # Send a response on. `status` is its code; the bytes are kept for retransmission where the state machine wants it.
    # 1 where it was sent, 0 where the state machine or the budget does not allow it. One that no datagram holds becomes a 513.
    cpdef int respond(self, bytes response, int status, int64_t now) except -1
    # The last response was not committed and never left: forget it, and give this one instead.
    cpdef int retract(self, bytes response, int status, int64_t now) except -1
    cdef int happen(self, int event, bytes response, int64_t now) except -1
    cdef bytes tag(self)                 # the To tag of responses of our own, the same each time; Python sees `to_tag`
    cdef bytes final(self)
    cdef int lead(self, Flow flow) noexcept          # what is sent goes there from now on
    cdef int shrink(self) except -1
    cdef int terminate(self, int64_t now) except -1


@cython.final
cdef class ClientTransaction(Transaction):
    cdef Message parsed
    cdef bytes why                       # what a CANCEL that waits is to say
    # The request as sent, our Via on top; None once it has had its final response. Python sees it as `request`.
    cdef Message sent(self)
    # CANCEL it (RFC 3261 §9.1): at once if a provisional response has come, else when one comes. `why`: Reason lines of the
    # CANCEL (RFC 3326 §2), or b"".
    # 64*T1 after the CANCEL without a final response it ends with on_failure(408).
    cpdef int cancel(self, int64_t now, bytes why=*) except -1
    cdef int begin(self, int64_t now) except -1
    cdef int happen(self, int event, Message response, int64_t now) except -1
    cdef int send_cancel(self, int64_t now) except -1
    cdef int lead(self, int64_t now) except -1       # to where its phone is since
    cdef int shrink(self) except -1
    # Send it no more, and wait for what still comes.
    cpdef int hush(self) except -1
    # Send it no more, and tell nobody: whatever still comes for it is stray.
    cpdef int abandon(self) except -1
    cdef int terminate(self) except -1

# What became of a request handed to the layer.
cdef enum Verdict:
    VERDICT_NEW = 0          # a new server transaction: layer.created
    VERDICT_ABSORBED = 1     # retransmission or ACK of ours, dealt with
    VERDICT_MERGED = 2       # §8.2.2.2; the layer has answered 482
    VERDICT_UNMATCHED = 3    # an ACK for a 2xx, or a CANCEL without transaction: the caller decides

# Tells where phones have moved to.
cdef class Guide:
    cdef uint32_t moves_made             # so far
    # The flow by which to send now what was to go by `flow`: where its phone is since, or that one itself. `since`: how many
    # moves had been made when that flow was right.
    cdef Flow follow(self, Flow flow, bytes data, uint32_t since, int64_t now)
    # A 2xx to INVITE for who has proven nothing, as it is to leave by that flow and no other: with a secret that comes back
    # in what the dialog brings.
    cdef bytes entrust(self, bytes response, Flow flow, int64_t now)

cdef class TransactionLayer:
    cdef readonly ServerTransaction created
    cdef readonly ServerTransaction elsewhere      # whose request has come again by another flow, which is its flow since
    cdef Guide guide                     # what is repeated, and responses to INVITE, go by its word; None: by their flow
    cdef readonly Wheel wheel
    cdef Sink sink
    cdef Secret secret
    cdef Slots slots                     # client transactions
    cdef int32_t t1, t2
    cdef int32_t after[26][2]            # ms of timers A to M, on unreliable and reliable flows; -1: not started
    cdef Index by_key                    # server transactions
    cdef Index by_merge
    cdef bint foreseen                   # the datagram's hashes, which follow, are there
    cdef Key key
    cdef uint64_t merge
    cdef bytes last_branch               # the last that was made
    # What is being handled, a datagram or a timer, and who pays for what it causes.
    cdef Message datagram                # None: a timer
    cdef Py_ssize_t taken                # bytes of the datagram, or of that which the timer comes from
    cdef int64_t now
    cdef Credit credit                   # None: nobody has had to be paid for yet
    cdef Flow answered                   # whom its only answer went to, as long as no credit was asked about it; else None
    cdef Py_ssize_t answer_size          # bytes of that
    cdef Credit own                      # for what the server does by itself
    cdef list listeners                  # flows to ourselves
    cdef readonly Proven proven
    cdef readonly int64_t withheld       # from who has proven nothing, or since no datagram holds it
    cdef list finished                   # server transactions to shrink
    cdef int64_t finished_since
    cdef readonly int64_t servers, clients                   # alive now
    cdef readonly int64_t retransmissions_received, retransmissions_sent, timeouts, stray_responses, merged
    cdef readonly int64_t transport_errors, unreachable

    # What comes next comes of a datagram, of a timer of what a credit has paid for, of nothing but the server itself.
    cdef int begin(self, Message datagram, int64_t now) except -1
    cdef int resume(self, Credit credit, Py_ssize_t taken, int64_t now) except -1
    cdef int rest(self) except -1
    # What a timer of others does for a request is paid for by that request. True where there is to be `rest` after it.
    cdef bint answer_for(self, ServerTransaction server, int64_t now) except -1
    # The credit of what is being handled, made where there was none.
    cdef Credit payer(self)
    cdef Credit of_spiral(self)
    cdef Credit of_branch(self, Message request, Span branch)
    # Whether so many bytes may be sent to a flow; `answer`: to the one whose request is handled.
    cdef bint may_send(self, Py_ssize_t size, Flow flow, bint answer) except -1
    # Send without a transaction, where the budget allows it; whether it has left.
    cdef bint pass_on(self, bytes data, Flow flow, bint answer) except -1
    cdef bint is_own(self, Flow flow) noexcept
    cdef bint is_first_answer(self, Py_ssize_t size) noexcept
    cdef int prove(self, Flow flow, int64_t now) except -1
    # A request that is about to be handed over: what it will be looked up by is near then.
    cdef int foresee(self, Message request) except -1
    # Not for REGISTER and OPTIONS to ourselves, which are answered statelessly. Responses go to `flow`.
    cdef int receive_request(self, Message request, Flow flow, int64_t now) except -1
    # True where it matched. A response that matches none is the caller's.
    cdef bint receive_response(self, Message response, Flow flow, int64_t now) except -1
    # What was sent by `flow` could not be delivered (§18.4): its client transaction hears of it at once. `data` is what the
    # error quotes, which may be cut. True where a transaction that waits for a response has sent that, and there.
    cdef bint undelivered(self, bytes data, Flow flow, int64_t now) except -1
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
    cdef ClientTransaction start(self, bytes request, bytes branch, Flow flow, Handler handler, int64_t now)
    # Whether a branch was made with our secret, by this process or an earlier one with the same secret; loop gets its
    # 8 hex digits as a number.
    cdef bint is_own_branch(self, const unsigned char *p, int size, uint32_t *loop) noexcept
    # The worker that made a branch, -1 where it is not ours.
    cdef int worker_of(self, const unsigned char *p, int size) noexcept
    # Everything answered so far was committed and will leave: finished server transactions shrink. Called after each
    # commit; a second without a call, the layer shrinks them by itself.
    cpdef int settle(self) except -1
    # Ends every transaction without telling anybody, for the end of the process and of tests.
    cpdef int close(self) except -1

    cdef ServerTransaction find(self, Message request, uint32_t method)
    cdef ServerTransaction add(self, Message request, Flow flow)
    cdef int take_initial(self, Message request, Flow flow, int64_t now) except -1
    cdef int take_ack(self, Message ack, int64_t now) except -1
    cdef int take_cancel(self, Message cancel, Flow flow, int64_t now) except -1
    cdef bint is_merged(self, Message request, uint64_t hash) noexcept
    cdef bint give_up(self, ClientTransaction transaction, Flow flow, int64_t now) except -1
    cdef ClientTransaction occupy(self, bytes request, uint32_t slot, Flow flow, Handler handler)
    cdef int vacate(self, ClientTransaction transaction) except -1
