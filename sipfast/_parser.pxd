# The parser's C face. A Message owns one bytes object and an array of fields (header id, name, value) that point into
# it; what is inside a header's value is parsed only when somebody asks.
#
# Spans are byte offsets into the message (start included, end excluded). Values are trimmed of white space; a folded
# value still holds its CRLF, which every parser below reads as white space (RFC 3261 §25.1, LWS).
# Functions that fill a struct return 1 when they found it, 0 when it is absent, -1 when it is malformed.

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t

# Names, and what is read inside values and URIs, have modules of their own; what those have can be cimported from here.
from ._grammar cimport Span, find_param, span_is
from ._names cimport (
    H_OTHER, H_VIA, H_FROM, H_TO, H_CALL_ID, H_CSEQ, H_MAX_FORWARDS, H_CONTACT, H_EXPIRES, H_ROUTE, H_RECORD_ROUTE,
    H_CONTENT_LENGTH, H_CONTENT_TYPE, H_CONTENT_ENCODING, H_REQUIRE, H_PROXY_REQUIRE, H_SUPPORTED, H_UNSUPPORTED, H_ALLOW,
    H_ACCEPT, H_PATH, H_SERVICE_ROUTE, H_MIN_EXPIRES, H_DATE, H_EVENT, H_ALLOW_EVENTS, H_SUBSCRIPTION_STATE, H_REFER_TO,
    H_REFERRED_BY, H_REPLACES, H_CALL_INFO, H_REASON, H_WARNING, H_RETRY_AFTER, H_SUBJECT, H_USER_AGENT, H_SERVER,
    H_AUTHORIZATION, H_PROXY_AUTHORIZATION, H_WWW_AUTHENTICATE, H_PROXY_AUTHENTICATE, H_P_ASSERTED_IDENTITY,
    H_P_PREFERRED_IDENTITY, H_SESSION_EXPIRES, H_MIN_SE, H_SIP_ETAG, H_SIP_IF_MATCH, H_TIMESTAMP, H_ORGANIZATION,
    H_PRIORITY, H_MAX_BREADTH,
    HEADER_COUNT, M_OTHER, M_INVITE, M_ACK, M_BYE, M_CANCEL, M_REGISTER, M_OPTIONS, M_INFO, M_PRACK, M_UPDATE, M_SUBSCRIBE,
    M_NOTIFY, M_REFER, M_MESSAGE, M_PUBLISH, Header, Method, method_id,
)
from ._likeness cimport uris_equal
from ._uri cimport (
    SCHEME_OTHER, SCHEME_SIP, SCHEME_SIPS, SCHEME_TEL, Scheme, Uri, as_request_uri, canonical_aor, parse_uri_at, read_ip,
)
from ._values cimport Address, Via

cdef struct Field:
    int16_t id          # a Header
    int16_t next        # index of the next field with this id, or -1
    int32_t line        # first byte of the header's line
    int32_t line_end    # one past the CRLF that ends the line (folds included)
    Span name
    Span value

cdef struct CSeq:
    uint32_t number
    int method          # a Method
    Span name           # the method's text

# Walks all values of one header over commas and lines: set field to message.first[id], then call next_value.
cdef struct Cursor:
    int field
    int32_t position    # 0 before the first value of the field

# Made by parse_message only. Where `error` is not 0, the text at the top of _parser.pyx says which members can be used.
cdef class Message:
    cdef readonly bytes data
    cdef const unsigned char *p
    cdef int32_t size                 # bytes of the message itself: a datagram's padding past Content-Length is cut
    # What is wrong with it: 0, or the status to answer with, the offset, and a short static English reason.
    cdef readonly int error
    cdef readonly int error_offset
    cdef const char *why
    # Start line
    cdef readonly int status          # 0 for a request, -1 where a response's cannot be read (then error is set)
    cdef int method                   # a Method; of the CSeq for a response
    cdef Span method_name             # as in the start line; of the CSeq for a response
    cdef Span request_uri             # empty for a response
    cdef Span reason
    cdef Uri uri                      # the parsed Request-URI; scheme SCHEME_OTHER where it is unknown
    # Fields, in order
    cdef int count
    cdef Field *fields                # inline_fields or a malloc of their own when there are more
    cdef Field inline_fields[20]
    cdef int capacity
    cdef int16_t first[64]            # index of the first field of a Header, or -1
    cdef int16_t last[64]
    cdef Span body
    # Parsed by parse() since every request needs them (valid where error == 0)
    cdef Via via                      # the topmost
    cdef Address sender               # From
    cdef Address target               # To
    cdef Span call_id
    cdef CSeq cseq
    cdef int max_forwards             # -1 where absent
    cdef int content_length           # -1 where absent

    cdef bytes text(self, Span span)                     # a copy, with folds as they are
    cdef bint is_request(self) noexcept
    cdef bint has(self, int header) noexcept
    cdef Span value_of(self, int header) noexcept        # the first field's value, or an empty span
    cdef void cursor(self, int header, Cursor *cursor) noexcept
    # 1, or 0 at the end. An empty field has no values; a comma too many makes an empty value (malformed, §7.3.1).
    cdef int next_value(self, Cursor *cursor, Span *value) noexcept
    cdef int parse_via(self, Span span, Via *via) noexcept
    cdef int parse_address(self, Span span, Address *address) noexcept
    cdef int parse_uri(self, Span span, Uri *uri) noexcept
    # delta-seconds or another whole number below 2**32; -1 absent, -2 malformed
    cdef int64_t number(self, int header) noexcept
    cdef bint lists_token(self, int header, const char *token) noexcept  # an option tag in a comma list, any case

# One datagram to a Message. Never raises for what the peer sent (only MemoryError); look at message.error.
cdef Message parse_message(bytes data)
# The most that is taken: bytes, and header fields of a request. A response may have twice as many: it answers a request,
# whose Vias it repeats, and has lines of its own.
cdef enum:
    MAX_SIZE = 65535
    MAX_FIELDS = 1024
# Its first step: the start line, and the boundaries and ids of the fields; nothing inside a value is looked at.
cdef Message split_message(bytes data)
