# One bound UDP socket and what waits to leave by it. See udp_socket.pyx.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from .._flow cimport Flow

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
    const int AF_INET, AF_INET6, EWOULDBLOCK, MSG_DONTWAIT
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
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

cdef enum:
    NOTE = 64           # bytes of control data: an in6_pktinfo takes 40 of them, a segment's size 24
    RING = 1024         # messages that may wait for a socket; a power of two
    WINDOW = 256        # of them, that one call of the kernel sends at the most
    BUCKETS = 512       # places for the window's peers; a power of two
    NOBODY = -1

# A message of the window, by its distance from the ring's head.
cdef struct Place:
    short next          # of the same peer; NOBODY: none
    bint sent

# A peer of the window: its messages, in order.
cdef struct Group:
    short first
    short last
    short other         # another group in the same bucket; NOBODY: none

cdef class UdpSocket:
    cdef readonly object socket
    cdef int fd
    cdef readonly int family            # 4 or 6
    cdef readonly int local             # its index, as in Flow.local
    cdef bint wildcard                  # bound to all addresses: each message says which one it is about
    cdef bint blocked                   # the kernel's send buffer is full
    cdef bint waiting                   # the loop calls us when it is not full any more
    cdef uint64_t sent, segments, send_errors, send_drops
    # What could not be delivered
    cdef bint watched                   # by the kernel, for errors
    cdef bint alarmed                   # a sign of an error was seen: the error queue is to be read
    cdef unsigned int tries             # of the oldest message, or of the window
    cdef uint64_t errors                # read from the queue
    cdef list failed                    # (flow, data), for whoever takes them
    cdef bint batched                   # by sendmmsg
    cdef bint segmenting                # the kernel cuts what is handed to it in one piece (UDP_SEGMENT)
    # The ring
    cdef unsigned int head              # slot of the oldest message
    cdef unsigned int pending           # messages in the ring
    cdef msghdr *headers
    cdef iovec *parts
    cdef sockaddr_in6 *peers            # large enough for a sockaddr_in, too
    cdef char *notes                    # control data
    cdef void **held                    # the bytes object of each slot, with a reference
    # The window, as it is put together for the kernel
    cdef unsigned int plain             # the oldest messages, that leave one by one since they could not leave together
    cdef Place places[WINDOW]
    cdef Group groups[WINDOW]
    cdef short buckets[BUCKETS]
    cdef mmsghdr runs[WINDOW]           # what is handed to the kernel: each is one message or several of one size
    cdef iovec run_parts[WINDOW]
    cdef unsigned short run_places[WINDOW]  # the places, run by run
    cdef char run_notes[WINDOW * NOTE]

    cdef int push(self, bytes data, Flow flow) noexcept
    cdef bint crowded(self) noexcept
    cdef int drain(self) noexcept
    cdef int send_window(self, unsigned int count) noexcept
    cdef int send_oldest(self) noexcept
    cdef int refused(self, int number) noexcept
    cdef int fail(self, sockaddr_in6 *peer, bytes data) noexcept
    cdef int read_errors(self) noexcept
    cdef int group(self, unsigned int count) noexcept
    cdef bint same_way(self, unsigned int a, unsigned int b) noexcept
    cdef int join(self, int groups) noexcept
    cdef void annotate(self, int run, unsigned short segment) noexcept
    cdef unsigned int joined(self, int runs) noexcept
    cdef void forget_sent(self, int runs) noexcept
    cdef void compact(self, unsigned int count) noexcept
    cdef void move(self, unsigned int source, unsigned int target) noexcept
    cdef void release(self, unsigned int count) noexcept
