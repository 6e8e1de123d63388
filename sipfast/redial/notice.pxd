# What one worker tells another. See notice.pyx.

cimport cython
from libc.stdint cimport int64_t

from .ownership cimport CalleeOwner, Ownership
from .pending cimport Pending

# Takes notices to other workers.
cdef class Post:
    cdef int post_notice(self, int worker, bytes notice) except -1


# Notices that wait for the commit of what they tell of.
@cython.final
cdef class Notices:
    cdef Ownership ownership
    cdef Post post                       # None with one worker
    cdef Pending pending                 # where they wait
    cdef int tell(self, int worker, int kind, tuple pair, bytes call_id=*, int status=*, int64_t since=*) except -1
    # To all others; nothing with one worker.
    cdef int tell_all(self, int kind, tuple pair, bytes call_id, int64_t since=*) except -1
    cdef int leave(self, Pending batch) except -1
    # The batch is lost: that these pairs were armed was only promised. What has happened is told with the next commit.
    # `units`: those of the batch that are lost, None: all.
    cdef int batch_lost(self, Pending batch, set promised, object units) except -1


# The owners in other workers.
@cython.final
cdef class OtherOwners(CalleeOwner):
    cdef Notices notices
    cdef int tell(self, int kind, tuple pair, bytes call_id=*, int status=*) except -1
