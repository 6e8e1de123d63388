# The watch list, as redial reads and writes it. See watchlist.pyx.

from libc.stdint cimport int64_t, uint64_t

from ..store.codec cimport StoredWatch, WatchEntry
from ..store.repository cimport Store
from .waiting cimport Waiting
from .._wheel cimport Timed, Wheel
from ..observe.events cimport Events

cdef enum:
    # Timer kinds
    EXPIRE = 1              # payload: pair
    REWRITE = 8             # no payload
    REWRITE_AFTER = 1_000   # ms from a failed commit until what it lost is written again

# What came of a recall, for people: what the phone said to the REFER, and the rest.
cdef str outcome(str answer, str result)

# A pair is a tuple: callee, caller. `cpdef` where `shared` does it in another way, or a test asks.
cdef class Watchlist(Timed):
    cdef public object _settings
    cdef public Store _store
    cdef public Wheel _wheel
    cdef Events _events
    cdef bint _enabled
    cdef int64_t _per_caller, _per_callee
    cdef Waiting _waiting                # pairs with the timers of their watches
    # Written since the last commit: None is a removal
    cdef public dict _touched            # pair -> its watch, or None where it has none any more
    cdef dict _talked                    # callee -> talk
    # The same of batches that were lost: to be written again, unless something newer is
    cdef public dict _lost
    cdef dict _lost_talks
    cdef uint64_t _rewrite               # timer

    cpdef _watch(self, tuple pair)
    cdef StoredWatch _readable(self, tuple pair)
    cpdef list _watches(self, bytes callee)
    cpdef bint _is_watched(self, tuple pair) except *
    cpdef bint _owns(self, bytes callee) except *
    cpdef bint _may_arm(self, bytes caller, bytes callee) except *
    cdef StoredWatch _changed(self, const WatchEntry *entry, tuple pair)
    cpdef _put(self, tuple pair, StoredWatch watch, bint new=*)
    cpdef bint _remove(self, tuple pair, str reason, str answer=*, str result=*) except *
    cdef StoredWatch _as_stored(self, tuple pair)
    cdef object _outcomes(self, tuple pair)
    cdef _keep_ended(self, object watch, object attempts, str reason, str answer, str result)
    cdef _wrote(self, tuple pair, StoredWatch watch)
    cpdef _keep_talk(self, bytes callee, talk)
    cpdef _write_again(self, int64_t now)
    cpdef _time(self, tuple pair, int64_t expires_at)
    cpdef _untime(self, tuple pair)
