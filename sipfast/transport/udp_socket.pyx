"""A bound UDP socket: the ring of what waits to leave by it, and how it leaves.

Messages are collected in a ring and handed to the kernel up to WINDOW at a time, by sendmmsg. Those to one peer stay in
their order; peers have no order among each other. So the messages of a window are brought together by peer, and where
several of one size follow each other, they are handed over in one piece that the kernel cuts (UDP_SEGMENT, udp(7)):
the way through its stack, which is four fifths of what sending costs, is gone once for all of them. What arrives are the
same datagrams. It pays where a peer gets many messages at a time: another server, an SBC, a trunk.

Messages that the kernel has no room for wait in the ring; what finds the ring full is lost, as on any full link, and
counted.

What cannot be delivered is kept for whoever asks (RFC 3261 §18.4): a message that the kernel does not send (no route, too
big, forbidden), and what an ICMP error brings back of one that it did. Such errors wait in the socket's error queue
(IP_RECVERR, ip(7)), and each is also told, once, to whatever call comes next, which need not be about that message. So no
refusal is believed at once, and every sign of an error has the queue looked at.

Where the platform has no sendmmsg, or by choice, they leave one by one.
"""

import socket as sockets_of_python
import sys

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from .._flow cimport TRANSPORT_UDP, Flow, make_flow
from .kernel cimport (
    AF_INET, AF_INET6, EWOULDBLOCK, MSG_DONTWAIT, NOTE, SIPFAST_MMSG, SIPFAST_PKTINFO, SIPFAST_SEGMENT, iovec, msghdr, sendmmsg,
    sendmsg, set_local_address, set_segment, sockaddr_in, sockaddr_in6,
)

