# What is kept with a commit, what is lost with one, and what goes wrong. See commits.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow, Sink
from .._parser cimport Message
from ..observe.events cimport Events
from ..redial.redial cimport Redial
from ..routing.probe cimport Probe
from ..transaction.layer cimport TransactionLayer
from .batch cimport Batch
from .mail cimport Mail

cdef class Commits:
    cdef object store, complaints
    cdef Sink sink
    cdef Batch batch
    cdef Mail mail
    cdef TransactionLayer transactions
    cdef Events events
    cdef Probe probe
    cdef Redial redial
    cdef int64_t complain_at             # the next failure of the store may be logged again
    cdef int64_t fault_at                # the last one
    cdef long commits, failed_commits, faults, unpromised
    cdef int commit(self, int64_t now) except -1
    cdef int leave(self, int64_t now) except -1
    cdef bint has_more(self, int64_t now) except -1
    # All of the batch's writes are lost: the answers that promised them are taken back, and their requests get a 503.
    cdef int lose(self, error, int64_t now) except -1
    # Something went wrong, and only that is lost: it is counted and logged.
    cdef int fault(self, str event, error, Message message, Flow flow, int64_t now) except -1
    # The same outside of any message. True where it was all of the batch.
    cdef bint stumble(self, str event, error, int64_t now) except -1
