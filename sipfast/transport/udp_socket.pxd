# One bound UDP socket and what waits to leave by it. See udp_socket.pyx.

from libc.stdint cimport uint64_t

from .._flow cimport Flow
from .kernel cimport NOTE, iovec, mmsghdr, msghdr, sockaddr_in6

cdef enum:
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
