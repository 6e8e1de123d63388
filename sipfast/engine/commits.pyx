"""Commits: nothing leaves before the store has kept what it promises.

Where a commit fails, the answers that promised something (a binding, a watch) are taken back and become 503; everything else
is sent as if a datagram had been lost. What goes wrong elsewhere concerns one message, one timer or one recall.
"""

import logging

import cython

from libc.stdint cimport int64_t

from .._flow cimport Flow, Sink
from .._parser cimport Message
from .._writer cimport make_response
from ..routing.outbound cimport answer_flow
from ..transaction.server cimport ServerTransaction

from ..errors import StoreError, StoreUnreadable
from ..observe.faults import Complaints

log = logging.getLogger("sipfast.engine")

cdef enum:
    COMPLAIN_EVERY = 10_000  # ms


@cython.final
cdef class Commits:

    def __init__(self, store, Sink sink, Batch batch, Mail mail):
        self.store = store
        self.sink = sink
        self.batch = batch
        self.mail = mail
        self.complaints = Complaints(log, self._seconds)

    cdef int commit(self, int64_t now) except -1:
        self.transactions.rest()
        try:
            self.store.commit()
            self.batch.kept()
            if self.events.has_news():        # of this commit: whatever becomes of the next one
                self.events.tell()
            while self.has_more(now):
                self.store.commit()
            self.transactions.shrink_finished()
            if self.events.has_news():
                self.events.tell()
        except Exception as error:            # what a commit raises concerns all that it was to make durable
            if not isinstance(error, StoreError):
                self.fault("commit-failed", error, None, None, now)
            self.lose(error, now)
        self.batch.kept()
        self.commits += 1
        if self.probe.waiting:
            self.probe.leave(self.batch)
        if self.mail.waiting:
            try:
                self.mail.leave()
            except Exception as error:
                self.fault("hand-over-failed", error, None, None, now)
        return self.leave(now)

    cdef int leave(self, int64_t now) except -1:
        """Give everything to the sink, in order."""
        cdef list data = self.batch.data, flows = self.batch.flows
        cdef Py_ssize_t i = 0
        if not data:
            return 0
        self.batch.data = []
        self.batch.flows = []
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

    cdef int lose(self, error, int64_t now) except -1:
        cdef ServerTransaction server
        self.failed_commits += 1
        self.events.drop()
        self.probe.drop()
        if now >= self.complain_at:           # a full disk fails every batch
            self.complain_at = now + COMPLAIN_EVERY
            log.error("store-failed", extra={"sip": {"error": str(error), "failures": self.failed_commits}})
        self.store.abort()
        for _place, request, flow, transaction in self.batch.take_back():
            self.unpromised += 1
            server = transaction
            if server is None:
                self.batch.send(make_response(request, 503, flow, b"", b"Retry-After: 5\r\n", None, b""),
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
