"""One OPTIONS to a phone that registers and has proven nothing (RFC 3261 §11): whoever answers it, receives what we send.

The source of a REGISTER is as easily forged as any, so a new binding says nothing about who is there. The OPTIONS goes over
the binding's way, Path included, and any answer will do: 200, 401, 486, 501. It is sent once and kept nowhere, since a
hundred thousand phones may come within a second: its branch names no transaction, and says when it was made; its Call-ID
says where it was sent, and the branch has a keyed check of that. So any worker can take the answer, whatever address it
comes from, and what is proven is where the OPTIONS went; nobody can make one for an address that he does not receive at. An
answer counts for as long as a request waits for one (Timer F): what somebody once has seen, is of no use later.

One that is lost is not repeated. The phone's first answer to anything proves it as well, and a refresh half an hour later asks
again (proven.pyx).
"""

import cython

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from ..transaction.branch cimport (
    BRANCH_SIZE, NO_TRANSACTION, SERIAL_AT, SERIAL_SIZE, SLOT_AT, SLOT_SIZE, Locator, decode_branch, encode_branch, read_hex,
    write_hex,
)
from ..trust.credit cimport Credit
from .._hash cimport Hash, end_hash64, mix_bytes, mix_number, start_hash
from .._flow cimport TRANSPORT_UDP, Flow, Sink, make_flow
from .._listener cimport Listener, listener_at
from .._parser cimport Message, as_request_uri
from .location cimport Location
from ..trust.proven cimport Proven

cdef enum:
    PURPOSE_PROBE = 0x70726f62
    PLACE4 = 12                 # digits of an IPv4 address and a port
    PLACE6 = 36
    WITHIN = 10                 # bits: so many branches of one ms differ in their serials
    ANSWERED_IN = 32_000        # ms: Timer F (RFC 3261 §17.1.2.2)
    APART = 1000                # ms that the clocks of two workers may differ by, between two looks at them

cdef uint64_t TIMES = (<uint64_t>1 << 46) - 1      # the bits of a time in a serial: until the year 4199


@cython.final
cdef class Probe:

    def __init__(self, secret, int worker, tuple listeners not None, Location location not None, Proven proven not None):
        """`secret`: 128 bits, those of the transactions' branches."""
        self.secret.low = <uint64_t>(secret & 0xffffffffffffffff)
        self.secret.high = <uint64_t>(secret >> 64 & 0xffffffffffffffff)
        self.worker = worker
        self.listeners = listeners
        self.location = location
        self.proven = proven
        self.waiting = []

    cdef int ask(self, bytes aor, Credit credit, int64_t now) except -1:
        cdef bytes request
        cdef Flow flow
        for binding in self.location.lookup(aor, now):
            flow = self.location.flow_of(binding) if binding.updated == now else None
            if flow is None or not self.proven.ask(flow, now):
                continue
            request = self.options(binding, flow, aor, now)
            if not credit.spend(PyBytes_GET_SIZE(request), False):
                break
            self.sent += 1
            self.waiting.append((request, flow))
        return 0

    cdef int leave(self, Sink sink) except -1:
        waiting, self.waiting = self.waiting, []
        for request, flow in waiting:
            sink.send(<bytes>request, <Flow>flow)
        return 0

    cdef int drop(self) except -1:
        self.waiting = []
        return 0

    cdef bytes options(self, object binding, Flow flow, bytes aor, int64_t now):
        cdef Locator locator
        cdef char place[PLACE6]
        cdef int i, width = 4 if flow.family == 4 else 16
        cdef Listener ours = listener_at(self.listeners, flow.local)
        cdef bytes branch, unique, path = binding.path
        cdef char *at = place
        self.made += 1
        locator.worker = self.worker
        locator.slot = NO_TRANSACTION
        locator.serial = (<uint64_t>now & TIMES) << WITHIN | (self.made & ((1 << WITHIN) - 1))
        locator.loop = self.check_of(flow, locator.serial)
        branch = encode_branch(&self.secret, &locator)
        unique = branch[SERIAL_AT:SERIAL_AT + SERIAL_SIZE]
        for i in range(width):
            at = write_hex(at, flow.ip[i], 2)
        at = write_hex(at, flow.port, 4)
        return b"".join((
            b"OPTIONS ", as_request_uri(binding.contact), b" SIP/2.0\r\n", ours.via, branch,
            b";rport\r\nMax-Forwards: 70\r\n", b"Route: " + path + b"\r\n" if path else b"",
            b"From: <sip:", ours.sent_by, b">;tag=", unique, b"\r\nTo: <", aor,
            b">\r\nCall-ID: ", PyBytes_FromStringAndSize(place, at - place), b"-", unique,
            b"\r\nCSeq: 1 OPTIONS\r\n", ours.contact, b"Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"))

    cdef bint heard(self, Message response, int64_t now) except -1:
        cdef const unsigned char *p = response.p + response.via.branch.start
        cdef const unsigned char *place = response.p + response.call_id.start
        cdef int i, width, size = response.via.branch.end - response.via.branch.start
        cdef unsigned char ip[16]
        cdef bint good = True
        cdef Locator locator
        cdef Flow flow
        if size != BRANCH_SIZE or memcmp(p + SLOT_AT, b"ffffff", SLOT_SIZE) != 0 or not (
                decode_branch(&self.secret, p, size, &locator)):
            return False
        if ((<uint64_t>now + APART - (locator.serial >> WITHIN)) & TIMES) > ANSWERED_IN + APART:
            return False
        size = response.call_id.end - response.call_id.start - SERIAL_SIZE - 1
        if size != PLACE4 and size != PLACE6:
            return False
        width = 4 if size == PLACE4 else 16
        for i in range(width):
            ip[i] = <unsigned char>read_hex(place + 2 * i, 2, &good)
        flow = make_flow(TRANSPORT_UDP, 4 if width == 4 else 6, ip, <int>read_hex(place + 2 * width, 4, &good), 0)
        if not good or self.check_of(flow, locator.serial) != locator.loop:
            return False
        self.answered += 1
        self.proven.add(flow, now)
        return True

    cdef uint32_t check_of(self, Flow flow, uint64_t serial) noexcept:
        cdef Hash h
        start_hash(&h, &self.secret, PURPOSE_PROBE)
        mix_number(&h, serial)
        mix_number(&h, <uint64_t>flow.port << 8 | flow.family)
        mix_bytes(&h, flow.ip, 16)
        return <uint32_t>end_hash64(&h)
