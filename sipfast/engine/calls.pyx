"""What becomes of calls: redial is told of it, and people of what redial does nothing about.

A call goes on whatever redial or the store do: what redial could not write down is set right by its own timers.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport H_EXPIRES, M_REGISTER, Message, Uri, canonical_aor, parse_uri_at
from .._writer cimport make_response
from ..observe.events cimport NOT_ARMED
from ..routing.outbound cimport answer_flow
from ..routing.context cimport CallObserver, ResponseContext
from ..routing.router cimport RoutePlan
from ..store.keys cimport is_keepable
from ..transaction.client cimport OUTCOME_UNREACHABLE
from ..transaction.server cimport ServerTransaction
from ..transaction.transaction cimport OFFERS
from ..trust.peers cimport RIGHT_IDENTITY

from ..errors import StoreError

# Who says who a caller is (records.Watch)
cdef bytes by_upstream = b"upstream", by_peer = b"peer", by_password = b"password", nobody = b""


@cython.final
cdef class Calls(CallObserver):

    def configure(self, settings):
        """`settings`: a config.Redial."""
        self.local_callers = settings.callers == "local"

    cdef bint started(self, Message request, Flow flow, bytes caller, bytes callee, bint cancels, int64_t now) except -1:
        try:
            if not self.redial.call_started(caller, callee, request, flow, False, now):
                return False
            if cancels and self.redial.senders.passwords and request.number(H_EXPIRES) == 0:
                self.redial.cancel(caller, callee, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)
        return True

    # ---- what the proxy tells

    cdef int accepted(self, ResponseContext context, int64_t now) except -1:
        cdef Message request = context.request
        try:
            if not self.redial.call_started(context.caller, context.callee, request, context.flow, context.vouched, now):
                context.caller = None
            elif context.vouched and request.number(H_EXPIRES) == 0:
                context.called_off = self.redial.cancel(context.caller, context.callee, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)

    cdef int answered(self, ResponseContext context, Message response, int64_t now) except -1:
        try:
            self.redial.call_answered(context.caller, context.callee, response, context.request, context.flow,
                                      context.vouched, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)

    cdef int answered_before(self, bytes caller, bytes callee, Message response, int64_t now) except -1:
        try:
            self.redial.call_answered(caller, callee, response, None, None, True, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)

    cdef int acknowledged(self, Message ack, Flow flow, int64_t now) except -1:
        try:
            self.redial.call_acknowledged(ack, flow, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)
        return 0

    cdef int ended(self, ResponseContext context, bint agreed, int64_t now) except -1:
        return self.hung_up(context.request, context.flow, context.first.place if agreed else None,
                            agreed or context.in_call, now)

    cdef int hung_up(self, Message bye, Flow flow, Flow place, bint known, int64_t now) except -1:
        try:
            self.redial.call_hung_up(bye, flow, place, known, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)

    cdef bint failed(self, ResponseContext context, int status, int64_t now) except -1:
        # The call got a final response other than 2xx. True: the caller was told of its watch instead.
        try:
            return self.after_failure(context, status, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)
        try:                                  # it is over for redial, whatever else came of it
            self.call_over(context, status, now)
        except Exception as error:
            self.commits.stumble("redial-failed", error, now)
        return False

    cdef bint after_failure(self, ResponseContext context, int status, int64_t now) except -1:
        if self.is_absent(context, status, now):
            offer = self.redial.is_off(context.callee) if context.called_off else self.redial.unavailable(
                context.request, context.flow, context.caller, context.callee, self.is_local(context.caller),
                by_upstream if context.vouched else self.identity(context.request, context.flow), context.server.tag(), now)
            self.call_over(context, status, now)        # where it was a recalled one, and that is not said yet
            if offer is not None:
                self.not_here(context.server, context.request, context.flow, offer, now)
                return True
            return False
        self.unwatched(context, status)
        self.call_over(context, status, now)
        self.cancel_later(context, status, now)
        return False

    cdef int cancel_later(self, ResponseContext context, int status, int64_t now) except -1:
        # Its Expires: 0 is to end a watch, and only the source says who calls: the ACK shows that they are there. A 2xx needs
        # none of this, for its ACK ends the watch in any case. Behind an upstream that is down nobody says anything.
        cdef Message request = context.request
        if (request.number(H_EXPIRES) == 0 and context.group is None
                and self.router.upstream_of(request.p, &request.uri) is None
                and self.redial.cancel_later(context.caller, context.callee, request, context.flow,
                                             context.tag_of_best(status), now)):
            context.server.marks |= OFFERS
        return 0

    cdef int call_over(self, ResponseContext context, int status, int64_t now) except -1:
        return self.redial.call_failed(context.caller, context.callee, context.request, context.flow, context.vouched, status,
                                       now - context.rang_at if context.rang_at else -1, now)

    cdef bint is_absent(self, ResponseContext context, int status, int64_t now) except -1:
        if context.group is not None:
            return context.vouched and self.forget_absent(context.callee, status, now)
        # Silence, and nobody's word: all phones that were called are in doubt now. Behind an upstream nobody has said who calls.
        return (context.best is None and (status == 408 or status == 480)
                and not self.location.is_reachable(context.callee, now)
                and self.router.upstream_of(context.request.p, &context.request.uri) is None)

    cdef bint forget_absent(self, bytes callee, int status, int64_t now) except -1:
        if status == 404 and self.store.is_known(callee):
            if self.location.is_bound(callee, now):
                self.events.gone(callee, "its upstream says 404")
            self.store.put_bindings(callee, ())   # what we had learned is out of date: the next REGISTER is a return
            return True
        if status != 480 and status != 408 and status != 430 or self.location.is_reachable(callee, now):
            return False                      # with a binding known to us, a 480 is the phone's own word (RFC 3261 §21.4.18)
        return status == 480 or self.location.is_bound(callee, now)     # its phones are in doubt

    # ---- phones that do not answer

    cdef int silent(self, ResponseContext context, Flow place, int64_t now) except -1:
        try:
            self.doubts.silent(called(context), place, now)
        except Exception as error:
            self.commits.stumble("doubt-failed", error, now)

    cdef int heard(self, ResponseContext context, Flow place, int64_t now) except -1:
        try:
            self.doubts.heard(called(context), place, now)
        except Exception as error:
            self.commits.stumble("doubt-failed", error, now)

    cdef Message registered(self, ResponseContext context, Message response, int64_t now):
        return self.registrations.accepted(context, response, now)

    cdef bint lost(self, ResponseContext context, int64_t now) except -1:
        # An address of its upstream does not serve it: whether there is another way.
        cdef Message request = context.request
        cdef list targets
        cdef RoutePlan plan
        cdef Uri uri = request.uri
        self.router.plan(request, &plan)
        if plan.from_strict:
            request.parse_uri(plan.last, &uri)
        try:
            targets = self.destination.stand_in(request, &uri, context.group, context.tried(), now)
        except StoreError as error:
            self.commits.stumble("rerouting-failed", error, now)
            targets = None
        if self.destination.dead is not None:
            context.retry_after = self.destination.dead.retry_after()
        if not targets:
            return False
        context.group = self.destination.group
        self.rerouted += 1
        return self.proxy.fork(context, targets, &plan,
                               self.registrations.path_lines(request, context.flow) if (
                                   request.method == M_REGISTER and context.original is None) else b"", now)

    # ---- who is not there

    cdef int unbound(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1:
        # A user of ours without a binding: 480, and perhaps a watch.
        cdef object offer = None
        if caller is not None:
            offer = self.redial.unavailable(
                request, flow, caller, callee, self.is_local(caller), self.identity(request, flow), server.tag(), now)
        elif callee is not None and is_keepable(&request.sender.uri):
            self.events.not_watched(canonical_aor(request.p, &request.sender.uri), callee,
                                    "it comes from the upstream" if self.router.is_upstream(flow)
                                    else "nobody knows whom it is from")
        return self.not_here(server, request, flow, offer, now)

    cdef int cut_off(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1:
        # The upstream is down. RFC 3261 §21.5.4; whether the callee is absent nobody knows, so that this arms nothing.
        # Nor has anybody asked for a password.
        if caller is not None:
            if self.redial.senders.vouch_unasked(caller, request, flow, now):
                self.started(request, flow, caller, callee, False, now)
                self.redial.call_failed(caller, callee, request, flow, False, 503, -1, now)
            self.events.not_watched(caller, callee, "the upstream is down")
        return self.answers.respond(server, request, flow, 503, self.destination.dead.retry_after(), now)

    cdef bint is_local(self, bytes caller) except -1:
        cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(caller)
        cdef Uri uri
        return not self.local_callers or (
            parse_uri_at(p, 0, <int>PyBytes_GET_SIZE(caller), &uri) == 1 and self.router.is_served(p, &uri))

    cdef bytes identity(self, Message request, Flow flow):
        if self.destination.peers.may(flow, RIGHT_IDENTITY):
            return by_peer
        # Whom or for whom an upstream asks, the speaker has not asked.
        if (self.redial.senders.passwords and self.router.is_served(request.p, &request.sender.uri)
                and self.router.upstream_of(request.p, &request.sender.uri) is None
                and self.router.upstream_of(request.p, &request.uri) is None):
            return by_password
        return nobody

    cdef int not_here(self, ServerTransaction server, Message request, Flow flow, object offer, int64_t now) except -1:
        cdef bytes extra = b"", reason = None
        cdef Py_ssize_t place = self.batch.place()
        if offer is not None:
            reason, extra = offer
            # The caller is to learn of it: a phone that is registered by this flow is told until it acknowledges (§17.2.1).
            if not self.transactions.proven.has(server.flow, now) and self.location.is_registered_by(
                    canonical_aor(request.p, &request.sender.uri), answer_flow(request, flow), now):
                server.credit = self.transactions.own
            server.marks |= OFFERS
        if server.respond(make_response(request, 480, flow, server.tag(), extra, reason, b""), 480, now) and offer is not None:
            self.batch.promise(place, request, flow, server)
        return 0

    # ---- what people are told

    cdef int unwatched(self, ResponseContext context, int status) except -1:
        cdef str why = None
        if context.best_status == OUTCOME_UNREACHABLE:
            why = "the callee's phone is registered, and cannot be reached"
        elif status == 404 and context.group is not None:
            why = "the upstream says 404, and the callee has never been seen registered"
        elif status == 480:
            why = "the callee's phone is registered, and says 480 itself"
        elif status == 486 or status == 600:
            why = "the callee is busy, which is not watched"
        elif status == 408:
            why = "the callee does not answer, which is not watched"
        # In this order: where nobody is told, the store is not asked.
        if why is not None and self.events.wants(NOT_ARMED) and not self.redial.is_recalled(context.caller, context.callee):
            self.events.add("call-not-watched", {"callee": context.callee, "caller": context.caller, "why": why})
        return 0


# Who is called: where an upstream sends the call to a phone, To says it.
cdef bytes called(ResponseContext context):
    cdef Message request = context.request
    return context.callee if context.callee is not None else canonical_aor(request.p, &request.target.uri)
