"""Who has more than his part of the transactions and of their memory, once half of either is in use.

Nobody is counted before: while there is room, whoever likes may have it. From then on all transactions are gone through, once
a second at most, and summed up by the address that they came from (an IPv6 one's first 64 bits, which one house has). Who has
more than his part gets no new ones until the next look. Where there are very many, some of the buckets of their index stand
for all: their order is a keyed hash, which nobody chooses.
"""

import cython

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .index cimport Index, Link, index_size
from .server cimport ServerTransaction

cdef enum:
    EVERY = 1000                # ms
    MOST_LOOKED_AT = 16_384     # buckets: some milliseconds


cdef bytes key_of(Flow flow):
    return flow.ip[:4] if flow.family == 4 else flow.ip[:8]


@cython.final
cdef class Shares:

    def __init__(self, double part):
        """`part`: of all that there is room for, from 0 to 1; from 1 on nobody is counted."""
        self.part = part
        self.large = set()
        self.looked_at = -EVERY

    cdef bint has_too_much(self, Flow flow, Index *transactions, int64_t most_servers, int64_t most_held, int64_t now) except -1:
        if self.part >= 1:
            return False
        if not 0 <= now - self.looked_at < EVERY:
            self.looked_at = now
            self.look(transactions, most_servers, most_held)
        return len(self.large) > 0 and key_of(flow) in self.large

    cdef int look(self, Index *transactions, int64_t most_servers, int64_t most_held) except -1:
        cdef dict counts = {}, sizes = {}
        cdef size_t buckets = index_size(transactions), step = 1, i
        cdef Link *link
        cdef ServerTransaction transaction
        cdef bytes key
        while buckets // step > MOST_LOOKED_AT:
            step *= 2
        self.turn += 1
        for i in range(self.turn % step, buckets, step):
            link = transactions.buckets[i]
            while link != NULL:
                transaction = <ServerTransaction>link.owner
                key = key_of(transaction.flow)
                counts[key] = counts.get(key, 0) + 1
                sizes[key] = sizes.get(key, 0) + transaction.held()
                link = link.next
        self.large = {key for key, count in counts.items()
                      if count * step > self.part * most_servers or sizes[key] * step > self.part * most_held}
        return 0
