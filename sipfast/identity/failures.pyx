"""Logins that failed, by who tried them: whoever guesses is slowed down.

A source is an address, without its port; of IPv6 the /64, which one household has. It may fail USER_BURST times with one
user at once, then once in USER_EVERY; and with all of its users together SOURCE_BURST times, then once in SOURCE_EVERY. What
is beyond is not looked at, right or wrong: else the right guess would show. So a phone with an old password, which tries for
ever, is kept off by itself, and its office goes on: beyond its own bound it costs the others nothing.

Whoever goes on all the same, and is refused so many times a minute as no phone does, is to be banned (`refused_often`).

The table has a fixed size; who has the least left to pay makes room. Whoever has many addresses is met by nothing here but
by the bound of what one server answers in all.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from .._flow cimport Flow
from .._hash cimport fold_bytes, fold_number

cdef enum:
    SETS = 1 << 12
    PLACES = 8              # of a set: 512 kB in all
    USER_BURST = 5
    USER_EVERY = 10_000     # ms
    SOURCE_BURST = 30
    SOURCE_EVERY = 1_000    # ms
    MINUTE = 60_000         # ms
    OF_REFUSALS = 1 << 30   # what tells their account from that of failures


@cython.final
cdef class Failures:

    def __cinit__(self):
        self.sources = <Source *>calloc(SETS * PLACES, sizeof(Source))
        if self.sources == NULL:
            raise MemoryError

    def __init__(self, secret):
        self.secret = secret & 0xFFFFFFFFFFFFFFFF

    def __dealloc__(self):
        free(self.sources)

    cdef uint64_t key_of(self, Flow flow) noexcept:
        return fold_bytes(fold_number(self.secret, flow.family), flow.ip, 4 if flow.family == 4 else 8) | 1

    cdef Source *find(self, uint64_t key, bint taking) noexcept:
        cdef Source *place = self.sources + ((key >> 8) & (SETS - 1)) * PLACES
        cdef Source *least = place
        cdef int i
        for i in range(PLACES):
            if place[i].key == key:
                return place + i
            if place[i].paid < least.paid:
                least = place + i
        if not taking:
            return NULL
        least.key = key
        least.paid = 0
        return least

    cdef int64_t wait(self, Flow flow, bytes user, int64_t now) noexcept:
        cdef uint64_t key = self.key_of(flow)
        cdef int64_t pause = 0
        cdef Source *source = self.find(key, False)
        if source == NULL:                    # who has never failed has failed with nobody
            return 0
        pause = max(pause, source.paid - now - (SOURCE_BURST - 1) * SOURCE_EVERY)
        source = self.find(user_key(key, user), False)
        if source != NULL:
            pause = max(pause, source.paid - now - (USER_BURST - 1) * USER_EVERY)
        return pause

    cdef int add(self, Flow flow, bytes user, int64_t now) noexcept:
        cdef uint64_t key = self.key_of(flow)
        cdef Source *source = self.find(key, True)
        source.paid = max(source.paid, now) + SOURCE_EVERY
        source = self.find(user_key(key, user), True)
        source.paid = max(source.paid, now) + USER_EVERY
        return 0

    cdef bint refused_often(self, Flow flow, int64_t most, int64_t now) noexcept:
        cdef Source *source = self.find(fold_number(self.key_of(flow), OF_REFUSALS) | 1, True)
        source.paid = max(source.paid, now) + MINUTE // most
        return source.paid - now > MINUTE - MINUTE // most

    # ---- the Python face, for tests

    def often(self, Flow flow not None, int64_t most, int64_t now):
        return self.refused_often(flow, most, now)

    def note(self, Flow flow not None, bytes user not None, int64_t now):
        self.add(flow, user, now)

    def pause(self, Flow flow not None, bytes user not None, int64_t now):
        return self.wait(flow, user, now)


cdef uint64_t user_key(uint64_t source, bytes user) noexcept:
    return fold_bytes(source, PyBytes_AS_STRING(user), PyBytes_GET_SIZE(user)) | 1


cdef Failures make_failures(uint64_t secret):
    return Failures(secret)
