"""See calls.pxd.

    caller                 server                 callee
      |------ INVITE -------->|------ INVITE -------->|
      |<----- 180, 200 -------|<----- 180, 200 -------|
      |------ ACK ----------->|------ ACK ----------->|
      |------ BYE ----------->|------ BYE ----------->|
      |<----- 200 ------------|<----- 200 ------------|

Caller `a<n>` calls callee `b<n>`. ACK and BYE take the way that the 200 showed: its Contact is their Request-URI, its
Record-Route in reverse their Route (RFC 3261 §12.1.2, §12.2.1.1). The caller hangs up once the callee has seen the
ACK, so a lost ACK shows. The callee repeats its 200 until then (§13.3.1.4).
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strlen

from . import core  # must be loaded first  # no-cython-lint
from .core cimport CALLEE, CALLER, DUPLICATES, PROVISIONAL, STRAY, Call, Generator
from .wire cimport (
    ACK, BYE, INVITE, LINES, REGISTER, Out, Part, Scan, holds, put, put_number, put_part, same, split_routes, tag_of, text,
    uri_of,
)

cdef const char *SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 8\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
)


cdef void put_sdp(Out *out) noexcept nogil:
    text(out, b"Content-Type: application/sdp\r\nContent-Length: ")
    put_number(out, <int>strlen(SDP))
    text(out, b"\r\n\r\n")
    text(out, SDP)


cdef class Calls(Generator):
    """Whole calls. `bind` first: the callees have to be registered."""

    def __cinit__(self, *args, int size, **more):
        self.dialogs = <Dialog *>calloc(size, sizeof(Dialog))
        if not self.dialogs:
            raise MemoryError

    def __dealloc__(self):
        free(self.dialogs)

    def bind(self, bint on=True):
        """From now on a cycle is the REGISTER of a callee (True), or a call."""
        self.binding = on
        self.next_call = 0

    cdef void begin(self, Call *call) noexcept nogil:
        call.cseq = 1
        if self.binding:
            call.state = BINDING
            self.register(call, 3600)
        else:
            call.state = CALLING
            self.invite(call)
        self.expect(call)

    cdef void again(self, Call *call) noexcept nogil:
        cdef Out out
        cdef Dialog *dialog = &self.dialogs[call.number]
        if call.state == BINDING:
            self.register(call, 3600)
        elif call.seen & ANSWERED and not call.seen & ACKED:
            out = self.out()
            put(&out, dialog.answer, dialog.answer_size)
            self.send(call, CALLEE, &out)
        elif call.state == CALLING and not call.seen & PROCEEDING:
            self.invite(call)
        elif call.state == ENDING:
            self.hang_up(call)

    # Messages of the caller

    cdef void put_callee(self, Out *out, Call *call) noexcept nogil:
        """The callee's address of record."""
        text(out, b"sip:b")
        put_number(out, call.number)
        text(out, b"@")
        put_part(out, self.domain)

    cdef void put_people(self, Out *out, Call *call) noexcept nogil:
        """From and the begin of To, of a request of the caller."""
        text(out, b"From: <sip:a")
        put_number(out, call.number)
        text(out, b"@")
        put_part(out, self.domain)
        text(out, b">;tag=")
        self.put_id(out, call)
        text(out, b"\r\nTo: <")
        self.put_callee(out, call)
        text(out, b">")

    cdef void invite(self, Call *call) noexcept nogil:
        cdef Out out = self.out()
        text(&out, b"INVITE ")
        self.put_callee(&out, call)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, CALLER, b"INVITE", 0)
        self.put_people(&out, call)
        text(&out, b"\r\nContact: <sip:")
        self.put_id(&out, call)
        text(&out, b"@")
        put_part(&out, self.here(call, CALLER))
        text(&out, b">\r\n")
        put_sdp(&out)
        self.send(call, CALLER, &out)

    cdef void refused(self, Call *call, Scan *s) noexcept nogil:
        """ACK of a final response other than 2xx: the INVITE's Request-URI, Via and Call-ID (RFC 3261 §17.1.1.3)."""
        cdef Out out = self.out()
        text(&out, b"ACK ")
        self.put_callee(&out, call)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, CALLER, b"ACK", 0)
        text(&out, b"From: ")
        put_part(&out, s.from_)
        text(&out, b"\r\nTo: ")
        put_part(&out, s.to)
        text(&out, b"\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    cdef void refused_again(self, Call *call, Scan *s) noexcept nogil:
        """The ACK once more, of the first INVITE of a cycle that has gone on to others."""
        cdef int leg = call.leg
        cdef unsigned int cseq = call.cseq
        call.leg = 1
        call.cseq = 1
        self.refused(call, s)
        call.leg = leg
        call.cseq = cseq

    cdef void confirm(self, Call *call) noexcept nogil:
        """ACK of the 2xx."""
        cdef unsigned int cseq = call.cseq
        call.cseq = 1
        self.in_dialog(call, b"ACK", 1)
        call.cseq = cseq

    cdef void hang_up(self, Call *call) noexcept nogil:
        self.in_dialog(call, b"BYE", 2)

    cdef void in_dialog(self, Call *call, const char *method, int step) noexcept nogil:
        cdef Out out = self.out()
        cdef Dialog *dialog = &self.dialogs[call.number]
        text(&out, method)
        text(&out, b" ")
        put(&out, dialog.target, dialog.target_size)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, CALLER, method, step)
        put(&out, dialog.routes, dialog.routes_size)
        self.put_people(&out, call)
        text(&out, b";tag=t")
        self.put_id(&out, call)
        text(&out, b"\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    # Messages of the callee

    cdef void put_callee_itself(self, Out *out, Call *call) noexcept nogil:
        """From and the begin of To, of a request of the callee about itself."""
        text(out, b"From: <")
        self.put_callee(out, call)
        text(out, b">;tag=")
        self.put_id(out, call)
        text(out, b"\r\nTo: <")
        self.put_callee(out, call)

    cdef void register(self, Call *call, int expires) noexcept nogil:
        cdef Out out = self.out()
        text(&out, b"REGISTER sip:")
        put_part(&out, self.domain)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, CALLEE, b"REGISTER", 0)
        self.put_callee_itself(&out, call)
        text(&out, b">\r\nContact: <sip:b")
        put_number(&out, call.number)
        text(&out, b"@")
        put_part(&out, self.here(call, CALLEE))
        text(&out, b">\r\nExpires: ")
        put_number(&out, expires)
        text(&out, b"\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLEE, &out)

    cdef void put_response(self, Out *out, Call *call, Scan *s, const char *line, const char *mark) noexcept nogil:
        """A response up to its Contact; the To tag is `mark` and the call's id (RFC 3261 §8.2.6, §12.1.1)."""
        cdef int i
        text(out, line)
        for i in range(s.vias):
            text(out, b"Via: ")
            put_part(out, s.via[i])
            text(out, b"\r\n")
        for i in range(s.routes):
            text(out, b"Record-Route: ")
            put_part(out, s.route[i])
            text(out, b"\r\n")
        text(out, b"From: ")
        put_part(out, s.from_)
        text(out, b"\r\nTo: ")
        put_part(out, s.to)
        if tag_of(s.to).n == 0:
            text(out, b";tag=")
            text(out, mark)
            self.put_id(out, call)
        text(out, b"\r\nCall-ID: ")
        put_part(out, s.call_id)
        text(out, b"\r\nCSeq: ")
        put_number(out, s.cseq)

    cdef void arrived(self, Call *call, Scan *s) noexcept nogil:
        """The callee's phone rings and is answered at once."""
        cdef Out out = self.out()
        cdef Dialog *dialog = &self.dialogs[call.number]
        self.put_response(&out, call, s, b"SIP/2.0 180 Ringing\r\n", b"t")
        text(&out, b" INVITE\r\nContact: <")
        put_part(&out, s.uri)
        text(&out, b">\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLEE, &out)
        out = self.out()
        self.put_response(&out, call, s, b"SIP/2.0 200 OK\r\n", b"t")
        text(&out, b" INVITE\r\nContact: <")
        put_part(&out, s.uri)
        text(&out, b">\r\n")
        put_sdp(&out)
        if out.n <= <int>sizeof(dialog.answer):
            memcpy(dialog.answer, out.p, out.n)
            dialog.answer_size = out.n
        self.send(call, CALLEE, &out)
        call.seen |= ANSWERED
        self.expect(call)

    # What arrives

    cdef Call *called_by_contact(self, Scan *s) noexcept nogil:
        """The call of a request to the caller: its Request-URI is the caller's Contact, whose user part is the call's id."""
        cdef Part id = s.uri
        if id.n > 4:
            id.p += 4
            id.n -= 4
        return self.find(id, s)

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call = self.find(s.call_id, s)
        if call == NULL:
            return
        if end == CALLEE:
            self.at_callee(call, s)
        elif s.status:
            self.at_caller(call, s)
        else:
            self.fail(call, b"a request to the caller", s)

    cdef void at_caller(self, Call *call, Scan *s) noexcept nogil:
        if s.method == INVITE and (call.state > CALLING and call.state < FIRST_FREE) and s.status < 300:
            self.counts[DUPLICATES] += 1
            if s.status >= 200:
                self.confirm(call)
        elif not self.answers(call, CALLER, s, INVITE if call.state == CALLING else BYE, 0 if call.state == CALLING else 2):
            self.fail(call, b"not the answer to the caller's request", s)
        elif s.method == INVITE:
            self.invite_answered(call, s)
        elif s.status < 200:
            self.counts[PROVISIONAL] += 1
        elif s.status != 200 or not call.seen & HUNG_UP:
            self.fail(call, b"BYE not answered 200 by the callee", s)
        elif not self.tag_is_callees(call, s):
            self.fail(call, b"the 200 to BYE has another To tag", s)
        else:
            self.talked(call)

    cdef void invite_answered(self, Call *call, Scan *s) noexcept nogil:
        if s.status < 200:
            call.seen |= PROCEEDING
            self.counts[PROVISIONAL] += s.status == 100
            if s.status > 100 and not self.tag_is_callees(call, s):
                self.fail(call, b"a provisional response that is not the callee's", s)
        elif s.status >= 300:
            self.refused(call, s)
            self.fail(call, b"INVITE not answered 200", s)
        elif not self.tag_is_callees(call, s) or not self.learn_dialog(call, s):
            self.fail(call, b"a 200 without the callee's tag or Contact, or without a loose Record-Route", s)
        else:
            call.state = CONFIRMED
            self.confirm(call)

    cdef bint learn_dialog(self, Call *call, Scan *s) noexcept nogil:
        """Remote target and route set of the 200 (RFC 3261 §12.1.2). False: the callee's Contact or our route is missing."""
        cdef Part values[LINES]
        cdef Part uri = uri_of(s.contact)
        cdef Out routes, target
        cdef Dialog *dialog = &self.dialogs[call.number]
        cdef char expected[96]
        cdef int count = split_routes(s, values, LINES)
        target.p = expected
        target.n = 0
        self.put_contact(&target, call)
        if not same(uri, expected, target.n) or count < 1:
            return False
        memcpy(dialog.target, uri.p, uri.n)
        dialog.target_size = uri.n
        uri = uri_of(values[count - 1])
        # The first hop of the route set has to be the server, which is where this socket sends, and a loose router.
        if not holds(uri, self.server.p, self.server.n) or not holds(uri, b";lr", 3):
            return False
        routes.p = dialog.routes
        routes.n = 0
        while count:
            count -= 1
            if routes.n + values[count].n + 16 > <int>sizeof(dialog.routes):
                return False
            text(&routes, b"Route: ")
            put_part(&routes, values[count])
            text(&routes, b"\r\n")
        dialog.routes_size = routes.n
        return True

    cdef void put_contact(self, Out *out, Call *call) noexcept nogil:
        """The callee's Contact URI."""
        text(out, b"sip:b")
        put_number(out, call.number)
        text(out, b"@")
        put_part(out, self.here(call, CALLEE))

    cdef bint tag_is_callees(self, Call *call, Scan *s) noexcept nogil:
        cdef char expected[17]
        cdef Out out
        out.p = expected
        out.n = 0
        text(&out, b"t")
        self.put_id(&out, call)
        return same(tag_of(s.to), expected, 17)

    cdef bint for_callee(self, Call *call, Scan *s) noexcept nogil:
        """Whether a request names the callee's Contact, comes over the server, and is of this caller."""
        cdef char expected[96]
        cdef Out out
        out.p = expected
        out.n = 0
        self.put_contact(&out, call)
        if not same(s.uri, expected, out.n) or s.vias != 2 or not holds(s.via[0], self.server.p, self.server.n):
            return False
        out.n = 0
        self.put_id(&out, call)
        return same(tag_of(s.from_), expected, 16)

    cdef void at_callee(self, Call *call, Scan *s) noexcept nogil:
        cdef Out out
        if s.status:
            if not self.answers(call, CALLEE, s, REGISTER, 0):
                self.counts[STRAY] += 1
            elif s.status < 200:
                self.counts[PROVISIONAL] += 1
            elif s.status != 200:
                self.fail(call, b"REGISTER not answered 200", s)
            else:
                self.registered(call)
        elif not self.for_callee(call, s):
            self.fail(call, b"not a request of this call for its callee", s)
        elif s.method == INVITE:
            if call.seen & ANSWERED:
                self.counts[DUPLICATES] += 1
            elif call.state != CALLING or s.cseq != 1 or tag_of(s.to).n or not s.routes:
                self.fail(call, b"an INVITE that is out of place", s)
            else:
                self.arrived(call, s)
        elif not self.tag_is_callees(call, s):
            self.fail(call, b"not a request within this call", s)
        elif s.method == ACK and s.cseq == 1 and call.seen & ANSWERED:
            if call.seen & ACKED:
                self.counts[DUPLICATES] += 1
                return
            call.seen |= ACKED
            call.state = ENDING
            call.cseq = 2
            self.hang_up(call)
            self.expect(call)
        elif s.method == BYE and s.cseq == 2 and call.seen & ACKED:
            self.counts[DUPLICATES] += call.seen & HUNG_UP != 0
            call.seen |= HUNG_UP
            out = self.out()
            self.put_response(&out, call, s, b"SIP/2.0 200 OK\r\n", b"t")
            text(&out, b" BYE\r\nContent-Length: 0\r\n\r\n")
            self.send(call, CALLEE, &out)
        else:
            self.fail(call, b"a request that is out of place", s)

    cdef void registered(self, Call *call) noexcept nogil:
        """The callee's REGISTER was answered 200."""
        if call.state == BINDING:
            self.complete(call)

    cdef void talked(self, Call *call) noexcept nogil:
        """The BYE was answered."""
        self.complete(call)
