"""AORs as keys, the same in every back end.

LMDB's keys are at most 511 bytes long, so in keys an AOR of 255 bytes or more, or one with a NUL in it, is replaced by its
beginning and a digest, 255 bytes together. The records hold it in full and are compared with it.
"""

from hashlib import blake2b

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

from .codec cimport Piece, bytes_of

cdef enum:
    SHORTENED_SIZE = 255    # two of them and a NUL are LMDB's 511 bytes


cdef inline bint is_short(const char *text, Py_ssize_t size) noexcept:
    return 0 < size < SHORTENED_SIZE and memchr(text, 0, size) == NULL


cpdef bytes key_of(bytes aor):
    if is_short(PyBytes_AS_STRING(aor), len(aor)):
        return aor
    digest = blake2b(aor, digest_size=16).hexdigest().encode()
    beginning = aor[: SHORTENED_SIZE - len(digest)].replace(b"\0", b"\1")
    return beginning.ljust(SHORTENED_SIZE - len(digest), b"\1") + digest


cdef bytes joined(const char *first, Py_ssize_t size, const char *second, Py_ssize_t other):
    cdef bytes pair = PyBytes_FromStringAndSize(NULL, size + 1 + other)
    cdef char *to = PyBytes_AS_STRING(pair)
    memcpy(to, first, size)
    to[size] = 0
    memcpy(to + size + 1, second, other)
    return pair


cpdef bytes pair_of(bytes first, bytes second):
    cdef bytes one = key_of(first), other = key_of(second)
    return joined(PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one), PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other))


cdef bytes pair_at(Piece first, Piece second):
    if is_short(first.text, first.size) and is_short(second.text, second.size):
        return joined(first.text, first.size, second.text, second.size)
    return pair_of(bytes_of(first), bytes_of(second))
