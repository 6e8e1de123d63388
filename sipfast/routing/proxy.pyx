"""The stateful proxy of RFC 3261 §16.

A request that the engine decided to forward becomes one client transaction a target; a response context gathers what
they answer. The request is never rebuilt: forwarding is a handful of edits of its bytes (§16.6), and a response goes
back as it came, less our Via (§16.7 step 3). Everything here happens inside the handling of one datagram or timer.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from .._flow cimport Flow, Target, make_target
from .._listener cimport listener_at
from .._hash cimport fold_bytes, fold_number, hex16
from .._parser cimport (
    Cursor,
    H_MAX_BREADTH,
    H_MAX_FORWARDS,
    H_PROXY_AUTHENTICATE,
    H_REASON,
    H_ROUTE,
    H_VIA,
    H_WWW_AUTHENTICATE,
    M_BYE,
    M_INVITE,
    M_REFER,
    M_REGISTER,
    M_SUBSCRIBE,
    Message,
    Span,
    Via,
    as_request_uri,
)
from ..transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from ..transaction.transaction cimport MOST_UDP, PROVISIONAL
from .._wheel cimport Timed, Wheel
from .._writer cimport (
    ALL_VALUES, Edits, drop_top_via, keep_values, make_ack_alone, make_response, note_received, put,
)
from .outbound cimport Outbound, answer_flow
from .ringing cimport Ringing
from .router cimport RoutePlan
from .upstream cimport Group, Upstreams, Waiter

cdef enum:
    TIMER_C = 1
    MOST_REASON = 1_000     # bytes: a CANCEL may not be larger than its INVITE could have been

# §16.7 step 6: within 4xx these tell the caller what to change, so they win; a timeout tells it least.
cdef tuple TELLING = (401, 407, 415, 420, 484)

# What becomes of Max-Forwards, by its value, which is 255 at the most (§20.22). What came with 0 is never forwarded.
cdef tuple HOPS_LEFT = (b"", *(b"%d" % left for left in range(255)))

# RFC 3326 §3.1: a phone that is not to log a missed call.
cdef bytes ELSEWHERE = b'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n'

# RFC 5393 §5.3: how many branches a request may have at once, wherever they fork.
cdef enum:
    MAX_BREADTH = 60
    UNTOUCHED = -1
cdef tuple BREADTH_LINES = tuple([b"Max-Breadth: %d\r\n" % share for share in range(MAX_BREADTH + 1)])


cdef long contexts = 0


def live_contexts():
    """Response contexts alive in this process, for tests."""
    return contexts


# RFC 3326 §2: what the caller's CANCEL says goes into ours.
cdef bytes reason_lines(Message cancel):
    cdef bytes lines = b""
    cdef int field = cancel.first[<int>H_REASON]
    while field != -1:
        lines += b"Reason: " + cancel.text(cancel.fields[field].value) + b"\r\n"
        field = cancel.fields[field].next
        if PyBytes_GET_SIZE(lines) > MOST_REASON:
            return b""
    return lines


# Contexts and branches refer to each other and to their transactions, until `on_gone` takes them apart: the collector is
# not needed for that, and half a minute's calls are too many to have it look at.
@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Branch:
    pass


cdef int rank(int status) noexcept:
    # The lower, the better. §16.7 step 6: any 6xx, else the lowest class. Who cannot be reached has not answered at all.
    if status == OUTCOME_UNREACHABLE:
        return 1000
    if status >= 600:
        return 0
    if status == 408:
        return 499
    if status in TELLING:
        return 400
    return status // 100 * 100 + 50


@cython.final
@cython.no_gc
cdef class ResponseContext(Waiter):

    def __cinit__(self):
        global contexts
        contexts += 1

    def __dealloc__(self):
        global contexts
        contexts -= 1

    cdef bint pending(self) noexcept:
        cdef Branch branch
        branch = self.first
        while branch is not None:
            if not branch.done:
                return True
            branch = branch.next
        return False

    cdef Branch branch_of(self, ClientTransaction transaction):
        cdef Branch branch
        branch = self.first
        while branch is not None:
            if branch.transaction is transaction:
                return branch
            branch = branch.next
        return None

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        cdef Branch branch = self.branch_of(transaction)
        cdef int status = response.status
        if branch is None or self.server is None:
            return 0
        if branch.member is not None:
            branch.member.answer(transaction, status, now)
        if branch.given_up and (status < 200 or status >= 300):
            return 0
        if status < 200:
            if status == 100:
                return 0                      # §16.7 step 5: 100 is not passed on
            if branch.timer_c:                # §16.7 step 2
                self.proxy.wheel.cancel(branch.timer_c)
                branch.timer_c = self.proxy.wheel.schedule(now + self.proxy.timer_c, self.proxy, TIMER_C, branch)
            self.keep(branch, now + self.proxy.timer_c)
            if not self.final_sent:
                self.server.respond(self.proxy.upward(response), status, now)
            return 0
        # What was refused, too: a caller who has not heard it repeats its INVITE, perhaps to another worker.
        self.keep(branch, now + 64 * self.proxy.transactions.t1)
        if status == 482 and self.is_known_from_before(branch):
            return self.wait_for_former(branch, response, now)
        self.proxy.stop_timer_c(branch)
        branch.done = True
        if status < 300:
            return self.succeed(response, now)
        self.consider(response, status)
        if status == 503:
            self.goes_on(now)
        if status >= 600:                     # §16.7 step 5: a 6xx ends the other branches, and waits for them
            self.cancel_pending(b"", now)
        return self.settle(now)

    cdef bint is_known_from_before(self, Branch branch) except -1:
        # The phone has it by another way (§8.2.2.2): forwarded by us before a restart, which the caller did not notice, or
        # by another worker, since the caller's NAT has given it another port. What the phone answers to that one is the
        # answer; telling the caller 482 would only make it deaf to it.
        cdef Flow way
        if self.final_sent or self.former is None:
            return False
        for _mark, way in self.former:
            if way is not None and branch.place is not None and way.same_peer(branch.place):
                return True
        return False

    cdef int wait_for_former(self, Branch branch, Message response, int64_t now) except -1:
        branch.known = True
        self.known_answer = response
        self.known_key = (self.request.text(self.request.call_id), self.request.text(self.request.via.branch))
        self.proxy.known[self.known_key] = self
        self.proxy.stop_timer_c(branch)
        branch.timer_c = self.proxy.wheel.schedule(now + self.proxy.timer_c, self.proxy, TIMER_C, branch)
        return 0

    cdef int take_stray(self, Message response, int64_t now) except -1:
        # The answer to the INVITE of before the restart, in place of the one that a known branch will never have.
        cdef Branch branch
        branch = self.first
        if response.status < 200:
            while branch is not None:
                if branch.known and not branch.done:
                    self.proxy.stop_timer_c(branch)
                    branch.timer_c = self.proxy.wheel.schedule(now + self.proxy.timer_c, self.proxy, TIMER_C, branch)
                branch = branch.next
            if not self.final_sent:
                self.server.respond(self.proxy.upward(response), response.status, now)
            return 0
        while branch is not None:
            if branch.known and not branch.done:
                self.proxy.stop_timer_c(branch)
                branch.done = True
                break
            branch = branch.next
        if response.status < 300:
            return self.succeed(response, now)
        self.consider(response, response.status)
        return self.settle(now)

    cdef int succeed(self, Message response, int64_t now) except -1:
        # §16.7 step 5: a 2xx to INVITE goes up at once, even after another final response.
        cdef Message request = self.request
        if self.final_sent:
            if self.server.invite:
                self.server.respond(self.proxy.upward(response), response.status, now)
            return 0
        if request.method == M_REGISTER:
            response = self.proxy.observer.registered(self, response, now)
        if self.caller is not None:
            self.proxy.observer.answered(self.caller, self.callee, request.text(request.call_id), now)
        self.server.respond(self.proxy.upward(response), response.status, now)
        if request.method == M_BYE:
            self.proxy.observer.ended(request, now)
        self.cancel_pending(ELSEWHERE if self.server.invite else b"", now)      # §16.7 step 10
        self.shrink(now)
        return 0

    cdef int shrink(self, int64_t now) except -1:
        # The final response was given. What lingers, for half a minute, passes on 2xx and needs none of this.
        self.final_sent = True
        self.request = None
        self.original = None
        self.flow = self.first_flow = None
        self.best = None
        self.known_answer = None
        self.former = None
        self.challenges = None
        self.caller = None
        self.callee = None
        if self.server is not None and not self.server.invite:
            self.server.handler = None        # §16.7 step 5: any other request has one final response, and it had it
            self.on_gone(self.server, now)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        cdef Branch branch = self.branch_of(transaction)
        if branch is None or self.server is None:
            return 0
        self.proxy.stop_timer_c(branch)
        self.keep(branch, 0)
        if branch.member is not None:
            branch.member.miss(transaction, status, now)
        if branch.done:
            return 0
        branch.done = True
        if status == OUTCOME_UNREACHABLE and self.cancelled:
            self.consider(None, 487)          # §9.1: it rings no more, which is what the caller wants
        elif branch.transaction.marks & PROVISIONAL or not self.goes_on(now):
            if status == OUTCOME_UNREACHABLE:
                self.lose(branch)             # §16.9
            else:
                self.consider(None, self.silence() if self.retry_after is None else 503)      # §16.8
        return self.settle(now)

    cdef int unanswered(self, ClientTransaction transaction, int64_t now) except -1:
        # The upstream's address that it went to is down, and has said nothing at all.
        cdef Branch branch = self.branch_of(transaction)
        if branch is None or self.server is None or branch.done:
            return 0
        self.proxy.stop_timer_c(branch)
        branch.done = branch.given_up = True
        if self.server.invite:
            transaction.hush()
            transaction.cancel(now)           # §9.1: goes out where it does answer with a 1xx, late
        else:
            transaction.abandon()
        if not self.goes_on(now):
            self.consider(None, 487 if self.cancelled else 503)
        return self.settle(now)

    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1:
        self.cancelled = True
        if self.known_key is not None:
            self.proxy.cancel_former(self, cancel, now)
        self.cancel_pending(reason_lines(cancel), now)      # §16.10
        return self.settle(now)

    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1:
        # The server side is over. The client transactions may linger; what they bring is of no more use.
        cdef Branch branch
        if self.known_key is not None:
            self.proxy.known.pop(self.known_key, None)
        branch = self.first
        while branch is not None:
            self.proxy.stop_timer_c(branch)
            if branch.transaction is not None:
                if branch.member is not None:
                    branch.member.forget(branch.transaction)
                branch.transaction.handler = None
                branch.transaction = None
            branch.context = None
            branch = branch.next
        self.first = None
        self.server = None
        return 0

    cpdef int on_fault(self, int64_t now) except -1:
        # RFC 3261 §21.5.1. Nobody waits for its branches any more: §9.1 for those that ring, the rest is sent no more.
        cdef Branch branch = self.first
        cdef ServerTransaction server = self.server
        if server is None:
            return 0
        while branch is not None:
            self.proxy.stop_timer_c(branch)
            if branch.transaction is not None and not branch.done:
                if server.invite:
                    branch.transaction.hush()
                    branch.transaction.cancel(now)
                else:
                    branch.transaction.abandon()
            branch.done = True
            branch = branch.next
        if not self.final_sent:
            server.respond(make_response(self.request, 500, self.flow, server.tag(), b"", None, b""), 500, now)
        server.handler = None
        return self.on_gone(server, now)

    cdef int consider(self, Message response, int status) except -1:
        if self.final_sent:                   # a loser's 487, say
            return 0
        if response is not None and (status == 401 or status == 407):
            if self.challenges is None:
                self.challenges = []
            self.challenges.append(response)
        if self.best_status == 0 or rank(status) < rank(self.best_status):
            self.best = response
            self.best_status = status
        return 0

    cdef void keep(self, Branch branch, int64_t until) noexcept:
        self.proxy.ringing.keep(branch.taken_at, self.key, branch.number, until)

    cdef list tried(self):
        cdef Branch branch = self.first
        cdef list found = []
        while branch is not None:
            if branch.member is not None:
                found.append(branch.member)
            branch = branch.next
        return found

    cdef bint goes_on(self, int64_t now) except -1:
        # A branch to an upstream's address came to nothing: whether there are new ones in its place (RFC 3263 §4.3).
        if self.group is None or self.final_sent or self.cancelled:
            return False
        return self.proxy.observer.lost(self, now)

    cdef int lose(self, Branch branch) except -1:
        # §16.9 has a proxy behave as if 503 had come, and §16.7 step 6 make that a 500, for it knows of one request only. We
        # know more: a phone that cannot be reached is 480 (§21.4.18); of an upstream step 6 itself lets us say 503, since
        # whatever we sent there would fare alike; and a token's flow is 430 (RFC 5626 §5.3.1).
        cdef int status = 503 if branch.member is not None else 430 if branch.by_token else 480
        self.unreached = status if self.unreached in (0, status) else 480
        return self.consider(None, OUTCOME_UNREACHABLE)

    cdef int cancel_pending(self, bytes why, int64_t now) except -1:
        cdef Branch branch
        if not self.server.invite:            # §9.1: only INVITE is cancelled
            return 0
        branch = self.first
        while branch is not None:
            if branch.known and not branch.done:    # on_cancel has seen to what rings since before the restart
                self.proxy.stop_timer_c(branch)
                branch.done = True
                self.consider(None, 487)
            elif not branch.done and branch.transaction is not None:
                branch.transaction.cancel(now, why)
            branch = branch.next
        return 0

    cdef int silence(self) noexcept:
        # What no answer at all amounts to. §9.1: who has sent a CANCEL takes the INVITE for cancelled.
        return 487 if self.cancelled else 408

    cdef int settle(self, int64_t now) except -1:
        if self.final_sent or self.pending():
            return 0
        return self.finish(now)

    cdef int finish(self, int64_t now) except -1:
        cdef int status = self.best_status if self.best_status else 408
        if status == OUTCOME_UNREACHABLE:
            status = self.unreached
        if self.request.method == M_BYE:
            self.proxy.observer.ended(self.request, now)
        # Redial may have a better answer to a call: its caller waits for another instead of hearing 480.
        if self.caller is None or not self.proxy.observer.failed(self, status, now):
            self.give(status, now)
        self.shrink(now)
        return 0

    cdef int give(self, int status, int64_t now) except -1:
        cdef bytes data, extra = b""
        if self.best is None or status == 503:
            # §16.7 step 6: a 503 would speak of us, who are well; downstream's trouble is a 500. But not where all else
            # for that upstream would fare alike.
            if status == 503 and self.retry_after is not None:
                extra = self.retry_after
            elif status == 503 and self.best_status != OUTCOME_UNREACHABLE:
                status = 500
            data = make_response(self.request, status, self.flow, self.server.tag(), extra, None, b"")
        else:
            data = self.with_challenges(self.best)
        return self.server.respond(data, status, now)

    cdef bytes with_challenges(self, Message best):
        # §16.7 step 7: a 401 or 407 carries the challenges of all branches.
        cdef Message other
        cdef Edits edits = self.proxy.edits
        cdef bytes lines = b""
        cdef int i
        if self.challenges is None or (best.status != 401 and best.status != 407):
            return self.proxy.upward(best)
        for other in self.challenges:
            if other is best:
                continue
            for i in range(other.count):
                if other.fields[i].id == H_WWW_AUTHENTICATE or other.fields[i].id == H_PROXY_AUTHENTICATE:
                    lines += other.data[other.fields[i].line:other.fields[i].line_end]
        edits.clear()
        drop_top_via(edits, best)
        if lines:
            edits.replace(best.fields[best.count - 1].line_end, best.fields[best.count - 1].line_end, lines)
        return edits.apply(best)


# What joined() puts together; the texts are kept by whoever adds them.
cdef struct Pieces:
    int count
    Py_ssize_t size
    const char *texts[10]
    Py_ssize_t sizes[10]


cdef inline void add(Pieces *pieces, bytes text) noexcept:
    pieces.texts[pieces.count] = PyBytes_AS_STRING(text)
    pieces.sizes[pieces.count] = PyBytes_GET_SIZE(text)
    pieces.size += PyBytes_GET_SIZE(text)
    pieces.count += 1


cdef bytes joined(const Pieces *pieces):
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, pieces.size)
    cdef char *to = PyBytes_AS_STRING(whole)
    cdef int i
    for i in range(pieces.count):
        to = put(to, pieces.texts[i], pieces.sizes[i])
    return whole


cdef class CallObserver:

    cdef int answered(self, bytes caller, bytes callee, bytes call_id, int64_t now) except -1:
        return 0

    cdef bint failed(self, ResponseContext context, int status, int64_t now) except -1:
        return False

    cdef int ended(self, Message bye, int64_t now) except -1:
        return 0

    cdef Message registered(self, ResponseContext context, Message response, int64_t now):
        return response

    cdef bint lost(self, ResponseContext context, int64_t now) except -1:
        return False


@cython.final
cdef class Proxy(Timed):
    """Forwards requests and gathers their responses, and tells its observer."""

    def __init__(self, TransactionLayer transactions, Wheel wheel, tuple listeners, Outbound outbound, uint64_t secret,
                 int64_t timer_c, Upstreams upstreams, Ringing ringing, CallObserver observer not None):
        self.transactions = transactions
        self.wheel = wheel
        self.edits = Edits.__new__(Edits)
        self.listeners = listeners
        self.outbound = outbound
        self.secret = secret
        self.timer_c = timer_c
        self.observer = observer
        self.upstreams = upstreams
        self.ringing = ringing
        self.known = {}

    cdef bytes upward(self, Message response):
        # §16.7 step 3
        self.edits.clear()
        drop_top_via(self.edits, response)
        return self.edits.apply(response)

    cdef int stop_timer_c(self, Branch branch) noexcept:
        if branch.timer_c:
            self.wheel.cancel(branch.timer_c)
            branch.timer_c = 0
        return 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        cdef Branch branch = <Branch>payload
        branch.timer_c = 0
        if branch.done or branch.transaction is None:
            return 0
        try:
            return self.ring_no_longer(branch, now)
        except Exception:
            branch.context.on_fault(now)
            raise

    cdef int ring_no_longer(self, Branch branch, int64_t now) except -1:
        if branch.transaction.marks & PROVISIONAL and not branch.known:    # §16.8
            branch.transaction.cancel(now)
            return 0
        branch.done = True
        if branch.known and not branch.context.cancelled:
            branch.context.consider(branch.context.known_answer, 482)
        else:
            branch.context.consider(None, branch.context.silence())
        return branch.context.settle(now)

    cdef uint32_t loop_value(self, Message request) noexcept:
        # §16.6 step 8: what routing depends on, hashed with our secret; 32 bits of it go into the branch.
        cdef uint64_t h = self.secret
        cdef const unsigned char *p = request.p
        cdef int field
        h = fold_span(h, p, request.request_uri)
        h = fold_span(h, p, request.sender.tag)
        h = fold_span(h, p, request.target.tag)
        h = fold_span(h, p, request.call_id)
        h = fold_number(h, request.cseq.number)
        field = request.first[<int>H_ROUTE]
        while field != -1:
            h = fold_span(h, p, request.fields[field].value)
            field = request.fields[field].next
        return <uint32_t>h

    cdef bint is_loop(self, Message request) except -1:
        # §16.3 step 4: one of the Vias is ours, and nothing that routing depends on has changed since.
        cdef Cursor cursor
        cdef Span value
        cdef Via via
        cdef uint32_t loop, here = 0
        cdef bint computed = False
        cdef bint alone = request.fields[<int>request.first[<int>H_VIA]].next == -1 and request.via.all.end == request.fields[
            <int>request.first[<int>H_VIA]].value.end
        if alone:
            # One Via only: from the sender itself. Where that is us, it is a request that we made, and it came back at once.
            if not self.transactions.is_own_branch(request.p + request.via.branch.start,
                                                   request.via.branch.end - request.via.branch.start, &loop):
                return False
            self.looped += 1
            return True
        request.cursor(H_VIA, &cursor)
        while request.next_value(&cursor, &value):
            if request.parse_via(value, &via) != 1 or via.branch.end == via.branch.start:
                continue
            if not self.transactions.is_own_branch(request.p + via.branch.start, via.branch.end - via.branch.start,
                                                   &loop):
                continue
            if not computed:
                here = self.loop_value(request)
                computed = True
            if loop == here:
                self.looped += 1
                return True
        return False

    cdef int64_t breadth_of(self, Message request) noexcept:
        cdef int64_t breadth = request.number(H_MAX_BREADTH)
        return breadth if 0 <= breadth < MAX_BREADTH else MAX_BREADTH      # RFC 5393 §5.3.3: 60 at the most

    cdef bytes top_lines(self, Message request, Flow came, Target target, bytes branch, int64_t breadth, bytes extra):
        cdef Flow out = target.flow
        cdef bytes record_route
        cdef Pieces lines
        lines.count = lines.size = 0
        add(&lines, listener_at(self.listeners, out.local).via)
        add(&lines, branch)
        add(&lines, b"\r\n")
        if request.max_forwards == -1:        # §16.6 step 3
            add(&lines, b"Max-Forwards: 70\r\n")
        if breadth != UNTOUCHED and not request.has(H_MAX_BREADTH):
            add(&lines, <bytes>BREADTH_LINES[breadth])
        if target.route is not None:
            add(&lines, b"Route: ")
            add(&lines, target.route)
            add(&lines, b"\r\n")
        if request.method == M_INVITE or (request.target.tag.end == request.target.tag.start and (
                request.method == M_SUBSCRIBE or request.method == M_REFER)):
            record_route = self.outbound.record_route(request, came, out)      # §16.6 step 4
            add(&lines, record_route)
        add(&lines, extra)
        return joined(&lines)

    cdef bytes rewrite(self, Message request, Flow came, Target target, bytes branch, RoutePlan *plan, int64_t breadth,
                       bytes extra):
        """The request as it goes to one target: §16.6 in the order of its bytes."""
        cdef Edits edits = self.edits
        cdef bytes uri = target.uri, route = b""
        # Ours stand before anybody's Via, Route, Record-Route and Path, in whatever order those came.
        cdef int32_t top = request.fields[0].line
        cdef int last, first = plan.own
        edits.clear()
        if plan.from_strict and uri is None:  # §16.4
            uri = as_request_uri(request.text(plan.last))
        if plan.left and plan.next_is_strict:  # §16.6 step 6: the next hop wants itself in the Request-URI
            first += 1
            route = b"Route: <" + (uri if uri is not None else request.text(request.request_uri)) + b">\r\n"
            uri = as_request_uri(request.text(plan.next))
            last = request.last[<int>H_ROUTE]
            edits.replace(request.fields[last].line_end, request.fields[last].line_end, route)
        if first or plan.from_strict:
            keep_values(edits, request, H_ROUTE, first, plan.own + plan.left if plan.from_strict else ALL_VALUES)
        if uri is not None:
            edits.replace(request.request_uri.start, request.request_uri.end, uri)
        if request.max_forwards != -1:        # §16.6 step 3
            edits.replace(request.value_of(H_MAX_FORWARDS).start, request.value_of(H_MAX_FORWARDS).end,
                          <bytes>HOPS_LEFT[request.max_forwards])
        if breadth != UNTOUCHED and request.has(H_MAX_BREADTH) and breadth != request.number(H_MAX_BREADTH):
            edits.replace(request.value_of(H_MAX_BREADTH).start, request.value_of(H_MAX_BREADTH).end, b"%d" % breadth)
        edits.replace(top, top, self.top_lines(request, came, target, branch, breadth, extra))
        note_received(edits, request, came)
        return edits.apply(request)

    cdef ResponseContext forward(self, ServerTransaction server, Message request, Flow flow, list targets,
                                 RoutePlan *plan, bytes extra, Group group, bytes caller, bytes callee, int64_t now):
        """Fork the request to all targets in parallel (§16.6); a 100 goes back for an INVITE (§16.2)."""
        cdef ResponseContext context = ResponseContext.__new__(ResponseContext)
        context.proxy = self
        context.server = server
        context.request = request
        context.flow = flow
        context.group = group
        context.caller = caller
        context.callee = callee
        server.handler = context
        if self.fork(context, targets, plan, extra, now) and server.invite:
            # Last: a caller that has its 100 sends no more, so what dies with us must not be the INVITE.
            server.respond(make_response(request, 100, flow, b"", b"", None, b""), 100, now)
        context.settle(now)
        return context

    cdef bint fork(self, ResponseContext context, list targets, RoutePlan *plan, bytes extra, int64_t now) except -1:
        # Whether one of the targets can be reached.
        cdef Message request = context.request
        cdef uint32_t loop = self.loop_value(request)
        cdef bytes mark, data
        cdef Target target
        cdef Branch branch, last = context.first
        cdef bint reachable = False
        cdef int64_t breadth = self.breadth_of(request)
        cdef int count = <int>len(targets), place = 0
        cdef bint resumed
        if count > breadth:                   # RFC 5393 §5.3.3: nothing waits here for its turn, so it cannot be forked
            context.consider(None, 440)
            return False
        resumed = self.transactions.answer_for(context.server, now)
        while last is not None and last.next is not None:
            last = last.next
        branch = last
        for _target in targets:
            last = self.add_branch(context, last)
        branch = context.first if branch is None else branch.next
        if count > 1 or not self.transactions.proven.has(context.server.flow, now):
            self.transactions.payer()         # one for all of them, and for who it comes back from
        for target in targets:
            branch.by_token = target.by_token
            if target.flow is not None:
                branch.member = self.upstreams.at(target.flow)
            if branch.member is not None and branch.member.down:
                branch.done = True            # by a Route: nothing else leads there
                context.retry_after = branch.member.retry_after()
                context.consider(None, 503)
            elif target.flow is None:
                branch.done = True
                context.lose(branch)
            else:
                mark = self.transactions.new_branch(loop)
                data = self.rewrite(request, context.flow, target, mark, plan,
                                    breadth // count + (place < breadth % count), extra)
                place += 1
                if PyBytes_GET_SIZE(data) > MOST_UDP:      # §21.5.7
                    self.transactions.release_branch(mark)
                    branch.done = True
                    context.consider(None, 513)
                    branch = branch.next
                    continue
                self.forwarded += 1
                branch.place = target.flow
                branch.transaction = self.transactions.start(data, mark, target.flow, context, now)
                if branch.member is not None:
                    branch.member.ask(branch.transaction, now)
                reachable = True
                if context.server.invite:
                    branch.timer_c = self.wheel.schedule(now + self.timer_c, self, TIMER_C, branch)
                    self.take_down(context, branch, mark, now)
            branch = branch.next
        if context.server.credit is None:     # which a copy of the request renews
            context.server.credit = self.transactions.credit
        if resumed:
            self.transactions.rest()
        return reachable

    cdef Branch add_branch(self, ResponseContext context, Branch last):
        cdef Branch branch = Branch.__new__(Branch)
        branch.context = context
        branch.taken_at = -1
        if last is None:
            context.first = branch
        else:
            last.next = branch
        return branch

    cdef int forward_ack(self, Message ack, Flow flow, Target target, RoutePlan *plan) except -1:
        # §16.11: an ACK for a 2xx is forwarded without a transaction; the branch is a function of the incoming one.
        cdef uint64_t h = fold_span(self.secret, ack.p, ack.via.all)
        cdef bytes branch = b"z9hG4bKack" + hex16(h)
        if target.flow is None:
            return 0
        self.forwarded += 1
        return self.transactions.pass_on(self.rewrite(ack, flow, target, branch, plan, UNTOUCHED, b""), target.flow, False)

    # ---- INVITEs of before a restart

    cdef int take_down(self, ResponseContext context, Branch branch, bytes mark, int64_t now) except -1:
        if context.taken_down == 0:
            context.key = self.ringing.key_of(context.request, &context.request.via)
            if self.ringing.has(context.key, now):      # it comes again after a restart, or to another worker by another port
                context.former = self.ringing.branches(context.key, now)
                context.taken_down = <int>len(context.former)
        branch.number = context.taken_down
        context.taken_down += 1
        branch.taken_at = self.ringing.note(context.key, branch.number, mark, branch.place,
                                            answer_flow(context.request, context.flow), now + self.timer_c, now)
        return 0

    cdef int forward_former(self, Message request, Flow flow, Target target, RoutePlan *plan, bytes branch) except -1:
        self.forwarded += 1
        return self.transactions.pass_on(self.rewrite(request, flow, target, branch, plan, UNTOUCHED, b""), target.flow, False)

    cdef int cancel_former(self, ResponseContext context, Message cancel, int64_t now) except -1:
        # The caller's INVITE came again, so its CANCEL finds that one, and the phone rings for the one before.
        cdef Branch branch
        cdef RoutePlan plan
        memset(&plan, 0, sizeof(plan))
        for mark, way in context.former:
            branch = context.first
            while branch is not None:
                if branch.known and not branch.done and branch.place.same_peer(way):
                    self.forward_former(cancel, context.flow, make_target(None, None, way), &plan, mark)
                    break
                branch = branch.next
        return 0

    cdef int forward_stray(self, Message response, const Via *below, Flow way, Flow back, int64_t now) except -1:
        cdef tuple key = (response.text(response.call_id), response.text(below.branch))
        cdef ResponseContext context = self.known.get(key)
        cdef list branches
        if context is not None and response.status >= 300:
            self.transactions.pass_on(make_ack_alone(response), way, False)
        if context is not None and context.server is not None:
            return context.take_stray(response, now)
        # §16.11: as a proxy without state. The caller acknowledges what comes, and that goes the way of the INVITE. Of
        # several phones one may still answer: what another says ends the call only where it was cancelled or declined.
        if 300 <= response.status < 600 and response.status != 487:
            branches = self.ringing.branches(self.ringing.key_of(response, below), now)
            if len(branches) > 1:
                return 0
        return self.pass_back(response, back)

    cdef int pass_back(self, Message response, Flow back) except -1:
        return self.transactions.pass_on(self.upward(response), back, True)


cdef inline uint64_t fold_span(uint64_t h, const unsigned char *p, Span span) noexcept:
    return fold_bytes(h, p + span.start, span.end - span.start)
