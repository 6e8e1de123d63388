"""What redial reads of an INVITE that found nobody, and says in the 480 that answers it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromFormat, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport H_CONTACT, H_EXPIRES, H_USER_AGENT, Address, Cursor, Message, Span, find_param
from ..routing.contacts cimport MOST_CONTACT, MOST_READ
from ..store.codec cimport StoredWatch, bytes_of
from .._writer cimport warning_line

cdef enum:
    MOST_AGENT = 64         # bytes

cdef int64_t LONGEST_EXPIRES = 1 << 31      # seconds


cpdef int64_t expires_of(Message request) except? -2:
    cdef int64_t seconds = request.number(H_EXPIRES)
    if seconds == -2:
        value = request.header("Expires")           # more than 32 bits, perhaps
        seconds = LONGEST_EXPIRES if value.isdigit() else -1
    return min(seconds, LONGEST_EXPIRES)


cdef tuple contact_of(Message request, Flow flow):
    cdef Cursor cursor
    cdef Span value, instance
    cdef Address address
    request.cursor(H_CONTACT, &cursor)
    if (request.next_value(&cursor, &value) and value.end - value.start <= MOST_READ
            and request.parse_address(value, &address) == 1
            and 0 < address.uri.all.end - address.uri.all.start <= MOST_CONTACT):
        find_param(request.p, address.params, b"+sip.instance", &instance)
        return request.text(address.uri.all), request.text(instance).strip(b'"') if instance.end > instance.start else b""
    host = b"[%b]" % flow.host_text() if flow.family == 6 else flow.host_text()
    return b"sip:%b:%d" % (host, flow.port), b""


cdef bytes agent_of(Message request):
    cdef Span agent = request.value_of(H_USER_AGENT)
    return request.text(Span(agent.start, min(agent.end, agent.start + MOST_AGENT)))


cdef tuple offer(StoredWatch watch, int64_t now):
    cdef bytes callee = bytes_of(watch.at.callee)
    cdef int64_t seconds = max(0, (watch.at.expires_at - now) // 1000)
    # RFC 6910 §7.1
    return b"Not Logged In, Automatic Redial On", b"".join((
        b"Call-Info: <", callee, b">;purpose=call-completion;m=", bytes_of(watch.at.mode), b"\r\n",
        warning(callee, PyBytes_FromFormat(b"Automatic redial is on for %zd s: your phone rings when the callee is back",
                                           <Py_ssize_t>seconds))))


cdef bytes warning(bytes callee, bytes text):
    return warning_line(host_of(callee), text)


cdef bytes host_of(bytes aor):
    """What stands behind its last @."""
    cdef const char *p = PyBytes_AS_STRING(aor)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(aor), i = size
    while i > 0 and p[i - 1] != c"@":
        i -= 1
    return PyBytes_FromStringAndSize(p + i, size - i)
