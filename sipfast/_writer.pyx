"""Writes responses, and requests of our own. What is forwarded is written by `_edits`.

A response copies whole header lines of its request as they are, folds and compact names included: what RFC 3261
§8.2.6.2 wants equal is equal byte for byte. Only two values are touched on the way: the topmost Via, which gets
`received` and `rport` (RFC 3261 §18.2.1, RFC 3581 §4), and a To without tag. Everything is measured first and then
copied once, into a bytes object of just that size: each put_ below has its size_of_, and the two must agree. A copied
line that does not end in CRLF gets one.

Requests of which the parser said that they are wrong are answered, too: what can be read of them is copied, the rest is
left out.
"""

from cpython.ref cimport Py_DECREF, PyObject
from libc.string cimport memchr, memcmp, strlen

from ._hash cimport Hash, Secret, end_hash64, hex16, mix_bytes, mix_number, start_hash
from ._parser cimport (
    H_CALL_ID, H_CSEQ, H_FROM, H_RECORD_ROUTE, H_ROUTE, H_TIMESTAMP, H_TO, H_VIA, M_INVITE, Address, Field, Via, read_ip,
)

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *text, Py_ssize_t size) except NULL
    char *PyBytes_AS_STRING(PyObject *text)
    Py_ssize_t PyBytes_GET_SIZE(PyObject *text)

cdef extern from "arpa/inet.h" nogil:
    int AF_INET6
    const char *inet_ntop(int family, const void *source, char *target, unsigned int size)

cdef enum:
    ADDRESS_ROOM = 46       # INET6_ADDRSTRLEN
    PURPOSE_TAG = 0x74616767

# RFC 3261 §21 and IANA's registry of SIP response codes.
cdef dict PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK", 202: "Accepted", 204: "No Notification",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    410: "Gone", 412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority",
    420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief",
    424: "Bad Location Information", 425: "Bad Alert Message", 428: "Use Identity Header",
    429: "Provide Referrer Identity", 430: "Flow Failed", 433: "Anonymity Disallowed", 436: "Bad Identity Info",
    437: "Unsupported Credential", 438: "Invalid Identity Header", 439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded", 469: "Bad Info Package", 470: "Consent Needed",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
    555: "Push Notification Service Not Supported", 580: "Precondition Failure",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted",
    608: "Rejected",
}
# RFC 3261 §7.2
cdef tuple CLASSES = ("", "Provisional", "Success", "Redirection", "Client Error", "Server Error", "Global Failure")


