"""A bound UDP socket: the ring of what waits to leave by it, and how it leaves.

Messages are collected in a ring and handed to the kernel up to WINDOW at a time, by sendmmsg. Those to one peer stay in
their order; peers have no order among each other. So the messages of a window are brought together by peer, and where
several of one size follow each other, they are handed over in one piece that the kernel cuts (UDP_SEGMENT, udp(7)):
the way through its stack, which is four fifths of what sending costs, is gone once for all of them. What arrives are the
same datagrams. It pays where a peer gets many messages at a time: another server, an SBC, a trunk.

Messages that the kernel has no room for wait in the ring; what finds the ring full is lost, as on any full link, and
counted. A message that cannot be sent at all (no route, too big, refused) is counted and the next one sent.

Where the platform has no sendmmsg, or by choice, they leave one by one.
"""

import socket as sockets_of_python
import sys

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from ._flow cimport Flow

cdef extern from *:
    """
    #include <string.h>
    #if !SIPFAST_MMSG
    static int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags) { errno = ENOSYS; return -1; }
    #endif
    /* The local address that a message leaves from (RFC 3542 §6.2, ip(7)), as control data. */
    #ifdef IP_PKTINFO
    #define SIPFAST_PKTINFO IP_PKTINFO
    static void set_local_address(struct msghdr *m, int family, const unsigned char *ip, unsigned int scope) {
        struct cmsghdr *c = CMSG_FIRSTHDR(m);
        if (family == 4) {
            struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(c);
            memset(info, 0, sizeof *info);
            memcpy(&info->ipi_spec_dst, ip, 4);
            c->cmsg_level = IPPROTO_IP;
            c->cmsg_type = IP_PKTINFO;
            c->cmsg_len = CMSG_LEN(sizeof *info);
            m->msg_controllen = CMSG_SPACE(sizeof *info);
        } else {
            struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(c);
            memset(info, 0, sizeof *info);
            memcpy(&info->ipi6_addr, ip, 16);
            info->ipi6_ifindex = scope;
            c->cmsg_level = IPPROTO_IPV6;
            c->cmsg_type = IPV6_PKTINFO;
            c->cmsg_len = CMSG_LEN(sizeof *info);
            m->msg_controllen = CMSG_SPACE(sizeof *info);
        }
    }
    #else
    #define SIPFAST_PKTINFO -1
    static void set_local_address(struct msghdr *m, int f, const unsigned char *ip, unsigned int s) { m->msg_controllen = 0; }
    #endif
    /* The size of the pieces that a message is to be cut into, behind what its control data says already. */
    #ifdef __linux__
    #define SIPFAST_SEGMENT 103     /* UDP_SEGMENT of linux/udp.h, which older headers lack */
    static void set_segment(struct msghdr *m, unsigned short size) {
        struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = SIPFAST_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(c), &size, sizeof size);
        m->msg_controllen += CMSG_SPACE(sizeof size);
    }
    #else
    #define SIPFAST_SEGMENT -1
    static void set_segment(struct msghdr *m, unsigned short size) {}
    #endif
    #ifdef SO_RCVBUFFORCE
    #define SIPFAST_RCVBUFFORCE SO_RCVBUFFORCE
    #define SIPFAST_SNDBUFFORCE SO_SNDBUFFORCE
    #else
    #define SIPFAST_RCVBUFFORCE -1
    #define SIPFAST_SNDBUFFORCE -1
    #endif
    #ifdef SO_MEMINFO
    #define SIPFAST_MEMINFO SO_MEMINFO
    static int half_full(int fd) {
        unsigned int info[9]; socklen_t size = sizeof info;  /* SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF, ... */
        if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) != 0) return 0;
        return info[0] > info[1] / 2; }
    #else
    #define SIPFAST_MEMINFO -1
    static int half_full(int fd) { return 0; }
    #endif
    """
    void set_local_address(msghdr *message, int family, const unsigned char *ip, unsigned int scope) noexcept
    void set_segment(msghdr *message, unsigned short size) noexcept
    const int SIPFAST_PKTINFO, SIPFAST_SEGMENT
    const int SIPFAST_RCVBUFFORCE, SIPFAST_SNDBUFFORCE, SIPFAST_MEMINFO
    bint half_full(int fd) noexcept
    uint16_t htons(uint16_t value) nogil
    ssize_t sendmsg(int fd, msghdr *message, int flags)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)

