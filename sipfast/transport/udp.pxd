# UDP sockets on the loop's reader. See udp.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow, Incoming
from ..driver.driver cimport Transport
from .kernel cimport iovec, mmsghdr, sockaddr_in6
from .udp_socket cimport UdpSocket

cdef class UdpTransport(Transport):
    cdef object loop
    cdef list sockets
    cdef bint reading
    cdef readonly bint batched
    cdef uint64_t received, empty, truncated, unroutable, receive_errors
    # What recvmmsg fills
    cdef mmsghdr *messages
    cdef iovec *parts
    cdef sockaddr_in6 *peers
    cdef Incoming *arrivals              # what is told of each to those who decide whether it is received
    cdef char *notes                    # control data of each slot
    cdef char *space
    cdef size_t room                    # bytes for one datagram
    cdef int used                       # slots whose lengths the last read has changed
    cdef UdpSocket socket_for(self, Flow flow)
    cdef int read(self, int fd) noexcept
    cdef int describe(self, int slot) noexcept
    cdef int take(self, int slot, int local, int64_t now) except -1
    cdef int look_at_errors(self, UdpSocket sock) except -1
