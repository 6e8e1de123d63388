# Call-IDs and tags of recalls. See call_names.pyx.

cimport cython
from libc.stdint cimport uint64_t

from .._hash cimport Secret

cdef enum:
    CALL_ID_SIZE = 24       # hex digits of what `new_call_id` makes


@cython.final
cdef class CallNames:
    cdef Secret secret
    cdef uint64_t made
    # Never the same again, after a restart neither, and not to be guessed (RFC 3261 §8.1.1.4, §19.3).
    cdef bytes new_call_id(self)
    cdef bytes new_tag(self)

# `seed`: at least 16 random bytes.
cdef CallNames make_call_names(bytes seed)