cdef enum:
    MOST_SEGMENTS = 64      # of one piece (UDP_MAX_SEGMENTS of older kernels)
    MOST_TOGETHER = 65_000  # bytes of one piece: it has to be a datagram of IP, too
    MOST_SEGMENT = 1300     # bytes: a longer message may not fit a path's MTU (RFC 3261 §18.1.1) and would have to be cut twice


BATCHED = bool(SIPFAST_MMSG)


def widen(socket, int size):
    """Make the kernel's buffers of a socket `size` bytes each, past the system's limit where that is allowed.

    Returns the bytes attained for receiving and sending.
    """
    for option, forced in (
        (sockets_of_python.SO_RCVBUF, SIPFAST_RCVBUFFORCE),
        (sockets_of_python.SO_SNDBUF, SIPFAST_SNDBUFFORCE),
    ):
        socket.setsockopt(sockets_of_python.SOL_SOCKET, option, size)
        try:
            if forced >= 0:
                socket.setsockopt(sockets_of_python.SOL_SOCKET, forced, size)
        except PermissionError:
            pass
    # Linux reports twice the size, to have room for its own bookkeeping.
    share = 2 if SIPFAST_RCVBUFFORCE >= 0 else 1
    return tuple(
        socket.getsockopt(sockets_of_python.SOL_SOCKET, option) // share
        for option in (sockets_of_python.SO_RCVBUF, sockets_of_python.SO_SNDBUF)
    )


def ask_for_local_addresses(socket):
    """Have each message of a socket that is bound to all addresses say which of them it came to.

    Returns whether it is such a socket. An answer has to leave from there (RFC 3581 §4).
    """
    if SIPFAST_PKTINFO < 0 or socket.getsockname()[0] not in ("0.0.0.0", "::"):
        return False
    if socket.family == sockets_of_python.AF_INET6:
        socket.setsockopt(sockets_of_python.IPPROTO_IPV6, sockets_of_python.IPV6_RECVPKTINFO, 1)
    else:
        socket.setsockopt(sockets_of_python.IPPROTO_IP, SIPFAST_PKTINFO, 1)
    return True


def kernel_drops(socket):
    """Datagrams for the socket that the kernel has thrown away so far, mostly since nobody read fast enough."""
    if SIPFAST_MEMINFO < 0:
        return 0
    try:
        info = socket.getsockopt(sockets_of_python.SOL_SOCKET, SIPFAST_MEMINFO, 36)
    except OSError:  # before Linux 4.12
        return 0
    return int.from_bytes(info[32:36], sys.byteorder)  # its ninth number


def may_segment(socket):
    """Whether the kernel cuts what is handed to it in one piece: Linux since 4.18. An older one would send it as it is."""
    if SIPFAST_SEGMENT < 0 or socket.type != sockets_of_python.SOCK_DGRAM:
        return False
    try:
        socket.setsockopt(sockets_of_python.IPPROTO_UDP, SIPFAST_SEGMENT, 0)
    except OSError:
        return False
    return True


