# The ways to phones that our Path and Record-Route values carry (RFC 5626 §5), and where they lead after a NAT's rebinding.

from libc.stdint cimport int64_t, uint32_t

from .._flow cimport Flow
from .._parser cimport Message
from .token cimport Token, Tokens
from ..transaction.transaction cimport Guide

cdef class Outbound(Guide):
    cdef readonly Tokens tokens
    cdef tuple listeners
    cdef dict moves                      # address of a flow (address_of) -> tuple of records.Move
    cdef dict numbers                    # records.Move -> which one it was
    cdef list dropped                    # records.Move that are still in the store
    # The Record-Route line or lines of a request that came by one flow and leaves by another (RFC 3261 §16.6 step 4): one
    # value where both share a listener, else one for each side (RFC 5658).
    cdef bytes record_route(self, Message request, Flow came, Flow out)
    # Our URI with a token for a registered phone, and the Path line with it (RFC 3327 §5.2).
    cdef bytes uri_of(self, Flow way, bytes aor)
    cdef bytes path(self, Flow way, bytes aor)
    # The flow to one end of a token, followed through what has moved since; None where it is gone.
    cdef Flow way(self, const Token *token, int end, Message request, int64_t now)
    # Take note of a move, for as long as it says.
    cpdef int moved(self, move) except -1
    # Give up what no call can need any more; returns that, and what else was dropped since, for the store to forget.
    cpdef list expire(self, int64_t now)
    cdef int drop(self, move) except -1
    cdef bint has(self, move) except -1
    cdef char *put_line(self, char *to, int kind, Flow first, Flow second, uint32_t digest) noexcept
    # Where the moves of one phone lead. It is known by its AOR, its Contact or a token for it; `token` may be NULL.
    cdef Flow after_moves(self, Flow flow, const Token *token, bytes aor, bytes contact, uint32_t since, int64_t now)

# RFC 3261 §18.2.2: to the source address and the port of the Via; RFC 3581 §4: to the source port where it has rport.
cdef Flow answer_flow(Message request, Flow flow)
