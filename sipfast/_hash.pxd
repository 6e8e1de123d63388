# The keyed hash (SipHash-2-4) that branches, tags and tokens are checked by, and a quicker one that nobody sees. See _hash.pyx.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef struct Secret:
    uint64_t low
    uint64_t high

# Keyed hash over several pieces: start_hash, mix functions in a fixed order, end_hash (128 bits) or end_hash64.
# Pieces of varying length go in with their lengths, so that moving a byte from one to the next gives another hash.
cdef struct Hash:
    uint64_t v0, v1, v2, v3

cdef inline uint64_t rotate(uint64_t x, int bits) noexcept:
    return (x << bits) | (x >> (64 - bits))


cdef inline void rounds(Hash *h, int count) noexcept:
    cdef uint64_t v0 = h.v0, v1 = h.v1, v2 = h.v2, v3 = h.v3
    while count:
        v0 += v1
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 += v3
        v3 = rotate(v3, 16) ^ v2
        v0 += v3
        v3 = rotate(v3, 21) ^ v0
        v2 += v1
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)
        count -= 1
    h.v0 = v0
    h.v1 = v1
    h.v2 = v2
    h.v3 = v3


cdef inline void mix_number(Hash *h, uint64_t word) noexcept:
    h.v3 ^= word
    rounds(h, 2)
    h.v0 ^= word


cdef inline void seed(Hash *h, const Secret *secret) noexcept:
    h.v0 = secret.low ^ <uint64_t>0x736f6d6570736575
    h.v1 = secret.high ^ <uint64_t>0x646f72616e646f6d
    h.v2 = secret.low ^ <uint64_t>0x6c7967656e657261
    h.v3 = secret.high ^ <uint64_t>0x7465646279746573


cdef inline void start_hash(Hash *h, const Secret *secret, uint64_t purpose) noexcept:
    seed(h, secret)
    mix_number(h, purpose)


cdef inline uint64_t end_hash64(Hash *h) noexcept:
    h.v2 ^= 0xff
    rounds(h, 4)
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3


cdef void mix_bytes(Hash *h, const unsigned char *p, Py_ssize_t size) noexcept
cdef void mix_token(Hash *h, const unsigned char *p, Py_ssize_t size) noexcept     # without regard to ASCII case
cdef void end_hash(Hash *h, uint64_t *low, uint64_t *high) noexcept
cdef bytes hex16(uint64_t number)

# A hash in a few instructions, from any secret number on: against accidents, and against who cannot see what comes of it.
cdef inline uint64_t fold_number(uint64_t h, uint64_t number) noexcept:
    # Multiplying carries a bit upwards only, so the upper half comes down each time.
    h = (h ^ number) * <uint64_t>0x9E3779B97F4A7C15ULL
    return h ^ (h >> 32)

# A multiplication waits for the one before: eight bytes each.
cdef inline uint64_t fold_bytes(uint64_t h, const void *text, Py_ssize_t size) noexcept:
    cdef const unsigned char *p = <const unsigned char *>text
    cdef uint64_t word
    h = fold_number(h, size)
    while size >= 8:
        memcpy(&word, p, 8)
        h = fold_number(h, word)
        p += 8
        size -= 8
    word = 0
    while size:
        size -= 1
        word = word << 8 | p[size]
    return fold_number(h, word)
