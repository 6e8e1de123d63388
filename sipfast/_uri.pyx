"""URIs: reading (RFC 3261 §25.1, RFC 3966) and the canonical address of record (§10.3). What is equal is in `_likeness`.

Nothing here allocates but `canonical_aor`, and every loop moves forward over its own span only.

Stricter than the grammar: a port is 1 to 65535, no host label is empty, an IPv6 reference is checked in full.
Wider, since phones send it and nothing is lost by passing it on:

- `#` unescaped in a user part (dial codes), `_` in a host name, and a host name whose last label begins with a digit;
- `=` inside the value of a URI parameter;
- the extra colon before an embedded IPv4 address (RFC 5118 §4.10);
- a local tel number without phone-context.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

from ._grammar cimport (
    C_HEADER, C_PARAM, C_PASSWORD, C_RESERVED, C_USER, CLASS, HEX, ONES, find_param, host_end, is_alpha, is_digit,
    lower, make_span, params_dict, piece, read_port,
)

from .errors import ParseError

cdef extern from "arpa/inet.h" nogil:
    int AF_INET6
    const char *inet_ntop(int family, const void *source, char *target, unsigned int size)
    int inet_pton(int family, const char *source, void *target)

cdef const char *DIGITS = b"0123456789ABCDEF"


# Reading a URI

cdef inline int32_t run_end(const unsigned char *p, int32_t i, int32_t end, int members) noexcept:
    """End of a run of characters of a class and escapes; -1 where a '%' is not followed by two hex digits."""
    while i < end:
        if CLASS[p[i]] & members:
            i += 1
        elif p[i] == c'%':
            if i + 2 >= end or HEX[p[i + 1]] < 0 or HEX[p[i + 2]] < 0:
                return -1
            i += 3
        else:
            break
    return i


cdef int32_t read_pairs(const unsigned char *p, int32_t i, int32_t end, unsigned char separator, int members,
                        bint needs_value) noexcept:
    """The pairs of uri-parameters or headers; i is one past the first separator."""
    cdef int32_t j
    while True:
        j = run_end(p, i, end, members)
        if j <= i:
            return -1
        if j < end and p[j] == c'=':
            i = j + 1
            j = run_end(p, i, end, members)
            while j >= 0 and j < end and p[j] == c'=' and not needs_value:
                j = run_end(p, j + 1, end, members)
            if j < i or (j == i and not needs_value):
                return -1
        elif needs_value:
            return -1
        if j == end or p[j] != separator:
            return j
        i = j + 1


cdef int read_sip(const unsigned char *p, int32_t i, int32_t end, Uri *uri) noexcept:
    cdef int32_t j, at
    # An '@' stands unescaped nowhere but after the userinfo.
    cdef const unsigned char *found = <const unsigned char *>memchr(p + i, c'@', end - i)
    if found != NULL:
        at = <int32_t>(found - p)
        j = run_end(p, i, at, C_USER)
        if j <= i:
            return -1
        uri.user = make_span(i, j)
        if j < at:
            if p[j] != c':' or run_end(p, j + 1, at, C_PASSWORD) != at:
                return -1
            uri.password = make_span(j + 1, at)
        i = at + 1
    j = host_end(p, i, end)
    if j < 0:
        return -1
    uri.host = make_span(i, j)
    if j < end and p[j] == c':':
        j = read_port(p, j + 1, end, &uri.port)
        if j < 0:
            return -1
    if j < end and p[j] == c';':
        i = j
        j = read_pairs(p, i + 1, end, c';', C_PARAM, False)
        if j < 0:
            return -1
        uri.params = make_span(i, j)
    if j < end and p[j] == c'?':
        i = j + 1
        j = read_pairs(p, i, end, c'&', C_HEADER, True)
        if j < 0:
            return -1
        uri.headers = make_span(i, j)
    return 1 if j == end else -1


cdef int read_tel(const unsigned char *p, int32_t i, int32_t end, Uri *uri) noexcept:
    # RFC 3966 §3
    cdef int32_t j = i
    cdef int digits = 0
    cdef bint is_global = i < end and p[i] == c'+'
    if is_global:
        j += 1
    while j < end and p[j] != c';':
        if is_digit(p[j]) or (not is_global and (HEX[p[j]] >= 0 or p[j] == c'*' or p[j] == c'#')):
            digits += 1
        elif p[j] != c'-' and p[j] != c'.' and p[j] != c'(' and p[j] != c')':
            return -1
        j += 1
    if digits == 0:
        return -1
    uri.user = make_span(i, j)
    if j < end:
        i = j
        j = read_pairs(p, i + 1, end, c';', C_PARAM, False)
        if j < 0:
            return -1
        uri.params = make_span(i, j)
    return 1 if j == end else -1


cdef int read_absolute(const unsigned char *p, int32_t i, int32_t end) noexcept:
    if not is_alpha(p[i]):
        return -1
    while i < end and (is_alpha(p[i]) or is_digit(p[i]) or p[i] == c'+' or p[i] == c'-' or p[i] == c'.'):
        i += 1
    if i >= end or p[i] != c':' or i + 1 == end:
        return -1
    i = run_end(p, i + 1, end, C_USER | C_RESERVED)
    return 1 if i == end else -1


cdef int parse_uri_at(const unsigned char *p, int32_t start, int32_t end, Uri *uri) noexcept:
    cdef int result
    cdef int32_t n = end - start
    memset(uri, 0, sizeof(Uri))
    uri.port = -1
    if n <= 0:
        return 0
    uri.all = make_span(start, end)
    if n > 4 and p[start] | 32 == c's' and p[start + 1] | 32 == c'i' and p[start + 2] | 32 == c'p' and p[start + 3] == c':':
        uri.scheme = SCHEME_SIP
        result = read_sip(p, start + 4, end, uri)
    elif (n > 5 and p[start] | 32 == c's' and p[start + 1] | 32 == c'i' and p[start + 2] | 32 == c'p'
            and p[start + 3] | 32 == c's' and p[start + 4] == c':'):
        uri.scheme = SCHEME_SIPS
        result = read_sip(p, start + 5, end, uri)
    elif n > 4 and p[start] | 32 == c't' and p[start + 1] | 32 == c'e' and p[start + 2] | 32 == c'l' and p[start + 3] == c':':
        uri.scheme = SCHEME_TEL
        result = read_tel(p, start + 4, end, uri)
    else:
        result = read_absolute(p, start, end)
    if result < 0:
        uri.all.end = start
    return result


# What a Request-URI may have

cdef bytes as_request_uri(bytes uri):
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(uri)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(uri)
    cdef Uri parts
    cdef int32_t i, j, name_end
    cdef list kept
    # Most have no parameters at all, and none of them needs a look at its pieces.
    if memchr(p, c';', size) == NULL and memchr(p, c'?', size) == NULL:
        return uri
    if size > 65535 or parse_uri_at(p, 0, <int32_t>size, &parts) != 1 or parts.host.end == 0:
        return uri
    kept = [uri[:parts.params.start if parts.params.end else parts.headers.start - 1 if parts.headers.end else size]]
    i = parts.params.start
    while i < parts.params.end:
        j = name_end = i + 1
        while j < parts.params.end and p[j] != c';':
            j += 1
        while name_end < j and p[name_end] != c'=':
            name_end += 1
        if not is_named(p, make_span(i + 1, name_end), b"method"):
            kept.append(uri[i:j])
        i = j
    return b"".join(kept)


# Hosts

# Four numbers up to 255 without leading zeros, as inet_pton has it.
cdef bint read_ipv4(const unsigned char *p, int32_t size, unsigned char *ip) noexcept:
    cdef int32_t i = 0, start
    cdef int part, value
    for part in range(4):
        start = i
        value = 0
        while i < size and i - start < 3 and <unsigned char>(p[i] - 48) < 10:
            value = value * 10 + (p[i] - 48)
            i += 1
        if i == start or value > 255 or (p[start] == c'0' and i - start > 1):
            return False
        ip[part] = <unsigned char>value
        if part < 3:
            if i == size or p[i] != c'.':
                return False
            i += 1
    return i == size


cdef int read_ip(const unsigned char *p, Span host, unsigned char *ip) noexcept:
    cdef char text[MOST_HOST]
    cdef int32_t size = host.end - host.start
    p += host.start
    if size > 2 and p[0] == c'[' and p[size - 1] == c']':
        p += 1
        size -= 2
    if size <= 0 or size >= MOST_HOST:
        return 0
    if read_ipv4(p, size, ip):
        return 4
    if memchr(p, c':', size) == NULL or memchr(p, 0, size) != NULL:
        return 0
    memcpy(text, p, size)
    text[size] = 0
    return 6 if inet_pton(AF_INET6, text, ip) == 1 else 0


cdef bint is_reference(const unsigned char *p, Span host, unsigned char *ip) noexcept:
    return host.end > host.start and p[host.start] == c'[' and read_ip(p, host, ip) == 6


cdef Py_ssize_t write_host(const unsigned char *p, Span host, char *out) noexcept:
    cdef unsigned char ip[16]
    cdef Py_ssize_t size
    if host.end <= host.start or p[host.start] != c'[' or not is_reference(p, host, ip):
        return write_lower(p, host, out)
    out[0] = c'['
    inet_ntop(AF_INET6, ip, out + 1, MOST_HOST - 2)
    size = strlen(out + 1)
    out[size + 1] = c']'
    return size + 2


cdef bytes plain_host(const unsigned char *p, Span host):
    cdef char text[320]
    cdef Py_ssize_t size
    if host.end - host.start > 260:         # no name has so many (RFC 1035 §2.3.4)
        return PyBytes_FromStringAndSize(<const char *>p + host.start, host.end - host.start).lower()
    size = write_host(p, host, text)
    if size > 2 and text[0] == c'[' and text[size - 1] == c']':
        return PyBytes_FromStringAndSize(text + 1, size - 2)
    return PyBytes_FromStringAndSize(text, size)


cdef bytes plain_host_of(bytes text):
    cdef Span span = Span(0, 0)
    if text.count(b":") > 1 and not text.startswith(b"["):
        text = b"[" + text + b"]"
    span.end = <int32_t>PyBytes_GET_SIZE(text)
    return plain_host(<const unsigned char *>PyBytes_AS_STRING(text), span)


cdef bint same_host_text(const unsigned char *p, Span a, const unsigned char *q, Span b) noexcept:
    cdef unsigned char left[16]
    cdef unsigned char right[16]
    if a.end > a.start and b.end > b.start and p[a.start] == c'[' and q[b.start] == c'[' and (
            is_reference(p, a, left) and is_reference(q, b, right)):
        return memcmp(left, right, 16) == 0
    return same_text(p, a, q, b, True)


# Texts, compared as §19.1.4 has it

cdef bint same_text(const unsigned char *p, Span a, const unsigned char *q, Span b, bint fold) noexcept:
    while a.start < a.end and b.start < b.end:
        if next_unit(p, &a.start, a.end, fold) != next_unit(q, &b.start, b.end, fold):
            return False
    return a.start == a.end and b.start == b.end


cdef bint same_number(const unsigned char *p, Span a, const unsigned char *q, Span b) noexcept:
    while True:
        while a.start < a.end and is_separator(p[a.start]):
            a.start += 1
        while b.start < b.end and is_separator(q[b.start]):
            b.start += 1
        if a.start == a.end or b.start == b.end:
            return a.start == a.end and b.start == b.end
        if lower(p[a.start]) != lower(q[b.start]):
            return False
        a.start += 1
        b.start += 1


cdef bint is_named(const unsigned char *p, Span name, const char *text) noexcept:
    return same_text(p, name, <const unsigned char *>text, make_span(0, <int32_t>strlen(text)), True)


# The canonical address of record

cdef Py_ssize_t write_user(const unsigned char *p, Span user, char *out) noexcept:
    """Each character unescaped where the user part allows it so, else as upper-case hex; three bytes at most for one."""
    cdef Py_ssize_t n = 0
    cdef int32_t i = user.start
    cdef int c
    while i < user.end:
        c = next_unit(p, &i, user.end, False) & 255
        if CLASS[c] & C_USER and c != c'#':
            out[n] = <char>c
            n += 1
        else:
            out[n] = c'%'
            out[n + 1] = DIGITS[c >> 4]
            out[n + 2] = DIGITS[c & 15]
            n += 3
    return n


cdef Py_ssize_t write_lower(const unsigned char *p, Span span, char *out) noexcept:
    cdef Py_ssize_t size = span.end - span.start, i = 0
    cdef uint64_t word, upper
    p += span.start
    # Eight at a time: bit 7 of a byte's sum is set from "A" on, that of the other one behind "Z".
    while i + 8 <= size:
        memcpy(&word, p + i, 8)
        upper = ((word & 0x7F * ONES) + 0x3F * ONES) & ~((word & 0x7F * ONES) + 0x25 * ONES) & ~word & 0x80 * ONES
        word |= upper >> 2
        memcpy(out + i, &word, 8)
        i += 8
    while i < size:
        out[i] = <char>lower(p[i])
        i += 1
    return size


cdef Py_ssize_t write_number(const unsigned char *p, Span number, char *out) noexcept:
    """Without visual separators."""
    cdef Py_ssize_t n = 0
    cdef int32_t i
    for i in range(number.start, number.end):
        if not is_separator(p[i]):
            out[n] = <char>lower(p[i])
            n += 1
    return n


cdef Py_ssize_t write_tel(const unsigned char *p, const Uri *uri, char *out) noexcept:
    cdef Py_ssize_t n = 4
    cdef Span context
    memcpy(out, b"tel:", 4)
    n += write_number(p, uri.user, out + n)
    # RFC 3966 §5.1.5: a local number is nobody's without its context, a domain name or a global number.
    if out[4] != c'+' and find_param(p, uri.params, b"phone-context", &context) == 1 and context.end > context.start:
        memcpy(out + n, b";phone-context=", 15)
        n += 15
        if p[context.start] == c'+':
            n += write_number(p, context, out + n)
        else:
            n += write_lower(p, context, out + n)
    return n


cdef bytes canonical_aor(const unsigned char *p, const Uri *uri):
    cdef char ordinary[512]
    cdef char *out = ordinary
    cdef Py_ssize_t n, most = 3 * (<Py_ssize_t>uri.all.end - uri.all.start) + 32 + MOST_HOST
    if uri.scheme == SCHEME_OTHER:
        return PyBytes_FromStringAndSize(<const char *>p + uri.all.start, uri.all.end - uri.all.start)
    if most > 512:
        out = <char *>PyMem_Malloc(most)
        if out == NULL:
            raise MemoryError
    if uri.scheme == SCHEME_TEL:
        n = write_tel(p, uri, out)
    else:
        memcpy(out, b"sips:", 5)
        n = 5
        if uri.scheme == SCHEME_SIP:
            out[3] = c':'
            n = 4
        if uri.user.end > uri.user.start:
            n += write_user(p, uri.user, out + n)
            out[n] = c'@'
            n += 1
        n += write_host(p, uri.host, out + n)
    try:
        return PyBytes_FromStringAndSize(out, n)
    finally:
        if out != ordinary:
            PyMem_Free(out)


# The Python face

cdef int read_whole(bytes text, Uri *uri) except -1:
    if parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(text), 0, <int32_t>min(len(text), 65536), uri) != 1:
        raise ParseError(400, 0, "malformed URI")
    return 1


def uri_parts(bytes uri not None):
    cdef Uri parts
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(uri)
    read_whole(uri, &parts)
    if parts.scheme == SCHEME_OTHER:
        scheme, _, rest = uri.partition(b":")
        return scheme.decode("ascii").lower(), rest, b"", -1, {}
    scheme = ("sip", "sips", "tel")[parts.scheme - 1]
    host = piece(p, parts.host).lower().strip(b"[]")
    return scheme, piece(p, parts.user), host, parts.port, params_dict(p, parts.params)


def aor(bytes uri not None):
    cdef Uri parts
    read_whole(uri, &parts)
    return canonical_aor(<const unsigned char *>PyBytes_AS_STRING(uri), &parts)
