# INVITEs that were forwarded and may still ring, in memory that outlives the process. See ringing.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..transaction.branch cimport BRANCH_SIZE
from .._flow cimport MOST_PACKED, Flow
from .._parser cimport Message, Via

cdef enum:
    PLACES = 8                  # of a set

# What a set begins with, in one line of the processor's cache: whether it has an INVITE is known from that.
cdef struct Head:
    uint32_t marks[PLACES]
    uint32_t until[PLACES]      # seconds since the epoch, the next whole one; written by itself, and not checked

# Then its places.
cdef struct Entry:
    uint64_t check
    uint64_t back               # a keyed hash of where its responses go: the caller's address and port
    unsigned char size          # of the flow
    unsigned char flow[MOST_PACKED]
    char branch[BRANCH_SIZE]

cdef class Ringing:
    cdef uint64_t secret
    cdef unsigned char[::1] memory
    cdef int64_t sets                    # of places; a power of two
    # What tells an INVITE, its CANCEL, the ACK of its refusal and its responses from all others: the caller's Via (ours is
    # on top of it in a response), Call-ID and CSeq number.
    cdef uint64_t key_of(self, Message message, const Via *via) noexcept
    # Take down the n-th branch of an INVITE, with where it went; the place, for `keep`.
    cdef int64_t note(self, uint64_t key, int n, bytes branch, Flow flow, Flow back, int64_t until, int64_t now) except -2
    # It is of use until then; 0: no more.
    cdef void keep(self, int64_t place, uint64_t key, int n, int64_t until) noexcept
    # All branches of an INVITE that are of use: (branch, Flow), in the order of their numbers.
    cdef list branches(self, uint64_t key, int64_t now)
    # Whether its first branch is of use.
    cdef bint has(self, uint64_t key, int64_t now) noexcept
    # Where the branch of a response went; None: it is none of ours, or of no more use, or the Via below ours (`below`, which
    # leads `back`) is not as we wrote it.
    cdef Flow way(self, Message response, const Via *below, Flow back, int64_t now)
    cdef uint64_t place_of(self, Flow flow) noexcept
    # The place of one branch that is of use, by its own key; -1: there is none.
    cdef int64_t find(self, uint64_t key, int64_t now) noexcept
    cdef uint64_t check_of(self, uint64_t key, const Entry *entry) noexcept
    cdef int64_t first_of(self, uint64_t key) noexcept
    cdef Head *head(self, int64_t place) noexcept
    cdef Entry *at(self, int64_t place) noexcept
