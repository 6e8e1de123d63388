"""The transaction layer: RFC 3261 §17 as amended by RFC 6026, the matching of §17.1.3 and §17.2.3, merges (§8.2.2.2).

The four state machines are the tables below, and nothing else decides what a transaction does: `happen` looks a row up
and carries out its actions. What has no row is ignored.

    send        pass the response at hand to the transport, or again what was kept: the request, its ACK, the response
    keep        keep the response for that
    ack         make the ACK of §17.1.1.3, keep and send it
    tell        pass the response (client), or the ACK (server), to the transaction user
    fail        the transaction user hears that it is over: 408 after a timer, 503 after a transport error
    start, stop of timers; A, E and G start at T1 and double each time, E and G up to T2, E at T2 once a 1xx has come

Who holds whom: the layer holds every live transaction (slots and index), a transaction holds its layer and its handler,
and a handler usually its transaction. Termination cuts all of that, so that the classes need no garbage collector.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from ._branch cimport (
    Hash,
    Locator,
    decode_branch,
    encode_branch,
    end_hash,
    end_hash64,
    hex16,
    mix_bytes,
    mix_number,
    mix_token,
    read_branch,
    start_hash,
)
from ._flow cimport Flow, Sink
from ._index cimport Index, Link, index_add, index_close, index_first, index_next, index_open, index_remove
from ._parser cimport (
    Cursor,
    H_VIA,
    M_ACK,
    M_CANCEL,
    M_INVITE,
    M_OTHER,
    Message,
    Span,
    Via,
    method_id,
    parse_message,
    uris_equal,
)
from ._wheel cimport Timed, Wheel
from ._writer cimport make_ack, make_cancel, make_response

from .errors import TransportError

STATES = ("Calling", "Trying", "Proceeding", "Accepted", "Completed", "Confirmed", "Terminated")
NEW, ABSORBED, MERGED, UNMATCHED = VERDICT_NEW, VERDICT_ABSORBED, VERDICT_MERGED, VERDICT_UNMATCHED

# State, event, next state, actions.
INVITE_CLIENT = (  # RFC 6026 §8.4, figure 5
    ("", "request", "Calling", "send, start A, start B"),
    ("Calling", "timer A", "Calling", "send, start A"),
    ("Calling", "timer B", "Terminated", "stop, fail"),
    ("Calling", "transport error", "Terminated", "stop, fail"),
    ("Calling", "1xx", "Proceeding", "stop, tell"),
    ("Calling", "2xx", "Accepted", "stop, tell, start M"),
    ("Calling", "300-699", "Completed", "stop, ack, tell, start D"),
    ("Proceeding", "1xx", "Proceeding", "tell"),
    ("Proceeding", "2xx", "Accepted", "stop, tell, start M"),
    ("Proceeding", "300-699", "Completed", "stop, ack, tell, start D"),
    ("Proceeding", "64*T1 after CANCEL", "Terminated", "stop, fail"),  # RFC 3261 §9.1
    ("Accepted", "2xx", "Accepted", "tell"),
    ("Accepted", "timer M", "Terminated", "stop"),
    ("Completed", "300-699", "Completed", "send"),
    ("Completed", "transport error", "Terminated", "stop, fail"),
    ("Completed", "timer D", "Terminated", "stop"),
)
CLIENT = (  # RFC 3261 §17.1.2.2, figure 6
    ("", "request", "Trying", "send, start E, start F"),
    ("Trying", "timer E", "Trying", "send, start E"),
    ("Trying", "timer F", "Terminated", "stop, fail"),
    ("Trying", "transport error", "Terminated", "stop, fail"),
    ("Trying", "1xx", "Proceeding", "tell"),
    ("Trying", "200-699", "Completed", "stop, tell, start K"),
    ("Proceeding", "timer E", "Proceeding", "send, start E"),
    ("Proceeding", "timer F", "Terminated", "stop, fail"),
    ("Proceeding", "transport error", "Terminated", "stop, fail"),
    ("Proceeding", "1xx", "Proceeding", "tell"),
    ("Proceeding", "200-699", "Completed", "stop, tell, start K"),
    ("Completed", "200-699", "Completed", ""),
    ("Completed", "timer K", "Terminated", "stop"),
)
INVITE_SERVER = (  # RFC 6026 §8.5 to §8.8, figure 7; the user gives the 100
    ("", "request", "Proceeding", ""),
    ("Proceeding", "request", "Proceeding", "send"),
    ("Proceeding", "1xx", "Proceeding", "keep, send"),
    ("Proceeding", "2xx", "Accepted", "keep, send, start L"),
    ("Proceeding", "300-699", "Completed", "keep, send, start G, start H"),
    ("Proceeding", "transport error", "Proceeding", ""),
    ("Accepted", "request", "Accepted", ""),
    ("Accepted", "2xx", "Accepted", "send"),
    ("Accepted", "ACK", "Accepted", "tell"),
    ("Accepted", "transport error", "Accepted", ""),
    ("Accepted", "timer L", "Terminated", "stop"),
    ("Completed", "request", "Completed", "send"),
    ("Completed", "timer G", "Completed", "send, start G"),
    ("Completed", "ACK", "Confirmed", "stop, start I"),
    ("Completed", "transport error", "Completed", ""),
    ("Completed", "timer H", "Terminated", "stop, fail"),
    ("Confirmed", "request", "Confirmed", ""),
    ("Confirmed", "ACK", "Confirmed", ""),
    ("Confirmed", "timer I", "Terminated", "stop"),
)
SERVER = (  # RFC 3261 §17.2.2, figure 8; RFC 6026 §8.8 for transport errors
    ("", "request", "Trying", ""),
    ("Trying", "request", "Trying", ""),
    ("Trying", "1xx", "Proceeding", "keep, send"),
    ("Trying", "200-699", "Completed", "keep, send, start J"),
    ("Proceeding", "request", "Proceeding", "send"),
    ("Proceeding", "1xx", "Proceeding", "keep, send"),
    ("Proceeding", "200-699", "Completed", "keep, send, start J"),
    ("Proceeding", "transport error", "Proceeding", ""),
    ("Completed", "request", "Completed", "send"),
    ("Completed", "transport error", "Completed", ""),
    ("Completed", "timer J", "Terminated", "stop"),
)


def durations(int t1, int t2, int t4):
    """Timer: ms on unreliable and on reliable flows, -1: not started (RFC 3261 §17 table 4, RFC 6026 §8.11)."""
    cdef int long = 64 * t1
    return {
        "A": (t1, -1), "B": (long, long), "D": (max(32_000, long), 0), "E": (t1, -1), "F": (long, long),
        "G": (t1, -1), "H": (long, long), "I": (t4, 0), "J": (long, 0), "K": (t4, 0), "L": (long, long),
        "M": (long, long),
    }


# ---- the tables as the machine reads them

cdef enum:
    MACHINE_INVITE_CLIENT, MACHINE_CLIENT, MACHINE_INVITE_SERVER, MACHINE_SERVER, MACHINES

cdef enum:                  # events; the timers' are also their kinds on the wheel
    ON_REQUEST, ON_ACK, ON_1XX, ON_2XX, ON_300, ON_RESEND, ON_TIMEOUT, ON_LINGER, ON_CANCELLED, ON_ERROR, EVENTS

cdef enum:
    DEFINED = 1
    SEND = 2
    KEEP = 4
    ACK = 8
    TELL = 16
    FAIL = 32
    STOP = 64

cdef struct Step:
    unsigned char next
    unsigned char actions
    char resend             # letter of the timer to start, or 0
    char end

cdef Step STEPS[MACHINES][STATE_COUNT][EVENTS]
cdef unsigned char INITIAL[MACHINES]

cdef dict EVENTS_OF = {
    "request": (ON_REQUEST,), "ACK": (ON_ACK,), "1xx": (ON_1XX,), "2xx": (ON_2XX,), "300-699": (ON_300,),
    "200-699": (ON_2XX, ON_300), "64*T1 after CANCEL": (ON_CANCELLED,), "transport error": (ON_ERROR,),
}
cdef dict ACTIONS_OF = {"send": SEND, "keep": KEEP, "ack": ACK, "tell": TELL, "fail": FAIL, "stop": STOP}


cdef inline int kind_of(char letter) noexcept:
    if letter == b"A" or letter == b"E" or letter == b"G":
        return ON_RESEND
    if letter == b"B" or letter == b"F" or letter == b"H":
        return ON_TIMEOUT
    return ON_LINGER


cdef Step read_step(str following, str actions):
    cdef Step step = Step(<unsigned char>STATES.index(following), DEFINED, 0, 0)
    for action in actions.split(", ") if actions else ():
        if action.startswith("start "):
            if kind_of(ord(action[6])) == ON_RESEND:
                step.resend = ord(action[6])
            else:
                step.end = ord(action[6])
        else:
            step.actions |= <unsigned char>ACTIONS_OF[action]
    return step


cdef read_tables():
    cdef int machine
    cdef Step step
    for machine, rows in enumerate((INVITE_CLIENT, CLIENT, INVITE_SERVER, SERVER)):
        for state, event, following, actions in rows:
            step = read_step(following, actions)
            if not state:
                INITIAL[machine] = step.next
                STEPS[machine][<int>step.next][<int>ON_REQUEST] = step
                continue
            for number in EVENTS_OF[event] if event in EVENTS_OF else (kind_of(ord(event[6])),):
                STEPS[machine][<int>STATES.index(state)][<int>number] = step


read_tables()

cdef enum:
    PURPOSE_KEY = 1         # of keyed hashes, so that none can stand for another
    PURPOSE_LEGACY
    PURPOSE_MERGE
    PURPOSE_TAG
    PURPOSE_METHOD
    ANY_BUT_CANCEL = 0xffffffff
    NO_SLOT = 0xffffffff
    MOST_SLOTS = 1 << 24
    PATIENCE = 1000         # ms without `settle`


# ---- counting, for tests: whatever is alive shows here

cdef long objects = 0


def live_objects():
    """Transactions that exist in this process, whoever still holds them."""
    return objects


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

    cdef int send(self, bytes data, int64_t now) except -1:
        try:
            self.layer.sink.send(data, self.flow)
        except TransportError:
            # Not at once: the caller may be the user, who does not have this transaction in hand yet.
            self.layer.transport_errors += 1
            self.layer.wheel.schedule(now, self, ON_ERROR)
        return 0

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


@cython.final
@cython.no_gc
cdef class ServerTransaction(Transaction):

    cpdef int respond(self, bytes response, int status, int64_t now) except -1:
        if self.state == TERMINATED:
            return 0
        return 1 if self.happen(event_of(status), response, now) & SEND else 0

    cpdef int retract(self, bytes response, int status, int64_t now) except -1:
        if self.state == ACCEPTED or self.state == COMPLETED:
            self.stop_timers()
            self.state = PROCEEDING
            self.data = None
        return self.respond(response, status, now)

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        if self.state == TERMINATED:
            return 0
        if kind == ON_RESEND:
            self.resend_timer = 0
        elif kind != ON_ERROR:
            self.end_timer = 0
        self.happen(kind, None, now)
        return 0

    # What the row's actions were, 0 where there is no row.
    cdef int happen(self, int event, bytes response, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        cdef Step step = STEPS[self.machine][self.state][event]
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
                layer.retransmissions_sent += not fresh
                self.send(response, now)
        if step.resend or step.end:
            self.start_timers(step.resend, step.end, now)
        if step.next == CONFIRMED and not self.legacy:
            self.data = None
        elif step.next == TERMINATED:
            if step.actions & FAIL:
                self.timed_out = True
                layer.timeouts += 1
            self.terminate(now)
        return step.actions

    # After the commit of its final response: what is left absorbs retransmissions.
    cdef int shrink(self) except -1:
        if self.state == TERMINATED or self.state < ACCEPTED:
            return 0
        if not self.legacy:
            self.request = None               # §17.2.3: old peers are matched by the request itself
        self.to_tag = None
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
        if layer.created is self:
            layer.created = None
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
    def request(self):
        """The request as sent; None once its final response has been dealt with."""
        return self.sent()

    cdef Message sent(self):
        # What is kept after a non-2xx final response to INVITE is the ACK.
        if self.parsed is None and self.data is not None and not (self.invite and self.state == COMPLETED):
            self.parsed = parse_message(self.data)
        return self.parsed

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        if self.state == TERMINATED:
            return 0
        if kind == ON_RESEND:
            self.resend_timer = 0
        elif kind != ON_ERROR:
            self.end_timer = 0
        self.happen(kind, None, now)
        return 0

    cdef int happen(self, int event, Message response, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        cdef Handler handler = self.handler
        cdef Step step = STEPS[self.machine][self.state][event]
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
            layer.retransmissions_sent += event != ON_REQUEST and step.actions & SEND != 0
            self.send(self.data, now)
        if step.resend or step.end:
            self.start_timers(step.resend, step.end, now)
        if step.next == TERMINATED:
            self.timed_out = event == ON_TIMEOUT or event == ON_CANCELLED
            layer.timeouts += self.timed_out
            self.terminate()
            if step.actions & FAIL and handler is not None:
                handler.on_failure(self, 503 if event == ON_ERROR else 408, now)
            return 0
        if event == ON_1XX:
            self.provisional = True
        if step.actions & TELL and handler is not None:
            handler.on_response(self, response, now)
        if event != ON_1XX and step.actions & TELL:
            self.shrink()
        elif self.cancelling == 1 and self.state == PROCEEDING:
            self.send_cancel(now)
        return 0

    # After its final response: an INVITE keeps its ACK or passes on 2xx, any other request only absorbs.
    cdef int shrink(self) except -1:
        self.parsed = None
        if self.state == ACCEPTED:
            self.data = None
        elif self.state == COMPLETED and not self.invite:
            self.data = None
            self.handler = None
        return 0

    cpdef int cancel(self, int64_t now) except -1:
        if not self.invite or self.cancelling:
            return 0
        if self.state == CALLING:
            self.cancelling = 1               # §9.1: it waits for a provisional response
        elif self.state == PROCEEDING:
            self.send_cancel(now)
        return 0

    cdef int send_cancel(self, int64_t now) except -1:
        cdef TransactionLayer layer = self.layer
        cdef ClientTransaction cancel = layer.occupy(make_cancel(self.sent()), self.slot, self.flow, None)
        self.cancelling = 2
        self.end_timer = layer.wheel.schedule(now + 64 * layer.t1, self, ON_CANCELLED)
        return cancel.happen(ON_REQUEST, None, now)

    cdef int terminate(self) except -1:
        cdef TransactionLayer layer = self.layer
        self.stop_timers()
        self.state = TERMINATED
        self.layer = None
        self.handler = None
        self.data = None
        self.parsed = None
        return layer.vacate(self)


cdef inline bint same(const unsigned char *p, Span a, const unsigned char *q, Span b) noexcept:
    return a.end - a.start == b.end - b.start and memcmp(p + a.start, q + b.start, a.end - a.start) == 0


cdef uint32_t method_of(const unsigned char *p, int method, Span name) noexcept:
    # Unknown methods are told apart by name: FNV-1a, with the top bit set.
    cdef uint32_t h = 2166136261
    cdef int32_t i
    if method != M_OTHER:
        return method
    for i in range(name.start, name.end):
        h = (h ^ p[i]) * <uint32_t>16777619
    return h | <uint32_t>0x80000000


cdef bint same_legacy(ServerTransaction transaction, Message request) except -1:
    # RFC 3261 §17.2.3 for peers of RFC 2543; From tag, Call-ID and CSeq number are in the key.
    cdef Message original = transaction.request
    cdef Message response
    if not same(original.p, original.via.all, request.p, request.via.all):
        return False
    if not same(original.p, original.request_uri, request.p, request.request_uri) and not uris_equal(
            original.p, &original.uri, request.p, &request.uri):
        return False
    if request.method != M_ACK:
        return same(original.p, original.target.tag, request.p, request.target.tag)
    if transaction.data is None or transaction.state == ACCEPTED:
        return True
    response = parse_message(transaction.data)
    return same(response.p, response.target.tag, request.p, request.target.tag)


@cython.no_gc_clear
cdef class TransactionLayer:

    def __cinit__(self):
        index_open(&self.by_key)
        index_open(&self.by_merge)
        self.first_free = NO_SLOT
        self.finished = []

    def __init__(self, timers, Wheel wheel not None, Sink sink not None, secret, int worker=0):
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
        self.worker = worker
        # Ahead of every serial of an earlier process, up to a million branches a ms.
        self.serial = (<uint64_t>wheel.now << 10) & <uint64_t>0xffffffffffffff

    def __dealloc__(self):
        index_close(&self.by_key)
        index_close(&self.by_merge)
        free(self.slots)

    # ---- requests

    cdef int receive_request(self, Message request, Flow flow, int64_t now) except -1:
        cdef ServerTransaction found
        cdef uint64_t merge = 0
        self.created = None
        if self.finished and now - self.finished_since >= PATIENCE:
            self.settle()
        self.identify(request)
        if request.method == M_ACK:
            return self.take_ack(request, now)
        found = self.find(request, method_of(request.p, request.method, request.method_name))
        if found is not None:
            found.happen(ON_REQUEST, None, now)
            return VERDICT_ABSORBED
        if request.method == M_CANCEL:
            return self.take_cancel(request, flow, now)
        if request.target.tag.end == request.target.tag.start:
            merge = self.merge_hash(request)
            if self.is_merged(request, merge):
                self.merged += 1
                found = self.add(request, flow)
                found.respond(make_response(request, 482, flow, found.to_tag, b"", None, b""), 482, now)
                return VERDICT_MERGED
        self.created = self.add(request, flow)
        if merge:
            self.created.by_merge.hash = merge
            index_add(&self.by_merge, &self.created.by_merge, <void *>self.created)
        return VERDICT_NEW

    cdef void identify(self, Message request) noexcept:
        # RFC 3261 §17.2.3: branch and sent-by; without the cookie what all of an old peer's requests have in common.
        cdef Hash h
        cdef const unsigned char *p = request.p
        self.legacy = not request.via.magic
        if self.legacy:
            start_hash(&h, &self.secret, PURPOSE_LEGACY)
            mix_bytes(&h, p + request.call_id.start, request.call_id.end - request.call_id.start)
            mix_bytes(&h, p + request.sender.tag.start, request.sender.tag.end - request.sender.tag.start)
            mix_number(&h, request.cseq.number)
        else:
            start_hash(&h, &self.secret, PURPOSE_KEY)
            mix_token(&h, p + request.via.branch.start, request.via.branch.end - request.via.branch.start)
            mix_token(&h, p + request.via.host.start, request.via.host.end - request.via.host.start)
            mix_number(&h, <uint64_t>request.via.port)
        end_hash(&h, &self.low, &self.high)

    cdef ServerTransaction find(self, Message request, uint32_t method):
        cdef Link *link = index_first(&self.by_key, self.low)
        cdef ServerTransaction transaction
        while link != NULL:
            transaction = <ServerTransaction>link.owner
            if (transaction.key_high == self.high and transaction.legacy == self.legacy
                    and (transaction.method == method
                         or (method == ANY_BUT_CANCEL and transaction.method != M_CANCEL))
                    and (not self.legacy or same_legacy(transaction, request))):
                return transaction
            link = index_next(link.next, self.low)
        return None

    cdef ServerTransaction add(self, Message request, Flow flow):
        cdef ServerTransaction transaction = ServerTransaction.__new__(ServerTransaction)
        transaction.layer = self
        transaction.invite = request.method == M_INVITE
        transaction.machine = MACHINE_INVITE_SERVER if transaction.invite else MACHINE_SERVER
        transaction.state = INITIAL[transaction.machine]
        transaction.method = method_of(request.p, request.method, request.method_name)
        transaction.flow = flow
        transaction.request = request
        transaction.legacy = self.legacy
        transaction.to_tag = self.tag_of(self.low, self.high)
        transaction.key_high = self.high
        transaction.by_key.hash = self.low
        index_add(&self.by_key, &transaction.by_key, <void *>transaction)
        Py_INCREF(transaction)
        self.servers += 1
        return transaction

    cdef bytes tag_of(self, uint64_t low, uint64_t high):
        # RFC 3261 §19.3: unpredictable, and the same whenever it is asked for.
        cdef Hash h
        start_hash(&h, &self.secret, PURPOSE_TAG)
        mix_number(&h, low)
        mix_number(&h, high)
        return hex16(end_hash64(&h))

    cdef int take_ack(self, Message ack, int64_t now) except -1:
        cdef ServerTransaction found = self.find(ack, M_INVITE)
        if found is None or found.happen(ON_ACK, None, now) & TELL:
            return VERDICT_UNMATCHED          # RFC 6026 §7.1: an ACK for a 2xx is the user's
        return VERDICT_ABSORBED

    cdef int take_cancel(self, Message cancel, Flow flow, int64_t now) except -1:
        # RFC 3261 §9.2: the CANCEL is answered 200 whatever became of the INVITE.
        cdef ServerTransaction target = self.find(cancel, ANY_BUT_CANCEL)
        cdef ServerTransaction own
        if target is None:
            return VERDICT_UNMATCHED
        own = self.add(cancel, flow)
        own.to_tag = self.tag_of(target.by_key.hash, target.key_high)
        own.respond(make_response(cancel, 200, flow, own.to_tag, b"", None, b""), 200, now)
        if target.invite and target.state == PROCEEDING and target.handler is not None:
            target.handler.on_cancel(target, cancel, now)
        return VERDICT_ABSORBED

    cdef uint64_t merge_hash(self, Message request) noexcept:
        # RFC 3261 §8.2.2.2, and the Request-URI: a spiral may come by with another one (§16.3).
        cdef Hash h
        cdef const unsigned char *p = request.p
        start_hash(&h, &self.secret, PURPOSE_MERGE)
        mix_number(&h, <uint64_t>method_of(p, request.method, request.method_name) << 32 | request.cseq.number)
        mix_bytes(&h, p + request.sender.tag.start, request.sender.tag.end - request.sender.tag.start)
        mix_bytes(&h, p + request.call_id.start, request.call_id.end - request.call_id.start)
        mix_bytes(&h, p + request.request_uri.start, request.request_uri.end - request.request_uri.start)
        return end_hash64(&h) | 1

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

    # ---- responses and client transactions

    cdef bint receive_response(self, Message response, Flow flow, int64_t now) except -1:
        # RFC 3261 §17.1.3. The remembered check and loop value stand for the whole branch.
        cdef Locator at
        cdef Slot *slot
        cdef ClientTransaction transaction = None
        cdef void *owner = NULL
        if read_branch(response.p + response.via.branch.start, response.via.branch.end - response.via.branch.start,
                       &at) and at.worker == self.worker and at.slot < self.slot_count:
            slot = &self.slots[at.slot]
            if slot.serial == at.serial and slot.check == at.check and slot.loop == at.loop:
                owner = slot.cancel if response.cseq.method == M_CANCEL else slot.transaction
        if owner != NULL:
            transaction = <ClientTransaction>owner
        if transaction is None or transaction.method != method_of(response.p, response.cseq.method, response.cseq.name):
            self.stray_responses += 1
            return False
        transaction.happen(event_of(response.status), response, now)
        return True

    cdef bytes new_branch(self, uint32_t loop):
        cdef Locator locator
        cdef Slot *slot
        cdef bytes branch
        if self.first_free == NO_SLOT:
            self.grow()
        self.serial += 1
        locator.worker = self.worker
        locator.slot = self.first_free
        locator.serial = self.serial & <uint64_t>0xffffffffffffff
        locator.loop = loop
        branch = encode_branch(&self.secret, &locator)
        slot = &self.slots[locator.slot]
        self.first_free = slot.loop
        slot.serial = locator.serial
        slot.check = locator.check
        slot.loop = loop
        return branch

    cdef int grow(self) except -1:
        cdef uint32_t i, more = self.slot_count * 2 if self.slot_count else 64
        cdef Slot *larger
        if more > MOST_SLOTS:
            raise MemoryError("16 million client transactions at a time")
        larger = <Slot *>realloc(self.slots, more * sizeof(Slot))
        if larger == NULL:
            raise MemoryError()
        self.slots = larger
        for i in range(self.slot_count, more):
            larger[i] = Slot(NULL, NULL, 0, 0, i + 1 if i + 1 < more else <uint32_t>NO_SLOT)
        self.first_free = self.slot_count
        self.slot_count = more
        return 0

    cdef Slot *reserved(self, bytes branch) except? NULL:
        # The slot that a branch reserved and that is still empty, or NULL.
        cdef Locator at
        cdef Slot *slot
        if not read_branch(<const unsigned char *>PyBytes_AS_STRING(branch), PyBytes_GET_SIZE(branch), &at):
            return NULL
        if at.worker != self.worker or at.slot >= self.slot_count:
            return NULL
        slot = &self.slots[at.slot]
        if slot.serial != at.serial or slot.check != at.check or slot.transaction != NULL or slot.cancel != NULL:
            return NULL
        return slot

    cpdef bint release_branch(self, bytes branch) except -1:
        cdef Slot *slot = self.reserved(branch)
        if slot == NULL:
            return False
        self.free_slot(slot)
        return True

    cdef void free_slot(self, Slot *slot) noexcept:
        slot.serial = 0
        slot.loop = self.first_free
        self.first_free = <uint32_t>(slot - self.slots)

    cdef ClientTransaction start(self, bytes request, bytes branch, Flow flow, Handler handler, int64_t now):
        cdef Slot *slot = self.reserved(branch)
        cdef ClientTransaction transaction
        if slot == NULL:
            raise ValueError("not a branch that was reserved and is still unused")
        transaction = self.occupy(request, <uint32_t>(slot - self.slots), flow, handler)
        transaction.happen(ON_REQUEST, None, now)
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
        transaction.machine = MACHINE_INVITE_CLIENT if transaction.invite else MACHINE_CLIENT
        transaction.state = INITIAL[transaction.machine]
        transaction.layer = self
        transaction.slot = slot
        transaction.flow = flow
        transaction.handler = handler
        transaction.data = request
        if transaction.method == M_CANCEL:
            self.slots[slot].cancel = <void *>transaction
        else:
            self.slots[slot].transaction = <void *>transaction
        Py_INCREF(transaction)
        self.clients += 1
        return transaction

    cdef int vacate(self, ClientTransaction transaction) except -1:
        cdef Slot *slot = &self.slots[transaction.slot]
        if slot.transaction == <void *>transaction:
            slot.transaction = NULL
        elif slot.cancel == <void *>transaction:
            slot.cancel = NULL
        if slot.transaction == NULL and slot.cancel == NULL:
            self.free_slot(slot)
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
        self.created = None
        self.finished.clear()
        for bucket in range(self.by_key.capacity):
            while self.by_key.buckets[bucket] != NULL:
                server = <ServerTransaction>self.by_key.buckets[bucket].owner
                server.handler = None
                server.terminate(0)
        for i in range(self.slot_count):
            if self.slots[i].transaction != NULL:
                client = <ClientTransaction>self.slots[i].transaction
                client.terminate()
            if self.slots[i].cancel != NULL:
                client = <ClientTransaction>self.slots[i].cancel
                client.terminate()
        return 0

    # ---- the face that Python sees

    def take_request(self, Message message not None, Flow flow not None, int64_t now):
        verdict = self.receive_request(message, flow, now)
        return verdict, self.created if verdict == VERDICT_NEW else None

    def take_response(self, Message message not None, Flow flow not None, int64_t now):
        return self.receive_response(message, flow, now)

    def branch(self, uint32_t loop=0):
        return self.new_branch(loop)

    def send_request(self, bytes data not None, bytes branch not None, Flow flow not None, Handler handler, int64_t now):
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
            "retransmissions_received": self.retransmissions_received,
            "retransmissions_sent": self.retransmissions_sent, "timeouts": self.timeouts,
            "stray_responses": self.stray_responses, "merged": self.merged,
            "transport_errors": self.transport_errors,
        }
