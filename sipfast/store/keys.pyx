"""AORs as keys, the same in every back end.

LMDB's keys are at most 511 bytes long, so in keys an AOR of 255 bytes or more, or one with a NUL in it, is replaced by its
beginning and a digest, 255 bytes together. The records hold it in full and are compared with it.
"""

from hashlib import blake2b

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

cdef enum:
    SHORTENED_SIZE = 255    # two of them and a NUL are LMDB's 511 bytes


cpdef bytes key_of(bytes aor):
    cdef Py_ssize_t size = len(aor)
    if 0 < size < SHORTENED_SIZE and memchr(PyBytes_AS_STRING(aor), 0, size) == NULL:
        return aor
    digest = blake2b(aor, digest_size=16).hexdigest().encode()
    beginning = aor[: SHORTENED_SIZE - len(digest)].replace(b"\0", b"\1")
    return beginning.ljust(SHORTENED_SIZE - len(digest), b"\1") + digest


cpdef bytes pair_of(bytes first, bytes second):
    cdef bytes one = key_of(first), other = key_of(second)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(one)
    cdef bytes pair = PyBytes_FromStringAndSize(NULL, size + 1 + PyBytes_GET_SIZE(other))
    cdef char *to = PyBytes_AS_STRING(pair)
    memcpy(to, PyBytes_AS_STRING(one), size)
    to[size] = 0
    memcpy(to + size + 1, PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other))
    return pair
