"""The engine: parse, match a transaction, route, and hand to the registrar, the proxy or redial; then commit and send.

Nothing leaves before the store has committed what it promises. `receive` and `advance` only collect; `commit` commits
once for all of them and then gives everything to the sink, in order. Where the commit fails, the answers that promised
something (a binding, a watch) are taken back and become 503; everything else is sent as if a datagram had been lost.

This is the one place where registrar, proxy and redial meet, and where a StoreError becomes a response.
"""

import logging
import os

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from .._flow cimport Flow, Receiver, Sink, Target, make_target
from .._parser cimport (
    Cursor,
    Address,
    H_CONTACT,
    H_EXPIRES,
    H_PROXY_REQUIRE,
    H_REQUIRE,
    H_SUPPORTED,
    H_VIA,
    M_ACK,
    M_CANCEL,
    M_INVITE,
    M_NOTIFY,
    M_OPTIONS,
    M_OTHER,
    M_PUBLISH,
    M_REFER,
    M_REGISTER,
    MAX_FIELDS,
    Message,
    SCHEME_SIP,
    SCHEME_SIPS,
    Span,
    Uri,
    Via,
    canonical_aor,
    parse_message,
    parse_uri_at,
    span_is,
)
from ..redial.refer cimport make_referrer
from ..routing.token cimport TOKEN_NONE
from ..transaction.layer cimport (
    MOST_UDP,
    OUTCOME_UNREACHABLE,
    VERDICT_NEW,
    VERDICT_UNMATCHED,
    ServerTransaction,
    TransactionLayer,
    too_large,
)
from .._wheel cimport Timed, Wheel
from .._writer cimport make_response, stateless_tag, warning_line
from ..routing.destination cimport Destination
from ..observe.events cimport GONE, NOT_ARMED, REGISTERED, Events
from ..routing.learning cimport Learning
from ..routing.location cimport Location
from ..routing.mid_registrar cimport MidRegistrar
from ..routing.outbound cimport Outbound, answer_flow
from ..trust.peers cimport Peers
from ..routing.probe cimport Probe
from ..trust.proven cimport Proven
from ..routing.proxy cimport CallObserver, Proxy, ResponseContext
from ..redial.redial cimport Redial
from ..routing.registrar cimport Registrar
from ..routing.ringing cimport Ringing
from ..routing.router cimport PLAN_FORGED, PLAN_MALFORMED, RoutePlan, Router, routed_by_us
from ..routing.upstream cimport Group, Upstreams

from .._parser import uri_parts
from ..routing.token import Tokens
from ..config import is_ip, parse_upstream
from ..errors import StoreError, StoreUnreadable
from ..observe.faults import Complaints
from ..store.records import Move, decode_move, encode_move
from ..redial.shared import SharedRedial
from ..routing.upstream import make_group

log = logging.getLogger("sipfast.engine.engine")

cdef enum:
    SWEEP = 1                # housekeeping timer
    SWEEP_INTERVAL = 200     # ms
    SWEEP_RECORDS = 400      # half a millisecond, for which all others wait; a million AORs take less than nine minutes
    COMPLAIN_EVERY = 10_000  # ms
    LEAST_RINGING = 65_536   # bytes

cdef enum:
    FRAME_FAILED = 70            # "F": size of the flow, flow, what could not be delivered by it
    FRAME_NOTICE = 82            # "R": for redial; "M": hops, size of the flow, flow, message
    FRAME_MOVE = 86              # "V": a records.Move
    FRAME_UPSTREAM = 85          # "U": of an upstream's address
    MOST_LINES = 16              # header fields that forwarding adds at the most: Via, Route, two of Record-Route ...
    MOST_TRIES = 100             # timers that may fail at a time
    MOST_QUOTED = 4096           # bytes: of what could not be delivered, all that another worker needs

cdef bytes ALLOW = (b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, NOTIFY, REFER, MESSAGE, SUBSCRIBE, INFO, PRACK, "
                    b"UPDATE\r\n")
cdef bytes SELF_ALLOW = b"Allow: ACK, CANCEL, NOTIFY, OPTIONS, REGISTER\r\n"        # at the server's own address
cdef bytes CAPABILITIES = ALLOW + b"Accept: application/sdp, message/sipfrag\r\nSupported: path\r\n"


@cython.final
cdef class Outbox(Sink):

    def __cinit__(self):
        self.data = []
        self.flows = []

    cpdef int send(self, bytes data, Flow flow) except -1:
        self.data.append(data)
        self.flows.append(flow)
        return 0


@cython.final
cdef class Housekeeping(Timed):
    # Removes what has expired from the store, a little at a time.
    cdef object store
    cdef Outbound outbound
    cdef Wheel wheel
    cdef Engine engine
    cdef int64_t longest_call            # ms

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        self.wheel.schedule(now + SWEEP_INTERVAL, self, SWEEP)
        cdef list gone = []
        # A phone that comes back late still takes its calls along.
        self.store.sweep_bindings(now, SWEEP_RECORDS, self.longest_call, gone)
        for aor in gone:
            self.engine.gone(aor, "its registration ran out")
        for move in self.outbound.expire(now):
            self.store.delete_move(move)
        return 0


cdef Housekeeping make_housekeeping(Engine engine, store, Outbound outbound, Wheel wheel, int64_t longest_call):
    cdef Housekeeping housekeeping = Housekeeping.__new__(Housekeeping)
    housekeeping.engine = engine
    housekeeping.store = store
    housekeeping.outbound = outbound
    housekeeping.wheel = wheel
    housekeeping.longest_call = longest_call
    return housekeeping


@cython.final
cdef class Calls(CallObserver):
    # What the proxy tells of, for the engine.
    cdef Engine engine

    cdef int answered(self, bytes caller, bytes callee, bytes call_id, int64_t now) except -1:
        return self.engine.call_answered(caller, callee, call_id, now)

    cdef bint failed(self, ResponseContext context, int status, int64_t now) except -1:
        return self.engine.call_failed(context, status, now)

    cdef int ended(self, Message bye, int64_t now) except -1:
        return self.engine.call_ended(bye, now)

    cdef Message registered(self, ResponseContext context, Message response, int64_t now):
        return self.engine.upstream_registered(context, response, now)

    cdef bint lost(self, ResponseContext context, int64_t now) except -1:
        return self.engine.upstream_lost(context, now)


