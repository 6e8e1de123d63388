# Automatic redial: the watch list and the recalls. See redial.pyx.

from libc.stdint cimport int64_t, uint64_t

from ._flow cimport Flow
from ._parser cimport Message
from ._transaction cimport ClientTransaction, Handler
from ._wheel cimport Timed, Wheel
from .location cimport Location

# A pair is a tuple: callee, caller.

cdef class Redial(Timed)

# A recall that is going on, from its claim until the call is answered or has come to nothing.
cdef class Recall(Handler):
    cdef public Redial redial
    cdef public tuple pair
    cdef public bytes refer_call_id
    cdef public bytes call_id            # of the caller's INVITE, once it came
    cdef public uint64_t timer
    cdef public ClientTransaction refer  # until it is answered
    cdef public bint over
    # Where several workers share the recalls, see redial_shared.py
    cdef public int worker               # the other one that the call goes through
    cdef public bint waited              # for the notice that the call has started

# `public` for the one that inherits, redial_shared, which is Python.
cdef class Redial(Timed):
    cdef public object _settings, _store, _originator
    cdef public Wheel _wheel
    cdef public Location _location
    cdef public bint _serial
    cdef public int64_t _guard, _retry, _refer_timeout, _recall_timeout     # ms
    cdef public dict _expiries           # pair -> timer of the watch
    cdef public dict _recalls            # pair -> Recall
    cdef public dict _taken              # callee -> pair being recalled, or Call-ID of the talk (serial)
    cdef public dict _refers             # Call-ID of a REFER whose NOTIFYs are known -> pair
    cdef public dict _talks              # Call-ID -> callee
    cdef public dict _pauses             # callee -> GUARD or RETRY timer
    cdef public list _claimed            # recalls whose REFERs are to be sent after the commit
    # Written since the last commit: None is a removal
    cdef public dict _touched            # pair -> watch
    cdef public dict _talked             # callee -> talk
    # The same of batches that were lost: to be written again, unless something newer is
    cdef public dict _lost
    cdef public dict _lost_talks
    cdef public uint64_t _rewrite        # timer
    cdef public set _armed               # of those touched, armed or renewed, and promised by an answer that has not left
    cdef public dict _counts

    cpdef bint committed(self, int64_t now) except *
    cpdef _write_again(self, int64_t now)
    cpdef _take_back(self, tuple pair, int64_t now)
    cpdef unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, int64_t now)
    cpdef _arm(self, Message request, Flow flow, tuple pair, int64_t expires_at, int64_t now)
    cpdef bint cancel(self, bytes caller, bytes callee, int64_t now) except *
    cpdef callee_bound(self, bytes callee, int64_t now)
    cpdef _bound(self, bytes callee, int64_t now)
    cpdef call_started(self, bytes caller, bytes callee, bytes call_id, int64_t now)
    cpdef bint is_recalling(self, bytes caller, bytes callee) except *
    cpdef call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now)
    cpdef _answered(self, tuple pair, bytes call_id, int64_t now)
    cpdef bint _keeps_others_waiting(self, tuple pair) except *
    cpdef _talk(self, tuple pair, bytes call_id, int64_t now)
    cpdef call_failed(self, bytes caller, bytes callee, bytes call_id, int status, int64_t now)
    cpdef call_ended(self, bytes call_id, int64_t now)
    cpdef int notify(self, Message request, int64_t now) except -1
    cpdef _recall(self, bytes callee, int64_t now)
    cpdef _claim_due(self, bytes callee, bint serial, int64_t now)
    cpdef bint _claim(self, watch, int64_t now) except *
    cpdef _adopt(self, watch, int64_t now)
    cpdef _refer(self, Recall recall, watch, int64_t now)
    cpdef refer_answered(self, Recall recall, int status, str reason, int64_t now)
    cpdef _come_to_nothing(self, Recall recall, str result, int64_t now)
    cpdef _target(self, watch, int64_t now)
    cpdef _binding_of(self, bytes caller, bytes contact, bytes instance, int64_t now)
    cpdef int expired(self, int kind, object payload, int64_t now) except -1
    cpdef _expire(self, tuple pair, int64_t now)
    cpdef _resume(self, tuple pair, int64_t now)
    cpdef _time(self, watch)
    cpdef _untime(self, tuple pair)
    cpdef _late(self, Recall recall, int64_t when)
    cpdef _stop(self, Recall recall)
    cpdef _pause(self, bytes callee, int64_t when, int kind, int64_t now)
    cpdef _watch(self, bytes callee, bytes caller)
    cpdef _watches(self, bytes callee)
    cpdef bint _owns(self, bytes callee) except *
    cpdef _new_call_id(self)
    cpdef _put(self, watch)
    cpdef bint _remove(self, tuple pair, str reason) except *
    cpdef _wrote(self, bytes callee, bytes caller, watch)
    cpdef _keep_talk(self, bytes callee, talk)
    cpdef _release(self, Recall recall)
    cpdef _hold(self, talk, int64_t now)
    cpdef _know(self, talk, int64_t now)