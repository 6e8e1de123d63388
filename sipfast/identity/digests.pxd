# The digests of RFC 7616, as hexadecimal text. See digests.pyx.

from .credentials cimport ALGORITHM_SHA256

cdef enum:
    MOST_HEX = 64           # SHA-256

# How many hex digits a digest has.
cdef inline int hex_size(int algorithm) noexcept nogil:
    return 64 if algorithm == ALGORITHM_SHA256 else 32

# H(data) of an Algorithm (credentials), as lower-case hex digits at `out`.
cdef int digest(int algorithm, const char *data, Py_ssize_t size, char *out) except -1
# The same, only where the module says that it is `quick`: for who must not take the interpreter.
cdef void openssl_digest(int algorithm, const char *data, Py_ssize_t size, char *out) noexcept nogil
# Whether two texts of one length are the same, in a time that tells nothing of where they differ. Hex digits of any case.
cdef bint same_hex(const char *ours, const unsigned char *theirs, int size) noexcept
