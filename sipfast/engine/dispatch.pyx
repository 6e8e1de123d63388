"""What is done with a request, in ordered steps: each says how it goes on, and a new capability is a new step or a new handler.

    read_route_set      its Route values, and our tokens in them (RFC 3261 §16.4, RFC 5626 §5)
    identify            whom it speaks for, where there are users: speaker (§22)
    serve_itself        OPTIONS and REGISTER for the server, without a transaction (§8.2.7)
    hop_by_hop          ACK and CANCEL
    validate            §16.3
    admit               domains, flows and peers
    begin_transaction   §17.2.3: copies end here
    route               the method's own way: redial, upstream, proxy
"""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow, Target, make_target
from .._parser cimport (
    H_PROXY_REQUIRE, H_REQUIRE, M_ACK, M_BYE, M_CANCEL, M_INVITE, M_NOTIFY, M_OPTIONS, M_OTHER, M_PUBLISH, M_REFER, M_REGISTER,
    MAX_FIELDS, Message, SCHEME_SIP, SCHEME_SIPS, Uri, canonical_aor,
)
from .._writer cimport stateless_tag, warning_line
from ..routing.names cimport Waiting
from ..routing.outbound cimport answer_flow
from ..routing.router cimport PLAN_FORGED, PLAN_MALFORMED, RoutePlan, routed_by_us
from ..routing.token cimport TOKEN_NONE
from ..routing.upstream cimport Group
from ..transaction.layer cimport VERDICT_FULL, VERDICT_NEW, VERDICT_UNMATCHED
from ..store.keys cimport MOST_NAMES, is_keepable
from ..transaction.server cimport ServerTransaction
from .answers cimport unsupported_line

cdef enum:
    MOST_LINES = 16              # header fields that forwarding adds at the most: Via, Route, two of Record-Route ...
    MOST_ACK = 4096              # bytes of an ACK that others are asked about: of a refusal it has few lines (§17.1.1.3)
    COME_BACK = 32               # s: by then the transactions of now are over (Timers B, F, H)

cdef bytes ALLOW = (b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, NOTIFY, REFER, MESSAGE, SUBSCRIBE, INFO, PRACK, "
                    b"UPDATE\r\n")
cdef bytes SELF_ALLOW = b"Allow: ACK, CANCEL, NOTIFY, OPTIONS, REGISTER\r\n"        # at the server's own address
cdef bytes CAPABILITIES = ALLOW + b"Accept: application/sdp, message/sipfrag\r\nSupported: path\r\n"


