"""Which addresses have given back a secret of ours.

The source of a datagram is easily forged, and whoever answers it blindly sends to people who never asked. *Proven* is an
address that has shown to receive what we send there, by a secret that was sent there and nowhere else: an ACK with our To tag,
a response with our branch, a Route with the key that a 2xx has brought. To all others one datagram causes no more than
MOST_DATAGRAMS and MOST_TIMES its bytes. Servers that the configuration names, upstreams and peers, are no strangers, and a
connection has been answered.

An address is a host and a port. What is known of one is a word of eight bytes: 43 bits of a keyed hash, whether it was only
asked so far, and when, in steps of 17 minutes of the store's time, of which there are 35 years. A set has eight places. The
oldest proof makes room for another one, so the memory is fixed, and whoever proves many addresses of his own makes others
prove theirs again, which any call does. That an address was asked takes no proof's place: anybody can have any address asked.

The memory may be a mapped file. Workers share it without a lock, and it outlives them: a word is written at once, of two
that are written to one place one is lost, and a word that is damaged, or another store's, is of no address (one in 2**40).
"""

import cython

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._hash cimport fold_bytes, fold_number
from .peers cimport Peers

cdef enum:
    PLACES = 8                  # of a set: a line of the processor's cache
    LEAST = 1 << 20             # bytes, where no memory is given
    STEP = 20                   # bits of a time in ms that are left out: 17.5 minutes
    KNOWN_BITS = 21             # below the hash: the time, and ASKED
    LASTS = 165                 # steps that a proof counts: two days
    ASKED_FOR = 1               # that an address is not asked again: more than a quarter of an hour, less than 35 minutes

cdef uint64_t TIMES = 0xFFFFF               # the bits that a time has
cdef uint64_t ASKED = 0x100000
cdef uint64_t HASH = ~<uint64_t>0x1FFFFF


# How long ago, in steps. The future is very long ago.
cdef inline uint64_t age(uint64_t word, int64_t now) noexcept:
    return (<uint64_t>(now >> STEP) - word) & TIMES


# The more, the rather a word keeps its place: nothing, what was asked or has run out, a proof; of each the latest.
cdef inline uint64_t worth(uint64_t word, int64_t now) noexcept:
    cdef uint64_t left
    if word == 0:
        return 0
    left = TIMES - age(word, now) + 1
    return left if word & ASKED or age(word, now) > LASTS else left + 2 * (TIMES + 1)


@cython.final
cdef class Proven:

    def __init__(self, secret, memory=None, Peers peers=None):
        self.secret = secret & 0xFFFFFFFFFFFFFFFF
        self.memory = bytearray(LEAST) if memory is None else memory
        self.peers = peers
        if self.memory.shape[0] < <Py_ssize_t>(PLACES * sizeof(uint64_t)):
            raise ValueError(f"{self.memory.shape[0]} bytes hold no set of {PLACES} places of 8 bytes")
        while (self.sets + 1) * 2 * PLACES * sizeof(uint64_t) <= <uint64_t>self.memory.shape[0]:
            self.sets = self.sets * 2 + 1
        self.places = <uint64_t *>&self.memory[0]

    cdef uint64_t hash_of(self, Flow flow) noexcept:
        return self.hash_of_address(flow.ip, flow.family, flow.port)

    cdef uint64_t hash_of_address(self, const unsigned char *ip, int family, int port) noexcept:
        # Nobody sees what comes of it, so that it need not be a cipher.
        return fold_bytes(fold_number(self.secret, <uint64_t>port << 8 | <uint64_t>family), ip, 4 if family == 4 else 16)

    # What is known of an address; 0: nothing.
    cdef uint64_t find(self, uint64_t hash) noexcept:
        cdef uint64_t *place = self.places + (hash & self.sets) * PLACES
        cdef uint64_t word
        cdef int i
        for i in range(PLACES):
            word = place[i]                   # once: another worker may write meanwhile
            if word and (word ^ hash) >> KNOWN_BITS == 0:
                return word
        return 0

    # Whether there was a place for it.
    cdef bint put(self, uint64_t word, uint64_t hash, int64_t now) noexcept:
        cdef uint64_t *place = self.places + (hash & self.sets) * PLACES
        cdef uint64_t least = ~<uint64_t>0, value
        cdef int i, best = 0
        for i in range(PLACES):
            if place[i] and (place[i] ^ hash) >> KNOWN_BITS == 0:
                place[i] = word
                return True
            value = worth(place[i], now)
            if value < least:
                least = value
                best = i
        if word & ASKED and least > TIMES + 1:
            return False
        place[best] = word
        return True

    cdef bint has(self, Flow flow, int64_t now) noexcept:
        if flow.reliable():
            return True                       # RFC 9293 §3.5: a connection has been answered
        return self.has_address(flow.ip, flow.family, flow.port, now)

    cdef bint has_address(self, const unsigned char *ip, int family, int port, int64_t now) noexcept:
        cdef uint64_t word = self.find(self.hash_of_address(ip, family, port))
        if word and not word & ASKED and age(word, now) <= LASTS:
            return True
        return self.peers is not None and self.peers.has_address(ip, family)

    cdef int add(self, Flow flow, int64_t now) except -1:
        cdef uint64_t hash = self.hash_of(flow)
        self.put((hash & HASH) | (<uint64_t>(now >> STEP) & TIMES), hash, now)
        self.count += 1
        return 0

    cdef bint owes(self, Flow flow, int64_t now) noexcept:
        cdef uint64_t word
        if flow.reliable():
            return False
        word = self.find(self.hash_of(flow))
        if word and age(word, now) <= <uint64_t>(ASKED_FOR if word & ASKED else LASTS):
            return False
        return self.peers is None or not self.peers.is_peer(flow)

    cdef bint ask(self, Flow flow, int64_t now) noexcept:
        cdef uint64_t hash = self.hash_of(flow)
        if not self.owes(flow, now):
            return False
        self.put((hash & HASH) | ASKED | (<uint64_t>(now >> STEP) & TIMES), hash, now)
        return True

    # ---- the Python face, for tests

    def prove(self, Flow flow not None, int64_t now):
        self.add(flow, now)

    def is_proven(self, Flow flow not None, int64_t now):
        return self.has(flow, now)

    def is_to_be_asked(self, Flow flow not None, int64_t now):
        return self.ask(flow, now)


cdef Proven make_proven(uint64_t secret):
    return Proven(secret)
