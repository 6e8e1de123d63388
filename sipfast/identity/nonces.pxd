# Nonces, and how often each was used. See nonces.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .._flow cimport Flow
from .._grammar cimport Span
from .._hash cimport Secret

cdef enum:
    COPIES = 4              # of the last requests with a nonce that are known again

# What a nonce of ours is found to be, of a request whose digest is right.
cdef enum Worth:
    WORTH_NOTHING = 0       # stale: it has run out, or its count was there before
    WORTH_GOOD = 1
    WORTH_COPY = 2          # this very request was let in before

# One nonce that was used: a line of the processor's cache.
cdef struct Use:
    uint64_t key            # 0: free
    int64_t made            # ms: when the nonce was
    uint64_t seen           # counts: bit n is the highest less n
    uint32_t highest
    uint32_t next           # place in copies
    uint64_t copies[COPIES]  # a hash of the whole request, its last bits when it came

cdef class Nonces:
    cdef Secret secret
    cdef int worker
    cdef int64_t lasts      # ms
    cdef uint64_t serial
    cdef int64_t made       # of the one at hand: ms, and what it is known by
    cdef uint64_t key
    cdef Use *uses
    cdef int64_t *floors    # of each set: nonces made at that time or before are stale, where the set has none of them
    cdef uint64_t sets      # less one: a mask
    # A nonce as it goes into a challenge: hex digits.
    cdef bytes make(self, bytes realm, Flow flow, int64_t now)
    # Whether this worker has made it, for that realm and address. Then `use` is about it.
    cdef bint is_ours(self, const unsigned char *p, Span nonce, bytes realm, Flow flow, int64_t now) noexcept
    # A Worth, once the digest was found to be right. WORTH_GOOD once for each count. `whole`: a hash of the request's bytes.
    cdef int use(self, uint32_t count, uint64_t whole, int64_t now) noexcept
    cdef uint64_t check_of(self, uint64_t first, uint64_t serial, bytes realm, Flow flow) noexcept
    cdef Use *place_of(self, uint64_t key, int64_t made) noexcept

cdef Nonces make_nonces(Secret secret, int worker, int64_t lasts, uint64_t seed, int64_t now)