@cython.final
cdef class Dispatch:

    cdef int receive(self, Message request, Flow flow, int64_t now) except -1:
        cdef Course course
        cdef int method = request.method, verdict
        course.uri = request.uri
        course.in_dialog = request.target.tag.end > request.target.tag.start
        if method != M_REGISTER and method != M_OPTIONS:
            self.transactions.foresee(request)
        verdict = self.read_route_set(request, flow, &course, now)
        if verdict == GO_ON and method != M_ACK and method != M_CANCEL:      # §22.1: these are never challenged
            verdict = self.identify(request, flow, &course, now)
        if verdict == GO_ON and (method == M_OPTIONS or method == M_REGISTER):
            verdict = self.serve_itself(request, flow, &course, now)
        elif verdict == GO_ON and (method == M_ACK or method == M_CANCEL):
            return self.hop_by_hop(request, flow, &course, now)
        if verdict == GO_ON:
            verdict = self.validate(request, flow, &course, now)
        if verdict == GO_ON:
            verdict = self.admit(request, flow, &course, now)
        if verdict == GO_ON:
            verdict = self.begin_transaction(request, flow, now)
        if verdict == GO_ON:
            return self.route(self.current, request, flow, &course, now)
        return 0

    cdef int again(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        cdef Course course
        course.uri = request.uri
        course.in_dialog = request.target.tag.end > request.target.tag.start
        self.current = server
        if self.read_route_set(request, flow, &course, now) != GO_ON:
            return 0
        if server.handler is None:
            return self.route(server, request, flow, &course, now)
        # An upstream was asked, and knows of nobody: that is as it was.
        return self.calls.unbound(server, request, flow, self.speaker.caller_of(request, flow),
                                  canonical_aor(request.p, &course.uri), now)

    cdef bint goes_on(self, Message request) except -1:
        cdef RoutePlan plan
        if self.transactions.knows(request):
            return True
        if request.target.tag.end == request.target.tag.start:
            return False
        return self.router.plan(request, &plan) > 0 and plan.token.kind != TOKEN_NONE

    # ---- the steps

    cdef int read_route_set(self, Message request, Flow flow, Course *course, int64_t now) except -1:
        cdef Flow shown
        cdef int planned = self.router.plan(request, &course.plan)
        if planned == PLAN_MALFORMED:
            self.answers.reject(request, flow, 400, b"")
            return ANSWERED
        if planned == PLAN_FORGED:            # RFC 5626 §5.3.1
            self.answers.reject(request, flow, 403, warning_line(
                request.text(request.uri.host), b"A Route with a token that is not of this server, or not of this call"))
            return ANSWERED
        if course.plan.from_strict and request.parse_uri(course.plan.last, &course.uri) != 1:
            self.answers.reject(request, flow, 400, b"")
            return ANSWERED
        if course.plan.key.end > course.plan.key.start and self.outbound.tokens.is_key(
                &course.plan.keyed, request.p, course.plan.key, now):
            shown = self.outbound.tokens.flow_to(&course.plan.keyed, 0)
            if shown is not None:
                self.proven.add(shown, now)
        return GO_ON

    cdef int identify(self, Message request, Flow flow, Course *course, int64_t now) except -1:
        return GO_ON if self.speaker.admits(request, flow, &course.plan, &course.uri, course.in_dialog, now) else ANSWERED

    cdef int serve_itself(self, Message request, Flow flow, Course *course, int64_t now) except -1:
        if course.plan.left:
            return GO_ON
        if request.method == M_OPTIONS:
            if course.in_dialog or not self.router.is_self(request.p, &course.uri):
                return GO_ON
            self.options(request, flow)
            return ANSWERED
        if self.router.upstream_of(request.p, &course.uri) is not None or not (
                self.router.is_served(request.p, &course.uri) or self.router.is_self(request.p, &course.uri)):
            return GO_ON
        self.registrations.register(request, flow, now)
        return ANSWERED

    cdef int hop_by_hop(self, Message request, Flow flow, Course *course, int64_t now) except -1:
        cdef RoutePlan *plan = &course.plan
        cdef Uri *uri = &course.uri
        cdef bint in_dialog = course.in_dialog
        cdef list targets
        if self.transactions.receive_request(request, answer_flow(request, flow), now) != VERDICT_UNMATCHED:
            return 0
        if (request.method == M_ACK and in_dialog and plan.left == 0 and plan.token.kind == TOKEN_NONE
                and self.router.is_self(request.p, uri) and self.acknowledge(request, flow, now)):
            return 0
        # From another port than its INVITE it may have come to another worker than that.
        if self.mail.hops and self.hand_over(request, flow, plan, now):
            return 0
        if request.method == M_CANCEL:
            if self.forward_former(request, flow, plan, uri, in_dialog, now):
                return 0
            return self.answers.answer(request, flow, 481, b"")
        if (plan.token.kind == TOKEN_NONE and now < self.proxy.started + self.proxy.timer_c
                and self.forward_former(request, flow, plan, uri, in_dialog, now)):
            return 0
        if (self.problem_of(request, uri) or self.destination.admit(request, flow, plan, uri, in_dialog, now)
                or (plan.token.kind == TOKEN_NONE and self.router.is_self(request.p, uri))):
            self.answers.discarded += 1
            return 0
        if span_is_stateless_tag(request, self.answers.secret):
            self.answers.discarded += 1       # it acknowledges a final response that we gave without a transaction
            return 0
        targets = self.destination.find(request, flow, plan, uri, in_dialog, now)
        if not targets:
            self.answers.discarded += 1
            return 0
        if (<Target>targets[0]).flow is not None:
            self.calls.acknowledged(request, flow, now)
        return self.proxy.forward_ack(request, flow, <Target>targets[0], plan)

    cdef bint hand_over(self, Message request, Flow flow, RoutePlan *plan, int64_t now) except -1:
        cdef list branches
        cdef bytes branch
        cdef int home
        if span_is_stateless_tag(request, self.answers.secret):
            return False
        if request.method == M_CANCEL:
            # What it may end was forwarded, and the last worker to do so is known (ringing.pyx): nobody else is asked.
            branches = self.proxy.ringing.branches(self.proxy.ringing.key_of(request, &request.via), now)
            if not branches:
                return False
            branch = branches[len(branches) - 1][0]
            home = self.transactions.worker_of(branch, PyBytes_GET_SIZE(branch))
            if home < 0 or home == self.mail.worker or home >= self.mail.workers:
                return False
            self.mail.hand_over(home, request, flow, 0)
            return True
        # Whose refusal an ACK is for, nobody can tell: it goes round. One that follows our Record-Route is for a 2xx, and has no
        # transaction anywhere.
        if routed_by_us(plan) or PyBytes_GET_SIZE(request.data) > MOST_ACK:
            return False
        self.mail.hand_over((self.mail.worker + 1) % self.mail.workers, request, flow, self.mail.hops - 1)
        return True

    cdef bint acknowledge(self, Message request, Flow flow, int64_t now) except -1:
        cdef int home = self.dialogs.names.home_of(request.text(request.call_id)) if self.mail.hops else -1
        if home >= 0 and home != self.mail.worker:
            self.mail.hand_over(home, request, flow, 0)
            return True
        return self.dialogs.acknowledged(request, now)

    cdef int validate(self, Message request, Flow flow, Course *course, int64_t now) except -1:
        cdef int problem = self.problem_of(request, &course.uri)
        if problem == 0:
            return GO_ON
        self.answers.reject(request, flow, problem,
                            unsupported_line(request, H_PROXY_REQUIRE) if problem == 420 else b"")
        return ANSWERED

    cdef int admit(self, Message request, Flow flow, Course *course, int64_t now) except -1:
        cdef int home
        cdef int problem = self.destination.admit(request, flow, &course.plan, &course.uri, course.in_dialog, now)
        if problem:
            if self.destination.unserved:
                self.answers.remark(request, &course.uri, now)
            self.answers.reject(request, flow, problem, self.destination.why)
            return ANSWERED
        if self.mail.hops and (course.in_dialog or request.method == M_NOTIFY) and course.plan.left == 0 and (
                self.router.is_self(request.p, &course.uri)):
            home = self.dialogs.names.home_of(request.text(request.call_id))
            if home >= 0 and home != self.mail.worker:
                self.mail.hand_over(home, request, flow, 0)
                return HANDED_OVER
        return GO_ON

    cdef int begin_transaction(self, Message request, Flow flow, int64_t now) except -1:
        cdef int verdict = self.transactions.receive_request(request, answer_flow(request, flow), now)
        if verdict == VERDICT_NEW:
            self.current = self.transactions.created
            return GO_ON
        if verdict == VERDICT_FULL:           # RFC 3261 §21.5.4
            self.answers.answer(request, flow, 503, b"Retry-After: %d\r\n" % COME_BACK)
            return ANSWERED
        if self.transactions.elsewhere is not None and request.method == M_REGISTER:
            self.registrations.come_elsewhere(self.transactions.elsewhere, request, flow, now)
        return DROPPED

    # ---- handlers

    cdef int problem_of(self, Message request, Uri *uri) except -1:
        if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
            return 416                        # tel: needs a numbering plan, which is not ours to have
        if request.max_forwards == 0:
            return 483
        if request.count > MAX_FIELDS - MOST_LINES:
            return 513                        # with our lines on top the next hop, if it is like us, would not take it
        if names_of(request) > MOST_NAMES:
            return 400                        # they name a dialog in memory, in records and to other workers
        if request.has(H_PROXY_REQUIRE) and unsupported_line(request, H_PROXY_REQUIRE):
            return 420                        # an empty one asks for nothing
        if self.proxy.is_loop(request):
            return 482
        return 0

    cdef int options(self, Message request, Flow flow) except -1:
        # RFC 3261 §11.2
        cdef bytes unsupported = unsupported_line(request, H_REQUIRE) if request.has(H_REQUIRE) else b""
        if unsupported:                       # §8.2.2.3; an empty one asks for nothing
            return self.answers.answer(request, flow, 420, unsupported)
        return self.answers.answer(request, flow, 200, CAPABILITIES)

    cdef bint forward_former(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog,
                             int64_t now) except -1:
        # RFC 3261 §16.10, §16.11: a CANCEL, or the ACK of a refusal, whose INVITE was forwarded before a restart goes where
        # that went, with its branch. Whether there was such an INVITE.
        cdef list branches = self.proxy.ringing.branches(self.proxy.ringing.key_of(request, &request.via), now), targets
        cdef Target target, found
        if not branches or request.max_forwards == 0:
            return False
        targets = self.destination.find(request, flow, plan, uri, in_dialog, now)
        for branch, way in branches:
            found = make_target(None, None, way)
            for target in targets:
                if target.flow is not None and target.flow.same_peer(way):
                    found = target
            self.proxy.forward_former(request, flow, found, plan, branch)
        return True

    cdef int route(self, ServerTransaction server, Message request, Flow flow, Course *course, int64_t now) except -1:
        cdef RoutePlan *plan = &course.plan
        cdef Uri *uri = &course.uri
        cdef bint in_dialog = course.in_dialog
        cdef bytes caller = None, callee = None
        cdef list targets
        cdef Group group
        if plan.left == 0 and plan.token.kind == TOKEN_NONE and self.router.is_self(request.p, uri) and (
                request.method != M_REGISTER or self.router.upstream_of(request.p, uri) is None):
            return self.to_self(server, request, flow, now)
        if (request.method == M_PUBLISH and not in_dialog and plan.left == 0 and plan.token.kind == TOKEN_NONE
                and not self.router.any_domain and self.router.is_served(request.p, uri)
                and self.router.upstream_of(request.p, uri) is None):
            # RFC 3903 §6 step 2: nobody here keeps anybody's state, and a phone would not be asked for its own.
            # Table 1 there: a 489 names the packages that are known, and of a recall's REFER this server hears by `refer`.
            return self.answers.respond(server, request, flow, 489, b"Allow-Events: refer\r\n", now)
        if (request.method == M_INVITE and not in_dialog and plan.left == 0 and plan.token.kind == TOKEN_NONE
                and self.router.is_served(request.p, uri)):
            if not is_keepable(uri):          # RFC 3261 §21.4.12: nobody has so long a name
                return self.answers.respond(server, request, flow, 414, b"", now)
            callee = canonical_aor(request.p, uri)
            if is_keepable(&request.sender.uri):
                caller = self.speaker.caller_of(request, flow)
        targets = self.destination.find(request, flow, plan, uri, in_dialog, now)
        if self.destination.unresolved is not None and self.wait_for_name(server, request, flow, now):
            return 0
        if self.destination.status:
            if self.destination.unserved:
                self.answers.remark(request, uri, now)
            return self.answers.respond(server, request, flow, self.destination.status, self.destination.why, now)
        if not targets:
            if self.destination.dead is not None:
                return self.calls.cut_off(server, request, flow, caller, callee, now)
            return self.calls.unbound(server, request, flow, caller, callee, now)
        if request.method == M_REFER and not self.destination.may_refer(request, flow, plan, in_dialog, targets, now):
            return self.answers.respond(server, request, flow, 403, self.destination.why, now)
        if in_dialog and self.dialogs.legs and self.is_of_leg(server, request, flow, targets, uri, now):
            return 0
        group = self.destination.group        # what follows may ask for another destination
        if request.method == M_REGISTER:
            return self.registrations.forward(server, request, flow, targets, plan, group, now)
        if caller is not None and group is None and not self.calls.started(        # else once the upstream has accepted it
                request, flow, caller, callee, self.destination.dead is None, now):
            caller = None
        self.proxy.forward(server, request, flow, targets, plan, b"", group, caller, callee, now)
        return 0

    cdef bint wait_for_name(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        # RFC 3263 §4.2. No 100 meanwhile: a caller that has one sends no more, and its INVITE would die with this process.
        cdef Awaiting awaiting = Awaiting.__new__(Awaiting)
        awaiting.dispatch, awaiting.server, awaiting.request, awaiting.flow = self, server, request, flow
        if not self.names.ask(self.destination.unresolved, awaiting, now):
            return False
        server.handler = awaiting
        return True

    cdef bint is_of_leg(self, ServerTransaction server, Message request, Flow flow, list targets, Uri *uri,
                        int64_t now) except -1:
        # It would be sent to ourselves. An INVITE would get a 100 on that way, and be heard of no more if we died then.
        cdef Flow way = (<Target>targets[0]).flow
        if way is None or not self.router.is_self(request.p, uri) or not self.transactions.is_own(way) or (
                not self.dialogs.receive(server, request, flow, now)):
            return False
        if request.method == M_BYE:
            self.calls.hung_up(request, flow, None, True, now)
        return True

    cdef int to_self(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        # Nobody lives at the server's own address.
        cdef int status
        cdef bytes extra
        if self.dialogs.receive(server, request, flow, now):
            return 0
        extra = unsupported_line(request, H_REQUIRE)
        if request.method == M_OTHER:
            status, extra = 501, SELF_ALLOW   # §21.5.2
        elif request.method != M_NOTIFY and request.target.tag.end > request.target.tag.start:
            status, extra = 481, b""          # §12.2.2
        elif request.method != M_NOTIFY and request.method != M_OPTIONS:
            status, extra = 405, SELF_ALLOW   # §8.2.1
        elif extra:
            status = 420                      # §8.2.2.3
        elif request.method == M_NOTIFY:
            status = self.redial.notify(request, now)
        else:
            status = 200
        return self.answers.respond(server, request, flow, status, extra, now)


@cython.final
cdef class Awaiting(Waiting):

    cdef int go_on(self, int64_t now) except -1:
        cdef ServerTransaction server = self.server
        if server is None:
            return 0
        self.server = server.handler = None
        self.dispatch.transactions.begin(self.request, now)
        try:
            return self.dispatch.again(server, self.request, self.flow, now)
        except Exception:
            if server.handler is not None:
                server.handler.on_fault(now)
            self.dispatch.answers.respond(server, self.request, self.flow, 500, b"", now)   # RFC 3261 §21.5.1
            raise

    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1:
        self.server = transaction.handler = None
        return self.dispatch.answers.respond(transaction, self.request, self.flow, 487, b"", now)    # §9.2

    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1:
        self.server = None
        return 0

    cpdef int on_fault(self, int64_t now) except -1:
        self.server = None
        return 0


cdef inline int names_of(Message message) noexcept:
    return (message.call_id.end - message.call_id.start + message.sender.tag.end - message.sender.tag.start
            + message.target.tag.end - message.target.tag.start)


cdef bint span_is_stateless_tag(Message request, uint64_t secret) except -1:
    return request.text(request.target.tag) == stateless_tag(request, secret)
