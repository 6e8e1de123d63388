# Client and server transactions (RFC 3261 §17, RFC 6026), matching (§17.1.3, §17.2.3), merged requests (§8.2.2.2).
# Knows nothing of routing: a Handler above is told what happened, a Sink below takes bytes.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from ._branch cimport Secret, Slots
from ._flow cimport Flow, Sink
from ._index cimport Index, Link
from ._machines cimport Machine
from ._matching cimport Key
from ._parser cimport Message
from ._wheel cimport Timed, Wheel
from .proven cimport Proven

# RFC 3261 §17.1.4, §18.4: the request could not be delivered. An outcome of its own, and no status code.
cdef enum:
    OUTCOME_UNREACHABLE = -1

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

# What the four machines have in common. Narrow fields, in this order: hundreds of thousands linger.
cdef class Transaction(Timed):
    cdef uint32_t method                 # a Method, or a hash of another method's name with the top bit set
    cdef readonly unsigned char state    # a State of _machines
    cdef unsigned char invite
    cdef unsigned char over              # timer B, F or H ran out; Python sees it as `timed_out`
    cdef unsigned char legacy            # of a server transaction: RFC 2543 matching; it keeps its request
    cdef const Machine *machine
    cdef int32_t interval                # of timer A, E or G, ms
    cdef uint32_t slot                   # of a client transaction, in the layer's Slots; of a server's: moves made before
    cdef readonly Flow flow              # dropped (None) when nothing will be sent by it any more
    cdef public Handler handler
    cdef TransactionLayer layer          # None when terminated
    cdef bytes data                      # what is sent again: the request or its ACK, the last response
    cdef uint64_t resend_timer           # A, E, G
    cdef uint64_t end_timer              # all others: only one of them runs at a time
    cdef int send(self, bytes data, int64_t now) except -1
    cdef int start_timers(self, int resend, int end, int64_t now) except -1
    cdef void stop_timers(self) noexcept
    cdef int run_out(self, int event, int64_t now) except -1       # a timer did: by its Event

@cython.final
cdef class ServerTransaction(Transaction):
    cdef readonly Message request        # dropped (None) when the transaction has shrunk to absorbing retransmissions
    cdef uint64_t key_high
    cdef uint32_t room                   # bytes that its request may still cause towards who has proven nothing
    cdef unsigned char left              # datagrams
    cdef unsigned char unbounded         # whoever it answers is known otherwise
    cdef unsigned char moved             # has gone to more than one address
    cdef uint64_t first                  # then: Proven.hash_of the first one, which its tag is of
    cdef bint within_budget(self, bytes response, int event, int64_t now) noexcept
    cdef Link by_key
    cdef Link by_merge
    # Send a response on. `status` is its code; the bytes are kept for retransmission where the state machine wants it.
    # 1 where it was sent, 0 where the state machine does not allow it.
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
    cdef readonly unsigned char provisional        # a 1xx has come
    cdef unsigned char cancelling        # 1: wanted, 2: sent
    cdef unsigned char moved             # has gone to more than one address
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
    cdef Key key                         # of the request at hand
    cdef bytes last_branch               # the last that was made
    cdef uint32_t taken                  # its bytes
    cdef bint relaying                   # a response is being handled: what leaves is caused by that
    cdef readonly Proven proven
    cdef readonly int64_t withheld       # from who has proven nothing
    cdef list finished                   # server transactions to shrink
    cdef int64_t finished_since
    cdef readonly int64_t servers, clients                   # alive now
    cdef readonly int64_t retransmissions_received, retransmissions_sent, timeouts, stray_responses, merged
    cdef readonly int64_t transport_errors, unreachable

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
