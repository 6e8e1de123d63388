# A flow is the transport path that a message came by; a sink is where messages leave the core.

from libc.stdint cimport int64_t, uint64_t

cdef enum Transport:
    TRANSPORT_UDP = 1
    TRANSPORT_TCP = 2
    TRANSPORT_TLS = 3
    TRANSPORT_WS = 4
    TRANSPORT_WSS = 5

cdef enum Admission:
    ADMITTED = 0
    DROPPED = 1
    OVER = 2

cdef enum:
    MOST_PACKED = 43        # bytes of pack()

cdef class Flow:
    # Every datagram makes one, and a transaction keeps it for half a minute: narrow fields, in this order, are 80 bytes.
    cdef readonly unsigned int scope     # the interface of a link-local peer (RFC 4007 §11), else 0
    # Of a stream: its number at its owner, and which of the connections that have had this number it is. The owner is who
    # has the socket: a worker of a node.
    cdef readonly unsigned int connection
    cdef readonly unsigned short generation
    cdef readonly unsigned short port    # of the peer, host order
    cdef readonly unsigned short local   # index of the local listener
    cdef readonly unsigned char node
    cdef readonly unsigned char worker
    cdef readonly unsigned char transport          # a Transport
    cdef readonly unsigned char family   # 4 or 6
    cdef unsigned char has_own           # own is set: the listener is a wildcard, and this is the address it was asked at
    cdef unsigned char ip[16]            # network order; the first four bytes for family 4
    cdef unsigned char own[16]           # as ip; what is sent by this flow leaves from it (RFC 3581 §4)
    cdef bytes host_text(self)           # b"192.0.2.1" or b"2001:db8::1" (no brackets)
    cdef bint reliable(self) noexcept
    cdef int pack_into(self, unsigned char *out) noexcept       # writes what pack() gives, at most MOST_PACKED; its length
    cdef bint same_peer(self, Flow other) noexcept
    cdef bint same_host(self, Flow other) noexcept              # whatever the port
    cdef bint is_at(self, const unsigned char *ip, int family) noexcept
    cdef bint same_connection(self, Flow other) noexcept        # of a stream; False where one is none
    cdef void leave_from(self, const unsigned char *own) noexcept

# The flow that pack() has written; None for anything else.
cdef Flow unpacked(const unsigned char *p, Py_ssize_t size)

# The same way to another address and port of the peer's.
cdef Flow flow_beside(Flow flow, const unsigned char *ip, int port)

# Made without going through Python arguments, for the receive loop.
cdef Flow make_flow(int transport, int family, const unsigned char *ip, int port, int local)

# Where one branch of a request goes.
cdef class Target:
    cdef bytes uri          # new Request-URI; None keeps it
    cdef bytes route        # Route value to put on top; None for none
    cdef Flow flow          # None: cannot be reached
    cdef bint by_token      # the flow is that of a token, for better or worse (RFC 5626 §5.3.1)

cdef Target make_target(bytes uri, bytes route, Flow flow)

# A message that has come, before anything is made of it.
cdef struct Incoming:
    const unsigned char *data
    const unsigned char *ip     # 4 or 16 bytes by family, network order
    Py_ssize_t size             # 0: nothing to look at
    int family
    int port
    Admission admission

cdef class Sink:
    cpdef int send(self, bytes data, Flow flow) except -1

# What the driver feeds: the engine is one.
cdef class Receiver:
    cpdef int receive(self, bytes data, Flow flow, int64_t now) except -1
    # Set the admission of each: whether it is received (ADMITTED), dropped, or given to `receive_over`.
    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept
    # Of a source that has sent its share: what belongs to a dialog is received all the same.
    cpdef int receive_over(self, bytes data, Flow flow, int64_t now) except -1
    # What was sent by a flow could not be delivered (RFC 3261 §18.4). `data`: what the error quotes of it, perhaps cut. An
    # error may be forged: what it means depends on what it quotes.
    cpdef int failed(self, Flow flow, bytes data, int64_t now) except -1
    # The connection of a stream is gone: nothing that waits for it will come, and nothing leads to it any more.
    cpdef int closed(self, Flow flow, int64_t now) except -1
    # What another worker has given to its bus for this one.
    cpdef int told(self, bytes frame, int64_t now) except -1
    # Whether it may be received later than what came after it, when more comes than is handled.
    cpdef bint may_wait(self, bytes data) except -1
    # What a name that was asked for leads to: addresses as text, the best first; empty: nowhere.
    cpdef int resolved(self, uint64_t ticket, object addresses, int64_t now) except -1
    cpdef int advance(self, int64_t now) except -1
    cpdef int64_t next_deadline(self) except? -2       # ms since the epoch; -1: none
    cpdef int commit(self, int64_t now) except -1      # commit the store, then hand all that was produced to the sink
    # Of a store that answers later: what has become of a batch that it was given.
    cpdef int committed(self, object batch, int64_t now) except -1
    cpdef int lost(self, object batch, object reason, int64_t now) except -1
    cpdef int fetched(self, object group, int64_t now) except -1
