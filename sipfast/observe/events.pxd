# What people are told of. See events.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._wheel cimport Timed, Wheel

cdef enum Kind:
    REGISTERED
    GONE
    ARMED
    NOT_ARMED
    RECALL
    RECALL_FAILED
    ENDED
    HISTORY                              # no line: a record of a watch that has ended
    ATTEMPT                              # no line: a record of a recall that came to nothing
    KINDS

cdef class Events(Timed):
    cdef Wheel wheel
    cdef int64_t now                     # of the batch at hand: an idle wheel stands still
    cdef object log
    cdef readonly list waiting           # (event, values) that are told with the commit of their batch
    cdef bint registrations              # are told, too
    cdef int64_t room[KINDS]             # thousandths of a line
    cdef int64_t filled[KINDS]           # when, ms
    cdef long left_out[KINDS]
    cdef dict refusals                   # (status, method as a number) -> [when it may be told again, how many were not]
    cdef uint64_t timer

    cdef int64_t time(self) noexcept
    # Whether a line of this kind is wanted now. True: `add` it.
    cdef bint wants(self, Kind kind) except -1
    # Whether there is room for one more of a kind, and one less from now on.
    cdef bint has_room(self, Kind kind) noexcept
    cdef bint wants_registered(self) except -1
    # An AOR has lost its last binding; a call that failed arms nothing.
    cdef int gone(self, bytes aor, str why) except -1
    cdef int not_watched(self, bytes caller, bytes callee, str why) except -1
    cdef int add(self, str event, dict values) except -1
    # A request was refused: told at the first of its status and method, and then once in a while.
    cdef int refused(self, int status, int method, bytes name, bytes peer, str why) except -1
    # The batch is committed, or lost: then what was to be told of it is not true.
    cdef int tell(self) except -1
    cdef int drop(self) except -1
