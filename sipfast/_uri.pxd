# URIs: reading, the canonical address of record.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t

from ._grammar cimport C_RESERVED, CLASS, HEX, Span, lower

cdef enum Scheme:
    SCHEME_OTHER = 0
    SCHEME_SIP
    SCHEME_SIPS
    SCHEME_TEL

cdef struct Uri:
    int scheme          # a Scheme
    int port            # -1 where absent
    Span all            # empty where the URI is malformed
    Span user           # empty where absent; for tel: the number
    Span password
    Span host           # IPv6 with its brackets
    Span params         # from the first ';' (included) up to '?' or the end; empty where absent
    Span headers        # after '?'

# A URI in memory of its own, for what is not inside a message. 1, 0 where it is empty, -1 where it is malformed.
cdef int parse_uri_at(const unsigned char *p, int32_t start, int32_t end, Uri *uri) noexcept
# What may stand in a Request-URI of a URI that is read: without its headers and its `method` (RFC 3261 §16.6 step 2,
# §19.1.1 table 1). The same object where nothing goes, and where it is no SIP URI.
cdef bytes as_request_uri(bytes uri)
# 4 or 6 for an IP literal (IPv6 with or without brackets), with its address; 0 for anything else.
cdef int read_ip(const unsigned char *p, Span host, unsigned char *ip) noexcept
# A host to compare by: lower-case, an IPv6 reference as the one text of its address (RFC 5954 §4.2, RFC 5952), with its
# brackets. Writes at most its length and MOST_HOST, returns the length.
cdef enum:
    MOST_HOST = 48
cdef Py_ssize_t write_host(const unsigned char *p, Span host, char *out) noexcept
# The same without brackets; and of a text of the configuration, which has an IPv6 address with brackets or without.
cdef bytes plain_host(const unsigned char *p, Span host)
cdef bytes plain_host_of(bytes text)
# Whether it is that host, as plain_host has written it; False for an IPv6 address, which has many spellings.
cdef inline bint is_plain_host(const unsigned char *p, Span host, bytes plain) noexcept:
    cdef const unsigned char *q = <const unsigned char *>PyBytes_AS_STRING(plain)
    cdef int32_t i
    if host.end - host.start != PyBytes_GET_SIZE(plain):
        return False
    for i in range(host.end - host.start):
        if lower(p[host.start + i]) != q[i]:
            return False
    return True

# The next character of a text; an escape is its character, but 256 more where the character is reserved (§19.1.4).
cdef inline int next_unit(const unsigned char *p, int32_t *i, int32_t end, bint fold) noexcept:
    cdef int c = p[i[0]]
    if c == c'%' and i[0] + 2 < end:
        c = HEX[p[i[0] + 1]] << 4 | HEX[p[i[0] + 2]]
        i[0] += 3
        if CLASS[c & 255] & C_RESERVED:
            return 256 + c
    else:
        i[0] += 1
    return lower(<unsigned char>c) if fold else c

# Whether two texts are the same by their units, without regard to ASCII case where `fold` says so; and two hosts.
cdef bint same_text(const unsigned char *p, Span a, const unsigned char *q, Span b, bint fold) noexcept
cdef bint same_host_text(const unsigned char *p, Span a, const unsigned char *q, Span b) noexcept
# Telephone numbers without their visual separators (RFC 3966 §4): whether they are the same, and whether a character is one.
cdef bint same_number(const unsigned char *p, Span a, const unsigned char *q, Span b) noexcept
cdef inline bint is_separator(unsigned char c) noexcept:
    return c == c'-' or c == c'.' or c == c'(' or c == c')'
cdef bint is_named(const unsigned char *p, Span name, const char *text) noexcept
# The canonical AOR (RFC 3261 §10.3 step 5): sip:user@host, user canonically escaped, host lower-case, no
# parameters, no port (any port: an AOR of a served domain is one user). sips: is kept as its own scheme; tel:+1-2 -> tel:+12.
cdef bytes canonical_aor(const unsigned char *p, const Uri *uri)
