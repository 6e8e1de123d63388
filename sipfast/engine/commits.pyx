"""Commits: nothing leaves before the store has kept what it promises.

Where a commit fails, the answers that promised something (a binding, a watch) are taken back and become 503; everything else
is sent as if a datagram had been lost. What goes wrong elsewhere concerns one message, one timer or one recall.

A store in this process commits at once: `commit`. One across a network is given the batch, and its answer comes later, to
`answered`, while the batches after it are under way (store/tables.pyx has what it promises). They are settled in their order:
committed; lost; or, where somebody else has changed what some messages were decided upon, committed but for these, which
go back to dispatch. Time is not stopped meanwhile: what a timer sends again of an answer that is not committed yet is in
a later batch, leaves after it, and is taken back with it.
"""

import logging

import cython

from libc.stdint cimport int64_t

from .._flow cimport Flow, Sink
from .._parser cimport Message
from .._writer cimport make_response
from ..redial.pending cimport Pending
from ..routing.outbound cimport answer_flow
from ..transaction.server cimport ServerTransaction
from .batch cimport Batch, Promise

from ..errors import StoreConflict, StoreError, StoreUnreadable
from ..observe.faults import Complaints

log = logging.getLogger("sipfast.engine")

cdef enum:
    COMPLAIN_EVERY = 10_000  # ms
    MOST_TRIES = 4           # that a request is decided upon before it gets a 503

cdef list NOTHING_LATER = []


