"""The engine: its inputs and its outputs. Bytes in, bytes out, no socket, no clock.

`receive`, `failed`, `told` and `advance` only collect; `commit` commits once for all of them and then gives everything to the
sink, in order. Where the store answers later, that waits for `committed` or `lost` (commits.pyx). What is done with a request
is in dispatch.pyx, with a response in responses.pyx.

This is the one place where registrar, proxy and redial are put together, and where an error becomes a response.
"""

import os

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow, Incoming, Receiver, Sink
from .._hash cimport Secret
from .._parser cimport M_ACK, Message, canonical_aor, parse_message
from .._uri cimport plain_host_of
from .._wheel cimport Wheel
from ..dialog.dialogs cimport Dialogs
from ..identity.authenticator cimport make_authenticator
from ..identity.claims cimport Claims
from ..identity.failures cimport make_failures
from ..identity.nonces cimport make_nonces
from ..observe.events cimport BANNED, LIMITED, Events
from ..redial.redial cimport make_redial
from ..routing.connections cimport Connections
from ..routing.destination cimport Destination
from ..routing.doubt cimport Doubts
from ..routing.learning cimport Learning
from ..routing.location cimport Location
from ..routing.mid_registrar cimport MidRegistrar
from ..routing.names cimport Names, Waiting
from ..routing.outbound cimport Outbound
from ..routing.probe cimport Probe
from ..routing.proxy cimport Proxy
from ..routing.registrar cimport Registrar
from ..routing.ringing cimport Ringing
from ..routing.router cimport Router
from ..routing.senders cimport Senders
from ..routing.sweeper cimport Sweeper
from ..routing.upstream cimport Upstreams
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from ..trust.limiter cimport Limiter
from ..trust.peers cimport Peers
from ..trust.proven cimport Proven
from .answers cimport make_answers
from .arrivals cimport Arrival, Arrivals
from .batch cimport Batch, Promise
from .calls cimport Calls
from .commits cimport Commits
from .dispatch cimport Dispatch
from .mail cimport FRAME_FAILED, FRAME_MOVE, FRAME_NOTICE, FRAME_UPSTREAM, Mail
from .registrations cimport Registrations
from .responses cimport Responses
from .speaker cimport Speaker

from .._parser import uri_parts
from ..config.addresses import DEFAULT_PORT, is_ip, parse_upstream
from ..routing.token import Tokens
from ..routing.upstream import make_group
from ..store.records import decode_move
from .commits import is_of_batch

cdef enum:
    LEAST_RINGING = 65_536   # bytes
    MOST_TRIES = 100         # timers that may fail at a time

cdef bytes TOO_MUCH = b'Retry-After: 5\r\nWarning: 399 sipfast "Too many requests from your address"\r\n'


