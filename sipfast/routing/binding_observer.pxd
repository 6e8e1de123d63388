# Who wants to hear of bindings. See binding_observer.pyx.

from libc.stdint cimport int64_t

cdef class BindingObserver:
    # An AOR that had no binding, or only such as are in doubt, can be reached: its 200 is on its way, or its phone has answered.
    cdef int bound(self, bytes aor, int64_t now) except -1
    # It has registered again.
    cdef int refreshed(self, bytes aor, int64_t now) except -1
