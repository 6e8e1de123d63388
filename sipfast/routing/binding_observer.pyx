"""Who wants to hear of bindings: what registrar and learning tell of by way of the engine. These do nothing."""

from libc.stdint cimport int64_t


cdef class BindingObserver:
    """Hears of bindings."""

    cdef int bound(self, bytes aor, int64_t now) except -1:
        return 0

    cdef int refreshed(self, bytes aor, int64_t now) except -1:
        return 0
