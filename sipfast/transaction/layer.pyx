"""The transaction layer: RFC 3261 §17 as amended by RFC 6026, and merged requests (§8.2.2.2).

The four state machines are the tables of `machines`; here `happen` carries out their rows.

A server transaction is found by its key (`matching`) and method, a client transaction by the slot that our branch
names (`branch`).

Who holds whom: the layer holds every live transaction (slots and index), a transaction holds its layer and its handler,
and a handler usually its transaction. Termination cuts all of that, so that the classes need no garbage collector.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t, uint64_t

from .branch cimport Locator, Slot, decode_branch, make_slots
from ..trust.credit cimport Credit, make_credit, make_unlimited
from .._flow cimport Flow, Sink
from .index cimport (
    Link, index_add, index_close, index_first, index_foresee, index_next, index_open, index_remove,
)
from .machines cimport (
    ACCEPTED,
    ACK,
    CALLING,
    COMPLETED,
    CONFIRMED,
    FAIL,
    KEEP,
    ON_1XX,
    ON_2XX,
    ON_300,
    ON_ACK,
    ON_CANCELLED,
    ON_ERROR,
    ON_REQUEST,
    ON_RESEND,
    ON_TIMEOUT,
    PROCEEDING,
    SEND,
    STOP,
    TELL,
    TERMINATED,
    Step,
    client_machine,
    kind_of,
    server_machine,
)
from .matching cimport identify, merge_hash, method_of, quoted_branch, same_legacy, tag_of
from .._parser cimport Cursor, H_VIA, M_ACK, M_CANCEL, M_INVITE, Message, Span, Via, method_id, parse_message
from .._wheel cimport Timed, Wheel
from .._writer cimport make_ack, make_cancel, make_response, warning_line
from ..trust.proven cimport MOST_TIMES, Proven, make_proven

from .machines import STATES, durations
from ..errors import TransportError

NEW, ABSORBED, MERGED, UNMATCHED = VERDICT_NEW, VERDICT_ABSORBED, VERDICT_MERGED, VERDICT_UNMATCHED
UNREACHABLE = OUTCOME_UNREACHABLE

cdef enum:
    ANY_BUT_CANCEL = 0xffffffff
    PATIENCE = 1000         # ms without `settle`
    ANSWERS = 2             # to an INVITE that is forwarded: 100 and a final one

cdef bytes NO_DATAGRAM = b"The answer is larger than any datagram"
cdef bytes UNPROVEN = b"The answer is too large for an address that has proven nothing: it has to answer a request first"


# ---- counting, for tests: whatever is alive shows here

cdef long objects = 0


def live_objects():
    """Transactions that exist in this process, whoever still holds them."""
    return objects


cdef bytes too_large(Message request, Flow flow, bytes tag, Py_ssize_t size):
    cdef bytes host = request.text(request.uri.host)
    if size > MOST_UDP:                       # RFC 3261 §21.5.7
        return make_response(request, 513, flow, tag, warning_line(host, NO_DATAGRAM), None, b"")
    # What was asked for is done, and who is there can prove it meanwhile: §21.5.1 has it ask again a little later.
    return make_response(request, 500, flow, tag, b"Retry-After: 5\r\n" + warning_line(host, UNPROVEN), None, b"")


cdef inline int event_of(int status) noexcept:
    return ON_1XX if status < 200 else ON_2XX if status < 300 else ON_300


cdef class Handler:

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        return 0

    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1:
        return 0

    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1:
        return 0

    cpdef int on_fault(self, int64_t now) except -1:
        return 0


cdef class Guide:

    cdef Flow follow(self, Flow flow, bytes data, uint32_t since, int64_t now):
        return flow

    cdef bytes entrust(self, bytes response, Flow flow, int64_t now):
        return response


@cython.no_gc
cdef class Transaction(Timed):

    def __cinit__(self):
        global objects
        objects += 1
        self.state = TERMINATED

    def __dealloc__(self):
        global objects
        objects -= 1

    @property
    def state_name(self):
        return STATES[self.state]

    @property
    def timed_out(self):
        return self.over != 0

    # RFC 3261 §17.2.1 has a response sent up to ten times, and once more for each copy of the request, to whoever the request
    # said to be from; §17.1.1.2 and §17.1.2.2 have a request sent as often to wherever a Contact said. A source is easily
    # forged and a Contact made up, so to who has proven nothing one datagram causes MOST_DATAGRAMS, and MOST_TIMES its bytes,
    # in all. Within that, and to all others, everything goes on as the RFC has it.
    cdef bint send(self, bytes data, int64_t now) except -1:
        if not self.pay(data, now):
            self.layer.withheld += 1
            return False
        try:
            self.layer.sink.send(data, self.flow)
        except TransportError:
            # Not at once: the caller may be the user, who does not have this transaction in hand yet.
            self.layer.transport_errors += 1
            self.layer.wheel.schedule(now, self, ON_ERROR)
        return True

    cdef bint pay(self, bytes data, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        if PyBytes_GET_SIZE(data) > MOST_UDP and not self.flow.reliable():
            return False
        if layer.proven.has(self.flow, now):
            if self.credit is None:
                self.credit = layer.credit    # other branches may have to be paid for
            return True
        if self.credit is layer.own:
            return True
        if layer.credit is layer.own and (self.credit is not None or self.is_answer()):      # a timer of somebody else's
            if self.credit is None:
                self.credit = make_credit(self.origin(), 0)
            return self.credit.spend(PyBytes_GET_SIZE(data), self.is_answer())
        # What a phone answers is that phone's datagram, also where that is to be sent again.
        if self.credit is None or self.state >= ACCEPTED:
            self.credit = layer.payer()
        return layer.is_own(self.flow) or layer.payer().spend(PyBytes_GET_SIZE(data), self.is_answer())

    cdef Py_ssize_t origin(self) noexcept:
        return PyBytes_GET_SIZE(self.data) if self.data is not None else 0

    cdef bint is_answer(self) noexcept:
        return False

    cdef int start_timers(self, int resend, int end, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        cdef bint reliable = self.flow.reliable()
        if resend and layer.after[resend - 65][reliable] >= 0:
            if self.interval == 0:
                self.interval = layer.after[resend - 65][reliable]
            else:
                self.interval *= 2
            if resend != b"A" and (self.interval > layer.t2 or (resend == b"E" and self.state == PROCEEDING)):
                self.interval = layer.t2
            self.resend_timer = layer.wheel.schedule(now + self.interval, self, ON_RESEND)
        if end:
            self.end_timer = layer.wheel.schedule(now + layer.after[end - 65][reliable], self, kind_of(end))
        return 0

    cdef void stop_timers(self) noexcept:
        if self.resend_timer:
            self.layer.wheel.cancel(self.resend_timer)
            self.resend_timer = 0
        if self.end_timer:
            self.layer.wheel.cancel(self.end_timer)
            self.end_timer = 0
        self.interval = 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        cdef TransactionLayer layer
        if self.state == TERMINATED:
            return 0
        if kind == ON_RESEND:
            self.resend_timer = 0
        elif kind != ON_ERROR:
            self.end_timer = 0
        layer = self.layer
        layer.resume(self.credit, self.origin(), now)
        self.run_out(kind, now)
        return layer.rest()

    cdef int run_out(self, int event, int64_t now) except -1:
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
                not self.invite and PyBytes_GET_SIZE(response) > MOST_TIMES * self.origin()
                and not self.layer.proven.has(self.flow, now)):
            status = 513 if PyBytes_GET_SIZE(response) > MOST_UDP else 500
            response = too_large(self.request, self.flow, self.tag(), PyBytes_GET_SIZE(response))
        return 1 if self.happen(event_of(status), response, now) & SEND else 0

    cdef Py_ssize_t origin(self) noexcept:
        if self.request is not None:
            return PyBytes_GET_SIZE(self.request.data)
        return PyBytes_GET_SIZE(self.data) if self.data is not None else 0

    cdef bint is_answer(self) noexcept:
        return True

    cpdef int retract(self, bytes response, int status, int64_t now) except -1:
        if self.state == ACCEPTED or self.state == COMPLETED:
            self.stop_timers()
            self.state = PROCEEDING
        if self.credit is not None and self.data is not None:
            self.credit.give_back(PyBytes_GET_SIZE(self.data))
        return self.respond(response, status, now)

    cdef int run_out(self, int event, int64_t now) except -1:
        return self.happen(event, None, now)

    # What the row's actions were, 0 where there is no row.
    cdef int happen(self, int event, bytes response, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
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
                    self.lead(layer.guide.follow(self.flow, response, self.slot, now))
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

    cdef int lead(self, Flow flow) noexcept:
        if not self.marks & MOVED and not flow.same_peer(self.flow):
            self.first = self.layer.proven.hash_of(self.flow)
            self.marks |= MOVED
        self.flow = flow
        return 0

    # The response that an ACK would acknowledge; None where there is none yet or none any more.
    cdef bytes final(self):
        return self.data if self.state == COMPLETED or self.state == CONFIRMED else None

    # After the commit of its final response: what is left absorbs retransmissions.
    cdef int shrink(self) except -1:
        if self.state == TERMINATED or self.state < ACCEPTED:
            return 0
        if not self.marks & LEGACY:
            self.request = None               # §17.2.3: old peers are matched by the request itself
        if self.state == ACCEPTED:
            self.data = None                  # RFC 6026 §7.1: nothing is sent again
        return 0

    cdef int terminate(self, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        cdef Handler handler = self.handler
        self.stop_timers()
        self.state = TERMINATED
        self.layer = None
        self.handler = None
        self.request = None
        self.data = None
        self.credit = None
        if layer.created is self:
            layer.created = None
        if layer.elsewhere is self:
            layer.elsewhere = None
        index_remove(&layer.by_merge, &self.by_merge)
        if index_remove(&layer.by_key, &self.by_key):
            layer.servers -= 1
            Py_DECREF(self)
        if layer.finished and now - layer.finished_since >= PATIENCE:
            layer.settle()
        if handler is not None:
            handler.on_gone(self, now)
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

    cdef int run_out(self, int event, int64_t now) except -1:
        return self.happen(event, None, now)

    cdef int begin(self, int64_t now) except -1:
        cdef Step step = self.machine.initial
        if not self.send(self.data, now):
            # It is not there for whoever waits for it; not at once, as above.
            self.layer.wheel.schedule(now, self, ON_ERROR)
        return self.start_timers(step.resend, step.end, now)

    cdef int happen(self, int event, Message response, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        cdef Handler handler = self.handler
        cdef Step step = self.machine.steps[self.state][event]
        if not step.actions:
            return 0
        if step.actions & STOP:
            self.stop_timers()
        if self.state == COMPLETED and event <= ON_300:
            layer.retransmissions_received += 1
        if step.actions & ACK:
            self.data = make_ack(self.sent(), response)
        self.state = step.next
        if step.actions & (SEND | ACK):
            self.lead(now)
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
        cdef TransactionLayer layer = self.layer
        self.lead(now)
        cdef ClientTransaction cancel = layer.occupy(make_cancel(self.sent(), self.why), self.slot, self.flow, None)
        self.marks ^= (self.marks & CANCEL_WANTED) | CANCEL_SENT
        cancel.credit = self.credit
        self.end_timer = layer.wheel.schedule(now + 64 * layer.t1, self, ON_CANCELLED)
        return cancel.begin(now)

    cdef int lead(self, int64_t now) except -1:
        cdef Flow flow
        if self.layer.guide is not None:
            flow = self.layer.guide.follow(self.flow, self.data, 0, now)
            if not flow.same_peer(self.flow):
                self.marks |= MOVED
            self.flow = flow
        return 0

    cpdef int hush(self) except -1:
        if self.resend_timer:
            self.layer.wheel.cancel(self.resend_timer)
            self.resend_timer = 0
        return 0

    cpdef int abandon(self) except -1:
        if self.state != TERMINATED:
            self.terminate()
        return 0

    cdef int terminate(self) except -1:
        cdef TransactionLayer layer = self.layer
        self.stop_timers()
        self.state = TERMINATED
        self.layer = None
        self.handler = None
        self.data = None
        self.parsed = None
        self.credit = None
        return layer.vacate(self)


cdef class TransactionLayer:

    def __cinit__(self):
        index_open(&self.by_key)
        index_open(&self.by_merge)
        self.finished = []

    def __init__(self, timers, Wheel wheel not None, Sink sink not None, secret, int worker=0, Proven proven=None):
        cdef int t4 = round(timers.t4 * 1000)
        if not 0 <= worker <= 255:
            raise ValueError(f"not a worker's number: {worker}")
        self.t1 = round(timers.t1 * 1000)
        self.t2 = round(timers.t2 * 1000)
        for letter, (unreliable, reliable) in durations(self.t1, self.t2, t4).items():
            self.after[<int>ord(letter) - 65][0] = unreliable
            self.after[<int>ord(letter) - 65][1] = reliable
        self.wheel = wheel
        self.sink = sink
        self.secret.low = <uint64_t>(secret & 0xffffffffffffffff)
        self.secret.high = <uint64_t>(secret >> 64 & 0xffffffffffffffff)
        self.slots = make_slots(self.secret, worker, wheel.now)
        self.proven = proven if proven is not None else make_proven(self.secret.low ^ self.secret.high)
        self.own = self.credit = make_unlimited()
        self.listeners = []

    def __dealloc__(self):
        index_close(&self.by_key)
        index_close(&self.by_merge)

    # ---- who pays

    cdef int begin(self, Message datagram, int64_t now) except -1:
        self.created = self.elsewhere = None
        self.foreseen = False
        self.datagram = datagram
        self.taken = PyBytes_GET_SIZE(datagram.data)
        self.now = now
        self.credit = None
        self.answered = None
        return 0

    cdef int resume(self, Credit credit, Py_ssize_t taken, int64_t now) except -1:
        self.created = self.elsewhere = None
        self.datagram = None
        self.taken = taken
        self.now = now
        self.credit = credit
        self.answered = None
        return 0

    cdef int rest(self) except -1:
        self.datagram = self.answered = None
        self.credit = self.own
        return 0

    cdef bint answer_for(self, ServerTransaction server, int64_t now) except -1:
        if self.credit is not self.own:
            return False
        self.resume(server.credit, server.origin(), now)
        return True

    cdef Credit payer(self):
        cdef int kept = 0
        if self.credit is None:
            self.credit = self.of_spiral()
        if self.credit is None:
            if self.created is not None and not self.proven.has(self.created.flow, self.now):
                kept = ANSWERS if self.created.invite else 1
            self.credit = make_credit(self.taken, kept)
        if self.answered is not None:         # it was not counted yet
            if not self.proven.has(self.answered, self.now) and not self.is_own(self.answered):
                self.credit.spend(self.answer_size, True)
            self.answered = None
        return self.credit

    cdef Credit of_spiral(self):
        # A request that has come back to us with a Via of ours, at once or by an upstream, is still the datagram that it comes
        # from. What we do by ourselves pays for nobody.
        cdef Message request = self.datagram
        cdef Credit found = None
        cdef Cursor cursor
        cdef Span value
        cdef Via via
        if request is None or request.status or request.error:
            return None
        found = self.of_branch(request, request.via.branch)
        request.cursor(H_VIA, &cursor)
        request.next_value(&cursor, &value)       # the topmost one, which is parsed
        while found is None and request.next_value(&cursor, &value):
            if request.parse_via(value, &via) == 1:
                found = self.of_branch(request, via.branch)
        return found

    cdef Credit of_branch(self, Message request, Span branch):
        cdef Slot *slot = self.slots.locate(request.p + branch.start, branch.end - branch.start)
        cdef ClientTransaction sent
        if slot == NULL or slot.transaction == NULL:
            return None
        sent = <ClientTransaction>slot.transaction
        if sent.credit is None:
            sent.credit = make_credit(self.taken, 0)
        return sent.credit if sent.credit is not self.own else None

    cdef bint may_send(self, Py_ssize_t size, Flow flow, bint answer) except -1:
        if size > MOST_UDP and not flow.reliable():
            return False
        if answer and self.is_first_answer(size):
            return True
        return self.proven.has(flow, self.now) or self.is_own(flow) or self.payer().covers(size, answer)

    cdef bint pass_on(self, bytes data, Flow flow, bint answer) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if size <= MOST_UDP and answer and self.is_first_answer(size):
            self.answered = flow
            self.answer_size = size
        elif size > MOST_UDP and not flow.reliable() or not (
                self.proven.has(flow, self.now) or self.is_own(flow) or self.payer().spend(size, answer)):
            self.withheld += 1
            return False
        self.sink.send(data, flow)
        return True

    cdef bint is_first_answer(self, Py_ssize_t size) noexcept:
        # Nothing else has come of the datagram, so that its credit covers this whoever it goes to: that is not looked up.
        return (self.credit is None and self.answered is None and self.created is None and self.datagram is not None
                and size <= MOST_TIMES * self.taken)

    cdef bint is_own(self, Flow flow) noexcept:
        cdef Flow each
        for each in self.listeners:
            if each.same_peer(flow):
                return True
        return False

    cdef int prove(self, Flow flow, int64_t now) except -1:
        # Whoever has sent this got what we sent there. That we did proves nothing about those behind.
        if not self.is_own(flow):
            self.proven.add(flow, now)
        return 0

    # ---- requests

    cdef int foresee(self, Message request) except -1:
        self.foreseen = True
        identify(&self.secret, request, &self.key)
        index_foresee(&self.by_key, self.key.low)
        if request.target.tag.end == request.target.tag.start and request.method != M_ACK and request.method != M_CANCEL:
            self.merge = merge_hash(&self.secret, request)
            index_foresee(&self.by_merge, self.merge)
        return 0

    cdef int receive_request(self, Message request, Flow flow, int64_t now) except -1:
        cdef ServerTransaction found
        cdef Credit before
        if self.finished and now - self.finished_since >= PATIENCE:
            self.settle()
        if not self.foreseen or request is not self.datagram:
            self.foresee(request)
        if request.method == M_ACK:
            return self.take_ack(request, now)
        found = self.find(request, method_of(request.p, request.method, request.method_name))
        if found is not None:
            if not found.flow.same_peer(flow):
                # RFC 3261 §18.2.2: answers go to where the request comes from. Its sender's NAT has forgotten it meanwhile.
                found.lead(flow)
                self.elsewhere = found
            before = found.credit
            found.happen(ON_REQUEST, None, now)
            if before is not None:            # what this one has left goes to what the first has caused, which it stands for, too
                before.renew(self.payer())
                found.credit = before
            return VERDICT_ABSORBED
        if request.method == M_CANCEL:
            return self.take_cancel(request, flow, now)
        if request.target.tag.end == request.target.tag.start:
            return self.take_initial(request, flow, now)
        self.created = self.add(request, flow)
        return VERDICT_NEW

    cdef int take_initial(self, Message request, Flow flow, int64_t now) except -1:
        # RFC 3261 §8.2.2.2
        cdef bint merged = self.is_merged(request, self.merge)
        cdef ServerTransaction transaction = self.add(request, flow)
        if merged:
            self.merged += 1
            transaction.respond(make_response(request, 482, flow, transaction.tag(), b"", None, b""), 482, now)
            return VERDICT_MERGED
        transaction.by_merge.hash = self.merge
        index_add(&self.by_merge, &transaction.by_merge, <void *>transaction)
        self.created = transaction
        return VERDICT_NEW

    cdef bint is_merged(self, Message request, uint64_t hash) noexcept:
        cdef Cursor cursor
        cdef Span value
        cdef Via via
        cdef Locator locator
        if index_first(&self.by_merge, hash) == NULL:
            return False
        request.cursor(H_VIA, &cursor)
        while request.next_value(&cursor, &value):
            if request.parse_via(value, &via) == 1 and decode_branch(
                    &self.secret, request.p + via.branch.start, via.branch.end - via.branch.start, &locator):
                return False                  # it passed here before: a spiral or a loop, which the proxy tells apart
        return True

    cdef ServerTransaction find(self, Message request, uint32_t method):
        cdef Link *link = index_first(&self.by_key, self.key.low)
        cdef ServerTransaction transaction
        while link != NULL:
            transaction = <ServerTransaction>link.owner
            if (transaction.key_high == self.key.high and (transaction.marks & LEGACY) == self.key.legacy
                    and (transaction.method == method
                         or (method == ANY_BUT_CANCEL and transaction.method != M_CANCEL))
                    and (not self.key.legacy or same_legacy(transaction.request, request, transaction.final()))):
                return transaction
            link = index_next(link.next, self.key.low)
        return None

    cdef ServerTransaction add(self, Message request, Flow flow):
        cdef ServerTransaction transaction = ServerTransaction.__new__(ServerTransaction)
        transaction.layer = self
        transaction.invite = request.method == M_INVITE
        transaction.machine = server_machine(transaction.invite)
        transaction.state = transaction.machine.initial.next
        transaction.method = method_of(request.p, request.method, request.method_name)
        transaction.flow = flow
        if self.guide is not None:
            transaction.slot = self.guide.moves_made
        transaction.request = request
        transaction.marks = LEGACY if self.key.legacy else 0
        transaction.key_high = self.key.high
        transaction.by_key.hash = self.key.low
        index_add(&self.by_key, &transaction.by_key, <void *>transaction)
        Py_INCREF(transaction)
        self.servers += 1
        return transaction

    cdef int take_ack(self, Message ack, int64_t now) except -1:
        cdef ServerTransaction found = self.find(ack, M_INVITE)
        if (found is not None and found.state == COMPLETED and not found.marks & MOVED
                and ack.text(ack.target.tag) == found.tag()):
            self.prove(found.flow, now)
        if found is None or found.happen(ON_ACK, None, now) & TELL:
            return VERDICT_UNMATCHED          # RFC 6026 §7.1: an ACK for a 2xx is the user's
        return VERDICT_ABSORBED

    cdef int take_cancel(self, Message cancel, Flow flow, int64_t now) except -1:
        # RFC 3261 §9.2: the CANCEL is answered 200 whatever became of the INVITE. One key, hence one To tag.
        cdef ServerTransaction target = self.find(cancel, ANY_BUT_CANCEL)
        cdef ServerTransaction own
        cdef Handler handler
        if target is None:
            return VERDICT_UNMATCHED
        own = self.add(cancel, flow)
        if target.marks & MOVED:                      # §9.2: its To tag is the INVITE's
            own.marks |= MOVED
            own.first = target.first
        own.respond(make_response(cancel, 200, flow, own.tag(), b"", None, b""), 200, now)
        if target.invite and target.state == PROCEEDING and target.handler is not None:
            handler = target.handler
            try:
                handler.on_cancel(target, cancel, now)
            except Exception:
                handler.on_fault(now)
                raise
        return VERDICT_ABSORBED

    # ---- responses and client transactions

    cdef bint receive_response(self, Message response, Flow flow, int64_t now) except -1:
        # RFC 3261 §17.1.3
        cdef Slot *slot = self.slots.locate(response.p + response.via.branch.start,
                                            response.via.branch.end - response.via.branch.start)
        cdef ClientTransaction transaction = None
        cdef void *owner = NULL
        if slot != NULL:
            owner = slot.cancel if response.cseq.method == M_CANCEL else slot.transaction
        if owner != NULL:
            transaction = <ClientTransaction>owner
        if transaction is None or transaction.method != method_of(response.p, response.cseq.method, response.cseq.name):
            self.stray_responses += 1
            return False
        # A secret that went to two addresses proves neither, and a CANCEL has the branch of its INVITE.
        if not transaction.marks & (PROVISIONAL | MOVED) and transaction.state < ACCEPTED and slot.cancel != owner:
            self.prove(transaction.flow, now)
        transaction.happen(event_of(response.status), response, now)
        return True

    cdef bint undelivered(self, bytes data, Flow flow, int64_t now) except -1:
        # RFC 3261 §17.1.4. The error may be forged: it counts only where it shows a branch that is ours to the last digit,
        # which those on the way know and nobody else, and where it is about the way that the request went.
        cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef Span name, branch
        cdef Slot *slot
        cdef ClientTransaction request = None, cancel = None
        if not quoted_branch(p, PyBytes_GET_SIZE(data), &name, &branch):
            return False
        slot = self.slots.locate(p + branch.start, branch.end - branch.start)
        if slot == NULL:
            return False
        if slot.transaction != NULL:
            request = <ClientTransaction>slot.transaction
        if method_id(p, name) == M_CANCEL:
            if slot.cancel != NULL:
                cancel = <ClientTransaction>slot.cancel
            if not self.give_up(cancel, flow, now):
                return False
            self.give_up(request, flow, now)  # who has rung, and is not there for the CANCEL, will not answer
            return True
        if request is None or request.method != method_of(p, method_id(p, name), name):
            return False                      # an ACK: nothing depends on it, its response has come
        return self.give_up(request, flow, now)

    cdef bint give_up(self, ClientTransaction transaction, Flow flow, int64_t now) except -1:
        # With its final response a request has arrived, whatever became of a copy of it.
        if transaction is None or transaction.state >= ACCEPTED or not transaction.flow.same_peer(flow):
            return False
        self.unreachable += 1
        transaction.happen(ON_ERROR, None, now)
        return True

    cdef int sender_of(self, bytes data) noexcept:
        cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef Span name, branch
        if not quoted_branch(p, PyBytes_GET_SIZE(data), &name, &branch):
            return -1
        return self.worker_of(p + branch.start, branch.end - branch.start)

    cdef bytes new_branch(self, uint32_t loop):
        self.last_branch = self.slots.reserve(loop)
        return self.last_branch

    cdef int forget_branch(self) except -1:
        if self.last_branch is not None:
            self.release_branch(self.last_branch)
        return 0

    cpdef bint release_branch(self, bytes branch) except -1:
        cdef Slot *slot = self.slots.reserved(branch)
        if slot == NULL:
            return False
        self.slots.release(slot)
        return True

    cdef ClientTransaction start(self, bytes request, bytes branch, Flow flow, Handler handler, int64_t now):
        cdef Slot *slot = self.slots.reserved(branch)
        cdef ClientTransaction transaction
        if slot == NULL:
            raise ValueError("not a branch that was reserved and is still unused")
        transaction = self.occupy(request, self.slots.index_of(slot), flow, handler)
        transaction.begin(now)
        return transaction

    cdef ClientTransaction occupy(self, bytes request, uint32_t slot, Flow flow, Handler handler):
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
        transaction.layer = self
        transaction.slot = slot
        transaction.flow = flow
        transaction.handler = handler
        transaction.data = request
        if transaction.method == M_CANCEL:
            self.slots.slots[slot].cancel = <void *>transaction
        else:
            self.slots.slots[slot].transaction = <void *>transaction
        Py_INCREF(transaction)
        self.clients += 1
        return transaction

    cdef int vacate(self, ClientTransaction transaction) except -1:
        cdef Slot *slot = &self.slots.slots[transaction.slot]
        if slot.transaction == <void *>transaction:
            slot.transaction = NULL
        elif slot.cancel == <void *>transaction:
            slot.cancel = NULL
        if slot.transaction == NULL and slot.cancel == NULL:
            self.slots.release(slot)
        self.clients -= 1
        Py_DECREF(transaction)
        return 0

    cdef bint is_own_branch(self, const unsigned char *p, int size, uint32_t *loop) noexcept:
        cdef Locator locator
        if not decode_branch(&self.secret, p, size, &locator):
            return False
        loop[0] = locator.loop
        return True

    cdef int worker_of(self, const unsigned char *p, int size) noexcept:
        cdef Locator locator
        return <int>locator.worker if decode_branch(&self.secret, p, size, &locator) else -1

    # ---- the end

    cpdef int settle(self) except -1:
        cdef ServerTransaction transaction
        if not self.finished:
            return 0
        for transaction in self.finished:
            transaction.shrink()
        self.finished.clear()
        return 0

    cpdef int close(self) except -1:
        cdef ServerTransaction server
        cdef ClientTransaction client
        cdef size_t bucket
        cdef uint32_t i
        self.created = self.elsewhere = None
        self.finished.clear()
        for bucket in range(self.by_key.capacity):
            while self.by_key.buckets[bucket] != NULL:
                server = <ServerTransaction>self.by_key.buckets[bucket].owner
                if server.handler is not None:
                    server.handler.on_gone(server, 0)     # which lets go of what it holds
                server.handler = None
                server.terminate(0)
        for i in range(self.slots.count):
            if self.slots.slots[i].transaction != NULL:
                client = <ClientTransaction>self.slots.slots[i].transaction
                client.terminate()
            if self.slots.slots[i].cancel != NULL:
                client = <ClientTransaction>self.slots.slots[i].cancel
                client.terminate()
        return 0

    # ---- the face that Python sees

    def take_request(self, Message message not None, Flow flow not None, int64_t now):
        self.begin(message, now)
        verdict = self.receive_request(message, flow, now)
        return verdict, self.created if verdict == VERDICT_NEW else None

    def take_response(self, Message message not None, Flow flow not None, int64_t now):
        self.begin(message, now)
        return self.receive_response(message, flow, now)

    def take_undelivered(self, bytes data not None, Flow flow not None, int64_t now):
        return self.undelivered(data, flow, now)

    def sent_by_worker(self, bytes data not None):
        worker = self.sender_of(data)
        return None if worker < 0 else worker

    def branch(self, uint32_t loop=0):
        return self.new_branch(loop)

    def send_request(self, bytes data not None, bytes branch not None, Flow flow not None, Handler handler,
                     int64_t now):
        return self.start(data, branch, flow, handler, now)

    def owns(self, bytes branch not None):
        cdef uint32_t loop = 0
        if self.is_own_branch(<const unsigned char *>PyBytes_AS_STRING(branch), <int>PyBytes_GET_SIZE(branch), &loop):
            return loop
        return None

    def worker_that_made(self, bytes branch not None):
        worker = self.worker_of(<const unsigned char *>PyBytes_AS_STRING(branch), <int>PyBytes_GET_SIZE(branch))
        return None if worker < 0 else worker

    def counters(self):
        return {
            "server_transactions": self.servers, "client_transactions": self.clients,
            "branches": self.slots.used,
            "retransmissions_received": self.retransmissions_received,
            "retransmissions_sent": self.retransmissions_sent, "timeouts": self.timeouts,
            "stray_responses": self.stray_responses, "merged": self.merged,
            "transport_errors": self.transport_errors, "withheld": self.withheld, "unreachable": self.unreachable,
        }
