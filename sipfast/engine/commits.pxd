# What is kept with a commit, what is lost with one, and what goes wrong. See commits.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow, Sink
from .._parser cimport Message
from ..dialog.dialogs cimport Dialogs
from ..observe.events cimport Events
from ..redial.redial cimport Redial
from ..routing.probe cimport Probe
from ..transaction.layer cimport TransactionLayer
from .batch cimport Batch, Promise
from .mail cimport Mail

cdef class Commits:
    cdef object store, complaints
    cdef Sink sink
    cdef Batch batch                     # that is being filled
    cdef Mail mail
    cdef TransactionLayer transactions
    cdef Events events
    cdef Probe probe
    cdef Redial redial
    cdef Dialogs dialogs
    cdef int64_t complain_at             # the next failure of the store may be logged again
    cdef int64_t fault_at                # the last one
    cdef long commits, failed_commits, conflicts, faults, unpromised
    # Where the store answers later
    cdef bint later
    cdef list under_way                  # batches that it has, the oldest first
    cdef list again                      # promises whose requests are to be dispatched again
    cdef int64_t unit                    # the last one that was begun
    cdef object written                  # Store.writes when the last batch was sealed
    cdef int commit(self, int64_t now) except -1
    cdef int kept(self) except -1
    # Where the store answers later: what is handled from now on is kept as a whole or not at all.
    cdef int begin_unit(self) except -1
    # The store has answered about a batch; `reason`: None where it has kept it.
    cdef int answered(self, Batch batch, object reason, int64_t now) except -1
    cdef int hand_in(self, int64_t now) except -1
    cdef bint is_idle(self) except -1
    cdef Batch seal(self)
    cdef int settle(self, int64_t now) except -1
    cdef int keep(self, Batch batch, int64_t now) except -1
    cdef int part(self, Batch batch, object units, int64_t now) except -1
    cdef int undo(self, Batch batch, list later, object units, int64_t now) except -1
    cdef int leave(self, Batch batch, int64_t now) except -1
    cdef int post(self, int64_t now) except -1
    cdef bint has_more(self, int64_t now) except -1
    # All that waits for the next commit is lost: the answers that promised it are taken back, and their requests get a 503.
    cdef int lose(self, error, int64_t now) except -1
    cdef int count_lost(self, error, int64_t now) except -1
    cdef int refuse(self, Promise promise, int64_t now) except -1
    # Something went wrong, and only that is lost: it is counted and logged.
    cdef int fault(self, str event, error, Message message, Flow flow, int64_t now) except -1
    # The same outside of any message. True where it was all of the batch.
    cdef bint stumble(self, str event, error, int64_t now) except -1
