"""What is inside Via, and inside From, To, Contact, Route and their like (RFC 3261 §20)."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memchr, memcmp, memset

from ._grammar cimport (
    C_SPACE, C_TOKEN, CLASS, comment_end, host_end, make_span, params_dict, piece, quoted_end, read_param, read_port, skip_space,
    span_is, token_end, trim, unfold, unquote, whole_number,
)
from ._uri cimport parse_uri_at

from .errors import ParseError

cdef enum:
    MAX_SIZE = 65535


cdef int32_t tail_end(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """Past the comment and parameters that may follow a number (RFC 3261 §20.33, RFC 4028 §4); -1 where malformed."""
    cdef Span name, value
    i = skip_space(p, i, end)
    if i < end and p[i] == c'(':
        i = comment_end(p, i, end)
        if i >= 0:
            i = skip_space(p, i, end)
    while 0 <= i < end and p[i] == c';':
        i = read_param(p, i, end, C_TOKEN, &name, &value)
    return i


cdef int32_t read_protocol(const unsigned char *p, int32_t i, int32_t end, Span *transport) noexcept:
    # sent-protocol = protocol-name SLASH protocol-version SLASH transport
    cdef int _part
    cdef int32_t j
    if end - i > 8 and memcmp(p + i, b"SIP/2.0/", 8) == 0 and CLASS[p[i + 8]] & C_TOKEN:
        i += 8
    else:
        for _part in range(2):
            j = token_end(p, i, end)
            if j == i:
                return -1
            i = skip_space(p, j, end)
            if i == end or p[i] != c'/':
                return -1
            i = skip_space(p, i + 1, end)
    j = token_end(p, i, end)
    if j == i:
        return -1
    transport[0] = make_span(i, j)
    return j


cdef int note_via_param(const unsigned char *p, Span name, Span value, Via *via) noexcept:
    """-1 where a parameter is there twice (§7.3.1) or without the value that it needs."""
    cdef int32_t n = name.end - name.start, i
    cdef int port
    if n == 5 and span_is(p, name, b"rport"):
        if via.has_rport:
            return -1
        via.has_rport = True
        via.rport = value
        if value.end == value.start:
            via.rport_end = name.end
        else:
            i = value.start
            port = <int>whole_number(p, &i, value.end, 65535)
            via.rport_port = port if port > 0 and i == value.end else -1
    elif n == 6 and span_is(p, name, b"branch"):
        if via.branch.end or value.end == value.start:
            return -1
        via.branch = value
        # The cookie alone identifies nothing (RFC 4475 §3.2.1): such a peer is matched as an old one.
        via.magic = value.end - value.start > 7 and memcmp(p + value.start, b"z9hG4bK", 7) == 0
    elif n == 8 and span_is(p, name, b"received"):
        if via.received.end or value.end == value.start:
            return -1
        via.received = value
    return 0


cdef int32_t read_via(const unsigned char *p, int32_t i, int32_t end, Via *via) noexcept:
    """One via-parm from i: its comma or end, or -1."""
    cdef int32_t j
    cdef Span name, value
    memset(via, 0, sizeof(Via))
    via.port = -1
    i = skip_space(p, i, end)
    via.all = make_span(i, i)
    j = read_protocol(p, i, end, &via.transport)
    if j < 0:
        return -1
    i = skip_space(p, j, end)
    if i == j:
        return -1
    j = host_end(p, i, end)
    if j < 0:
        return -1
    via.host = make_span(i, j)
    i = skip_space(p, j, end)
    if i < end and p[i] == c':':
        j = read_port(p, skip_space(p, i + 1, end), end, &via.port)
        if j < 0:
            return -1
        i = skip_space(p, j, end)
    via.params = make_span(j, j)
    if i < end and p[i] == c';':
        via.params = make_span(i, i)
        while i < end and p[i] == c';':
            i = read_param(p, i, end, C_TOKEN, &name, &value)
            if i < 0 or note_via_param(p, name, value, via) < 0:
                return -1
            j = value.end
        via.params.end = j
    if i < end and p[i] != c',':
        return -1
    via.all.end = j
    return i


cdef int32_t read_display(const unsigned char *p, int32_t i, int32_t end, Address *address) noexcept:
    """Where '<' is, with the display name before it; end + 1 where this is no name-addr; -1."""
    cdef int32_t j
    if p[i] == c'"':
        j = quoted_end(p, i, end)
        if j < 0:
            return -1
        address.display = make_span(i, j)
        j = skip_space(p, j, end)
        return j if j < end and p[j] == c'<' else -1
    j = i
    while j < end and (CLASS[p[j]] & (C_TOKEN | C_SPACE) or p[j] > 127):
        j += 1
    if j == end or p[j] != c'<':
        return end + 1
    address.display = trim(p, i, j)
    return j


cdef int read_address(const unsigned char *p, Span span, Address *address) noexcept:
    # RFC 3261 §20.10, §20.20, §20.39: ( name-addr / addr-spec ) *( SEMI param )
    cdef int32_t i, j, end
    cdef const unsigned char *close
    cdef Span name, value
    memset(address, 0, sizeof(Address))
    address.uri.port = -1
    span = trim(p, span.start, span.end)
    i, end = span.start, span.end
    address.all = make_span(i, i)
    if i == end:
        return 0
    j = i
    if p[i] != c'<':
        j = read_display(p, i, end, address)
        if j < 0:
            return -1
    if j <= end:
        close = <const unsigned char *>memchr(p + j, c'>', end - j)
        if close == NULL or parse_uri_at(p, j + 1, <int32_t>(close - p), &address.uri) != 1:
            return -1
        j = <int32_t>(close - p) + 1
    else:
        # Without angle brackets what follows ';' is the header's, and '?' and ',' may not be there (§20.10).
        j = i
        while j < end and not CLASS[p[j]] & C_SPACE and p[j] != c';':
            if p[j] == c'?' or p[j] == c',':
                return -1
            j += 1
        if parse_uri_at(p, i, j, &address.uri) != 1:
            return -1
    i = skip_space(p, j, end)
    address.params = make_span(i, i)
    while i < end and p[i] == c';':
        i = read_param(p, i, end, C_TOKEN, &name, &value)
        if i < 0:
            return -1
        if name.end - name.start == 3 and span_is(p, name, b"tag"):
            if address.tag.end or value.end == value.start or p[value.start] == c'"':
                return -1
            address.tag = value
    if i != end:
        return -1
    address.params.end = end
    address.all.end = end
    return 1


# The Python face

def parse_address(bytes value not None):
    cdef Address address
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(value)
    cdef bytes display
    if len(value) > MAX_SIZE or read_address(p, make_span(0, <int32_t>len(value)), &address) != 1:
        raise ParseError(400, 0, "malformed address")
    display = unfold(piece(p, address.display))
    if display[:1] == b'"':
        display = unquote(display)
    return display, piece(p, address.uri.all), params_dict(p, address.params)


def parse_via(bytes value not None):
    cdef Via via
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(value)
    cdef int32_t size = <int32_t>min(len(value), MAX_SIZE)
    if read_via(p, 0, size, &via) != len(value):
        raise ParseError(400, 0, "malformed Via")
    return (piece(p, via.transport).decode("ascii"), piece(p, via.host), via.port, params_dict(p, via.params))
