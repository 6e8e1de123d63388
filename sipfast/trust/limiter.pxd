# How many messages each source may send: token buckets in fixed memory. See limiter.pyx.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from .._flow cimport Admission, Flow, Incoming
from .peers cimport Peers
from .proven cimport Proven

cdef enum:
    MOST_NEWS = 32          # between two looks
    MOST_OWN = 16           # addresses of our own

# What is known of an address (/64 of IPv6), or of a registered flow: one line of the processor's cache.
cdef struct Share:
    uint64_t who            # the address; of a flow a keyed hash
    int64_t filled          # when both buckets were filled last, ms
    int64_t banned_until    # ms; 0: not
    int32_t room            # thousandths of a message
    int32_t room_new        # the same, of what makes state
    uint32_t refused_since  # from when on `refused` counts: 1024 ms each
    uint32_t refused
    uint32_t epoch          # that `live` counts
    uint32_t live           # flows at this address that have registered in this epoch
    uint32_t live_before    # in the one before
    uint32_t bound_since    # from when on `bound` counts: 1024 ms each
    uint32_t bound          # AORs that had no binding before
    uint8_t kind            # 0: free
    uint8_t proven          # of a flow: that it was seen to receive what is sent to it
    uint8_t unused[2]

# Where a Share is, or would be.
cdef struct Spot:
    uint64_t who
    uint64_t first          # of the places of its set
    uint32_t tag            # never 0
    uint8_t kind

cdef struct Spots:
    Spot flow
    Spot address

# What the memory begins with, a line of the cache as well.
cdef struct Head:
    uint64_t form           # of all that follows, and whose it is
    uint64_t unused[7]

# One bucket for all sources together.
cdef struct Bucket:
    int64_t room            # thousandths
    int64_t filled          # ms
    int64_t rate            # a second

cdef struct News:
    uint64_t who
    uint8_t kind
    uint8_t banned

cdef class Limiter:
    cdef bint on
    cdef unsigned char[::1] memory
    cdef uint32_t *tags                  # PLACES for each set: 0 is free
    cdef Share *shares                   # as many
    cdef uint64_t sets
    cdef uint64_t secret
    cdef Peers peers
    cdef Proven proven
    # Messages a second
    cdef int64_t source, source_new, binding, binding_new, phone, phone_new
    cdef int64_t source_aors             # an hour; 0: no bound
    cdef int64_t ban_after, ban_time     # refused messages; ms
    cdef Bucket strangers, strangers_register, heard, answered
    cdef uint64_t own[MOST_OWN]          # keyed hashes of our own listeners: calls of the server's own come by its front door
    cdef int own_count
    cdef News news[MOST_NEWS]            # what people are to be told
    cdef readonly int told               # how many of these there are
    cdef readonly uint64_t refused, refused_new, refused_aors, dropped_banned, bans_made

    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept
    # Whether its sender may hear that it sends too much.
    cdef bint may_answer(self, int64_t now) noexcept
    # A phone has registered by this flow, and is answered by that one.
    cdef int registered(self, Flow flow, Flow answered, int64_t now) except -1
    # Who sends by this flow has shown a password, in answer to a challenge that was sent there.
    cdef int authenticated(self, Flow flow, int64_t now) except -1
    # Whether one more AOR may be bound from this address, to which nothing was bound; it counts as bound.
    cdef bint may_bind(self, Flow flow, int64_t now) noexcept
    # Somebody at this address has done what is not done. False: phones live there, or it is a peer.
    cdef bint ban(self, const unsigned char *ip, int family, int64_t until, int64_t now) noexcept

    cdef int lay_out(self) except -1
    cdef int fetch(self, Incoming *arrivals, Spots *spots, int count) noexcept
    cdef Admission admit_one(self, Incoming *arrival, Spots *spots, int64_t now) noexcept
    cdef Admission admit_source(self, Spot *spot, int kind, int64_t cost, int64_t now) noexcept
    cdef Admission over(self, bint new, int64_t now) noexcept
    cdef bint is_live(self, Share *share, const unsigned char *ip, int family, int port, int64_t now) noexcept
    cdef void set_flow(self, Spot *spot, const unsigned char *ip, int family, int port) noexcept
    cdef void set_address(self, Spot *spot, const unsigned char *ip, int family) noexcept
    cdef void set(self, Spot *spot, uint8_t kind, uint64_t who) noexcept
    cdef Share *share_of(self, const unsigned char *ip, int family, int64_t now) noexcept
    cdef Share *share_of_flow(self, Flow flow, int64_t now) noexcept
    cdef Share *guess(self, Spot *spot) noexcept
    cdef Share *find(self, Spot *spot) noexcept
    cdef Share *find_or_make(self, Spot *spot, int64_t now) noexcept
    cdef Share *make(self, Spot *spot, int64_t now) noexcept
    cdef int count_live(self, const unsigned char *ip, int family, int64_t now) noexcept
    cdef int note_refusal(self, Share *share, uint32_t live, int64_t now) noexcept
    cdef int tell(self, Share *share, bint banned) noexcept
