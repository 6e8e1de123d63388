"""The basic rules of RFC 3261 §25.1: character classes, numbers, quoted strings, comments, hosts, parameters, lists.

Every function reads from a position to an end given, and only moves forward.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcpy, memset

cdef void fill_classes():
    cdef int c
    alphanum = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    unreserved = alphanum + b"-_.!~*'()"
    memset(CLASS, 0, sizeof(CLASS))
    memset(HEX, -1, sizeof(HEX))
    for members, bit in (
        (b" \t\r\n", C_SPACE),
        (alphanum + b"-.!%*_+`'~", C_TOKEN),
        (unreserved + b"&=+$,;?/#", C_USER),
        (unreserved + b"&=+$,", C_PASSWORD),
        (alphanum + b"-_", C_HOST),
        (unreserved + b"[]/:&+$", C_PARAM),
        (unreserved + b"[]/?:+$", C_HEADER),
        (b";/?:@&=+$,", C_RESERVED),
        (b',"<', C_LIST),
    ):
        for c in members:
            CLASS[c] |= <uint16_t>bit
    for c in range(0x21, 0x7F):
        if chr(c) not in "\",;<>\\":
            CLASS[c] |= C_VALUE
        if chr(c) not in ",;":
            CLASS[c] |= C_CALL_ID
    for c in range(0x80, 0x100):
        CLASS[c] |= C_VALUE
    for value, c in enumerate(b"0123456789abcdef"):
        HEX[c] = value
    for value, c in enumerate(b"ABCDEF"):
        HEX[c] = 10 + value


fill_classes()


# Where the first byte from i on is that is in none of some classes, or in one of them. By addresses, which takes fewer steps for
# each byte than p[i].
cdef inline int32_t class_end(const unsigned char *p, int32_t i, int32_t end, int classes) noexcept:
    cdef const unsigned char *at = p + i
    cdef const unsigned char *last = p + end
    while at < last and CLASS[at[0]] & classes:
        at += 1
    return <int32_t>(at - p)


cdef inline int32_t class_begin(const unsigned char *p, int32_t i, int32_t end, int classes) noexcept:
    cdef const unsigned char *at = p + i
    cdef const unsigned char *last = p + end
    while at < last and not CLASS[at[0]] & classes:
        at += 1
    return <int32_t>(at - p)


# Numbers and lists

cdef int64_t whole_number(const unsigned char *p, int32_t *i, int32_t end, int64_t most) noexcept:
    """1*DIGIT up to `most` at i, which is moved behind it; -2 where there is none or it is more."""
    cdef int64_t value = 0
    cdef int32_t at = i[0]
    while at < end and is_digit(p[at]):
        if value <= most:       # beyond it the value no longer counts, and must not overflow
            value = value * 10 + (p[at] - 48)
        at += 1
    if at == i[0]:
        return -2
    i[0] = at
    return value if value <= most else -2


cdef int32_t value_end(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """The comma that ends a list value, or end: not one in a quoted string or in angle brackets."""
    cdef int32_t j
    cdef const unsigned char *close
    while True:
        i = class_begin(p, i, end, C_LIST)
        if i >= end or p[i] == c',':
            return i
        if p[i] == c'"':
            j = quoted_end(p, i, end)
            if j < 0:
                return end
            i = j
        else:
            close = <const unsigned char *>memchr(p + i, c'>', end - i)
            if close == NULL:
                return end
            i = <int32_t>(close - p) + 1


cdef int32_t comment_end(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """One past the comment that begins at i (they nest); -1 where it does not end."""
    cdef int32_t depth = 0
    while i < end:
        if p[i] == c'\\':
            i += 1
        elif p[i] == c'(':
            depth += 1
        elif p[i] == c')':
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return -1


# Hosts and ports

cdef bint is_ipv4(const unsigned char *p, int32_t i, int32_t end) noexcept:
    cdef int part, value, digits
    for part in range(4):
        value = digits = 0
        while i < end and is_digit(p[i]) and digits < 4:
            value = value * 10 + (p[i] - 48)
            digits += 1
            i += 1
        if digits == 0 or digits > 3 or value > 255:
            return False
        if part < 3:
            if i >= end or p[i] != c'.':
                return False
            i += 1
    return i == end


cdef bint is_ipv6(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """IPv6address as RFC 4291 §2.2 corrects RFC 3261's rule."""
    cdef int groups = 0
    cdef int32_t j
    cdef bint compressed = False, needs_ipv4 = False
    if i + 1 < end and p[i] == c':' and p[i + 1] == c':':
        i += 1      # the loop below sees the second colon as that of '::'
    elif i < end and p[i] == c':':
        return False
    while True:
        if i < end and p[i] == c':':
            if compressed:
                return False
            compressed = True
            i += 1
            if i == end:
                break
            if p[i] == c':':        # RFC 5118 §4.10
                needs_ipv4 = True
                i += 1
        j = i
        while j < end and HEX[p[j]] >= 0 and j - i < 5:
            j += 1
        if j == i or j - i > 4:
            return False
        if j < end and p[j] == c'.':
            if not is_ipv4(p, i, end):
                return False
            groups += 2
            needs_ipv4 = False
            break
        groups += 1
        if j == end:
            break
        if p[j] != c':' or j + 1 == end:
            return False
        i = j + 1
    return not needs_ipv4 and (groups < 8 if compressed else groups == 8)


