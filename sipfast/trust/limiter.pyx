"""How many messages each source may send, so that a flood from one or from many leaves the server to its phones.

Asked for each datagram before anything is made of it. There are token buckets: of an address (an IPv6 one's first 64
bits, which one house has) and of a flow by which a phone has registered, each of BURST seconds; and of all strangers together.
What makes state here, such as an INVITE, has smaller ones of its own.

- A registered flow draws from its own bucket only: an office of 500 phones behind one address is no flood, and what others
  send from its address does not touch it. It counts once it has proven to receive what is sent to it (proven.pyx); else anybody
  could have any flow registered. So does one by which somebody has shown a password.
- The bucket of an address grows with the flows that have registered there, in this EPOCH or in the one before, so that the
  office comes back after a power cut with new NAT ports.
- An address without such flows is a stranger. What makes state draws from the bucket of all strangers, too, and REGISTERs from
  another one of theirs: many addresses get no more than that.
- What makes state is held for a while, so that a large one counts for several: its source can have a part of the memory only.
- Peers are exempt, and so is the server itself.

New AORs are counted by the address that binds them, in windows of an hour.

A stranger of whom much was refused within REFUSED_FOR, or who guesses passwords, is banned for a while: nothing of it is
looked at. Where a phone is registered nobody is banned.

The memory is fixed and may be a mapped file that workers share without a lock: of two who write one place at a time one is
lost, which costs a count. A newcomer takes the place of who was quiet longest, but not that of a registered flow, of an
address with some, or of a ban; where a set has only those it has no bucket of its own, and is a stranger among all.

The memory has a Head, four tags for each set, and the Shares: of who is not known a single line is read, and of who is known two.
"""

import ipaddress

import cython

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from .._flow cimport ADMITTED, DROPPED, OVER, Admission, Flow, Incoming
from .._hash cimport fold_bytes, fold_number
from .peers cimport Peers
from .proven cimport Proven

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *place) nogil

cdef enum:
    AHEAD = 16                  # messages whose senders are looked up together: as many lines as a core reads at a time
    PLACES = 4                  # of a set
    LEAST = 1 << 18             # bytes, where no memory is given
    SOURCE_4 = 1                # kinds of Share
    SOURCE_6 = 2
    FLOW = 3
    BURST = 5                   # seconds of a source's rate that may come at once
    TOGETHER = 1                # the same of all sources together: it has to be worked off within half a second
    EPOCH_BITS = 22             # of ms: 70 minutes; phones register within the hour
    REFUSED_FOR = 10            # of 1024 ms
    BOUND_FOR = 3516            # of 1024 ms: an hour
    FORM = 2                    # of the memory: other than any before
    LARGE = 4096                # bytes for which a message that makes state counts once more
    MOST_HEARD = 20_000         # a second, of messages beyond their share: looked at, since a dialog may go on by them
    MOST_ANSWERED = 200         # a second, of those who hear 503
    MOST_ROOM = 2_000_000_000   # thousandths

# What is told of a message by its first bytes.
cdef enum Kind:
    PLAIN                       # it makes no state
    REGISTERS
    MAKES_STATE


cdef inline uint32_t epoch_of(int64_t now) noexcept:
    return <uint32_t>(now >> EPOCH_BITS)


# A response and an ACK belong to state that is there, a CANCEL as well, and a REGISTER has none but what it binds (RFC 3261
# §8.2.7).
cdef inline Kind kind_of(const unsigned char *data, Py_ssize_t size) noexcept:
    if size < 8:
        return PLAIN            # a keep-alive, or garbage
    if data[0] == c'R':
        return REGISTERS if data[2] == c'G' else MAKES_STATE         # REFER
    if data[0] == c'A' or data[0] == c'C':
        return PLAIN if data[3] == c' ' or data[3] == c'C' else MAKES_STATE      # ACK, CANCEL
    return PLAIN if data[0] == c'S' and data[3] == c'/' else MAKES_STATE         # SIP/2.0


cdef inline int64_t filled(int64_t room, int64_t passed, int64_t rate, int64_t seconds) noexcept:
    # Thousandths of a message; `passed` ms.
    passed = min(max(passed, 0), seconds * 1000)
    return min(room + passed * rate, min(rate * seconds * 1000, MOST_ROOM))


cdef bint draw(Bucket *bucket, int64_t now) noexcept:
    bucket.room = filled(bucket.room, now - bucket.filled, bucket.rate, TOGETHER)
    bucket.filled = now
    if bucket.room < 1000:
        return False
    bucket.room -= 1000
    return True


