"""UDP on the loop's reader: one recvmmsg, one commit and one sendmmsg for a batch of datagrams.

A readable socket is read in batches of up to BATCH, without ever waiting for a fuller one. A batch reads the clock once;
each datagram becomes one bytes object and one Flow for the receiver; then the receiver commits, which hands what is
to be sent to `UdpTransport.send`; and that leaves by sendmmsg (`udp_socket`). No task, future or queue is in between.

Reading is level-triggered: a wake takes one batch, so that timers and the other sockets have their turn, and the loop
comes back for the rest.

Overload. When the kernel's receive buffer is half full it is emptied at once, what may wait (the receiver says so of
REGISTERs) is put aside, everything else is handled first, and then what waits, in its order. So a storm of phones that come
back costs them, and not those who call: what the kernel would have thrown away blindly is thrown away only where too much
waits.

What could not be delivered is given to the receiver by a call of the loop of its own, outside of the batch whose sending
failed, and makes a batch with all that comes of it.

There is one timer of the loop for all timers of the receiver. It may fire too early: it is set again only when the
next deadline comes before it, which under load saves nearly all of the setting.

Where the platform has no recvmmsg, or by choice, the same arrays are filled one by one.
"""

import errno as errors
import os
from collections import deque

import cython

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport calloc, free, malloc

from .._flow cimport TRANSPORT_UDP, Flow, Receiver, Sink, make_flow
from .udp_socket cimport (
    AF_INET, AF_INET6, EWOULDBLOCK, MSG_DONTWAIT, NOTE, SIPFAST_MMSG, UdpSocket, in6_addr, iovec, mmsghdr, msghdr, sockaddr,
    sockaddr_in, sockaddr_in6,
)

from .udp_socket import BATCHED, kernel_drops

cdef extern from *:
    """
    #include <time.h>
    #include <arpa/inet.h>
    #include <ifaddrs.h>
    #include <net/if.h>
    #if !SIPFAST_MMSG
    static int recvmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags, void *t) { errno = ENOSYS; return -1; }
    #endif
    /* The local address that a message came to (RFC 3542 §6.2, ip(7)), out of its control data. */
    #ifdef IP_PKTINFO
    static const unsigned char *local_address(struct msghdr *m) {
        struct cmsghdr *c;
        for (c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
            if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
                return (const unsigned char *)&((struct in_pktinfo *)CMSG_DATA(c))->ipi_spec_dst;
            if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
                return (const unsigned char *)&((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr;
        }
        return NULL;
    }
    #else
    static const unsigned char *local_address(struct msghdr *m) { return NULL; }
    #endif
    /* Nobody sets it; on Linux it counts the time that the machine sleeps, too. */
    #ifdef CLOCK_BOOTTIME
    #define SINCE_BOOT CLOCK_BOOTTIME
    #else
    #define SINCE_BOOT CLOCK_MONOTONIC
    #endif
    """
    const unsigned char *local_address(msghdr *message) noexcept
    const int MSG_TRUNC, IFF_UP
    const int CLOCK_REALTIME, SINCE_BOOT
    struct timespec:
        long tv_sec
        long tv_nsec
    struct ifaddrs:
        ifaddrs *ifa_next
        unsigned int ifa_flags
        sockaddr *ifa_addr
    int getifaddrs(ifaddrs **result) nogil
    void freeifaddrs(ifaddrs *list) nogil
    const char *inet_ntop(int family, const void *source, char *target, unsigned int size) nogil
    bint IN6_IS_ADDR_LINKLOCAL(const in6_addr *address) nogil
    uint16_t ntohs(uint16_t value) nogil
    int clock_gettime(int clock, timespec *result) nogil
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)

cdef enum:
    BATCH = 256     # datagrams of one read, and so of one wake of the loop
    MOST_POSTPONED = 16_384  # put aside: REGISTERs are answered within T1, or else will be repeated anyway
    MOST_PUT_ASIDE = 4096    # bytes of one, so that all of them have 64 MB at the most
    MOST_RELIEF = 20         # ms that a socket is emptied for before those have their turn
    STAGGER = 1088  # bytes between two buffers, an odd number of cache lines: they must not all fall on the same ones

# What an ICMP message about an earlier datagram can make a read say; it tells nothing about this one.
ICMP = frozenset(
    getattr(errors, name, 0)
    for name in (
        "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENONET", "EPROTO", "ENOPROTOOPT",
        "EOPNOTSUPP", "EMSGSIZE", "EACCES",
    )
)


