"""What comes of a REGISTER: here (RFC 3261 §10.3), on its way to an upstream, and with the upstream's 200.

Each tells redial and people of who has come and gone, and other workers of phones that have moved.
"""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport H_CONTACT, H_REQUIRE, H_SUPPORTED, SCHEME_SIP, SCHEME_SIPS, Address, Cursor, Message, Span, canonical_aor
from .._writer cimport stateless_tag, warning_line
from ..routing.outbound cimport answer_flow
from ..store.keys cimport MOST_AOR, is_keepable
from ..transaction.server cimport ServerTransaction, too_large
from .answers cimport peer_of, unsupported_line

from ..store.records import Move, encode_move


cdef enum:
    MOST_FORWARDED = 64         # Contacts of a REGISTER for an upstream: each is compared with what the upstream's 200 lists

cdef bytes LONG_USER = warning_line(b"sipfast", b"A user and host of more than %d bytes" % MOST_AOR)
cdef bytes MANY_CONTACTS = warning_line(b"sipfast", b"More than %d Contacts" % MOST_FORWARDED)


@cython.final
cdef class Registrations:

    cdef int register(self, Message request, Flow flow, int64_t now) except -1:
        # RFC 3261 §10.3; the answer is a function of the request and the store, so no transaction is kept (§8.2.7).
        cdef bytes aor
        cdef bytes response
        cdef object extra
        cdef Py_ssize_t place
        cdef Flow way
        if request.target.uri.scheme not in (SCHEME_SIP, SCHEME_SIPS):
            return self.answers.answer(request, flow, 400, b"")    # §10.2, RFC 4475 §3.3.4: an AOR is a SIP or SIPS URI
        if request.has(H_REQUIRE):
            extra = unsupported_line(request, H_REQUIRE)   # §10.3 step 2
            if extra:
                return self.answers.answer(request, flow, 420, extra)
        if not self.router.is_served(request.p, &request.target.uri):
            return self.answers.answer(request, flow, 404, b"")    # §10.3 step 5
        if not is_keepable(&request.target.uri):
            return self.answers.answer(request, flow, 404, LONG_USER)       # nobody's either
        aor = canonical_aor(request.p, &request.target.uri)
        response = self.registrar.register(request, flow, aor, now)
        self.answers.stateless += 1
        way = answer_flow(request, flow)
        if not self.transactions.may_send(PyBytes_GET_SIZE(response), way, True):
            response = too_large(request, flow, stateless_tag(request, self.answers.secret), PyBytes_GET_SIZE(response))
        place = self.batch.place()
        if self.transactions.pass_on(response, way, True):
            self.batch.promise(place, request, flow, None)
        if self.registrar.unproven:
            self.probe.ask(aor, self.transactions.payer(), now)
        if self.registrar.doubted:
            self.doubts.ask(aor, False, now)
        if self.registrar.moves:
            self.moved(self.registrar.moves, now)
        if self.registrar.newly_bound:
            self.limiter.registered(flow, way, now)
            self.registered(aor, flow, now)
            self.observer.bound(aor, now)
        elif self.registrar.newly_unbound:
            self.events.gone(aor, "its phone has logged out")
        elif self.registrar.refused:
            self.answers.refused(request, flow, self.registrar.refused, b"")
        else:
            if request.has(H_CONTACT):
                self.limiter.registered(flow, way, now)
            self.observer.refreshed(aor, now)
        return 0

    cdef int forward(self, ServerTransaction server, Message request, Flow flow, list targets, RoutePlan *plan, Group group,
                     int64_t now) except -1:
        cdef ResponseContext context
        cdef Message hidden
        if not is_keepable(&request.target.uri):
            return self.answers.respond(server, request, flow, 404, LONG_USER, now)
        if count_contacts(request, MOST_FORWARDED + 1) > MOST_FORWARDED:
            return self.answers.respond(server, request, flow, 400, MANY_CONTACTS, now)
        if group is None or not group.by_token:
            self.proxy.forward(server, request, flow, targets, plan, self.path_lines(request, flow), group, None, None, now)
            return 0
        hidden = self.mid_registrar.hidden(request, flow, canonical_aor(request.p, &request.target.uri), now)
        if hidden.error:                      # our URIs are longer than its Contacts
            return self.answers.respond(server, request, flow, hidden.error, b"", now)
        context = self.proxy.forward(server, hidden, flow, targets, plan, b"", group, None, None, now)
        context.original = request
        return 0

    cdef int come_elsewhere(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        # The very same REGISTER by another flow. Anybody could have sent it, so what it says waits for the upstream's word.
        cdef ResponseContext context
        if server.handler is not None:
            context = <ResponseContext?>server.handler
            if context.first_flow is None:
                context.first_flow = context.flow
            context.flow = flow
        elif self.router.is_served(request.p, &request.target.uri):
            self.registrar.follow_copy(request, flow, canonical_aor(request.p, &request.target.uri), now)
            self.moved(self.registrar.moves, now)
        return 0

    cdef Message accepted(self, ResponseContext context, Message response, int64_t now):
        cdef Message request = context.request if context.original is None else context.original
        cdef bytes aor = canonical_aor(request.p, &request.target.uri)
        try:
            if context.original is not None:
                response = self.mid_registrar.restored(
                    request, response, context.flow if context.first_flow is None else context.first_flow, aor, now)
                self.mid_registrar.remember(aor)
            if not self.router.is_served(request.p, &request.target.uri):
                return response
            if self.commits.later:
                self.batch.learn_from(request, response, context.flow, context.first_flow)
            self.learn(request, response, context.flow, context.first_flow, aor, now)
        except Exception as error:
            self.commits.stumble("learning-failed", error, now)
        return response

    cdef int learn(self, Message request, Message response, Flow flow, Flow first, bytes aor, int64_t now) except -1:
        self.learning.learn(request, response, flow, aor, now)
        self.moved(self.learning.moves, now)
        if self.learning.unproven:
            self.probe.ask(aor, self.transactions.payer(), now)
        if self.learning.doubted:
            self.doubts.ask(aor, False, now)
        if self.learning.newly_unbound:
            self.events.gone(aor, "its phone has logged out")
        if first is not None:
            self.moved_meanwhile(request, flow, first, aor, now)
        self.limiter.registered(flow, answer_flow(request, flow), now)
        if self.learning.newly_bound:
            self.registered(aor, flow, now)
            self.observer.bound(aor, now)
        else:
            self.observer.refreshed(aor, now)
        return 0

    # ---- phones whose flow has changed

    cdef int load_moves(self) except -1:
        for move in sorted(self.store.moves(), key=by_expiry):
            self.outbound.moved(move)
        return 0

    cdef int moved(self, list moves, int64_t now) except -1:
        if self.mail.worker:
            self.outbound.expire(now)         # worker 0 has the store forget them
        for move in moves:
            self.outbound.moved(move)
            if self.mail.workers > 1:
                self.mail.post_to_all(b"V" + encode_move(move))
        return 0

    cdef int moved_meanwhile(self, Message request, Flow flow, Flow first, bytes aor, int64_t now) except -1:
        # The upstream has our token for the flow that the REGISTER came by at first.
        cdef Flow old = self.way_of(request, first)
        move = Move(old.pack(), self.way_of(request, flow).pack(), aor, contact_of(request), now + self.longest_call)
        self.store.put_move(move)
        return self.moved([move], now)

    cdef bytes path_lines(self, Message request, Flow flow):
        # RFC 3327 §5.2: requests for the phone come back through us. A phone that does not say that it knows Path
        # would make a strict registrar refuse; nothing is asked of the phone, so we say it.
        cdef bytes lines = self.outbound.path(self.way_of(request, flow), canonical_aor(request.p, &request.target.uri))
        if not request.lists_token(H_SUPPORTED, b"path"):
            lines += b"Supported: path\r\n"
        return lines

    cdef Flow way_of(self, Message request, Flow flow):
        # To the phone that sends a REGISTER.
        cdef Address address
        if read_contact(request, &address):
            return self.location.way(request, flow, &address.uri, True)
        return answer_flow(request, flow)

    cdef int registered(self, bytes aor, Flow flow, int64_t now) except -1:
        if self.events.wants_registered():
            binding = self.location.lookup(aor, now)[0]
            self.events.add("registered", {"aor": aor, "contact": binding.contact, "peer": peer_of(flow),
                                           "seconds": (<int64_t>binding.expires - now) // 1000})
        return 0


# How many Contacts there are; it counts no further than `most`.
cdef int count_contacts(Message request, int most) noexcept:
    cdef Cursor cursor
    cdef Span value
    cdef int count = 0
    request.cursor(H_CONTACT, &cursor)
    while count < most and request.next_value(&cursor, &value):
        count += 1
    return count


# The first Contact.
cdef bint read_contact(Message request, Address *address) noexcept:
    cdef Cursor cursor
    cdef Span value
    request.cursor(H_CONTACT, &cursor)
    return request.next_value(&cursor, &value) and request.parse_address(value, address) == 1


cdef bytes contact_of(Message request):
    cdef Address address
    return request.text(address.uri.all) if read_contact(request, &address) else b""


def by_expiry(move):
    """Sort key of moves: all are kept for the same time, so the order of their ends is that of their beginnings."""
    return move.expires
