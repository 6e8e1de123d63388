"""What the Contacts of a REGISTER say, and the Contact lines of its answer (RFC 3261 §10.2, §10.3).

Any URI may be a Contact (§10.2.1 names tel, mailto and http).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp

from .._grammar cimport C_TOKEN, is_digit, read_param, span_is, unfold
from .._likeness cimport Likeness, alike, liken, uris_equal
from .._parser cimport H_EXPIRES, H_PATH, SCHEME_OTHER, Address, Cursor, Message, Span, Uri, parse_uri_at
from ..store.codec cimport Entry, piece_of
from .._writer cimport put, put_number

from ..store.records import Binding, Move

cdef int64_t MALFORMED_EXPIRES = 3600
cdef int64_t MOST_EXPIRES = 0xFFFFFFFF      # RFC 3261 §10.2: what is larger counts as this
cdef int64_t MOST_REG_ID = 0x7FFFFFFF

cdef const char *DAYS = b"ThuFriSatSunMonTueWed"        # 1 January 1970 was a Thursday
cdef const char *MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef int64_t read_seconds(const unsigned char *p, Span span) noexcept:
    cdef int64_t seconds = 0
    cdef int32_t i
    if span.end <= span.start:
        return MALFORMED
    for i in range(span.start, span.end):
        if not is_digit(p[i]):
            return MALFORMED
        seconds = min(seconds * 10 + (p[i] - 48), MOST_EXPIRES)
    return seconds


# qvalue (RFC 3261 §25.1) in thousandths, or -1: 0 or 1, with at most three decimals, not above 1.
cdef int read_q(const unsigned char *p, Span span) noexcept:
    cdef int32_t i = span.start, size = span.end - span.start
    cdef int q = 0, scale = 1000
    if size < 1 or size > 5 or (p[i] != c'0' and p[i] != c'1') or (size > 1 and p[i + 1] != c'.'):
        return -1
    q = (p[i] - 48) * scale
    for i in range(span.start + 2, span.end):
        if not is_digit(p[i]):
            return -1
        scale //= 10
        q += (p[i] - 48) * scale
    return q if q <= 1000 else -1


cdef int read_contact(Message message, Span value, Wanted *wanted) noexcept:
    cdef const unsigned char *p = message.p
    cdef Span name, text
    cdef int32_t i, size
    if value.end - value.start > MOST_READ:
        return TOO_LARGE
    if message.parse_address(value, &wanted.address) != 1:
        return -1
    wanted.expires = -1
    wanted.q = DEFAULT_Q
    wanted.others = False
    wanted.instance.start = wanted.instance.end = 0
    wanted.reg_id = 0
    i = wanted.address.params.start
    while i < wanted.address.params.end:
        i = read_param(p, i, wanted.address.params.end, C_TOKEN, &name, &text)
        if i < 0:
            return -1
        size = name.end - name.start
        if size == 7 and span_is(p, name, b"expires"):
            wanted.expires = read_seconds(p, text)
        elif size == 1 and (p[name.start] | 32) == c'q':
            wanted.q = read_q(p, text)
            if wanted.q < 0:
                return -1
        else:
            wanted.others = True
            if size == 13 and span_is(p, name, b"+sip.instance") and text.end - text.start > 2 and p[text.start] == c'"':
                wanted.instance.start = text.start + 1
                wanted.instance.end = text.end - 1
            elif size == 6 and span_is(p, name, b"reg-id"):
                wanted.reg_id = max(read_seconds(p, text), 0)
    if wanted.instance.end == wanted.instance.start or wanted.reg_id > MOST_REG_ID:
        wanted.reg_id = 0                   # RFC 5626 §6: without an instance it means nothing; §4.2: up to 2^31 - 1
    return 1


cdef int choose_interval(Message request, Wanted *wanted, int64_t fallback) noexcept:
    if wanted.expires == -1:
        wanted.expires = read_seconds(request.p, request.value_of(H_EXPIRES)) if request.has(H_EXPIRES) else fallback
    if wanted.expires == MALFORMED:
        wanted.expires = MALFORMED_EXPIRES
    return 0


cdef bytes other_params(Message message, const Wanted *wanted):
    cdef Span name, text
    cdef int32_t i = wanted.address.params.start, size
    cdef list pieces = []
    if not wanted.others:
        return b""
    while i < wanted.address.params.end:
        i = read_param(message.p, i, wanted.address.params.end, C_TOKEN, &name, &text)
        size = name.end - name.start
        if not (size == 7 and span_is(message.p, name, b"expires")) and not (size == 1 and message.p[name.start] | 32 == c'q'):
            pieces.append(b";" + message.data[name.start:name.end])
            if text.end > text.start:
                pieces.append(b"=" + unfold(message.data[text.start:text.end]))
    return b"".join(pieces)


cdef bytes read_path(Message message):
    cdef Cursor cursor
    cdef Span value
    cdef Address address
    cdef list values
    cdef int field = message.first[<int>H_PATH]
    cdef int32_t size = 0
    if field < 0:
        return b""
    while field >= 0:
        size += message.fields[field].value.end - message.fields[field].value.start
        field = message.fields[field].next
    if size > MOST_PATH:
        return None
    values = []
    message.cursor(H_PATH, &cursor)
    while message.next_value(&cursor, &value):
        if message.parse_address(value, &address) != 1 or message.p[address.uri.all.start - 1] != c'<':
            return None
        values.append(unfold(message.text(value)))
    return b", ".join(values)


cdef uint32_t branch_of(Message request) noexcept:
    cdef uint32_t h = 2166136261U
    cdef int32_t i
    for i in range(request.via.branch.start, request.via.branch.end):
        h = (h ^ request.p[i]) * 16777619U
    return h if h else 1


# ---- bindings

cdef bytes likeness_of(bytes contact):
    cdef bytes made = PyBytes_FromStringAndSize(NULL, sizeof(Likeness))
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(contact)
    cdef Uri uri
    if parse_uri_at(p, 0, <int32_t>PyBytes_GET_SIZE(contact), &uri) != 1:
        return b""
    liken(p, &uri, <Likeness *>PyBytes_AS_STRING(made))
    return made


cdef Py_ssize_t find(list bindings, const unsigned char *p, const Uri *uri, dict known) except -2:
    cdef Py_ssize_t i
    cdef bytes contact, likeness
    cdef Uri other
    cdef Likeness wanted
    for i in range(len(bindings)):
        contact = bindings[i].contact
        if (PyBytes_GET_SIZE(contact) == uri.all.end - uri.all.start
                and memcmp(PyBytes_AS_STRING(contact), p + uri.all.start, PyBytes_GET_SIZE(contact)) == 0):
            return i
    if uri.scheme == SCHEME_OTHER or not bindings:
        return -1
    liken(p, uri, &wanted)
    for i in range(len(bindings)):
        contact = bindings[i].contact
        likeness = known.get(contact)
        if likeness is None:
            likeness = known[contact] = likeness_of(contact)
        if (PyBytes_GET_SIZE(likeness) and alike(&wanted, <const Likeness *>PyBytes_AS_STRING(likeness))
                and parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(contact), 0, <int32_t>PyBytes_GET_SIZE(contact),
                                 &other) == 1
                and uris_equal(p, uri, <const unsigned char *>PyBytes_AS_STRING(contact), &other)):
            return i
    return -1


cdef Py_ssize_t find_instance(list bindings, bytes instance, int64_t reg_id) except -2:
    cdef Py_ssize_t i
    if instance:
        for i in range(len(bindings)):
            if bindings[i].instance == instance and bindings[i].reg_id == reg_id:
                return i
    return -1


cdef bint has_reachable(list bindings) except -1:
    for binding in bindings:
        if not binding.doubtful:
            return True
    return False


cdef object make_binding(Message message, const Wanted *wanted, int64_t seconds, Message request, bytes path, bytes flow,
                         int64_t now):
    return Binding(message.text(wanted.address.uri.all), now + 1000 * seconds, request.text(request.call_id),
                   request.cseq.number, wanted.q, other_params(message, wanted), path, flow,
                   message.text(wanted.instance), now, wanted.reg_id, branch_of(request))


cdef object move_between(object former, object binding, bytes aor, int64_t expires):
    # A way by Path is an edge proxy's, which others share, and does not move with a phone.
    if not former.flow or not binding.flow or former.flow == binding.flow or former.path or binding.path:
        return None
    if former.instance and binding.instance and former.instance != binding.instance:
        return None                         # another phone with the same private address
    return Move(former.flow, binding.flow, aor, former.contact, expires)


# ---- the answer

# What of a binding stands in a Contact line.
cdef int read_binding(object binding, Entry *entry) except -1:
    cdef bytes contact = binding.contact, params = binding.params
    entry.contact = piece_of(PyBytes_AS_STRING(contact), PyBytes_GET_SIZE(contact))
    entry.params = piece_of(PyBytes_AS_STRING(params), PyBytes_GET_SIZE(params))
    entry.expires = binding.expires
    entry.q = binding.q
    return 0


cdef Py_ssize_t room_for(const Entry *entry) noexcept:
    return entry.contact.size + entry.params.size + 80


cdef char *put_binding(char *at, const Entry *entry, int64_t now) noexcept:
    at = put(at, b"Contact: <", 10)
    at = put(at, entry.contact.text, entry.contact.size)
    # Rounded up: a fresh binding shows what was granted, and a live one never 0, which would be a removal.
    at = put(at, b">;expires=", 10)
    at = put_number(at, (entry.expires - now + 999) // 1000)
    if entry.q == 0:
        at = put(at, b";q=0", 4)
    elif entry.q != DEFAULT_Q:
        at += snprintf(at, 20, b";q=0.%03d", <int>entry.q)
        while (at - 1)[0] == c'0':
            at -= 1
    at = put(at, entry.params.text, entry.params.size)
    return put(at, b"\r\n", 2)


cdef bytes contact_lines(list bindings, bytes last, int64_t now):
    cdef char ordinary[ROOM]
    cdef char *out = ordinary
    cdef char *at
    cdef Entry entry
    cdef object binding
    cdef Py_ssize_t room = PyBytes_GET_SIZE(last)
    for binding in bindings:
        read_binding(binding, &entry)
        room += room_for(&entry)
    if room > ROOM:
        out = <char *>PyMem_Malloc(room)
        if out == NULL:
            raise MemoryError
    try:
        at = out
        for binding in bindings:
            read_binding(binding, &entry)
            at = put_binding(at, &entry, now)
        at = put(at, PyBytes_AS_STRING(last), PyBytes_GET_SIZE(last))
        return PyBytes_FromStringAndSize(out, at - out)
    finally:
        if out != ordinary:
            PyMem_Free(out)


cdef bytes contact_line(const Entry *entry, bytes last, int64_t now):
    cdef char out[ROOM]
    cdef char *at = put_binding(out, entry, now)
    at = put(at, PyBytes_AS_STRING(last), PyBytes_GET_SIZE(last))
    return PyBytes_FromStringAndSize(out, at - out)


# The one date format of SIP. The calendar counts from 1 March 0000, so that leap days end a year.
cdef bytes date_line(int64_t second):
    cdef char out[64]
    cdef int64_t day = second // 86400, rest = second % 86400
    cdef int64_t shifted = day + 719468
    cdef int64_t era = shifted // 146097
    cdef int64_t of_era = shifted - era * 146097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153
    cdef int64_t of_month = of_year - (153 * month + 2) // 5 + 1
    cdef int64_t calendar_month = month + 2 if month < 10 else month - 10       # 0: January
    cdef int64_t calendar_year = year + era * 400 + (1 if calendar_month < 2 else 0)
    cdef int size = snprintf(out, sizeof(out), b"Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                             DAYS + 3 * (day % 7), <int>of_month, MONTHS + 3 * calendar_month, <int>calendar_year,
                             <int>(rest // 3600), <int>(rest // 60 % 60), <int>(rest % 60))
    return PyBytes_FromStringAndSize(out, size)
