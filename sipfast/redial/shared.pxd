# Automatic redial by several workers that share one store. See shared.pyx.

from libc.stdint cimport int64_t

from .answers cimport Recent
from .redial cimport Redial

cdef class SharedRedial(Redial):
    cdef int _worker, _workers
    cdef object _post
    cdef bint _resumed
    cdef list _notices                   # (worker, Notice), to leave after the commit
    cdef dict _proxied                   # Call-ID -> pair of another's, of recalled calls that go through here
    cdef readonly Recent _ended          # calls that have ended, and were no talks as far as known
    cdef readonly Recent _acknowledged   # calls whose ACK was not awaited as far as known

    cdef int _owner(self, bytes callee) except -1
    cdef bint _is_mine(self, bytes callee) except -1
    cdef _tell(self, int kind, tuple pair, bytes call_id=*, int status=*)
    cdef _tell_all(self, notice)
    cdef _look_back(self, int64_t now)
    cdef _answered_here(self, tuple pair, bytes call_id, tuple tags, int64_t now)
    cdef _drop_talk(self, bytes callee, bytes call_id)
    cdef _over(self, bytes callee, bytes call_id, int64_t now)
    # What the others saw
    cdef _look(self, tuple pair, int64_t now)
    cdef _started_elsewhere(self, tuple pair, notice)
    cdef _awaited_elsewhere(self, tuple pair, notice, int64_t now)
    cdef _answered_elsewhere(self, tuple pair, bytes call_id, int64_t now)
    cdef _talk_elsewhere(self, talk, int64_t now)
    cdef _greeted(self, int worker, int64_t now)
