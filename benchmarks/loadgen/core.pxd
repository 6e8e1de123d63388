"""The load generator's engine: a socket for each end, a table of calls, retransmission, counters. A mode is a subclass."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from sipfast.transport.kernel cimport iovec, mmsghdr, sockaddr_in

from .wire cimport Out, Part, Scan

cdef enum:
    BATCH = 64        # datagrams of one recvmmsg
    RING = 256        # datagrams collected before a sendmmsg
    ROOM = 4096       # bytes of one datagram
    BUCKETS = 65536   # of the latency histogram
    COMPLAINTS = 10   # messages kept for the report
    CALLER = 0        # the ends of a call
    CALLEE = 1

# What is counted.
cdef enum:
    BEGUN, COMPLETED, SENT, RECEIVED, RETRANSMITTED, DUPLICATES, LATE, PROVISIONAL, WRONG, STRAY, LOST, SEND_ERRORS,
    BYTES_SENT, BYTES_RECEIVED, COUNTS

# One transaction, call or cycle: from its first request to its last answer.
cdef struct Call:
    uint32_t number    # its place in the table; the user
    uint32_t gen       # which cycle of this place; part of every id, so that what is late is told from what is wrong
    uint32_t cseq      # of the outstanding request; register counts it on over all cycles (RFC 3261 §10.2)
    uint8_t state      # the mode's
    uint8_t active
    uint8_t seen       # the mode's
    uint8_t leg        # which Call-ID of this cycle the outstanding request has: its last character, from 1
    uint32_t place     # in the list of active calls
    uint32_t peer      # which peer of its end the caller is, and which of its own the callee
    int64_t began      # ns; in an open loop when it was due, not when it left
    int64_t due        # ns, next retransmission
    int64_t interval   # ns

cdef struct End:
    int fd
    int pending
    mmsghdr *messages
    iovec *parts
    char *space
    char *notes        # of several peers: the address that each message leaves from, as control data
    Part *names        # "address:port" of each peer

cdef class Generator:
    cdef readonly int size, peers
    cdef End ends[2]
    cdef int end_count
    cdef object sockets
    cdef Call *calls
    cdef uint32_t *active
    cdef int active_count, next_call
    cdef uint64_t counts[COUNTS]
    cdef uint64_t *buckets
    cdef mmsghdr *messages
    cdef iovec *parts
    cdef char *space
    cdef char *notes
    cdef sockaddr_in *senders
    cdef sockaddr_in to
    cdef uint32_t reached  # which peer of its end the datagram came to that is being read
    cdef list complaints
    cdef int complained
    cdef char complaint[COMPLAINTS][1536]
    cdef const char *reason[COMPLAINTS]
    cdef int complaint_size[COMPLAINTS]
    cdef int64_t t1, now, started, next_look
    cdef readonly int64_t idle  # ns of CPU time spent on waiting for the server, since the last reset
    cdef uint64_t open_begun, most
    cdef double rate
    cdef int window
    # What every message names: the server's "127.0.0.1:port", the served domain, a mark of this run.
    cdef object kept
    cdef Part server, domain, mark

    # What a mode says.
    cdef void begin(self, Call *call) noexcept nogil
    cdef void again(self, Call *call) noexcept nogil
    cdef void received(self, int end, Scan *s) noexcept nogil

    # What a mode uses.
    cdef Out out(self) noexcept nogil
    cdef void send(self, Call *call, int end, Out *out) noexcept nogil
    cdef void send_from(self, uint32_t peer, int end, Out *out) noexcept nogil
    cdef void answer_options(self, int end, Scan *s) noexcept nogil
    cdef Part here(self, Call *call, int end) noexcept nogil
    cdef void expect(self, Call *call) noexcept nogil
    cdef void complete(self, Call *call) noexcept nogil
    cdef int64_t clock(self) noexcept nogil
    cdef void tally(self, uint64_t *buckets, int64_t since) noexcept nogil
    cdef list histogram(self, uint64_t *buckets)
    cdef void fail(self, Call *call, const char *reason, Scan *s) noexcept nogil
    cdef void note(self, const char *reason, Scan *s) noexcept nogil
    cdef Call *find(self, Part id, Scan *s) noexcept nogil
    cdef void put_id(self, Out *out, Call *call) noexcept nogil
    cdef void put_head(self, Out *out, Call *call, int end, const char *method, int step) noexcept nogil
    cdef bint answers(self, Call *call, int end, Scan *s, int method, int step) noexcept nogil

    cdef void make_room(self, int i) noexcept nogil
    cdef int receive(self, int end) noexcept nogil
    cdef bint came(self, int end, int i) noexcept nogil
    cdef void flush(self, int end) noexcept nogil
    cdef void begin_some(self) noexcept nogil
    cdef void start_one(self, int64_t began) noexcept nogil
    cdef void look(self) noexcept nogil
    cdef void finish(self, Call *call) noexcept nogil
    cdef void turn(self, bint beginning) noexcept nogil
