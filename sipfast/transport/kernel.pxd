# What the kernel's calls for datagrams take, for whoever has sockets; the load generator of the benchmarks, too.

from libc.stdint cimport uint16_t, uint32_t

cdef extern from * nogil:
    """
    #include <errno.h>
    #include <string.h>
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <netinet/in.h>
    #if defined(__linux__)
    #define SIPFAST_MMSG 1
    #else
    #define SIPFAST_MMSG 0
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    static inline int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags) { errno = ENOSYS; return -1; }
    static inline int recvmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags, void *t) { errno = ENOSYS; return -1; }
    #endif
    /* The local address that a message leaves from, and the one that it came to (RFC 3542 §6.2, ip(7)), as control data. */
    #ifdef IP_PKTINFO
    #define SIPFAST_PKTINFO IP_PKTINFO
    static inline void set_local_address(struct msghdr *m, int family, const unsigned char *ip, unsigned int scope) {
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
    static inline const unsigned char *local_address(struct msghdr *m) {
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
    #define SIPFAST_PKTINFO -1
    static inline void set_local_address(struct msghdr *m, int f, const unsigned char *ip, unsigned int s) {
        m->msg_controllen = 0;
    }
    static inline const unsigned char *local_address(struct msghdr *m) { return NULL; }
    #endif
    /* The size of the pieces that a message is to be cut into, behind what its control data says already. */
    #ifdef __linux__
    #define SIPFAST_SEGMENT 103     /* UDP_SEGMENT of linux/udp.h, which older headers lack */
    static inline void set_segment(struct msghdr *m, unsigned short size) {
        struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = SIPFAST_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(c), &size, sizeof size);
        m->msg_controllen += CMSG_SPACE(sizeof size);
    }
    #else
    #define SIPFAST_SEGMENT -1
    static inline void set_segment(struct msghdr *m, unsigned short size) {}
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
    const int SIPFAST_PKTINFO, SIPFAST_SEGMENT      # options of a socket; -1 where the platform has none
    void set_local_address(msghdr *message, int family, const unsigned char *ip, unsigned int scope) noexcept
    const unsigned char *local_address(msghdr *message) noexcept        # NULL: it does not say
    void set_segment(msghdr *message, unsigned short size) noexcept
    ssize_t sendmsg(int fd, msghdr *message, int flags)
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)

cdef enum:
    NOTE = 64           # bytes of control data: an in6_pktinfo takes 40 of them, a segment's size 24
