"""The stateful proxy of RFC 3261 §16.

A request that the engine decided to forward becomes one client transaction a target; a response context (`context`)
gathers what they answer. The request is never rebuilt: forwarding is a handful of edits of its bytes (§16.6). Everything
here happens inside the handling of one datagram or timer.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from .._flow cimport Flow, Target, make_target
from .._listener cimport listener_at
from .._hash cimport fold_bytes, fold_number, hex16
from ..identity.claims cimport Claims
from .._parser cimport (
    Cursor, H_MAX_BREADTH, H_MAX_FORWARDS, H_ROUTE, H_VIA, M_INVITE, M_REFER, M_SUBSCRIBE, Message, Span, Via, as_request_uri,
)
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from ..transaction.transaction cimport MOST_UDP
from .._wheel cimport Wheel
from .._edits cimport ALL_VALUES, Edits, keep_values, note_received
from .._writer cimport make_ack_alone, make_response, put
from .context cimport Branch, CallObserver, Forwarder, ResponseContext, upward
from .outbound cimport Outbound, answer_flow
from .ringing cimport Ringing
from .router cimport RoutePlan, shows_call
from .upstream cimport Group, Upstreams

# What becomes of Max-Forwards, by its value, which is 255 at the most (§20.22). What came with 0 is never forwarded.
cdef tuple HOPS_LEFT = (b"", *(b"%d" % left for left in range(255)))

# RFC 5393 §5.3: how many branches a request may have at once, wherever they fork.
cdef enum:
    MAX_BREADTH = 60
    UNTOUCHED = -1
cdef tuple BREADTH_LINES = tuple([b"Max-Breadth: %d\r\n" % share for share in range(MAX_BREADTH + 1)])


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


@cython.final
cdef class Proxy(Forwarder):
    """Forwards requests and gathers their responses, and tells its observer."""

    def __init__(self, TransactionLayer transactions, Wheel wheel, tuple listeners, Outbound outbound, uint64_t secret,
                 timers, Upstreams upstreams, Ringing ringing, dict doubtful, Claims claims not None,
                 CallObserver observer not None):
        self.transactions = transactions
        self.wheel = wheel
        self.edits = Edits.__new__(Edits)
        self.listeners = listeners
        self.outbound = outbound
        self.secret = secret
        self.configure(timers)
        self.claims = claims
        self.observer = observer
        self.upstreams = upstreams
        self.ringing = ringing
        self.doubtful = doubtful
        self.known = {}

    def configure(self, timers):
        """`timers`: a config.Timers."""
        self.timer_c = round(timers.c * 1000)

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
            # One Via only: from the sender itself. Where that is us, it is a request that we made, and it came back at once:
            # but for a call of our own, which is to be routed as any other.
            if not self.transactions.is_own_branch(request.p + request.via.branch.start,
                                                   request.via.branch.end - request.via.branch.start, &loop):
                return False
            if loop == OWN_CALL:
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
        self.claims.strip(edits, request, came, target.flow)
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
        context.in_call = shows_call(plan)
        context.awaited = caller is not None and group is not None
        server.handler = context
        if self.fork(context, targets, plan, extra, now) and server.invite:
            # Last: a caller that has its 100 sends no more, so what dies with us must not be the INVITE.
            server.respond(make_response(request, 100, flow, b"", b"", None, b""), 100, now)
        context.finish_when_all_done(now)
        return context

    cdef bint fork(self, ResponseContext context, list targets, RoutePlan *plan, bytes extra, int64_t now) except -1:
        # Whether one of the targets can be reached.
        cdef uint32_t loop = self.loop_value(context.request)
        cdef Target target
        cdef Branch branch = context.last
        cdef bint reachable = False
        cdef int64_t breadth = self.breadth_of(context.request)
        cdef int count = <int>len(targets), sent = 0
        cdef bint resumed
        if count > breadth:                   # RFC 5393 §5.3.3: nothing waits here for its turn, so it cannot be forked
            context.consider(None, 440)
            return False
        resumed = self.transactions.answer_for(context.server, now)
        for _target in targets:               # all of them: what one comes to is not the answer while others are to follow
            context.add_branch()
        branch = context.first if branch is None else branch.next
        if count > 1 or not self.transactions.proven.has(context.server.flow, now):
            self.transactions.payer()         # one for all of them, and for who it comes back from
        for target in targets:
            branch.by_token = target.by_token
            if target.flow is not None:
                branch.member = self.upstreams.at(target.flow)
            if branch.member is not None and branch.member.down:
                context.close(branch)         # by a Route: nothing else leads there
                context.retry_after = branch.member.retry_after()
                context.consider(None, 503)
            elif target.flow is None:
                context.close(branch)
                context.consider_unreachable(branch)
            else:
                reachable |= self.send_to(context, branch, target, plan, loop, breadth // count + (sent < breadth % count),
                                          extra, now)
                sent += 1
            branch = branch.next
        if context.server.credit is None:     # which a copy of the request renews
            context.server.credit = self.transactions.credit
        if resumed:
            self.transactions.rest()
        return reachable

    cdef bint send_to(self, ResponseContext context, Branch branch, Target target, RoutePlan *plan, uint32_t loop,
                      int64_t breadth, bytes extra, int64_t now) except -1:
        # Whether it could be sent.
        cdef bytes mark = self.transactions.new_branch(loop)
        cdef bytes data = self.rewrite(context.request, context.flow, target, mark, plan, breadth, extra)
        if PyBytes_GET_SIZE(data) > MOST_UDP:          # §21.5.7
            self.transactions.release_branch(mark)
            context.close(branch)
            context.consider(None, 513)
            return False
        self.forwarded += 1
        branch.place = target.flow
        branch.transaction = self.transactions.start(data, mark, target.flow, context, now)
        if branch.member is not None:
            branch.member.wait_for(branch.transaction, now)
        if context.server.invite:
            if self.doubtful and branch.member is None:
                branch.doubtful = target.flow.pack() in self.doubtful
            context.start_timer_c(branch, now)
            self.note_ringing(context, branch, mark, now)
        return True

    cdef int forward_ack(self, Message ack, Flow flow, Target target, RoutePlan *plan) except -1:
        # §16.11: an ACK for a 2xx is forwarded without a transaction; the branch is a function of the incoming one.
        cdef uint64_t h = fold_span(self.secret, ack.p, ack.via.all)
        cdef bytes branch = b"z9hG4bKack" + hex16(h)
        if target.flow is None:
            return 0
        self.forwarded += 1
        return self.transactions.pass_on(self.rewrite(ack, flow, target, branch, plan, UNTOUCHED, b""), target.flow, False)

    # ---- INVITEs of before a restart

    cdef int note_ringing(self, ResponseContext context, Branch branch, bytes mark, int64_t now) except -1:
        if context.noted == 0:
            context.key = self.ringing.key_of(context.request, &context.request.via)
            if self.ringing.has(context.key, now):      # it comes again after a restart, or to another worker by another port
                context.former = self.ringing.branches(context.key, now)
                context.noted = <int>len(context.former)
        branch.number = context.noted
        context.noted += 1
        branch.noted_at = self.ringing.note(context.key, branch.number, mark, branch.place,
                                            answer_flow(context.request, context.flow), now + self.timer_c, now)
        return 0

    cdef int forward_former(self, Message request, Flow flow, Target target, RoutePlan *plan, bytes branch) except -1:
        self.forwarded += 1
        return self.transactions.pass_on(self.rewrite(request, flow, target, branch, plan, UNTOUCHED, b""), target.flow, False)

    cdef int cancel_former(self, ResponseContext context, Message cancel, int64_t now) except -1:
        # The caller's INVITE came again, so its CANCEL finds that one, and the phone rings for the one before.
        cdef RoutePlan plan
        memset(&plan, 0, sizeof(plan))
        for mark, way in context.former:
            if way is not None and context.known_branch(way) is not None:
                self.forward_former(cancel, context.flow, make_target(None, None, way), &plan, mark)
        return 0

    cdef int forward_stray(self, Message response, const Via *below, Flow way, Flow back, int64_t now) except -1:
        cdef tuple key = (response.text(response.call_id), response.text(below.branch))
        cdef ResponseContext context = self.known.get(key)
        cdef list branches
        if context is not None and response.status >= 300:
            self.transactions.pass_on(make_ack_alone(response), way, False)
        if context is not None and context.server is not None:
            return context.receive_stray(response, now)
        # §16.11: as a proxy without state. The caller acknowledges what comes, and that goes the way of the INVITE. Of
        # several phones one may still answer: what another says ends the call only where it was cancelled or declined.
        if 300 <= response.status < 600 and response.status != 487:
            branches = self.ringing.branches(self.ringing.key_of(response, below), now)
            if len(branches) > 1:
                return 0
        return self.pass_back(response, back)

    cdef int pass_back(self, Message response, Flow back) except -1:
        return self.transactions.pass_on(upward(self.edits, response), back, True)


cdef inline uint64_t fold_span(uint64_t h, const unsigned char *p, Span span) noexcept:
    return fold_bytes(h, p + span.start, span.end - span.start)
