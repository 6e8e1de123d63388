# Which addresses have given back a secret of ours. See proven.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .peers cimport Peers

cdef enum:
    MOST_DATAGRAMS = 4      # that one datagram may cause towards who has proven nothing
    MOST_TIMES = 6          # its bytes, too

cdef class Proven:
    cdef uint64_t secret
    cdef unsigned char[::1] memory
    cdef uint64_t *places                # that memory
    cdef uint64_t sets                   # less one: a mask
    cdef Peers peers                     # need to prove nothing
    cdef readonly long count             # proofs, of this process
    # Whether what is sent there is asked for: it has proven so, is a connection, or a server that the configuration names.
    cdef bint has(self, Flow flow, int64_t now) noexcept
    cdef int add(self, Flow flow, int64_t now) except -1
    # Whether an address is to be asked for a proof: it has given none, and was not asked of late.
    cdef bint owes(self, Flow flow, int64_t now) noexcept
    # The same; then it counts as asked for a while.
    cdef bint ask(self, Flow flow, int64_t now) noexcept
    # The same of an address: 4 or 16 bytes, network order.
    cdef bint has_address(self, const unsigned char *ip, int family, int port, int64_t now) noexcept
    cdef uint64_t hash_of(self, Flow flow) noexcept
    cdef uint64_t hash_of_address(self, const unsigned char *ip, int family, int port) noexcept
    cdef uint64_t find(self, uint64_t hash) noexcept
    cdef bint put(self, uint64_t word, uint64_t hash, int64_t now) noexcept

cdef Proven make_proven(uint64_t secret)
