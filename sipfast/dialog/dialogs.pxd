# The server's own dialogs, by Call-ID. See dialogs.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message
from ..store.repository cimport Store
from ..transaction.server cimport ServerTransaction
from .leg cimport Ground, Leg


@cython.final
cdef class Dialogs(Ground):
    cdef Store store
    cdef readonly dict legs              # Call-ID -> Leg
    cdef dict former                     # those that are over, for a while
    cdef set written                     # Call-IDs of those that this batch writes
    cdef set lost                        # and of those whose writes were lost with a batch

    # Take up those of this worker that the store holds.
    cdef int start(self, int64_t now) except -1
    # That of a recall which is at this step, or at any of those that begin so; None where there is none.
    cdef Leg of_recall(self, bytes recall, str step)
    # A request for the server itself. Whether it was of a dialog here, and is answered.
    cdef bint receive(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    cdef bint acknowledged(self, Message ack, int64_t now) except -1
    # A response without a transaction. True: there is one now.
    cdef bint stray(self, Message response, int64_t now) except -1
    # A final response to an INVITE of ours that nothing is known of any more: it is acknowledged, and a call ended.
    cdef int unknown(self, Message response, Flow flow, int64_t now) except -1
    # The store has kept what was written.
    cdef int committed(self) except -1
    # What was written until now is a batch of its own, of which the store has not decided yet; it has lost it.
    cdef set take(self)
    cdef int batch_lost(self, set written, int64_t now) except -1

    cdef int join(self, int64_t now) except -1
    cdef int resume(self, Leg leg, int64_t now) except -1
    cdef int write_again(self) except -1