cdef int32_t host_end(const unsigned char *p, int32_t i, int32_t end) noexcept:
    cdef int32_t start = i, label
    cdef const unsigned char *close
    if i >= end:
        return -1
    if p[i] == c'[':
        close = <const unsigned char *>memchr(p + i, c']', end - i)
        if close == NULL or not is_ipv6(p, i + 1, <int32_t>(close - p)):
            return -1
        return <int32_t>(close - p) + 1
    while True:
        label = i
        while i < end and CLASS[p[i]] & C_HOST:
            i += 1
        if i == end or p[i] != c'.':
            break
        if i == label:
            return -1
        i += 1
    if i == start or p[start] == c'-':
        return -1
    return i


cdef int32_t read_port(const unsigned char *p, int32_t i, int32_t end, int *port) noexcept:
    cdef int value = 0
    cdef int32_t start = i
    while i < end and is_digit(p[i]):
        value = value * 10 + (p[i] - 48)
        if value > 65535:
            return -1
        i += 1
    if i == start or value == 0:
        return -1
    port[0] = value
    return i


# Parameters of headers and URIs

cdef int32_t quoted_end(const unsigned char *p, int32_t i, int32_t end) noexcept:
    cdef const unsigned char *close
    i += 1
    close = <const unsigned char *>memchr(p + i, c'"', max(end - i, 0))
    if close == NULL:
        return -1
    if memchr(p + i, c'\\', close - p - i) == NULL:
        return <int32_t>(close - p) + 1
    while i < end:
        if p[i] == c'"':
            return i + 1
        i += 2 if p[i] == c'\\' else 1      # quoted-pair
    return -1


cdef int32_t read_param(const unsigned char *p, int32_t i, int32_t end, int names, Span *name, Span *value) noexcept:
    i = skip_space(p, i + 1, end)
    name.start = i
    i = class_end(p, i, end, names)
    name.end = i
    value.start = value.end = i
    if i == name.start:
        return -1
    i = skip_space(p, i, end)
    if i < end and p[i] == c'=':
        i = skip_space(p, i + 1, end)
        value.start = i
        if i < end and p[i] == c'"':
            i = quoted_end(p, i, end)
            if i < 0:
                value.start = value.end
                return -1
        else:
            i = class_end(p, i, end, C_VALUE)
        value.end = i
        if i == value.start:
            return -1
        i = skip_space(p, i, end)
    if i < end and p[i] != c';' and p[i] != c',':
        return -1
    return i


cdef int find_param(const unsigned char *p, Span params, const char *name, Span *value) noexcept:
    cdef int32_t i = params.start
    cdef Span found
    while i < params.end and p[i] == c';':
        i = read_param(p, i, params.end, C_TOKEN | C_PARAM, &found, value)
        if i < 0:
            break
        if span_is(p, found, name):
            return 1
    value.start = value.end = params.end
    return -1 if i < 0 else 0


cdef bint span_is(const unsigned char *p, Span span, const char *text) noexcept:
    cdef int32_t i = span.start
    while i < span.end:
        if text[0] == 0:
            return False
        if p[i] != <unsigned char>text[0] and lower(p[i]) != lower(<unsigned char>text[0]):
            return False
        text += 1
        i += 1
    return text[0] == 0


# Copies

cdef bytes piece(const unsigned char *p, Span span):
    return PyBytes_FromStringAndSize(<const char *>p + span.start, span.end - span.start)


cdef bytes unfold(bytes value):
    cdef int32_t i = 0, j, n = 0, end = <int32_t>len(value)
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(value)
    cdef bytes copy
    cdef char *out
    if memchr(p, c'\n', end) == NULL:
        return value
    copy = PyBytes_FromStringAndSize(NULL, end)
    out = PyBytes_AS_STRING(copy)
    while i < end:
        j = skip_space(p, i, end)
        if j > i and memchr(p + i, c'\n', j - i) != NULL:
            out[n] = c' '
            n += 1
        else:
            j = max(j, i + 1)
            memcpy(out + n, p + i, j - i)
            n += j - i
        i = j
    return copy[:n]


cdef bytes unquote(bytes text):
    cdef Py_ssize_t i = 1, n = 0, end = len(text) - 1
    cdef bytes copy = PyBytes_FromStringAndSize(NULL, len(text))
    cdef char *out = PyBytes_AS_STRING(copy)
    while i < end:
        if text[i] == c'\\' and i + 1 < end:
            i += 1
        out[n] = text[i]
        n += 1
        i += 1
    return copy[:n]


cdef dict params_dict(const unsigned char *p, Span params):
    cdef dict found = {}
    cdef Span name, value
    cdef int32_t i = params.start
    while 0 <= i < params.end and p[i] == c';':
        i = read_param(p, i, params.end, C_TOKEN | C_PARAM, &name, &value)
        if i >= 0:
            found.setdefault(piece(p, name).lower(), piece(p, value) if value.end > value.start else None)
    return found
