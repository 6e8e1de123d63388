"""See wire.pxd."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp, memset

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t n, const void *needle, size_t m)
cdef extern from "strings.h" nogil:
    int strncasecmp(const char *a, const char *b, size_t n)


cdef int method_of(const char *p, int n) noexcept nogil:
    if n == 3:
        if memcmp(p, b"ACK", 3) == 0:
            return ACK
        if memcmp(p, b"BYE", 3) == 0:
            return BYE
    elif n == 5 and memcmp(p, b"REFER", 5) == 0:
        return REFER
    elif n == 6:
        if memcmp(p, b"INVITE", 6) == 0:
            return INVITE
        if memcmp(p, b"CANCEL", 6) == 0:
            return CANCEL
        if memcmp(p, b"NOTIFY", 6) == 0:
            return NOTIFY
    elif n == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return OPTIONS
        if memcmp(p, b"PUBLISH", 7) == 0:
            return PUBLISH
    elif n == 8 and memcmp(p, b"REGISTER", 8) == 0:
        return REGISTER
    elif n == 9 and memcmp(p, b"SUBSCRIBE", 9) == 0:
        return SUBSCRIBE
    return NONE


cdef int scan(const char *data, int size, Scan *s) noexcept nogil:
    """Read a message. -1: it is none, or lacks one of Via, From, To, Call-ID, CSeq."""
    cdef const char *p = data
    cdef const char *end = data + size
    cdef const char *line_end
    cdef const char *colon
    memset(s, 0, sizeof(Scan))
    s.data = data
    s.size = size
    line_end = <const char *>memchr(p, 10, end - p)
    if line_end == NULL or start_line(s, p, line_end) < 0:
        return -1
    p = line_end + 1
    while p < end:
        line_end = <const char *>memchr(p, 10, end - p)
        if line_end == NULL:
            return -1
        if p[0] == 13 or p[0] == 10:
            s.body.p = line_end + 1
            s.body.n = <int>(end - s.body.p)
            break
        colon = <const char *>memchr(p, 58, line_end - p)
        if colon == NULL:
            return -1
        if field(s, p, <int>(colon - p), colon + 1, line_end) < 0:
            return -1
        p = line_end + 1
    return 0 if s.vias and s.from_.n and s.to.n and s.call_id.n and s.cseq else -1


cdef int start_line(Scan *s, const char *p, const char *end) noexcept nogil:
    cdef const char *space
    cdef const char *second
    if end - p >= 12 and memcmp(p, b"SIP/2.0 ", 8) == 0:
        s.status = (p[8] - 48) * 100 + (p[9] - 48) * 10 + p[10] - 48
        return 0 if 100 <= s.status <= 699 else -1
    space = <const char *>memchr(p, 32, end - p)
    if space == NULL:
        return -1
    s.method = method_of(p, <int>(space - p))
    second = <const char *>memchr(space + 1, 32, end - space - 1)
    if second == NULL or end - second < 8 or memcmp(second, b" SIP/2.0", 8):
        return -1
    s.uri.p = space + 1
    s.uri.n = <int>(second - space - 1)
    return 0


cdef int field(Scan *s, const char *name, int n, const char *p, const char *end) noexcept nogil:
    cdef Part v
    while n and (name[n - 1] == 32 or name[n - 1] == 9):
        n -= 1
    while p < end and (p[0] == 32 or p[0] == 9):
        p += 1
    while end > p and ((end - 1)[0] == 13 or (end - 1)[0] == 32):
        end -= 1
    v.p = p
    v.n = <int>(end - p)
    if n == 1:
        return compact_field(s, name[0] | 32, v)
    if n == 3 and strncasecmp(name, b"Via", 3) == 0:
        return compact_field(s, c'v', v)
    if n == 2 and strncasecmp(name, b"To", 2) == 0:
        s.to = v
    elif n == 4 and strncasecmp(name, b"From", 4) == 0:
        s.from_ = v
    elif n == 4 and strncasecmp(name, b"CSeq", 4) == 0:
        return read_cseq(s, v)
    elif n == 5 and strncasecmp(name, b"Event", 5) == 0:
        s.event = v
    elif n == 7 and strncasecmp(name, b"Call-ID", 7) == 0:
        s.call_id = v
    elif n == 7 and strncasecmp(name, b"Contact", 7) == 0:
        return compact_field(s, c'm', v)
    elif n == 7 and strncasecmp(name, b"Expires", 7) == 0:
        s.expires = v
    elif n == 8 and strncasecmp(name, b"Refer-To", 8) == 0:
        s.refer_to = v
    elif n == 8 and strncasecmp(name, b"SIP-ETag", 8) == 0:
        s.etag = v
    elif n == 9 and strncasecmp(name, b"Call-Info", 9) == 0:
        s.call_info = v
    elif n == 12 and strncasecmp(name, b"Record-Route", 12) == 0:
        if s.routes == LINES:
            return -1
        s.route[s.routes] = v
        s.routes += 1
    elif n == 18 and strncasecmp(name, b"Subscription-State", 18) == 0:
        s.state = v
    return 0


cdef int compact_field(Scan *s, char name, Part v) noexcept nogil:
    """RFC 3261 §7.3.3."""
    if name == c'v':
        if s.vias == LINES:
            return -1
        s.via[s.vias] = v
        s.vias += 1
    elif name == c'f':
        s.from_ = v
    elif name == c't':
        s.to = v
    elif name == c'i':
        s.call_id = v
    elif name == c'm':
        if s.contact.p == NULL:
            s.contact = v
    elif name == c'r':
        s.refer_to = v
    elif name == c'o':
        s.event = v
    return 0


cdef int read_cseq(Scan *s, Part v) noexcept nogil:
    cdef int i = 0
    cdef int method
    while i < v.n and 48 <= v.p[i] <= 57:
        s.cseq = s.cseq * 10 + v.p[i] - 48
        i += 1
    while i < v.n and v.p[i] == 32:
        i += 1
    method = method_of(v.p + i, v.n - i)
    if s.status:
        s.method = method
    elif method != s.method:  # RFC 3261 §8.1.1.5
        return -1
    return 0


cdef Part param(Part value, const char *name, int n) noexcept nogil:
    """A parameter behind the first ">" (or the first ";") of a value; `name` is ";tag=" or the like."""
    cdef Part found
    cdef const char *p
    cdef const char *end = value.p + value.n
    found.p = NULL
    found.n = 0
    p = <const char *>memchr(value.p, 62, value.n)
    if p == NULL:
        p = value.p
    p = <const char *>memmem(p, end - p, name, n)
    if p != NULL:
        found.p = p + n
        while found.p + found.n < end and not (
            found.p[found.n] == 59 or found.p[found.n] == 44 or found.p[found.n] == 32
        ):
            found.n += 1
    return found


cdef Part tag_of(Part value) noexcept nogil:
    return param(value, b";tag=", 5)


cdef Part branch_of(Part via) noexcept nogil:
    return param(via, b";branch=", 8)


cdef Part uri_of(Part value) noexcept nogil:
    """The URI of the first address of a From, To, Contact, Refer-To or Record-Route value."""
    cdef Part found
    cdef const char *p = <const char *>memchr(value.p, 60, value.n)
    cdef const char *end
    if p != NULL:
        found.p = p + 1
        end = <const char *>memchr(p, 62, value.p + value.n - p)
        found.n = <int>(end - found.p) if end != NULL else 0
        return found
    found = value
    end = <const char *>memchr(value.p, 59, value.n)
    if end != NULL:
        found.n = <int>(end - value.p)
    return found


cdef int split_routes(Scan *s, Part *values, int room) noexcept nogil:
    """The single values of all Record-Route lines, in order. -1: more than there is room for."""
    cdef int line, i, count = 0
    cdef bint inside
    cdef Part rest
    for line in range(s.routes):
        rest = s.route[line]
        while rest.n:
            if count == room:
                return -1
            inside = False
            i = 0
            while i < rest.n and (inside or rest.p[i] != 44):
                if rest.p[i] == 60:
                    inside = True
                elif rest.p[i] == 62:
                    inside = False
                i += 1
            values[count].p = rest.p
            values[count].n = i
            count += 1
            i += i < rest.n
            while i < rest.n and rest.p[i] == 32:
                i += 1
            rest.p += i
            rest.n -= i
    return count


cdef int hex_of(const char *p, int n, uint32_t *value) noexcept nogil:
    """-1: not all of them are lower-case hexadecimal digits."""
    cdef int i, digit
    value[0] = 0
    for i in range(n):
        digit = p[i]
        if 48 <= digit <= 57:
            digit -= 48
        elif 97 <= digit <= 102:
            digit -= 87
        else:
            return -1
        value[0] = value[0] << 4 | <uint32_t>digit
    return 0


cdef bint same(Part a, const char *p, int n) noexcept nogil:
    return a.n == n and memcmp(a.p, p, n) == 0


cdef bint holds(Part a, const char *p, int n) noexcept nogil:
    return a.n >= n and memmem(a.p, a.n, p, n) != NULL


def read(bytes data):
    """What `scan` sees, as a dictionary; None where it refuses. For the tests."""
    cdef Scan s
    cdef Part values[LINES]
    cdef int i, count
    if scan(data, <int>len(data), &s) < 0:
        return None
    count = split_routes(&s, values, LINES)
    return {
        "status": s.status, "method": s.method, "cseq": s.cseq, "vias": s.vias, "call_id": s.call_id.p[:s.call_id.n],
        "tag": tag_of(s.to).p[:tag_of(s.to).n] if tag_of(s.to).n else b"",
        "branch": branch_of(s.via[0]).p[:branch_of(s.via[0]).n] if branch_of(s.via[0]).n else b"",
        "contact": uri_of(s.contact).p[:uri_of(s.contact).n] if s.contact.n else b"",
        "routes": [values[i].p[:values[i].n] for i in range(max(count, 0))],
    }
