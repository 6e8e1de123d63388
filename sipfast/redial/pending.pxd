# What of redial waits for a commit. See pending.pyx.

cimport cython
from libc.stdint cimport int64_t


# A pair is a tuple: callee, caller.
@cython.final
cdef class Pending:
    cdef int64_t unit                    # what is being handled: a unit of store/tables.pyx; 0 where nobody asks for that
    cdef dict touched                    # pair -> its watch as it was written, or None where it was removed
    cdef dict talked                     # callee -> talk, or None
    cdef dict promised                   # pairs armed or renewed, and promised by an answer that has not left -> unit
    cdef list acknowledged               # (Offer, unit): made final by their ACK
    cdef list claims                     # (recall, unit): their attempts begin after the commit
    cdef list notices                    # (worker, Notice)
    cdef dict units                      # pair or callee -> unit that has written it last; empty where nobody asks for that
    cdef int touch(self, tuple pair, object watch) except -1
    cdef int note_talk(self, bytes callee, object talk) except -1
    cdef int promise(self, tuple pair) except -1
    cdef int acknowledge(self, object offer) except -1
    cdef int claim(self, object recall) except -1
    # All of it for a batch of its own, and none of it any more here. None where there is nothing.
    cdef Pending sealed(self)
    # `units`: those that are lost; None: all.
    cdef bint is_lost(self, object key, object units) except -1
