"""The presence cycle: what a redial does, by the conventional way. 33 messages, 100 Trying apart.

    caller                 server                 callee
      |-- INVITE ------------>|                       |   not registered
      |<----- 480 ------------|                       |
      |------ ACK ----------->|                       |
      |-- SUBSCRIBE --------->|                       |
      |<----- 200 ------------|                       |
      |<----- NOTIFY ---------|                       |   closed, or nothing
      |------ 200 ----------->|                       |
      |     `refreshes` times SUBSCRIBE 200 NOTIFY 200, while it waits
      |                       |<----- REGISTER -------|
      |                       |------ 200 ----------->|
      |                       |<----- PUBLISH --------|   open
      |                       |------ 200 ----------->|
      |<----- NOTIFY ---------|                       |   open
      |------ 200 ----------->|                       |
      |           the call of calls.pyx, with a Call-ID of its own
      |-- SUBSCRIBE, Expires: 0                       |
      |<----- 200 ------------|                       |
      |<----- NOTIFY ---------|                       |   terminated
      |------ 200 ----------->|                       |
      |                       |<----- PUBLISH, Expires: 0
      |                       |------ 200 ----------->|
      |                       |<----- REGISTER, Expires: 0
      |                       |------ 200 ----------->|

RFC 6665, RFC 3856, RFC 3903, RFC 3863. A NOTIFY is tied to its cycle by its Request-URI, the Contact of the SUBSCRIBE,
whose user part is the cycle's id; the document that it carries by the tuple's id, which is the cycle's, too. It may
come before the 200 to its SUBSCRIBE (RFC 6665 §4.4.1): a step is done when both were there.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from . import calls  # must be loaded first  # no-cython-lint
from .calls cimport CALLING, FIRST_FREE, FIRST_SEEN, Calls
from .core cimport CALLEE, CALLER, DUPLICATES, PROVISIONAL, Call
from .wire cimport (
    INVITE, NOTIFY, PUBLISH, SUBSCRIBE, Out, Part, Scan, holds, put, put_number, put_part, same, tag_of, text,
    uri_of,
)

cdef enum:
    # what the cycle waits for
    ASKING = FIRST_FREE  # the 480
    WATCHING             # the 200 to a SUBSCRIBE, and its NOTIFY
    LOGIN                # the 200 to the callee's REGISTER
    PUBLISHING           # the 200 to the callee's PUBLISH, and the caller's NOTIFY
    LEAVING              # the 200 to the last SUBSCRIBE, and its NOTIFY
    CLOSING              # the 200 to the last PUBLISH
    LOGOUT               # the 200 to the last REGISTER
    # what was seen of it
    ANSWERED = FIRST_SEEN
    NOTIFIED = FIRST_SEEN * 2
    # Call-IDs: the last character of each
    ASKED = 1
    SUBSCRIBED = 2
    REGISTERED = 3
    PUBLISHED = 4
    CALLED = 5

# The caller's subscription and the callee's publication.
cdef struct Watching:
    char tag[128]       # the notifier's
    int tag_size
    char target[256]    # its Contact
    int target_size
    char etag[128]
    int etag_size
    uint32_t cseq       # of the last SUBSCRIBE
    uint32_t notified   # CSeq of the last NOTIFY
    int refreshes       # that are still to come


cdef bint keep(char *to, int room, int *size, Part part) noexcept nogil:
    if not 0 < part.n <= room:
        return False
    memcpy(to, part.p, part.n)
    size[0] = part.n
    return True


cdef class Presence(Calls):
    """Presence cycles. Nobody has to be registered before. `refreshes`: how often the subscription is refreshed while
    the caller waits, each time with SUBSCRIBE 200 NOTIFY 200."""

    cdef int refreshes
    cdef Watching *watchings

    def __init__(self, *args, int size, int refreshes=0, **more):
        self.refreshes = refreshes
        self.watchings = <Watching *>calloc(size, sizeof(Watching))
        if not self.watchings:
            raise MemoryError

    def __dealloc__(self):
        free(self.watchings)

    cdef void begin(self, Call *call) noexcept nogil:
        cdef Watching *watching = &self.watchings[call.number]
        watching.tag_size = watching.target_size = watching.etag_size = 0
        watching.cseq = watching.notified = 0
        watching.refreshes = self.refreshes
        self.enter(call, ASKING, ASKED, 1)
        self.invite(call)
        self.expect(call)

    cdef void enter(self, Call *call, int state, int leg, int cseq) noexcept nogil:
        call.state = state
        call.leg = leg
        call.cseq = cseq
        call.seen = 0

    cdef void again(self, Call *call) noexcept nogil:
        if call.state < FIRST_FREE:
            Calls.again(self, call)
        elif call.state == ASKING:
            if not call.seen:
                self.invite(call)
        elif call.seen & ANSWERED:
            pass  # it is the server's turn, with its NOTIFY
        elif call.state == WATCHING:
            self.subscribe(call, 3600)
        elif call.state == LEAVING:
            self.subscribe(call, 0)
        elif call.state == PUBLISHING:
            self.publish(call, 3600)
        elif call.state == CLOSING:
            self.publish(call, 0)
        else:
            self.register(call, 3600 if call.state == LOGIN else 0)

    # What leaves

    cdef void subscribe(self, Call *call, int expires) noexcept nogil:
        """The first one to the callee's address of record, the others to the notifier's Contact (RFC 6665 §4.1.2)."""
        cdef Out out = self.out()
        cdef Watching *watching = &self.watchings[call.number]
        text(&out, b"SUBSCRIBE ")
        if call.cseq > 1:
            put(&out, watching.target, watching.target_size)
        else:
            self.put_callee(&out, call)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, CALLER, b"SUBSCRIBE", 0)
        self.put_people(&out, call)
        if call.cseq > 1:
            text(&out, b";tag=")
            put(&out, watching.tag, watching.tag_size)
        text(&out, b"\r\nContact: <sip:")
        self.put_id(&out, call)
        text(&out, b"@")
        put_part(&out, self.here(call, CALLER))
        text(&out, b">\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: ")
        put_number(&out, expires)
        text(&out, b"\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)

    cdef void publish(self, Call *call, int expires) noexcept nogil:
        """RFC 3903 §4: the state, or with `expires` 0 that it is no more."""
        cdef Out out = self.out()
        cdef Out body
        cdef char document[512]
        cdef Watching *watching = &self.watchings[call.number]
        text(&out, b"PUBLISH ")
        self.put_callee(&out, call)
        text(&out, b" SIP/2.0\r\n")
        self.put_head(&out, call, CALLEE, b"PUBLISH", 0)
        self.put_callee_itself(&out, call)
        text(&out, b">\r\nEvent: presence\r\nExpires: ")
        put_number(&out, expires)
        if not expires:
            text(&out, b"\r\nSIP-If-Match: ")
            put(&out, watching.etag, watching.etag_size)
            text(&out, b"\r\nContent-Length: 0\r\n\r\n")
        else:
            body.p = document
            body.n = 0
            self.put_document(&body, call)
            text(&out, b"\r\nContent-Type: application/pidf+xml\r\nContent-Length: ")
            put_number(&out, body.n)
            text(&out, b"\r\n\r\n")
            put(&out, body.p, body.n)
        self.send(call, CALLEE, &out)

    cdef void put_document(self, Out *out, Call *call) noexcept nogil:
        """RFC 3863 §4."""
        text(out, b'<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="')
        self.put_callee(out, call)
        text(out, b'"><tuple id="t')
        self.put_id(out, call)
        text(out, b'"><status><basic>open</basic></status><contact>sip:b')
        put_number(out, call.number)
        text(out, b"@")
        put_part(out, self.here(call, CALLEE))
        text(out, b"</contact></tuple></presence>\r\n")

    # What arrives

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call
        if end == CALLER and s.status == 0:
            call = self.called_by_contact(s)
            if call != NULL:
                self.notified(call, s)
            return
        call = self.find(s.call_id, s)
        if call == NULL:
            return
        if end == CALLER and s.method == INVITE and s.call_id.p[s.call_id.n - 1] == 48 + ASKED and call.state != ASKING:
            self.counts[DUPLICATES] += 1
            if s.status >= 300:
                self.refused_again(call, s)
        elif call.state == ASKING and end == CALLER:
            self.told(call, s)
        elif call.state < FIRST_FREE and not (end == CALLER and s.method == SUBSCRIBE):
            if end == CALLEE:
                self.at_callee(call, s)
            else:
                self.at_caller(call, s)
        elif self.is_old(call, s):
            self.counts[DUPLICATES] += 1
        elif end == CALLER and (call.state == WATCHING or call.state == LEAVING):
            self.subscribed(call, s)
        elif end == CALLEE and (call.state == PUBLISHING or call.state == CLOSING):
            self.published(call, s)
        elif end == CALLEE:
            self.at_callee(call, s)
        else:
            self.fail(call, b"a response that is out of place", s)

    cdef bint is_old(self, Call *call, Scan *s) noexcept nogil:
        """A second answer to a request of an earlier step of this cycle."""
        cdef int leg = s.call_id.p[s.call_id.n - 1] - 48
        return s.status != 0 and (leg != call.leg or s.cseq < call.cseq)

    cdef void told(self, Call *call, Scan *s) noexcept nogil:
        """The answer to the first INVITE."""
        if not self.answers(call, CALLER, s, INVITE, 0):
            self.fail(call, b"not the answer to the first INVITE", s)
        elif s.status < 200:
            call.seen = 1
            self.counts[PROVISIONAL] += 1
        elif s.status != 480:
            if s.status >= 300:
                self.refused(call, s)
            self.fail(call, b"the first INVITE not answered 480", s)
        else:
            self.refused(call, s)
            self.enter(call, WATCHING, SUBSCRIBED, 1)
            self.subscribe(call, 3600)
            self.expect(call)

    cdef void subscribed(self, Call *call, Scan *s) noexcept nogil:
        """The answer to a SUBSCRIBE makes or confirms the dialog (RFC 6665 §4.1.2.1)."""
        cdef Watching *watching = &self.watchings[call.number]
        cdef Part target = uri_of(s.contact)
        if not self.answers(call, CALLER, s, SUBSCRIBE, 0):
            self.fail(call, b"not the answer to the SUBSCRIBE", s)
        elif s.status < 200:
            self.counts[PROVISIONAL] += 1
        elif s.status != 200 and s.status != 202:
            self.fail(call, b"SUBSCRIBE not answered 200", s)
        elif s.expires.n == 0 or (s.expires.p[0] == 48) != (call.state == LEAVING):
            self.fail(call, b"the 200 to SUBSCRIBE does not tell how long", s)
        elif s.routes or not keep(watching.target, sizeof(watching.target), &watching.target_size, target):
            self.fail(call, b"the 200 to SUBSCRIBE has no Contact, or a route that it did not take", s)
        elif not self.is_notifier(watching, tag_of(s.to)):
            self.fail(call, b"the 200 to SUBSCRIBE has another To tag", s)
        elif call.seen & ANSWERED:
            self.counts[DUPLICATES] += 1
        else:
            call.seen |= ANSWERED
            self.go_on(call)

    cdef bint is_notifier(self, Watching *watching, Part tag) noexcept nogil:
        """The dialog's remote tag, which the 200 or the NOTIFY tells first."""
        if not watching.tag_size:
            return keep(watching.tag, sizeof(watching.tag), &watching.tag_size, tag)
        return same(tag, watching.tag, watching.tag_size)

    cdef void notified(self, Call *call, Scan *s) noexcept nogil:
        cdef Watching *watching = &self.watchings[call.number]
        cdef Out out
        if s.method != NOTIFY or not self.is_in_subscription(call, s):
            self.fail(call, b"a request to the caller that is no NOTIFY of its subscription", s)
            return
        out = self.out()
        self.put_response(&out, call, s, b"SIP/2.0 200 OK\r\n", b"")
        text(&out, b" NOTIFY\r\nContent-Length: 0\r\n\r\n")
        self.send(call, CALLER, &out)
        if s.cseq <= watching.notified:  # RFC 3261 §12.2.2
            self.counts[DUPLICATES] += 1
        elif call.seen & NOTIFIED or not (call.state == WATCHING or call.state == PUBLISHING or call.state == LEAVING):
            self.fail(call, b"a NOTIFY that is out of place", s)
        elif not self.says_right(call, s):
            self.fail(call, b"a NOTIFY with another state than that of its subscription and its callee", s)
        else:
            watching.notified = s.cseq
            call.seen |= NOTIFIED
            self.go_on(call)

    cdef bint is_in_subscription(self, Call *call, Scan *s) noexcept nogil:
        """Dialog ids (RFC 3261 §12.2.2), Event (RFC 6665 §4.4.1), and that it comes from the server itself."""
        cdef char expected[80]
        cdef Out out
        cdef Watching *watching = &self.watchings[call.number]
        out.p = expected
        out.n = 0
        self.put_id(&out, call)
        if not same(tag_of(s.to), expected, out.n):
            return False
        put_part(&out, self.mark)
        text(&out, b"@127.0.0.")
        put_number(&out, SUBSCRIBED)
        if not same(s.call_id, expected, out.n) or not self.is_notifier(watching, tag_of(s.from_)):
            return False
        if s.vias != 1 or not holds(s.via[0], self.server.p, self.server.n) or not s.contact.n:
            return False
        return same(s.event, b"presence", 8)

    cdef bint says_right(self, Call *call, Scan *s) noexcept nogil:
        """Subscription-State (RFC 6665 §4.1.3), and whether the document says what was published and no more."""
        cdef char expected[64]
        cdef Out out
        if call.state == LEAVING:
            return s.state.n >= 10 and holds(part_of(s.state, 10), b"terminated", 10)
        if s.state.n < 6 or not holds(part_of(s.state, 6), b"active", 6) or not holds(s.state, b";expires=", 9):
            return False
        if call.state == WATCHING:
            return not holds(s.body, b"<basic>open</basic>", 19)
        out.p = expected
        out.n = 0
        text(&out, b'"t')
        self.put_id(&out, call)
        text(&out, b'"')
        if not holds(s.body, expected, out.n):
            return False
        out.n = 0
        text(&out, b'"')
        self.put_callee(&out, call)
        text(&out, b'"')
        return holds(s.body, expected, out.n) and holds(s.body, b"<basic>open</basic>", 19)

    cdef void published(self, Call *call, Scan *s) noexcept nogil:
        cdef Watching *watching = &self.watchings[call.number]
        if not self.answers(call, CALLEE, s, PUBLISH, 0):
            self.fail(call, b"not the answer to the PUBLISH", s)
        elif s.status < 200:
            self.counts[PROVISIONAL] += 1
        elif s.status != 200:
            self.fail(call, b"PUBLISH not answered 200", s)
        elif call.state == CLOSING:
            self.enter(call, LOGOUT, REGISTERED, 2)
            self.register(call, 0)
            self.expect(call)
        elif s.expires.n == 0 or not keep(watching.etag, sizeof(watching.etag), &watching.etag_size, s.etag):
            self.fail(call, b"the 200 to PUBLISH has no SIP-ETag or no Expires", s)
        elif call.seen & ANSWERED:
            self.counts[DUPLICATES] += 1
        else:
            call.seen |= ANSWERED
            self.go_on(call)

    cdef void go_on(self, Call *call) noexcept nogil:
        """What waits for an answer and a NOTIFY has both."""
        cdef Watching *watching = &self.watchings[call.number]
        if not (call.seen & ANSWERED and call.seen & NOTIFIED):
            return
        if call.state == WATCHING:
            watching.cseq = call.cseq
            if watching.refreshes:
                watching.refreshes -= 1
                self.enter(call, WATCHING, SUBSCRIBED, call.cseq + 1)
                self.subscribe(call, 3600)
            else:
                self.enter(call, LOGIN, REGISTERED, 1)
                self.register(call, 3600)
        elif call.state == PUBLISHING:
            self.enter(call, CALLING, CALLED, 1)
            self.invite(call)
        else:
            self.enter(call, CLOSING, PUBLISHED, 2)
            self.publish(call, 0)
        self.expect(call)

    cdef void registered(self, Call *call) noexcept nogil:
        if call.state == LOGOUT:
            self.complete(call)
        elif call.state == LOGIN:
            self.enter(call, PUBLISHING, PUBLISHED, 1)
            self.publish(call, 3600)
            self.expect(call)

    cdef void talked(self, Call *call) noexcept nogil:
        self.enter(call, LEAVING, SUBSCRIBED, self.watchings[call.number].cseq + 1)
        self.subscribe(call, 0)
        self.expect(call)


cdef Part part_of(Part value, int n) noexcept nogil:
    """Its beginning."""
    cdef Part begin
    begin.p = value.p
    begin.n = n
    return begin
