# What people are told of. See events.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._wheel cimport Timed, Wheel
from ..store.codec cimport StoredWatch

cdef enum Kind:
    REGISTERED
    GONE
    ARMED
    NOT_ARMED
    RECALL
    RECALL_FAILED
    ENDED
    LIMITED                              # a source sends too much
    BANNED
    LOGIN_FAILED
    HISTORY                              # no line: a record of a watch that has ended
    ATTEMPT                              # no line: a record of a recall that came to nothing
    KINDS

# What happens in a watch's life.
cdef enum Step:
    STEP_ARMED
    STEP_RENEWED
    STEP_SUSPENDED                       # its caller cannot take a recall now
    STEP_RESUMED
    STEP_CLAIMED                         # its turn has come
    STEP_BEGUN                           # a method has begun to ask the caller's device
    STEP_OUTCOME                         # what came of that
    STEP_CLIMBED                         # the next method's turn
    STEP_CALLED                          # the caller's new INVITE has come
    STEP_FAILED                          # the recall came to nothing, and the watch is armed again
    STEP_ENDED                           # how, its reason says: answered, expired, given up, cancelled

cdef class Events(Timed):
    cdef Wheel wheel
    cdef int64_t now                     # of the batch at hand: an idle wheel stands still
    cdef object log
    cdef readonly list waiting           # told with the commit: (event, values), (None, steps.Step), ("", a knock)
    cdef bint registrations              # are told, too
    cdef int64_t room[KINDS]             # thousandths of a line
    cdef int64_t filled[KINDS]           # when, ms
    cdef long left_out[KINDS]
    cdef object outlet                   # takes lists of steps.Step; None: nobody wants them
    cdef readonly bint telling           # somebody does
    cdef object webhook                  # takes lists of steps.Step as well: who can be reached by now; None: nobody wants them
    cdef readonly bint knocking          # somebody does
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
    # A step of a watch's life, if anybody wants them. `watch`: as it is by then, or was last. `method`: the recall method's name,
    # None: that of the watch; `result`: what came back; `reason`: why, None: nothing to say.
    cdef int step(self, Step step, StoredWatch watch, str method=*, str result=*, str reason=*) except -1
    # The callee of a watch can be reached: for the webhook of redial. Only where it is `knocking`.
    cdef int knock(self, StoredWatch watch) except -1
    # A request was refused: told at the first of its status and method, and then once in a while.
    cdef int refused(self, int status, int method, bytes name, bytes peer, str why) except -1
    # What waits for its commit, and waits no more. Committed, it is told; lost, it is not true.
    cdef list take(self)
    cdef int tell(self, list lines) except -1
    cdef int drop(self) except -1
