# UDP sockets on the loop's reader, and the clock that everything behind them is driven by. See udp.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow, Receiver, Sink
from .udp_socket cimport UdpSocket, iovec, mmsghdr, sockaddr_in6

cdef class Clock:
    cdef readonly int64_t zero          # when this boot began by this clock, ms since the epoch
    cpdef int64_t now(self) noexcept    # ms since the epoch

cdef class UdpTransport(Sink):
    cdef object loop, report, timer
    cdef readonly Clock clock
    cdef Receiver receiver
    cdef list sockets
    cdef int64_t armed                  # when the loop's timer fires, ms since the epoch; -1: not set
    cdef bint reading
    cdef readonly bint batched
    cdef uint64_t received, batches, empty, truncated, unroutable, receive_errors, failures
    # What recvmmsg fills
    cdef mmsghdr *messages
    cdef iovec *parts
    cdef sockaddr_in6 *peers
    cdef char *notes                    # control data of each slot
    cdef char *space
    cdef size_t room                    # bytes for one datagram
    cdef int used                       # slots whose lengths the last read has changed
    cdef bint telling                   # the loop calls `_tell_failures`
    # Overload
    cdef bint postponing                # what may wait does so until everything else was read
    cdef bint called                    # the loop calls `_go_on`
    cdef object postponed               # deque of (bytes, Flow), the oldest first
    cdef uint64_t postponements, postponed_drops
    cdef UdpSocket socket_for(self, Flow flow)
    cdef int read(self, int fd) noexcept
    cdef int take_batch(self, UdpSocket sock) except -1
    cdef int take(self, int slot, int local, int64_t now) except -1
    cdef int hand(self, bytes data, Flow flow, int64_t now) except -1
    cdef int postpone(self, bytes data, Flow flow) except -1
    cdef int relieve(self, UdpSocket sock) except -1
    cdef int work_off(self) except -1
    cdef int finish(self, int64_t now) except -1
    cdef int look_at_errors(self, UdpSocket sock) except -1
    cdef int arm(self, int64_t now) except -1
