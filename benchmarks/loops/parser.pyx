"""Loops around the parser's C face, so that bench_parser.py times the parser and not Python's calls."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from sipfast._parser cimport (
    H_CONTACT, Address, Cursor, Message, Span, Uri, canonical_aor, parse_message, parse_uri_at, split_message, uris_equal,
)


def split(bytes data, int times):
    """Start line, boundaries and ids of the fields."""
    cdef int _i
    cdef Message message = None
    for _i in range(times):
        message = split_message(data)
    return message


def parse(bytes data, int times):
    """The same, and Via, From, To, Call-ID, CSeq, Max-Forwards, Content-Length."""
    cdef int _i
    cdef Message message = None
    for _i in range(times):
        message = parse_message(data)
    return message


def contacts(Message message, int times):
    """Every value of Contact, read in full; of a message that is parsed already."""
    cdef int _i, count = 0
    cdef Cursor cursor
    cdef Span value
    cdef Address address
    for _i in range(times):
        message.cursor(H_CONTACT, &cursor)
        while message.next_value(&cursor, &value):
            count += message.parse_address(value, &address)
    return count


def aors(bytes text, int times):
    """Reading a URI, and its canonical AOR."""
    cdef int _i
    cdef Uri uri
    cdef bytes aor = b""
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(text)
    for _i in range(times):
        parse_uri_at(p, 0, <int>PyBytes_GET_SIZE(text), &uri)
        aor = canonical_aor(p, &uri)
    return aor


def comparisons(bytes a, bytes b, int times):
    """Reading two URIs, and comparing them."""
    cdef int _i, equal = 0
    cdef Uri left, right
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(a)
    cdef const unsigned char *q = <const unsigned char *>PyBytes_AS_STRING(b)
    for _i in range(times):
        parse_uri_at(p, 0, <int>PyBytes_GET_SIZE(a), &left)
        parse_uri_at(q, 0, <int>PyBytes_GET_SIZE(b), &right)
        equal += uris_equal(p, &left, q, &right)
    return equal
