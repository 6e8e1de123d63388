# What is decided between two commits. See batch.pyx.

from .._flow cimport Flow, Sink
from .._parser cimport Message
from ..transaction.server cimport ServerTransaction

cdef class Batch(Sink):
    cdef list data                       # what leaves, in order; None: it was taken back
    cdef list flows                      # and by which flow
    cdef list promises                   # (place, request, flow, server transaction or None)
    # Where the next message will stand: for `promise`, once it has been sent.
    cdef Py_ssize_t place(self) noexcept
    # That message promises something that the store has to keep: where it does not, its request is answered with 503.
    cdef int promise(self, Py_ssize_t place, Message request, Flow flow, ServerTransaction server) except -1
    cdef bint has_promised(self, Message request) except -1
    # The store has kept all of it.
    cdef int kept(self) except -1
    # The store has lost all of it: no message that promised anything leaves. The promises.
    cdef list take_back(self)
