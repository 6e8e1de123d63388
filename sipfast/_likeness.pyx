"""Which URIs are equal (RFC 3261 §19.1.4).

Parameters and headers may come in any order, and whoever sends a URI chooses how many there are. So each of them is hashed once
and put in order; then two URIs are compared in one walk along both. The hashes have a key that nobody sees. What they say is
equal is compared by its text, too.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcmp

from ._grammar cimport make_span
from ._hash cimport fold_number
from ._uri cimport (
    SCHEME_OTHER, SCHEME_TEL, Uri, is_named, is_separator, next_unit, parse_uri_at, read_ip, same_host_text, same_number,
    same_text,
)

from .errors import ParseError

cdef uint64_t KEY = int.from_bytes(os.urandom(8), "little")       # no answer depends on it


# ---- hashes

cdef uint64_t hash_text(uint64_t h, const unsigned char *p, Span span, bint fold) noexcept:
    while span.start < span.end:
        h = fold_number(h, <uint64_t>next_unit(p, &span.start, span.end, fold))
    return fold_number(h, 1024)               # no unit


cdef uint64_t hash_number(uint64_t h, const unsigned char *p, Span span) noexcept:
    cdef int32_t i
    cdef unsigned char c
    for i in range(span.start, span.end):
        c = p[i]
        if not is_separator(c):
            h = fold_number(h, c | 32 if 65 <= c <= 90 else c)
    return fold_number(h, 1024)


cdef uint64_t hash_core(const unsigned char *p, const Uri *uri) noexcept:
    cdef uint64_t h = fold_number(KEY, uri.scheme)
    cdef unsigned char ip[16]
    cdef int i
    if uri.scheme == SCHEME_TEL:
        return hash_number(h, p, uri.user)
    h = fold_number(h, <uint64_t>(uri.port + 1) << 1 | (uri.password.end != 0))
    h = hash_text(h, p, uri.user, False)
    h = hash_text(h, p, uri.password, False)
    if uri.host.end > uri.host.start and p[uri.host.start] == c'[' and read_ip(p, uri.host, ip) == 6:
        for i in range(16):
            h = fold_number(h, ip[i])
        return h
    return hash_text(h, p, uri.host, True)


cdef bint must_be_in_both(const unsigned char *p, Span name) noexcept:
    # The rules name user, ttl, method and maddr; their examples add transport.
    return (is_named(p, name, b"transport") or is_named(p, name, b"user") or is_named(p, name, b"maddr")
            or is_named(p, name, b"method") or is_named(p, name, b"ttl"))


cdef void hash_pair(const unsigned char *p, Pair *pair, bint has_value, bint params, bint tel) noexcept:
    pair.name = hash_text(KEY, p, pair.name_at, True)
    pair.matters = tel or not params or must_be_in_both(p, pair.name_at)
    pair.value = 0
    if has_value and tel and pair.value_at.start < pair.value_at.end and p[pair.value_at.start] == c'+':
        pair.value = hash_number(~KEY, p, pair.value_at) | 1
    elif has_value:
        pair.value = hash_text(KEY, p, pair.value_at, True) | 1


cdef inline bint precedes(const Pair *a, const Pair *b) noexcept:
    return a.name < b.name or (a.name == b.name and a.value < b.value)


# As heaps, so that no order of coming takes longer: each pair sinks to where none below it comes after it.
cdef void sink(Pair *pairs, int i, int count) noexcept:
    cdef Pair sinking = pairs[i]
    cdef int below = 2 * i + 1
    while below < count:
        if below + 1 < count and precedes(&pairs[below], &pairs[below + 1]):
            below += 1
        if not precedes(&sinking, &pairs[below]):
            break
        pairs[i] = pairs[below]
        i = below
        below = 2 * i + 1
    pairs[i] = sinking


cdef void put_in_order(Pair *pairs, int count) noexcept:
    cdef int i
    cdef Pair last
    for i in range(count // 2 - 1, -1, -1):
        sink(pairs, i, count)
    for i in range(count - 1, 0, -1):
        last = pairs[i]
        pairs[i] = pairs[0]
        pairs[0] = last
        sink(pairs, 0, i)


cdef int read_pairs(const unsigned char *p, Span span, unsigned char separator, bint tel, Pair *pairs) noexcept:
    """Parameters or headers in order; -1 where there are more than LIMIT."""
    cdef int count = 0
    cdef int32_t i = span.start
    cdef int32_t j, equals
    if i < span.end and p[i] == separator:
        i += 1
    while i < span.end:
        if count == LIMIT:
            return -1
        j = i
        equals = -1
        while j < span.end and p[j] != separator:
            if p[j] == c'=' and equals < 0:
                equals = j
            j += 1
        pairs[count].name_at = make_span(i, equals if equals >= 0 else j)
        pairs[count].value_at = make_span(equals + 1 if equals >= 0 else j, j)
        hash_pair(p, &pairs[count], equals >= 0, separator == c';', tel)
        count += 1
        i = j + 1
    put_in_order(pairs, count)
    return count


cdef void liken(const unsigned char *p, const Uri *uri, Likeness *likeness) noexcept:
    cdef bint tel = uri.scheme == SCHEME_TEL
    likeness.core = hash_core(p, uri)
    likeness.headers = 0
    likeness.count = read_pairs(p, uri.params, c';', tel, likeness.pairs)
    if likeness.count >= 0:
        likeness.headers = read_pairs(p, uri.headers, c'&', False, likeness.pairs + likeness.count)
        if likeness.headers < 0:
            likeness.count = -1


# ---- comparison. With p and q the texts are compared as well.

cdef bint same_pair(const unsigned char *p, const Pair *a, const unsigned char *q, const Pair *b, bint tel) noexcept:
    if a.name != b.name or a.value != b.value:
        return False
    if p == NULL:
        return True
    if not same_text(p, a.name_at, q, b.name_at, True):
        return False
    if tel and a.value_at.start < a.value_at.end and p[a.value_at.start] == c'+':
        return same_number(p, a.value_at, q, b.value_at)
    return same_text(p, a.value_at, q, b.value_at, True)


cdef bint params_agree(const unsigned char *p, const Likeness *a, const unsigned char *q, const Likeness *b, bint tel) noexcept:
    """Whether each parameter of a is the same in b, or absent there and none that matters (for tel: all matter)."""
    cdef int i, j = 0
    for i in range(a.count):
        while j < b.count and precedes(&b.pairs[j], &a.pairs[i]):
            j += 1
        if j < b.count and same_pair(p, &a.pairs[i], q, &b.pairs[j], tel):
            continue
        if a.pairs[i].matters or (j < b.count and b.pairs[j].name == a.pairs[i].name) or (
                j > 0 and b.pairs[j - 1].name == a.pairs[i].name):
            return False
    return True


cdef bint pairs_agree(const unsigned char *p, const Likeness *a, const unsigned char *q, const Likeness *b, bint tel) noexcept:
    cdef int i
    if a.headers != b.headers:
        return False
    for i in range(a.headers):                # each as often in the one as in the other
        if not same_pair(p, &a.pairs[a.count + i], q, &b.pairs[b.count + i], False):
            return False
    return params_agree(p, a, q, b, tel) and params_agree(q, b, p, a, tel)


cdef bint alike(const Likeness *a, const Likeness *b) noexcept:
    return a.core == b.core and a.count >= 0 and b.count >= 0 and pairs_agree(NULL, a, NULL, b, False)


cdef bint same_core(const unsigned char *p, const Uri *a, const unsigned char *q, const Uri *b) noexcept:
    if a.scheme == SCHEME_TEL:
        return same_number(p, a.user, q, b.user)
    # A password may be there and empty; a span of zeros says that there is none.
    return (a.port == b.port and (a.password.end == 0) == (b.password.end == 0)
            and same_text(p, a.user, q, b.user, False) and same_text(p, a.password, q, b.password, False)
            and same_host_text(p, a.host, q, b.host))


cdef bint uris_equal(const unsigned char *p, const Uri *a, const unsigned char *q, const Uri *b) noexcept:
    cdef int32_t size = a.all.end - a.all.start
    cdef Likeness left, right
    if a.scheme != b.scheme or size <= 0 or b.all.end <= b.all.start:
        return False
    if size == b.all.end - b.all.start and memcmp(p + a.all.start, q + b.all.start, size) == 0:
        return True
    if a.scheme == SCHEME_OTHER or not same_core(p, a, q, b):
        return False
    liken(p, a, &left)
    liken(q, b, &right)
    return alike(&left, &right) and pairs_agree(p, &left, q, &right, a.scheme == SCHEME_TEL)


# ---- the Python face

def same_uri(bytes a not None, bytes b not None):
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(a)
    cdef const unsigned char *q = <const unsigned char *>PyBytes_AS_STRING(b)
    cdef Uri left, right
    if (parse_uri_at(p, 0, <int32_t>min(len(a), 65536), &left) != 1
            or parse_uri_at(q, 0, <int32_t>min(len(b), 65536), &right) != 1):
        raise ParseError(400, 0, "malformed URI")
    return bool(uris_equal(p, &left, q, &right))