def interface_addresses():
    """Addresses of the interfaces that are up, as text, without the IPv6 ones that hold on one link only."""
    cdef ifaddrs *first = NULL
    cdef ifaddrs *each
    cdef char text[64]
    found = []
    if getifaddrs(&first) != 0:
        return found
    each = first
    while each != NULL:
        if each.ifa_addr != NULL and each.ifa_flags & IFF_UP:
            if each.ifa_addr.sa_family == AF_INET:
                inet_ntop(AF_INET, &(<sockaddr_in *>each.ifa_addr).sin_addr, text, sizeof(text))
                found.append((<bytes>text).decode())
            elif (each.ifa_addr.sa_family == AF_INET6
                    and not IN6_IS_ADDR_LINKLOCAL(&(<sockaddr_in6 *>each.ifa_addr).sin6_addr)):
                inet_ntop(AF_INET6, &(<sockaddr_in6 *>each.ifa_addr).sin6_addr, text, sizeof(text))
                found.append((<bytes>text).decode())
        each = each.ifa_next
    freeifaddrs(first)
    return found


cdef int64_t nanoseconds(int clock) noexcept nogil:
    cdef timespec at
    clock_gettime(clock, &at)
    return <int64_t>at.tv_sec * 1_000_000_000 + at.tv_nsec


@cython.final
cdef class Clock:

    def __cinit__(self, zero=None):
        self.zero = (nanoseconds(CLOCK_REALTIME) - nanoseconds(SINCE_BOOT)) // 1_000_000 if zero is None else zero

    cpdef int64_t now(self) noexcept:
        return nanoseconds(SINCE_BOOT) // 1_000_000 + self.zero


