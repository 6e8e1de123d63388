"""UDP on the loop's reader: one recvmmsg, one batch of the driver and one sendmmsg.

A readable socket is read in batches of up to BATCH, without ever waiting for a fuller one. Each datagram becomes one bytes
object and one Flow for the driver, which has the batch committed and what it produced sent (`udp_socket`).

Reading is level-triggered: a wake takes one batch, so that timers and the other sockets have their turn, and the loop
comes back for the rest. When the kernel's receive buffer is half full the driver is asked to relieve it.

Where the platform has no recvmmsg, or by choice, the same arrays are filled one by one.
"""

import errno as errors
import os

import cython

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from .._flow cimport DROPPED, OVER, TRANSPORT_UDP, Flow, Incoming, make_flow
from ..driver.driver cimport BATCH, Driver, Transport
from .kernel cimport (
    AF_INET, AF_INET6, EWOULDBLOCK, MSG_DONTWAIT, NOTE, SIPFAST_MMSG, in6_addr, iovec, local_address, mmsghdr, recvmmsg, recvmsg,
    sockaddr, sockaddr_in, sockaddr_in6,
)
from .udp_socket cimport UdpSocket

from .udp_socket import BATCHED, kernel_drops

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <ifaddrs.h>
    #include <net/if.h>
    """
    const int MSG_TRUNC, IFF_UP
    struct ifaddrs:
        ifaddrs *ifa_next
        unsigned int ifa_flags
        sockaddr *ifa_addr
    int getifaddrs(ifaddrs **result) nogil
    void freeifaddrs(ifaddrs *list) nogil
    const char *inet_ntop(int family, const void *source, char *target, unsigned int size) nogil
    bint IN6_IS_ADDR_LINKLOCAL(const in6_addr *address) nogil
    uint16_t ntohs(uint16_t value) nogil

cdef enum:
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


@cython.final
cdef class UdpTransport(Transport):

    def __init__(self, Driver driver not None, *, bint batched=BATCHED, int max_datagram=65535):
        Transport.__init__(self, driver, TRANSPORT_UDP)
        self.loop = driver.loop
        self.batched = batched and SIPFAST_MMSG
        self.sockets = self.sources

    def __cinit__(self, driver, *, batched=True, int max_datagram=65535):
        cdef int slot
        cdef size_t stride = (max_datagram + 63) // 64 * 64 + STAGGER
        self.room = max_datagram
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.parts = <iovec *>calloc(BATCH, sizeof(iovec))
        self.peers = <sockaddr_in6 *>calloc(BATCH, sizeof(sockaddr_in6))
        self.space = <char *>malloc(BATCH * stride)
        self.notes = <char *>calloc(BATCH, NOTE)
        self.arrivals = <Incoming *>calloc(BATCH, sizeof(Incoming))
        if not (self.messages and self.parts and self.peers and self.space and self.notes and self.arrivals):
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
        free(self.arrivals)

    def add(self, socket):
        cdef UdpSocket sock = UdpSocket(socket, len(self.sockets), self.batched)
        self.sockets.append(sock)
        return sock.local

    cdef int begin_to_read(self) except -1:
        cdef UdpSocket sock
        self.reading = True
        for sock in self.sockets:
            self.loop.add_reader(sock.fd, self._readable, sock)
        return 0

    cdef int end_to_read(self) except -1:
        cdef UdpSocket sock
        if self.reading:
            self.reading = False
            for sock in self.sockets:
                self.loop.remove_reader(sock.fd)
                sock.failed.clear()
        return 0

    def close(self):
        cdef UdpSocket sock
        self.end_to_read()
        for sock in self.sockets:
            if sock.waiting:
                self.loop.remove_writer(sock.fd)
                sock.waiting = False
            sock.send_drops += sock.pending
            sock.release(sock.pending)
            sock.socket.close()
            sock.fd = -1

    # Sending

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
        self.leave()

    cdef int leave(self) except -1:
        cdef UdpSocket sock
        for sock in self.sockets:
            if sock.pending and not sock.blocked:
                sock.drain()
            if sock.blocked and not sock.waiting:
                sock.waiting = True
                self.loop.add_writer(sock.fd, self._writable, sock)
            if sock.alarmed:
                self.look_at_errors(sock)
        return 0

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
        cdef int count = self.read_batch(sock)
        if count and self.reading:
            if self.driver.postponing or (count == BATCH and sock.crowded()):
                self.driver.relieve(self, sock)
            self.driver.rearm()
        if sock.alarmed or (count == 0 and sock.watched):     # it was an error that woke us, then
            self.look_at_errors(sock)

    cdef int read_batch(self, object source) except -1:
        cdef UdpSocket sock = <UdpSocket>source
        cdef int slot, count = self.read(sock.fd)
        cdef int64_t now
        if count <= 0:
            if count < 0:
                sock.alarmed = True
                self._read_failed(errno)
            return 0
        now = self.driver.begin()
        for slot in range(count):
            self.describe(slot)
        self.driver.admit(self.arrivals, count, now)
        for slot in range(count):
            if self.arrivals[slot].size and self.arrivals[slot].admission != DROPPED:
                self.take(slot, sock.local, now)
        self.driver.finish(now)
        return count

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

    cdef int describe(self, int slot) noexcept:
        cdef mmsghdr *message = &self.messages[slot]
        cdef sockaddr_in *peer4 = <sockaddr_in *>&self.peers[slot]
        cdef Incoming *arrival = &self.arrivals[slot]
        self.received += 1
        arrival.size = 0
        if message.msg_len == 0:
            self.empty += 1
            return 0
        if message.msg_hdr.msg_flags & MSG_TRUNC:
            self.truncated += 1
            return 0
        arrival.size = message.msg_len
        arrival.data = <unsigned char *>self.parts[slot].iov_base
        if peer4.sin_family == AF_INET:
            arrival.family, arrival.port, arrival.ip = 4, ntohs(peer4.sin_port), <unsigned char *>&peer4.sin_addr
        else:
            arrival.family, arrival.port, arrival.ip = 6, ntohs(self.peers[slot].sin6_port), self.peers[slot].sin6_addr.s6_addr
        return 0

    cdef int take(self, int slot, int local, int64_t now) except -1:
        """Make one datagram an object with its flow, for the driver."""
        cdef Incoming *arrival = &self.arrivals[slot]
        cdef const unsigned char *own
        cdef bytes data
        cdef Flow flow
        try:
            flow = make_flow(TRANSPORT_UDP, arrival.family, arrival.ip, arrival.port, local)
            if arrival.family == 6:
                flow.scope = self.peers[slot].sin6_scope_id      # a link-local peer is reached by its interface only
            own = local_address(&self.messages[slot].msg_hdr)
            if own != NULL:
                flow.leave_from(own)
            data = PyBytes_FromStringAndSize(<char *>arrival.data, arrival.size)
        except Exception as error:
            return self.driver.fail("receive-failed", error)
        if arrival.admission == OVER:
            return self.driver.take_over(data, flow, now)
        return self.driver.take(data, flow, now)

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
        return self.driver.could_not_deliver(sock.failed)

    # Accounts

    def _read_failed(self, int number):
        self.receive_errors += 1
        if number not in ICMP:
            self.driver.report("read-failed", OSError(number, os.strerror(number)))

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
            "udp_empty": self.empty,
            "udp_truncated": self.truncated,
            "udp_receive_errors": self.receive_errors,
            "udp_kernel_drops": drops,
            "udp_sent": sent,
            "udp_sent_together": segments,
            "udp_send_errors": send_errors,
            "udp_send_drops": send_drops,
            "udp_network_errors": network_errors,
            "udp_unroutable": self.unroutable,
        }
