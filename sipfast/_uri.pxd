# URIs and the grammar's basic rules: what both messages and stored URIs are read with. `_parser` hands these names on,
# so that other modules cimport all of them from there.

from libc.stdint cimport int32_t, uint16_t

cdef enum Scheme:
    SCHEME_OTHER = 0
    SCHEME_SIP
    SCHEME_SIPS
    SCHEME_TEL

cdef struct Span:
    int32_t start
    int32_t end

cdef struct Uri:
    int scheme          # a Scheme
    int port            # -1 where absent
    Span all            # empty where the URI is malformed
    Span user           # empty where absent; for tel: the number
    Span password
    Span host           # IPv6 with its brackets
    Span params         # from the first ';' (included) up to '?' or the end; empty where absent
    Span headers        # after '?'

# Character classes (RFC 3261 §25.1). '%' is in those where it is an ordinary character, not an escape.
cdef enum CharClass:
    C_SPACE = 1         # SP HTAB CR LF: the bytes of LWS
    C_TOKEN = 2
    C_USER = 4
    C_PASSWORD = 8
    C_HOST = 16
    C_PARAM = 32        # of a URI parameter
    C_HEADER = 64       # of a URI header
    C_VALUE = 128       # of an unquoted value of a header parameter
    C_RESERVED = 256    # RFC 2396 §2.2: differs from its own escape
    C_CALL_ID = 512

cdef uint16_t CLASS[256]

cdef inline unsigned char lower(unsigned char c) noexcept:
    return c + 32 if <unsigned char>(c - 65) < 26 else c

cdef inline int32_t skip_space(const unsigned char *p, int32_t i, int32_t end) noexcept:
    while i < end and CLASS[p[i]] & C_SPACE:
        i += 1
    return i

cdef inline Span make_span(int32_t start, int32_t end) noexcept:
    cdef Span span
    span.start = start
    span.end = end
    return span

# Each of these reads from i and returns where it stopped, or -1 where the text is malformed.
cdef int32_t host_end(const unsigned char *p, int32_t i, int32_t end) noexcept
cdef int32_t read_port(const unsigned char *p, int32_t i, int32_t end, int *port) noexcept      # 1 to 65535
cdef int32_t quoted_end(const unsigned char *p, int32_t i, int32_t end) noexcept                # i is at the quote
# One parameter of a header or URI; i is at its ';'. Stops at the next ';', at a ',' or at the end. `names` is the class
# of the name. value is empty where there is none, and has its quotes where it is quoted.
cdef int32_t read_param(const unsigned char *p, int32_t i, int32_t end, int names, Span *name, Span *value) noexcept

# A named parameter inside a params span (";a=1;b"), any case. value is empty where the parameter has none.
cdef int find_param(const unsigned char *p, Span params, const char *name, Span *value) noexcept
# A URI in memory of its own, for what is not inside a message. 1, 0 where it is empty, -1 where it is malformed.
cdef int parse_uri_at(const unsigned char *p, int32_t start, int32_t end, Uri *uri) noexcept
# RFC 3261 §19.1.4
cdef bint uris_equal(const unsigned char *p, const Uri *a, const unsigned char *q, const Uri *b) noexcept
# DESIGN's canonical AOR (RFC 3261 §10.3 step 5): sip:user@host, user canonically escaped, host lower-case, no
# parameters, no port (any port: an AOR of a served domain is one user). sips: is kept as its own scheme; tel:+1-2 -> tel:+12.
cdef bytes canonical_aor(const unsigned char *p, const Uri *uri)
cdef bint span_is(const unsigned char *p, Span span, const char *text) noexcept    # without regard to ASCII case

# Copies for the Python faces: a span, and the parameters of a params span (names lower-case, the first of each).
cdef bytes piece(const unsigned char *p, Span span)
cdef dict params_dict(const unsigned char *p, Span params)
