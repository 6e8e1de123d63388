"""Which requests belong together: RFC 3261 §17.2.3 for transactions, §8.2.2.2 for merged requests.

A request of today is known by its branch and sent-by; what identifies it is a keyed hash of 128 bits over the two, so
that a finished transaction need not keep the text, and nobody without the secret can make two requests meet. Without
the magic cookie the peer is of RFC 2543: the hash covers what all requests of one transaction share, and the request
that began it, which is kept then, decides.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from .._hash cimport Hash, Secret, end_hash, end_hash64, hex16, mix_bytes, mix_number, mix_token, start_hash
from .._parser cimport M_ACK, M_OTHER, Message, Span, parse_message, uris_equal

cdef enum:
    PURPOSE_KEY = 1         # of keyed hashes, so that none can stand for another
    PURPOSE_LEGACY
    PURPOSE_MERGE
    PURPOSE_TAG

cdef enum:
    LONGEST_QUOTE = 65535


cdef uint32_t method_of(const unsigned char *p, int method, Span name) noexcept:
    cdef uint32_t h = 2166136261
    cdef int32_t i
    if method != M_OTHER:
        return method
    for i in range(name.start, name.end):     # FNV-1a
        h = (h ^ p[i]) * <uint32_t>16777619
    return h | <uint32_t>0x80000000


cdef inline void mix_span(Hash *h, const unsigned char *p, Span span) noexcept:
    mix_bytes(h, p + span.start, span.end - span.start)


cdef void identify(const Secret *secret, Message request, Key *key) noexcept:
    cdef Hash h
    cdef const unsigned char *p = request.p
    key.legacy = not request.via.magic
    if key.legacy:
        start_hash(&h, secret, PURPOSE_LEGACY)
        mix_span(&h, p, request.call_id)
        mix_span(&h, p, request.sender.tag)
        mix_number(&h, request.cseq.number)
    else:
        start_hash(&h, secret, PURPOSE_KEY)
        mix_token(&h, p + request.via.branch.start, request.via.branch.end - request.via.branch.start)
        mix_token(&h, p + request.via.host.start, request.via.host.end - request.via.host.start)
        mix_number(&h, <uint64_t>request.via.port)
    end_hash(&h, &key.low, &key.high)


cdef inline bint same(const unsigned char *p, Span a, const unsigned char *q, Span b) noexcept:
    return a.end - a.start == b.end - b.start and memcmp(p + a.start, q + b.start, a.end - a.start) == 0


cdef bint same_legacy(Message original, Message request, bytes final) except -1:
    # From tag, Call-ID and CSeq number are in the key.
    cdef Message response
    if not same(original.p, original.via.all, request.p, request.via.all):
        return False
    if not same(original.p, original.request_uri, request.p, request.request_uri) and not uris_equal(
            original.p, &original.uri, request.p, &request.uri):
        return False
    if request.method != M_ACK:
        return same(original.p, original.target.tag, request.p, request.target.tag)
    if final is None:
        return True
    response = parse_message(final)
    return same(response.p, response.target.tag, request.p, request.target.tag)


cdef uint64_t merge_hash(const Secret *secret, Message request) noexcept:
    cdef Hash h
    cdef const unsigned char *p = request.p
    start_hash(&h, secret, PURPOSE_MERGE)
    mix_number(&h, <uint64_t>method_of(p, request.method, request.method_name) << 32 | request.cseq.number)
    mix_span(&h, p, request.sender.tag)
    mix_span(&h, p, request.call_id)
    mix_span(&h, p, request.request_uri)
    return end_hash64(&h)


cdef bytes tag_of(const Secret *secret, uint64_t low, uint64_t high):
    cdef Hash h
    start_hash(&h, secret, PURPOSE_TAG)
    mix_number(&h, low)
    mix_number(&h, high)
    return hex16(end_hash64(&h))


# Where the text begins in a piece of the message, -1: nowhere.
cdef int32_t position(const unsigned char *p, int32_t start, int32_t end, const char *text, int32_t size) noexcept:
    while start + size <= end:
        if memcmp(p + start, text, size) == 0:
            return start
        start += 1
    return -1


cdef bint quoted_branch(const unsigned char *p, Py_ssize_t size, Span *method, Span *branch) noexcept:
    # Our own writing, so no other spelling needs to be known. What is quoted ends anywhere (RFC 792, RFC 1812 §4.3.2.3).
    cdef const void *found
    cdef int32_t line = 0, end = 0, at, last = <int32_t>min(size, <Py_ssize_t>LONGEST_QUOTE)
    method.start = method.end = 0
    while method.end < last and p[method.end] > 32:
        method.end += 1
    if method.end == last or method.end == 0 or p[method.end] != c' ':
        return False
    while True:
        found = memchr(p + line, c'\n', last - line)
        if found == NULL:
            return False
        line = <int32_t>(<const unsigned char *>found - p) + 1
        if last - line >= 4 and memcmp(p + line, <const char *>b"Via:", 4) == 0:
            break
    found = memchr(p + line, c'\r', last - line)
    end = last if found == NULL else <int32_t>(<const unsigned char *>found - p)
    at = position(p, line, end, b";branch=", 8)
    if at < 0:
        return False
    branch.start = branch.end = at + 8
    while branch.end < end and p[branch.end] != c';' and p[branch.end] != c',' and p[branch.end] > 32:
        branch.end += 1
    return branch.end > branch.start
