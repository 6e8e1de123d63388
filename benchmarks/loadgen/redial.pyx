"""The redial cycle: a call that finds nobody, the callee's login, the recall, the call, the logout.

    caller                 server                 callee
      |-- INVITE, Expires --->|                       |   not registered
      |<----- 480 m=NL -------|                       |
      |------ ACK ----------->|                       |
      |                       |<----- REGISTER -------|
      |                       |------ 200 ----------->|
      |<----- REFER ----------|                       |
      |------ 202 ----------->|                       |
      |           the call of calls.pyx, to the Refer-To, with a Call-ID of its own
      |                       |<----- REGISTER, Expires: 0
      |                       |------ 200 ----------->|

The REFER is tied to its cycle by its Request-URI, the Contact of the INVITE, whose user part is the cycle's id. With
`notify` the caller reports as RFC 3515 §2.4.4 asks, NOTIFY after its 202 and again when the call is answered; a cycle is
complete only when both were answered 200. How long the caller waits for its REFER once the callee's REGISTER was written
is noted for each cycle (`recalls`).
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from . import calls  # must be loaded first  # no-cython-lint
from .calls cimport CALLING, Calls
from .core cimport BUCKETS, CALLEE, CALLER, DUPLICATES, PROVISIONAL, Call
from .wire cimport (
    INVITE, NOTIFY, REFER, Out, Part, Scan, branch_of, holds, put, put_hex, put_number, put_part, same, text, uri_of,
)

cdef class Redial(Calls):
    """Redial cycles. Nobody has to be registered before."""

    def __init__(self, *args, int size, bint notify=False, **more):
        self.reporting = notify
        self.reports = <Report *>calloc(size, sizeof(Report))
        self.recall_buckets = <uint64_t *>calloc(BUCKETS, sizeof(uint64_t))
        if not (self.reports and self.recall_buckets):
            raise MemoryError

    def __dealloc__(self):
        free(self.reports)
        free(self.recall_buckets)

    def recalls(self):
        """(nanoseconds, how many recalls took that long) from REGISTER to the first arrival of its REFER."""
        return self.histogram(self.recall_buckets)

    def reset(self):
        """Forget what was counted; calls in flight go on."""
        Calls.reset(self)
        memset(self.recall_buckets, 0, BUCKETS * sizeof(uint64_t))

    cdef void begin(self, Call *call) noexcept nogil:
        self.reports[call.number].sent = self.reports[call.number].answered = 0
        call.cseq = 1
        call.state = ASKING
        self.ask(call)
        self.expect(call)

    cdef void ask(self, Call *call) noexcept nogil:
        """The INVITE that names a monitoring period."""
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
        text(&out, b">\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    cdef void again(self, Call *call) noexcept nogil:
        cdef int unanswered = self.reports[call.number].sent & ~self.reports[call.number].answered
        if unanswered & 1:
            self.report(call, 1)
        if unanswered & 2:
            self.report(call, 2)
        if call.state == REPORTING:
            return
        if call.state == ASKING:
            if not call.seen:
                self.ask(call)
        elif call.state == LOGIN:
            if not call.seen & BOUND:  # else it is the server's turn, with its REFER
                self.register(call, 3600)
        elif call.state == LOGOUT:
            self.register(call, 0)
        else:
            Calls.again(self, call)

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call
        cdef Part id
        if end == CALLER and s.status == 0:
            call = self.called_by_contact(s)
            if call != NULL:
                self.referred(call, s)
            return
        if end == CALLER and s.method == NOTIFY:
            id = branch_of(s.via[0])
            if id.n > 7:
                id.p += 7
                id.n -= 7
            call = self.find(id, s)
            if call != NULL:
                self.report_answered(call, s)
            return
        call = self.find(s.call_id, s)
        if call == NULL:
            return
        if end == CALLER and s.method == INVITE and s.call_id.p[s.call_id.n - 1] == 49 and call.state != ASKING:
            self.counts[DUPLICATES] += 1
            if s.status >= 300:
                self.refused_again(call, s)
        elif end == CALLER and (call.state == LOGOUT or call.state == REPORTING):
            self.counts[DUPLICATES] += 1
        elif end == CALLER and call.state == ASKING:
            self.told(call, s)
        else:
            self.received_in_call(end, call, s)

    cdef void received_in_call(self, int end, Call *call, Scan *s) noexcept nogil:
        if end == CALLEE:
            self.at_callee(call, s)
        else:
            self.at_caller(call, s)

    cdef void told(self, Call *call, Scan *s) noexcept nogil:
        """The answer to the first INVITE: 480, with the word that the server watches (RFC 6910)."""
        if self.promised(call, s):
            call.seen = 0
            call.leg = 2
            call.state = LOGIN
            self.reports[call.number].back = self.clock()
            self.register(call, 3600)
            self.expect(call)

    cdef bint promised(self, Call *call, Scan *s) noexcept nogil:
        """Whether it is the 480 that says so; it is acknowledged then."""
        if not self.answers(call, CALLER, s, INVITE, 0):
            self.fail(call, b"not the answer to the first INVITE", s)
        elif s.status < 200:
            call.seen = 1
            self.counts[PROVISIONAL] += 1
        elif s.status != 480 or not holds(s.call_info, b"m=NL", 4):
            if s.status >= 300:
                self.refused(call, s)
            self.fail(call, b"no 480 with Call-Info m=NL", s)
        else:
            self.refused(call, s)
            return True
        return False

    cdef void accept(self, Call *call, Scan *s) noexcept nogil:
        """202 to a REFER."""
        cdef Out out = self.out()
        self.put_response(&out, call, s, b"SIP/2.0 202 Accepted\r\n", b"r")
        text(&out, b" REFER\r\nContact: <")
        put_part(&out, s.uri)
        text(&out, b">\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    cdef bint refers_to_callee(self, Call *call, Scan *s) noexcept nogil:
        cdef char expected[320]
        cdef Out out
        out.p = expected
        out.n = 0
        self.put_callee(&out, call)
        return same(uri_of(s.refer_to), expected, out.n)

    cdef void referred(self, Call *call, Scan *s) noexcept nogil:
        if s.method != REFER:
            self.fail(call, b"a request to the caller that is no REFER", s)
            return
        if call.state < CALLING or call.state == ASKING or not self.refers_to_callee(call, s):
            self.fail(call, b"a REFER that is out of place, or to somebody else", s)
            return
        self.accept(call, s)
        if call.state != LOGIN or call.seen & REFERRED:
            self.counts[DUPLICATES] += 1
            return
        call.seen |= REFERRED
        self.tally(self.recall_buckets, self.reports[call.number].back)
        if self.reporting:
            if not self.learn_report(call, s):
                self.fail(call, b"a REFER without Contact", s)
                return
            self.report(call, 1)
        self.go_on(call)

    cdef bint learn_report(self, Call *call, Scan *s) noexcept nogil:
        """Where the NOTIFYs go (RFC 3515 §2.4.4): back to the REFER's sender, within its dialog."""
        cdef Report *report = &self.reports[call.number]
        cdef Part target = uri_of(s.contact)
        cdef Out ids
        if not 0 < target.n <= <int>sizeof(report.target) or s.call_id.n > <int>sizeof(report.call_id):
            return False
        if s.from_.n + s.to.n + s.call_id.n > 900:
            return False
        memcpy(report.target, target.p, target.n)
        report.target_size = target.n
        memcpy(report.call_id, s.call_id.p, s.call_id.n)
        report.call_id_size = s.call_id.n
        ids.p = report.ids
        ids.n = 0
        text(&ids, b"From: ")
        put_part(&ids, s.to)
        text(&ids, b";tag=r")
        self.put_id(&ids, call)
        text(&ids, b"\r\nTo: ")
        put_part(&ids, s.from_)
        text(&ids, b"\r\nCall-ID: ")
        put_part(&ids, s.call_id)
        report.ids_size = ids.n
        return True

    cdef void report(self, Call *call, int which) noexcept nogil:
        """The first NOTIFY, or the second and last."""
        cdef Report *report = &self.reports[call.number]
        cdef Out out = self.out()
        report.sent |= which
        text(&out, b"NOTIFY ")
        put(&out, report.target, report.target_size)
        text(&out, b" SIP/2.0\r\nVia: SIP/2.0/UDP ")
        put_part(&out, self.here(call, CALLER))
        text(&out, b";branch=z9hG4bK")
        self.put_id(&out, call)
        put_hex(&out, 0xff00 | which)
        put_part(&out, self.mark)
        text(&out, b"\r\nMax-Forwards: 70\r\n")
        put(&out, report.ids, report.ids_size)
        text(&out, b"\r\nCSeq: ")
        put_number(&out, which)
        text(&out, b" NOTIFY\r\nContact: <sip:")
        self.put_id(&out, call)
        text(&out, b"@")
        put_part(&out, self.here(call, CALLER))
        text(&out, b">\r\nEvent: refer\r\nSubscription-State: ")
        if which == 1:
            text(&out, b"active;expires=60\r\nContent-Type: message/sipfrag\r\nContent-Length: 20\r\n\r\nSIP/2.0 100 Trying\r\n")
        else:
            text(&out, b"terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\nContent-Length: 16\r\n\r\n"
                       b"SIP/2.0 200 OK\r\n")
        self.send(call, CALLER, &out)

    cdef void report_answered(self, Call *call, Scan *s) noexcept nogil:
        cdef Report *report = &self.reports[call.number]
        if s.status != 200 or not same(s.call_id, report.call_id, report.call_id_size) or not report.sent & s.cseq or s.vias != 1:
            self.fail(call, b"NOTIFY not answered 200", s)
            return
        self.counts[DUPLICATES] += report.answered & <int>s.cseq != 0
        report.answered |= <int>s.cseq
        if call.state == REPORTING and report.answered == 3:
            self.complete(call)

    cdef void invite_answered(self, Call *call, Scan *s) noexcept nogil:
        cdef int before = call.state
        Calls.invite_answered(self, call, s)
        if self.reporting and before == CALLING and call.active and call.state > CALLING:
            self.report(call, 2)

    cdef void registered(self, Call *call) noexcept nogil:
        if call.state == LOGOUT:
            if self.reporting and self.reports[call.number].answered != 3:
                call.state = REPORTING
                self.expect(call)
            else:
                self.complete(call)
        elif call.state == LOGIN and not call.seen & BOUND:
            call.seen |= BOUND
            self.go_on(call)

    cdef void go_on(self, Call *call) noexcept nogil:
        """The callee is back and the caller was told so: the call. Its Request-URI was seen to be the Refer-To."""
        if call.seen & BOUND and call.seen & REFERRED:
            call.seen = 0
            call.leg = 3
            call.cseq = 1
            call.state = CALLING
            self.invite(call)
            self.expect(call)

    cdef void talked(self, Call *call) noexcept nogil:
        call.leg = 2
        call.cseq = 2
        call.state = LOGOUT
        self.register(call, 0)
        self.expect(call)
