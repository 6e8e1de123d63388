# What is decided between two commits. See batch.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow, Sink
from .._parser cimport Message
from ..redial.pending cimport Pending
from ..transaction.server cimport ServerTransaction

# A message that has promised something; or what was learned from an upstream's 200 to a REGISTER, which promises nothing.
cdef class Promise:
    cdef Py_ssize_t place                # in its batch; -1: nowhere
    cdef Message request
    cdef Flow flow                       # by which that came
    cdef Message response                # that was learned from, else None
    cdef Flow first                      # by which that request came before it was repeated by `flow`; None where it was not
    cdef ServerTransaction server        # None: it was answered without
    cdef int64_t unit
    cdef int tries

cdef class Batch(Sink):
    cdef list data                       # what leaves, in order; None: it was taken back
    cdef list flows                      # and by which flow
    cdef list promises                   # Promise
    cdef Pending pending                 # claims, notices, and watches and talks that were written; None: none of these
    cdef int64_t unit                    # what is being handled: a unit of store/tables.pyx; 0 where nobody asks for that
    cdef int tries                       # how often that was decided before, and not kept
    # Of one that the store has been given
    cdef list lines                      # what people are told of it
    cdef list marks                      # (unit, where its lines begin)
    cdef set legs                        # Call-IDs of the server's own dialogs that were written
    cdef list probes                     # (request, flow)
    cdef list finished                   # server transactions
    cdef bint decided                    # the store has answered: for good, or else `reason`
    cdef object reason
    # Where the next message will stand: for `promise`, once it has been sent.
    cdef Py_ssize_t place(self) noexcept
    # That message promises something that the store has to keep: where it does not, its request is answered with 503.
    cdef int promise(self, Py_ssize_t place, Message request, Flow flow, ServerTransaction server) except -1
    # Where somebody else has changed what that was decided upon, it is learned from again.
    cdef int learn_from(self, Message request, Message response, Flow flow, Flow first) except -1
    cdef bint has_promised(self, Message request) except -1
    cdef Promise noted(self, Py_ssize_t place, Message request, Flow flow)
    # The store has kept all of it.
    cdef int kept(self) except -1
    # The store has lost all of it (None), or `units` of it: no message that promised anything leaves, nor a copy of it with a
    # `later` batch. Those promises.
    cdef list take_back(self, object units, list later)
    # All of it as a batch of its own; here the next one begins.
    cdef Batch seal(self)
    # What is sent here from now on leaves with that one; called again, it is as it was.
    cdef int exchange(self, Batch other) except -1
