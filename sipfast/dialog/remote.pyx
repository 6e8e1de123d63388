"""The other end of a dialog, and what its messages say (RFC 3261 §12.1.2)."""

from .._parser cimport H_CONTACT, H_RECORD_ROUTE, H_SESSION_EXPIRES, H_SUPPORTED, Address, Cursor, Message, Span

cdef enum:
    MOST_ANSWER = 80        # characters of what is kept for people


cdef class Remote:
    """The other end of a dialog."""


cdef Remote remote_by(Message response, bytes fallback):
    # RFC 3261 §12.1.2
    cdef Remote remote = Remote.__new__(Remote)
    cdef Address contact
    cdef Cursor cursor
    cdef Span value
    cdef list routes = []
    remote.to = response.text(response.target.all)
    remote.tag = response.text(response.target.tag)
    remote.target = fallback
    if response.has(H_CONTACT) and response.parse_address(response.value_of(H_CONTACT), &contact) == 1:
        remote.target = response.text(contact.uri.all)
    response.cursor(H_RECORD_ROUTE, &cursor)
    while response.next_value(&cursor, &value):
        routes.append(response.text(value))
    remote.routes = tuple(reversed(routes))
    return remote


cdef bytes tag_in(bytes value):
    # Of From and To as they are stored.
    return value.rpartition(b";tag=")[2].partition(b";")[0] if b";tag=" in value else b""


cdef bytes uri_in(bytes value):
    return value.partition(b"<")[2].partition(b">")[0] if b"<" in value else value.partition(b";")[0]


cdef str answer_of(Message response):
    return response.text(Span(response.reason.start - 4, response.reason.end)).decode("utf-8", "replace").strip()[:MOST_ANSWER]


cdef bytes body_of(Message message):
    cdef bytes body = message.text(message.body)
    return body if body.startswith(b"v=") else b""


cdef bytes timer_line(Message request):
    # RFC 4028 §9, table 2: whoever asks refreshes it, or nobody does.
    cdef bytes value
    if not request.has(H_SESSION_EXPIRES):
        return b""
    value = request.text(request.value_of(H_SESSION_EXPIRES))
    if b"refresher=uas" in value.lower() or not request.lists_token(H_SUPPORTED, b"timer"):
        return b""
    return b"Session-Expires: %b;refresher=uac\r\nRequire: timer\r\n" % value.partition(b";")[0].strip()
