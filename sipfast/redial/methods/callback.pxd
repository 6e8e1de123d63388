# Recall by calling the caller's phone, and asking it within that call. See callback.pyx.

cimport cython
from libc.stdint cimport int64_t

from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport LegRequest
from ...dialog.remote cimport Remote
from ..._parser cimport Message
from ..._flow cimport Flow
from ...trust.credit cimport Credit
from .method cimport WantedCall
from .pickup cimport Pickup, PickupMethod

cdef class Callback


@cython.final
cdef class CallbackMethod(PickupMethod):
    cdef bint dials                      # the phone is asked while it rings, where its profile does not say otherwise
    # Whether the attempt has begun; else its credit does not allow it.
    cdef bint began(self, Callback callback, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit,
                    object how, int64_t now) except -1


@cython.final
cdef class Callback(Pickup):
    cdef bint dials, hangs_up
    cdef bint cancelled                  # by us, with nobody having picked up
    cdef int64_t pause                   # ms from the ACK to the REFER
    cdef LegRequest asking               # the last REFER: an answer to an earlier one may come after it
    cdef str answer                      # to the early REFER
    cdef tuple vain                      # the phone has told of a call that failed, and its answer to the REFER is to come
    cdef bint doubtful                   # that was sent, and has not been refused nor brought a call about

    cdef int resume(self, int64_t now) except -1
    cdef int refer(self, str step, Remote remote, int64_t now) except -1
    cdef int refer_soon(self, int64_t now) except -1
    cdef int learn(self, bint obeyed, int64_t now) except -1
    cdef int early_answered(self, int status, Message response, int64_t now) except -1
    cdef int refer_answered(self, int status, Message response, int64_t now) except -1
    cdef int tried_in_vain(self, tuple progress, int64_t now) except -1
    cdef int told(self, Message notify, int64_t now) except -1

cdef CallbackMethod make_callback_method(Dialogs dialogs)