cdef Calls make_calls(Engine engine):
    cdef Calls calls = Calls.__new__(Calls)
    calls.engine = engine
    return calls


@cython.final
cdef class Engine(Receiver):
    """See _flow.Receiver for the face that transports use; `start` comes first.

    `domains` are the domains served, `hosts` gives the addresses of the host names that the configuration mentions.
    `ringing`, `proofs`: memory that outlives the engine, for what rings (ringing.pyx) and for who is proven (proven.pyx);
    bytearrays or mapped files.
    Of several workers on one store and one set of addresses, each has an engine: `bus(worker, frames)` takes what
    others are to get in `told`.
    """

    def __init__(self, config, store, Sink sink, listeners, *, domains, hosts=None, int worker=0, int workers=1,
                 bus=None, bint resumed=False, ringing=None, proofs=None):
        self.config = config
        self.store = store
        self.sink = sink
        self.outbox = Outbox()
        self.promises = []
        self.sent_by = [bytes(listener.sent_by) for listener in listeners]
        hosts = hosts or {}
        self.listeners = tuple(listeners)
        self.domains = tuple(domains)
        self.hosts = hosts
        self.peers = Peers(config.peer, upstream_addresses(config, hosts))
        self.location = Location(store, [listener.family for listener in listeners],
                                 {name: addresses[0] for name, addresses in hosts.items()}, self.peers)
        self.registrations = config.log_registrations
        self.local_callers = config.redial.callers == "local"
        self.worker = worker
        self.workers = workers
        self.bus = bus
        self.resumed = resumed
        self.memory = bytearray(LEAST_RINGING) if ringing is None else ringing
        self.proofs = proofs
        self.mail = [[] for _ in range(workers)]
        self.complaints = Complaints(log, self._seconds)

    def start(self, int64_t now):
        """Load what the store holds; recalls that were in flight go on. Call `commit` afterwards."""
        config = self.config
        key = self.store.secret()
        self.secret = <uint64_t>int.from_bytes(key[:8], "big")
        self.wheel = Wheel(now)
        self.events = Events(self.wheel)
        self.outbound = Outbound(Tokens(key, self.listeners), self.listeners)
        self.router = make_router(config, self.listeners, self.domains, self.location, self.outbound.tokens, self.hosts)
        self.upstreams = self.router.upstreams
        self.mid_registrar = MidRegistrar(self.location, self.outbound)
        upgraded = self.store.upgraded_at()
        self.destination = Destination(self.router, self.location, self.outbound, self.mid_registrar, self.peers,
                                       upgraded + round(config.redial.max_talk * 1000) if upgraded else 0)
        self.load_moves()
        self.proven = Proven(self.secret ^ <uint64_t>int.from_bytes(key[8:16], "big"), self.proofs, self.peers)
        self.transactions = TransactionLayer(config.timers, self.wheel, self.outbox, int.from_bytes(key, "big"),
                                             self.worker, self.proven)
        self.transactions.guide = self.outbound
        self.transactions.listeners = flows_to(self.listeners)
        self.longest_call = longest_call = round(config.redial.max_talk * 1000)
        self.registrar = Registrar(config.registrar, self.location, self.secret, longest_call, self.proven)
        self.learning = Learning(config.registrar, self.location, longest_call, self.proven)
        self.probe = Probe(int.from_bytes(key, "big"), self.worker, self.listeners, self.location, self.proven)
        self.proxy = Proxy(self.transactions, self.wheel, self.listeners, self.outbound, self.secret,
                           round(config.timers.c * 1000), self.upstreams,
                           Ringing(int.from_bytes(key[8:16], "big"), self.memory), make_calls(self))
        self.upstreams.start(self.transactions, self.wheel, self.listeners, self.location.hosts, self.worker,
                             None if self.workers == 1 else self._post_upstream)
        if self.resumed and self.upstreams.members:
            self._post_upstream(b"%d" % self.worker, -1)
        referrer = make_referrer(self.transactions, self.listeners, os.urandom(16))
        if self.workers == 1:
            self.redial = Redial(config.redial, self.store, self.wheel, self.location, referrer, 64 * self.transactions.t1,
                                 self.events)
        else:
            self.redial = SharedRedial(config.redial, self.store, self.wheel, self.location, referrer,
                                       64 * self.transactions.t1, worker=self.worker, workers=self.workers,
                                       post=self._post, resumed=self.resumed, events=self.events)
        if self.worker == 0:                  # one sweeps for all
            self.housekeeping = make_housekeeping(self, self.store, self.outbound, self.wheel, longest_call)
            self.wheel.schedule(now + SWEEP_INTERVAL, self.housekeeping, SWEEP)
        self.proxy.started = now
        self.redial.start(now)

    def close(self):
        """Drop all transactions and timers, telling nobody. The store stays open."""
        if self.wheel is None:
            raise not_started()
        self.transactions.close()
        self.wheel.clear()

    # ---- the receiver's face

    cpdef bint may_wait(self, bytes data) except -1:
        # Its phone repeats it (RFC 3261 §17.1.2.2), and nobody listens to it ring.
        return data.startswith(b"REGISTER ")

    cpdef int receive(self, bytes data, Flow flow, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.hops = self.workers - 1
        if now != self.snapshot_at:           # once a batch, and a ms: then others may have written meanwhile
            self.snapshot_at = now
            self.store.hold_snapshot()
        self.events.now = now
        return self.take(data, flow, now)

    cdef int take(self, bytes data, Flow flow, int64_t now) except -1:
        cdef Message message = None
        self.received += 1
        if PyBytes_GET_SIZE(data) <= 4 and not data.strip(b"\r\n\0 "):
            self.keepalives += 1              # RFC 5626 §4.4.1 and what phones behind a NAT send
            return 0
        self.current = self.remarked = None
        try:
            message = parse_message(data)
            self.transactions.begin(message, now)
            if message.error:
                return self.refuse(message, flow)
            if self.upstreams.members and message.status != 503:
                self.upstreams.hear(flow, now)
            if message.status:
                self.responses += 1
                return self.response(message, flow, now)
            self.requests += 1
            return self.request(message, flow, now)
        except Exception as error:
            self.lose(message, flow, error, now)
        return 0

    # ---- faults: of one message, one timer, one recall

    def lose(self, Message message, Flow flow, error, int64_t now):
        """One message's fault: what was made for it goes away, and a request is answered, where SIP allows it."""
        promised = {id(promise[1]) for promise in self.promises}
        status, extra = 500, b""              # RFC 3261 §21.5.1
        if is_of_batch(error):
            self._store_failed(error, now)
            status, extra = 503, b"Retry-After: 5\r\n"      # §21.5.4
        else:
            self.fault("message-failed", error, message, flow, now)
        try:
            self.transactions.forget_branch()
            if message is None or message.status or message.method == M_ACK or id(message) in promised:
                return                        # §17: an ACK is never answered
            if self.current is None:
                self.answer(message, flow, status, extra)
                return
            if self.current.handler is not None:
                self.current.handler.on_fault(now)
            self.respond(self.current, message, flow, status, extra, now)
        except Exception as other:
            self.fault("answer-failed", other, message, flow, now)

    cdef int fault(self, str event, error, Message message, Flow flow, int64_t now) except -1:
        cdef dict about = {}
        self.faults += 1
        self.fault_at = now
        if flow is not None:
            about["peer"] = f"{flow.host}:{flow.port}"
        if message is not None:
            about["message"] = message.text(message.method_name)
            about["call"] = message.text(message.call_id)
        self.complaints(event, error, **about)
        return 0

    # What went wrong outside of any message; True where that was all of the batch.
    cdef bint stumble(self, str event, error, int64_t now) except -1:
        if is_of_batch(error):
            self._store_failed(error, now)
            return True
        self.fault(event, error, None, None, now)
        return False

    def _seconds(self):
        return self.fault_at / 1000

    cpdef int failed(self, Flow flow, bytes data, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        # The kernel may tell any worker: it looks for the socket that the addressee's own datagrams would come to.
        cdef int home
        cdef bytes packed
        self.undeliverable += 1
        if self.workers > 1:
            home = self.transactions.sender_of(data)
            if 0 <= home < self.workers and home != self.worker:
                packed = flow.pack()
                self.handed_over += 1
                self.mailed = True
                (<list>self.mail[home]).append(b"F%c%b%b" % (<int>PyBytes_GET_SIZE(packed), packed, data[:MOST_QUOTED]))
                return 0
        return self.undelivered(flow, data, now)

    cdef int undelivered(self, Flow flow, bytes data, int64_t now) except -1:
        # RFC 3261 §18.4. Responses and ACKs are nobody's: nothing is done about those (§16.9).
        self.transactions.rest()
        try:
            self.transactions.undelivered(data, flow, now)
        except Exception as error:
            self.stumble("undeliverable-failed", error, now)
        return 0

    cpdef int advance(self, int64_t now) except -1:
        cdef int _try
        if self.wheel is None:
            raise not_started()
        for _try in range(MOST_TRIES):       # what is left is due at the next call
            self.transactions.rest()
            try:
                self.wheel.advance(now)
                break
            except Exception as error:
                self.transactions.forget_branch()
                if self.stumble("timer-failed", error, now):
                    break
        return 0

    cpdef int64_t next_deadline(self) except? -2:
        if self.wheel is None:
            raise not_started()
        return self.wheel.deadline()

    cpdef int commit(self, int64_t now) except -1:
        cdef list data, flows
        cdef Py_ssize_t i = 0
        if self.wheel is None:
            raise not_started()
        self.snapshot_at = -1
        self.transactions.rest()
        try:
            self.store.commit()
            self.promises.clear()
            while self.has_more(now):
                self.store.commit()
            self.transactions.settle()
            if self.events.waiting:
                self.events.tell()
        except Exception as error:            # what a commit raises concerns all that it was to make durable
            if not isinstance(error, StoreError):
                self.fault("commit-failed", error, None, None, now)
            self._store_failed(error, now)
        self.promises.clear()
        self.current = None
        self.commits += 1
        if self.probe.waiting:
            self.probe.leave(self.outbox)
        if self.mailed:
            try:
                self.deliver()
            except Exception as error:
                self.fault("hand-over-failed", error, None, None, now)
        data = self.outbox.data
        flows = self.outbox.flows
        if not data:
            return 0
        self.outbox.data = []
        self.outbox.flows = []
        while i < len(data):
            try:
                while i < len(data):
                    i += 1
                    if data[i - 1] is not None:
                        self.sink.send(<bytes>data[i - 1], <Flow>flows[i - 1])
            except Exception as error:
                self.fault("send-failed", error, None, <Flow>flows[i - 1], now)
        return 0

    # Whether redial has written something upon the commit.
    cdef bint has_more(self, int64_t now) except -1:
        try:
            return self.redial.committed(now)
        except Exception as error:
            self.transactions.forget_branch()
            if is_of_batch(error):
                raise
            self.fault("recall-failed", error, None, None, now)
            return True

    def _store_failed(self, error, int64_t now):
        # All of the batch's writes are lost: take back the answers that promised them.
        cdef ServerTransaction server
        self.failed_commits += 1
        self.events.drop()
        self.probe.drop()
        if now >= self.complain_at:           # a full disk fails every batch
            self.complain_at = now + COMPLAIN_EVERY
            log.error("store-failed", extra={"sip": {"error": str(error), "failures": self.failed_commits}})
        self.store.abort()
        promises, self.promises = self.promises, []
        # By identity: a retransmission in the same batch was answered with the same bytes.
        taken = {id(self.outbox.data[index]) for index, *_ in promises}
        self.outbox.data[:] = [None if id(data) in taken else data for data in self.outbox.data]
        for _index, request, flow, transaction in promises:
            self.unpromised += 1
            server = transaction
            if server is None:
                self.outbox.send(make_response(request, 503, flow, b"", b"Retry-After: 5\r\n", None, b""),
                                 answer_flow(request, flow))
            elif server.layer is not None:    # else it is over: nobody waits for an answer any more
                server.retract(make_response(request, 503, flow, server.tag(), b"Retry-After: 5\r\n", None, b""), 503, now)
        for _ in range(2):                    # the second time it only takes note of what the first could not write
            try:
                self.redial.rolled_back(now)
                break
            except StoreError:
                self.store.abort()
            except Exception as other:
                self.fault("undo-failed", other, None, None, now)
                self.store.abort()

    # ---- other workers

    cpdef int told(self, bytes frame, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.events.now = now
        self.transactions.rest()
        self.store.hold_snapshot()            # what it tells of has been committed
        try:
            self.open(frame, now)
        except Exception as error:
            self.stumble("told-failed", error, now)
        return 0

    cdef int open(self, bytes frame, int64_t now) except -1:
        cdef int size
        if frame[0] == FRAME_NOTICE:
            self.notices += 1
            (<object>self.redial).told(frame[1:], now)
            return 0
        if frame[0] == FRAME_MOVE:
            self.outbound.moved(decode_move(frame[1:]))
            return 0
        if frame[0] == FRAME_UPSTREAM:
            return self.told_of_upstream(frame[1:], now)
        self.handed_in += 1
        if frame[0] == FRAME_FAILED:
            size = frame[1]
            return self.undelivered(Flow.unpack(frame[2:2 + size]), frame[2 + size:], now)
        self.hops = frame[1]
        size = frame[2]
        return self.take(frame[3 + size:], Flow.unpack(frame[3:3 + size]), now)

    # ---- phones whose flow has changed

    def load_moves(self):
        """Take up the moves that the store has, in the order that they were made."""
        for move in sorted(self.store.moves(), key=by_expiry):
            self.outbound.moved(move)

    cdef int moved(self, list moves, int64_t now) except -1:
        cdef int worker
        if self.worker:
            self.outbound.expire(now)         # worker 0 has the store forget them
        for move in moves:
            self.outbound.moved(move)
            for worker in range(self.workers):
                if worker != self.worker:
                    self.mailed = True
                    (<list>self.mail[worker]).append(b"V" + encode_move(move))
        return 0

    def _post(self, int worker, bytes notice):
        self.mailed = True
        (<list>self.mail[worker]).append(b"R" + notice)

    def _post_upstream(self, bytes state, int to):
        cdef int worker
        self.mailed = True
        for worker in range(self.workers):
            if worker != self.worker and to in (worker, -1):
                (<list>self.mail[worker]).append(b"U" + state)

    cdef int told_of_upstream(self, bytes body, int64_t now) except -1:
        # A worker's number alone: it has just begun, and knows of nobody that is down.
        cdef int worker
        self.notices += 1
        if not body.isdigit():
            return self.upstreams.told(body, now)
        worker = int(body)
        for state in self.upstreams.states():
            self.mailed = True
            (<list>self.mail[worker]).append(b"U" + <bytes>state)
        return 0

    cdef int hand(self, int worker, Message message, Flow flow, int hops) except -1:
        # The other one answers by its own socket of the same address. `hops`: workers to try after that one.
        cdef bytes packed = flow.pack()
        self.handed_over += 1
        self.mailed = True
        (<list>self.mail[worker]).append(b"M%c%c%b%b" % (hops, <int>PyBytes_GET_SIZE(packed), packed, message.data))
        return 0

    cdef int deliver(self) except -1:
        cdef int worker
        cdef list frames
        self.mailed = False
        for worker in range(self.workers):
            frames = <list>self.mail[worker]
            if frames:
                self.mail[worker] = []
                self.bus(worker, frames)
        return 0

    # ---- answers without a transaction (RFC 3261 §8.2.7)

    cdef int answer(self, Message request, Flow flow, int status, bytes extra) except -1:
        cdef bytes tag = stateless_tag(request, self.secret)
        cdef bytes response = make_response(request, status, flow, tag, extra, None, b"")
        self.stateless += 1
        if status >= 400:
            self.refused(request, flow, status, extra)
        if PyBytes_GET_SIZE(response) > MOST_UDP:
            response = too_large(request, flow, tag, PyBytes_GET_SIZE(response))
        self.transactions.pass_on(response, answer_flow(request, flow), True)
        return 0

    cdef int refuse(self, Message message, Flow flow) except -1:
        # A malformed message. Only a request with a readable Via can be answered; an ACK and a response never are.
        self.malformed += 1
        if message.status or message.method == M_ACK or message.first[<int>H_VIA] == -1:
            return 0
        if message.via.host.end == message.via.host.start:
            return 0
        return self.answer(message, flow, message.error, b"")

    # ---- requests

    cdef int request(self, Message request, Flow flow, int64_t now) except -1:
        cdef RoutePlan plan
        cdef Uri uri = request.uri
        cdef int method = request.method, planned, verdict, problem, home
        cdef bint in_dialog = request.target.tag.end > request.target.tag.start
        cdef Flow shown
        if method != M_REGISTER and method != M_OPTIONS:
            self.transactions.foresee(request)
        planned = self.router.plan(request, &plan)
        if planned == PLAN_MALFORMED:
            return self.reject(request, flow, 400, b"")
        if planned == PLAN_FORGED:            # RFC 5626 §5.3.1
            return self.reject(request, flow, 403, warning_line(
                request.text(request.uri.host), b"A Route with a token that is not of this server, or not of this call"))
        if plan.from_strict and request.parse_uri(plan.last, &uri) != 1:
            return self.reject(request, flow, 400, b"")
        if plan.key.end > plan.key.start and self.outbound.tokens.is_key(&plan.keyed, request.p, plan.key, now):
            shown = self.outbound.tokens.flow_to(&plan.keyed, 0)
            if shown is not None:
                self.proven.add(shown, now)
        if method == M_OPTIONS and not in_dialog and plan.left == 0 and self.router.is_self(request.p, &uri):
            return self.options(request, flow)
        if method == M_REGISTER and plan.left == 0 and self.router.upstream_of(request.p, &uri) is None and (
                self.router.is_served(request.p, &uri) or self.router.is_self(request.p, &uri)):
            return self.register(request, flow, now)
        if method == M_ACK or method == M_CANCEL:
            return self.hop_by_hop(request, flow, &plan, &uri, in_dialog, now)
        problem = self.validate(request, &uri)
        if problem:
            return self.reject(request, flow, problem,
                               unsupported_line(request, H_PROXY_REQUIRE) if problem == 420 else b"")
        problem = self.destination.admit(request, flow, &plan, &uri, in_dialog, now)
        if problem:
            if self.destination.unserved:
                self.remark(request, &uri, now)
            return self.reject(request, flow, problem, self.destination.why)
        if method == M_NOTIFY and self.hops and plan.left == 0 and self.router.is_self(request.p, &uri):
            home = (<object>self.redial).home(request.text(request.call_id))
            if home >= 0 and home != self.worker:
                return self.hand(home, request, flow, 0)
        verdict = self.transactions.receive_request(request, answer_flow(request, flow), now)
        if verdict != VERDICT_NEW:
            if self.transactions.elsewhere is not None and method == M_REGISTER:
                self.register_elsewhere(self.transactions.elsewhere, request, flow, now)
            return 0
        self.current = self.transactions.created
        return self.dispatch(self.current, request, flow, &plan, &uri, in_dialog, now)

    cdef int register_elsewhere(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        # The very same REGISTER by another flow. Anybody could have sent it, so what it says waits for the upstream's word.
        cdef ResponseContext context
        if server.handler is not None:
            context = <ResponseContext?>server.handler
            if context.first_flow is None:
                context.first_flow = context.flow
            context.flow = flow
        elif self.router.is_served(request.p, &request.target.uri):
            self.registrar.follow(request, flow, canonical_aor(request.p, &request.target.uri), now)
            self.moved(self.registrar.moves, now)
        return 0

    cdef int moved_meanwhile(self, ResponseContext context, Message request, bytes aor, int64_t now) except -1:
        # The upstream has our token for the flow that the REGISTER came by at first.
        cdef Flow old = self.way_of(request, context.first_flow)
        move = Move(old.pack(), self.way_of(request, context.flow).pack(), aor, contact_of(request), now + self.longest_call)
        self.store.put_move(move)
        return self.moved([move], now)

    cdef int reject(self, Message request, Flow flow, int status, bytes extra) except -1:
        if request.method == M_ACK:
            self.discarded += 1
            return 0
        return self.answer(request, flow, status, extra)

    cdef int validate(self, Message request, Uri *uri) except -1:
        # RFC 3261 §16.3
        if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
            return 416                        # tel: needs a numbering plan, which is not ours to have
        if request.max_forwards == 0:
            return 483
        if request.count > MAX_FIELDS - MOST_LINES:
            return 513                        # with our lines on top the next hop, if it is like us, would not take it
        if request.has(H_PROXY_REQUIRE) and unsupported_line(request, H_PROXY_REQUIRE):
            return 420                        # an empty one asks for nothing
        if self.proxy.is_loop(request):
            return 482
        return 0

    cdef int options(self, Message request, Flow flow) except -1:
        # RFC 3261 §11.2
        cdef bytes unsupported = unsupported_line(request, H_REQUIRE) if request.has(H_REQUIRE) else b""
        if unsupported:                       # §8.2.2.3; an empty one asks for nothing
            return self.answer(request, flow, 420, unsupported)
        return self.answer(request, flow, 200, CAPABILITIES)

    cdef int register(self, Message request, Flow flow, int64_t now) except -1:
        # RFC 3261 §10.3; the answer is a function of the request and the store, so no transaction is kept (§8.2.7).
        cdef bytes aor
        cdef bytes response
        cdef object extra
        cdef Py_ssize_t place
        cdef Flow way
        if request.target.uri.scheme not in (SCHEME_SIP, SCHEME_SIPS):
            return self.answer(request, flow, 400, b"")    # §10.2, RFC 4475 §3.3.4: an AOR is a SIP or SIPS URI
        if request.has(H_REQUIRE):
            extra = unsupported_line(request, H_REQUIRE)   # §10.3 step 2
            if extra:
                return self.answer(request, flow, 420, extra)
        if not self.router.is_served(request.p, &request.target.uri):
            return self.answer(request, flow, 404, b"")    # §10.3 step 5
        aor = canonical_aor(request.p, &request.target.uri)
        response = self.registrar.register(request, flow, aor, now)
        self.stateless += 1
        way = answer_flow(request, flow)
        if not self.transactions.may_send(PyBytes_GET_SIZE(response), way, True):
            response = too_large(request, flow, stateless_tag(request, self.secret), PyBytes_GET_SIZE(response))
        place = len(self.outbox.data)
        if self.transactions.pass_on(response, way, True):
            self.promises.append((place, request, flow, None))
        if self.registrar.unproven:
            self.probe.ask(aor, self.transactions.payer(), now)
        if self.registrar.moves:
            self.moved(self.registrar.moves, now)
        if self.registrar.newly_bound:
            self.registered(aor, flow, now)
            self.redial.callee_bound(aor, now)
        elif self.registrar.newly_unbound:
            self.gone(aor, "its phone has logged out")
        elif self.registrar.refused:
            self.refused(request, flow, self.registrar.refused, b"")
        else:
            self.redial.refreshed(aor)
        return 0

    cdef int hop_by_hop(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog,
                        int64_t now) except -1:
        cdef list targets
        if self.transactions.receive_request(request, answer_flow(request, flow), now) != VERDICT_UNMATCHED:
            return 0
        if self.hops and (request.method == M_CANCEL or not routed_by_us(plan)) and not span_is_stateless_tag(
                request, self.secret):
            # From another port than its INVITE it may have come to another worker than that. An ACK that follows our
            # Record-Route is for a 2xx, and has no transaction anywhere.
            return self.hand((self.worker + 1) % self.workers, request, flow, self.hops - 1)
        if request.method == M_CANCEL:
            if self.forward_former(request, flow, plan, uri, in_dialog, now):
                return 0
            return self.answer(request, flow, 481, b"")
        if (plan.token.kind == TOKEN_NONE and now < self.proxy.started + self.proxy.timer_c
                and self.forward_former(request, flow, plan, uri, in_dialog, now)):
            return 0
        if (self.validate(request, uri) or self.destination.admit(request, flow, plan, uri, in_dialog, now)
                or (plan.token.kind == TOKEN_NONE and self.router.is_self(request.p, uri))):
            self.discarded += 1
            return 0
        if span_is_stateless_tag(request, self.secret):
            self.discarded += 1               # it acknowledges a final response that we gave without a transaction
            return 0
        targets = self.destination.find(request, flow, plan, uri, in_dialog, now)
        if not targets:
            self.discarded += 1
            return 0
        if (<Target>targets[0]).flow is not None:
            self.acknowledged(request, now)
        return self.proxy.forward_ack(request, flow, <Target>targets[0], plan)

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

    cdef int dispatch(self, ServerTransaction server, Message request, Flow flow, RoutePlan *plan, Uri *uri,
                      bint in_dialog, int64_t now) except -1:
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
            return self.respond(server, request, flow, 489, b"Allow-Events: refer\r\n", now)
        if (request.method == M_INVITE and not in_dialog and plan.left == 0 and plan.token.kind == TOKEN_NONE
                and self.router.is_served(request.p, uri)):
            callee = canonical_aor(request.p, uri)
            if not self.router.is_upstream(flow):
                caller = canonical_aor(request.p, &request.sender.uri)
        targets = self.destination.find(request, flow, plan, uri, in_dialog, now)
        if self.destination.status:
            if self.destination.unserved:
                self.remark(request, uri, now)
            return self.respond(server, request, flow, self.destination.status, self.destination.why, now)
        if not targets:
            if self.destination.dead is not None:
                return self.cut_off(server, request, flow, caller, callee, now)
            return self.unbound(server, request, flow, caller, callee, now)
        if request.method == M_REFER and not self.destination.may_refer(request, flow, plan, in_dialog, targets, now):
            return self.respond(server, request, flow, 403, self.destination.why, now)
        group = self.destination.group        # what follows may ask for another destination
        if request.method == M_REGISTER:
            return self.forward_register(server, request, flow, targets, plan, group, now)
        if caller is not None:
            self.call_started(request, caller, callee, now)
        self.proxy.forward(server, request, flow, targets, plan, b"", group, caller, callee, now)
        return 0

    cdef int forward_register(self, ServerTransaction server, Message request, Flow flow, list targets, RoutePlan *plan,
                              Group group, int64_t now) except -1:
        cdef ResponseContext context
        cdef Message hidden
        if group is None or not group.by_token:
            self.proxy.forward(server, request, flow, targets, plan, self.path_lines(request, flow), group, None, None, now)
            return 0
        hidden = self.mid_registrar.hidden(request, flow, canonical_aor(request.p, &request.target.uri), now)
        if hidden.error:                      # our URIs are longer than its Contacts
            return self.respond(server, request, flow, hidden.error, b"", now)
        context = self.proxy.forward(server, hidden, flow, targets, plan, b"", group, None, None, now)
        context.original = request
        return 0

    cdef int cut_off(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1:
        # The upstream is down. RFC 3261 §21.5.4; whether the callee is absent nobody knows, so that this arms nothing.
        if caller is not None:
            self.call_started(request, caller, callee, now)
            self.redial.call_failed(caller, callee, request.text(request.call_id), 503, now)
            self.not_watched(caller, callee, "the upstream is down")
        return self.respond(server, request, flow, 503, self.destination.dead.retry_after(), now)

    cdef bint upstream_lost(self, ResponseContext context, int64_t now) except -1:
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
            self.stumble("rerouting-failed", error, now)
            targets = None
        if self.destination.dead is not None:
            context.retry_after = self.destination.dead.retry_after()
        if not targets:
            return False
        context.group = self.destination.group
        self.rerouted += 1
        return self.proxy.fork(context, targets, &plan,
                               self.path_lines(request, context.flow) if (
                                   request.method == M_REGISTER and context.original is None) else b"", now)

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

    cdef int remark(self, Message request, Uri *uri, int64_t now) except -1:
        # Once in a while: anybody may ask for anything.
        if now >= self.remark_at:
            self.remark_at = now + COMPLAIN_EVERY
            self.remarked = request
            log.warning("domain-not-served", extra={"sip": {
                "host": request.text(uri.host).decode("ascii", "replace"),
                "method": request.text(request.method_name).decode("ascii"),
                "keys": "domains, [[upstream]], [[peer]]"}})
        return 0

    cdef int to_self(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        # Nobody lives at the server's own address.
        cdef int status
        cdef bytes extra = unsupported_line(request, H_REQUIRE)
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
        return self.respond(server, request, flow, status, extra, now)

    cdef int respond(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra,
                     int64_t now) except -1:
        if status >= 400:
            self.refused(request, flow, status, extra)
        return server.respond(make_response(request, status, flow, server.tag(), extra, None, b""), status, now)

    # ---- what people are told (events.pyx)

    cdef int registered(self, bytes aor, Flow flow, int64_t now) except -1:
        if self.registrations and self.events.wants(REGISTERED):
            binding = self.location.lookup(aor, now)[0]
            self.events.add("registered", {"aor": aor, "contact": binding.contact, "peer": peer_of(flow),
                                           "seconds": (<int64_t>binding.expires - now) // 1000})
        return 0

    cdef int gone(self, bytes aor, str why) except -1:
        if self.registrations and self.events.wants(GONE):
            self.events.add("gone", {"aor": aor, "why": why})
        return 0

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
        if why is not None and self.events.wants(NOT_ARMED) and not self.redial.is_recalling(
                context.caller, context.callee):
            self.events.add("call-not-watched", {"callee": context.callee, "caller": context.caller, "why": why})
        return 0

    cdef int not_watched(self, bytes caller, bytes callee, str why) except -1:
        if self.events.wants(NOT_ARMED):
            self.events.add("call-not-watched", {"callee": callee, "caller": caller, "why": why})
        return 0

    cdef int refused(self, Message request, Flow flow, int status, bytes extra) except -1:
        cdef str why = ""
        if self.remarked is request:          # that line says more
            return 0
        if extra and b'"' in extra:           # of a Warning
            why = extra.split(b'"')[1].decode("utf-8", "replace")
        return self.events.refused(status, request.method, request.text(request.method_name), peer_of(flow), why)

    # ---- redial's wires

    cdef int unbound(self, ServerTransaction server, Message request, Flow flow, bytes caller, bytes callee,
                     int64_t now) except -1:
        # A user of ours without a binding: 480, and perhaps a watch.
        cdef object offer = None
        if caller is not None:
            offer = self.redial.unavailable(request, flow, caller, callee, self.is_local(request), now)
        elif callee is not None:
            self.not_watched(canonical_aor(request.p, &request.sender.uri), callee, "it comes from the upstream")
        return self.not_here(server, request, flow, offer, now)

    cdef bint is_local(self, Message request) except -1:
        return not self.local_callers or self.router.is_served(request.p, &request.sender.uri)

    cdef int not_here(self, ServerTransaction server, Message request, Flow flow, object offer, int64_t now) except -1:
        cdef bytes extra = b"", reason = None
        cdef Py_ssize_t place = len(self.outbox.data)
        if offer is not None:
            reason, extra = offer
            # The caller is to learn of it: a phone that is registered by this flow is told until it acknowledges (§17.2.1).
            if not self.transactions.proven.has(server.flow, now) and self.location.is_registered_by(
                    canonical_aor(request.p, &request.sender.uri), answer_flow(request, flow), now):
                server.credit = self.transactions.own
        if server.respond(make_response(request, 480, flow, server.tag(), extra, reason, b""), 480, now) and offer is not None:
            self.promises.append((place, request, flow, server))
        return 0

    # A call goes on whatever redial or the store do: what redial could not write down is set right by its own timers.

    cdef int call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now) except -1:
        try:
            self.redial.call_answered(caller, callee, call_id, now)
        except Exception as error:
            self.stumble("redial-failed", error, now)

    cdef int acknowledged(self, Message ack, int64_t now) except -1:
        try:
            self.redial.call_acknowledged(ack, now)
        except Exception as error:
            self.stumble("redial-failed", error, now)
        return 0

    cdef int call_ended(self, Message bye, int64_t now) except -1:
        try:
            self.redial.call_hung_up(bye, now)
        except Exception as error:
            self.stumble("redial-failed", error, now)

    cdef int call_started(self, Message request, bytes caller, bytes callee, int64_t now) except -1:
        try:
            self.redial.call_started(caller, callee, request, now)
            if request.number(H_EXPIRES) == 0:
                self.redial.cancel(caller, callee, now)
        except Exception as error:
            self.stumble("redial-failed", error, now)

    cdef bint call_failed(self, ResponseContext context, int status, int64_t now) except -1:
        # The call got a final response other than 2xx. True: the caller was told of its watch instead.
        try:
            return self.after_failure(context, status, now)
        except Exception as error:
            self.stumble("redial-failed", error, now)
            return False

    cdef bint after_failure(self, ResponseContext context, int status, int64_t now) except -1:
        if context.group is not None and self.is_absent(context.callee, status, now):
            offer = self.redial.unavailable(context.request, context.flow, context.caller, context.callee,
                                            self.is_local(context.request), now)
            if offer is not None:
                self.not_here(context.server, context.request, context.flow, offer, now)
                return True
            return False
        self.unwatched(context, status)
        self.redial.call_failed(context.caller, context.callee, context.request.text(context.request.call_id),
                                status, now)
        return False

    cdef bint is_absent(self, bytes callee, int status, int64_t now) except -1:
        # Whether the upstream's answer means that the callee is not logged in.
        if status == 404 and self.store.is_known(callee):
            if self.location.is_bound(callee, now):
                self.gone(callee, "its upstream says 404")
            self.store.put_bindings(callee, ())   # what we had learned is out of date: the next REGISTER is a return
            return True
        # With a binding known to us, a 480 is the phone's own word (RFC 3261 §21.4.18): it is there, and declines.
        return status == 480 and not self.location.is_bound(callee, now)

    cdef Message upstream_registered(self, ResponseContext context, Message response, int64_t now):
        cdef Message request = context.request if context.original is None else context.original
        cdef bytes aor = canonical_aor(request.p, &request.target.uri)
        try:
            if context.original is not None:
                response = self.mid_registrar.restored(
                    request, response, context.flow if context.first_flow is None else context.first_flow, aor, now)
                self.mid_registrar.remember(aor)
            if not self.router.is_served(request.p, &request.target.uri):
                return response
            self.learning.learn(request, response, context.flow, aor, now)
            self.moved(self.learning.moves, now)
            if self.learning.unproven:
                self.probe.ask(aor, self.transactions.payer(), now)
            if self.learning.newly_unbound:
                self.gone(aor, "its phone has logged out")
            if context.first_flow is not None:
                self.moved_meanwhile(context, request, aor, now)
            if self.learning.newly_bound:
                self.registered(aor, context.flow, now)
                self.redial.callee_bound(aor, now)
            else:
                self.redial.refreshed(aor)
        except Exception as error:
            self.stumble("learning-failed", error, now)
        return response

    # ---- responses

    cdef int response(self, Message response, Flow flow, int64_t now) except -1:
        cdef int home
        if not self.is_sent_by_us(response):
            self.strays += 1                  # RFC 3261 §18.1.2
            return 0
        if self.probe.heard(response, now):
            return 0
        if self.hops:
            home = self.transactions.worker_of(response.p + response.via.branch.start,
                                               response.via.branch.end - response.via.branch.start)
            if 0 <= home < self.workers and home != self.worker:
                return self.hand(home, response, flow, 0)
        if self.transactions.receive_response(response, flow, now):
            return 0
        return self.stray(response, now)

    cdef bint is_sent_by_us(self, Message response) except -1:
        cdef Span host = response.via.host
        cdef bytes ours, other
        for ours in self.sent_by:             # as we wrote it: host and port, and whatever ends them
            if (host.start + PyBytes_GET_SIZE(ours) < PyBytes_GET_SIZE(response.data)
                    and memcmp(response.p + host.start, PyBytes_AS_STRING(ours), PyBytes_GET_SIZE(ours)) == 0
                    and response.p[host.start + PyBytes_GET_SIZE(ours)] in (c';', c' ', c',', c'\t', c'\r')):
                return True
        other = response.text(host).lower() + b":%d" % (response.via.port if response.via.port != -1 else 5060)
        for ours in self.sent_by:
            if ours.lower() == other:
                return True
        return False

    cdef int stray(self, Message response, int64_t now) except -1:
        """A response that matches no transaction.

        RFC 6026 §8 has a proxy drop it, for fear of forwarding what it never asked for. One case is known to be ours: the
        INVITE was forwarded before a restart, for the Via below ours (Ringing); its callee is ringing or has answered,
        and the caller must hear of it.
        """
        cdef uint32_t loop
        cdef Cursor cursor
        cdef Span value
        cdef Via via
        cdef Flow back, way
        cdef bytes caller, callee
        self.strays += 1
        if response.status <= 100 or (response.cseq.method != M_INVITE and response.cseq.method != M_CANCEL):
            return 0
        if not self.transactions.is_own_branch(response.p + response.via.branch.start,
                                               response.via.branch.end - response.via.branch.start, &loop):
            return 0
        response.cursor(H_VIA, &cursor)
        response.next_value(&cursor, &value)
        if not response.next_value(&cursor, &value) or response.parse_via(value, &via) != 1:
            return 0
        back = self.via_flow(response, &via)
        way = self.proxy.ringing.way(response, &via, back, now) if back is not None else None
        if way is None:
            return 0
        if response.cseq.method == M_CANCEL:      # a former INVITE's, which we have passed on
            return self.proxy.pass_back(response, back)
        if 200 <= response.status < 300 and self.router.is_served(response.p, &response.target.uri):
            caller = canonical_aor(response.p, &response.sender.uri)
            callee = canonical_aor(response.p, &response.target.uri)
            # The ACK tells whether the caller heard of it: one that has sent its INVITE again meanwhile was told 482
            # (§8.2.2.2) and listens no more.
            self.call_answered(caller, callee, response.text(response.call_id), now)
        return self.proxy.forward_stray(response, &via, way, back, now)

    cdef Flow via_flow(self, Message response, Via *via):
        # RFC 3261 §18.2.2 and RFC 3581 §4
        cdef bytes text = response.text(via.received if via.received.end > via.received.start else via.host)
        cdef int port = via.port if via.port != -1 else 5060
        cdef Uri uri
        if via.rport_port < 0:
            return None
        if via.rport_port:
            port = via.rport_port
        text = b"sip:" + (b"[" + text + b"]" if b":" in text and not text.startswith(b"[") else text) + b":%d" % port
        if parse_uri_at(<const unsigned char *>text, 0, <int>PyBytes_GET_SIZE(text), &uri) != 1:
            return None
        return self.location.flow_to(<const unsigned char *>text, &uri)

    def counters(self):
        """What was counted since the start, by name."""
        if self.wheel is None:
            raise not_started()
        out = {
            "received": self.received, "requests": self.requests, "responses": self.responses,
            "keepalives": self.keepalives, "malformed": self.malformed, "discarded": self.discarded,
            "answered_stateless": self.stateless, "stray_responses": self.strays, "forwarded": self.proxy.forwarded,
            "loops": self.proxy.looped, "commits": self.commits, "failed_commits": self.failed_commits,
            "faults": self.faults, "undeliverable": self.undeliverable, "answers_taken_back": self.unpromised,
            "timers": self.wheel.count,
            "upstream_failures": self.upstreams.failures, "rerouted": self.rerouted,
            "probes": self.probe.sent, "probes_answered": self.probe.answered,
            "handed_over": self.handed_over, "handed_in": self.handed_in, "notices": self.notices,
        }
        out.update(self.transactions.counters())
        out.update(self.redial.counters())
        return out


cdef bytes peer_of(Flow flow):
    return (b"[%b]:%d" if flow.family == 6 else b"%b:%d") % (flow.host_text(), flow.port)


# The first Contact.
cdef bint read_contact(Message request, Address *address) noexcept:
    cdef Cursor cursor
    cdef Span value
    request.cursor(H_CONTACT, &cursor)
    return request.next_value(&cursor, &value) and request.parse_address(value, address) == 1


cdef bytes contact_of(Message request):
    cdef Address address
    return request.text(address.uri.all) if read_contact(request, &address) else b""


def not_started():
    """What an engine says to whoever comes too early."""
    return RuntimeError("the engine has not been started: call start first")


def is_of_batch(error):
    """Whether all of a batch is lost with what went wrong: the store failed, and not only in reading one record."""
    return isinstance(error, StoreError) and not isinstance(error, StoreUnreadable)


def by_expiry(move):
    """Sort key of moves: all are kept for the same time, so the order of their ends is that of their beginnings."""
    return move.expires


cdef bytes unsupported_line(Message request, int header):
    # The option tags that we do not understand (RFC 3261 §8.2.2.3, §16.3 step 5); Require may ask for path, which we do.
    cdef Cursor cursor
    cdef Span value
    cdef list unknown = []
    request.cursor(header, &cursor)
    while request.next_value(&cursor, &value):
        if header == H_REQUIRE and span_is(request.p, value, b"path"):
            continue
        unknown.append(request.text(value))
    return b"Unsupported: " + b", ".join(unknown) + b"\r\n" if unknown else b""


cdef bint span_is_stateless_tag(Message request, uint64_t secret) except -1:
    return request.text(request.target.tag) == stateless_tag(request, secret)


def upstream_addresses(config, hosts):
    """The addresses of the upstreams' hosts, as text."""
    found = []
    for upstream in config.upstream:
        for uri in upstream.uris:
            host, _ = parse_upstream(uri)
            found += [address for address in hosts.get(host, [host]) if is_ip(address)]
    return found


def flows_to(listeners):
    """The flows that lead to ourselves."""
    places = {(listener.host, listener.port) for listener in listeners}
    for listener in listeners:
        _, _, host, port, _ = uri_parts(b"sip:" + bytes(listener.sent_by))
        places.add((host.decode(), port if port > 0 else 5060))
    return [Flow(host, port) for host, port in places if is_ip(host) and host not in ("0.0.0.0", "::")]


def make_router(config, listeners, domains, Location location, tokens, hosts):
    """The router for a configuration; upstream host names are looked up among `hosts`."""
    own = {uri_parts(b"sip:" + bytes(listener.sent_by))[2] for listener in listeners}
    own |= {listener.host.encode() for listener in listeners if listener.host not in ("0.0.0.0", "::")}
    ports = {listener.port for listener in listeners}
    groups = {}
    known = {}
    default = None
    for upstream in config.upstream:
        group = make_group(upstream, hosts, location.resolve, known)
        for domain in upstream.domains:
            groups[domain.lower().encode()] = group
        if not upstream.domains:
            default = group
    everything = [*groups.values(), default] if default is not None else list(groups.values())
    served = {domain.lower().encode() for domain in domains} | set(groups)
    any_domain = default is not None and not config.domains
    return Router(served, own, ports, Upstreams(everything), groups, default, any_domain, tokens)
