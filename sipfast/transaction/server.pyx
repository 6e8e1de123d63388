"""Server transactions (RFC 3261 §17.2, RFC 6026 §8.5 to §8.8).

The state machines are the tables of `machines`; here `handle` carries out their rows.
"""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._parser cimport M_INVITE, Message
from .._writer cimport make_response, warning_line
from ..trust.proven cimport MOST_TIMES
from .client cimport ResponseHandler
from .index cimport index_add, index_remove
from .machines cimport (
    ACCEPTED, COMPLETED, CONFIRMED, FAIL, KEEP, ON_2XX, ON_REQUEST, PROCEEDING, SEND, STOP, TERMINATED, Step, event_of,
    server_machine,
)
from .matching cimport Key, method_of, tag_of
from .transaction cimport LEGACY, MOST_UDP, MOVED, OFFERS, PATIENCE, STRAYED, Surroundings, Transaction

cdef bytes NO_DATAGRAM = b"The answer is larger than any datagram"
cdef bytes UNPROVEN = b"The answer is too large for an address that has proven nothing: it has to answer a request first"


cdef bytes too_large(Message request, Flow flow, bytes tag, Py_ssize_t size):
    cdef bytes host = request.text(request.uri.host)
    if size > MOST_UDP:                       # RFC 3261 §21.5.7
        return make_response(request, 513, flow, tag, warning_line(host, NO_DATAGRAM), None, b"")
    # What was asked for is done, and who is there can prove it meanwhile: §21.5.1 has it ask again a little later.
    return make_response(request, 500, flow, tag, b"Retry-After: 5\r\n" + warning_line(host, UNPROVEN), None, b"")


cdef class Handler(ResponseHandler):

    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1:
        return 0

    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1:
        return 0

    cdef int64_t held(self) noexcept:
        return 0


