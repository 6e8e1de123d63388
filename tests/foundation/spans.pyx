# cython: boundscheck=True
"""Holds the parser's C face to its promises for one message: every span lies inside it, every chain of fields ends."""

from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from sipfast._grammar cimport host_end, make_span, value_end, whole_number
from sipfast._parser cimport (
    Address, Cursor, Field, Message, Span, Uri, Via, canonical_aor, find_param, parse_message, parse_uri_at, uris_equal,
)
from sipfast._values cimport read_address, read_via, tail_end


cdef int inside(Span span, int32_t size) except -1:
    assert 0 <= span.start <= span.end <= size, (span.start, span.end, size)
    return 0


cdef int uri_inside(Uri *uri, int32_t size) except -1:
    for span in (uri.all, uri.user, uri.password, uri.host, uri.params, uri.headers):
        inside(span, size)
    assert uri.port == -1 or 1 <= uri.port <= 65535
    return 0


cdef int address_inside(Address *address, int32_t size) except -1:
    for span in (address.all, address.display, address.tag, address.params):
        inside(span, size)
    return uri_inside(&address.uri, size)


cdef int via_inside(Via *via, int32_t size) except -1:
    for span in (via.all, via.transport, via.host, via.branch, via.received, via.rport, via.params):
        inside(span, size)
    assert via.port == -1 or 1 <= via.port <= 65535
    assert 0 <= via.rport_end <= size
    return 0


cdef int fields_in_order(Message message) except -1:
    """Lines follow each other, and each field is in the chain of its id and in no other."""
    cdef int i, header, chained = 0, size = len(message.data)
    cdef int32_t end = 0
    cdef Field field
    for i in range(message.count):
        field = message.fields[i]
        assert end <= field.line < field.name.end <= field.value.start <= field.value.end < field.line_end <= message.body.start
        assert field.name.start == field.line
        inside(field.value, size)
        assert field.next == -1 or (field.next > i and message.fields[field.next].id == field.id)
        end = field.line_end
    for header in range(64):
        i = message.first[header]
        assert (i < 0) == (message.last[header] < 0)
        while i >= 0:
            chained += 1
            assert message.fields[i].id == header
            assert message.fields[i].next >= 0 or message.last[header] == i
            i = message.fields[i].next
    assert chained == message.count
    return 0


cdef int apart(const unsigned char *p, Span span) except -1:
    """Read a value in memory that ends where it ends, so that a memory checker sees a step too far."""
    cdef int32_t size = span.end - span.start, i = 0
    cdef unsigned char *q = <unsigned char *>malloc(max(size, 1))
    cdef Uri uri
    cdef Via via
    cdef Address address
    cdef Span found
    memcpy(q, p + span.start, size)
    try:
        if parse_uri_at(q, 0, size, &uri) == 1:
            assert uris_equal(q, &uri, q, &uri)
            canonical_aor(q, &uri)
        uri_inside(&uri, size)
        assert -1 <= read_via(q, 0, size, &via) <= size
        via_inside(&via, size)
        read_address(q, make_span(0, size), &address)
        address_inside(&address, size)
        assert 0 <= value_end(q, 0, size) <= size
        assert -1 <= tail_end(q, 0, size) <= size
        assert -1 <= host_end(q, 0, size) <= size
        whole_number(q, &i, size, 100)
        assert 0 <= i <= size
        find_param(q, make_span(0, size), b"tag", &found)
        inside(found, size)
    finally:
        free(q)
    return 0


cdef int values_inside(Message message, int header) except -1:
    cdef Cursor cursor
    cdef Span value
    cdef Via via
    cdef Address address
    cdef Uri uri
    cdef int size = len(message.data)
    cdef int32_t end = 0
    message.number(header)
    message.lists_token(header, b"timer")
    message.cursor(header, &cursor)
    while message.next_value(&cursor, &value):
        inside(value, size)
        assert value.start >= end
        end = value.end
        if message.parse_via(value, &via):
            via_inside(&via, size)
        if message.parse_uri(value, &uri):
            uri_inside(&uri, size)
        if message.parse_address(value, &address) == 1:
            address_inside(&address, size)
            assert value.start <= address.uri.all.start < address.uri.all.end <= value.end
            assert uris_equal(message.p, &address.uri, message.p, &message.uri) \
                == uris_equal(message.p, &message.uri, message.p, &address.uri)
        apart(message.p, value)
    return 0


def check(bytes data):
    """Raises AssertionError. Returns the message's error."""
    cdef Message message = parse_message(data)
    cdef int header
    # A body that Content-Length cuts short leaves fields where they are, so they are inside `data`, the body inside `size`.
    cdef int size = len(message.data)
    assert 0 <= message.size <= size <= 65535
    inside(message.body, message.size)
    for span in (message.method_name, message.request_uri, message.reason, message.call_id, message.cseq.name):
        inside(span, size)
    uri_inside(&message.uri, size)
    via_inside(&message.via, size)
    address_inside(&message.sender, size)
    address_inside(&message.target, size)
    fields_in_order(message)
    for header in range(64):
        values_inside(message, header)
    assert (message.error == 0) == (message.why[0] == 0)
    if message.error == 0:
        assert message.body.end == message.size
        for span in (message.via.all, message.via.host, message.sender.uri.all, message.target.uri.all, message.call_id):
            assert span.end > span.start
    return message.error
