# The names of methods and headers, as numbers. See _names.pyx.

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ._grammar cimport ONES, Span

cdef enum Method:
    M_OTHER = 0
    M_INVITE = 1
    M_ACK
    M_BYE
    M_CANCEL
    M_REGISTER
    M_OPTIONS
    M_INFO
    M_PRACK
    M_UPDATE
    M_SUBSCRIBE
    M_NOTIFY
    M_REFER
    M_MESSAGE
    M_PUBLISH

# Known headers; compact forms are the same ids. H_OTHER is kept and forwarded untouched.
cdef enum Header:
    H_OTHER = 0
    H_VIA
    H_FROM
    H_TO
    H_CALL_ID
    H_CSEQ
    H_MAX_FORWARDS
    H_CONTACT
    H_EXPIRES
    H_ROUTE
    H_RECORD_ROUTE
    H_CONTENT_LENGTH
    H_CONTENT_TYPE
    H_CONTENT_ENCODING
    H_REQUIRE
    H_PROXY_REQUIRE
    H_SUPPORTED
    H_UNSUPPORTED
    H_ALLOW
    H_ACCEPT
    H_PATH
    H_SERVICE_ROUTE
    H_MIN_EXPIRES
    H_DATE
    H_EVENT
    H_ALLOW_EVENTS
    H_SUBSCRIPTION_STATE
    H_REFER_TO
    H_REFERRED_BY
    H_REPLACES
    H_CALL_INFO
    H_REASON
    H_WARNING
    H_RETRY_AFTER
    H_SUBJECT
    H_USER_AGENT
    H_SERVER
    H_AUTHORIZATION
    H_PROXY_AUTHORIZATION
    H_WWW_AUTHENTICATE
    H_PROXY_AUTHENTICATE
    H_P_ASSERTED_IDENTITY
    H_P_PREFERRED_IDENTITY
    H_SESSION_EXPIRES
    H_MIN_SE
    H_SIP_ETAG
    H_SIP_IF_MATCH
    H_TIMESTAMP
    H_ORGANIZATION
    H_PRIORITY
    H_MAX_BREADTH
    HEADER_COUNT        # one past the last id

cdef enum:
    LONGEST_NAME = 20       # of a known header

cdef struct Known:
    int id
    int32_t length
    unsigned char name[20]      # lower-case

cdef Known KNOWN[256]           # by name_hash, one name a slot
cdef int COMPACT[256]           # the one-letter names
cdef uint64_t SINGLE            # bit n: header n may be there once only

cdef inline int name_hash(const unsigned char *name, int32_t n) noexcept:
    """Free of collisions between the known names; fill_names() makes sure."""
    return ((name[0] | 32) + (name[n - 1] | 32) + 20 * (name[n >> 1] | 32) + n) & 255


cdef inline bint is_spelled(const unsigned char *name, const unsigned char *known, int32_t n) noexcept:
    """Whether a name is a lower-case one of the same length, two at least: eight letters at a time, the last ones twice."""
    cdef uint64_t a = 0, b = 0
    cdef int32_t i = 0
    while i + 8 <= n:
        memcpy(&a, name + i, 8)
        memcpy(&b, known + i, 8)
        if a | 0x20 * ONES != b:
            return False
        i += 8
    if i == n:
        return True
    if n >= 8:
        memcpy(&a, name + n - 8, 8)
        memcpy(&b, known + n - 8, 8)
        return a | 0x20 * ONES == b
    a = b = 0
    if n >= 4:
        memcpy(&a, name, 4)
        memcpy(<unsigned char *>&a + 4, name + n - 4, 4)
        memcpy(&b, known, 4)
        memcpy(<unsigned char *>&b + 4, known + n - 4, 4)
        return a | 0x20 * ONES == b
    return name[0] | 32 == known[0] and name[1] | 32 == known[1] and name[n - 1] | 32 == known[n - 1]


cdef inline int header_id(const unsigned char *name, int32_t n) noexcept:
    """The Header of a name, or H_OTHER. Setting bit 5 is enough for any case where there is no control character."""
    cdef const Known *known
    if n == 1:
        return COMPACT[name[0]]
    if n > LONGEST_NAME or n < 2:
        return H_OTHER
    known = &KNOWN[name_hash(name, n)]
    return known.id if known.length == n and is_spelled(name, known.name, n) else H_OTHER


# Methods are case-sensitive.
cdef inline int method_id(const unsigned char *p, Span name) noexcept:
    cdef int32_t n = name.end - name.start
    p += name.start
    if n == 3:
        return M_ACK if memcmp(p, b"ACK", 3) == 0 else M_BYE if memcmp(p, b"BYE", 3) == 0 else M_OTHER
    if n == 4:
        return M_INFO if memcmp(p, b"INFO", 4) == 0 else M_OTHER
    if n == 5:
        return M_REFER if memcmp(p, b"REFER", 5) == 0 else M_PRACK if memcmp(p, b"PRACK", 5) == 0 else M_OTHER
    if n == 6:
        return (M_INVITE if memcmp(p, b"INVITE", 6) == 0 else M_CANCEL if memcmp(p, b"CANCEL", 6) == 0
                else M_NOTIFY if memcmp(p, b"NOTIFY", 6) == 0 else M_UPDATE if memcmp(p, b"UPDATE", 6) == 0 else M_OTHER)
    if n == 7:
        return (M_OPTIONS if memcmp(p, b"OPTIONS", 7) == 0 else M_MESSAGE if memcmp(p, b"MESSAGE", 7) == 0
                else M_PUBLISH if memcmp(p, b"PUBLISH", 7) == 0 else M_OTHER)
    if n == 8:
        return M_REGISTER if memcmp(p, b"REGISTER", 8) == 0 else M_OTHER
    if n == 9:
        return M_SUBSCRIBE if memcmp(p, b"SUBSCRIBE", 9) == 0 else M_OTHER
    return M_OTHER
