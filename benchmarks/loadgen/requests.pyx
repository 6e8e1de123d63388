"""Modes of one request and its answer: an echo, OPTIONS, REGISTER, and the look at what a registrar stored."""

from . import core  # must be loaded first  # no-cython-lint
from .core cimport DUPLICATES, PROVISIONAL, Call, Generator
from .wire cimport OPTIONS, REGISTER, Out, Part, Scan, holds, put_number, put_part, text, uri_of


cdef class Options(Generator):
    """OPTIONS to the server itself, answered 200."""

    cdef void begin(self, Call *call) noexcept nogil:
        call.cseq = 1
        self.again(call)
        self.expect(call)

    cdef void again(self, Call *call) noexcept nogil:
        cdef Out out = self.out()
        text(&out, b"OPTIONS sip:")
        put_part(&out, self.server)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, 0, b"OPTIONS", 0)
        text(&out, b"From: <sip:probe@")
        put_part(&out, self.domain)
        text(&out, b">;tag=")
        self.put_id(&out, call)
        text(&out, b"\r\nTo: <sip:")
        put_part(&out, self.server)
        text(&out, b">\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n")
        self.send(call, 0, &out)

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call = self.find(s.call_id, s)
        if call == NULL:
            return
        if s.status == 0 or not self.answers(call, 0, s, OPTIONS, 0):
            self.fail(call, b"not the answer to this OPTIONS", s)
        elif s.status < 200:
            self.counts[PROVISIONAL] += 1
        elif s.status != 200:
            self.fail(call, b"OPTIONS not answered 200", s)
        else:
            self.complete(call)


cdef class Echo(Options):
    """The same OPTIONS to a server that sends back what it gets: the limit."""

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call = self.find(s.call_id, s)
        if call == NULL:
            return
        if s.status or s.method != OPTIONS or s.cseq != 1:
            self.fail(call, b"not what was sent", s)
        else:
            self.complete(call)


cdef class Register(Generator):
    """Every user in turn, each with one contact: the first round binds, further ones refresh. `fetch` asks only.

    A user's Call-ID stays the same and its CSeq grows (RFC 3261 §10.2), so the generation is not part of the Call-ID.
    """

    def __init__(self, *args, bint fetch=False, int expires=3600, **more):
        self.fetching = fetch
        self.expires = expires

    def fetch(self, bint on=True):
        """From now on ask for the bindings instead of changing them (RFC 3261 §10.2.3). Begins with the first user."""
        self.fetching = on
        self.next_call = 0

    cdef void begin(self, Call *call) noexcept nogil:
        call.gen = 1
        call.cseq += 1
        self.again(call)
        self.expect(call)

    cdef void again(self, Call *call) noexcept nogil:
        cdef Out out = self.out()
        text(&out, b"REGISTER sip:")
        put_part(&out, self.domain)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, 0, b"REGISTER", 0)
        text(&out, b"From: <sip:u")
        put_number(&out, call.number)
        text(&out, b"@")
        put_part(&out, self.domain)
        text(&out, b">;tag=")
        self.put_id(&out, call)
        text(&out, b"\r\nTo: <sip:u")
        put_number(&out, call.number)
        text(&out, b"@")
        put_part(&out, self.domain)
        text(&out, b">\r\n")
        if not self.fetching:
            text(&out, b"Contact: <sip:u")
            put_number(&out, call.number)
            text(&out, b"@")
            put_part(&out, self.here(call, 0))
            text(&out, b">\r\nExpires: ")
            put_number(&out, self.expires)
            text(&out, b"\r\n")
        self.put_more(&out, call)
        text(&out, b"Content-Length: 0\r\n\r\n")
        self.send(call, 0, &out)

    cdef void put_more(self, Out *out, Call *call) noexcept nogil:
        """Whole header lines of a subclass."""

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call = self.find(s.call_id, s)
        if call == NULL:
            return
        if s.status and s.method == REGISTER and s.cseq < call.cseq:
            self.counts[DUPLICATES] += 1
        elif s.status == 0 or not self.answers(call, 0, s, REGISTER, 0):
            self.fail(call, b"not the answer to this REGISTER", s)
        elif s.status < 200:
            self.counts[PROVISIONAL] += 1
        elif s.status != 200:
            self.fail(call, b"REGISTER not answered 200", s)
        elif (self.expires or self.fetching) and not self.names_contact(call, s):
            self.fail(call, b"the 200 does not name the contact", s)
        else:
            self.complete(call)

    cdef bint names_contact(self, Call *call, Scan *s) noexcept nogil:
        """RFC 3261 §10.3 step 8: the 200 lists the bindings."""
        cdef char expected[80]
        cdef Out out
        cdef Part uri = uri_of(s.contact)
        out.p = expected
        out.n = 0
        text(&out, b"sip:u")
        put_number(&out, call.number)
        text(&out, b"@")
        put_part(&out, self.here(call, 0))
        return uri.n == out.n and holds(uri, expected, out.n) and holds(s.contact, b";expires=", 9)
