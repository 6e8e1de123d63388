# Flow tokens (RFC 5626 §5): the way to a peer as the user part of our own URI in Path and Record-Route. See token.pyx.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from .._flow cimport Flow
from .._hash cimport Secret
from .._parser cimport Message, Span

cdef enum TokenKind:
    TOKEN_NONE = 0
    TOKEN_PATH = 1          # the flow of a REGISTER; the digest is of its AOR
    TOKEN_CALLER = 2        # the flow of the side that sent the request which made the dialog; the digest is of the call
    TOKEN_CALLEE = 3        # the flow of the other side
    TOKEN_BOTH = 4          # both, in this order: they share a listener

cdef enum:
    MOST_TOKEN = 64         # characters; 40 where the addresses are IPv4
    KEY_SIZE = 24

# One end of a way.
cdef struct End:
    unsigned char ip[16]    # network order; the first four bytes for family 4
    uint32_t scope          # the interface of a link-local peer, else 0
    uint16_t port
    unsigned char own       # an Own: the local address that what is sent leaves from

# What a token says.
cdef struct Token:
    int kind                # a TokenKind
    int family              # 4 or 6
    int local               # the listener
    uint32_t digest
    End ends[2]             # the second one with TOKEN_BOTH only
    unsigned char own[16]   # the local address, where it is not the listener's public one

cdef class Tokens:
    cdef Secret secret
    cdef list publics       # of each listener: packed public address where it listens on all of them, else None
    cdef list families      # of each listener: 4 or 6
    cdef int put_check(self, unsigned char *to, const unsigned char *data, int size) noexcept
    cdef int own_of(self, Flow flow) noexcept
    # 32 bits of a keyed hash. Of a call: Call-ID and the tag of who made the dialog.
    cdef uint32_t digest_of_call(self, Message request, Span tag) noexcept
    cdef uint32_t digest_of_aor(self, bytes aor) noexcept
    # Write a token for one flow, or for two of one listener; its length, or 0 where it would be too long.
    # `to` has room for MOST_TOKEN.
    cdef int write(self, char *to, int kind, Flow first, Flow second, uint32_t digest) noexcept
    # Whether a user part is a token of ours; then it is read.
    cdef bint read(self, const unsigned char *p, Span user, Token *token) noexcept
    # A key to a token of a call, which stands beside it in its URI and leaves in no datagram but those to the token's first
    # end: who shows it receives there. KEY_SIZE hex digits: when it was made, and a check of that and of the token.
    cdef bytes key_of(self, const Token *token, int64_t now)
    cdef bint is_key(self, const Token *token, const unsigned char *p, Span key, int64_t now) noexcept
    cdef uint64_t key_check(self, const Token *token, uint64_t made) noexcept
    # The flow to one end, 0 or 1; None where no listener is left for it.
    cdef Flow flow_to(self, const Token *token, int end)

# Whether a user part begins like a token: then it is one, or a forged or outdated one.
cdef bint looks_like_token(const unsigned char *p, Span user) noexcept
