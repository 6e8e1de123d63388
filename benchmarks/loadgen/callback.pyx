"""The callback cycle: a redial with a phone that obeys no REFER out of a dialog, and one in the early dialog of a call to it.

    caller                 server                 callee
      |-- INVITE, Expires --->|                       |   not registered
      |<----- 480 m=NL -------|                       |
      |------ ACK ----------->|                       |
      |                       |<----- REGISTER -------|
      |                       |------ 200 ----------->|
      |     where the server tries that: REFER out of a dialog, 603
      |<----- INVITE ---------|                       |
      |------ 180 ----------->|                       |
      |<----- REFER ----------|                       |   in the dialog of the 180
      |------ 202 ----------->|                       |
      |           the call of calls.pyx, to the Refer-To, with a Call-ID of its own
      |<----- CANCEL ---------|                       |   once its INVITE has come
      |------ 200, 487 ------>|                       |
      |<----- ACK ------------|                       |
      |                       |<----- REGISTER, Expires: 0
      |                       |------ 200 ----------->|

The server's call is tied to its cycle as its REFER is, by the Request-URI. A CANCEL that comes before the new INVITE has left is
wrong. How long the caller's phone waits to ring once the callee's REGISTER was written is noted for each cycle (`recalls`). A
cycle is complete when the server's call is over, too.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from . import redial  # must be loaded first  # no-cython-lint
from .calls cimport CALLING
from .core cimport CALLER, DUPLICATES, Call
from .redial cimport ASKING, LOGIN, LOGOUT, REFERRED, Redial
from .wire cimport ACK, CANCEL, INVITE, REFER, Out, Scan, put, put_part, tag_of, text

cdef enum:
    LEAVING = LOGOUT + 8    # waits for the end of the server's call

# The server's call to the caller's phone.
cdef struct Ringing:
    bint rings
    bint cancelled
    bint over
    char refusal[2048]      # its 487
    int refusal_size

cdef class Callback(Redial):
    """Callback cycles. Nobody has to be registered before."""

    cdef Ringing *ringing

    def __init__(self, *args, int size, **more):
        Redial.__init__(self, *args, size=size, **more)
        self.ringing = <Ringing *>calloc(size, sizeof(Ringing))
        if not self.ringing:
            raise MemoryError

    def __dealloc__(self):
        free(self.ringing)

    cdef void begin(self, Call *call) noexcept nogil:
        cdef Ringing *ringing = &self.ringing[call.number]
        ringing.rings = ringing.cancelled = ringing.over = False
        Redial.begin(self, call)

    cdef void again(self, Call *call) noexcept nogil:
        cdef Ringing *ringing = &self.ringing[call.number]
        if ringing.cancelled and not ringing.over:
            self.refuse(call)
        if call.state != LEAVING:
            Redial.again(self, call)

    cdef void refuse(self, Call *call) noexcept nogil:
        """The 487, which is repeated until its ACK (RFC 3261 §17.2.1)."""
        cdef Out out = self.out()
        put(&out, self.ringing[call.number].refusal, self.ringing[call.number].refusal_size)
        self.send(call, CALLER, &out)

    cdef void reply(self, Call *call, Scan *s, const char *line, const char *method) noexcept nogil:
        cdef Out out = self.out()
        self.put_response(&out, call, s, line, b"c")
        text(&out, method)
        text(&out, b"\r\nContact: <")
        put_part(&out, s.uri)
        text(&out, b">\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    cdef void referred(self, Call *call, Scan *s) noexcept nogil:
        """A request of the server to the caller's phone."""
        if call.state < CALLING or call.state == ASKING:
            self.fail(call, b"a request to the caller that is out of place", s)
        elif s.method == INVITE:
            self.rung(call, s)
        elif s.method == REFER and not tag_of(s.to).n:
            self.reply(call, s, b"SIP/2.0 603 Decline\r\n", b" REFER")
        elif s.method == REFER:
            self.asked(call, s)
        elif s.method == CANCEL:
            self.cancelled(call, s)
        elif s.method == ACK and self.ringing[call.number].cancelled:
            self.left(call)
        else:
            self.fail(call, b"a request to the caller that is none of a callback", s)

    cdef void rung(self, Call *call, Scan *s) noexcept nogil:
        cdef Ringing *ringing = &self.ringing[call.number]
        cdef Out out
        if ringing.cancelled:
            self.counts[DUPLICATES] += 1
            self.refuse(call)
            return
        if ringing.rings:
            self.counts[DUPLICATES] += 1
        elif call.state != LOGIN:
            self.fail(call, b"a callback that is out of place", s)
            return
        else:
            ringing.rings = True
            self.tally(self.recall_buckets, self.reports[call.number].back)
            out = self.out()
            self.put_response(&out, call, s, b"SIP/2.0 487 Request Terminated\r\n", b"c")
            text(&out, b" INVITE\r\nContent-Length: 0\r\n\r\n")
            if out.n > <int>sizeof(ringing.refusal):
                self.fail(call, b"a callback that is longer than is remembered", s)
                return
            memcpy(ringing.refusal, out.p, out.n)
            ringing.refusal_size = out.n
        self.reply(call, s, b"SIP/2.0 180 Ringing\r\n", b" INVITE")

    cdef void asked(self, Call *call, Scan *s) noexcept nogil:
        """The early REFER, within the dialog of our 180."""
        if not self.ringing[call.number].rings or not self.refers_to_callee(call, s):
            self.fail(call, b"a REFER that is out of place, or to somebody else", s)
            return
        self.reply(call, s, b"SIP/2.0 202 Accepted\r\n", b" REFER")
        if call.state != LOGIN or call.seen & REFERRED:
            self.counts[DUPLICATES] += 1
            return
        call.seen |= REFERRED
        self.go_on(call)

    cdef void cancelled(self, Call *call, Scan *s) noexcept nogil:
        cdef Ringing *ringing = &self.ringing[call.number]
        if not ringing.rings or call.state == LOGIN:
            self.fail(call, b"a CANCEL before the call that it is to make room for", s)
            return
        self.counts[DUPLICATES] += ringing.cancelled
        self.reply(call, s, b"SIP/2.0 200 OK\r\n", b" CANCEL")
        if not ringing.cancelled:
            ringing.cancelled = True
            self.refuse(call)

    cdef void left(self, Call *call) noexcept nogil:
        """The ACK of the 487."""
        cdef Ringing *ringing = &self.ringing[call.number]
        self.counts[DUPLICATES] += ringing.over
        ringing.over = True
        if call.state == LEAVING:
            self.complete(call)

    cdef void registered(self, Call *call) noexcept nogil:
        if call.state == LOGOUT and not self.ringing[call.number].over:
            call.state = LEAVING
            self.expect(call)
        elif call.state != LEAVING:
            Redial.registered(self, call)
