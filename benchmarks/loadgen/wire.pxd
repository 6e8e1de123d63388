"""SIP on the wire as the load generator needs it: a reader of the fields that it checks, and a writer of bytes.

Nothing of sipfast is used here: a generator that shares its parser with a server cannot see that server's mistakes.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, strlen

cdef enum:
    LINES = 8  # Via and Record-Route lines that one message may have

cdef enum:
    NONE, INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, REFER, SUBSCRIBE, NOTIFY, PUBLISH

cdef struct Part:
    const char *p
    int n

cdef struct Scan:
    const char *data
    int size
    int status         # 0: a request
    int method         # of the request line, or of a response's CSeq
    uint32_t cseq
    Part uri           # Request-URI
    Part via[LINES]    # values, not split at commas
    int vias
    Part route[LINES]  # values of Record-Route, not split at commas
    int routes
    Part from_, to, call_id, contact, refer_to, call_info, expires, event, state, etag, body

cdef struct Out:
    char *p
    int n

cdef int scan(const char *data, int size, Scan *s) noexcept nogil
cdef Part tag_of(Part value) noexcept nogil
cdef Part uri_of(Part value) noexcept nogil
cdef Part branch_of(Part via) noexcept nogil
cdef int split_routes(Scan *s, Part *values, int room) noexcept nogil
cdef int hex_of(const char *p, int n, uint32_t *value) noexcept nogil
cdef bint same(Part a, const char *p, int n) noexcept nogil
cdef bint holds(Part a, const char *p, int n) noexcept nogil


cdef inline void put(Out *out, const char *p, int n) noexcept nogil:
    memcpy(out.p + out.n, p, n)
    out.n += n


cdef inline void text(Out *out, const char *p) noexcept nogil:
    """A literal, whose length the C compiler knows."""
    put(out, p, <int>strlen(p))


cdef inline void put_part(Out *out, Part part) noexcept nogil:
    memcpy(out.p + out.n, part.p, part.n)
    out.n += part.n


cdef inline void put_hex(Out *out, uint32_t value) noexcept nogil:
    """Eight digits."""
    cdef int shift = 28
    while shift >= 0:
        out.p[out.n] = b"0123456789abcdef"[(value >> shift) & 15]
        out.n += 1
        shift -= 4


cdef inline void put_number(Out *out, uint32_t value) noexcept nogil:
    cdef char digits[10]
    cdef int n = 0
    while True:
        digits[n] = 48 + value % 10
        value //= 10
        n += 1
        if not value:
            break
    while n:
        n -= 1
        out.p[out.n] = digits[n]
        out.n += 1