def reason_phrase(int status):
    if not 100 <= status <= 699:
        raise ValueError(f"not a status code: {status}")
    return PHRASES.get(status) or CLASSES[status // 100]


# Every start line of a response with its standard phrase, ready to be copied.
cdef list START_LINES = [f"SIP/2.0 {status} {reason_phrase(status)}\r\n".encode() for status in range(100, 700)]


# Copying, as `put`: each writes at `to`, which has the room, and returns where the next one writes.

cdef inline char *put_bytes(char *to, bytes text) noexcept:
    return put(to, PyBytes_AS_STRING(<PyObject *>text), PyBytes_GET_SIZE(<PyObject *>text))


cdef inline char *put_span(char *to, Message message, Span span) noexcept:
    return put(to, message.p + span.start, span.end - span.start)


# Where the copy of a field's line ends: with its CRLF, or, where it has none, behind the value.
cdef inline int32_t copied_end(Message message, const Field *field) noexcept:
    cdef int32_t end = field.line_end
    if end - 2 >= field.value.end and message.p[end - 2] == c'\r' and message.p[end - 1] == c'\n':
        return end
    return field.value.end


# The rest of a field's line, from a position within it on.
cdef inline char *put_rest(char *to, Message message, const Field *field, int32_t start) noexcept:
    cdef int32_t end = copied_end(message, field)
    to = put(to, message.p + start, end - start)
    return to if end == field.line_end else put(to, b"\r\n", 2)


cdef inline Py_ssize_t size_of_line(Message message, const Field *field) noexcept:
    cdef int32_t end = copied_end(message, field)
    return end - field.line + (0 if end == field.line_end else 2)


# The line of the first field of a header, or nothing.
cdef inline char *put_first(char *to, Message message, int header) noexcept:
    cdef int index = message.first[header]
    if index < 0:
        return to
    return put_rest(to, message, &message.fields[index], message.fields[index].line)


cdef inline Py_ssize_t size_of_first(Message message, int header) noexcept:
    cdef int index = message.first[header]
    return 0 if index < 0 else size_of_line(message, &message.fields[index])


# The lines of all fields of a header.
cdef char *put_all(char *to, Message message, int header) noexcept:
    cdef int index = message.first[header]
    while index >= 0:
        to = put_rest(to, message, &message.fields[index], message.fields[index].line)
        index = message.fields[index].next
    return to


cdef Py_ssize_t size_of_all(Message message, int header) noexcept:
    cdef Py_ssize_t size = 0
    cdef int index = message.first[header]
    while index >= 0:
        size += size_of_line(message, &message.fields[index])
        index = message.fields[index].next
    return size


# Hands out a bytes object just made and filled.
cdef inline bytes finished(PyObject *made):
    cdef bytes result = <bytes>made
    Py_DECREF(result)
    return result


# Where a request came from, noted in its topmost Via.

# The peer's address without brackets (RFC 3261 §25.1, via-received); returns its length.
cdef int source_text(Flow flow, char *to) noexcept:
    cdef char *at = to
    cdef int i
    if flow.family != 4:
        inet_ntop(AF_INET6, flow.ip, to, ADDRESS_ROOM)
        return strlen(to)
    for i in range(4):
        if i:
            at[0] = c'.'
            at += 1
        at = put_number(at, flow.ip[i])
    return at - to


# Whether sent-by is the source address itself and not a name or another address.
cdef bint is_source(Message message, Span host, Flow flow, const char *source, int size) noexcept:
    cdef unsigned char ip[16]
    cdef int around = 1 if flow.family == 6 else 0        # brackets
    if host.end - host.start == size + 2 * around and memcmp(message.p + host.start + around, source, size) == 0:
        return True
    # One IPv6 address has many spellings (RFC 5118 §4.1).
    return flow.family == 6 and read_ip(message.p, host, ip) == 6 and memcmp(ip, flow.ip, 16) == 0


# Values that the client put there itself are not believed: a response goes where the request came from.
cdef int via_patches(Message request, Flow flow, Patch *patches) noexcept:
    cdef const Via *via = &request.via
    cdef char source[ADDRESS_ROOM]
    cdef char *at
    cdef int size = source_text(flow, source)
    cdef int count = 0
    cdef bint received = via.received.end > via.received.start
    cdef Patch first
    if via.all.end <= via.all.start:        # absent or malformed
        return 0
    if not via.has_rport and not received and is_source(request, via.host, flow, source, size):
        return 0
    if via.has_rport:       # RFC 3581 §4
        at = patches[0].text
        if via.rport.end > via.rport.start:
            patches[0].start = via.rport.start
            patches[0].end = via.rport.end
        else:
            patches[0].start = patches[0].end = via.rport_end
            at = put(at, b"=", 1)
        at = put_number(at, flow.port)
        patches[0].size = at - patches[0].text
        count = 1
    at = patches[count].text
    if received:
        patches[count].start = via.received.start
        patches[count].end = via.received.end
    else:                   # RFC 3261 §18.2.1
        patches[count].start = patches[count].end = via.all.end
        at = put(at, b";received=", 10)
    at = put(at, source, size)
    patches[count].size = at - patches[count].text
    count += 1
    if count == 2 and patches[1].start < patches[0].start:
        first = patches[1]
        patches[1] = patches[0]
        patches[0] = first
    return count


cdef Py_ssize_t size_of_vias(Message message, const Patch *patches, int count) noexcept:
    cdef Py_ssize_t size = size_of_all(message, H_VIA)
    cdef int i
    for i in range(count):
        size += patches[i].size - (patches[i].end - patches[i].start)
    return size


# All Via lines, the patches applied.
cdef char *put_vias(char *to, Message message, const Patch *patches, int count) noexcept:
    cdef int index = message.first[<int>H_VIA]
    cdef int done = 0
    cdef int32_t position
    cdef const Field *field
    while index >= 0:
        field = &message.fields[index]
        position = field.line
        while done < count and patches[done].start <= field.value.end:
            to = put(to, message.p + position, patches[done].start - position)
            to = put(to, patches[done].text, patches[done].size)
            position = patches[done].end
            done += 1
        to = put_rest(to, message, field, position)
        index = field.next
    return to


# Whether a tag is to be added to the request's To: it can be read and has none.
cdef inline bint lacks_tag(Message request) noexcept:
    cdef const Address *target = &request.target
    return target.all.end > target.all.start and target.tag.end <= target.tag.start


cdef char *put_tagged(char *to, Message request, bytes tag) noexcept:
    cdef const Field *target = &request.fields[request.first[<int>H_TO]]
    to = put(to, request.p + target.line, target.value.end - target.line)
    to = put(to, b";tag=", 5)
    to = put_bytes(to, tag)
    return put_rest(to, request, target, target.value.end)


# The last header field and the empty line.
cdef struct Length:
    int size
    char text[44]           # "Content-Length: ", at most 20 digits, CRLF CRLF


cdef inline void measure(Length *length, Py_ssize_t body) noexcept:
    cdef char *to = put(length.text, b"Content-Length: ", 16)
    to = put(put_number(to, body), b"\r\n\r\n", 4)
    length.size = to - length.text


cdef bytes make_response(Message request, int status, Flow flow, bytes to_tag, bytes extra, bytes reason, bytes body):
    if not 100 <= status <= 699:
        raise ValueError(f"not a status code: {status}")
    cdef bytes start_line = <bytes>START_LINES[status - 100]
    cdef Patch patches[2]
    cdef int patched = via_patches(request, flow, patches)
    cdef bint tagged = len(to_tag) > 0 and lacks_tag(request)                # RFC 3261 §8.2.6.2
    cdef bint routed = request.method == M_INVITE and 100 < status < 300     # RFC 3261 §12.1.1
    cdef bint stamped = status == 100                                        # RFC 3261 §8.2.6.1
    cdef Length length
    measure(&length, len(body))
    cdef Py_ssize_t size = ((len(start_line) if reason is None else 14 + len(reason))
                            + size_of_vias(request, patches, patched)
                            + size_of_first(request, H_FROM) + size_of_first(request, H_TO)
                            + size_of_first(request, H_CALL_ID) + size_of_first(request, H_CSEQ)
                            + len(extra) + length.size + len(body))
    if tagged:
        size += 5 + len(to_tag)
    if routed:
        size += size_of_all(request, H_RECORD_ROUTE)
    if stamped:
        size += size_of_first(request, H_TIMESTAMP)

    cdef PyObject *made = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = PyBytes_AS_STRING(made)
    if reason is None:
        to = put_bytes(to, start_line)
    else:
        to = put(to, PyBytes_AS_STRING(<PyObject *>start_line), 12)
        to = put_bytes(to, reason)
        to = put(to, b"\r\n", 2)
    to = put_vias(to, request, patches, patched)
    if routed:
        to = put_all(to, request, H_RECORD_ROUTE)
    to = put_first(to, request, H_FROM)
    to = put_tagged(to, request, to_tag) if tagged else put_first(to, request, H_TO)
    to = put_first(to, request, H_CALL_ID)
    to = put_first(to, request, H_CSEQ)
    if stamped:
        to = put_first(to, request, H_TIMESTAMP)
    to = put_bytes(to, extra)
    to = put(to, length.text, length.size)
    put_bytes(to, body)
    return finished(made)


# Requests within an INVITE's transaction.

cdef bytes make_ack(Message invite, Message response):
    return make_hop(invite, response if response.first[<int>H_TO] >= 0 else invite, b"ACK", b"")


cdef bytes make_ack_alone(Message response):
    return (b"ACK %b SIP/2.0\r\nVia: %b\r\nMax-Forwards: 70\r\nFrom: %b\r\nTo: %b\r\nCall-ID: %b\r\nCSeq: %d ACK\r\n"
            b"Content-Length: 0\r\n\r\n") % (
        response.text(response.target.uri.all), response.text(response.via.all), response.text(response.sender.all),
        response.text(response.target.all), response.text(response.call_id), response.cseq.number)


cdef bytes make_cancel(Message invite, bytes extra):
    return make_hop(invite, invite, b"CANCEL", extra)


# What RFC 3261 §17.1.1.3 and §9.1 have in common: all of it but where To comes from.
cdef bytes make_hop(Message invite, Message answered, bytes method, bytes extra):
    if invite.error or invite.status or invite.method != M_INVITE:
        raise ValueError("not a well-formed INVITE")
    cdef Span uri = invite.request_uri
    cdef Span via = invite.via.all
    cdef char number[20]
    cdef int digits = put_number(number, invite.cseq.number) - number
    cdef Py_ssize_t size = (2 * len(method) + uri.end - uri.start + via.end - via.start + digits + 66 + len(extra)
                            + size_of_all(invite, H_ROUTE) + size_of_first(invite, H_FROM)
                            + size_of_first(answered, H_TO) + size_of_first(invite, H_CALL_ID))
    cdef PyObject *made = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = put_bytes(PyBytes_AS_STRING(made), method)
    to = put(to, b" ", 1)
    to = put_span(to, invite, uri)
    to = put(to, b" SIP/2.0\r\nVia: ", 15)
    to = put_span(to, invite, via)
    to = put(to, b"\r\nMax-Forwards: 70\r\n", 20)
    to = put_all(to, invite, H_ROUTE)
    to = put_first(to, invite, H_FROM)
    to = put_first(to, answered, H_TO)
    to = put_first(to, invite, H_CALL_ID)
    to = put(to, b"CSeq: ", 6)
    to = put(to, number, digits)
    to = put(to, b" ", 1)
    to = put_bytes(to, method)
    to = put(to, b"\r\n", 2)
    to = put_bytes(to, extra)
    put(to, b"Content-Length: 0\r\n\r\n", 21)
    return finished(made)


cdef bytes warning_line(bytes agent, bytes text):
    return b"".join((b"Warning: 399 ", agent, b' "', text, b'"\r\n'))


# Of a malformed request what can be read counts, which is the same for its retransmissions.
cdef bytes stateless_tag(Message request, uint64_t secret):
    cdef Secret key
    cdef Hash h
    key.low = secret
    key.high = ~secret
    start_hash(&h, &key, PURPOSE_TAG)
    mix_span(&h, request, request.via.branch)
    mix_span(&h, request, request.call_id)
    mix_span(&h, request, request.sender.tag)
    mix_span(&h, request, request.request_uri)
    mix_number(&h, request.cseq.number)
    return hex16(end_hash64(&h))


cdef inline void mix_span(Hash *h, Message message, Span span) noexcept:
    mix_bytes(h, message.p + span.start, span.end - span.start)


# The face for Python.

# RFC 3261 §25.1
cdef bytes TOKEN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~"


cdef bytes as_token(text, str what):
    cdef bytes token = text.encode() if isinstance(text, str) else bytes(text)
    if not token or token.translate(None, TOKEN):
        raise ValueError(f"not a {what}: {text!r}")
    return token


cdef bint has_line_break(bytes text) noexcept:
    cdef PyObject *it = <PyObject *>text
    return (memchr(PyBytes_AS_STRING(it), c"\n", PyBytes_GET_SIZE(it)) != NULL
            or memchr(PyBytes_AS_STRING(it), c"\r", PyBytes_GET_SIZE(it)) != NULL)


cdef bytes as_line(bytes text):
    if has_line_break(text):
        raise ValueError(f"a line break in {text!r}")
    return text


cdef bytes as_lines(headers):
    cdef list lines = []
    cdef bytes name
    for field, value in headers:
        name = as_token(field, "header name")
        if name.lower() in (b"content-length", b"l"):
            raise ValueError("Content-Length is added here")
        lines.append(b"%b: %b\r\n" % (name, as_line(value)))
    return b"".join(lines)


def response(Message request not None, int status, Flow flow not None, *, bytes to_tag not None=b"", extra=(),
             str reason=None, bytes body not None=b""):
    if to_tag:
        as_token(to_tag, "tag")
    return make_response(request, status, flow, to_tag, as_lines(extra),
                         None if reason is None else as_line(reason.encode()), body)


def request(str method not None, bytes uri not None, headers, bytes body not None=b""):
    if not uri or b" " in uri or b"\t" in uri:
        raise ValueError(f"not a Request-URI: {uri!r}")
    return b"%b %b SIP/2.0\r\n%bContent-Length: %d\r\n\r\n%b" % (
        as_token(method, "method"), as_line(uri), as_lines(headers), len(body), body)


def ack(Message invite not None, Message final not None):
    return make_ack(invite, final)


def cancel(Message invite not None, *, extra=()):
    return make_cancel(invite, as_lines(extra))


def tag_of(Message request not None, uint64_t secret):
    return stateless_tag(request, secret)
