"""The keyed hash that branches, tags and tokens are checked by.

It is SipHash-2-4 (Aumasson and Bernstein, 2012), with words for whole numbers and a length word after each piece
of text. Text without regard to case is hashed with bit 5 of each byte set: within the alphabets of `token` and of host
(RFC 3261 §25.1) no two characters but the two cases of a letter become one by that.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef const char *DIGITS = b"0123456789abcdef"


# ---- SipHash

cdef inline void mix_text(Hash *h, const unsigned char *p, Py_ssize_t size, uint64_t fold) noexcept:
    cdef uint64_t word
    cdef Py_ssize_t at = 0
    while at + 8 <= size:
        memcpy(&word, p + at, 8)
        mix_number(h, word | fold)
        at += 8
    word = 0
    if at < size:
        if size >= 8:                            # what has been mixed in already is shifted out
            memcpy(&word, p + size - 8, 8)
            word >>= 8 * (8 - (size - at))
        else:
            memcpy(&word, p, size)
        word |= fold >> (8 * (8 - (size - at)))
    mix_number(h, word | <uint64_t>size << 56)     # SipHash's own last word


cdef void mix_bytes(Hash *h, const unsigned char *p, Py_ssize_t size) noexcept:
    cdef Hash own = h[0]        # nothing that p might point into: it stays in registers
    mix_number(&own, size)
    mix_text(&own, p, size, 0)
    h[0] = own


cdef void mix_token(Hash *h, const unsigned char *p, Py_ssize_t size) noexcept:
    cdef Hash own = h[0]        # nothing that p might point into: it stays in registers
    mix_number(&own, size)
    mix_text(&own, p, size, <uint64_t>0x2020202020202020)
    h[0] = own


cdef void end_hash(Hash *h, uint64_t *low, uint64_t *high) noexcept:
    low[0] = end_hash64(h)
    h.v1 ^= 0xdd
    rounds(h, 4)
    high[0] = h.v0 ^ h.v1 ^ h.v2 ^ h.v3


def siphash(bytes data, secret):
    """SipHash-2-4 of `data` with a secret of 128 bits, the first 8 bytes of the key as its low half."""
    cdef Secret key = Secret(<uint64_t>(secret & 0xffffffffffffffff), <uint64_t>(secret >> 64 & 0xffffffffffffffff))
    cdef Hash h
    seed(&h, &key)
    mix_text(&h, <const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), 0)
    return end_hash64(&h)


# ---- hexadecimal

cdef bytes hex16(uint64_t number):
    cdef bytes out = PyBytes_FromStringAndSize(NULL, 16)
    cdef char *p = PyBytes_AS_STRING(out)
    cdef int i
    for i in range(15, -1, -1):
        p[i] = DIGITS[number & 15]
        number >>= 4
    return out
