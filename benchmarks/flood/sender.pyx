"""Sends datagrams at a fixed rate from one loopback address or from thousands, and hears nothing of what comes back.

Each datagram is a template with eight hex digits of a counter written over each of its marks.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from sipfast.transport.kernel cimport (
    AF_INET, MSG_DONTWAIT, NOTE, iovec, mmsghdr, sendmmsg, set_local_address, sockaddr_in,
)

import socket as sockets

cdef extern from *:
    """
    #include <sched.h>
    #include <time.h>
    static long long flood_now(void) {
        struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
    """
    int64_t flood_now() nogil
    int sched_yield() nogil
    uint32_t htonl(uint32_t value) nogil
    unsigned short htons(unsigned short value) nogil

cdef enum:
    BATCH = 64
    ROOM = 2048
    MOST_MARKS = 16

MARK = b"########"


cdef class Sender:
    """`template`: one datagram, with MARKs. `sources`: how many addresses it comes from, 127.(64 + i).x.y."""

    cdef object socket
    cdef int fd, size, marks, sources
    cdef int places[MOST_MARKS]
    cdef mmsghdr messages[BATCH]
    cdef iovec parts[BATCH]
    cdef char *space
    cdef char *notes
    cdef sockaddr_in to
    cdef uint32_t number
    cdef readonly uint64_t sent, refused
    """Datagrams that the kernel took, and had no room for."""

    def __init__(self, int port, bytes template not None, int sources=1):
        cdef int i, at = template.find(MARK)
        if len(template) > ROOM:
            raise ValueError(f"a template of {len(template)} bytes: {ROOM} at the most")
        self.socket = sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0" if sources > 1 else "127.64.0.1", 0))
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4 << 20)
        self.fd = self.socket.fileno()
        self.size = len(template)
        self.sources = sources
        while at >= 0 and self.marks < MOST_MARKS:
            self.places[self.marks] = at
            self.marks += 1
            at = template.find(MARK, at + len(MARK))
        self.space = <char *>calloc(BATCH, ROOM)
        self.notes = <char *>calloc(BATCH, NOTE)
        if not (self.space and self.notes):
            raise MemoryError
        self.to.sin_family = AF_INET
        self.to.sin_port = htons(port)
        self.to.sin_addr.s_addr = htonl(0x7F000001)
        for i in range(BATCH):
            memcpy(self.space + i * ROOM, <const char *>template, self.size)
            self.parts[i].iov_base = self.space + i * ROOM
            self.parts[i].iov_len = self.size
            self.messages[i].msg_hdr.msg_iov = &self.parts[i]
            self.messages[i].msg_hdr.msg_iovlen = 1
            self.messages[i].msg_hdr.msg_name = &self.to
            self.messages[i].msg_hdr.msg_namelen = sizeof(self.to)

    def __dealloc__(self):
        free(self.space)
        free(self.notes)

    def close(self):
        """No more."""
        self.socket.close()

    def run(self, double rate, double seconds):
        """Send `rate` datagrams a second for a while."""
        cdef int64_t began = flood_now(), now = began, until = began + <int64_t>(seconds * 1e9)
        cdef int64_t due, gone = 0
        cdef int count, done
        with nogil:
            while now < until:
                due = <int64_t>((now - began) * rate / 1e9)
                if due - gone < BATCH:
                    sched_yield()
                    now = flood_now()
                    continue
                count = self.fill()
                done = sendmmsg(self.fd, self.messages, count, MSG_DONTWAIT)
                if done > 0:
                    self.sent += done
                self.refused += count - max(done, 0)
                gone += count
                now = flood_now()

    cdef int fill(self) noexcept nogil:
        cdef int i, mark
        cdef uint32_t source
        for i in range(BATCH):
            self.number += 1
            for mark in range(self.marks):
                put_hex(self.space + i * ROOM + self.places[mark], self.number)
            if self.sources > 1:
                source = htonl(0x7F400001 + self.number % self.sources)
                self.messages[i].msg_hdr.msg_control = self.notes + i * NOTE
                self.messages[i].msg_hdr.msg_controllen = NOTE
                set_local_address(&self.messages[i].msg_hdr, 4, <unsigned char *>&source, 0)
        return BATCH


cdef inline void put_hex(char *to, uint32_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        to[i] = b"0123456789abcdef"[(value >> (28 - 4 * i)) & 15]