@cython.final
cdef class Engine(Receiver):
    """See _flow.Receiver for the face that the driver uses; `start` comes first.

    `domains` are the domains served, `hosts` gives the addresses of the host names that the configuration mentions.
    `ringing`, `proofs`, `limits`: memory that outlives the engine, for what rings (ringing.pyx), for who is proven (proven.pyx)
    and for what each source has sent (limiter.pyx); bytearrays or mapped files.
    Of several workers on one store and one set of addresses, each has an engine: `bus(worker, frames)` takes what
    others are to get in `told`. `outlet(steps)` takes what happens to watches (observe/steps.py), after its commit;
    `webhook(steps)` the last word of redial. `resolver(ticket, name)` is asked for the addresses of a host, to be told in
    `resolved`. `users`: who has a password (identity/users), and then nobody comes in without one; None: every From is believed.
    """

    def __init__(self, config, store, Sink sink, listeners, *, domains, hosts=None, int worker=0, int workers=1,
                 bus=None, bint resumed=False, ringing=None, proofs=None, limits=None, randomness=os.urandom,
                 outlet=None, webhook=None, resolver=None, users=None):
        self.config = config
        self.store = store
        self.listeners = tuple(listeners)
        self.domains = tuple(domains)
        self.hosts = hosts or {}
        self.connections = Connections(0, worker)
        self.peers = Peers(config.peer, upstream_addresses(config, self.hosts))
        self.location = Location(store, [listener.family for listener in listeners],
                                 {name: addresses[0] for name, addresses in self.hosts.items()}, self.peers, self.connections)
        self.mail = Mail(worker, workers, bus)
        self.batch = Batch()
        self.commits = Commits(store, sink, self.batch, self.mail)
        self.arrivals = Arrivals(store)
        self.resumed = resumed
        self.memory = bytearray(LEAST_RINGING) if ringing is None else ringing
        self.proofs = proofs
        self.limits = limits
        self.randomness = randomness
        self.outlet = outlet
        self.webhook = webhook
        self.resolver = resolver
        self.users = users

    def start(self, int64_t now):
        """Load what the store holds; recalls that were in flight go on. Call `commit` afterwards."""
        self.longest_call = round(self.config.redial.max_talk * 1000)
        self.wheel = Wheel(now)
        self.events = Events(self.wheel, self.outlet, self.webhook)
        self.events.configure(self.config)
        self.make_parts(self.store.secret(), self.listeners, now)
        self.dialogs = Dialogs(self.store, self.transactions, self.wheel, self.listeners, self.location, self.randomness(16),
                               self.mail.worker, self.mail.workers)
        self.redial = make_redial(self.config.redial, self.store, self.wheel, self.events, self.location, self.transactions,
                                  self.listeners, self.dialogs, self.doubts, self.randomness(16), self.mail.worker,
                                  self.mail.workers, self.mail, self.resumed)
        self.transactions.witness = self.redial.calls.offers
        self.redial.know(self.users)
        self.connect()
        self.registrations.load_moves()
        self.upstreams.start(self.transactions, self.wheel, self.listeners, self.location.hosts, self.mail.worker,
                             None if self.mail.workers == 1 else self.mail.post_upstream)
        if self.resumed and self.upstreams.members:
            self.mail.post_upstream(b"%d" % self.mail.worker, -1)
        if self.mail.worker == 0:             # one sweeps for all
            Sweeper(self.store, self.outbound, self.wheel, self.events, self.longest_call).begin(now)
        self.dialogs.start(now)
        self.redial.start(now)

    cdef int make_parts(self, bytes key, tuple listeners, int64_t now) except -1:
        cdef uint64_t secret = <uint64_t>int.from_bytes(key[:8], "big"), other = <uint64_t>int.from_bytes(key[8:16], "big")
        cdef int64_t upgraded = self.store.upgraded_at()
        config, whole = self.config, int.from_bytes(key, "big")
        self.outbound = Outbound(Tokens(key, listeners), listeners)
        self.router = make_router(config, listeners, self.domains, self.location, self.outbound.tokens, self.hosts)
        self.upstreams = self.router.upstreams
        self.mid_registrar = MidRegistrar(self.location, self.outbound)
        self.destination = Destination(self.router, self.location, self.outbound, self.mid_registrar, self.peers,
                                       upgraded + self.longest_call if upgraded else 0)
        self.proven = Proven(secret ^ other, self.proofs, self.peers)
        self.limiter = Limiter(config.rates, secret, self.limits, self.peers, self.proven)
        self.limiter.configure(config.rates, self.mail.workers)
        self.limiter.exempt(flows_to(listeners))
        self.transactions = TransactionLayer(config.timers, self.wheel, self.batch, whole, self.mail.worker, self.proven)
        self.transactions.limit(config.limits)
        self.transactions.guide = self.outbound
        self.transactions.listeners = flows_to(listeners)
        self.registrar = Registrar(config.registrar, self.location, secret, self.longest_call, self.proven)
        self.learning = Learning(config.registrar, self.location, self.longest_call, self.proven)
        self.probe = Probe(whole, self.mail.worker, listeners, self.location, self.proven)
        self.doubts = Doubts(self.location, self.transactions, listeners)
        self.calls = Calls()
        self.names = Names(self.wheel, self.location.hosts, self.resolver)
        self.make_speaker(key, now)
        self.senders = Senders(self.location, self.transactions, self.peers, self.users is not None)
        self.registrar.senders = self.senders
        self.registrar.limiter = self.limiter if self.users is None else None
        self.proxy = Proxy(self.transactions, self.wheel, listeners, self.outbound, secret, config.timers,
                           self.upstreams, Ringing(other, self.memory), self.location.doubtful,
                           self.claims, self.calls)
        self.proxy.started = now
        self.answers = make_answers(self.transactions, self.events, secret)
        return 0

    cdef int make_speaker(self, bytes key, int64_t now) except -1:
        cdef Speaker it = Speaker()
        cdef Secret secret = Secret(<uint64_t>int.from_bytes(key[:8], "little"), <uint64_t>int.from_bytes(key[8:16], "little"))
        passwords = self.config.passwords
        realms = []
        if self.users is not None:
            it.realm = passwords.realm.encode()
            realms = [it.realm] if it.realm else sorted(self.router.domains)
            it.first_realm = it.realm or b"".join(plain_host_of(domain.encode()) for domain in self.domains[:1])
            it.authenticator = make_authenticator(
                self.users, make_nonces(secret, self.mail.worker, round(passwords.nonce_lasts * 1000),
                                        <uint64_t>int.from_bytes(self.randomness(4), "little"), now),
                make_failures(secret.high ^ secret.low),
                tuple(agent.encode() for agent in passwords.md5_only), self.randomness(16))
        it.outside_calls = passwords.outside_calls
        it.limiter, it.ban_after, it.ban_time = self.limiter, passwords.ban_after, self.config.rates.ban_time * 1000
        it.claims = self.claims = Claims(self.peers, realms)
        it.peers, it.router, it.transactions, it.events = self.peers, self.router, self.transactions, self.events
        self.speaker = it
        return 0

    def know(self, users):
        """Take other users while running. There were some from the start."""
        if self.wheel is None:
            raise not_started()
        if self.speaker.authenticator is None:
            raise RuntimeError("an engine that began without users has no use for any")
        self.speaker.authenticator.users = users
        self.redial.know(users)

    def configure(self, config):
        """Take other settings while running: those of registrar, redial, timers and limits, and what is logged.

        Domains, upstreams, peers, listeners and the store are those of the start.
        """
        if self.wheel is None:
            raise not_started()
        self.config = config
        self.events.configure(config)
        self.transactions.configure(config.timers)
        self.transactions.limit(config.limits)
        self.registrar.configure(config.registrar)
        self.learning.configure(config.registrar)
        self.proxy.configure(config.timers)
        self.senders.configure(config.redial)
        self.calls.configure(config.redial)
        self.redial.configure(config.redial)
        self.limiter.configure(config.rates, self.mail.workers)

    cdef int connect(self) except -1:
        """Tell each part of those that it works with."""
        self.registrations = Registrations()
        self.responses = Responses()
        self.dispatch = Dispatch()
        self.connect_commits()
        self.connect_registrations()
        self.connect_calls()
        self.connect_responses()
        self.connect_dispatch()
        return 0

    cdef int connect_commits(self) except -1:
        self.commits.transactions = self.transactions
        self.commits.events = self.events
        self.commits.probe = self.probe
        self.commits.redial = self.redial
        self.batch.pending = self.redial.pending
        if self.commits.later:
            self.commits.begin_unit()
        self.commits.dialogs = self.dialogs
        return 0

    cdef int connect_registrations(self) except -1:
        cdef Registrations it = self.registrations
        it.store, it.batch, it.mail, it.commits = self.store, self.batch, self.mail, self.commits
        it.answers, it.events, it.transactions = self.answers, self.events, self.transactions
        it.location, it.outbound, it.router = self.location, self.outbound, self.router
        it.registrar, it.learning, it.mid_registrar = self.registrar, self.learning, self.mid_registrar
        it.probe, it.proxy, it.longest_call = self.probe, self.proxy, self.longest_call
        it.observer, it.doubts, it.limiter = self.redial.bindings, self.doubts, self.limiter
        it.doubts.observer = self.redial.bindings
        return 0

    cdef int connect_calls(self) except -1:
        cdef Calls it = self.calls
        it.store, it.batch, it.commits, it.answers = self.store, self.batch, self.commits, self.answers
        it.registrations, it.events, it.transactions = self.registrations, self.events, self.transactions
        it.location, it.router, it.destination = self.location, self.router, self.destination
        it.proxy, it.redial, it.doubts = self.proxy, self.redial.calls, self.doubts
        it.redial.senders = self.senders
        self.senders.configure(self.config.redial)
        it.configure(self.config.redial)
        return 0

    cdef int connect_responses(self) except -1:
        cdef Responses it = self.responses
        it.sent_by = [listener.sent_by for listener in self.listeners]
        it.mail, it.transactions, it.location, it.router = self.mail, self.transactions, self.location, self.router
        it.probe, it.proxy, it.calls, it.dialogs = self.probe, self.proxy, self.calls, self.dialogs
        it.claims = self.claims
        return 0

    cdef int connect_dispatch(self) except -1:
        cdef Dispatch it = self.dispatch
        it.answers, it.calls, it.registrations, it.mail = self.answers, self.calls, self.registrations, self.mail
        it.transactions, it.router, it.destination = self.transactions, self.router, self.destination
        it.outbound, it.proven, it.proxy, it.redial = self.outbound, self.proven, self.proxy, self.redial
        it.dialogs, it.names = self.dialogs, self.names
        it.speaker, self.speaker.answers = self.speaker, self.answers
        return 0

    def ending(self, int64_t now):
        """The process is about to end: write what lost batches had written. Call `commit` afterwards."""
        if self.wheel is None:
            raise not_started()
        try:
            self.redial.ending(now)
        except Exception as error:
            self.commits.stumble("ending-failed", error, now)

    def close(self):
        """Drop all transactions and timers, telling nobody. The store stays open."""
        if self.wheel is None:
            raise not_started()
        self.transactions.close()
        self.wheel.clear()

    # ---- inputs

    cpdef bint may_wait(self, bytes data) except -1:
        # Its phone repeats it (RFC 3261 §17.1.2.2), and nobody listens to it ring.
        return data.startswith(b"REGISTER ")

    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept:
        return self.limiter.admit(arrivals, count, now)

    cpdef int receive_over(self, bytes data, Flow flow, int64_t now) except -1:
        cdef Message message = None
        if self.wheel is None:
            raise not_started()
        self.dispatch.current = None
        try:
            message = parse_message(data)
            self.transactions.begin(message, now)
            if message.error or message.status:
                return 0
            if self.dispatch.goes_on(message):
                return self.receive(data, flow, now)
            if self.limiter.may_answer(now):
                self.answers.reject(message, flow, 503, TOO_MUCH)     # RFC 3261 §21.5.4
        except Exception as error:
            self.lose(message, flow, error, now)
        return 0

    cpdef int receive(self, bytes data, Flow flow, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.mail.hops = self.mail.workers - 1
        if now != self.snapshot_at:           # once a batch, and a ms: then others may have written meanwhile
            self.snapshot_at = now
            self.store.hold_snapshot()
        self.events.now = now
        if flow is not None and flow.reliable():
            self.connections.note(flow)
        if self.commits.later:
            return self.arrivals.add(data, flow, self.mail.hops)
        return self.take(data, flow, now)

    cdef int take(self, bytes data, Flow flow, int64_t now) except -1:
        cdef Message message = None
        self.received += 1
        if self.commits.later:
            self.commits.begin_unit()
        if PyBytes_GET_SIZE(data) <= 4 and not data.strip(b"\r\n\0 "):
            self.keepalives += 1              # RFC 5626 §4.4.1 and what phones behind a NAT send
            return 0
        self.dispatch.current = None
        self.answers.remarked = None
        try:
            message = parse_message(data)
            self.transactions.begin(message, now)
            if message.error:
                return self.answers.malformed(message, flow)
            if self.upstreams.members and message.status != 503:
                self.upstreams.hear(flow, now)
            if message.status:
                self.responses_count += 1
                return self.responses.receive(message, flow, now)
            self.requests += 1
            return self.dispatch.receive(message, flow, now)
        except Exception as error:
            self.lose(message, flow, error, now)
        return 0

    def lose(self, Message message, Flow flow, error, int64_t now):
        """One message's fault: what was made for it goes away, and a request is answered, where SIP allows it."""
        cdef ServerTransaction current = self.dispatch.current
        promised = message is not None and self.commits.batch.has_promised(message)
        status, extra = 500, b""              # RFC 3261 §21.5.1
        if is_of_batch(error):
            self.commits.lose(error, now)
            status, extra = 503, b"Retry-After: 5\r\n"      # §21.5.4
        else:
            self.commits.fault("message-failed", error, message, flow, now)
        try:
            self.transactions.forget_branch()
            if message is None or message.status or message.method == M_ACK or promised:
                return                        # §17: an ACK is never answered
            if current is None:
                self.answers.answer(message, flow, status, extra)
                return
            if current.handler is not None:
                current.handler.on_fault(now)
            self.answers.respond(current, message, flow, status, extra, now)
        except Exception as other:
            self.commits.fault("answer-failed", other, message, flow, now)

    cpdef int failed(self, Flow flow, bytes data, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        # The kernel may tell any worker: it looks for the socket that the addressee's own datagrams would come to.
        cdef int home
        self.undeliverable += 1
        if self.mail.workers > 1:
            home = self.transactions.sender_of(data)
            if 0 <= home < self.mail.workers and home != self.mail.worker:
                return self.mail.hand_over_failure(home, flow, data)
        return self.undelivered(flow, data, now)

    cpdef int closed(self, Flow flow, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        if not self.connections.forget(flow):
            return 0                          # it was told before
        self.transactions.rest()
        if self.commits.later:
            self.commits.begin_unit()
        try:
            self.transactions.closed(flow, now)     # RFC 3261 §18.4
        except Exception as error:
            self.commits.stumble("closed-failed", error, now)
        return 0

    cpdef int resolved(self, uint64_t ticket, object addresses, int64_t now) except -1:
        cdef Waiting waiting
        if self.wheel is None:
            raise not_started()
        self.events.now = now
        self.dispatch.current = None
        for waiting in self.names.resolved(ticket, addresses, now):
            if self.commits.later:
                self.commits.begin_unit()
            try:
                waiting.go_on(now)
            except Exception as error:
                self.commits.stumble("resolved-failed", error, now)
        self.transactions.rest()
        return 0

    cdef int undelivered(self, Flow flow, bytes data, int64_t now) except -1:
        # RFC 3261 §18.4. Responses and ACKs are nobody's: nothing is done about those (§16.9).
        self.transactions.rest()
        if self.commits.later:
            self.commits.begin_unit()
        try:
            self.transactions.undelivered(data, flow, now)
        except Exception as error:
            self.commits.stumble("undeliverable-failed", error, now)
        return 0

    cpdef int advance(self, int64_t now) except -1:
        cdef int _try
        if self.wheel is None:
            raise not_started()
        for _try in range(MOST_TRIES):       # what is left is due at the next call
            self.transactions.rest()
            if self.commits.later:
                self.commits.begin_unit()
            try:
                self.wheel.advance(now)
                break
            except Exception as error:
                self.transactions.forget_branch()
                if self.commits.stumble("timer-failed", error, now):
                    break
        return 0

    cpdef int64_t next_deadline(self) except? -2:
        if self.wheel is None:
            raise not_started()
        return self.wheel.deadline()

    cpdef int commit(self, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.snapshot_at = -1
        if self.commits.later:
            self.take_arrivals(now)
        if self.limiter.told:
            self.tell_of_limits()
        self.dispatch.current = None
        self.commits.commit(now)
        while self.commits.again:             # the store has refused it at once
            self.dispatch_again(now)
            self.commits.commit(now)
        if self.names.to_ask:
            self.names.leave()
        return 0

    cdef int tell_of_limits(self) except -1:
        for source, banned in self.limiter.take_news():
            if self.events.wants(BANNED if banned else LIMITED):
                if banned:
                    self.events.add("source-banned", {"source": source, "seconds": self.config.rates.ban_time})
                else:
                    self.events.add("source-limited", {"source": source, "keys": "[rates], [[peer]]"})
        return 0

    # ---- a store that answers later

    cpdef int fetched(self, object group, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.events.now = now
        return self.arrivals.fetched(group)

    cdef int take_arrivals(self, int64_t now) except -1:
        """Handle what has come, as far as what it is about is at hand."""
        cdef Arrival message
        for message in self.arrivals.at_hand():
            self.mail.hops = message.hops
            self.take(message.data, message.flow, now)
        return 0

    cpdef int committed(self, object batch, int64_t now) except -1:
        return self.hear(batch, None, now)

    cpdef int lost(self, object batch, object reason, int64_t now) except -1:
        if reason is None:
            raise ValueError("a batch is lost with a StoreError")
        return self.hear(batch, reason, now)

    cdef int hear(self, Batch batch, object reason, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.events.now = now
        self.dispatch.current = None
        self.commits.answered(batch, reason, now)
        return self.dispatch_again(now)

    cdef int dispatch_again(self, int64_t now) except -1:
        """Handle the requests anew that were decided upon what somebody else has changed."""
        cdef list again = self.commits.again
        cdef Promise promise
        self.commits.again = []
        for promise in again:
            self.batch.tries = promise.tries + 1
            if promise.response is not None:
                self.learn_again(promise, now)
            elif promise.server is None:
                self.mail.hops = 0            # it has come to where it belongs
                self.take(promise.request.data, promise.flow, now)
            else:
                self.decide_again(promise, now)
        self.batch.tries = 0
        self.transactions.rest()
        self.dispatch.current = None
        return 0

    cdef int decide_again(self, Promise promise, int64_t now) except -1:
        self.commits.begin_unit()
        try:
            self.transactions.begin(promise.request, now)
            self.dispatch.again(promise.server, promise.request, promise.flow, now)
        except Exception as error:
            self.lose(promise.request, promise.flow, error, now)
        return 0

    cdef int learn_again(self, Promise promise, int64_t now) except -1:
        cdef Message request = promise.request
        self.commits.begin_unit()
        self.transactions.rest()
        self.batch.learn_from(request, promise.response, promise.flow, promise.first)
        try:
            self.registrations.learn(request, promise.response, promise.flow, promise.first,
                                     canonical_aor(request.p, &request.target.uri), now)
        except Exception as error:
            self.commits.stumble("learning-failed", error, now)
        return 0

    # ---- other workers

    cpdef int told(self, bytes frame, int64_t now) except -1:
        if self.wheel is None:
            raise not_started()
        self.events.now = now
        self.transactions.rest()
        if self.commits.later:
            self.commits.begin_unit()
        self.store.hold_snapshot()            # what it tells of has been committed
        try:
            self.open(frame, now)
        except Exception as error:
            self.commits.stumble("told-failed", error, now)
        return 0

    cdef int open(self, bytes frame, int64_t now) except -1:
        cdef int size
        if frame[0] == FRAME_NOTICE:
            self.notices += 1
            return self.redial.told(frame[1:], now)
        if frame[0] == FRAME_MOVE:
            self.outbound.moved(decode_move(frame[1:]))
            return 0
        if frame[0] == FRAME_UPSTREAM:
            return self.told_of_upstream(frame[1:], now)
        self.handed_in += 1
        if frame[0] == FRAME_FAILED:
            size = frame[1]
            return self.undelivered(Flow.unpack(frame[2:2 + size]), frame[2 + size:], now)
        self.mail.hops = frame[1]
        size = frame[2]
        if self.commits.later:
            return self.arrivals.add(frame[3 + size:], Flow.unpack(frame[3:3 + size]), self.mail.hops)
        return self.take(frame[3 + size:], Flow.unpack(frame[3:3 + size]), now)

    cdef int told_of_upstream(self, bytes body, int64_t now) except -1:
        # A worker's number alone: it has just begun, and knows of nobody that is down.
        cdef int worker
        self.notices += 1
        if not body.isdigit():
            return self.upstreams.told(body, now)
        worker = int(body)
        for state in self.upstreams.states():
            self.mail.post(worker, b"U" + <bytes>state)
        return 0

    def counters(self):
        """What was counted since the start, by name."""
        if self.wheel is None:
            raise not_started()
        out = {
            "received": self.received, "requests": self.requests, "responses": self.responses_count,
            "keepalives": self.keepalives, "malformed": self.answers.broken, "discarded": self.answers.discarded,
            "answered_stateless": self.answers.stateless, "foreign_responses": self.responses.foreign,
            "forwarded": self.proxy.forwarded, "loops": self.proxy.looped, "commits": self.commits.commits,
            "failed_commits": self.commits.failed_commits, "conflicts": self.commits.conflicts,
            "batches_under_way": len(self.commits.under_way), "faults": self.commits.faults,
            "undeliverable": self.undeliverable, "answers_taken_back": self.commits.unpromised,
            "challenges": self.speaker.challenged, "logins": self.speaker.logins, "stale_nonces": self.speaker.stale_nonces,
            "failed_logins": self.speaker.failed_logins, "slowed_logins": self.speaker.slowed_logins,
            "not_owned": self.speaker.not_owned,
            "timers": self.wheel.count,
            "upstream_failures": self.upstreams.failures, "rerouted": self.calls.rerouted,
            "probes": self.probe.sent, "probes_answered": self.probe.answered,
            "doubts": self.doubts.found, "doubts_resolved": self.doubts.resolved,
            "names_asked": self.names.questions, "names_unanswered": self.names.unanswered,
            "handed_over": self.mail.handed_over, "handed_in": self.handed_in, "notices": self.notices,
        }
        out.update(self.limiter.counters())
        out.update(self.transactions.counters())
        out.update(self.redial.counters())
        out.update(self.dialogs.counters())
        return out


def not_started():
    """What an engine says to whoever comes too early."""
    return RuntimeError("the engine has not been started: call start first")


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
        places.add((host.decode(), port if port > 0 else DEFAULT_PORT))
        if listener.host in ("0.0.0.0", "::"):
            places.add(("127.0.0.1" if listener.host == "0.0.0.0" else "::1", listener.port))
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
