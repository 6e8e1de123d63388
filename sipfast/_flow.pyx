"""Flows and the sink: the two things that the engine and its transports share."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcmp, memcpy, memset

import cython

cdef extern from "arpa/inet.h" nogil:
    int AF_INET
    int AF_INET6
    const char *inet_ntop(int family, const void *source, char *target, unsigned int size)
    int inet_pton(int family, const char *source, void *target)

# The first byte of a packed flow
cdef enum:
    PLAIN = 1
    WITH_OWN = 2            # and the address of ours that it was asked at
    STREAM = 3

cdef dict NUMBERS = {"UDP": 1, "TCP": 2, "TLS": 3, "WS": 4, "WSS": 5}
cdef tuple NAMES = ("", "UDP", "TCP", "TLS", "WS", "WSS")


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Flow:

    def __init__(self, host, int port, *, str transport="UDP", int local=0, unsigned int scope=0,
                 unsigned int connection=0, unsigned short generation=0, unsigned char node=0, unsigned char worker=0):
        cdef bytes text = host.encode("ascii") if isinstance(host, str) else bytes(host)
        memset(self.ip, 0, 16)
        self.has_own = False
        if inet_pton(AF_INET, text, self.ip) == 1:
            self.family = 4
        elif inet_pton(AF_INET6, text, self.ip) == 1:
            self.family = 6
        else:
            raise ValueError(f"not an IP address: {host!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"not a port: {port}")
        if transport not in NUMBERS:
            raise ValueError(f"not a transport: {transport!r}")
        self.transport = NUMBERS[transport]
        self.port = port
        self.local = local
        self.scope = scope
        self.connection = connection
        self.generation = generation
        self.node = node
        self.worker = worker

    cdef bytes host_text(self):
        cdef char text[64]
        inet_ntop(AF_INET if self.family == 4 else AF_INET6, self.ip, text, 64)
        return <bytes>text

    cdef bint reliable(self) noexcept:
        return self.transport != TRANSPORT_UDP

    cdef bint same_peer(self, Flow other) noexcept:
        return (self.family == other.family and self.port == other.port and self.transport == other.transport
                and memcmp(self.ip, other.ip, 16) == 0)

    cdef bint same_host(self, Flow other) noexcept:
        return self.is_at(other.ip, other.family)

    cdef bint is_at(self, const unsigned char *ip, int family) noexcept:
        return self.family == family and memcmp(self.ip, ip, 4 if family == 4 else 16) == 0

    cdef bint same_connection(self, Flow other) noexcept:
        return (self.reliable() and other.reliable() and self.connection == other.connection
                and self.generation == other.generation and self.node == other.node and self.worker == other.worker)

    @property
    def host(self):
        return self.host_text().decode("ascii")

    @property
    def transport_name(self):
        return NAMES[self.transport]

    cdef int pack_into(self, unsigned char *out) noexcept:
        cdef int size = 4 if self.family == 4 else 16
        cdef bint stream = self.reliable()
        out[0] = STREAM if stream else WITH_OWN if self.has_own else PLAIN
        out[1] = self.transport
        out[2] = self.family
        out[3] = self.port >> 8
        out[4] = self.port & 255
        out[5] = (self.local >> 8) & 255
        out[6] = self.local & 255
        if stream:
            memcpy(out + 7, &self.connection, 4)
            memcpy(out + 11, &self.generation, 2)
            out[13] = self.node
            out[14] = self.worker
            memcpy(out + 15, self.ip, size)
            return 15 + size
        memcpy(out + 7, &self.scope, 4)
        memcpy(out + 11, self.ip, size)
        if not self.has_own:
            return 11 + size
        memcpy(out + 11 + size, self.own, size)
        return 11 + 2 * size

    def pack(self):
        cdef unsigned char out[MOST_PACKED]
        return PyBytes_FromStringAndSize(<char *>out, self.pack_into(out))

    @staticmethod
    def unpack(bytes packed not None):
        cdef Flow flow = unpacked(<const unsigned char *>PyBytes_AS_STRING(packed), len(packed))
        if flow is None:
            raise ValueError("not a packed flow")
        return flow

    cdef void leave_from(self, const unsigned char *own) noexcept:
        self.has_own = True
        memcpy(self.own, own, 4 if self.family == 4 else 16)

    def __eq__(self, other):
        if not isinstance(other, Flow):
            return NotImplemented
        cdef Flow flow = <Flow>other
        return self.pack() == flow.pack()

    def __hash__(self):
        return hash(self.pack())

    def __repr__(self):
        return f"Flow({self.host!r}, {self.port}, transport={self.transport_name!r}, local={self.local})"


cdef Flow make_flow(int transport, int family, const unsigned char *ip, int port, int local):
    cdef Flow flow = Flow.__new__(Flow)
    memset(flow.ip, 0, 16)
    memcpy(flow.ip, ip, 4 if family == 4 else 16)
    flow.transport = transport
    flow.family = family
    flow.port = port
    flow.local = local
    flow.scope = flow.connection = 0
    flow.generation = flow.node = flow.worker = 0
    flow.has_own = False
    return flow


cdef Flow flow_beside(Flow flow, const unsigned char *ip, int port):
    cdef Flow other = make_flow(flow.transport, flow.family, ip, port, flow.local)
    other.scope = flow.scope
    if flow.has_own:
        other.leave_from(flow.own)
    return other


cdef Flow unpacked(const unsigned char *p, Py_ssize_t size):
    cdef int width
    cdef Flow flow
    if size < 11 or not PLAIN <= p[0] <= STREAM or not 1 <= p[1] <= 5 or p[2] not in (4, 6):
        return None
    width = 16 if p[2] == 6 else 4
    if size != (15 + width if p[0] == STREAM else 11 + width * p[0]) or (p[0] == STREAM) != (p[1] != TRANSPORT_UDP):
        return None
    if p[0] == STREAM:
        flow = make_flow(p[1], p[2], p + 15, p[3] << 8 | p[4], p[5] << 8 | p[6])
        memcpy(&flow.connection, p + 7, 4)
        memcpy(&flow.generation, p + 11, 2)
        flow.node = p[13]
        flow.worker = p[14]
        return flow
    flow = make_flow(p[1], p[2], p + 11, p[3] << 8 | p[4], p[5] << 8 | p[6])
    memcpy(&flow.scope, p + 7, 4)
    if p[0] == WITH_OWN:
        flow.leave_from(p + 11 + width)
    return flow


cdef Target make_target(bytes uri, bytes route, Flow flow):
    cdef Target target = Target.__new__(Target)
    target.uri = uri
    target.route = route
    target.flow = flow
    target.by_token = False
    return target


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Target:
    pass


cdef class Sink:

    cpdef int send(self, bytes data, Flow flow) except -1:
        raise NotImplementedError("a Sink needs its own send()")


cdef class Receiver:

    cpdef int receive(self, bytes data, Flow flow, int64_t now) except -1:
        raise NotImplementedError("a Receiver needs its own receive()")

    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept:
        cdef int i
        for i in range(count):
            arrivals[i].admission = ADMITTED
        return 0

    cpdef int receive_over(self, bytes data, Flow flow, int64_t now) except -1:
        return 0

    cpdef int failed(self, Flow flow, bytes data, int64_t now) except -1:
        return 0

    cpdef int closed(self, Flow flow, int64_t now) except -1:
        return 0

    cpdef int told(self, bytes frame, int64_t now) except -1:
        return 0

    cpdef int resolved(self, uint64_t ticket, object addresses, int64_t now) except -1:
        return 0

    cpdef bint may_wait(self, bytes data) except -1:
        return False

    cpdef int advance(self, int64_t now) except -1:
        return 0

    cpdef int64_t next_deadline(self) except? -2:
        return -1

    cpdef int commit(self, int64_t now) except -1:
        return 0

    cpdef int committed(self, object batch, int64_t now) except -1:
        return 0

    cpdef int lost(self, object batch, object reason, int64_t now) except -1:
        return 0

    cpdef int fetched(self, object group, int64_t now) except -1:
        return 0
