# Client and server transactions (RFC 3261 §17, RFC 6026), matching (§17.1.3, §17.2.3), merged requests (§8.2.2.2).
# Knows nothing of routing: a Handler above is told what happened, a Sink below takes bytes.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ._flow cimport Flow, Sink
from ._parser cimport Message
from ._wheel cimport Timed, Wheel

# The transaction user. One per transaction; Python subclasses may override.
cdef class Handler:
    # A response to our request: each 1xx, the first final one, and every 2xx to INVITE (RFC 6026 Accepted).
    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1
    # Timer B or F ran out (treat as 408), or the transport failed (treat as 503): `status` says which.
    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1
    # The server transaction: CANCEL matched it; its ACK to a non-2xx came; it is gone (terminated or timed out).
    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1
    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1

cdef class ServerTransaction(Timed):
    cdef readonly int state
    cdef readonly bint invite
    cdef readonly Message request        # dropped (None) when the transaction has shrunk to absorbing retransmissions
    cdef readonly Flow flow
    cdef readonly bytes to_tag           # for responses of our own
    cdef public Handler handler
    # (other fields are the implementer's)
    # Send a response on. `status` is its code; the bytes are kept for retransmission where the state machine wants it.
    cpdef int respond(self, bytes response, int status, int64_t now) except -1
    # The last response was not committed and never left: forget it, so that another may be given instead.
    cpdef int retract(self, bytes response, int status, int64_t now) except -1

cdef class ClientTransaction(Timed):
    cdef readonly int state
    cdef readonly bint invite
    cdef readonly Message request        # as sent, our Via on top
    cdef readonly Flow flow
    cdef public Handler handler
    cdef readonly bint provisional       # a 1xx has come
    # CANCEL it (RFC 3261 §9.1): at once if a provisional response has come, else when one comes.
    cpdef int cancel(self, int64_t now) except -1

# What became of a request handed to the layer.
cdef enum Verdict:
    VERDICT_NEW = 0          # a new server transaction: layer.created
    VERDICT_ABSORBED = 1     # retransmission or ACK of ours, dealt with
    VERDICT_MERGED = 2       # §8.2.2.2; the layer has answered 482
    VERDICT_UNMATCHED = 3    # an ACK for a 2xx, or a CANCEL without transaction: the caller decides

cdef class TransactionLayer:
    cdef readonly ServerTransaction created
    # (tables, counters and timers are the implementer's)
    # Not for REGISTER and OPTIONS to ourselves, which are answered statelessly.
    cdef int receive_request(self, Message request, Flow flow, int64_t now) except -1
    # True where it matched. A response that matches none is the caller's.
    cdef bint receive_response(self, Message response, Flow flow, int64_t now) except -1
    # A branch for a client transaction about to be started: "z9hG4bKsf" + locator + keyed check (+ `loop`, 8 hex digits,
    # RFC 3261 §16.6 step 8). Reserves the slot that `start` then fills.
    cdef bytes new_branch(self, uint32_t loop)
    # Starts it: `request` carries that branch in its topmost Via. Sends at once.
    cdef ClientTransaction start(self, bytes request, bytes branch, Flow flow, Handler handler, int64_t now)
    # Whether a branch was made with our secret, by this process or an earlier one with the same secret; loop gets its
    # 8 hex digits as a number.
    cdef bint is_own_branch(self, const unsigned char *p, int size, uint32_t *loop) noexcept
