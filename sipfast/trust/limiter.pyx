"""How many messages each source may send, so that a flood from one or from many leaves the server to its phones.

Asked for each datagram before anything is made of it. There are token buckets, each of BURST seconds: of an address (an IPv6
one's first 64 bits, which one house has), of a flow by which a phone has registered, and one of all strangers together. What
makes state here, such as an INVITE, has smaller ones of its own.

- A registered flow draws from its own bucket only: an office of 500 phones behind one address is no flood, and what others
  send from its address does not touch it. It counts once it has proven to receive what is sent to it (proven.pyx); else anybody
  could have any flow registered.
- The bucket of an address grows with the flows that have registered there, in this EPOCH or in the one before, so that the
  office comes back after a power cut with new NAT ports.
- An address without such flows is a stranger. What makes state draws from the bucket of all strangers, too: many addresses
  get no more than that.
- Peers are exempt, and so is the server itself.

A stranger of whom much was refused within REFUSED_FOR, or who guesses passwords, is banned for a while: nothing of it is
looked at. Where a phone is registered nobody is banned.

The memory is fixed and may be a mapped file that workers share without a lock: of two who write one place at a time one is
lost, which costs a count. A newcomer takes the place of who was quiet longest, but not that of a registered flow, of an
address with some, or of a ban; where a set has only those it has no bucket of its own, and is a stranger among all.
"""

import ipaddress

import cython

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from .._flow cimport ADMITTED, DROPPED, OVER, Admission, Flow
from .._hash cimport fold_bytes, fold_number
from .peers cimport Peers
from .proven cimport Proven

cdef enum:
    PLACES = 4                  # of a set
    LEAST = 1 << 18             # bytes, where no memory is given
    SOURCE_4 = 1                # kinds of Share
    SOURCE_6 = 2
    FLOW = 3
    BURST = 5                   # seconds of a rate that may come at once
    EPOCH_BITS = 22             # of ms: 70 minutes; phones register within the hour
    REFUSED_FOR = 10            # of 1024 ms
    MOST_HEARD = 20_000         # a second, of messages beyond their share: looked at, since a dialog may go on by them
    MOST_ANSWERED = 200         # a second, of those who hear 503


cdef inline uint32_t epoch_of(int64_t now) noexcept:
    return <uint32_t>(now >> EPOCH_BITS)


# What makes no state here. A response and an ACK belong to some, a CANCEL as well, and a REGISTER has none (RFC 3261 §8.2.7).
cdef inline bint makes_state(const unsigned char *data, Py_ssize_t size) noexcept:
    if size < 8:
        return False            # a keep-alive, or garbage
    if data[0] == c'R':
        return data[2] != c'G'                                       # REFER
    if data[0] == c'A' or data[0] == c'C':
        return not (data[3] == c' ' or data[3] == c'C')              # ACK, CANCEL
    return not (data[0] == c'S' and data[3] == c'/')                 # SIP/2.0


cdef inline int64_t filled(int64_t room, int64_t passed, int64_t rate) noexcept:
    # Thousandths of a message; `passed` ms.
    passed = min(max(passed, 0), BURST * 1000)
    return min(room + passed * rate, rate * BURST * 1000)


cdef bint draw(Bucket *bucket, int64_t now) noexcept:
    bucket.room = filled(bucket.room, now - bucket.filled, bucket.rate)
    bucket.filled = now
    if bucket.room < 1000:
        return False
    bucket.room -= 1000
    return True


cdef bint draw_share(Share *share, int64_t rate, int64_t rate_new, bint new, int64_t now) noexcept:
    cdef int64_t passed = now - share.filled
    share.room = filled(share.room, passed, rate)
    share.room_new = filled(share.room_new, passed, rate_new)
    share.filled = now
    if share.room < 1000 or (new and share.room_new < 1000):
        return False
    share.room -= 1000
    if new:
        share.room_new -= 1000
    return True


# Flows registered at an address.
cdef uint32_t living(Share *share, int64_t now) noexcept:
    cdef uint32_t passed = epoch_of(now) - share.epoch
    return max(share.live, share.live_before) if passed == 0 else share.live if passed == 1 else 0


cdef bint keeps_its_place(Share *share, int64_t now) noexcept:
    if share.banned_until > now:
        return True
    if share.kind == FLOW:
        return share.proven and epoch_of(now) - share.epoch <= 1
    return living(share, now) > 0


