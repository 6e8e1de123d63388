"""The batch: what is to leave with the next commit, in order, and which of it promises what the store has to keep."""

import cython

from .._flow cimport Flow, Sink
from .._parser cimport Message
from ..transaction.server cimport ServerTransaction


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
        self.promises.append((place, request, flow, server))
        return 0

    cdef bint has_promised(self, Message request) except -1:
        for _place, promised, _flow, _server in self.promises:
            if promised is request:
                return True
        return False

    cdef int kept(self) except -1:
        self.promises.clear()
        return 0

    cdef list take_back(self):
        cdef list promises = self.promises
        # By identity: a retransmission in the same batch was answered with the same bytes.
        cdef set taken = {id(self.data[place]) for place, *_ in promises}
        self.promises = []
        self.data[:] = [None if id(data) in taken else data for data in self.data]
        return promises
