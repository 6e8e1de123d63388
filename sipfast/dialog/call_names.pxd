# Call-IDs and tags of the server's own requests. See call_names.pyx.

cimport cython
from libc.stdint cimport uint64_t

from .._hash cimport Secret


@cython.final
cdef class CallNames:
    cdef Secret secret
    cdef uint64_t made
    cdef int worker, workers
    # Never the same again, after a restart neither, and not to be guessed (RFC 3261 §8.1.1.4, §19.3).
    cdef bytes new_call_id(self)
    cdef bytes new_tag(self)
    # The worker that has made a Call-ID, or goes on with what an earlier process did under it; -1 where that is nobody's here.
    cdef int home_of(self, bytes call_id) except -2

# `seed`: at least 16 random bytes.
cdef CallNames make_call_names(bytes seed, int worker, int workers)
