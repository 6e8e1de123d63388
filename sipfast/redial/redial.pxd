# Automatic redial: the watch list and the recalls. See redial.pyx.

from libc.stdint cimport int64_t, uint64_t

from .answers cimport Answers
from ..trust.credit cimport Credit
from .._flow cimport Flow
from .._parser cimport Message
from ..store.codec cimport Entry, StoredWatch
from .refer cimport Referrer
from ..transaction.client cimport ClientTransaction
from ..transaction.server cimport Handler
from .watchlist cimport Watchlist
from ..routing.location cimport Location

# A pair is a tuple: callee, caller.

cdef class Redial(Watchlist)

# The state of a watch as stored.
cdef bint is_armed(StoredWatch watch) noexcept
cdef bint is_recalling(StoredWatch watch) noexcept
cdef bint is_calling(StoredWatch watch) noexcept

# A recall that is going on, from its claim until the call is answered or has come to nothing.
cdef class Recall(Handler):
    cdef Redial redial
    cdef public tuple pair
    cdef bytes refer_call_id
    cdef StoredWatch claimed             # until the REFER has left
    cdef public bytes call_id            # of the caller's INVITE, once it came
    cdef public uint64_t timer
    cdef ClientTransaction refer         # until it is answered
    cdef public bint over
    cdef str answer                      # of the phone to the REFER, for people
    cdef int64_t attempt
    # Where several workers share the recalls, see shared.pyx
    cdef public int worker               # the other one that the call goes through
    cdef public bint waited              # for the notice that the call has started

# Whether a talk goes on, asked of all phones of its caller.
cdef class Question(Handler):
    cdef Redial redial
    cdef bytes call_id
    cdef Py_ssize_t left                 # phones that have not said that they know nothing of it

# `cpdef` where the one that inherits, `shared`, does it in another way, or a test asks.
cdef class Redial(Watchlist):
    cdef Referrer _referrer
    cdef Answers _answers
    cdef int64_t _settled_at             # ms: until then there may be ACKs of recalled calls that were answered before the start
    cdef public Location _location
    cdef bint _serial, _ends_on_refer
    cdef public int64_t _guard, _recall_timeout     # ms
    cdef int64_t _retry, _refer_timeout, _max_talk, _min_period, _max_period
    cdef public dict _recalls            # pair -> Recall
    cdef public dict _taken              # callee -> pair being recalled, or Call-ID of the talk (serial)
    cdef dict _refers                    # Call-ID of a REFER whose NOTIFYs are known -> pair
    cdef public dict _talks              # Call-ID -> callee
    cdef dict _pauses                    # callee -> GUARD or RETRY timer
    cdef dict _credits                   # callee -> Credit of the REGISTER that brought it back, for REFERs to the unproven
    cdef list _claimed                   # recalls whose REFERs are to be sent after the commit
    cdef public set _armed               # armed or renewed, and promised by an answer that has not left
    cdef public dict _counts

    cdef bint _is_back(self, bytes callee, int64_t now) except *
    cpdef bint committed(self, int64_t now) except *
    cpdef _take_back(self, tuple pair, int64_t now)
    cpdef unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, int64_t now)
    cpdef _arm(self, Message request, Flow flow, tuple pair, int64_t expires_at, int64_t now)
    cpdef bint cancel(self, bytes caller, bytes callee, int64_t now) except *
    cdef _call_off(self, tuple pair, int64_t now)
    cpdef callee_bound(self, bytes callee, int64_t now)
    cpdef _bound(self, bytes callee, int64_t now)
    cdef Credit _credit(self, bytes callee)
    # A callee has registered again.
    cdef int refreshed(self, bytes callee) except -1
    cdef object _caller_at(self, StoredWatch watch, Entry *device, int64_t now)
    cdef bint _is_held_back(self, StoredWatch watch, tuple pair, int64_t now) except *
    cpdef call_started(self, bytes caller, bytes callee, Message request, int64_t now)
    cpdef _calls(self, StoredWatch watch)
    cpdef bint is_recalling(self, bytes caller, bytes callee) except *
    cpdef call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now)
    cpdef bint _is_known(self, tuple pair) except *
    cpdef _await_ack(self, tuple pair, bytes call_id, int64_t now)
    cpdef call_acknowledged(self, Message ack, int64_t now)
    cdef tuple _answered_pair(self, Message ack, bytes call_id, int64_t now)
    cdef tuple _call_from_before(self, Message message, bint acknowledged, int64_t now)
    cpdef _connected(self, tuple pair, bytes call_id, tuple tags, int64_t now)
    cpdef _answered(self, tuple pair, bytes call_id, tuple tags, int64_t now)
    cpdef bint _keeps_others_waiting(self, tuple pair) except *
    cpdef _talk(self, tuple pair, bytes call_id, tuple tags, int64_t now)
    cpdef call_failed(self, bytes caller, bytes callee, bytes call_id, int status, int64_t now)
    cpdef call_hung_up(self, Message bye, int64_t now)
    cpdef _unconfirmed(self, tuple pair, bytes call_id, int64_t now)
    cpdef call_ended(self, bytes call_id, int64_t now)
    cpdef int notify(self, Message request, int64_t now) except -1
    cpdef _recall(self, bytes callee, int64_t now)
    cdef _claim_due(self, bytes callee, list watches, int64_t now)
    cdef bint _claim(self, StoredWatch watch, tuple pair, int64_t now) except *
    cpdef _adopt(self, StoredWatch watch, tuple pair, int64_t now)
    cdef _not_armed(self, bytes caller, bytes callee, str why)
    cdef _recalled(self, Recall recall, str answer)
    cdef _refer(self, Recall recall, StoredWatch watch, int64_t now)
    cdef refer_answered(self, Recall recall, int status, Message response, int64_t now)
    cpdef _come_to_nothing(self, Recall recall, str result, int64_t now)
    cdef object _device(self, bytes aor, bytes contact, bytes instance, int64_t since, Entry *device, int64_t now)
    cpdef int expired(self, int kind, object payload, int64_t now) except -1
    cdef _expire(self, tuple pair, int64_t now)
    cdef _resume(self, Recall recall, int64_t now)
    cpdef _late(self, Recall recall, int64_t when)
    cpdef _stop(self, Recall recall)
    cpdef _pause(self, bytes callee, int64_t when, int kind, int64_t now)
    cpdef bytes _new_call_id(self)
    cpdef _release(self, Recall recall)
    cpdef _hold(self, talk, int64_t now)
    cdef _doubt(self, bytes call_id, int64_t when)
    cdef _ask(self, bytes call_id, int64_t now)
    cpdef _know(self, talk, int64_t now)
