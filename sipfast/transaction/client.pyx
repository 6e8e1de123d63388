"""Client transactions (RFC 3261 §17.1, RFC 6026 §8.4).

The state machines are the tables of `machines`; here `handle` carries out their rows.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t

from .._flow cimport Flow
from .._parser cimport M_CANCEL, M_INVITE, Message, Span, method_id, parse_message
from .._writer cimport make_ack, make_cancel
from .branch cimport Slot
from .machines cimport (
    ACCEPTED, ACK, CALLING, COMPLETED, FAIL, ON_1XX, ON_300, ON_CANCELLED, ON_ERROR, ON_TIMEOUT, PROCEEDING, SEND, STOP, TELL,
    TERMINATED, Step, client_machine,
)
from .matching cimport method_of
from .transaction cimport CANCEL_SENT, CANCEL_WANTED, MOVED, PROVISIONAL, Surroundings, Transaction

UNREACHABLE = OUTCOME_UNREACHABLE


cdef class ResponseHandler:

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        return 0

    cpdef int on_fault(self, int64_t now) except -1:
        return 0


@cython.final
@cython.no_gc
cdef class ClientTransaction(Transaction):

    @property
    def provisional(self):
        return self.marks & PROVISIONAL != 0

    @property
    def request(self):
        """The request as sent; None once its final response has been dealt with."""
        return self.sent()

    cdef Message sent(self):
        # What is kept after a non-2xx final response to INVITE is the ACK.
        if self.parsed is None and self.data is not None and not (self.invite and self.state == COMPLETED):
            self.parsed = parse_message(self.data)
        return self.parsed

    cdef int handle_timer(self, int event, int64_t now) except -1:
        return self.handle(event, None, now)

    cdef int begin(self, int64_t now) except -1:
        cdef Step step = self.machine.initial
        if not self.send(self.data, now):
            # It is not there for whoever waits for it; not at once, as above.
            self.layer.wheel.schedule(now, self, ON_ERROR)
        return self.start_timers(step.resend, step.end, now)

    cdef int handle(self, int event, Message response, int64_t now) except -1:
        cdef Surroundings layer = self.layer
        cdef ResponseHandler handler = self.handler
        cdef Step step = self.machine.steps[self.state][event]
        if not step.actions:
            return 0
        if step.actions & STOP:
            self.stop_timers()
        if self.state == COMPLETED and event <= ON_300:
            layer.retransmissions_received += 1
        if step.actions & ACK:
            self.data = make_ack(self.sent(), response)
            self.weigh(None)
        self.state = step.next
        if step.actions & (SEND | ACK):
            self.follow_phone(now)
            if self.send(self.data, now):
                layer.retransmissions_sent += step.actions & SEND != 0
        if step.resend or step.end:
            self.start_timers(step.resend, step.end, now)
        if step.next == TERMINATED:
            self.over = event == ON_TIMEOUT or event == ON_CANCELLED
            layer.timeouts += self.over
            self.terminate()
            if step.actions & FAIL and handler is not None:
                try:
                    handler.on_failure(self, OUTCOME_UNREACHABLE if event == ON_ERROR else 408, now)
                except Exception:
                    handler.on_fault(now)
                    raise
            return 0
        if event == ON_1XX:
            self.marks |= PROVISIONAL
        if step.actions & TELL and handler is not None:
            try:
                handler.on_response(self, response, now)
            except Exception:
                handler.on_fault(now)
                raise
        if event != ON_1XX and step.actions & TELL:
            self.shrink()
        elif self.marks & CANCEL_WANTED and self.state == PROCEEDING:
            self.send_cancel(now)
        return 0

    # After its final response: an INVITE keeps its ACK or passes on 2xx, any other request only absorbs.
    cdef int shrink(self) except -1:
        self.parsed = None
        if self.state == ACCEPTED:
            self.data = None
            self.flow = None
        elif self.state == COMPLETED and not self.invite:
            self.data = None
            self.flow = None
            self.handler = None
        self.weigh(None)
        return 0

    cpdef int cancel(self, int64_t now, bytes why=b"") except -1:
        if not self.invite or self.marks & (CANCEL_WANTED | CANCEL_SENT):
            return 0
        self.why = why
        if self.state == CALLING:
            self.marks |= CANCEL_WANTED       # §9.1: it waits for a provisional response
        elif self.state == PROCEEDING:
            self.send_cancel(now)
        return 0

    cdef int send_cancel(self, int64_t now) except -1:
        cdef Surroundings layer = self.layer
        self.follow_phone(now)
        cdef ClientTransaction cancel = make_client(layer, make_cancel(self.sent(), self.why), self.slot, self.flow, None)
        self.marks ^= (self.marks & CANCEL_WANTED) | CANCEL_SENT
        cancel.credit = self.credit
        self.end_timer = layer.wheel.schedule(now + 64 * layer.t1, self, ON_CANCELLED)
        return cancel.begin(now)

    cdef int follow_phone(self, int64_t now) except -1:
        cdef Flow flow
        if self.layer.guide is not None:
            flow = self.layer.guide.follow(self.flow, self.data, 0, now)
            if not flow.same_peer(self.flow):
                self.marks |= MOVED
            self.flow = flow
        return 0

    cdef int stop_resending(self) except -1:
        if self.resend_timer:
            self.layer.wheel.cancel(self.resend_timer)
            self.resend_timer = 0
        return 0

    cdef int abandon(self) except -1:
        if self.state != TERMINATED:
            self.terminate()
        return 0

    cdef int terminate(self) except -1:
        cdef Surroundings layer = self.layer
        self.stop_timers()
        self.state = TERMINATED
        self.handler = None
        self.data = None
        self.parsed = None
        self.credit = None
        self.weigh(None)
        self.layer = None
        return free_slot(layer, self)


cdef ClientTransaction make_client(Surroundings layer, bytes request, uint32_t slot, Flow flow, ResponseHandler handler):
    # RFC 3261 §17.1.3: a CANCEL has its INVITE's branch, hence its slot.
    cdef ClientTransaction transaction = ClientTransaction.__new__(ClientTransaction)
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(request)
    cdef Span name = Span(0, 0)
    while p[name.end] > 32:
        name.end += 1
    transaction.method = method_of(p, method_id(p, name), name)
    transaction.invite = transaction.method == M_INVITE
    transaction.machine = client_machine(transaction.invite)
    transaction.state = transaction.machine.initial.next
    transaction.layer = layer
    transaction.slot = slot
    transaction.flow = flow
    transaction.handler = handler
    transaction.data = request
    transaction.weigh(None)
    if transaction.method == M_CANCEL:
        layer.slots.slots[slot].cancel = <void *>transaction
    else:
        layer.slots.slots[slot].transaction = <void *>transaction
    Py_INCREF(transaction)
    layer.clients += 1
    return transaction


cdef int free_slot(Surroundings layer, ClientTransaction transaction) except -1:
    cdef Slot *slot = &layer.slots.slots[transaction.slot]
    if slot.transaction == <void *>transaction:
        slot.transaction = NULL
    elif slot.cancel == <void *>transaction:
        slot.cancel = NULL
    if slot.transaction == NULL and slot.cancel == NULL:
        layer.slots.release(slot)
    layer.clients -= 1
    Py_DECREF(transaction)
    return 0
