# A call to the caller's phone, until somebody picks up. See pickup.pyx.

from libc.stdint cimport int64_t, uint64_t

from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport Leg, LegUser
from ...dialog.remote cimport Remote
from ..._flow cimport Flow
from .method cimport Attempt, AttemptObserver, Outcome, RecallMethod, WantedCall

cdef enum:
    # Timers; those from FURTHER on are of who inherits
    NO_RING = 1             # not even a 180 has come
    NO_PICK_UP = 2
    ABANDONED = 3           # nobody has said for long what is to become of the call
    FURTHER = 4
    LONGEST_WAIT = 200_000  # ms until then: more than any call rings (Timer C)

# A method that calls the phone itself.
cdef class PickupMethod(RecallMethod):
    cdef Dialogs dialogs
    cdef int64_t ring                    # ms that it rings, for somebody to pick up
    cdef int64_t refer_timeout           # ms that a REFER in a call may go unanswered
    # A call to the phone that an attempt for the same pair has left behind, when its batch was lost; None where there is none.
    cdef Leg left_behind(self, const WantedCall *wanted)
    # The leg to the phone, at a step of whoever uses it; `Leg.invite` is next.
    cdef Leg leg_to(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, str step)

cdef class Pickup


cdef class PickupAttempt(Attempt):
    cdef Pickup pickup


# What is done with the leg of an attempt.
cdef class Pickup(LegUser):
    cdef PickupMethod method
    cdef PickupAttempt attempt
    cdef Leg leg
    cdef bint rung                       # a provisional response other than 100 has come
    cdef bint over                       # nothing more is told
    cdef uint64_t timer

    # Of who inherits: the phone rings, by an early dialog or none; somebody has picked up; another timer is due.
    cdef int rings(self, Remote remote, int64_t now) except -1
    cdef int picked_up(self, int64_t now) except -1
    cdef int due(self, int kind, int64_t now) except -1
    # Nobody has picked up, and it rings no more.
    cdef int unanswered(self, int64_t now) except -1
    # As of an Attempt.
    cdef int called(self, bytes call_id, int64_t now) except -1
    cdef int settled(self, int64_t now) except -1

    cdef int wait(self, int kind, int64_t when) except -1
    cdef int stop(self) except -1
    # The attempt ends so.
    cdef int tell(self, Outcome outcome, str answer, str result, int64_t now) except -1
    # The leg ends, unless it is another's by now; nobody is told.
    cdef int leave(self, int64_t now) except -1
    # What it has begun failed half-way.
    cdef int drop(self, int64_t now) except -1
    # The leg goes on as another's.
    cdef Leg let_go(self)

# The attempt that this is for.
cdef PickupAttempt attempt_by(Pickup pickup, PickupMethod method, AttemptObserver observer)

# What stands in the INVITE besides.
cdef bytes ALERT

# What the final answer of a phone to an INVITE means; `rung`: it has rung before.
cdef Outcome outcome_of_invite(int status, bint rung) noexcept