cdef extern from *:
    """
    #include <string.h>
    /* The next error of the error queue: how much of the message it quotes, -1 where there is none. `dead`: it means that
       the message has not arrived and will not (RFC 3261 §18.4); the others are about the path's MTU, its load, or loops. */
    #ifdef __linux__
    #include <time.h>
    #include <linux/errqueue.h>
    #define SIPFAST_RECVERR IP_RECVERR
    #define SIPFAST_RECVERR6 IPV6_RECVERR
    static ssize_t next_error(int fd, char *space, size_t room, struct sockaddr_in6 *peer, int *dead) {
        union { char bytes[512]; struct cmsghdr align; } notes;
        struct iovec part = { space, room };
        struct msghdr m;
        struct cmsghdr *c;
        ssize_t size;
        memset(&m, 0, sizeof m);
        memset(peer, 0, sizeof *peer);
        m.msg_name = peer;
        m.msg_namelen = sizeof *peer;
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        m.msg_control = &notes;
        m.msg_controllen = sizeof notes;
        size = recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
        *dead = 0;
        if (size < 0) return -1;
        for (c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
            struct sock_extended_err e;
            if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR)
                && !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) continue;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            if (e.ee_origin == SO_EE_ORIGIN_ICMP)           /* unreachable, but for "fragmentation needed"; bad parameter */
                *dead = (e.ee_type == 3 && e.ee_code != 4) || e.ee_type == 12;
            else if (e.ee_origin == SO_EE_ORIGIN_ICMP6)     /* RFC 4443: the same two */
                *dead = e.ee_type == 1 || e.ee_type == 4;
        }
        return size;
    }
    #else
    #define SIPFAST_RECVERR -1
    #define SIPFAST_RECVERR6 -1
    static ssize_t next_error(int fd, char *space, size_t room, struct sockaddr_in6 *peer, int *dead) { return -1; }
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
    const int SIPFAST_RCVBUFFORCE, SIPFAST_SNDBUFFORCE, SIPFAST_MEMINFO
    bint half_full(int fd) noexcept
    ssize_t next_error(int fd, char *space, size_t room, sockaddr_in6 *peer, int *dead) noexcept
    const int SIPFAST_RECVERR, SIPFAST_RECVERR6
    uint16_t htons(uint16_t value) nogil
    uint16_t ntohs(uint16_t value) nogil

cdef enum:
    MOST_SEGMENTS = 64      # of one piece (UDP_MAX_SEGMENTS of older kernels)
    MOST_TOGETHER = 65_000  # bytes of one piece: it has to be a datagram of IP, too
    MOST_TRIES = 4          # of a message that the kernel refuses
    MOST_ERRORS = 256       # read at a time: whoever forges them must not keep us busy
    MOST_QUOTED = 2048      # bytes of a message that an error brings back; ICMPv6 has 1280 at the most (RFC 4443 §2.4)
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


def ask_for_errors(socket):
    """Have a UDP socket keep what the network says about what was sent by it. Returns whether it does."""
    level, option = (
        (sockets_of_python.IPPROTO_IPV6, SIPFAST_RECVERR6)
        if socket.family == sockets_of_python.AF_INET6
        else (sockets_of_python.IPPROTO_IP, SIPFAST_RECVERR)
    )
    if option < 0 or socket.type != sockets_of_python.SOCK_DGRAM:
        return False
    socket.setsockopt(level, option, 1)
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
        self.failed = []
        self.watched = ask_for_errors(socket)
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
            peer6.sin6_scope_id = flow.scope
            header.msg_namelen = sizeof(sockaddr_in6)
        header.msg_control = NULL
        header.msg_controllen = 0
        if flow.has_own and self.wildcard:
            header.msg_control = self.notes + slot * NOTE
            header.msg_controllen = NOTE
            set_local_address(header, flow.family, flow.own, flow.scope)
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
        elif errno != EINTR:
            self.refused(errno)
        return 0

    cdef int refused(self, int number) noexcept:
        """The kernel does not take the oldest message, for this reason or for another message's."""
        cdef msghdr *header = &self.headers[self.head]
        self.alarmed = True                   # also for `failed` to be given to who takes it
        self.tries += 1
        if number == ENOBUFS or number == ENOMEM:
            self.send_errors += 1             # lost on a full device, as further on its way: it is sent again in time
            self.release(1)
        elif self.tries < MOST_TRIES:
            pass
        elif header.msg_controllen:
            # The address that the peer knew is gone from this machine, perhaps: from any other, then.
            header.msg_controllen = 0
            self.tries = 0
        else:
            self.send_errors += 1
            if number != ECONNREFUSED:        # which is never about this message: a storm of errors about others
                self.fail(&self.peers[self.head], <bytes>self.held[self.head])
            self.release(1)
        return 0

    cdef int fail(self, sockaddr_in6 *peer, bytes data) noexcept:
        """Keep what could not be delivered, with the flow that it went by."""
        cdef sockaddr_in *peer4 = <sockaddr_in *>peer
        cdef Flow flow
        if peer.sin6_family == AF_INET:
            flow = make_flow(TRANSPORT_UDP, 4, <unsigned char *>&peer4.sin_addr, ntohs(peer4.sin_port), self.local)
        else:
            flow = make_flow(TRANSPORT_UDP, 6, peer.sin6_addr.s6_addr, ntohs(peer.sin6_port), self.local)
            flow.scope = peer.sin6_scope_id
        self.failed.append((flow, data))
        return 0

    cdef int read_errors(self) noexcept:
        """Empty the error queue, up to MOST_ERRORS."""
        cdef char space[MOST_QUOTED]
        cdef sockaddr_in6 peer
        cdef int dead = 0, count = 0
        cdef ssize_t size
        self.alarmed = False
        while count < MOST_ERRORS:
            size = next_error(self.fd, space, MOST_QUOTED, &peer, &dead)
            if size < 0:
                break
            count += 1
            self.errors += 1
            if dead and size > 0 and (peer.sin6_family == AF_INET or peer.sin6_family == AF_INET6):
                self.fail(&peer, PyBytes_FromStringAndSize(space, size))
        return count

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
            self.alarmed = self.watched
            self.forget_sent(sent)
            self.compact(count)
        elif errno == EAGAIN or errno == EWOULDBLOCK:
            self.blocked = True
        elif errno != EINTR and self.tries == 0:
            self.alarmed = self.watched
            self.tries = 1                    # an error about a message sent before, perhaps
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
        cdef unsigned int _part, slot
        for run in range(runs):
            for _part in range(self.runs[run].msg_hdr.msg_iovlen):
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
        self.tries = 0

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
        self.tries = 0
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
