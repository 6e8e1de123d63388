# UDP sockets on the loop's reader, and the clock that everything behind them is driven by. See _udp.pyx.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from ._flow cimport Flow, Receiver, Sink

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <netinet/in.h>
    #if defined(__linux__)
    #define SIPFAST_MMSG 1
    #else
    #define SIPFAST_MMSG 0
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    #endif
    """
    const int SIPFAST_MMSG      # whether the platform reads and sends many datagrams with one call
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

cdef class Clock:
    cdef int64_t offset                 # ns from CLOCK_MONOTONIC to the epoch
    cpdef int64_t now(self) noexcept    # ms since the epoch

# One bound socket and the ring of what is to be sent by it.
cdef class UdpSocket:
    cdef readonly object socket
    cdef int fd
    cdef readonly int family            # 4 or 6
    cdef readonly int local             # its index, as in Flow.local
    cdef bint wildcard                  # bound to all addresses: each message says which one it is about
    cdef char *notes                    # control data of each slot, where wildcard
    cdef bint blocked                   # the kernel's send buffer is full
    cdef bint waiting                   # the loop calls us when it is not full any more
    cdef uint64_t sent, send_errors, send_drops
    cdef bint batched
    cdef unsigned int head              # slot of the oldest message
    cdef unsigned int pending           # messages in the ring
    cdef mmsghdr *messages
    cdef iovec *parts
    cdef sockaddr_in6 *peers            # large enough for a sockaddr_in, too
    cdef void **held                    # the bytes object of each slot, with a reference
    cdef int push(self, bytes data, Flow flow) noexcept
    cdef int drain(self) noexcept
    cdef void release(self, unsigned int count) noexcept

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
    cdef UdpSocket socket_for(self, Flow flow)
    cdef int read(self, int fd) noexcept
    cdef int take(self, int slot, int local, int64_t now) except -1
    cdef int finish(self, int64_t now) except -1
    cdef int arm(self, int64_t now) except -1
