# What client and server transactions have in common, and what they need of the layer that holds them.
# Knows nothing of routing: a Guide above says where phones have moved to, a Sink below takes bytes.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from .._flow cimport Flow, Sink
from .._hash cimport Secret
from .._wheel cimport Timed, Wheel
from ..trust.credit cimport Credit
from ..trust.proven cimport Proven
from .branch cimport Slots
from .index cimport Index
from .machines cimport Machine

cdef enum:
    MOST_UDP = 65_507        # bytes of a datagram by IPv4 (RFC 768, RFC 791 §3.1)
    PATIENCE = 1000          # ms without `shrink_finished`

cdef enum Mark:
    LEGACY = 1               # of a server transaction: RFC 2543 matching; it keeps its request
    PROVISIONAL = 2          # of a client's: a 1xx has come; Python sees it as `provisional`
    CANCEL_WANTED = 4
    CANCEL_SENT = 8
    MOVED = 16               # has gone to more than one address
    OFFERS = 32              # of a server transaction: whether its final response was heard matters to the layer's Witness
    STRAYED = 64             # of a server transaction: has gone to more than one host

# Tells where phones have moved to.
cdef class Guide:
    cdef uint32_t moves_made             # so far
    # The flow by which to send now what was to go by `flow`: where its phone is since, or that one itself. `since`: how many
    # moves had been made when that flow was right.
    cdef Flow follow(self, Flow flow, bytes data, uint32_t since, int64_t now)
    # A 2xx to INVITE for who has proven nothing, as it is to leave by that flow and no other: with a secret that comes back
    # in what the dialog brings.
    cdef bytes entrust(self, bytes response, Flow flow, int64_t now)

# Who is to know whether a final response other than 2xx has come to where its request said to be from. A source can be forged;
# the To tag of the response reaches only who is there.
cdef class Witness(Timed):
    # An ACK with this To tag has come, to a transaction that OFFERS and has not STRAYED. Once.
    cdef int acknowledged(self, bytes tag, int64_t now) except -1
    # The response with it was taken back, and never left.
    cdef int withdrawn(self, bytes tag) except -1

# The layer as its transactions see it: its clock, its sink, its tables, and who pays for what is being handled. The layer
# itself says what these methods do.
cdef class Surroundings:
    cdef Guide guide                     # what is repeated, and responses to INVITE, go by its word; None: by their flow
    cdef Witness witness                 # of transactions that OFFER
    cdef readonly Wheel wheel
    cdef Sink sink
    cdef Secret secret
    cdef Slots slots                     # client transactions
    cdef int32_t t1, t2
    cdef int32_t after[26][2]            # ms of timers A to M, on unreliable and reliable flows; -1: not started
    cdef Index by_key                    # server transactions
    cdef Index by_merge
    cdef Credit credit                   # of who pays for what is being handled; None: nobody has had to be paid for yet
    cdef Credit own                      # for what the server does by itself
    cdef readonly Proven proven
    cdef int64_t withheld       # from who has proven nothing, or since no datagram holds it
    cdef list finished                   # server transactions to shrink
    cdef int64_t finished_since
    cdef readonly int64_t servers, clients                   # alive now
    cdef readonly int64_t held           # bytes of the messages that these keep
    cdef int64_t retransmissions_received, retransmissions_sent, timeouts
    cdef int64_t transport_errors
    # What comes next comes of a timer of what a credit has paid for, of nothing but the server itself.
    cdef int resume(self, Credit credit, Py_ssize_t taken, int64_t now) except -1
    cdef int rest(self) except -1
    # The credit of what is being handled, made where there was none.
    cdef Credit payer(self)
    cdef bint is_own(self, Flow flow) noexcept
    # It has ended: what the layer says of the datagram at hand names it no more.
    cdef int forget(self, Transaction transaction) except -1
    # Everything answered so far was committed and will leave: finished server transactions shrink. Called after each
    # commit; a second without a call, the layer shrinks them by itself.
    cpdef int shrink_finished(self) except -1


# Narrow fields, in this order: hundreds of thousands linger. The collector does not look at them; that has to stand here, or
# those who inherit in other modules would be looked at.
@cython.no_gc
cdef class Transaction(Timed):
    cdef uint32_t method                 # a Method, or a hash of another method's name with the top bit set
    cdef readonly unsigned char state    # a State of machines
    cdef unsigned char invite
    cdef unsigned char over              # timer B, F or H ran out; Python sees it as `timed_out`
    cdef unsigned char marks             # of Mark
    cdef const Machine *machine
    cdef int32_t interval                # of timer A, E or G, ms
    cdef int32_t weight                  # what of `held` is its own
    cdef uint32_t slot                   # of a client transaction, in the layer's Slots; of a server's: moves made before
    cdef readonly Flow flow              # dropped (None) when nothing will be sent by it any more
    cdef Surroundings layer              # None when terminated
    cdef bytes data                      # what is sent again: the request or its ACK, the last response
    cdef Credit credit                   # that its timers are paid from; None: nobody has had to be paid for
    cdef uint64_t resend_timer           # A, E, G
    cdef uint64_t end_timer              # all others: only one of them runs at a time
    cdef int weigh(self, bytes request) noexcept     # it keeps its data and this, from now on
    # Send to its flow where the budget allows it (RFC 3261 §17.2.1); whether it has left.
    cdef bint send(self, bytes data, int64_t now) except -1
    # Whether who pays for it has enough left; then that is paid.
    cdef bint charge(self, bytes data, int64_t now) except -1
    cdef Py_ssize_t origin_size(self) noexcept     # bytes of the datagram that it comes from, about
    cdef bint is_answer(self) noexcept
    cdef int start_timers(self, int resend, int end, int64_t now) except -1
    cdef void stop_timers(self) noexcept
    cdef int handle_timer(self, int event, int64_t now) except -1       # which has run out, as an Event