@cython.final
@cython.no_gc
cdef class ServerTransaction(Transaction):

    cpdef int respond(self, bytes response, int status, int64_t now) except -1:
        if self.state == TERMINATED:
            return 0
        if self.request is None or self.flow.reliable():
            pass
        elif PyBytes_GET_SIZE(response) > MOST_UDP or (
                not self.invite and PyBytes_GET_SIZE(response) > MOST_TIMES * self.origin_size()
                and not self.layer.proven.has(self.flow, now)):
            status = 513 if PyBytes_GET_SIZE(response) > MOST_UDP else 500
            response = too_large(self.request, self.flow, self.tag(), PyBytes_GET_SIZE(response))
        return 1 if self.handle(event_of(status), response, now) & SEND else 0

    cdef Py_ssize_t origin_size(self) noexcept:
        if self.request is not None:
            return PyBytes_GET_SIZE(self.request.data)
        return PyBytes_GET_SIZE(self.data) if self.data is not None else 0

    cdef bint is_answer(self) noexcept:
        return True

    cdef int unanswer(self) except -1:
        if self.credit is not None and self.data is not None:
            self.credit.give_back(PyBytes_GET_SIZE(self.data))
        if self.marks & OFFERS:
            self.marks &= ~OFFERS
            self.layer.witness.withdrawn(self.tag())
        if self.state == ACCEPTED or self.state == COMPLETED:
            self.stop_timers()
            self.state = PROCEEDING
            self.data = None
        return 0

    cpdef int retract(self, bytes response, int status, int64_t now) except -1:
        self.unanswer()
        return self.respond(response, status, now)

    cdef int handle_timer(self, int event, int64_t now) except -1:
        return self.handle(event, None, now)

    # What the row's actions were, 0 where there is no row.
    cdef int handle(self, int event, bytes response, int64_t now) except -1:
        cdef Surroundings layer = self.layer
        cdef Step step = self.machine.steps[self.state][event]
        cdef bint fresh = response is not None
        if not step.actions:
            return 0
        if step.actions & STOP:
            self.stop_timers()
        if event == ON_REQUEST:
            layer.retransmissions_received += 1
        if step.actions & KEEP:
            self.data = response
            self.weigh(self.request.data if self.request is not None else None)
            if step.next == COMPLETED or step.next == ACCEPTED:
                if not layer.finished:
                    layer.finished_since = now
                layer.finished.append(self)
        self.state = step.next
        if step.actions & SEND:
            if not fresh:
                response = self.data
            if response is not None:
                if layer.guide is not None and (self.invite or not fresh):
                    # While a phone rings, the caller's NAT may have forgotten where it is.
                    self.redirect(layer.guide.follow(self.flow, response, self.slot, now))
                if event == ON_2XX and self.invite and layer.guide is not None and not layer.proven.has(self.flow, now):
                    response = layer.guide.entrust(response, self.flow, now)
                if self.send(response, now):
                    layer.retransmissions_sent += not fresh
                else:
                    step.actions &= ~SEND
        if step.resend or step.end:
            self.start_timers(step.resend, step.end, now)
        if step.next == CONFIRMED and not self.marks & LEGACY:
            self.data = None
            self.weigh(self.request.data if self.request is not None else None)
        elif step.next == TERMINATED:
            if step.actions & FAIL:
                self.over = True
                layer.timeouts += 1
            self.terminate(now)
        return step.actions

    @property
    def to_tag(self):
        return self.tag() or None

    # Made when somebody asks: a proxied request never needs one.
    cdef bytes tag(self):
        # Of the address, too: who has seen the tag of a request of his own cannot acknowledge one that he has forged. It
        # stays when the address changes (RFC 3261 §12.1.1: a dialog has one).
        cdef uint64_t address
        if self.layer is None:
            return b""                        # terminated: nothing is answered any more
        address = self.first if self.marks & MOVED else self.layer.proven.hash_of(self.flow)
        return tag_of(&self.layer.secret, self.by_key.hash ^ address, self.key_high)

    cdef int redirect(self, Flow flow) noexcept:
        if not self.marks & MOVED and not flow.same_peer(self.flow):
            self.first = self.layer.proven.hash_of(self.flow)
            self.marks |= MOVED
        # One host is one place: its NAT gives it another port now and then.
        if not flow.same_host(self.flow):
            self.marks |= STRAYED
        self.flow = flow
        return 0

    # The response that an ACK would acknowledge; None where there is none yet or none any more.
    cdef bytes final_response(self):
        return self.data if self.state == COMPLETED or self.state == CONFIRMED else None

    cdef int64_t held(self) noexcept:
        return self.weight + (self.handler.held() if self.handler is not None else 0)

    # After the commit of its final response: what is left absorbs retransmissions.
    cdef int shrink(self) except -1:
        if self.state == TERMINATED or self.state < ACCEPTED:
            return 0
        if not self.marks & LEGACY:
            self.request = None               # §17.2.3: old peers are matched by the request itself
        if self.state == ACCEPTED:
            self.data = None                  # RFC 6026 §7.1: nothing is sent again
        self.weigh(self.request.data if self.request is not None else None)
        return 0

    cdef int terminate(self, int64_t now) except -1:
        cdef Surroundings layer = self.layer
        cdef Handler handler = self.handler
        self.stop_timers()
        self.state = TERMINATED
        self.handler = None
        self.request = None
        self.data = None
        self.weigh(None)
        self.layer = None
        self.credit = None
        layer.forget(self)
        index_remove(&layer.by_merge, &self.by_merge)
        if index_remove(&layer.by_key, &self.by_key):
            layer.servers -= 1
            Py_DECREF(self)
        if layer.finished and now - layer.finished_since >= PATIENCE:
            layer.shrink_finished()
        if handler is not None:
            handler.on_gone(self, now)
        return 0


cdef ServerTransaction make_server(Surroundings layer, Message request, Flow flow, const Key *key):
    cdef ServerTransaction transaction = ServerTransaction.__new__(ServerTransaction)
    transaction.layer = layer
    transaction.invite = request.method == M_INVITE
    transaction.machine = server_machine(transaction.invite)
    transaction.state = transaction.machine.initial.next
    transaction.method = method_of(request.p, request.method, request.method_name)
    transaction.flow = flow
    if layer.guide is not None:
        transaction.slot = layer.guide.moves_made
    transaction.request = request
    transaction.marks = LEGACY if key.legacy else 0
    transaction.key_high = key.high
    transaction.by_key.hash = key.low
    index_add(&layer.by_key, &transaction.by_key, <void *>transaction)
    transaction.weigh(request.data)
    Py_INCREF(transaction)
    layer.servers += 1
    return transaction
