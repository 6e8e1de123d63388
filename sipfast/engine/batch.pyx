"""The batch: what is to leave with the next commit, in order, and which of it promises what the store has to keep.

One is being filled. Where the store commits at once, that is the only one, for good. Where it answers later, a batch is
sealed with all that belongs to it, and waits for the store's word; several may.
"""

import cython

from .._flow cimport Flow, Sink
from .._parser cimport Message
from ..transaction.server cimport ServerTransaction


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Promise:
    pass


@cython.final
cdef class Batch(Sink):

    def __cinit__(self):
        self.data = []
        self.flows = []
        self.promises = []

    cpdef int send(self, bytes data, Flow flow) except -1:
        self.data.append(data)
        self.flows.append(flow)
        return 0

    cdef Py_ssize_t place(self) noexcept:
        return len(self.data)

    cdef int promise(self, Py_ssize_t place, Message request, Flow flow, ServerTransaction server) except -1:
        cdef Promise made = self.noted(place, request, flow)
        made.server = server
        return 0

    cdef int learn_from(self, Message request, Message response, Flow flow, Flow first) except -1:
        cdef Promise made = self.noted(-1, request, flow)
        made.response = response
        made.first = first
        return 0

    cdef Promise noted(self, Py_ssize_t place, Message request, Flow flow):
        cdef Promise made = Promise.__new__(Promise)
        made.place = place
        made.request = request
        made.flow = flow
        made.unit = self.unit
        made.tries = self.tries
        self.promises.append(made)
        return made

    cdef bint has_promised(self, Message request) except -1:
        cdef Promise promise
        for promise in self.promises:
            if promise.request is request and promise.response is None:
                return True
        return False

    cdef int kept(self) except -1:
        if self.promises:
            self.promises = []
        return 0

    cdef list take_back(self, object units, list later):
        cdef Promise promise
        cdef Batch batch
        cdef list lost = [promise for promise in self.promises if units is None or promise.unit in units]
        # By identity: a retransmission was answered with the same bytes.
        cdef dict taken = {id(self.data[promise.place]): self.data[promise.place] for promise in lost if promise.place >= 0}
        self.promises = [] if units is None else [promise for promise in self.promises if promise.unit not in units]
        for batch in [self, *later]:
            batch.data[:] = [None if id(data) in taken else data for data in batch.data]
        return lost

    cdef Batch seal(self):
        cdef Batch sealed = Batch.__new__(Batch)
        self.exchange(sealed)
        sealed.promises, self.promises = self.promises, sealed.promises
        sealed.marks, self.marks = self.marks, []
        if self.pending is not None:
            sealed.pending = self.pending.sealed()
        return sealed

    cdef int exchange(self, Batch other) except -1:
        self.data, other.data = other.data, self.data
        self.flows, other.flows = other.flows, self.flows
        return 0
