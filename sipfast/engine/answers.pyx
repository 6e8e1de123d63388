"""What the server answers itself: without a transaction where that will do (RFC 3261 §8.2.7), and what people are told of it."""

import logging

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._parser cimport H_REQUIRE, H_VIA, M_ACK, Cursor, Message, Span, Uri, span_is
from .._writer cimport make_response, stateless_tag
from ..observe.events cimport Events
from ..routing.outbound cimport answer_flow
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction, too_large
from ..transaction.transaction cimport MOST_UDP

log = logging.getLogger("sipfast.engine")

cdef enum:
    REMARK_EVERY = 10_000        # ms
    MOST_NAMED = 16              # option tags that a 420 names: none has more to learn from it


@cython.final
cdef class Answers:

    cdef int answer(self, Message request, Flow flow, int status, bytes extra) except -1:
        if status >= 400:
            self.refused(request, flow, status, extra)
        return self.challenge(request, flow, status, extra)

    cdef int challenge(self, Message request, Flow flow, int status, bytes extra) except -1:
        cdef bytes tag = stateless_tag(request, self.secret)
        cdef bytes response = make_response(request, status, flow, tag, extra, None, b"")
        self.stateless += 1
        if PyBytes_GET_SIZE(response) > MOST_UDP:
            response = too_large(request, flow, tag, PyBytes_GET_SIZE(response))
        self.transactions.pass_on(response, answer_flow(request, flow), True)
        return 0

    cdef int reject(self, Message request, Flow flow, int status, bytes extra) except -1:
        if request.method == M_ACK:
            self.discarded += 1
            return 0
        return self.answer(request, flow, status, extra)

    cdef int malformed(self, Message message, Flow flow) except -1:
        # A malformed message. Only a request with a readable Via can be answered; an ACK and a response never are.
        self.broken += 1
        if message.status or message.method == M_ACK or message.first[<int>H_VIA] == -1:
            return 0
        if message.via.host.end == message.via.host.start:
            return 0
        return self.answer(message, flow, message.error, b"")

    cdef int respond(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra,
                     int64_t now) except -1:
        if status >= 400:
            self.refused(request, flow, status, extra)
        return server.respond(make_response(request, status, flow, server.tag(), extra, None, b""), status, now)

    # ---- what people are told

    cdef int refused(self, Message request, Flow flow, int status, bytes extra) except -1:
        cdef str why = ""
        if self.remarked is request:          # that line says more
            return 0
        if extra and b'"' in extra:           # of a Warning
            why = extra.split(b'"')[1].decode("utf-8", "replace")
        return self.events.refused(status, request.method, request.text(request.method_name), peer_of(flow), why)

    cdef int remark(self, Message request, Uri *uri, int64_t now) except -1:
        # Once in a while: anybody may ask for anything.
        if now >= self.remark_at:
            self.remark_at = now + REMARK_EVERY
            self.remarked = request
            log.warning("domain-not-served", extra={"sip": {
                "host": request.text(uri.host).decode("ascii", "replace"),
                "method": request.text(request.method_name).decode("ascii"),
                "keys": "domains, [[upstream]], [[peer]]"}})
        return 0


cdef Answers make_answers(TransactionLayer transactions, Events events, uint64_t secret):
    cdef Answers answers = Answers.__new__(Answers)
    answers.transactions = transactions
    answers.events = events
    answers.secret = secret
    return answers


cdef bytes peer_of(Flow flow):
    return (b"[%b]:%d" if flow.family == 6 else b"%b:%d") % (flow.host_text(), flow.port)


cdef bytes unsupported_line(Message request, int header):
    # The option tags that we do not understand (RFC 3261 §8.2.2.3, §16.3 step 5); Require may ask for path, which we do.
    cdef Cursor cursor
    cdef Span value
    cdef list unknown = []
    request.cursor(header, &cursor)
    while len(unknown) < MOST_NAMED and request.next_value(&cursor, &value):
        if header == H_REQUIRE and span_is(request.p, value, b"path"):
            continue
        unknown.append(request.text(value))
    return b"Unsupported: " + b", ".join(unknown) + b"\r\n" if unknown else b""
