"""Call-IDs and tags of recalls: SipHash of a counter, keyed by what was random at this start.

Nobody who has seen some can tell another.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from .._hash cimport Hash, end_hash, end_hash64, hex16, mix_number, start_hash

cdef enum:
    PURPOSE_CALL_ID = 0x72636964
    PURPOSE_TAG = 0x72746167


cdef class CallNames:
    """What names a recall's requests."""

    cdef bytes new_call_id(self):
        cdef Hash h
        cdef uint64_t low, high
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_CALL_ID)
        mix_number(&h, self.made)
        end_hash(&h, &low, &high)
        return hex16(low) + hex16(high)[:CALL_ID_SIZE - 16]

    cdef bytes new_tag(self):
        cdef Hash h
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_TAG)
        mix_number(&h, self.made)
        return hex16(end_hash64(&h))[:10]


cdef CallNames make_call_names(bytes seed):
    cdef CallNames names = CallNames.__new__(CallNames)
    if PyBytes_GET_SIZE(seed) < 16:
        raise ValueError("a seed of 16 random bytes")
    memcpy(&names.secret.low, PyBytes_AS_STRING(seed), 8)
    memcpy(&names.secret.high, PyBytes_AS_STRING(seed) + 8, 8)
    return names
