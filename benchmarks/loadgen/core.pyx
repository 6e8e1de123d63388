"""See core.pxd. One thread, no Python object on a datagram's way, the interpreter's lock given up while it runs.

The generator reads with recvmmsg and sends with sendmmsg. It spins for SPIN without a datagram before it sleeps in
poll: a sleeping reader has to be woken by the server's send, and the server would pay for that.

A datagram is tied to its call by its ids. Call-ID, From tag and branch carry the call's place in the table and its
generation (and the branch the step): what belongs to an earlier generation of the place is *late*, what to none is a
*stray*, a repetition of what was dealt with is a *duplicate*, and anything else that is not what the step expects is
*wrong*. Of several peers at an end each has an address of its own, 127.64.0.1 and so on, and all of them share one
socket, which tells them apart by the address that a datagram came to: so they cost the generator, and the server whose
send wakes it, what one peer costs. A call belongs to one peer of its end; what comes to another one is *wrong*, too.

A call whose request stays unanswered is retransmitted after T1, 2 T1, ... up to T2 (RFC 3261 §17.1).
"""

import socket as sockets
import time

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from sipfast.transport.kernel cimport (
    MSG_DONTWAIT, NOTE, SIPFAST_PKTINFO, iovec, local_address, mmsghdr, msghdr, recvmmsg, sendmmsg, set_local_address,
    sockaddr_in,
)

