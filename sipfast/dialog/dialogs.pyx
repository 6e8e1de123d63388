"""The server's own dialogs: found by Call-ID, written with the batch, and taken up again by a new process.

With several workers each has those whose Call-IDs bear its number (redial/ownership), and the others hand over to it what comes
for them. What is left of a recall that nobody goes on with ends a moment after the start: a phone that rings gets a CANCEL, one
that was picked up a BYE.
"""

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._listener cimport Listener
from .._parser cimport Message
from .._wheel cimport Wheel
from .._writer cimport make_ack_alone
from ..routing.location cimport Location
from ..store.repository cimport Store
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from .bridge cimport is_near, make_bridge
from .call_names cimport make_call_names
from .leg cimport Ground, Leg, make_leg
from .leg_record cimport leg_of, record_of

from .._parser import uri_parts
from ..config.addresses import is_ip
from .._flow import Flow as AnyFlow
from ..store.records import ANSWERED, ENDING
from .digest import Cnonces

cdef enum:
    # Timers, each with a Call-ID as payload, but the last
    ORPHANED = 1
    FORGET = 2
    REWRITE = 3
    ORPHANED_AFTER = 3_000       # ms from the start, in which whoever has begun it may take it up again
    RESUME_EVERY = 1             # ms between those that are taken up
    FORGET_AFTER = 300_000       # ms that NOTIFYs of one that is over are still answered
    REWRITE_AFTER = 1_000        # ms from the loss of a batch


cdef class Dialogs(Ground):
    """All legs of one worker. All times are ms."""

    def __init__(self, Store store, TransactionLayer transactions, Wheel wheel, tuple listeners, Location location, bytes seed,
                 int worker, int workers):
        """`seed`: at least 16 random bytes."""
        self.names = make_call_names(seed, worker, workers)
        self.cnonces = Cnonces(b"legs" + seed)
        self.store = store
        self.transactions = transactions
        self.wheel = wheel
        self.listeners = listeners
        self.hosts = [media_host(listener) for listener in listeners]
        self.own = [own_flow(listener, local) for local, listener in enumerate(listeners)]
        self.location = location
        self.legs = {}
        self.former = {}
        self.written = set()
        self.lost = set()

    cdef int start(self, int64_t now) except -1:
        cdef Leg leg
        cdef int64_t when = now
        for record in self.store.legs():
            if self.names.workers > 1 and self.names.home_of(record.call_id) != self.names.worker:
                continue
            leg = leg_of(self, record)
            self.legs[leg.call_id] = leg
            if leg.state == ENDING:
                when += RESUME_EVERY
                self.wheel.schedule(when, self, ORPHANED, leg.call_id)
            else:
                self.wheel.schedule(now + ORPHANED_AFTER, self, ORPHANED, leg.call_id)
        return self.join(now)

    cdef int join(self, int64_t now) except -1:
        """Calls that were joined, or about to be, go on."""
        cdef Leg leg, far
        cdef list near = [leg for leg in self.legs.values() if is_near(leg) and leg.state == ANSWERED]
        for leg in near:
            far = self.legs.get(leg.peer)
            if far is not None and far.state != ENDING:
                make_bridge(self, leg, far).resume(now)
        return 0

    cdef Leg make(self, bytes call_id, bytes tag):
        cdef Leg leg = make_leg(self, call_id, tag)
        self.former.pop(call_id, None)
        self.legs[call_id] = leg
        return leg

    cdef Leg of_recall(self, bytes recall, str step):
        cdef Leg leg
        for leg in self.legs.values():
            if leg.recall == recall and leg.step.startswith(step):
                return leg
        return None

    # ---- what the store has of them

    cdef int keep(self, Leg leg) except -1:
        if not leg.over:
            self.written.add(leg.call_id)
            self.store.put_leg(record_of(leg))
        return 0

    cdef int drop(self, Leg leg, int64_t now) except -1:
        if self.legs.get(leg.call_id) is not leg:
            return 0
        del self.legs[leg.call_id]
        self.former[leg.call_id] = leg
        self.wheel.schedule(now + FORGET_AFTER, self, FORGET, leg.call_id)
        self.written.add(leg.call_id)
        self.store.delete_leg(leg.call_id)
        return 0

    cdef int orphan(self, Leg leg, int64_t now) except -1:
        leg.user = None
        self.wheel.schedule(now + RESUME_EVERY, self, ORPHANED, leg.call_id)

    cdef int committed(self) except -1:
        self.written.clear()
        return 0

    cdef set take(self):
        cdef set written = self.written
        self.written = set()
        return written

    cdef int batch_lost(self, set written, int64_t now) except -1:
        # Whatever was to be sent is sent all the same: what is stored has to follow.
        if not self.lost and written:
            self.wheel.schedule(now + REWRITE_AFTER, self, REWRITE)
        self.lost |= written
        return 0

    cdef int write_again(self) except -1:
        lost, self.lost = self.lost, set()
        self.written |= lost                  # first: if this fails, they are lost again
        for call_id in lost:
            leg = self.legs.get(call_id)
            if leg is not None:
                self.keep(<Leg>leg)
            else:
                self.store.delete_leg(call_id)
        return 0

    # ---- what comes for them

    cdef bint receive(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        cdef bytes call_id = request.text(request.call_id)
        leg = self.legs.get(call_id)
        if leg is None:
            leg = self.former.get(call_id)
        return leg is not None and (<Leg>leg).receive(server, request, flow, now)

    cdef bint acknowledged(self, Message ack, int64_t now) except -1:
        leg = self.legs.get(ack.text(ack.call_id))
        return leg is not None and (<Leg>leg).acknowledged(ack, now)

    cdef bint stray(self, Message response, int64_t now) except -1:
        cdef bytes call_id = response.text(response.call_id)
        leg = self.legs.get(call_id)
        if leg is None:
            leg = self.former.get(call_id)
        return leg is not None and (<Leg>leg).stray(response, now)

    cdef int unknown(self, Message response, Flow flow, int64_t now) except -1:
        cdef Leg leg
        if response.status >= 300:
            self.transactions.pass_on(make_ack_alone(response), flow, True)
            return 0
        leg = make_leg(self, response.text(response.call_id), response.text(response.sender.tag))
        leg.local = response.text(response.sender.all)
        leg.remote.target = response.text(response.target.uri.all)
        leg.flow = flow
        return leg.refuse_fork(response, now)

    # ---- timers

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        if kind == REWRITE:
            return self.write_again()
        if kind == FORGET:
            self.former.pop(payload, None)
            return 0
        leg = self.legs.get(payload)
        if leg is not None:
            self.resume(<Leg>leg, now)
        return 0

    cdef int resume(self, Leg leg, int64_t now) except -1:
        if leg.user is None:
            self.wheel.schedule(now + ORPHANED_AFTER, self, ORPHANED, leg.call_id)   # first: this may fail
            leg.end(now)
        return 0

    def counters(self):
        """What there is."""
        return {"legs": len(self.legs)}


cdef bytes media_host(Listener listener):
    """The address of ours that a description of media names."""
    cdef bytes host = uri_parts(b"sip:" + listener.sent_by)[2].strip(b"[]")
    if is_ip(host.decode()):
        return host
    return listener.host.encode()             # 0.0.0.0 is none, and that is what it says (RFC 3264 §5.1)


def own_flow(Listener listener, local):
    """The way from the server to itself."""
    host = listener.host
    if host == "0.0.0.0" or host == "::":
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return AnyFlow(host, listener.port, local=local)
