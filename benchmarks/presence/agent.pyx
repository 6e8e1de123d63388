"""A presence agent (RFC 6665, 3856, 3903, 3863) on the server's own core, so that only the method differs from redial.

It stands between the transport and the engine. SUBSCRIBE and PUBLISH for a user of ours, SUBSCRIBE within a dialog of
ours and the answers to our NOTIFYs are the agent's; everything else goes on to the engine. Both share the store, so that
one commit covers a batch, and the wheel. As with the engine nothing leaves before that commit; where it fails, what the
batch promised becomes 503 and the memory is made anew from the store.

The agent's transactions are a layer of its own, whose number as a worker in our branch tells a NOTIFY's answer apart.

It does not authenticate, as the server does not, and every watcher is authorised. Strict routers (RFC 2543) in a
subscriber's route set are not catered for.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcmp, strlen

from sipfast._flow cimport Flow, Receiver, Sink
from sipfast._parser cimport (
    Address, Cursor, H_ACCEPT, H_CONTACT, H_CONTENT_ENCODING, H_CONTENT_TYPE, H_EVENT, H_EXPIRES, H_RECORD_ROUTE,
    H_REQUIRE, H_SIP_IF_MATCH, M_PUBLISH, Message, Span, canonical_aor,
    parse_message, span_is,
)
from sipfast.transaction.client cimport ClientTransaction
from sipfast.transaction.layer cimport VERDICT_NEW, TransactionLayer
from sipfast.transaction.server cimport ServerTransaction
from sipfast._wheel cimport Timed
from sipfast._writer cimport make_response, put, put_number
from sipfast.engine.answers cimport unsupported_line
from sipfast.engine.batch cimport Batch
from sipfast.engine.engine cimport Engine
from sipfast.routing.outbound cimport answer_flow
from sipfast.routing.router cimport RoutePlan

from .state cimport FADE, LAPSE, Presentity, Publication, State, Subscription

from sipfast.errors import StoreError

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t n, const void *needle, size_t m)

cdef enum:
    WORKER = 255            # in the branch of a NOTIFY
    DEFAULT = 3600          # s; RFC 3856 §6.4, RFC 3903 §6 step 4
    LEAST = 60
    MOST = 86_400

cdef bytes BAD_EVENT = b"Allow-Events: presence\r\n"
cdef bytes ACCEPT = b"Accept: application/pidf+xml\r\n"
cdef bytes IDENTITY = b"Accept-Encoding: identity\r\n"
cdef bytes MIN_EXPIRES = b"Min-Expires: %d\r\n" % LEAST


@cython.final
cdef class Ends(Timed):
    # The agent's timers; apart from it, since a Receiver cannot own any.
    cdef Agent agent

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        cdef Subscription subscription
        cdef Presentity presentity
        cdef Publication publication
        if kind == FADE:
            publication = <Publication>payload
            publication.timer = 0
            presentity = publication.presentity
            self.agent.state.drop_publication(publication)
            return self.agent.notify_all(presentity, now)
        subscription = <Subscription>payload
        if subscription.state is None:
            return 0
        if kind == LAPSE:                     # RFC 6665 §4.2.1.4
            subscription.timer = 0
            self.agent.notify(subscription, True, b"", now)
            return self.agent.state.drop(subscription)
        return self.agent.notify(subscription, False, subscription.presentity.document(), now)


@cython.final
cdef class Agent(Receiver):
    """See _flow.Receiver; `start` comes first. The store is a PresenceStore, the rest as for the engine."""

    def __init__(self, config, store, Sink sink, listeners, *, domains, hosts=None):
        self.engine = Engine(config, store, sink, listeners, domains=domains, hosts=hosts)
        self.config = config
        self.store = store
        self.sink = sink
        self.outbox = Batch()
        self.sent_by = [bytes(listener.sent_by) for listener in listeners]
        self.promises = []
        self.started = []

    def start(self, int64_t now):
        """Load what the store holds. Call `commit` afterwards."""
        cdef Ends ends = Ends.__new__(Ends)
        self.engine.start(now)
        secret = int.from_bytes(self.store.secret(), "big")
        self.transactions = TransactionLayer(self.config.timers, self.engine.wheel, self.outbox, secret, WORKER)
        ends.agent = self
        self.state = State(self.store, self.engine.wheel, ends)
        self.state.load(now, True)
        self.aborts = self.store.aborts

    def close(self):
        """Drop all transactions and timers, telling nobody. The store stays open."""
        self.state.forget()
        self.transactions.close()
        self.engine.close()

    # ---- the receiver's face

    cpdef int receive(self, bytes data, Flow flow, int64_t now) except -1:
        cdef Message message
        if may_be_ours(data):
            message = parse_message(data)
            if not message.error and self.take(message, flow, now):
                return 0
        return self.engine.receive(data, flow, now)

    cpdef int advance(self, int64_t now) except -1:
        return self.engine.advance(now)

    cpdef int64_t next_deadline(self) except? -2:
        return self.engine.next_deadline()

    cpdef int commit(self, int64_t now) except -1:
        cdef list data, flows
        cdef Py_ssize_t i
        if self.failure is not None:
            failure, self.failure = self.failure, None
            self.engine.commits.lose(failure, now)
        self.engine.commit(now)
        if self.store.aborts != self.aborts:
            self.roll_back(now)
        self.transactions.shrink_finished()
        self.promises.clear()
        self.started.clear()
        data, flows = self.outbox.data, self.outbox.flows
        if not data:
            return 0
        self.outbox.data, self.outbox.flows = [], []
        for i in range(len(data)):
            self.sink.send(<bytes>data[i], <Flow>flows[i])
        return 0

    cdef int roll_back(self, int64_t now) except -1:
        # The batch's writes are lost, the engine's and ours: what was promised becomes 503, the rest was never sent.
        cdef ServerTransaction server
        cdef ClientTransaction client
        cdef Message request
        self.failed_batches += 1
        self.aborts = self.store.aborts
        self.outbox.data.clear()
        self.outbox.flows.clear()
        for client in self.started:
            client.abandon()
        self.state.forget()
        self.state.load(now, False)
        for request, flow, server in self.promises:
            server.retract(make_response(request, 503, flow, server.tag(), b"Retry-After: 5\r\n", None, b""), 503, now)
        return 0

    cdef bint take(self, Message message, Flow flow, int64_t now) except -1:
        # False where it is the engine's.
        cdef RoutePlan plan
        cdef ServerTransaction server
        cdef bytes aor = b""
        cdef bint in_dialog = message.target.tag.end > message.target.tag.start
        if message.status:
            if self.transactions.worker_of(message.p + message.via.branch.start,
                                           message.via.branch.end - message.via.branch.start) != WORKER:
                return False
            try:
                self.transactions.receive_response(message, flow, now)
            except StoreError as error:
                self.failure = error
            return True
        if self.engine.router.plan(message, &plan) < 0 or plan.left or plan.from_strict:
            return False
        if message.uri.user.end > message.uri.user.start and self.engine.router.is_served(message.p, &message.uri):
            aor = canonical_aor(message.p, &message.uri)
        elif message.method == M_PUBLISH or not in_dialog or not self.engine.router.is_self(message.p, &message.uri):
            return False
        if self.transactions.receive_request(message, answer_flow(message, flow), now) != VERDICT_NEW:
            return True
        server = self.transactions.created
        try:
            if message.method == M_PUBLISH:
                self.publish(server, message, flow, aor, now)
            else:
                self.subscribe(server, message, flow, aor, now)
        except StoreError as error:
            self.failure = error
            if not self.promises or (<tuple>self.promises[len(self.promises) - 1])[2] is not server:
                self.promises.append((message, flow, server))
        return True

    cdef int answer(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra,
                    int64_t now) except -1:
        return server.respond(make_response(request, status, flow, server.tag(), extra, None, b""), status, now)

    cdef int64_t duration(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -2:
        # Seconds asked for; -1 where the request was refused for them. RFC 6665 §4.2.1.1, RFC 3903 §6 step 4.
        cdef int64_t asked = request.number(H_EXPIRES)
        if asked == -1:
            return DEFAULT
        if asked == -2:
            self.answer(server, request, flow, 400, b"", now)
            return -1
        if 0 < asked < LEAST:
            self.answer(server, request, flow, 423, MIN_EXPIRES, now)
            return -1
        return min(asked, MOST)

    # ---- SUBSCRIBE (RFC 6665 §4.2.1)

    cdef int subscribe(self, ServerTransaction server, Message request, Flow flow, bytes aor, int64_t now) except -1:
        cdef Subscription found
        cdef int64_t expires
        cdef bytes extra
        cdef bint in_dialog = request.target.tag.end > request.target.tag.start
        self.subscribes += 1
        extra = unsupported_line(request, H_REQUIRE)
        if extra:                             # RFC 3261 §8.2.2.3
            return self.answer(server, request, flow, 420, extra, now)
        if not is_presence(request):
            return self.answer(server, request, flow, 489, BAD_EVENT, now)
        # Without To tag it may still be known: sent again to a process that was started anew meanwhile.
        found = self.dialog_of(request, request.text(request.target.tag) if in_dialog else server.tag())
        if in_dialog and found is None:       # RFC 3261 §12.2.2
            return self.answer(server, request, flow, 481, b"", now)
        if in_dialog and request.cseq.number <= found.remote_cseq:
            return self.answer(server, request, flow, 500, b"", now)
        if not accepts_pidf(request):         # RFC 3856 §6.7
            return self.answer(server, request, flow, 406, ACCEPT, now)
        expires = self.duration(server, request, flow, now)
        if expires < 0:
            return 0
        if found is None:
            found = self.new_subscription(request, flow, server.tag(), aor)
            if found is None:                 # RFC 3261 §8.1.1.8: no dialog without a Contact
                return self.answer(server, request, flow, 400, b"", now)
        elif not self.learn_target(found, request, flow):
            return self.answer(server, request, flow, 400, b"", now)
        return self.renew(server, request, flow, found, expires, now)

    cdef Subscription dialog_of(self, Message request, bytes tag):
        # RFC 3261 §12.2.2; and the Event is that of the subscription (RFC 6665 §4.5.2).
        cdef Subscription found = <Subscription>self.state.dialogs.get(tag)
        if found is None or not is_text(request, request.call_id, found.call_id):
            return None
        if not is_text(request, request.sender.tag, found.remote_tag):
            return None
        return found if is_text(request, request.value_of(H_EVENT), found.event) else None

    cdef int renew(self, ServerTransaction server, Message request, Flow flow, Subscription found, int64_t expires,
                   int64_t now) except -1:
        cdef bint ended = expires == 0
        found.remote_cseq = request.cseq.number
        self.promises.append((request, flow, server))
        if not ended:
            if found.state is None:
                self.state.add(found)
            self.state.keep(found, now + 1000 * expires)
        routes = lines_of(request, H_RECORD_ROUTE, b"Record-Route: ")
        self.answer(server, request, flow, 200, b"Expires: %d\r\nContact: <sip:%b>\r\n%b" % (
            expires, <bytes>self.sent_by[flow.local], routes), now)
        # §4.2.1.2, §4.2.1.4; an unsubscription is told no state, a question without subscription is (§4.4.3).
        self.notify(found, ended, found.presentity.document() if found.state is None or not ended else b"", now)
        if found.state is None:
            self.state.tidy(found.presentity)
        elif ended:
            self.state.drop(found)
        return 0

    cdef Subscription new_subscription(self, Message request, Flow flow, bytes tag, bytes aor):
        # The dialog (RFC 3261 §12.1.1). Not in the state as long as it asks for no time.
        cdef Subscription made = Subscription.__new__(Subscription)
        cdef bytes routes = lines_of(request, H_RECORD_ROUTE, b"Route: ")
        made.presentity = self.state.presentity(aor)
        made.number = self.state.next_number()
        made.call_id = request.text(request.call_id)
        made.local_tag = tag
        made.remote_tag = request.text(request.sender.tag)
        made.event = request.text(request.value_of(H_EVENT))
        if not self.learn_target(made, request, flow):
            self.state.tidy(made.presentity)
            return None
        made.lines = b"From: %b;tag=%b\r\nTo: %b\r\nCall-ID: %b\r\n%bContact: <sip:%b>\r\nEvent: %b\r\n" % (
            request.text(request.target.all), tag, request.text(request.sender.all), made.call_id, routes,
            <bytes>self.sent_by[flow.local], made.event)
        return made

    cdef bint learn_target(self, Subscription subscription, Message request, Flow flow) except -1:
        # The remote target (RFC 3261 §12.1.1, §12.2.2) and the way there: by the first Record-Route, else to the Contact,
        # else (a name, or an address behind a NAT) back to where the SUBSCRIBE came from.
        cdef Cursor cursor
        cdef Span value
        cdef Address contact, hop
        cdef Flow way = None
        request.cursor(H_CONTACT, &cursor)
        if not request.next_value(&cursor, &value) or request.parse_address(value, &contact) != 1:
            return False
        subscription.target = request.text(contact.uri.all)
        request.cursor(H_RECORD_ROUTE, &cursor)
        if request.next_value(&cursor, &value):
            if request.parse_address(value, &hop) == 1:
                way = self.engine.location.flow_to(request.p, &hop.uri)
        else:
            way = self.engine.location.flow_to(request.p, &contact.uri)
            if way is not None and memcmp(way.ip, flow.ip, 16):
                way = None
        subscription.flow = flow if way is None else way
        return True

    # ---- PUBLISH (RFC 3903 §6)

    cdef int publish(self, ServerTransaction server, Message request, Flow flow, bytes aor, int64_t now) except -1:
        cdef Publication found = None
        cdef Cursor cursor
        cdef Span tag, more
        cdef bytes extra = unsupported_line(request, H_REQUIRE)
        cdef bint body = request.body.end > request.body.start, conditional
        cdef int64_t expires
        self.publishes += 1
        if extra:                             # RFC 3261 §8.2.2.3
            return self.answer(server, request, flow, 420, extra, now)
        if not is_presence(request):          # step 2
            return self.answer(server, request, flow, 489, BAD_EVENT, now)
        request.cursor(H_SIP_IF_MATCH, &cursor)
        conditional = request.next_value(&cursor, &tag)
        if conditional:                       # step 3
            if request.next_value(&cursor, &more):
                return self.answer(server, request, flow, 400, b"", now)
            found = <Publication>self.state.etags.get(request.text(tag))
            if found is None or found.presentity.aor != aor:
                return self.answer(server, request, flow, 412, b"", now)
        expires = self.duration(server, request, flow, now)
        if expires < 0:                       # step 4
            return 0
        if expires == 0 and conditional:
            return self.unpublish(server, request, flow, found, now)
        if not body and not conditional:      # step 5
            return self.answer(server, request, flow, 400, b"", now)
        if body and request.has(H_CONTENT_ENCODING):
            return self.answer(server, request, flow, 415, IDENTITY, now)
        if body and not is_pidf(request, request.value_of(H_CONTENT_TYPE)):
            return self.answer(server, request, flow, 415, ACCEPT, now)
        self.promises.append((request, flow, server))
        if expires == 0:                      # stated and over at once: nothing is stored
            return self.answer(server, request, flow, 200, b"SIP-ETag: %b\r\nExpires: 0\r\n" % self.state.next_etag(), now)
        if found is None:
            found = Publication.__new__(Publication)
            found.presentity = self.state.presentity(aor)
            found.number = self.state.next_number()
        else:
            del self.state.etags[found.etag]
        found.etag = self.state.next_etag()   # step 6
        if body:
            found.document = request.text(request.body)
        self.state.keep_publication(found, now + 1000 * expires)
        self.answer(server, request, flow, 200, b"SIP-ETag: %b\r\nExpires: %d\r\n" % (found.etag, expires), now)
        return self.notify_all(found.presentity, now) if body else 0

    cdef int unpublish(self, ServerTransaction server, Message request, Flow flow, Publication found,
                       int64_t now) except -1:
        cdef Presentity presentity = found.presentity
        self.promises.append((request, flow, server))
        self.state.drop_publication(found)
        self.answer(server, request, flow, 200, b"SIP-ETag: %b\r\nExpires: 0\r\n" % self.state.next_etag(), now)
        return self.notify_all(presentity, now)

    # ---- NOTIFY (RFC 6665 §4.2.2)

    cdef int notify_all(self, Presentity presentity, int64_t now) except -1:
        cdef Subscription subscription
        cdef bytes body
        if presentity.subscriptions:
            body = presentity.document()
            for subscription in presentity.subscriptions:
                self.notify(subscription, False, body, now)
        return 0

    cdef int notify(self, Subscription subscription, bint ended, bytes body, int64_t now) except -1:
        cdef bytes branch = self.transactions.new_branch(0)
        if subscription.state is not None and not ended:
            self.state.reserve(subscription)
        subscription.local_cseq += 1
        self.notifies += 1
        self.started.append(self.transactions.start(
            self.notification(subscription, ended, body, branch, now), branch, subscription.flow, subscription, now))
        return 0

    cdef bytes notification(self, Subscription subscription, bint ended, bytes body, bytes branch, int64_t now):
        cdef bytes via = <bytes>self.sent_by[subscription.flow.local]
        cdef Py_ssize_t most = (320 + PyBytes_GET_SIZE(subscription.target) + PyBytes_GET_SIZE(via)
                                + PyBytes_GET_SIZE(branch) + PyBytes_GET_SIZE(subscription.lines) + PyBytes_GET_SIZE(body))
        cdef char *text = <char *>PyMem_Malloc(most)
        cdef char *to = text
        if text == NULL:
            raise MemoryError
        to = put_bytes(put_literal(to, b"NOTIFY "), subscription.target)
        to = put_bytes(put_literal(to, b" SIP/2.0\r\nVia: SIP/2.0/UDP "), via)
        to = put_bytes(put_literal(to, b";branch="), branch)
        to = put_bytes(put_literal(to, b";rport\r\nMax-Forwards: 70\r\n"), subscription.lines)
        to = put_number(put_literal(to, b"CSeq: "), subscription.local_cseq)
        to = put_literal(to, b" NOTIFY\r\nSubscription-State: ")
        if ended:
            to = put_literal(to, b"terminated;reason=timeout")
        else:
            to = put_number(put_literal(to, b"active;expires="), <uint32_t>max((subscription.expires - now) // 1000, 0))
        if PyBytes_GET_SIZE(body):
            to = put_literal(to, b"\r\nContent-Type: application/pidf+xml")
        to = put_number(put_literal(to, b"\r\nContent-Length: "), PyBytes_GET_SIZE(body))
        to = put_bytes(put_literal(to, b"\r\n\r\n"), body)
        try:
            return PyBytes_FromStringAndSize(text, to - text)
        finally:
            PyMem_Free(text)

    def counters(self):
        """What was counted since the start, by name: the engine's, and the agent's own."""
        own = {"subscribes": self.subscribes, "publishes": self.publishes, "notifies": self.notifies,
               "failed_presence_batches": self.failed_batches, "subscriptions": len(self.state.dialogs),
               "publications": len(self.state.etags), "presentities": len(self.state.presentities)}
        return self.engine.counters() | own


cdef inline char *put_bytes(char *to, bytes text) noexcept:
    return put(to, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef inline char *put_literal(char *to, const char *text) noexcept:
    return put(to, text, strlen(text))


cdef bint may_be_ours(bytes data) noexcept:
    """A look that costs little: everything else is parsed once only, by the engine."""
    cdef const char *p = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if size < 12:
        return False
    if p[0] == c"S" and p[1] == c"I":
        return memmem(p, size, b"NOTIFY", 6) != NULL
    return memcmp(p, b"SUBSCRIBE ", 10) == 0 or memcmp(p, b"PUBLISH ", 8) == 0


cdef bint is_text(Message message, Span span, bytes text) noexcept:
    cdef Py_ssize_t size = span.end - span.start
    return size == PyBytes_GET_SIZE(text) and memcmp(message.p + span.start, PyBytes_AS_STRING(text), size) == 0


cdef bint is_presence(Message request) noexcept:
    # RFC 6665 §8.2.1: an event type is compared byte by byte; parameters may follow.
    cdef Span value = request.value_of(H_EVENT)
    cdef const unsigned char *p = request.p + value.start
    cdef Py_ssize_t size = value.end - value.start
    if size < 8 or memcmp(p, b"presence", 8):
        return False
    return size == 8 or p[8] in (c";", c" ", c"\t")


cdef bint is_pidf(Message request, Span value) noexcept:
    # A media type, without its parameters (RFC 3261 §20.1, §20.15)
    cdef Span name = value
    cdef int32_t i = value.start
    while i < value.end and request.p[i] != c";" and request.p[i] > 32:
        i += 1
    name.end = i
    return span_is(request.p, name, b"application/pidf+xml")


cdef bint accepts_pidf(Message request) noexcept:
    cdef Cursor cursor
    cdef Span value, name
    if not request.has(H_ACCEPT):
        return True
    request.cursor(H_ACCEPT, &cursor)
    while request.next_value(&cursor, &value):
        name = value
        name.end = name.start + 3
        if is_pidf(request, value) or (value.end - value.start >= 3 and span_is(request.p, name, b"*/*")):
            return True
        name.end = name.start + 13
        if value.end - value.start >= 13 and span_is(request.p, name, b"application/*"):
            return True
    return False


cdef bytes lines_of(Message request, int header, bytes name):
    """Each value of a list header as a line of its own, under another name perhaps."""
    cdef Cursor cursor
    cdef Span value
    cdef bytes lines = b""
    if request.has(header):
        request.cursor(header, &cursor)
        while request.next_value(&cursor, &value):
            lines += name + request.text(value) + b"\r\n"
    return lines
