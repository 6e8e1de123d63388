# The values of Via, and of From, To, Contact, Route and their like.

from libc.stdint cimport int32_t

from ._grammar cimport Span
from ._uri cimport Uri

cdef struct Via:
    Span all            # this value only, of possibly several on the line; empty where it is malformed
    Span transport      # UDP, TCP, ...
    Span host
    int port            # -1 where absent
    Span branch
    Span received
    Span rport          # the parameter's value
    bint has_rport      # present, with or without a value
    int32_t rport_end   # one past 'rport' when has_rport and it has no value
    int rport_port      # the value as a port; 0: it has none, -1: what it has is no port
    Span params
    bint magic          # the branch begins with z9hG4bK and is longer than that

cdef struct Address:    # name-addr or addr-spec with header parameters
    Span all            # empty where it is malformed
    Span display        # quotes included
    Uri uri
    Span tag            # the tag parameter; empty where absent
    Span params         # header parameters from the first ';' (included)

# One via-parm from i: returns where its comma or the end is, or -1. What was read before the fault stays in `via`.
cdef int32_t read_via(const unsigned char *p, int32_t i, int32_t end, Via *via) noexcept
# 1, 0 where the span is empty, -1 where it is malformed.
cdef int read_address(const unsigned char *p, Span span, Address *address) noexcept
# Past the comment and the parameters that may follow a number (RFC 3261 §20.33, RFC 4028 §4), or -1.
cdef int32_t tail_end(const unsigned char *p, int32_t i, int32_t end) noexcept
