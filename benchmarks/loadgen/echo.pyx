"""A UDP echo in C's speed: recvmmsg, sendmmsg, nothing else. What a datagram costs the kernel at the least.

Datagrams of one size that came from one peer one after the other go back in one piece, which the kernel cuts
(UDP_SEGMENT): the cheapest way that there is.
"""

from libc.errno cimport EINTR, errno
from libc.string cimport memcmp

from sipfast.transport.kernel cimport NOTE, iovec, mmsghdr, msghdr, recvmmsg, sendmmsg, set_segment, sockaddr_in

cdef extern from *:
    const int MSG_WAITFORONE

cdef enum:
    BATCH = 64  # which is also as many as the kernel cuts one piece into
    ROOM = 1000  # 64 of them make a datagram

cdef struct Slots:
    mmsghdr messages[BATCH]
    mmsghdr runs[BATCH]
    iovec parts[BATCH]
    sockaddr_in peers[BATCH]
    char notes[BATCH][NOTE]
    char space[BATCH][ROOM + 64]


cdef int join(Slots *s, int got, bint together) noexcept nogil:
    """Make runs of what was received, of one each unless `together`. Returns how many."""
    cdef int i, runs = 0
    cdef msghdr *run = NULL
    for i in range(got):
        if (together and run != NULL and s.messages[i].msg_len == s.messages[i - 1].msg_len
                and memcmp(&s.peers[i], &s.peers[i - 1], sizeof(sockaddr_in)) == 0):
            run.msg_iovlen += 1
            run.msg_control = s.notes[runs - 1]
            run.msg_controllen = 0
            set_segment(run, <unsigned short>s.messages[i].msg_len)
        else:
            run = &s.runs[runs].msg_hdr
            run[0] = s.messages[i].msg_hdr
            runs += 1
        s.parts[i].iov_len = s.messages[i].msg_len
    return runs


def serve(int fd, bint together=True):
    """Send every datagram of the socket back, each by itself unless `together`. Ends by an error of the socket only."""
    cdef Slots s
    cdef int i, got, runs, done, sent
    for i in range(BATCH):
        s.parts[i].iov_base = s.space[i]
        s.messages[i].msg_hdr.msg_name = &s.peers[i]
        s.messages[i].msg_hdr.msg_iov = &s.parts[i]
        s.messages[i].msg_hdr.msg_iovlen = 1
        s.messages[i].msg_hdr.msg_control = NULL
        s.messages[i].msg_hdr.msg_controllen = 0
    with nogil:
        while True:
            for i in range(BATCH):
                s.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in)
                s.parts[i].iov_len = ROOM
            got = recvmmsg(fd, s.messages, BATCH, MSG_WAITFORONE, NULL)
            if got < 0:
                if errno == EINTR:
                    continue
                break
            runs = join(&s, got, together)
            done = 0
            while done < runs:
                sent = sendmmsg(fd, s.runs + done, runs - done, 0)
                done += sent if sent > 0 else 1
    raise OSError(errno, "recvmmsg")
