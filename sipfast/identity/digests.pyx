"""MD5 and SHA-256, as RFC 7616 and RFC 8760 want them: hexadecimal text of some hundred bytes.

The functions are OpenSSL's, which Python's own hashlib stands on, and which is loaded with it. Where they are found in it
they are called as they are: an object of hashlib costs more than hashing what a request has (two of them 1.8 µs, against
0.8). Else hashlib does it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from .credentials cimport ALGORITHM_MD5, ALGORITHM_SHA256

import hashlib

try:
    import _hashlib
except ImportError:                      # a Python without OpenSSL
    _hashlib = None

cdef extern from "dlfcn.h":
    void *dlopen(const char *, int) nogil
    void *dlsym(void *, const char *) nogil
    int RTLD_LAZY, RTLD_LOCAL

cdef enum:
    MOST_CONTEXT = 64           # words of 8 bytes: OpenSSL's MD5_CTX has 92 bytes, its SHA256_CTX 112

ctypedef int (*Init)(void *) noexcept nogil
ctypedef int (*Update)(void *, const void *, size_t) noexcept nogil
ctypedef int (*Final)(unsigned char *, void *) noexcept nogil

cdef struct Functions:
    Init init
    Update update
    Final final

cdef Functions[3] FOUND                 # by Algorithm
cdef const char *DIGITS = b"0123456789abcdef"
cdef object md5 = hashlib.md5
cdef object sha256 = hashlib.sha256


cdef bint find(void *library, Functions *functions, const char *init, const char *update, const char *final) noexcept:
    functions.init = <Init>dlsym(library, init)
    functions.update = <Update>dlsym(library, update)
    functions.final = <Final>dlsym(library, final)
    return functions.init != NULL and functions.update != NULL and functions.final != NULL


# Whether both work, and say what hashlib says.
cdef bint find_all(str path) except -1:
    cdef char out[MOST_HEX]
    cdef bytes name = path.encode() if path else b""
    cdef void *library = dlopen(PyBytes_AS_STRING(name) if path else NULL, RTLD_LAZY | RTLD_LOCAL)
    if library == NULL or not (
            find(library, &FOUND[<int>ALGORITHM_MD5], b"MD5_Init", b"MD5_Update", b"MD5_Final")
            and find(library, &FOUND[<int>ALGORITHM_SHA256], b"SHA256_Init", b"SHA256_Update", b"SHA256_Final")):
        return False
    openssl_digest(ALGORITHM_MD5, b"sip", 3, out)
    if out[:32] != md5(b"sip", usedforsecurity=False).hexdigest().encode():
        return False
    openssl_digest(ALGORITHM_SHA256, b"sip", 3, out)
    return out[:64] == sha256(b"sip").hexdigest().encode()


cdef void openssl_digest(int algorithm, const char *data, Py_ssize_t size, char *out) noexcept nogil:
    cdef uint64_t context[MOST_CONTEXT]
    cdef unsigned char made[32]
    cdef const char *digits = DIGITS
    cdef int i
    FOUND[algorithm].init(context)
    FOUND[algorithm].update(context, data, size)
    FOUND[algorithm].final(made, context)
    for i in range(hex_size(algorithm) // 2):
        out[2 * i] = digits[made[i] >> 4]
        out[2 * i + 1] = digits[made[i] & 15]


cdef int digest(int algorithm, const char *data, Py_ssize_t size, char *out) except -1:
    cdef bytes text
    if QUICK:
        openssl_digest(algorithm, data, size, out)
        return 0
    text = PyBytes_FromStringAndSize(data, size)
    if algorithm == ALGORITHM_MD5:
        text = md5(text, usedforsecurity=False).hexdigest().encode()
    else:
        text = sha256(text).hexdigest().encode()
    memcpy(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return 0


cdef bint same_hex(const char *ours, const unsigned char *theirs, int size) noexcept:
    cdef unsigned char differs = 0
    cdef int i
    for i in range(size):
        differs |= <unsigned char>ours[i] ^ (theirs[i] | 0x20 if theirs[i] >= c'A' else theirs[i])
    return differs == 0


cdef bint QUICK = _hashlib is not None and find_all(getattr(_hashlib, "__file__", ""))
quick = QUICK


def hexdigest(str algorithm not None, bytes data not None):
    cdef char out[MOST_HEX]
    cdef int number = ALGORITHM_MD5 if algorithm == "MD5" else ALGORITHM_SHA256
    digest(number, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), out)
    return out[:hex_size(number)]
