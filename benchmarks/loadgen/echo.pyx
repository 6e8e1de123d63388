"""A UDP echo in C's speed: recvmmsg, sendmmsg, nothing else. What a datagram costs the kernel."""

from libc.errno cimport EINTR, errno

from .core cimport iovec, mmsghdr

cdef extern from *:
    """
    #include <netinet/in.h>
    #include <sys/socket.h>
    """
    const int MSG_WAITFORONE
    struct sockaddr_in:
        unsigned short sin_family
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout) nogil
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags) nogil

cdef enum:
    BATCH = 64
    ROOM = 4096


def serve(int fd):
    """Send every datagram of the socket back. Ends by an error of the socket only."""
    cdef mmsghdr messages[BATCH]
    cdef iovec parts[BATCH]
    cdef sockaddr_in peers[BATCH]
    cdef char space[BATCH][ROOM + 64]
    cdef int i, got, done, sent
    for i in range(BATCH):
        parts[i].iov_base = space[i]
        messages[i].msg_hdr.msg_name = &peers[i]
        messages[i].msg_hdr.msg_iov = &parts[i]
        messages[i].msg_hdr.msg_iovlen = 1
        messages[i].msg_hdr.msg_control = NULL
        messages[i].msg_hdr.msg_controllen = 0
    with nogil:
        while True:
            for i in range(BATCH):
                messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in)
                parts[i].iov_len = ROOM
            got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL)
            if got < 0:
                if errno == EINTR:
                    continue
                break
            for i in range(got):
                parts[i].iov_len = messages[i].msg_len
            done = 0
            while done < got:
                sent = sendmmsg(fd, messages + done, got - done, 0)
                done += sent if sent > 0 else 1
    raise OSError(errno, "recvmmsg")