@cython.final
cdef class Limiter:

    def __init__(self, rates, secret, memory=None, Peers peers=None, Proven proven=None):
        self.secret = secret & 0xFFFFFFFFFFFFFFFF
        self.memory = bytearray(LEAST) if memory is None else memory
        self.peers = peers
        self.proven = proven
        if self.memory.shape[0] < <Py_ssize_t>(PLACES * sizeof(Share)):
            raise ValueError(f"{self.memory.shape[0]} bytes hold no set of {PLACES} places of {sizeof(Share)} bytes")
        while (self.sets + 1) * 2 * PLACES * sizeof(Share) <= <uint64_t>self.memory.shape[0]:
            self.sets = self.sets * 2 + 1
        self.places = <Share *>&self.memory[0]
        self.heard.rate = MOST_HEARD
        self.answered.rate = MOST_ANSWERED
        self.configure(rates, 1)

    def configure(self, rates, int workers):
        """`rates`: config.Rates. `workers`: how many processes share what all strangers may do."""
        self.on = rates.enabled
        self.source, self.source_new = rates.source, rates.source_new
        self.binding, self.binding_new = rates.binding, rates.binding_new
        self.phone, self.phone_new = rates.phone, rates.phone_new
        self.strangers.rate = max(1, rates.strangers_new // workers)
        self.ban_after = rates.ban_after
        self.ban_time = rates.ban_time * 1000

    def exempt(self, flows):
        """Our own addresses."""
        cdef Flow flow
        for flow in flows:
            if self.own_count < MOST_OWN:
                self.own[self.own_count] = self.flow_hash(flow.ip, flow.family, flow.port)
                self.own_count += 1

    cdef Admission admit(self, const unsigned char *data, Py_ssize_t size, const unsigned char *ip, int family, int port,
                         int64_t now) noexcept:
        cdef Share *share
        cdef uint64_t who
        cdef bint new
        cdef int i
        if not self.on or (self.peers is not None and self.peers.has_address(ip, family)):
            return ADMITTED
        new = makes_state(data, size)
        who = self.flow_hash(ip, family, port)
        share = self.find(who, FLOW)
        if share == NULL or not self.is_live(share, ip, family, port, now):
            for i in range(self.own_count):
                if self.own[i] == who:
                    return ADMITTED
            return self.admit_source(ip, family, new, now)
        if draw_share(share, self.phone, self.phone_new, new, now):
            return ADMITTED
        return self.over(new, now)

    cdef Admission admit_source(self, const unsigned char *ip, int family, bint new, int64_t now) noexcept:
        cdef Share *share = self.find_or_make(address_of(ip, family), SOURCE_4 if family == 4 else SOURCE_6, now)
        cdef uint32_t live = 0
        if share != NULL:
            if share.banned_until > now:
                self.dropped_banned += 1
                return DROPPED
            live = living(share, now)
            if not draw_share(share, self.source + live * self.binding, self.source_new + live * self.binding_new, new, now):
                self.note_refusal(share, live, now)
                return self.over(new, now)
        if new and live == 0 and not draw(&self.strangers, now):
            return self.over(new, now)
        return ADMITTED

    cdef Admission over(self, bint new, int64_t now) noexcept:
        self.refused += 1
        if not new:
            return DROPPED
        self.refused_new += 1
        return OVER if draw(&self.heard, now) else DROPPED

    cdef bint may_answer(self, int64_t now) noexcept:
        return draw(&self.answered, now)

    # ---- registered flows

    cdef int registered(self, Flow flow, Flow answered, int64_t now) except -1:
        cdef uint64_t who = self.flow_hash(flow.ip, flow.family, flow.port)
        cdef Share *share
        if not self.on or (self.peers is not None and self.peers.has_address(flow.ip, flow.family)):
            return 0
        share = self.find_or_make(who, FLOW, now)
        if share == NULL:
            return 0
        if share.epoch == epoch_of(now):
            return 0
        share.epoch = epoch_of(now)
        share.proven = self.proven is not None and self.proven.has(answered, now)
        if share.proven:
            self.count_live(flow.ip, flow.family, now)
        else:
            self.is_live(share, flow.ip, flow.family, flow.port, now)
        return 0

    cdef bint is_live(self, Share *share, const unsigned char *ip, int family, int port, int64_t now) noexcept:
        if epoch_of(now) - share.epoch > 1:
            return False
        if not share.proven and (self.proven is None or self.proven.has_address(ip, family, port, now)):
            share.proven = True
            self.count_live(ip, family, now)
        return share.proven

    cdef int count_live(self, const unsigned char *ip, int family, int64_t now) noexcept:
        cdef Share *share = self.find_or_make(address_of(ip, family), SOURCE_4 if family == 4 else SOURCE_6, now)
        cdef uint32_t epoch = epoch_of(now)
        if share == NULL:
            return 0
        if share.epoch != epoch:
            share.live_before = share.live if epoch - share.epoch == 1 else 0
            share.live = 0
            share.epoch = epoch
        share.live += 1
        return 0

    # ---- bans

    cdef int note_refusal(self, Share *share, uint32_t live, int64_t now) noexcept:
        cdef uint32_t step = <uint32_t>(now >> 10)
        if step - share.refused_since > REFUSED_FOR:
            share.refused_since = step
            share.refused = 0
            self.tell(share, False)
        share.refused += 1
        if self.ban_after and live == 0 and share.refused >= self.ban_after:
            share.banned_until = now + self.ban_time
            share.refused_since = 0
            self.bans_made += 1
            self.tell(share, True)
        return 0

    cdef bint ban(self, const unsigned char *ip, int family, int64_t until, int64_t now) noexcept:
        cdef Share *share
        if self.peers is not None and self.peers.has_address(ip, family):
            return False
        share = self.find_or_make(address_of(ip, family), SOURCE_4 if family == 4 else SOURCE_6, now)
        if share == NULL or living(share, now):
            return False
        share.banned_until = until
        self.bans_made += 1
        self.tell(share, True)
        return True

    cdef int tell(self, Share *share, bint banned) noexcept:
        if self.told < MOST_NEWS:
            self.news[self.told].who = share.who
            self.news[self.told].kind = share.kind
            self.news[self.told].banned = banned
            self.told += 1
        return 0

    def take_news(self):
        """What people are to be told: (address or network, whether it was banned), each once."""
        cdef int i
        told = {shown(self.news[i].who, self.news[i].kind): bool(self.news[i].banned) for i in range(self.told)
                if self.news[i].kind != FLOW}
        self.told = 0
        return list(told.items())

    def bans(self, int64_t now):
        """Who is banned, and until when (ms since the epoch), the first to end first."""
        cdef uint64_t i
        found = [(shown(self.places[i].who, self.places[i].kind), self.places[i].banned_until)
                 for i in range((self.sets + 1) * PLACES) if self.places[i].banned_until > now and self.places[i].kind]
        return sorted(found, key=ban_end)

    def ban_address(self, str address, int64_t until, int64_t now):
        """Ban an address, of IPv6 all with the same first 64 bits. False: phones live there, or it is a peer's."""
        cdef Flow flow = Flow(address, 0)
        return bool(self.ban(flow.ip, flow.family, until, now))

    def unban_address(self, str address):
        """End a ban. False: there was none."""
        cdef Flow flow = Flow(address, 0)
        cdef Share *share = self.find(address_of(flow.ip, flow.family), SOURCE_4 if flow.family == 4 else SOURCE_6)
        if share == NULL or share.banned_until == 0:
            return False
        share.banned_until = share.refused_since = 0
        return True

    # ---- the memory

    cdef uint64_t flow_hash(self, const unsigned char *ip, int family, int port) noexcept:
        return fold_bytes(fold_number(self.secret, <uint64_t>port << 8 | <uint64_t>family), ip, 4 if family == 4 else 16)

    cdef Share *find(self, uint64_t who, int kind) noexcept:
        cdef Share *share = self.places + (fold_number(self.secret ^ <uint64_t>kind, who) & self.sets) * PLACES
        cdef int i
        for i in range(PLACES):
            if share[i].who == who and share[i].kind == kind:
                return share + i
        return NULL

    cdef Share *find_or_make(self, uint64_t who, int kind, int64_t now) noexcept:
        cdef Share *share = self.find(who, kind)
        cdef Share *least = NULL
        cdef int i
        if share != NULL:
            return share
        share = self.places + (fold_number(self.secret ^ <uint64_t>kind, who) & self.sets) * PLACES
        for i in range(PLACES):
            if share[i].kind == 0:
                return self.make(share + i, who, kind, now)
            if not keeps_its_place(share + i, now) and (least == NULL or share[i].filled < least.filled):
                least = share + i
        return NULL if least == NULL else self.make(least, who, kind, now)

    cdef Share *make(self, Share *share, uint64_t who, int kind, int64_t now) noexcept:
        memset(share, 0, sizeof(Share))
        share.who = who
        share.filled = now
        share.room = (self.phone if kind == FLOW else self.source) * BURST * 1000
        share.room_new = (self.phone_new if kind == FLOW else self.source_new) * BURST * 1000
        share.kind = <uint8_t>kind
        return share

    def counters(self):
        """What was counted since the start, by name."""
        return {"refused_over_rate": self.refused, "refused_new_over_rate": self.refused_new,
                "dropped_of_banned": self.dropped_banned, "bans": self.bans_made}

    # ---- the Python face, for tests

    def admits(self, bytes data not None, Flow flow not None, int64_t now):
        """0: admitted; 1: dropped; 2: over, to be looked at."""
        return <int>self.admit(data, len(data), flow.ip, flow.family, flow.port, now)

    def note_registered(self, Flow flow not None, int64_t now):
        self.registered(flow, flow, now)


cdef uint64_t address_of(const unsigned char *ip, int family) noexcept:
    # An IPv4 address, or the first 64 bits of an IPv6 one.
    cdef uint64_t who = 0
    memcpy(&who, ip, 4 if family == 4 else 8)
    return who


cdef object shown(uint64_t who, int kind):
    cdef unsigned char ip[16]
    memset(ip, 0, sizeof(ip))
    memcpy(ip, &who, 8)
    if kind == SOURCE_4:
        return str(ipaddress.ip_address(<bytes>ip[:4]))
    return str(ipaddress.ip_network((<bytes>ip[:16], 64)))


def ban_end(ban):
    """Sort key of bans."""
    return ban[1]
