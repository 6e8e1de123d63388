# Whether those who are waited for are still where they were, asked now and then. See keepalive.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from ..routing.doubt cimport Doubts
from .._wheel cimport Timed, Wheel
from .policy cimport Policy
from .waiting cimport Waiting


@cython.final
cdef class KeepAlive(Timed):
    cdef Policy policy
    cdef Waiting waiting
    cdef Doubts doubts
    cdef Wheel wheel
    cdef uint64_t timer                  # 0: it is off
    cdef list left                       # callees of this round
    cdef Py_ssize_t share                # of them at a time
    cdef int64_t round_ends              # ms
    # Begin, where the settings ask for it and it does not run; they may have changed.
    cdef int run(self, int64_t now) except -1

cdef KeepAlive make_keepalive(Policy policy, Waiting waiting, Doubts doubts, Wheel wheel)
