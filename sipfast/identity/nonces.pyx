"""Nonces without a table, and a table of what they were used for (RFC 7616 §3.3, §3.4).

A nonce says when it was made and by which worker, and a keyed hash over that, the realm and the address that it was sent to
shows that we have made it. So a flood of requests without credentials leaves nothing behind. The key is the store's: after a
restart, and by other workers, a nonce is known as ours.

Only a nonce that came back with a right digest takes a place, 64 bytes: which counts (nc) were there, in a window of 64, and
the last requests themselves, by a hash of all their bytes. A count that was there before is a replay, unless the very same
request comes again within Timer F: that is a retransmission, which gets what it got (RFC 3261 §17.2). Other bytes with the
same count are somebody who has listened.

The table has a fixed size. The nonce that was made first makes room in its set for another one, and raises the set's floor:
nonces as old as that, or older, are stale there, so that what is forgotten is not believed anew. So is what was made before
the process was started. It costs a phone one more round trip, without asking anybody (`stale=true`).

The table is the worker's own. The kernel gives a phone's datagrams to the same worker as long as its address stays; what
comes to another one is stale there, and gets a nonce of that one. Handing it over would cost more, each time, and wait for a
worker that may be dead.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from .._flow cimport Flow
from .._grammar cimport Span, make_span
from .._hash cimport Hash, Secret, end_hash64, fold_bytes, fold_number, mix_bytes, mix_number, start_hash
from ..transaction.branch cimport read_hex, write_hex

cdef enum:
    SETS = 1 << 15
    PLACES = 8              # of a set: 16 MB in all, of which the machine gives what is used
    FIRST_SIZE = 14         # hex digits: when it was made, in ms, and the worker
    SERIAL_SIZE = 8
    CHECK_SIZE = 16
    NONCE_SIZE = 38
    WINDOW = 64
    COPY_BITS = 20          # of a copy's time, in steps
    COPY_STEP = 10          # bits of a time in ms that are left out: a second
    COPY_LASTS = 34         # steps: 64*T1, after which nothing is repeated (RFC 3261 §17.1.2.2)
    PURPOSE_NONCE = 0x6e6f6e63


@cython.final
cdef class Nonces:

    def __cinit__(self):
        self.sets = SETS - 1
        self.uses = <Use *>calloc(SETS * PLACES, sizeof(Use))
        self.floors = <int64_t *>calloc(SETS, sizeof(int64_t))
        if self.uses == NULL or self.floors == NULL:
            raise MemoryError

    def __init__(self, bytes secret not None, int worker, int64_t lasts, int64_t now):
        if len(secret) != 16:
            raise ValueError("a secret of 16 bytes")
        start(self, Secret(<uint64_t>int.from_bytes(secret[:8], "little"), <uint64_t>int.from_bytes(secret[8:], "little")),
              worker, lasts, 0, now)

    def __dealloc__(self):
        free(self.uses)
        free(self.floors)

    cdef uint64_t check_of(self, uint64_t first, uint64_t serial, bytes realm, Flow flow) noexcept:
        cdef Hash h
        start_hash(&h, &self.secret, PURPOSE_NONCE)
        mix_number(&h, first)
        mix_number(&h, serial)
        mix_bytes(&h, <const unsigned char *>PyBytes_AS_STRING(realm), PyBytes_GET_SIZE(realm))
        # Without the port: a NAT may give a phone another one for each request.
        mix_bytes(&h, flow.ip, 4 if flow.family == 4 else 16)
        return end_hash64(&h)

    cdef bytes make(self, bytes realm, Flow flow, int64_t now):
        cdef bytes nonce = PyBytes_FromStringAndSize(NULL, NONCE_SIZE)
        cdef char *to = PyBytes_AS_STRING(nonce)
        cdef uint64_t first = <uint64_t>now << 8 | <uint64_t>self.worker
        self.serial += 1
        to = write_hex(to, first, FIRST_SIZE)
        to = write_hex(to, self.serial & 0xFFFFFFFF, SERIAL_SIZE)
        write_hex(to, self.check_of(first, self.serial & 0xFFFFFFFF, realm, flow), CHECK_SIZE)
        return nonce

    cdef bint is_ours(self, const unsigned char *p, Span nonce, bytes realm, Flow flow, int64_t now) noexcept:
        cdef bint good = True
        cdef uint64_t first, serial, check
        if nonce.end - nonce.start != NONCE_SIZE:
            return False
        p += nonce.start
        first = read_hex(p, FIRST_SIZE, &good)
        serial = read_hex(p + FIRST_SIZE, SERIAL_SIZE, &good)
        check = read_hex(p + FIRST_SIZE + SERIAL_SIZE, CHECK_SIZE, &good)
        self.made = <int64_t>(first >> 8)
        self.key = fold_number(fold_number(self.secret.low, first), serial) | 1
        return good and <int>(first & 255) == self.worker and self.made <= now and (
            check == self.check_of(first, serial, realm, flow))

    cdef int use(self, uint32_t count, uint64_t whole, int64_t now) noexcept:
        cdef uint64_t copy = (whole ^ count) << COPY_BITS, step = <uint64_t>(now >> COPY_STEP)
        cdef Use *place
        cdef int i
        if now - self.made > self.lasts + (COPY_LASTS << COPY_STEP):
            return WORTH_NOTHING
        place = self.place_of(self.key, self.made)
        if place == NULL:
            return WORTH_NOTHING
        for i in range(COPIES):
            if place.copies[i] >> COPY_BITS == copy >> COPY_BITS and (
                    (step - place.copies[i]) & ((1 << COPY_BITS) - 1)) <= COPY_LASTS:
                return WORTH_COPY
        if now - self.made > self.lasts or not is_new(place, count):
            return WORTH_NOTHING
        place.copies[place.next] = copy | (step & ((1 << COPY_BITS) - 1))
        place.next = (place.next + 1) % COPIES
        return WORTH_GOOD

    cdef Use *place_of(self, uint64_t key, int64_t made) noexcept:
        cdef uint64_t place_set = (key >> 8) & self.sets
        cdef Use *place = self.uses + place_set * PLACES
        cdef Use *oldest = place
        cdef int i
        for i in range(PLACES):
            if place[i].key == key:
                return place + i
            if place[i].made < oldest.made:
                oldest = place + i
        if made <= self.floors[place_set] or made <= oldest.made:
            return NULL
        if oldest.made > self.floors[place_set]:
            self.floors[place_set] = oldest.made
        memset(oldest, 0, sizeof(Use))
        oldest.key = key
        oldest.made = made
        return oldest

    # ---- the Python face, for tests

    def new(self, bytes realm not None, Flow flow not None, int64_t now):
        return self.make(realm, flow, now)

    def spend(self, bytes nonce not None, bytes realm not None, Flow flow not None, uint32_t count, bytes request not None,
              int64_t now):
        cdef int worth = WORTH_NOTHING
        if self.is_ours(<const unsigned char *>PyBytes_AS_STRING(nonce), make_span(0, <int>PyBytes_GET_SIZE(nonce)), realm,
                        flow, now):
            worth = self.use(count, fold_bytes(self.secret.high, PyBytes_AS_STRING(request), PyBytes_GET_SIZE(request)), now)
        return ("stale", "good", "copy")[worth]


# Whether a count was not there yet; from now on it was. One that is below the window may have been.
cdef bint is_new(Use *place, uint32_t count) noexcept:
    cdef uint32_t behind
    if count > place.highest or place.seen == 0:
        behind = count - place.highest
        place.seen = place.seen << behind | 1 if place.seen and behind < WINDOW else 1
        place.highest = count
        return True
    behind = place.highest - count
    if behind >= WINDOW or place.seen >> behind & 1:
        return False
    place.seen |= <uint64_t>1 << behind
    return True


cdef int start(Nonces nonces, Secret secret, int worker, int64_t lasts, uint64_t seed, int64_t now) except -1:
    cdef uint64_t i
    nonces.secret = secret
    nonces.worker = worker
    nonces.lasts = lasts
    nonces.serial = seed
    for i in range(nonces.sets + 1):          # what the process before has let in, nobody knows any more
        nonces.floors[i] = now - 1
    return 0


cdef Nonces make_nonces(Secret secret, int worker, int64_t lasts, uint64_t seed, int64_t now):
    cdef Nonces nonces = Nonces.__new__(Nonces)
    start(nonces, secret, worker, lasts, seed, now)
    return nonces
