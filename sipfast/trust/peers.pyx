"""Configured peers (`[[peer]]`): other servers and trunks, known by their addresses, and what each may do.

A UDP source is easily forged, so a right says what is believed of an address, not who it is. An address in several ranges
has the rights of all of them.
"""

import ipaddress

import cython

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from .._flow cimport Flow

cdef int RIGHTS_ALL = RIGHT_RELAY | RIGHT_PATH | RIGHT_REFER | RIGHT_IDENTITY
cdef dict RIGHTS = {"relay": RIGHT_RELAY, "path": RIGHT_PATH, "refer": RIGHT_REFER, "identity": RIGHT_IDENTITY}


cdef bint within(const Network *network, const unsigned char *ip, int family) noexcept:
    cdef int whole = network.prefix // 8, rest = network.prefix % 8
    if network.family != family or memcmp(network.ip, ip, whole) != 0:
        return False
    return rest == 0 or (network.ip[whole] ^ ip[whole]) >> (8 - rest) == 0


@cython.final
cdef class Peers:

    def __init__(self, peers, upstreams=()):
        """`peers`: config.Peer. `upstreams`: addresses as text, of servers that have all rights."""
        cdef bytes packed
        cdef int rights
        ranges = []
        for peer in peers:
            rights = 0
            for right in peer.rights:
                rights |= <int>RIGHTS[right]
            ranges += [(ipaddress.ip_network(address, strict=False), rights) for address in peer.addresses]
        ranges += [(ipaddress.ip_network(address), RIGHTS_ALL) for address in upstreams]
        if not ranges:
            return
        self.networks = <Network *>calloc(len(ranges), sizeof(Network))
        if self.networks == NULL:
            raise MemoryError
        for network, rights in ranges:
            packed = network.network_address.packed
            memcpy(self.networks[self.count].ip, <const char *>packed, len(packed))
            self.networks[self.count].family = network.version
            self.networks[self.count].prefix = network.prefixlen
            self.networks[self.count].rights = rights
            self.count += 1

    def __dealloc__(self):
        free(self.networks)

    cdef int rights_of(self, const unsigned char *ip, int family) noexcept:
        cdef int i, rights = 0
        for i in range(self.count):
            if within(&self.networks[i], ip, family):
                rights |= self.networks[i].rights
        return rights

    cdef bint is_peer(self, Flow flow) noexcept:
        return self.has_address(flow.ip, flow.family)

    cdef bint has_address(self, const unsigned char *ip, int family) noexcept:
        cdef int i
        for i in range(self.count):
            if within(&self.networks[i], ip, family):
                return True
        return False

    cdef bint may(self, Flow flow, int right) noexcept:
        return self.count > 0 and self.rights_of(flow.ip, flow.family) & right != 0

    def rights(self, Flow flow not None):
        """The names of what a peer may do, for tests and people."""
        cdef int rights = self.rights_of(flow.ip, flow.family)
        return frozenset(name for name, right in RIGHTS.items() if rights & <int>right)
