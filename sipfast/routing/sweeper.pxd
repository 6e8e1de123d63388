# Removes what has expired from the store. See sweeper.pyx.

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel
from ..observe.events cimport Events
from .outbound cimport Outbound

cdef class Sweeper(Timed):
    cdef object store
    cdef Outbound outbound
    cdef Wheel wheel
    cdef Events events
    cdef int64_t longest_call            # ms
    cdef int begin(self, int64_t now) except -1
