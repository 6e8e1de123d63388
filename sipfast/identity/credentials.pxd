# What a request says to show who it is from: one value of Authorization or Proxy-Authorization. See credentials.pyx.

from .._grammar cimport Span

cdef enum Algorithm:
    ALGORITHM_NONE = 0      # one that we do not have
    ALGORITHM_MD5 = 1
    ALGORITHM_SHA256 = 2

cdef enum Qop:
    QOP_NONE = 0            # none was named: RFC 2069
    QOP_AUTH = 1
    QOP_AUTH_INT = 2
    QOP_OTHER = 3

# Spans are without quotes; empty where the parameter is missing.
cdef struct Credentials:
    Span username
    Span realm
    Span nonce
    Span uri
    Span response
    Span cnonce
    Span count              # nc
    int algorithm           # an Algorithm
    int qop                 # a Qop

# 1: read; 0: of another scheme than Digest; -1: malformed.
cdef int read_credentials(const unsigned char *p, Span value, Credentials *found) noexcept
# A copy of what stood between quotes, without its escapes.
cdef bytes unescaped(const unsigned char *p, Span span)
