# Recall by calling the caller's phone, and asking it within that call. See callback.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport Leg, LegRequest, LegUser
from ...transaction.layer cimport TransactionLayer
from ..._parser cimport Message
from .method cimport Attempt, Outcome, RecallMethod, WantedCall


@cython.final
cdef class CallbackMethod(RecallMethod):
    cdef Dialogs dialogs
    cdef TransactionLayer transactions
    cdef bint dials                      # the phone is asked while it rings
    cdef int64_t ring                    # ms that it rings, for somebody to pick up
    cdef Leg invite(self, const WantedCall *wanted, bytes uri, bytes route)


@cython.final
cdef class CallbackAttempt(Attempt):
    cdef readonly Callback callback


# What is done with the leg.
@cython.final
cdef class Callback(LegUser):
    cdef CallbackMethod method
    cdef CallbackAttempt attempt
    cdef Leg leg
    cdef bint dials
    cdef bint rung                       # a provisional response other than 100 has come
    cdef bint over                       # nothing more is told
    cdef uint64_t timer
    cdef int kind                        # what that is for
    cdef int64_t obeyed_at               # when it took the early REFER; 0: it has not
    cdef str answer                      # to that

    cdef int wait(self, int kind, int64_t when) except -1
    cdef int stop(self) except -1
    cdef int resume(self, int64_t now) except -1
    cdef int refer(self, str step, object remote, int64_t now) except -1
    cdef int refer_soon(self, int64_t now) except -1
    cdef int early_answered(self, int status, Message response, int64_t now) except -1
    cdef int refer_answered(self, int status, Message response, int64_t now) except -1
    cdef int told(self, Message notify, int64_t now) except -1
    cdef int called(self, int64_t now) except -1
    cdef int tell(self, Outcome outcome, str answer, str result, int64_t now) except -1
    cdef int leave(self, int64_t now) except -1

cdef CallbackMethod make_callback_method(Dialogs dialogs)

# What the final answer of a phone to an INVITE means; `rung`: it has rung before.
cdef Outcome outcome_of_invite(int status, bint rung) noexcept
# The callee as a display name: the user part, quoted.
cdef bytes name_of(bytes aor)
