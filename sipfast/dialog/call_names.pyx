"""Call-IDs and tags of the server's own requests: SipHash of a counter, keyed by what was random at this start.

Nobody who has seen some can tell another. With several workers a Call-ID bears the number of the one that made it, so that
whatever is said by it finds that one.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from .._hash cimport Hash, end_hash, end_hash64, hex16, mix_number, start_hash

cdef enum:
    MARK_SIZE = 2           # hex digits of a worker's number, in front of a Call-ID
    CALL_ID_SIZE = 24       # hex digits of the rest
    TAG_SIZE = 10
    PURPOSE_CALL_ID = 0x72636964
    PURPOSE_TAG = 0x72746167


# The first `size` hex digits of two numbers.
cdef bytes digits(uint64_t first, uint64_t second, Py_ssize_t size):
    cdef bytes one = hex16(first), other, both
    if size <= 16:
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(one), size)
    both = PyBytes_FromStringAndSize(NULL, size)
    other = hex16(second)
    memcpy(PyBytes_AS_STRING(both), PyBytes_AS_STRING(one), 16)
    memcpy(PyBytes_AS_STRING(both) + 16, PyBytes_AS_STRING(other), size - 16)
    return both


cdef class CallNames:
    """What names the requests of one worker."""

    cdef bytes new_call_id(self):
        cdef Hash h
        cdef uint64_t low, high
        cdef bytes call_id
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_CALL_ID)
        mix_number(&h, self.made)
        end_hash(&h, &low, &high)
        call_id = digits(low, high, CALL_ID_SIZE)
        return call_id if self.workers <= 1 else b"%02x%b" % (self.worker, call_id)

    cdef bytes new_tag(self):
        cdef Hash h
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_TAG)
        mix_number(&h, self.made)
        return digits(end_hash64(&h), 0, TAG_SIZE)

    cdef int home_of(self, bytes call_id) except -2:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(call_id)
        if size == CALL_ID_SIZE:
            return 0                          # made when there was one worker
        if size != MARK_SIZE + CALL_ID_SIZE:
            return -1
        try:
            return int(call_id[:MARK_SIZE], 16) % self.workers
        except ValueError:
            return -1


cdef CallNames make_call_names(bytes seed, int worker, int workers):
    cdef CallNames names = CallNames.__new__(CallNames)
    if PyBytes_GET_SIZE(seed) < 16:
        raise ValueError("a seed of 16 random bytes")
    memcpy(&names.secret.low, PyBytes_AS_STRING(seed), 8)
    memcpy(&names.secret.high, PyBytes_AS_STRING(seed) + 8, 8)
    names.worker, names.workers = worker, workers
    return names
