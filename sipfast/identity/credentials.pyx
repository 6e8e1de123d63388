"""One value of Authorization or Proxy-Authorization (RFC 7616 §3.4, RFC 3261 §25.1), read in one pass.

A parameter that is there twice, and username* (which goes with names that we do not have), make it malformed. What is not
needed to check a digest is passed over.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t
from libc.string cimport memchr

from .._grammar cimport CLASS, C_SPACE, C_VALUE, Span, make_span, piece, quoted_end, skip_space, span_is, token_end, unquote

cdef enum Seen:
    SEEN_USERNAME = 1
    SEEN_REALM = 2
    SEEN_NONCE = 4
    SEEN_URI = 8
    SEEN_RESPONSE = 16
    SEEN_CNONCE = 32
    SEEN_COUNT = 64
    SEEN_ALGORITHM = 128
    SEEN_QOP = 256


# Where a parameter belongs, by its name; 0: nowhere.
cdef int seen_of(const unsigned char *p, Span name) noexcept:
    cdef int32_t size = name.end - name.start
    if size == 2:
        return SEEN_COUNT if span_is(p, name, b"nc") else 0
    if size == 3:
        return SEEN_URI if span_is(p, name, b"uri") else SEEN_QOP if span_is(p, name, b"qop") else 0
    if size == 5:
        return SEEN_REALM if span_is(p, name, b"realm") else SEEN_NONCE if span_is(p, name, b"nonce") else 0
    if size == 6:
        return SEEN_CNONCE if span_is(p, name, b"cnonce") else 0
    if size == 8:
        return SEEN_USERNAME if span_is(p, name, b"username") else SEEN_RESPONSE if span_is(p, name, b"response") else 0
    if size == 9:
        return SEEN_ALGORITHM if span_is(p, name, b"algorithm") else 0
    return 0


cdef void take(Credentials *found, int what, const unsigned char *p, Span value) noexcept:
    if what == SEEN_USERNAME:
        found.username = value
    elif what == SEEN_REALM:
        found.realm = value
    elif what == SEEN_NONCE:
        found.nonce = value
    elif what == SEEN_URI:
        found.uri = value
    elif what == SEEN_RESPONSE:
        found.response = value
    elif what == SEEN_CNONCE:
        found.cnonce = value
    elif what == SEEN_COUNT:
        found.count = value
    elif what == SEEN_ALGORITHM:
        found.algorithm = (ALGORITHM_MD5 if span_is(p, value, b"MD5")
                           else ALGORITHM_SHA256 if span_is(p, value, b"SHA-256") else ALGORITHM_NONE)
    elif what == SEEN_QOP:
        found.qop = QOP_AUTH if span_is(p, value, b"auth") else QOP_AUTH_INT if span_is(p, value, b"auth-int") else QOP_OTHER


cdef int read_credentials(const unsigned char *p, Span value, Credentials *found) noexcept:
    cdef int32_t i = value.start, end = value.end, start
    cdef int seen = 0, what
    cdef Span name, text
    found.username = found.realm = found.nonce = found.uri = found.response = found.cnonce = found.count = make_span(0, 0)
    found.algorithm = ALGORITHM_MD5           # RFC 7616 §3.3: where none is named
    found.qop = QOP_NONE
    i = token_end(p, i, end)
    if not span_is(p, make_span(value.start, i), b"Digest"):
        return 0
    if i == end or not CLASS[p[i]] & C_SPACE:
        return -1
    while True:
        i = skip_space(p, i, end)
        while i < end and p[i] == c',':       # RFC 7616 §3.4 is a #list, which may have empty elements
            i = skip_space(p, i + 1, end)
        if i == end:
            return 1
        start = i
        i = token_end(p, i, end)
        name = make_span(start, i)
        i = skip_space(p, i, end)
        if name.end == name.start or i == end or p[i] != c'=':
            return -1
        i = skip_space(p, i + 1, end)
        start = i
        if i < end and p[i] == c'"':
            i = quoted_end(p, i, end)
            if i < 0:
                return -1
            text = make_span(start + 1, i - 1)
        else:
            while i < end and CLASS[p[i]] & C_VALUE:
                i += 1
            text = make_span(start, i)
        what = seen_of(p, name)
        if seen & what or span_is(p, name, b"username*"):
            return -1                         # RFC 7616 §3.4: both names are an error
        seen |= what
        take(found, what, p, text)
        i = skip_space(p, i, end)
        if i < end and p[i] != c',':
            return -1


cdef bytes unescaped(const unsigned char *p, Span span):
    if memchr(p + span.start, c'\\', span.end - span.start) == NULL:
        return piece(p, span)
    return unquote(b'"' + piece(p, span) + b'"')


def credentials(bytes value not None):
    cdef Credentials found
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(value)
    if read_credentials(p, make_span(0, <int32_t>PyBytes_GET_SIZE(value)), &found) != 1:
        return None
    return {
        "username": unescaped(p, found.username), "realm": unescaped(p, found.realm), "nonce": unescaped(p, found.nonce),
        "uri": unescaped(p, found.uri), "response": unescaped(p, found.response), "cnonce": unescaped(p, found.cnonce),
        "nc": unescaped(p, found.count), "algorithm": (b"", b"MD5", b"SHA-256")[found.algorithm],
        "qop": (b"", b"auth", b"auth-int", b"?")[found.qop],
    }