@cython.final
cdef class UdpTransport(Sink):

    def __cinit__(self, loop, Clock clock not None, report, *, bint batched=BATCHED, int max_datagram=65535):
        cdef int slot
        cdef size_t stride = (max_datagram + 63) // 64 * 64 + STAGGER
        self.loop = loop
        self.clock = clock
        self.report = report
        self.batched = batched and SIPFAST_MMSG
        self.sockets = []
        self.armed = -1
        self.postponed = deque()
        self.room = max_datagram
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.parts = <iovec *>calloc(BATCH, sizeof(iovec))
        self.peers = <sockaddr_in6 *>calloc(BATCH, sizeof(sockaddr_in6))
        self.space = <char *>malloc(BATCH * stride)
        self.notes = <char *>calloc(BATCH, NOTE)
        if not (self.messages and self.parts and self.peers and self.space and self.notes):
            raise MemoryError
        for slot in range(BATCH):
            self.parts[slot].iov_base = self.space + slot * stride
            self.parts[slot].iov_len = self.room
            self.messages[slot].msg_hdr.msg_iov = &self.parts[slot]
            self.messages[slot].msg_hdr.msg_iovlen = 1
            self.messages[slot].msg_hdr.msg_name = &self.peers[slot]
            self.messages[slot].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
            self.messages[slot].msg_hdr.msg_control = self.notes + slot * NOTE
            self.messages[slot].msg_hdr.msg_controllen = NOTE

    def __dealloc__(self):
        free(self.messages)
        free(self.parts)
        free(self.peers)
        free(self.space)
        free(self.notes)

    def add(self, socket):
        cdef UdpSocket sock = UdpSocket(socket, len(self.sockets), self.batched)
        self.sockets.append(sock)
        return sock.local

    def start(self, Receiver receiver not None):
        cdef UdpSocket sock
        self.receiver = receiver
        self.reading = True
        for sock in self.sockets:
            self.loop.add_reader(sock.fd, self._readable, sock)
        self.advance()

    def stop(self):
        cdef UdpSocket sock
        if self.reading:
            self.reading = False
            for sock in self.sockets:
                self.loop.remove_reader(sock.fd)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.armed = -1
        self.postponed_drops += len(self.postponed)
        self.postponed.clear()
        self.postponing = False
        for sock in self.sockets:
            sock.failed.clear()

    def close(self):
        cdef UdpSocket sock
        self.stop()
        for sock in self.sockets:
            if sock.waiting:
                self.loop.remove_writer(sock.fd)
                sock.waiting = False
            sock.send_drops += sock.pending
            sock.release(sock.pending)
            sock.socket.close()
            sock.fd = -1
        self.receiver = None

    # The sink

    cpdef int send(self, bytes data, Flow flow) except -1:
        cdef UdpSocket sock = self.socket_for(flow)
        if sock is None or data is None:
            self.unroutable += 1
        else:
            sock.push(data, flow)
        return 0

    cdef UdpSocket socket_for(self, Flow flow):
        """The flow's own socket, or, for a flow remembered from before a change of the listeners, one of its family."""
        cdef UdpSocket sock
        if flow.transport != TRANSPORT_UDP:
            return None
        if 0 <= flow.local < len(self.sockets):
            sock = <UdpSocket>self.sockets[flow.local]
            if sock.family == flow.family:
                return sock if sock.fd >= 0 else None
        for sock in self.sockets:
            if sock.family == flow.family:
                return sock if sock.fd >= 0 else None
        return None

    def flush(self):
        cdef UdpSocket sock
        for sock in self.sockets:
            if sock.pending and not sock.blocked:
                sock.drain()
            if sock.blocked and not sock.waiting:
                sock.waiting = True
                self.loop.add_writer(sock.fd, self._writable, sock)
            if sock.alarmed:
                self.look_at_errors(sock)

    def _writable(self, UdpSocket sock not None):
        sock.blocked = False
        sock.drain()
        if not sock.blocked:
            sock.waiting = False
            self.loop.remove_writer(sock.fd)
        if sock.alarmed:
            self.look_at_errors(sock)

    # Reading

    def _readable(self, UdpSocket sock not None):
        cdef int count = self.take_batch(sock)
        if count and self.reading:
            if self.postponing or (count == BATCH and sock.crowded()):
                self.relieve(sock)
            self.arm(self.clock.now())
        if sock.alarmed or (count == 0 and sock.watched):     # it was an error that woke us, then
            self.look_at_errors(sock)

    cdef int take_batch(self, UdpSocket sock) except -1:
        """Read what is there, hand it over, commit and send. Returns how many there were."""
        cdef int slot, count = self.read(sock.fd)
        cdef int64_t now
        if count <= 0:
            if count < 0:
                sock.alarmed = True
                self._read_failed(errno)
            return 0
        now = self.clock.now()
        self.batches += 1
        for slot in range(count):
            self.take(slot, sock.local, now)
        self.finish(now)
        return count

    cdef int relieve(self, UdpSocket sock) except -1:
        """Empty a socket, handle all but what may wait, then some of that."""
        cdef int64_t until = self.clock.now() + MOST_RELIEF
        self.postponing = True
        while self.reading and self.clock.now() < until and self.take_batch(sock) == BATCH:
            pass
        return self.work_off()

    cdef int work_off(self) except -1:
        """Handle a batch of what waits; the loop comes back for the rest."""
        cdef int64_t now = self.clock.now()
        cdef int left = BATCH
        while left and self.postponed:
            data, flow = self.postponed.popleft()
            self.hand(data, flow, now)
            left -= 1
        if left < BATCH:
            self.finish(now)
        if not self.postponed:
            self.postponing = False
        elif not self.called:
            self.called = True
            self.loop.call_soon(self._go_on)
        return 0

    def _go_on(self):
        cdef UdpSocket sock
        self.called = False
        for sock in self.sockets:
            if self.reading and self.postponing:
                self.relieve(sock)
        if self.reading:
            self.arm(self.clock.now())

    cdef int postpone(self, bytes data, Flow flow) except -1:
        if len(self.postponed) >= MOST_POSTPONED:
            self.postponed_drops += 1
            return 0
        self.postponements += 1
        self.postponed.append((data, flow))
        return 0

    cdef int read(self, int fd) noexcept:
        """Fill the slots with what is there. Returns how many; 0: nothing; -1: an error, see errno."""
        cdef int count = 0
        cdef ssize_t size
        while self.used:
            self.used -= 1
            self.messages[self.used].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
            self.messages[self.used].msg_hdr.msg_controllen = NOTE
        if self.batched:
            count = recvmmsg(fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
        else:
            while count < BATCH:
                size = recvmsg(fd, &self.messages[count].msg_hdr, MSG_DONTWAIT)
                if size < 0:
                    break
                self.messages[count].msg_len = <unsigned int>size
                count += 1
        self.used = max(count, 0)
        if count > 0:
            return count
        return 0 if errno == EAGAIN or errno == EWOULDBLOCK or errno == EINTR else -1

    cdef int take(self, int slot, int local, int64_t now) except -1:
        """Make one datagram an object with its flow, and hand it over or put it aside."""
        cdef mmsghdr *message = &self.messages[slot]
        cdef sockaddr_in *peer4 = <sockaddr_in *>&self.peers[slot]
        cdef sockaddr_in6 *peer6 = &self.peers[slot]
        cdef const unsigned char *own
        cdef bytes data
        cdef Flow flow
        cdef bint waits
        self.received += 1
        if message.msg_len == 0:
            self.empty += 1
            return 0
        if message.msg_hdr.msg_flags & MSG_TRUNC:
            self.truncated += 1
            return 0
        try:
            if peer4.sin_family == AF_INET:
                flow = make_flow(TRANSPORT_UDP, 4, <unsigned char *>&peer4.sin_addr, ntohs(peer4.sin_port), local)
            else:
                flow = make_flow(TRANSPORT_UDP, 6, peer6.sin6_addr.s6_addr, ntohs(peer6.sin6_port), local)
                flow.connection = peer6.sin6_scope_id  # a link-local peer is reached by its interface only
            own = local_address(&message.msg_hdr)
            if own != NULL:
                flow.leave_from(own)
            data = PyBytes_FromStringAndSize(<char *>self.parts[slot].iov_base, message.msg_len)
            waits = self.postponing and message.msg_len <= MOST_PUT_ASIDE and self.receiver.may_wait(data)
        except Exception as error:
            self._failed("receive-failed", error)
            return 0
        return self.postpone(data, flow) if waits else self.hand(data, flow, now)

    cdef int hand(self, bytes data, Flow flow, int64_t now) except -1:
        """Give one datagram to the receiver. What it raises is reported, and the next one has its turn."""
        try:
            self.receiver.receive(data, flow, now)
        except Exception as error:
            self._failed("receive-failed", error)
        return 0

    cdef int finish(self, int64_t now) except -1:
        """Commit, then send what that has produced."""
        try:
            self.receiver.commit(now)
        except Exception as error:
            self._failed("commit-failed", error)
        self.flush()
        return 0

    # What could not be delivered

    cdef int look_at_errors(self, UdpSocket sock) except -1:
        """Read the error queue, and have the receiver told of it and of what could not be sent."""
        if sock.fd < 0:
            return 0
        sock.read_errors()
        # libuv stops to watch a socket that has an error, after one call.
        if self.reading:
            self.loop.remove_reader(sock.fd)
            self.loop.add_reader(sock.fd, self._readable, sock)
        elif sock.waiting:
            self.loop.remove_writer(sock.fd)
            self.loop.add_writer(sock.fd, self._writable, sock)
        if not self.reading:
            sock.failed.clear()
        elif sock.failed and not self.telling:
            self.telling = True
            self.loop.call_soon(self._tell_failures)
        return 0

    def _tell_failures(self):
        cdef UdpSocket sock
        cdef int64_t now = self.clock.now()
        cdef list failed
        self.telling = False
        if not self.reading:
            return
        for sock in self.sockets:
            failed = sock.failed
            sock.failed = []
            for flow, data in failed:
                try:
                    self.receiver.failed(flow, data, now)
                except Exception as error:
                    self._failed("undeliverable-failed", error)
        self.finish(now)
        if self.reading:
            self.arm(now)

    # Timers

    def advance(self):
        cdef int64_t now = self.clock.now()
        try:
            self.receiver.advance(now)
        except Exception as error:
            self._failed("advance-failed", error)
        self.finish(now)
        if self.reading:
            self.arm(now)

    cdef int arm(self, int64_t now) except -1:
        """Have the loop call back at the next deadline, unless it does so before anyway."""
        cdef int64_t deadline
        try:
            deadline = self.receiver.next_deadline()
        except Exception as error:
            self._failed("deadline-failed", error)
            deadline = now + 1000
        if deadline < 0 or 0 <= self.armed <= deadline:
            return 0
        if self.timer is not None:
            self.timer.cancel()
        deadline = max(deadline, now + 1)  # whatever the receiver says, not for ever in the same millisecond
        self.armed = deadline
        self.timer = self.loop.call_later((deadline - now) / 1000.0, self._fire)
        return 0

    def _fire(self):
        self.timer = None
        self.armed = -1
        self.advance()

    # Accounts

    def _failed(self, str event, error):
        self.failures += 1
        self.report(event, error)

    def _read_failed(self, int number):
        self.receive_errors += 1
        if number not in ICMP:
            self.report("read-failed", OSError(number, os.strerror(number)))

    @property
    def pending(self):
        cdef UdpSocket sock
        return sum([sock.pending for sock in self.sockets])

    def counters(self):
        cdef UdpSocket sock
        cdef uint64_t sent = 0, segments = 0, send_errors = 0, send_drops = 0, drops = 0, network_errors = 0
        for sock in self.sockets:
            sent += sock.sent
            segments += sock.segments
            send_errors += sock.send_errors
            send_drops += sock.send_drops
            network_errors += sock.errors
            if sock.fd >= 0:
                drops += kernel_drops(sock.socket)
        return {
            "udp_received": self.received,
            "udp_batches": self.batches,
            "udp_empty": self.empty,
            "udp_truncated": self.truncated,
            "udp_receive_errors": self.receive_errors,
            "udp_kernel_drops": drops,
            "udp_postponed": self.postponements,
            "udp_postponed_drops": self.postponed_drops,
            "udp_sent": sent,
            "udp_sent_together": segments,
            "udp_send_errors": send_errors,
            "udp_send_drops": send_drops,
            "udp_network_errors": network_errors,
            "udp_unroutable": self.unroutable,
            "udp_failures": self.failures,
        }