from . import wire  # must be loaded first  # no-cython-lint
from .wire cimport OPTIONS, Out, Part, Scan, branch_of, hex_of, holds, put_hex, put_number, put_part, scan, tag_of, text

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <poll.h>
    #include <string.h>
    #include <time.h>
    static long long loadgen_now(void) {
        struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
    static long long loadgen_cpu(void) {
        struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
    static int loadgen_bucket(unsigned long long v) {  /* 11 significant bits, as in an HDR histogram */
        int shift; if (v < 2048) return (int)v;
        shift = 53 - __builtin_clzll(v); return (shift << 10) + (int)(v >> shift); }
    static unsigned long long loadgen_value(int i) {
        int shift; if (i < 2048) return i;
        shift = (i >> 10) - 1; return (unsigned long long)(i - (shift << 10)) << shift; }
    static int loadgen_poll(int a, int b, int ms) {
        struct pollfd f[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}}; return poll(f, b < 0 ? 1 : 2, ms); }
    static void loadgen_address(struct sockaddr_in *to, unsigned int address, unsigned short port) {
        memset(to, 0, sizeof *to);
        to->sin_family = AF_INET;
        to->sin_addr.s_addr = htonl(address);
        to->sin_port = htons(port);
    }
    static int loadgen_poll_out(int a, int ms) { struct pollfd f = {a, POLLOUT, 0}; return poll(&f, 1, ms); }
    """
    int64_t loadgen_now() nogil
    int64_t loadgen_cpu() nogil
    int loadgen_bucket(uint64_t value) nogil
    uint64_t loadgen_value(int bucket) nogil
    int loadgen_poll(int a, int b, int ms) nogil
    int loadgen_poll_out(int a, int ms) nogil
    void loadgen_address(sockaddr_in *to, unsigned int address, unsigned short port) nogil
    uint32_t htonl(uint32_t number) nogil
    uint32_t ntohl(uint32_t number) nogil

cdef enum:
    SPIN = 300_000          # ns
    LOOK_EVERY = 20_000_000  # ns between two looks at who is due for retransmission
    BURST = 32              # calls begun in one turn: a server's receive buffer holds 170 datagrams by default
    T2 = 8                  # times T1
    HOSTS = 250             # peers in one /24 of the 127.64/16 of callers or the 127.65/16 of callees

NAMES = (
    "begun", "completed", "sent", "received", "retransmitted", "duplicates", "late", "provisional", "wrong", "stray",
    "lost", "send_errors", "bytes_sent", "bytes_received",
)


cdef Part part(bytes data):
    cdef Part made
    made.p = data
    made.n = <int>len(data)
    return made


cdef inline uint32_t address_of(int end, uint32_t peer) noexcept nogil:
    return <uint32_t>127 << 24 | <uint32_t>(64 + end) << 16 | (peer // HOSTS) << 8 | (peer % HOSTS + 1)


cdef inline uint32_t peer_at(int end, uint32_t address) noexcept nogil:
    """A number that no peer has, where it is not an address of this end's."""
    cdef uint32_t host = address & 255
    if address >> 16 != (127 << 8 | <uint32_t>(64 + end)) or host == 0 or host > HOSTS:
        return <uint32_t>-1
    return (address >> 8 & 255) * HOSTS + host - 1


cdef inline void leave_from(msghdr *message, char *note, uint32_t address) noexcept nogil:
    cdef uint32_t ip = htonl(address)
    message.msg_control = note
    message.msg_controllen = NOTE
    set_local_address(message, 4, <const unsigned char *>&ip, 0)


cdef inline uint32_t came_to(msghdr *message) noexcept nogil:
    cdef const unsigned char *ip = local_address(message)
    cdef uint32_t address = 0
    if ip != NULL:
        memcpy(&address, ip, 4)
    return ntohl(address)


cdef class Generator:
    """Plays calls of one mode against a server on loopback.

    server: its (host, port). size: places in the table, which is users in modes with users. window: most calls at a
    time in a closed loop, where one begins as soon as another ends. rate: calls begun a second (an open loop) unless 0.
    t1: seconds. peers: addresses at each end; calls are dealt out to them in turn. One is the machine's 127.0.0.1.
    """

    def __cinit__(self, server, *, int size, int window=64, double rate=0, double t1=0.5, domain="example.test", int ends=1,
                  int peers=1, **more):
        cdef int i
        if not sockets.inet_aton(server[0]).startswith(b"\x7f"):
            raise ValueError("the load generator works on loopback only")
        if not 1 <= peers <= HOSTS * HOSTS:
            raise ValueError(f"1 to {HOSTS * HOSTS} peers")
        self.size = size
        self.peers = peers
        self.window = min(window, size)
        self.rate = rate
        self.t1 = <int64_t>(t1 * 1e9)
        self.end_count = ends
        self.ends[1].fd = -1
        self.calls = <Call *>calloc(size, sizeof(Call))
        self.active = <uint32_t *>calloc(size, sizeof(uint32_t))
        self.buckets = <uint64_t *>calloc(BUCKETS, sizeof(uint64_t))
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.parts = <iovec *>calloc(BATCH, sizeof(iovec))
        self.space = <char *>malloc(BATCH * (ROOM + 64))
        self.notes = <char *>calloc(BATCH, NOTE)
        self.senders = <sockaddr_in *>calloc(BATCH, sizeof(sockaddr_in))
        if not (self.calls and self.active and self.buckets and self.messages and self.parts and self.space
                and self.notes and self.senders):
            raise MemoryError
        for i in range(size):
            self.calls[i].number = i
            self.calls[i].peer = i % peers
        for i in range(BATCH):
            self.parts[i].iov_base = self.space + i * (ROOM + 64)
            self.parts[i].iov_len = ROOM
            self.messages[i].msg_hdr.msg_iov = &self.parts[i]
            self.messages[i].msg_hdr.msg_iovlen = 1
            self.make_room(i)
        loadgen_address(&self.to, int.from_bytes(sockets.inet_aton(server[0]), "big"), server[1])
        self.sockets = [self.opened(i, server) for i in range(ends)]
        names = [self.called(i) for i in range(ends)]
        where = b"%s:%d" % (server[0].encode(), server[1])
        mark = b"%08x" % (time.time_ns() // 1000 & 0xFFFFFFFF)
        self.kept = (names, where, domain.encode(), mark)
        for i in range(ends):
            for peer in range(peers):
                self.ends[i].names[peer] = part(names[i][peer])
        self.server, self.domain, self.mark = part(where), part(self.kept[2]), part(mark)

    def opened(self, int which, server):
        cdef int i
        cdef End *end = &self.ends[which]
        sock = sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)
        for option in (sockets.SO_RCVBUF, sockets.SO_SNDBUF):
            sock.setsockopt(sockets.SOL_SOCKET, option, 4 << 20)
        if self.peers == 1:
            sock.bind(("127.0.0.1", 0))
            sock.connect(server)  # spares the kernel the route of every datagram, and keeps others' datagrams away
        else:
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_BINDTODEVICE, b"lo")
            sock.setsockopt(sockets.IPPROTO_IP, SIPFAST_PKTINFO, 1)
            sock.bind(("0.0.0.0", 0))
        end.fd = sock.fileno()
        end.messages = <mmsghdr *>calloc(RING, sizeof(mmsghdr))
        end.parts = <iovec *>calloc(RING, sizeof(iovec))
        end.space = <char *>malloc(RING * (ROOM + 64))
        end.notes = <char *>calloc(RING, NOTE)
        end.names = <Part *>calloc(self.peers, sizeof(Part))
        if not (end.messages and end.parts and end.space and end.notes and end.names):
            raise MemoryError
        for i in range(RING):
            end.parts[i].iov_base = end.space + i * (ROOM + 64)
            end.messages[i].msg_hdr.msg_iov = &end.parts[i]
            end.messages[i].msg_hdr.msg_iovlen = 1
            if self.peers > 1:
                end.messages[i].msg_hdr.msg_name = &self.to
                end.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in)
        return sock

    def called(self, int end):
        """ "address:port" of each peer of an end."""
        host, port = self.sockets[end].getsockname()
        hosts = [host] if self.peers == 1 else [
            sockets.inet_ntoa(address_of(end, peer).to_bytes(4, "big")) for peer in range(self.peers)
        ]
        return [b"%s:%d" % (host.encode(), port) for host in hosts]

    cdef void make_room(self, int i) noexcept nogil:
        """For the addresses of a datagram: the kernel leaves there how much of the room it took."""
        if self.peers > 1:
            self.messages[i].msg_hdr.msg_name = &self.senders[i]
            self.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in)
            self.messages[i].msg_hdr.msg_control = self.notes + i * NOTE
            self.messages[i].msg_hdr.msg_controllen = NOTE

    def __dealloc__(self):
        cdef int i
        for i in range(2):
            free(self.ends[i].messages)
            free(self.ends[i].parts)
            free(self.ends[i].space)
            free(self.ends[i].notes)
            free(self.ends[i].names)
        free(self.calls)
        free(self.active)
        free(self.buckets)
        free(self.messages)
        free(self.parts)
        free(self.space)
        free(self.notes)
        free(self.senders)

    def close(self):
        for sock in self.sockets:
            sock.close()

    @property
    def ports(self):
        """The local port of each end."""
        return [sock.getsockname()[1] for sock in self.sockets]

    def counters(self):
        """What was counted since the last `reset`."""
        return {name: self.counts[i] for i, name in enumerate(NAMES)}

    def complaints(self):
        """The first messages that were wrong, with what was wrong with them."""
        cdef int i
        return [
            ((<bytes>self.reason[i]).decode(), (<bytes>self.complaint[i][:self.complaint_size[i]]))
            for i in range(self.complained)
        ]

    def latencies(self):
        """(nanoseconds, how many calls took that long), of all that were completed since the last `reset`."""
        return self.histogram(self.buckets)

    cdef list histogram(self, uint64_t *buckets):
        cdef int i
        return [(loadgen_value(i), buckets[i]) for i in range(BUCKETS) if buckets[i]]

    def reset(self):
        """Forget what was counted; calls in flight go on."""
        memset(self.counts, 0, sizeof(self.counts))
        memset(self.buckets, 0, BUCKETS * sizeof(uint64_t))
        self.idle = 0

    def set_rate(self, double rate):
        """Calls begun a second from now on; 0: a closed loop. In an open one all places may be in flight."""
        self.rate = rate

    def run(self, double seconds, *, int limit=0):
        """Begin calls for so long, or until `limit` were begun. Returns the seconds it took."""
        cdef int64_t begin = loadgen_now(), until = begin + <int64_t>(seconds * 1e9)
        self.most = self.counts[BEGUN] + limit if limit else <uint64_t>-1
        self.now = self.started = begin
        self.open_begun = 0
        with nogil:
            while self.now < until and self.counts[BEGUN] < self.most:
                self.turn(True)
        return (loadgen_now() - begin) / 1e9

    def drain(self, double seconds):
        """Let the calls in flight end; what has not after so long counts as lost and is given up."""
        cdef int64_t until = loadgen_now() + <int64_t>(seconds * 1e9)
        with nogil:
            while self.active_count and loadgen_now() < until:
                self.turn(False)
            self.counts[LOST] += self.active_count
            while self.active_count:
                self.finish(&self.calls[self.active[0]])

    cdef void turn(self, bint beginning) noexcept nogil:
        """Read what is there, begin what may begin, send all of it."""
        cdef int end, got = 0
        cdef int64_t began, waited, worked
        self.now = loadgen_now()
        for end in range(self.end_count):
            got += self.receive(end)
        if beginning:
            self.begin_some()
        for end in range(self.end_count):
            self.flush(end)
        if self.now >= self.next_look:
            self.look()
        if got:
            return
        worked = loadgen_cpu()
        began = waited = loadgen_now()
        while not got and waited < began + SPIN:
            waited = loadgen_now()
            for end in range(self.end_count):
                got += self.receive(end)
            if self.rate > 0:
                break
        if not got and self.rate == 0:
            loadgen_poll(self.ends[0].fd, self.ends[1].fd, 5)
        self.idle += loadgen_cpu() - worked
        for end in range(self.end_count):
            self.flush(end)

    cdef void begin_some(self) noexcept nogil:
        cdef int burst = <int>min(<uint64_t>BURST, self.most - self.counts[BEGUN])
        cdef uint64_t due
        if self.rate > 0:
            due = <uint64_t>((self.now - self.started) * 1e-9 * self.rate) + 1  # the first one at once
            while self.open_begun < due and self.active_count < self.size and burst:
                self.start_one(self.started + <int64_t>(self.open_begun * 1e9 / self.rate))
                self.open_begun += 1
                burst -= 1
            return
        while self.active_count < self.window and burst:
            self.start_one(self.now)
            burst -= 1

    cdef void start_one(self, int64_t began) noexcept nogil:
        cdef int _tried
        cdef Call *call = NULL
        for _tried in range(self.size):
            call = &self.calls[self.next_call]
            self.next_call += 1
            if self.next_call == self.size:
                self.next_call = 0
            if not call.active:
                break
        call.active = True
        call.gen += 1
        call.state = 0
        call.seen = 0
        call.leg = 1
        call.place = self.active_count
        self.active[self.active_count] = call.number
        self.active_count += 1
        call.began = began
        self.counts[BEGUN] += 1
        self.begin(call)

    cdef void finish(self, Call *call) noexcept nogil:
        call.active = False
        self.active_count -= 1
        self.active[call.place] = self.active[self.active_count]
        self.calls[self.active[call.place]].place = call.place

    cdef void complete(self, Call *call) noexcept nogil:
        self.tally(self.buckets, call.began)
        self.counts[COMPLETED] += 1
        self.finish(call)

    cdef int64_t clock(self) noexcept nogil:
        """Now, in ns, where `self.now` (when this turn began) is not near enough."""
        return loadgen_now()

    cdef void tally(self, uint64_t *buckets, int64_t since) noexcept nogil:
        """Note in a histogram how long ago that was."""
        cdef int bucket = loadgen_bucket(<uint64_t>max(loadgen_now() - since, 0))
        buckets[bucket if bucket < BUCKETS else BUCKETS - 1] += 1

    cdef void fail(self, Call *call, const char *reason, Scan *s) noexcept nogil:
        """The server did wrong: remember it, and give the call up."""
        self.note(reason, s)
        self.finish(call)

    cdef void note(self, const char *reason, Scan *s) noexcept nogil:
        cdef int size
        self.counts[WRONG] += 1
        if self.complained < COMPLAINTS:
            size = min(s.size, <int>sizeof(self.complaint[0]))
            self.reason[self.complained] = reason
            self.complaint_size[self.complained] = size
            memcpy(self.complaint[self.complained], s.data, size)
            self.complained += 1

    cdef void expect(self, Call *call) noexcept nogil:
        """A request has left: retransmit it by `again` until the mode says otherwise."""
        call.interval = self.t1
        call.due = self.now + call.interval

    cdef void look(self) noexcept nogil:
        """Retransmit what is due."""
        cdef int i
        cdef Call *call
        self.next_look = self.now + LOOK_EVERY
        for i in range(self.active_count):
            call = &self.calls[self.active[i]]
            if call.due <= self.now:
                call.interval = min(call.interval * 2, T2 * self.t1)
                call.due = self.now + call.interval
                self.counts[RETRANSMITTED] += 1
                self.again(call)

    # Reading and sending

    cdef int receive(self, int end) noexcept nogil:
        cdef Scan s
        cdef int i, got = recvmmsg(self.ends[end].fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
        if got <= 0:
            return 0
        self.counts[RECEIVED] += got
        for i in range(got):
            self.counts[BYTES_RECEIVED] += self.messages[i].msg_len
            if self.peers > 1 and not self.came(end, i):
                self.counts[STRAY] += 1
            elif scan(<const char *>self.parts[i].iov_base, self.messages[i].msg_len, &s) < 0:
                s.data = <const char *>self.parts[i].iov_base
                s.size = self.messages[i].msg_len
                self.note(b"not a SIP message", &s)
            elif s.status == 0 and s.method == OPTIONS and not holds(s.from_, b"@", 1):      # of the server itself
                self.answer_options(end, &s)
            else:
                self.received(end, &s)
        return got

    cdef void answer_options(self, int end, Scan *s) noexcept nogil:
        """A server may ask who registers whether it is there (RFC 3261 §11). It is no part of a call."""
        cdef Out out = self.out()
        cdef int i
        text(&out, b"SIP/2.0 200 OK\r\n")
        for i in range(s.vias):
            text(&out, b"Via: ")
            put_part(&out, s.via[i])
            text(&out, b"\r\n")
        text(&out, b"From: ")
        put_part(&out, s.from_)
        text(&out, b"\r\nTo: ")
        put_part(&out, s.to)
        text(&out, b";tag=o\r\nCall-ID: ")
        put_part(&out, s.call_id)
        text(&out, b"\r\nCSeq: ")
        put_number(&out, s.cseq)
        text(&out, b" OPTIONS\r\nContent-Length: 0\r\n\r\n")
        self.send_from(self.reached, end, &out)

    cdef bint came(self, int end, int i) noexcept nogil:
        """Note which peer it came to. False: it is of somebody else than the server."""
        cdef bint ours = memcmp(&self.senders[i], &self.to, sizeof(sockaddr_in)) == 0
        self.reached = peer_at(end, came_to(&self.messages[i].msg_hdr))
        self.make_room(i)
        return ours

    cdef Part here(self, Call *call, int end) noexcept nogil:
        """ "address:port" of the call's peer at this end."""
        return self.ends[end].names[call.peer]

    cdef Out out(self) noexcept nogil:
        """Room for a message that `send` takes; one at a time for each end, so write it and send it."""
        cdef Out made
        if self.ends[0].pending == RING:
            self.flush(0)
        if self.end_count == 2 and self.ends[1].pending == RING:
            self.flush(1)
        made.p = <char *>self.ends[0].parts[self.ends[0].pending].iov_base
        made.n = 0
        return made

    cdef void send(self, Call *call, int end, Out *out) noexcept nogil:
        self.send_from(call.peer, end, out)

    cdef void send_from(self, uint32_t peer, int end, Out *out) noexcept nogil:
        cdef End *e = &self.ends[end]
        cdef int slot = e.pending
        if end:  # it was written into the first end's ring
            memcpy(e.parts[slot].iov_base, out.p, out.n)
        e.parts[slot].iov_len = out.n
        if self.peers > 1:
            leave_from(&e.messages[slot].msg_hdr, e.notes + slot * NOTE, address_of(end, peer))
        e.pending += 1

    cdef void flush(self, int end) noexcept nogil:
        cdef End *e = &self.ends[end]
        cdef int i, done = 0, sent
        while done < e.pending:
            sent = sendmmsg(e.fd, e.messages + done, e.pending - done, MSG_DONTWAIT)
            if sent > 0:
                for i in range(done, done + sent):
                    self.counts[BYTES_SENT] += e.parts[i].iov_len
                done += sent
                self.counts[SENT] += sent
            elif errno == EAGAIN or errno == ENOBUFS:
                loadgen_poll_out(e.fd, 10)
            elif errno != EINTR:  # nobody listens there (ECONNREFUSED tells about an earlier one)
                self.counts[SEND_ERRORS] += 1
                done += 1
        e.pending = 0

    # What is common to all modes' messages

    cdef Call *find(self, Part id, Scan *s) noexcept nogil:
        """The call of an id that begins with place and generation; NULL, and counted, where there is none now."""
        cdef uint32_t number, gen
        cdef Call *call
        if id.n < 16 or hex_of(id.p, 8, &number) < 0 or hex_of(id.p + 8, 8, &gen) < 0 or number >= <uint32_t>self.size:
            self.counts[STRAY] += 1
            return NULL
        call = &self.calls[number]
        if call.gen == gen and call.active:
            if call.peer == self.reached:
                return call
            self.fail(call, b"it came to another peer than the call's", s)
            return NULL
        if gen <= call.gen:
            self.counts[LATE] += 1
        else:
            self.counts[STRAY] += 1
        return NULL

    cdef void put_id(self, Out *out, Call *call) noexcept nogil:
        put_hex(out, call.number)
        put_hex(out, call.gen)

    cdef void put_head(self, Out *out, Call *call, int end, const char *method, int step) noexcept nogil:
        """Via, Max-Forwards, Call-ID and CSeq of a request of this call."""
        text(out, b"Via: SIP/2.0/UDP ")
        put_part(out, self.here(call, end))
        text(out, b";branch=z9hG4bK")
        self.put_id(out, call)
        put_hex(out, call.cseq << 8 | call.leg << 4 | step)
        put_part(out, self.mark)
        text(out, b"\r\nMax-Forwards: 70\r\nCall-ID: ")
        self.put_id(out, call)
        put_part(out, self.mark)
        text(out, b"@127.0.0.")
        put_number(out, call.leg)
        text(out, b"\r\nCSeq: ")
        put_number(out, call.cseq)
        text(out, b" ")
        while method[0]:
            out.p[out.n] = method[0]
            out.n += 1
            method += 1
        text(out, b"\r\nUser-Agent: loadgen\r\n")

    cdef bint answers(self, Call *call, int end, Scan *s, int method, int step) noexcept nogil:
        """Whether a response is to the call's outstanding request: Via, branch, From tag, Call-ID, CSeq, To tag."""
        cdef Part branch = branch_of(s.via[0]), tag = tag_of(s.from_)
        cdef uint32_t number, gen, place
        if s.vias != 1 or branch.n != 39 or s.call_id.n != 34 or tag.n != 16:
            return False
        if s.call_id.p[33] != 48 + call.leg:
            return False
        if not (same_bytes(branch.p + 31, self.mark.p) and same_bytes(s.call_id.p + 16, self.mark.p)):
            return False
        if hex_of(branch.p + 7, 8, &number) or hex_of(branch.p + 15, 8, &gen) or hex_of(branch.p + 23, 8, &place):
            return False
        if number != call.number or gen != call.gen or place != (call.cseq << 8 | call.leg << 4 | <uint32_t>step):
            return False
        if hex_of(tag.p, 8, &number) or hex_of(tag.p + 8, 8, &gen) or number != call.number or gen != call.gen:
            return False
        return s.method == method and s.cseq == call.cseq and (s.status == 100 or tag_of(s.to).n > 0)

    cdef void begin(self, Call *call) noexcept nogil:
        pass

    cdef void again(self, Call *call) noexcept nogil:
        pass

    cdef void received(self, int end, Scan *s) noexcept nogil:
        pass


cdef inline bint same_bytes(const char *a, const char *b) noexcept nogil:
    cdef int i
    for i in range(8):
        if a[i] != b[i]:
            return False
    return True
