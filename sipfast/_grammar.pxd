# The basic rules of RFC 3261 §25.1, for the modules that read messages, headers and URIs.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

# Eight bytes of 1: a byte times this is that byte eight times.
cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    """
    const uint64_t ONES

cdef struct Span:
    int32_t start
    int32_t end

# Character classes. '%' is in those where it is an ordinary character, not the start of an escape.
cdef enum CharClass:
    C_SPACE = 1         # SP HTAB CR LF: the bytes of LWS
    C_TOKEN = 2
    C_USER = 4
    C_PASSWORD = 8
    C_HOST = 16         # of a host name without its dots
    C_PARAM = 32        # of a URI parameter
    C_HEADER = 64       # of a URI header
    C_VALUE = 128       # of an unquoted value of a header parameter
    C_RESERVED = 256    # RFC 2396 §2.2: differs from its own escape
    C_CALL_ID = 512
    C_LIST = 1024       # what matters between the values of a list: the comma, and what may hold one

cdef uint16_t CLASS[256]
cdef signed char HEX[256]       # the value of a hex digit, or -1

cdef inline Span make_span(int32_t start, int32_t end) noexcept:
    cdef Span span
    span.start = start
    span.end = end
    return span

cdef inline unsigned char lower(unsigned char c) noexcept:
    return c + 32 if <unsigned char>(c - 65) < 26 else c

cdef inline bint is_digit(unsigned char c) noexcept:
    return <unsigned char>(c - 48) < 10

cdef inline bint is_alpha(unsigned char c) noexcept:
    return <unsigned char>((c | 32) - 97) < 26

cdef inline int32_t skip_space(const unsigned char *p, int32_t i, int32_t end) noexcept:
    while i < end and CLASS[p[i]] & C_SPACE:
        i += 1
    return i

cdef inline int32_t token_end(const unsigned char *p, int32_t i, int32_t end) noexcept:
    while i < end and CLASS[p[i]] & C_TOKEN:
        i += 1
    return i

cdef inline Span trim(const unsigned char *p, int32_t start, int32_t end) noexcept:
    start = skip_space(p, start, end)
    while end > start and CLASS[p[end - 1]] & C_SPACE:
        end -= 1
    return make_span(start, end)

# 1*DIGIT up to `most` at i, which is moved behind it; -2 where there is none or it is more.
cdef int64_t whole_number(const unsigned char *p, int32_t *i, int32_t end, int64_t most) noexcept
# The comma that ends a list value, or end: not one in a quoted string or in angle brackets.
cdef int32_t value_end(const unsigned char *p, int32_t i, int32_t end) noexcept

# Each of these reads from i and returns where it stopped, or -1 where the text is malformed.
cdef int32_t quoted_end(const unsigned char *p, int32_t i, int32_t end) noexcept                # i is at the quote
cdef int32_t comment_end(const unsigned char *p, int32_t i, int32_t end) noexcept               # i is at the '('
cdef int32_t host_end(const unsigned char *p, int32_t i, int32_t end) noexcept
cdef int32_t read_port(const unsigned char *p, int32_t i, int32_t end, int *port) noexcept      # 1 to 65535
# One parameter of a header or URI; i is at its ';'. Stops at the next ';', at a ',' or at the end. `names` is the class
# of the name. value is empty where there is none, and has its quotes where it is quoted.
cdef int32_t read_param(const unsigned char *p, int32_t i, int32_t end, int names, Span *name, Span *value) noexcept

# A named parameter inside a params span (";a=1;b"), any case: 1, 0 where absent, -1 where malformed before it. value is
# empty where the parameter has none, and has its quotes where it is quoted.
cdef int find_param(const unsigned char *p, Span params, const char *name, Span *value) noexcept
cdef bint span_is(const unsigned char *p, Span span, const char *text) noexcept    # without regard to ASCII case

# Copies for the Python faces: as it is; with each fold, and the white space around it, as one space (§7.3.1); a quoted
# string's content; the parameters of a params span (names lower-case, the first of each).
cdef bytes piece(const unsigned char *p, Span span)
cdef bytes unfold(bytes value)
cdef bytes unquote(bytes text)
cdef dict params_dict(const unsigned char *p, Span params)
