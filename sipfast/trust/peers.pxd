# Configured peers: servers and trunks known by their addresses, and what each may do.

from .._flow cimport Flow

cdef enum Right:
    RIGHT_RELAY = 1         # send requests on through us, wherever they go
    RIGHT_PATH = 2          # be named by a Path or a Contact, and followed there
    RIGHT_REFER = 4         # have REFERs out of a dialog forwarded to phones
    RIGHT_IDENTITY = 8      # say who a request is from

cdef struct Network:
    unsigned char ip[16]
    int family
    int prefix              # bits
    int rights

cdef class Peers:
    cdef Network *networks
    cdef int count
    # All rights of whoever is at an address.
    cdef int rights_of(self, const unsigned char *ip, int family) noexcept
    cdef bint is_peer(self, Flow flow) noexcept
    cdef bint has_address(self, const unsigned char *ip, int family) noexcept      # 4 or 16 bytes, network order
    cdef bint may(self, Flow flow, int right) noexcept
