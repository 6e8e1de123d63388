"""The transaction layer: RFC 3261 §17 as amended by RFC 6026, and merged requests (§8.2.2.2).

A server transaction is found by its key (`matching`) and method, a client transaction by the slot that our branch
names (`branch`).

Who holds whom: the layer holds every live transaction (slots and index), a transaction holds its layer and its handler,
and a handler usually its transaction. Termination cuts all of that, so that the classes need no garbage collector.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t

from .._flow cimport Flow, Sink
from .._parser cimport Cursor, H_VIA, M_ACK, M_CANCEL, M_INVITE, Message, Span, Via, method_id
from .._wheel cimport Wheel
from .._writer cimport make_response
from ..trust.credit cimport Credit, make_credit, make_unlimited
from ..trust.proven cimport MOST_TIMES, Proven, make_proven
from .branch cimport Locator, Slot, decode_branch, make_slots
from .client cimport ClientTransaction, ResponseHandler, make_client
from .index cimport Link, index_add, index_close, index_first, index_foresee, index_next, index_open
from .machines cimport ACCEPTED, COMPLETED, ON_ACK, ON_ERROR, ON_REQUEST, PROCEEDING, TELL, event_of
from .matching cimport identify, merge_hash, method_of, quoted_branch, same_legacy
from .server cimport Handler, ServerTransaction, make_server
from .shares cimport Shares
from .transaction cimport LEGACY, MOST_UDP, MOVED, OFFERS, PATIENCE, PROVISIONAL, STRAYED, Surroundings, Transaction

from .machines import durations

NEW, ABSORBED, MERGED, UNMATCHED, FULL = VERDICT_NEW, VERDICT_ABSORBED, VERDICT_MERGED, VERDICT_UNMATCHED, VERDICT_FULL

cdef enum:
    ANY_BUT_CANCEL = 0xffffffff
    ANSWERS = 2             # to an INVITE that is forwarded: 100 and a final one
    MOST_ALIKE = 16         # requests without the magic cookie that have one key: whoever looks for one looks at them all


cdef class TransactionLayer(Surroundings):

    def __cinit__(self):
        index_open(&self.by_key)
        index_open(&self.by_merge)
        self.finished = []

    def __init__(self, timers, Wheel wheel not None, Sink sink not None, secret, int worker=0, Proven proven=None):
        if not 0 <= worker <= 255:
            raise ValueError(f"not a worker's number: {worker}")
        self.configure(timers)
        self.wheel = wheel
        self.sink = sink
        self.secret.low = <uint64_t>(secret & 0xffffffffffffffff)
        self.secret.high = <uint64_t>(secret >> 64 & 0xffffffffffffffff)
        self.slots = make_slots(self.secret, worker, wheel.now)
        self.proven = proven if proven is not None else make_proven(self.secret.low ^ self.secret.high)
        self.own = self.credit = make_unlimited()
        self.listeners = []
        self.most_servers = self.most_held = 1 << 56
        self.shares = Shares(1.0)

    def configure(self, timers):
        """`timers`: a config.Timers. Timers that run go on as they were set."""
        self.t1 = round(timers.t1 * 1000)
        self.t2 = round(timers.t2 * 1000)
        for letter, (unreliable, reliable) in durations(self.t1, self.t2, round(timers.t4 * 1000)).items():
            self.after[<int>ord(letter) - 65][0] = unreliable
            self.after[<int>ord(letter) - 65][1] = reliable

    cpdef int limit(self, object limits) except -1:
        self.most_servers = limits.transactions
        self.most_held = limits.memory << 20
        self.shares = Shares(limits.source)
        return 0

    cdef bint has_room(self, bint in_dialog, Flow flow, int64_t now) except -1:
        # Calls that are there come first: a fifth of the room is for them alone.
        cdef int64_t fifths = 5 if in_dialog else 4
        if 5 * self.servers >= fifths * self.most_servers or 5 * self.held >= fifths * self.most_held:
            return False
        if in_dialog or (2 * self.servers < self.most_servers and 2 * self.held < self.most_held):
            return True
        # A peer speaks for many.
        return (self.proven.peers is not None and self.proven.peers.is_peer(flow)) or not self.shares.has_too_much(
            flow, &self.by_key, self.most_servers, self.most_held, now)

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

    cdef int forget(self, Transaction transaction) except -1:
        if self.created is transaction:
            self.created = None
        if self.elsewhere is transaction:
            self.elsewhere = None
        return 0

    cdef bint answer_for(self, ServerTransaction server, int64_t now) except -1:
        if self.credit is not self.own:
            return False
        self.resume(server.credit, server.origin_size(), now)
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
            self.shrink_finished()
        if not self.foreseen or request is not self.datagram:
            self.foresee(request)
        if request.method == M_ACK:
            return self.receive_ack(request, now)
        found = self.find(request, method_of(request.p, request.method, request.method_name))
        if found is not None:
            if not found.flow.same_peer(flow):
                # RFC 3261 §18.2.2: answers go to where the request comes from. Its sender's NAT has forgotten it meanwhile.
                found.redirect(flow)
                self.elsewhere = found
            before = found.credit
            found.handle(ON_REQUEST, None, now)
            if before is not None:            # what this one has left goes to what the first has caused, which it stands for, too
                before.renew(self.payer())
                found.credit = before
            return VERDICT_ABSORBED
        if request.method == M_CANCEL:
            return self.receive_cancel(request, flow, now)
        if self.alike >= MOST_ALIKE or not self.has_room(
                request.target.tag.end > request.target.tag.start, flow, now):
            self.refused += 1
            return VERDICT_FULL
        if request.target.tag.end == request.target.tag.start:
            return self.receive_initial(request, flow, now)
        self.created = make_server(self, request, flow, &self.key)
        return VERDICT_NEW

    cdef int receive_initial(self, Message request, Flow flow, int64_t now) except -1:
        # RFC 3261 §8.2.2.2
        cdef bint merged = self.is_merged(request, self.merge)
        cdef ServerTransaction transaction = make_server(self, request, flow, &self.key)
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

    cdef bint knows(self, Message request) except -1:
        self.foresee(request)
        return self.find(request, method_of(request.p, request.method, request.method_name)) is not None

    cdef ServerTransaction find(self, Message request, uint32_t method):
        cdef Link *link = index_first(&self.by_key, self.key.low)
        cdef ServerTransaction transaction
        self.alike = 0
        while link != NULL:
            self.alike += self.key.legacy
            transaction = <ServerTransaction>link.owner
            if (transaction.key_high == self.key.high and (transaction.marks & LEGACY) == self.key.legacy
                    and (transaction.method == method
                         or (method == ANY_BUT_CANCEL and transaction.method != M_CANCEL))
                    and (not self.key.legacy or same_legacy(transaction.request, request, transaction.final_response()))):
                return transaction
            link = index_next(link.next, self.key.low)
        return None

    cdef int receive_ack(self, Message ack, int64_t now) except -1:
        cdef ServerTransaction found = self.find(ack, M_INVITE)
        cdef bytes tag = None
        cdef bint first = found is not None and found.state == COMPLETED
        if first:
            tag = ack.text(ack.target.tag)
            if not found.marks & MOVED and tag == found.tag():
                self.prove(found.flow, now)
        if found is None or found.handle(ON_ACK, None, now) & TELL:
            return VERDICT_UNMATCHED          # RFC 6026 §7.1: an ACK for a 2xx is the user's
        # Whoever has sent the INVITE again from elsewhere was told the tag there (§18.2.2).
        if first and found.marks & (OFFERS | STRAYED) == OFFERS:
            self.witness.acknowledged(tag, now)
        return VERDICT_ABSORBED

    cdef int receive_cancel(self, Message cancel, Flow flow, int64_t now) except -1:
        # RFC 3261 §9.2: the CANCEL is answered 200 whatever became of the INVITE. One key, hence one To tag.
        cdef ServerTransaction target = self.find(cancel, ANY_BUT_CANCEL)
        cdef ServerTransaction own
        cdef Handler handler
        if target is None:
            return VERDICT_UNMATCHED
        own = make_server(self, cancel, flow, &self.key)
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
        transaction.handle(event_of(response.status), response, now)
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
            if not self.fail_unreachable(cancel, flow, now):
                return False
            self.fail_unreachable(request, flow, now)  # who has rung, and is not there for the CANCEL, will not answer
            return True
        if request is None or request.method != method_of(p, method_id(p, name), name):
            return False                      # an ACK: nothing depends on it, its response has come
        return self.fail_unreachable(request, flow, now)

    cdef bint fail_unreachable(self, ClientTransaction transaction, Flow flow, int64_t now) except -1:
        # With its final response a request has arrived, whatever became of a copy of it.
        if transaction is None or transaction.state >= ACCEPTED or not transaction.flow.same_peer(flow):
            return False
        self.unreachable += 1
        transaction.handle(ON_ERROR, None, now)
        return True

    cdef int closed(self, Flow flow, int64_t now) except -1:
        # Connections end far less often than messages come, so nothing is kept for it: all transactions are looked at.
        cdef list waiting = []
        cdef ClientTransaction transaction
        cdef void *owner
        cdef uint32_t number
        cdef int i
        for number in range(self.slots.count):
            for i in range(2):
                owner = self.slots.slots[number].cancel if i else self.slots.slots[number].transaction
                if owner != NULL and (<ClientTransaction>owner).flow.same_connection(flow):
                    waiting.append(<ClientTransaction>owner)
        for transaction in waiting:           # an end may be the beginning of another
            self.fail_unreachable(transaction, transaction.flow, now)
        return 0

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

    cdef ClientTransaction start(self, bytes request, bytes branch, Flow flow, ResponseHandler handler, int64_t now):
        cdef Slot *slot = self.slots.reserved(branch)
        cdef ClientTransaction transaction
        if slot == NULL:
            raise ValueError("not a branch that was reserved and is still unused")
        transaction = make_client(self, request, self.slots.index_of(slot), flow, handler)
        transaction.begin(now)
        return transaction

    cdef bint reserve_again(self, bytes branch) except -1:
        return self.slots.reserve_again(branch)

    cdef ClientTransaction take_up(self, bytes request, bytes branch, Flow flow, ResponseHandler handler):
        cdef Slot *slot = self.slots.reserved(branch)
        cdef ClientTransaction transaction
        if slot == NULL:
            raise ValueError("not a branch that was reserved and is still unused")
        transaction = make_client(self, request, self.slots.index_of(slot), flow, handler)
        transaction.state = PROCEEDING
        transaction.marks |= PROVISIONAL
        transaction.credit = self.own
        return transaction

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

    cpdef int shrink_finished(self) except -1:
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

    def branch(self, uint32_t loop=0):
        return self.new_branch(loop)

    def send_request(self, bytes data not None, bytes branch not None, Flow flow not None, Handler handler,
                     int64_t now):
        return self.start(data, branch, flow, handler, now)

    def counters(self):
        return {
            "server_transactions": self.servers, "client_transactions": self.clients,
            "branches": self.slots.used, "held_bytes": self.held, "refused_full": self.refused,
            "retransmissions_received": self.retransmissions_received,
            "retransmissions_sent": self.retransmissions_sent, "timeouts": self.timeouts,
            "stray_responses": self.stray_responses, "merged": self.merged,
            "transport_errors": self.transport_errors, "withheld": self.withheld, "unreachable": self.unreachable,
        }