@cython.final
cdef class Commits:

    def __init__(self, store, Sink sink, Batch batch, Mail mail):
        self.store = store
        self.sink = sink
        self.batch = batch
        self.mail = mail
        self.complaints = Complaints(log, self._seconds)
        self.later = not store.tables.at_once
        self.under_way = []
        self.again = []
        self.written = store.writes
        if self.later:
            batch.marks = []

    cdef int commit(self, int64_t now) except -1:
        self.transactions.rest()
        if self.later:
            return self.hand_in(now)
        try:
            self.store.commit()
            self.kept()
            if self.events.waiting:           # of this commit: whatever becomes of the next one
                self.events.tell(self.events.take())
            while self.has_more(now):
                self.store.commit()
                self.kept()
            self.transactions.shrink_finished()
            if self.events.waiting:
                self.events.tell(self.events.take())
        except Exception as error:            # what a commit raises concerns all that it was to make durable
            if not isinstance(error, StoreError):
                self.fault("commit-failed", error, None, None, now)
            self.lose(error, now)
        self.batch.kept()
        self.commits += 1
        if self.probe.waiting:
            self.probe.leave(self.batch)
        if self.mail.waiting:
            self.post(now)
        return self.leave(self.batch, now)

    cdef int kept(self) except -1:
        self.batch.kept()
        if self.dialogs.written:
            self.dialogs.committed()
        return 0

    cdef int leave(self, Batch batch, int64_t now) except -1:
        """Give everything to the sink, in order."""
        cdef list data = batch.data, flows = batch.flows
        cdef Py_ssize_t i = 0
        if not data:
            return 0
        batch.data = []
        batch.flows = []
        while i < len(data):
            try:
                while i < len(data):
                    i += 1
                    if data[i - 1] is not None:
                        self.sink.send(<bytes>data[i - 1], <Flow>flows[i - 1])
            except Exception as error:
                self.fault("send-failed", error, None, <Flow>flows[i - 1], now)
        return 0

    cdef int post(self, int64_t now) except -1:
        try:
            self.mail.leave()
        except Exception as error:
            self.fault("hand-over-failed", error, None, None, now)
        return 0

    # Whether redial has written something upon the commit.
    cdef bint has_more(self, int64_t now) except -1:
        try:
            return self.redial.committed(self.batch.pending, now) or len(self.dialogs.written) > 0
        except Exception as error:
            self.transactions.forget_branch()
            if is_of_batch(error):
                raise
            self.fault("recall-failed", error, None, None, now)
            return True

    # ---- a store that answers later

    cdef int begin_unit(self) except -1:
        self.unit += 1
        self.batch.unit = self.batch.pending.unit = self.unit
        self.store.tables.unit = self.unit
        self.batch.marks.append((self.unit, len(self.events.waiting)))
        return 0

    cdef int hand_in(self, int64_t now) except -1:
        """Give the store what was decided since the last time. What is to leave waits for its answer, and for those before."""
        cdef Batch sealed
        cdef bint silent
        if self.mail.waiting:                 # what depends on a commit is not among that yet
            self.post(now)
        while not self.is_idle():
            silent = self.store.writes == self.written and not self.under_way
            sealed = self.seal()
            self.under_way.append(sealed)
            try:
                sealed.decided = silent or self.store.apply(sealed)
            except Exception as error:
                if not isinstance(error, StoreError):
                    self.fault("commit-failed", error, None, None, now)
                self.store.abort()
                sealed.decided, sealed.reason = True, error
            if silent:
                self.store.abort()            # of what it has read
            self.settle(now)
        return 0

    cdef bint is_idle(self) except -1:
        cdef Pending pending = self.batch.pending
        return not (self.batch.data or self.store.writes != self.written or self.events.waiting or self.probe.waiting
                    or self.dialogs.written or pending.claims or pending.notices or pending.touched or pending.talked
                    or self.transactions.finished)

    cdef Batch seal(self):
        cdef Batch sealed = self.batch.seal()
        sealed.lines = self.events.take()
        sealed.legs = self.dialogs.take()
        sealed.probes, self.probe.waiting = self.probe.waiting, []
        sealed.finished, self.transactions.finished = self.transactions.finished, []
        self.written = self.store.writes
        self.begin_unit()
        return sealed

    cdef int answered(self, Batch batch, object reason, int64_t now) except -1:
        if batch not in self.under_way or batch.decided:
            raise ValueError("not a batch that is under way")
        batch.decided = True
        batch.reason = reason
        return self.settle(now)

    cdef int settle(self, int64_t now) except -1:
        """Let go of what the store has decided, in the order of the batches."""
        cdef Batch batch
        self.transactions.rest()
        while self.under_way and (<Batch>self.under_way[0]).decided:
            batch = self.under_way.pop(0)
            self.commits += 1
            if batch.reason is not None:
                self.part(batch, batch.reason.units if isinstance(batch.reason, StoreConflict) else None, now)
            self.keep(batch, now)
            if self.mail.waiting:
                self.post(now)
            self.leave(batch, now)
        return 0

    cdef int keep(self, Batch batch, int64_t now) except -1:
        """What is left of a batch is committed: recalls begin, and it is complete."""
        cdef ServerTransaction server
        cdef object failure = None
        self.begin_unit()
        self.batch.exchange(batch)            # a recall leaves with the batch of its claim
        try:
            if batch.pending is not None:
                self.redial.committed(batch.pending, now)
            for request, flow in batch.probes:
                self.batch.send(request, flow)
        except Exception as error:
            failure = error
        self.batch.exchange(batch)
        for server in batch.finished:
            server.shrink()
        self.events.tell(batch.lines)
        if failure is not None:
            self.transactions.forget_branch()
            self.stumble("recall-failed", failure, now)
        return 0

    cdef int part(self, Batch batch, object units, int64_t now) except -1:
        """Part with what the store has not kept of a batch: `units` of it, or all."""
        cdef list later = [*self.under_way, self.batch], lost
        cdef Promise promise
        cdef bint conflict = isinstance(batch.reason, StoreConflict)
        lost = batch.take_back(units, later)
        if conflict:
            self.conflicts += 1
        else:
            self.count_lost(batch.reason, now)
        if units is None:
            batch.lines, batch.probes = [], []
        else:
            batch.lines = lines_but(batch, units)
        self.batch.exchange(batch)            # a 503 leaves with the batch of its request
        for promise in lost:
            if promise.server is not None and promise.server.layer is None:
                continue                      # it is over: nobody waits for an answer any more
            if conflict and promise.tries + 1 < MOST_TRIES:
                if promise.server is not None:
                    promise.server.unanswer()
                self.again.append(promise)
            elif promise.response is None:
                self.refuse(promise, now)
        self.batch.exchange(batch)
        self.begin_unit()
        # In a conflict, too: who wrote a leg may have read what others changed, and to write one again does no harm.
        self.dialogs.batch_lost(batch.legs, now)
        return self.undo(batch, later, units, now)

    # ---- what is lost

    cdef int lose(self, error, int64_t now) except -1:
        cdef Promise promise
        self.count_lost(error, now)
        self.events.drop()
        self.probe.drop()
        self.store.abort()
        self.dialogs.batch_lost(self.dialogs.take(), now)
        for promise in self.batch.take_back(None, NOTHING_LATER):
            if promise.server is None or promise.server.layer is not None:      # else it is over: nobody waits any more
                self.refuse(promise, now)
        return self.undo(self.batch, NOTHING_LATER, None, now)

    cdef int count_lost(self, error, int64_t now) except -1:
        self.failed_commits += 1
        if now >= self.complain_at:           # a full disk fails every batch
            self.complain_at = now + COMPLAIN_EVERY
            log.error("store-failed", extra={"sip": {"error": str(error), "failures": self.failed_commits}})
        return 0

    cdef int refuse(self, Promise promise, int64_t now) except -1:
        cdef bytes after = b"Retry-After: 5\r\n"
        cdef Message request = promise.request
        cdef ServerTransaction server = promise.server
        self.unpromised += 1
        if server is None:
            return self.batch.send(make_response(request, 503, promise.flow, b"", after, None, b""),
                                   answer_flow(request, promise.flow))
        return server.retract(make_response(request, 503, promise.flow, server.tag(), after, None, b""), 503, now)

    cdef int undo(self, Batch batch, list later, object units, int64_t now) except -1:
        """Have redial undo what was only promised, and write again what has happened."""
        cdef Batch each
        cdef list waiting
        if batch.pending is None:
            return 0
        waiting = [each.pending for each in later if each.pending is not None]
        for _ in range(2):                    # the second time it only takes note of what the first could not write
            try:
                self.redial.batch_lost(batch.pending, waiting, units, now)
                break
            except StoreError as error:
                if batch is not self.batch:   # what it wrote is of the one that is being filled
                    return self.lose(error, now)
                self.store.abort()
            except Exception as other:
                self.fault("undo-failed", other, None, None, now)
                self.store.abort()
        return 0

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

    cdef bint stumble(self, str event, error, int64_t now) except -1:
        if is_of_batch(error):
            self.lose(error, now)
            return True
        self.fault(event, error, None, None, now)
        return False

    def _seconds(self):
        return self.fault_at / 1000


def is_of_batch(error):
    """Whether all of a batch is lost with what went wrong: the store failed, and not only in reading one record."""
    return isinstance(error, StoreError) and not isinstance(error, StoreUnreadable)


# The lines of a batch that are still true.
cdef list lines_but(Batch batch, object units):
    cdef list kept = []
    cdef Py_ssize_t i, start, end
    for i in range(len(batch.marks)):
        unit, start = batch.marks[i]
        end = batch.marks[i + 1][1] if i + 1 < len(batch.marks) else len(batch.lines)
        if unit not in units:
            kept += batch.lines[start:end]
    return kept
