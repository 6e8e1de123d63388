# What redial goes by: the settings, typed and in ms. See policy.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._parser cimport Message
from ..identity.users cimport Users


# Whether another device of the caller is asked where the one that called is not there.
cdef enum OtherDevices:
    OTHERS_NEVER
    OTHERS_OF_THE_KNOWN                  # where it is known who the caller is
    OTHERS_ALWAYS


@cython.final
cdef class Policy:
    cdef bint enabled
    cdef bint serial                     # one caller at a time
    cdef bint ends_on_refer              # a watch ends when the caller's phone accepts, not when the two talk
    cdef int64_t attempts, per_caller, per_callee, max_watches
    cdef int64_t min_period, max_period, default_period     # seconds
    cdef bint declined_ends              # a watch, when a person does not want to be called
    cdef int64_t no_reply_after          # ms of ringing, after which nobody answers
    cdef OtherDevices other_devices
    cdef int64_t keepalive                                  # ms; 0: it is off
    cdef int64_t guard, retry_pause, refer_timeout, recall_timeout, max_talk        # ms
    # Seconds for which calls are watched that do not ask for `min_period` or more; 0: they are not; NEVER: none is.
    cdef int64_t everybody
    cdef dict users                      # AOR of a caller -> the same; None where nobody has rules of their own
    cdef dict domains                    # host -> the same
    cdef Users callees                   # who may restrict who watches for them; None: nobody is known
    cdef object never_callees            # pattern of AORs that nobody is watched for; None: there are none
    # Seconds for which a call is watched that asks for so many (-1: for none); 0: it is not, and `why_no_period` says why.
    cdef int64_t period_for(self, int64_t asked, bytes caller, bytes callee) except -1
    cdef str why_no_period(self, int64_t asked, bytes caller, bytes callee)
    # Why a callee does not let a caller watch, who has just called by `request` or has a watch (None); None: he does.
    cdef str refusal(self, bytes callee, bytes caller, Message request)
    cdef tuple rules_of(self, bytes caller)
