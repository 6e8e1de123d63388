"""The b2bua cycle: a redial with a phone that places no call; the server calls both, and joins them (RFC 3725).

    caller                 server                 callee
      |-- INVITE, Expires --->|                       |   not registered
      |<----- 480 m=NL -------|                       |
      |------ ACK ----------->|                       |
      |                       |<----- REGISTER -------|
      |                       |------ 200 ----------->|
      |<----- INVITE ---------|                       |
      |------ 180, 200 ------>|                       |   with where its media are
      |<----- ACK ------------|------ INVITE -------->|
      |                       |<----- 180, 200 -------|
      |<----- INVITE ---------|------ ACK ----------->|   in the dialog of the 200: where the callee's media are
      |------ 200 ----------->|                       |
      |<----- ACK ------------|                       |
      |------ BYE ----------->|------ BYE ----------->|   once both ACKs are here
      |<----- 200 ------------|<----- 200 ------------|
      |                       |<----- REGISTER, Expires: 0
      |                       |------ 200 ----------->|

The server's call to the caller is tied to its cycle as a REFER is, by the Request-URI; the one to the callee by the callee's
Contact and, from then on, by its Call-ID. How long the caller's phone waits to ring once the callee's REGISTER was
written is noted for each cycle (`recalls`).
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from . import redial  # must be loaded first  # no-cython-lint
from .calls cimport ACKED, ANSWERED, ENDING, HUNG_UP, put_sdp
from .core cimport CALLEE, CALLER, DUPLICATES, PROVISIONAL, STRAY, Call
from .redial cimport BOUND, LOGIN, LOGOUT, REFERRED, Redial
from .wire cimport (
    ACK, BYE, INVITE, Out, Part, Scan, branch_of, holds, put, put_hex, put_part, same, tag_of, text,
)

cdef enum:
    # what was seen so far
    RANG = REFERRED         # the caller: the server's INVITE
    PICKED_UP = 64          # the ACK of its 200
    JOINED = 128            # the ACK of that to the second INVITE

# The server's two calls.
cdef struct Both:
    char answer[2048]       # the caller's last 200
    int answer_size
    uint32_t cseq           # of that
    bint waits              # for its ACK
    char far[256]           # Call-ID at the callee
    int far_size
    bint ended              # the caller's BYE was answered

cdef class B2bua(Redial):
    """b2bua cycles. Nobody has to be registered before."""

    cdef Both *both

    def __init__(self, *args, int size, **more):
        Redial.__init__(self, *args, size=size, **more)
        self.both = <Both *>calloc(size, sizeof(Both))
        if not self.both:
            raise MemoryError

    def __dealloc__(self):
        free(self.both)

    cdef void begin(self, Call *call) noexcept nogil:
        cdef Both *both = &self.both[call.number]
        both.waits = both.ended = False
        both.far_size = 0
        both.cseq = 0
        Redial.begin(self, call)

    cdef void again(self, Call *call) noexcept nogil:
        cdef Both *both = &self.both[call.number]
        cdef Out out
        if both.waits:
            out = self.out()
            put(&out, both.answer, both.answer_size)
            self.send(call, CALLER, &out)
        if call.state == ENDING:
            if not both.ended:
                self.leave(call)
        else:
            Redial.again(self, call)
        if call.state == LOGIN and call.seen & ANSWERED and not call.seen & ACKED:
            out = self.out()
            put(&out, self.dialogs[call.number].answer, self.dialogs[call.number].answer_size)
            self.send(call, CALLEE, &out)

    # What arrives

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call
        if s.status == 0 and end == CALLEE:
            call = self.of_callee(s)
            if call != NULL:
                self.at_callee(call, s)
        elif end == CALLER and s.status and s.method == BYE:
            call = self.of_branch(s)
            if call != NULL:
                self.left(call, s)
        else:
            Redial.received(self, end, s)

    cdef Call *of_callee(self, Scan *s) noexcept nogil:
        """The call of a request to the callee, whose Contact has its number."""
        cdef int i = 5
        cdef uint32_t number = 0
        while i < s.uri.n and 48 <= s.uri.p[i] <= 57 and number < <uint32_t>self.size:
            number = 10 * number + <uint32_t>(s.uri.p[i] - 48)
            i += 1
        if i == 5 or number >= <uint32_t>self.size or not self.calls[number].active:
            self.counts[STRAY] += 1
            return NULL
        return &self.calls[number]

    cdef Call *of_branch(self, Scan *s) noexcept nogil:
        cdef Part id = branch_of(s.via[0])
        if id.n > 7:
            id.p += 7
            id.n -= 7
        return self.find(id, s)

    # At the caller's phone

    cdef void referred(self, Call *call, Scan *s) noexcept nogil:
        """A request of the server to the caller's phone."""
        cdef Both *both = &self.both[call.number]
        if s.method == ACK and s.cseq == both.cseq:
            self.acknowledged(call)
        elif s.method != INVITE or call.state != LOGIN:
            self.fail(call, b"a request to the caller that is none of a b2bua's", s)
        elif s.cseq == both.cseq:
            self.counts[DUPLICATES] += 1
        elif not call.seen & RANG and not tag_of(s.to).n:
            self.rung(call, s)
        elif call.seen & PICKED_UP and call.seen & ANSWERED and not both.waits and not call.seen & JOINED and tag_of(s.to).n:
            self.answer(call, s)              # where the callee's media are
        else:
            self.fail(call, b"an INVITE to the caller that is out of place", s)

    cdef void rung(self, Call *call, Scan *s) noexcept nogil:
        cdef Out out = self.out()
        if not self.learn_report(call, s):
            self.fail(call, b"a call of the server's without Contact", s)
            return
        call.seen |= RANG
        self.tally(self.recall_buckets, self.reports[call.number].back)
        self.put_response(&out, call, s, b"SIP/2.0 180 Ringing\r\n", b"r")
        text(&out, b" INVITE\r\nContact: <")
        put_part(&out, s.uri)
        text(&out, b">\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)
        self.answer(call, s)

    cdef void answer(self, Call *call, Scan *s) noexcept nogil:
        """The 200, which is repeated until its ACK (RFC 3261 §13.3.1.4)."""
        cdef Both *both = &self.both[call.number]
        cdef Out out = self.out()
        self.put_response(&out, call, s, b"SIP/2.0 200 OK\r\n", b"r")
        text(&out, b" INVITE\r\nContact: <")
        put_part(&out, s.uri)
        text(&out, b">\r\n")
        put_sdp(&out)
        if out.n > <int>sizeof(both.answer):
            self.fail(call, b"an INVITE whose answer is longer than is remembered", s)
            return
        memcpy(both.answer, out.p, out.n)
        both.answer_size = out.n
        both.cseq = s.cseq
        both.waits = True
        self.send(call, CALLER, &out)
        self.expect(call)

    cdef void acknowledged(self, Call *call) noexcept nogil:
        cdef Both *both = &self.both[call.number]
        if not both.waits:
            self.counts[DUPLICATES] += 1
            return
        both.waits = False
        if call.seen & PICKED_UP:
            call.seen |= JOINED
        call.seen |= PICKED_UP
        self.talk(call)

    cdef void talk(self, Call *call) noexcept nogil:
        """Both hear each other: that was it."""
        if call.seen & JOINED and call.seen & ACKED and call.seen & BOUND:
            call.state = ENDING
            self.leave(call)
            self.expect(call)

    cdef void leave(self, Call *call) noexcept nogil:
        cdef Out out = self.out()
        text(&out, b"BYE ")
        put(&out, self.reports[call.number].target, self.reports[call.number].target_size)
        text(&out, b" SIP/2.0\r\nVia: SIP/2.0/UDP ")
        put_part(&out, self.here(call, CALLER))
        text(&out, b";branch=z9hG4bK")
        self.put_id(&out, call)
        put_hex(&out, 0xff10)
        put_part(&out, self.mark)
        text(&out, b"\r\nMax-Forwards: 70\r\n")
        put(&out, self.reports[call.number].ids, self.reports[call.number].ids_size)
        text(&out, b"\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    cdef void left(self, Call *call, Scan *s) noexcept nogil:
        """The answer to the BYE."""
        cdef Both *both = &self.both[call.number]
        if s.status < 200:
            self.counts[PROVISIONAL] += 1
        elif s.status != 200 or s.vias != 1 or not same(
                s.call_id, self.reports[call.number].call_id, self.reports[call.number].call_id_size):
            self.fail(call, b"BYE not answered 200", s)
        elif both.ended or call.state != ENDING:
            self.counts[DUPLICATES] += 1
        else:
            both.ended = True
            self.over(call)

    cdef void over(self, Call *call) noexcept nogil:
        if self.both[call.number].ended and call.seen & HUNG_UP:
            self.talked(call)

    # At the callee's phone

    cdef bint for_callee(self, Call *call, Scan *s) noexcept nogil:
        """Whether it names the callee's Contact, comes as any call does, by a proxy, and is of the server's one call."""
        cdef Both *both = &self.both[call.number]
        cdef char expected[96]
        cdef Out out
        out.p = expected
        out.n = 0
        self.put_contact(&out, call)
        if not same(s.uri, expected, out.n) or s.vias != 2 or not holds(s.via[0], self.server.p, self.server.n):
            return False
        if both.far_size:
            return same(s.call_id, both.far, both.far_size)
        if s.method != INVITE or s.call_id.n > <int>sizeof(both.far):
            return False
        memcpy(both.far, s.call_id.p, s.call_id.n)
        both.far_size = s.call_id.n
        return True

    cdef void at_callee(self, Call *call, Scan *s) noexcept nogil:
        cdef Out out
        if s.status:
            Redial.at_callee(self, call, s)
        elif not self.for_callee(call, s):
            self.fail(call, b"not a request of this call for its callee", s)
        elif s.method == INVITE:
            if call.seen & ANSWERED:
                self.counts[DUPLICATES] += 1
            elif call.state != LOGIN or not call.seen & RANG or tag_of(s.to).n or not s.routes or s.body.n == 0:
                self.fail(call, b"an INVITE to the callee that is out of place", s)
            else:
                self.arrived(call, s)
        elif not self.tag_is_callees(call, s):
            self.fail(call, b"not a request within this call", s)
        elif s.method == ACK and call.seen & ANSWERED:
            self.counts[DUPLICATES] += call.seen & ACKED != 0
            if not call.seen & ACKED:
                call.seen |= ACKED
                self.talk(call)
        elif s.method == BYE and (call.state == ENDING or call.state == LOGOUT):
            self.counts[DUPLICATES] += call.seen & HUNG_UP != 0
            out = self.out()
            self.put_response(&out, call, s, b"SIP/2.0 200 OK\r\n", b"t")
            text(&out, b" BYE\r\nContent-Length: 0\r\n\r\n")
            self.send(call, CALLEE, &out)
            if not call.seen & HUNG_UP:
                call.seen |= HUNG_UP
                self.over(call)
        else:
            self.fail(call, b"a request to the callee that is out of place", s)

    cdef void go_on(self, Call *call) noexcept nogil:
        self.talk(call)                       # the callee's REGISTER was answered; the call is the server's to place
