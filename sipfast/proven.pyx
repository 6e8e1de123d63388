"""Which addresses have given back a secret of ours.

The source of a datagram is easily forged, and whoever answers it blindly sends to people who never asked. *Proven* is an
address that has shown to receive what we send there: by an ACK with our To tag, or a response with our branch. To all others
one datagram causes no more than MOST_DATAGRAMS and MOST_TIMES its bytes.

An address is a host and a port. What is known of one is a word: 44 bits of a keyed hash and the minute of its last proof. A
set has eight places, and the oldest proof makes room; so the memory is fixed, and whoever proves many addresses of his own
makes others prove theirs again, which any call does.
"""

import cython

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from ._branch cimport fold_bytes, fold_number
from ._flow cimport Flow

cdef enum:
    SETS = 1 << 15
    PLACES = 8                  # of a set: a line of the processor's cache
    LASTS = 2 * 24 * 60         # minutes that a proof counts

cdef uint64_t MINUTES = 0xFFFFF             # the bits that a minute has


@cython.final
cdef class Proven:

    def __cinit__(self, secret):
        self.secret = secret & 0xFFFFFFFFFFFFFFFF
        self.places = <uint64_t *>calloc(SETS * PLACES, sizeof(uint64_t))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.places)

    cdef uint64_t hash_of(self, Flow flow) noexcept:
        # Nobody sees what comes of it, so that it need not be a cipher.
        return fold_bytes(fold_number(self.secret, <uint64_t>flow.port << 8 | flow.family), flow.ip, 16)

    cdef bint has(self, Flow flow, int64_t now) noexcept:
        cdef uint64_t hash
        cdef uint64_t *place
        cdef int i
        if flow.reliable():
            return True                       # RFC 9293 §3.5: a connection has been answered
        hash = self.hash_of(flow)
        place = self.places + (hash & (SETS - 1)) * PLACES
        for i in range(PLACES):
            if place[i] and (place[i] ^ hash) >> 20 == 0:
                return ((<uint64_t>(now // 60_000) - place[i]) & MINUTES) <= LASTS
        return False

    cdef int add(self, Flow flow, int64_t now) except -1:
        cdef uint64_t hash = self.hash_of(flow), minute = <uint64_t>(now // 60_000) & MINUTES
        cdef uint64_t *place = self.places + (hash & (SETS - 1)) * PLACES
        cdef int i, best = 0
        for i in range(PLACES):
            if place[i] and (place[i] ^ hash) >> 20 == 0:
                place[i] = (hash & ~MINUTES) | minute
                return 0
            if place[best] and (place[i] == 0 or (minute - place[i]) & MINUTES > (minute - place[best]) & MINUTES):
                best = i
        place[best] = (hash & ~MINUTES) | minute
        self.count += 1
        return 0

    def prove(self, Flow flow not None, int64_t now):
        self.add(flow, now)

    def is_proven(self, Flow flow not None, int64_t now):
        return self.has(flow, now)


cdef Proven make_proven(uint64_t secret):
    return Proven(secret)