# `cost`: thousandths of what makes state; 0: it makes none.
cdef bint draw_share(Share *share, int64_t rate, int64_t rate_new, int64_t cost, int64_t now) noexcept:
    cdef int64_t passed = now - share.filled
    share.room = <int32_t>filled(share.room, passed, rate, BURST)
    share.room_new = <int32_t>filled(share.room_new, passed, rate_new, BURST)
    share.filled = now
    if share.room < 1000 or (cost and share.room_new < 1000):
        return False
    share.room -= 1000
    share.room_new -= <int32_t>cost           # below zero, if need be: it is paid for by those that follow
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
        if self.memory.shape[0] < <Py_ssize_t>(sizeof(Head) + PLACES * (sizeof(uint32_t) + sizeof(Share))):
            raise ValueError(f"{self.memory.shape[0]} bytes hold no set of {PLACES} places of {sizeof(Share)} bytes")
        self.lay_out()
        self.heard.rate = MOST_HEARD
        self.answered.rate = MOST_ANSWERED
        self.configure(rates, 1)

    cdef int lay_out(self) except -1:
        cdef Head *head = <Head *>&self.memory[0]
        cdef uint64_t form = fold_number(self.secret, FORM)
        # The Shares begin with a line of the cache, so that the tags before them end with one: 4 sets have 64 bytes of tags.
        self.sets = (<uint64_t>self.memory.shape[0] - sizeof(Head)) // (PLACES * (sizeof(uint32_t) + sizeof(Share)))
        if self.sets >= 4:
            self.sets &= ~<uint64_t>3
        self.tags = <uint32_t *>(&self.memory[0] + sizeof(Head))
        self.shares = <Share *>(self.tags + self.sets * PLACES)
        if head.form != form:                 # of another store, or of an older version
            memset(head, 0, self.memory.shape[0])
            head.form = form
        return 0

    def configure(self, rates, int workers):
        """`rates`: config.Rates. `workers`: how many processes share what all strangers may do."""
        self.on = rates.enabled
        self.source, self.source_new = rates.source, rates.source_new
        self.binding, self.binding_new = rates.binding, rates.binding_new
        self.phone, self.phone_new = rates.phone, rates.phone_new
        self.source_aors = rates.source_aors
        self.strangers.rate = max(1, rates.strangers_new // workers)
        self.strangers_register.rate = max(1, rates.strangers_register // workers)
        self.ban_after = rates.ban_after
        self.ban_time = rates.ban_time * 1000

    def exempt(self, flows):
        """Our own addresses."""
        cdef Flow flow
        cdef Spot spot
        for flow in flows:
            if self.own_count < MOST_OWN:
                self.set_flow(&spot, flow.ip, flow.family, flow.port)
                self.own[self.own_count] = spot.who
                self.own_count += 1

    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept:
        cdef Spots spots[AHEAD]
        cdef Incoming *arrival
        cdef int i, first
        for i in range(count):
            arrivals[i].admission = ADMITTED
        if not self.on:
            return 0
        for first in range(0, count, AHEAD):
            arrival = arrivals + first
            self.fetch(arrival, spots, min(AHEAD, count - first))
            for i in range(min(AHEAD, count - first)):
                if arrival[i].size:
                    arrival[i].admission = self.admit_one(&arrival[i], &spots[i], now)
        return 0

    # Where the senders' Shares are, and have the lines read, all of them side by side: each takes as long as hundreds of
    # instructions where many addresses send.
    cdef int fetch(self, Incoming *arrivals, Spots *spots, int count) noexcept:
        cdef int i
        for i in range(count):
            if arrivals[i].size:
                self.set_flow(&spots[i].flow, arrivals[i].ip, arrivals[i].family, arrivals[i].port)
                self.set_address(&spots[i].address, arrivals[i].ip, arrivals[i].family)
                prefetch(self.tags + spots[i].flow.first)
                prefetch(self.tags + spots[i].address.first)
        for i in range(count):
            if arrivals[i].size:
                prefetch(self.guess(&spots[i].flow))
                prefetch(self.guess(&spots[i].address))
        return 0

    cdef Admission admit_one(self, Incoming *arrival, Spots *spots, int64_t now) noexcept:
        cdef Share *share
        cdef Kind kind
        cdef int64_t cost
        cdef int i
        if self.peers is not None and self.peers.has_address(arrival.ip, arrival.family):
            return ADMITTED
        kind = kind_of(arrival.data, arrival.size)
        cost = 1000 * (1 + arrival.size // LARGE) if kind == MAKES_STATE else 0
        share = self.find(&spots.flow)
        if share == NULL or not self.is_live(share, arrival.ip, arrival.family, arrival.port, now):
            for i in range(self.own_count):
                if self.own[i] == spots.flow.who:
                    return ADMITTED
            return self.admit_source(&spots.address, kind, cost, now)
        if draw_share(share, self.phone, self.phone_new, cost, now):
            return ADMITTED
        return self.over(cost > 0, now)

    cdef Admission admit_source(self, Spot *spot, int kind, int64_t cost, int64_t now) noexcept:
        cdef Share *share = self.find_or_make(spot, now)
        cdef uint32_t live = 0
        if share != NULL:
            if share.banned_until > now:
                self.dropped_banned += 1
                return DROPPED
            live = living(share, now)
            if not draw_share(share, self.source + live * self.binding, self.source_new + live * self.binding_new, cost, now):
                self.note_refusal(share, live, now)
                return self.over(cost > 0, now)
        if live == 0 and kind != PLAIN:
            if not draw(&self.strangers if kind == MAKES_STATE else &self.strangers_register, now):
                return self.over(cost > 0, now)
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
        cdef Share *share = self.share_of_flow(flow, now)
        if share == NULL or share.epoch == epoch_of(now):
            return 0
        share.epoch = epoch_of(now)
        share.proven = self.proven is not None and self.proven.has(answered, now)
        if share.proven:
            self.count_live(flow.ip, flow.family, now)
        else:
            self.is_live(share, flow.ip, flow.family, flow.port, now)
        return 0

    cdef int authenticated(self, Flow flow, int64_t now) except -1:
        cdef Share *share = self.share_of_flow(flow, now)
        if share != NULL and not (share.proven and share.epoch == epoch_of(now)):
            share.epoch = epoch_of(now)
            share.proven = True
            self.count_live(flow.ip, flow.family, now)
        return 0

    cdef bint is_live(self, Share *share, const unsigned char *ip, int family, int port, int64_t now) noexcept:
        if epoch_of(now) - share.epoch > 1:
            return False
        if not share.proven and (self.proven is None or self.proven.has_address(ip, family, port, now)):
            share.proven = True
            self.count_live(ip, family, now)
        return share.proven

    cdef int count_live(self, const unsigned char *ip, int family, int64_t now) noexcept:
        cdef Share *share = self.share_of(ip, family, now)
        cdef uint32_t epoch = epoch_of(now)
        if share == NULL:
            return 0
        if share.epoch != epoch:
            share.live_before = share.live if epoch - share.epoch == 1 else 0
            share.live = 0
            share.epoch = epoch
        share.live += 1
        return 0

    cdef bint may_bind(self, Flow flow, int64_t now) noexcept:
        cdef Share *share
        cdef uint32_t step = <uint32_t>(now >> 10)
        if not self.on or not self.source_aors or (self.peers is not None and self.peers.has_address(flow.ip, flow.family)):
            return True
        share = self.share_of(flow.ip, flow.family, now)
        if share == NULL:
            return True                       # the bound on AORs in all is left
        if step - share.bound_since > BOUND_FOR:
            share.bound_since = step
            share.bound = 0
        if share.bound >= self.source_aors:
            if share.bound == self.source_aors:
                share.bound += 1              # told once
                self.tell(share, False)
            self.refused_aors += 1
            return False
        share.bound += 1
        return True

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
        share = self.share_of(ip, family, now)
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
        found = [(shown(self.shares[i].who, self.shares[i].kind), self.shares[i].banned_until)
                 for i in range(self.sets * PLACES) if self.shares[i].banned_until > now and self.shares[i].kind]
        return sorted(found, key=ban_end)

    def ban_address(self, str address, int64_t until, int64_t now):
        """Ban an address, of IPv6 all with the same first 64 bits. False: phones live there, or it is a peer's."""
        cdef Flow flow = Flow(address, 0)
        return bool(self.ban(flow.ip, flow.family, until, now))

    def unban_address(self, str address):
        """End a ban. False: there was none."""
        cdef Flow flow = Flow(address, 0)
        cdef Spot spot
        cdef Share *share
        self.set_address(&spot, flow.ip, flow.family)
        share = self.find(&spot)
        if share == NULL or share.banned_until == 0:
            return False
        share.banned_until = share.refused_since = 0
        return True

    # ---- the memory

    cdef void set_flow(self, Spot *spot, const unsigned char *ip, int family, int port) noexcept:
        self.set(spot, FLOW, fold_bytes(
            fold_number(self.secret, <uint64_t>port << 8 | <uint64_t>family), ip, 4 if family == 4 else 16))

    cdef void set_address(self, Spot *spot, const unsigned char *ip, int family) noexcept:
        # An IPv4 address, or the first 64 bits of an IPv6 one.
        cdef uint64_t who = 0
        memcpy(&who, ip, 4 if family == 4 else 8)
        self.set(spot, SOURCE_4 if family == 4 else SOURCE_6, who)

    cdef void set(self, Spot *spot, uint8_t kind, uint64_t who) noexcept:
        # The upper half says which set, the lower one is the tag. A flow's name is such a hash already.
        cdef uint64_t hash = who if kind == FLOW else fold_number(self.secret ^ kind, who)
        spot.who = who
        spot.kind = kind
        spot.first = ((hash >> 32) * self.sets >> 32) * PLACES
        spot.tag = <uint32_t>hash if <uint32_t>hash else 1

    cdef Share *share_of(self, const unsigned char *ip, int family, int64_t now) noexcept:
        cdef Spot spot
        self.set_address(&spot, ip, family)
        return self.find_or_make(&spot, now)

    # NULL where it needs none: nobody is bounded, or it is a peer's.
    cdef Share *share_of_flow(self, Flow flow, int64_t now) noexcept:
        cdef Spot spot
        if not self.on or (self.peers is not None and self.peers.has_address(flow.ip, flow.family)):
            return NULL
        self.set_flow(&spot, flow.ip, flow.family, flow.port)
        return self.find_or_make(&spot, now)

    # What `find` will look at, but for chance.
    cdef Share *guess(self, Spot *spot) noexcept:
        cdef uint64_t i
        for i in range(spot.first, spot.first + PLACES):
            if self.tags[i] == spot.tag:
                return self.shares + i
        return self.shares + spot.first

    cdef Share *find(self, Spot *spot) noexcept:
        cdef uint64_t i
        for i in range(spot.first, spot.first + PLACES):
            if self.tags[i] == spot.tag and self.shares[i].who == spot.who and self.shares[i].kind == spot.kind:
                return self.shares + i
        return NULL

    cdef Share *find_or_make(self, Spot *spot, int64_t now) noexcept:
        cdef Share *share = self.find(spot)
        return share if share != NULL else self.make(spot, now)

    cdef Share *make(self, Spot *spot, int64_t now) noexcept:
        cdef uint64_t i, least = 0
        cdef Share *share = NULL
        for i in range(spot.first, spot.first + PLACES):
            if self.tags[i] == 0 or self.shares[i].kind == 0:
                least = i
                share = self.shares + i
                break
            if not keeps_its_place(self.shares + i, now) and (share == NULL or self.shares[i].filled < share.filled):
                least = i
                share = self.shares + i
        if share == NULL:
            return NULL
        memset(share, 0, sizeof(Share))
        share.who = spot.who
        share.filled = now
        share.room = <int32_t>min((self.phone if spot.kind == FLOW else self.source) * BURST * 1000, MOST_ROOM)
        share.room_new = <int32_t>min((self.phone_new if spot.kind == FLOW else self.source_new) * BURST * 1000, MOST_ROOM)
        share.kind = spot.kind
        self.tags[least] = spot.tag
        return share

    def counters(self):
        """What was counted since the start, by name."""
        return {"refused_over_rate": self.refused, "refused_new_over_rate": self.refused_new,
                "refused_aors_of_source": self.refused_aors, "dropped_of_banned": self.dropped_banned, "bans": self.bans_made}

    # ---- the Python face, for tests

    def admits(self, bytes data not None, Flow flow not None, int64_t now):
        """0: admitted; 1: dropped; 2: over, to be looked at."""
        cdef Incoming arrival
        arrival.data, arrival.size, arrival.ip, arrival.family, arrival.port = data, len(data), flow.ip, flow.family, flow.port
        self.admit(&arrival, 1, now)
        return <int>arrival.admission

    def note_registered(self, Flow flow not None, int64_t now):
        self.registered(flow, flow, now)

    def note_authenticated(self, Flow flow not None, int64_t now):
        self.authenticated(flow, now)

    def may_bind_one(self, Flow flow not None, int64_t now):
        return bool(self.may_bind(flow, now))


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