@cython.final
cdef class UdpSocket:

    def __cinit__(self, socket, int local, bint batched):
        cdef int slot
        self.socket = socket
        self.fd = socket.fileno()
        self.family = 6 if socket.family == sockets_of_python.AF_INET6 else 4
        self.local = local
        self.wildcard = ask_for_local_addresses(socket)
        self.batched = batched
        self.segmenting = batched and may_segment(socket)
        self.headers = <msghdr *>calloc(RING, sizeof(msghdr))
        self.parts = <iovec *>calloc(RING, sizeof(iovec))
        self.peers = <sockaddr_in6 *>calloc(RING, sizeof(sockaddr_in6))
        self.held = <void **>calloc(RING, sizeof(void *))
        self.notes = <char *>calloc(RING, NOTE)
        if not (self.headers and self.parts and self.peers and self.held and self.notes):
            raise MemoryError
        for slot in range(RING):
            self.headers[slot].msg_iov = &self.parts[slot]
            self.headers[slot].msg_iovlen = 1
            self.headers[slot].msg_name = &self.peers[slot]

    def __dealloc__(self):
        if self.held != NULL:
            self.release(self.pending)
        free(self.headers)
        free(self.parts)
        free(self.peers)
        free(self.held)
        free(self.notes)

    cdef int push(self, bytes data, Flow flow) noexcept:
        """Put a message into the ring, and send what is there when it makes a window."""
        if self.pending == RING:
            self.send_drops += 1
            return 0
        cdef unsigned int slot = (self.head + self.pending) % RING
        cdef msghdr *header = &self.headers[slot]
        cdef sockaddr_in *peer4 = <sockaddr_in *>&self.peers[slot]
        cdef sockaddr_in6 *peer6 = &self.peers[slot]
        if flow.family == 4:
            peer4.sin_family = AF_INET
            peer4.sin_port = htons(flow.port)
            memcpy(&peer4.sin_addr, flow.ip, 4)
            header.msg_namelen = sizeof(sockaddr_in)
        else:
            peer6.sin6_family = AF_INET6
            peer6.sin6_port = htons(flow.port)
            memcpy(&peer6.sin6_addr, flow.ip, 16)
            peer6.sin6_scope_id = flow.connection
            header.msg_namelen = sizeof(sockaddr_in6)
        header.msg_control = NULL
        header.msg_controllen = 0
        if flow.has_own and self.wildcard:
            header.msg_control = self.notes + slot * NOTE
            header.msg_controllen = NOTE
            set_local_address(header, flow.family, flow.own, flow.connection)
        self.parts[slot].iov_base = PyBytes_AS_STRING(data)
        self.parts[slot].iov_len = PyBytes_GET_SIZE(data)
        Py_INCREF(data)
        self.held[slot] = <void *>data
        self.pending += 1
        if self.pending >= WINDOW and not self.blocked:
            self.drain()
        return 0

    cdef bint crowded(self) noexcept:
        """Whether the kernel's receive buffer is half full, by its own account: soon it throws away what comes."""
        return half_full(self.fd)

    cdef int drain(self) noexcept:
        """Send what is in the ring, until it is empty or the socket blocks."""
        while self.pending and not self.blocked:
            if self.pending == 1 or self.plain or not self.batched:
                self.send_oldest()
            else:
                self.send_window(min(self.pending, <unsigned int>WINDOW))
        return 0

    cdef int send_oldest(self) noexcept:
        """One message, alone: the one that says what is wrong with it."""
        cdef msghdr *header = &self.headers[self.head]
        if sendmsg(self.fd, header, MSG_DONTWAIT) >= 0:
            self.sent += 1
            self.release(1)
        elif errno == EAGAIN or errno == EWOULDBLOCK:
            self.blocked = True
        elif errno != EINTR and header.msg_controllen:
            # The address that the peer knew is gone from this machine, perhaps: from any other, then.
            header.msg_controllen = 0
        elif errno != EINTR:
            self.send_errors += 1
            self.release(1)
        return 0

    cdef int send_window(self, unsigned int count) noexcept:
        """As many of the oldest messages, peer by peer."""
        cdef int runs = self.join(self.group(count))
        cdef int sent = sendmmsg(self.fd, self.runs, runs, MSG_DONTWAIT)
        self.segments += self.joined(sent)
        if sent == runs:
            self.sent += count
            self.release(count)
        elif sent > 0:
            # sendmmsg stops in front of a run that fails and says why only when that is its first.
            self.forget_sent(sent)
            self.compact(count)
        elif errno == EAGAIN or errno == EWOULDBLOCK:
            self.blocked = True
        elif errno != EINTR:
            # Alone, the oldest shows whether it was at fault. A run may fail for being one: a path with a small MTU, a
            # device that cannot take it; then the whole window leaves one by one.
            self.plain = count if self.runs[0].msg_hdr.msg_iovlen > 1 else 1
        return 0

    cdef int group(self, unsigned int count) noexcept:
        """Bring the window's messages together by peer, in order of appearance. Returns how many peers."""
        cdef int groups = 0, found
        cdef unsigned int place, slot, bucket
        memset(self.buckets, 0xff, sizeof(self.buckets))
        for place in range(count):
            slot = (self.head + place) % RING
            self.places[place].next = NOBODY
            self.places[place].sent = False
            bucket = bucket_of(&self.peers[slot])
            found = self.buckets[bucket]
            while found != NOBODY and not self.same_way((self.head + self.groups[found].first) % RING, slot):
                found = self.groups[found].other
            if found != NOBODY:
                self.places[self.groups[found].last].next = place
                self.groups[found].last = place
            else:
                self.groups[groups].first = self.groups[groups].last = place
                self.groups[groups].other = self.buckets[bucket]
                self.buckets[bucket] = groups
                groups += 1
        return groups

    cdef bint same_way(self, unsigned int a, unsigned int b) noexcept:
        """Whether two slots have one peer and leave from one address."""
        cdef msghdr *first = &self.headers[a]
        cdef msghdr *second = &self.headers[b]
        return (
            first.msg_namelen == second.msg_namelen and first.msg_controllen == second.msg_controllen
            and memcmp(first.msg_name, second.msg_name, first.msg_namelen) == 0
            and (first.msg_controllen == 0 or memcmp(first.msg_control, second.msg_control, first.msg_controllen) == 0)
        )

    cdef int join(self, int groups) noexcept:
        """Make runs of the groups: messages of one size, of which the last may be shorter. Returns how many runs."""
        cdef int runs = 0, group, place, used = 0
        cdef unsigned int slot
        cdef size_t size, segment = 0, together = 0
        cdef msghdr *run = NULL
        for group in range(groups):
            segment = 0                       # a run ends with its peer
            place = self.groups[group].first
            while place != NOBODY:
                slot = (self.head + place) % RING
                size = self.parts[slot].iov_len
                if 0 < size <= segment and run.msg_iovlen < MOST_SEGMENTS and together + size <= MOST_TOGETHER:
                    if run.msg_iovlen == 1:
                        self.annotate(runs - 1, <unsigned short>segment)
                    run.msg_iovlen += 1
                    together += size
                    if size < segment:
                        segment = 0           # only the last may be shorter
                else:
                    run = &self.runs[runs].msg_hdr
                    run[0] = self.headers[slot]
                    run.msg_iov = &self.run_parts[used]
                    runs += 1
                    together = size
                    segment = size if self.segmenting and size <= MOST_SEGMENT else 0
                self.run_parts[used] = self.parts[slot]
                self.run_places[used] = place
                used += 1
                place = self.places[place].next
        return runs

    cdef void annotate(self, int run, unsigned short segment) noexcept:
        """Have the kernel cut a run."""
        cdef msghdr *header = &self.runs[run].msg_hdr
        cdef char *note = self.run_notes + run * NOTE
        if header.msg_controllen:
            memcpy(note, header.msg_control, header.msg_controllen)
        header.msg_control = note
        set_segment(header, segment)

    cdef unsigned int joined(self, int runs) noexcept:
        """How many messages of the first runs left together with others."""
        cdef int run
        cdef unsigned int found = 0
        for run in range(runs):
            if self.runs[run].msg_hdr.msg_iovlen > 1:
                found += self.runs[run].msg_hdr.msg_iovlen
        return found

    cdef void forget_sent(self, int runs) noexcept:
        """The first runs were sent, others not: their messages leave holes, see `compact`."""
        cdef int run, used = 0
        cdef unsigned int part, slot
        for run in range(runs):
            for part in range(self.runs[run].msg_hdr.msg_iovlen):
                slot = (self.head + self.run_places[used]) % RING
                self.places[self.run_places[used]].sent = True
                Py_DECREF(<object>self.held[slot])
                self.held[slot] = NULL
                used += 1
        self.sent += used

    cdef void compact(self, unsigned int count) noexcept:
        """Close the window's holes: what was not sent moves up, in its order, towards what came later."""
        cdef unsigned int place = count, target = count
        while place:
            place -= 1
            if not self.places[place].sent:
                target -= 1
                if target != place:
                    self.move((self.head + place) % RING, (self.head + target) % RING)
        self.head = (self.head + target) % RING
        self.pending -= target

    cdef void move(self, unsigned int source, unsigned int target) noexcept:
        cdef msghdr *header = &self.headers[target]
        header.msg_namelen = self.headers[source].msg_namelen
        header.msg_controllen = self.headers[source].msg_controllen
        header.msg_control = self.notes + target * NOTE if header.msg_controllen else NULL
        memcpy(self.notes + target * NOTE, self.notes + source * NOTE, NOTE)
        self.parts[target] = self.parts[source]
        self.peers[target] = self.peers[source]
        self.held[target] = self.held[source]
        self.held[source] = NULL

    cdef void release(self, unsigned int count) noexcept:
        """Forget the oldest messages."""
        self.plain -= min(self.plain, count)
        while count:
            Py_DECREF(<object>self.held[self.head])
            self.held[self.head] = NULL
            self.head = (self.head + 1) % RING
            self.pending -= 1
            count -= 1


cdef inline unsigned int bucket_of(sockaddr_in6 *peer) noexcept nogil:
    """By the port and the address, or its last four bytes."""
    cdef uint32_t address
    if peer.sin6_family == AF_INET:
        address = (<sockaddr_in *>peer).sin_addr.s_addr
    else:
        memcpy(&address, &peer.sin6_addr.s6_addr[12], 4)
    return ((address ^ <uint32_t>peer.sin6_port << 16) * <uint32_t>0x9E3779B1) >> 23  # BUCKETS is 1 << (32 - 23)
