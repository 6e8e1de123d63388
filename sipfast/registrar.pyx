"""The registrar of RFC 3261 §10.3, stateless on the wire (§8.2.7), and the pupil of an upstream's registrar.

A REGISTER is worked out on a copy of the AOR's bindings and stored by one write, so it takes effect as a whole or not at
all (§10.3 step 7). Steps 1 to 5 (whose request it is, Require, who may) are the engine's; here are

6  `Contact: *` stands alone and with Expires: 0, else 400; it removes every binding
7  each Contact's interval: its expires parameter, else the Expires header, else the default; longer than the greatest is
   cut to it; shorter than the least, but not 0, is answered 423 (RFC 3261 §21.4.17); one that cannot be read is 3600
   (§10.2). A binding is found by comparing URIs (§19.1.4). With its Call-ID, a lower CSeq is answered 500; the same CSeq is
   a retransmission, which without a transaction comes here again: it changes nothing and is answered anew, alike
8  the 200 lists every binding with what is left of its interval, and the Date

A malformed Contact, q or Path is answered 400. More bindings than the AOR may have are answered 403.
Any URI may be a Contact (§10.2.1 names tel, mailto and http); only sip: and sips: are ever sent a request.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp

import cython

from ._flow cimport MOST_PACKED, Flow
from ._grammar cimport C_TOKEN, is_digit, read_param, unfold
from ._parser cimport (
    H_CONTACT,
    H_EXPIRES,
    H_PATH,
    H_SUPPORTED,
    Address,
    Cursor,
    Message,
    Span,
    Uri,
    parse_uri_at,
    span_is,
    uris_equal,
)
from ._records cimport Entry, piece_of, read_entry, write_entry
from ._writer cimport make_response, put, put_number, stateless_tag
from .location cimport Location

from msgspec.structs import replace

from .records import Binding

cdef enum:
    DEFAULT_Q = 1000
    MOST_LEARNED = 256          # contacts of one message that learning compares with each other
    ROOM = 4096                 # for a listing on the C stack

cdef int64_t MALFORMED_EXPIRES = 3600       # RFC 3261 §10.2 and §20.10
cdef int64_t MOST_EXPIRES = 0xFFFFFFFF      # RFC 3261 §10.2: what is larger counts as this

cdef const char *DAYS = b"ThuFriSatSunMonTueWed"        # 1 January 1970 was a Thursday
cdef const char *MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"

# One value of a Contact header.
cdef struct Wanted:
    Address address
    int64_t expires             # seconds; -1 where it has no such parameter
    int q                       # thousandths
    Span instance               # without its quotes
    bint others                 # whether there are other parameters


# delta-seconds (RFC 3261 §25.1); 3600 for what is none, such as the dates of RFC 2543.
cdef int64_t read_seconds(const unsigned char *p, Span span) noexcept:
    cdef int64_t seconds = 0
    cdef int32_t i
    if span.end <= span.start:
        return MALFORMED_EXPIRES
    for i in range(span.start, span.end):
        if not is_digit(p[i]):
            return MALFORMED_EXPIRES
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


# 1, or -1 where the value is malformed.
cdef int read_contact(Message message, Span value, Wanted *wanted) noexcept:
    cdef const unsigned char *p = message.p
    cdef Span name, text
    cdef int32_t i, size
    if message.parse_address(value, &wanted.address) != 1:
        return -1
    wanted.expires = -1
    wanted.q = DEFAULT_Q
    wanted.others = False
    wanted.instance.start = wanted.instance.end = 0
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
    return 1


# The parameters to list again: all but expires and q, as they came.
cdef bytes other_params(Message message, const Wanted *wanted):
    cdef Span name, text
    cdef int32_t i = wanted.address.params.start, size
    cdef bytes params = b""
    if not wanted.others:
        return params
    while i < wanted.address.params.end:
        i = read_param(message.p, i, wanted.address.params.end, C_TOKEN, &name, &text)
        size = name.end - name.start
        if not (size == 7 and span_is(message.p, name, b"expires")) and not (size == 1 and message.p[name.start] | 32 == c'q'):
            params += b";" + message.data[name.start:name.end]
            if text.end > text.start:
                params += b"=" + unfold(message.data[text.start:text.end])
    return params


# All Path values in one (RFC 3327 §4: each is a name-addr), None where one is malformed.
cdef bytes read_path(Message message):
    cdef Cursor cursor
    cdef Span value
    cdef Address address
    cdef list values
    if not message.has(H_PATH):
        return b""
    values = []
    message.cursor(H_PATH, &cursor)
    while message.next_value(&cursor, &value):
        if message.parse_address(value, &address) != 1 or message.p[address.uri.all.start - 1] != c'<':
            return None
        values.append(unfold(message.text(value)))
    return b", ".join(values)


# The index of the binding with this contact, or -1.
cdef Py_ssize_t find(list bindings, const unsigned char *p, const Uri *uri) except -2:
    cdef Py_ssize_t i
    cdef bytes contact
    cdef Uri other
    for i in range(len(bindings)):
        contact = bindings[i].contact
        if (PyBytes_GET_SIZE(contact) == uri.all.end - uri.all.start
                and memcmp(PyBytes_AS_STRING(contact), p + uri.all.start, PyBytes_GET_SIZE(contact)) == 0):
            return i
    for i in range(len(bindings)):
        contact = bindings[i].contact
        if (parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(contact), 0, <int32_t>PyBytes_GET_SIZE(contact), &other) == 1
                and uris_equal(p, uri, <const unsigned char *>PyBytes_AS_STRING(contact), &other)):
            return i
    return -1


cdef object make_binding(Message message, const Wanted *wanted, int64_t seconds, Message request, bytes path, bytes flow,
                         int64_t now):
    return Binding(message.text(wanted.address.uri.all), now + 1000 * seconds, request.text(request.call_id),
                   request.cseq.number, wanted.q, other_params(message, wanted), path, flow,
                   message.text(wanted.instance), now)


# What the Contacts of a request would be bound as.
cdef list contacts_of(Message request, bytes path, bytes flow, int64_t now):
    cdef Cursor cursor
    cdef Span value
    cdef Wanted wanted
    cdef list found = []
    request.cursor(H_CONTACT, &cursor)
    while len(found) < MOST_LEARNED and request.next_value(&cursor, &value):
        if read_contact(request, value, &wanted) == 1:
            found.append(make_binding(request, &wanted, 0, request, path, flow, now))
    return found


# Whether a REGISTER for this contact changes the binding: it is the same, byte for byte, and not older (§10.3 step 7).
cdef bint follows(const Entry *entry, Message request, Span contact) noexcept:
    cdef const char *p = <const char *>request.p
    cdef Span call_id = request.call_id
    if entry.contact.size != contact.end - contact.start or memcmp(entry.contact.text, p + contact.start,
                                                                   entry.contact.size) != 0:
        return False
    return not (entry.cseq >= request.cseq.number and entry.call_id.size == call_id.end - call_id.start
                and memcmp(entry.call_id.text, p + call_id.start, entry.call_id.size) == 0)


# What of a binding stands in a Contact line.
cdef int read_binding(object binding, Entry *entry) except -1:
    cdef bytes contact = binding.contact, params = binding.params
    entry.contact = piece_of(PyBytes_AS_STRING(contact), PyBytes_GET_SIZE(contact))
    entry.params = piece_of(PyBytes_AS_STRING(params), PyBytes_GET_SIZE(params))
    entry.expires = binding.expires
    entry.q = binding.q
    return 0


cdef inline Py_ssize_t room_for(const Entry *entry) noexcept:
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


# A Contact line for each binding, then `last`.
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


# The same for one binding that is known to fit.
cdef bytes contact_line(const Entry *entry, bytes last, int64_t now):
    cdef char out[ROOM]
    cdef char *at = put_binding(out, entry, now)
    at = put(at, PyBytes_AS_STRING(last), PyBytes_GET_SIZE(last))
    return PyBytes_FromStringAndSize(out, at - out)


# RFC 3261 §20.17: the one date format of SIP. The calendar counts from 1 March 0000, so that leap days end a year.
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


@cython.final
cdef class Registrar:

    def __init__(self, settings, Location location not None, uint64_t secret):
        self.location = location
        self.secret = secret
        self.max_expires = settings.max_expires
        self.min_expires = settings.min_expires
        self.default_expires = min(max(settings.default_expires, settings.min_expires), settings.max_expires)
        self.max_contacts = settings.max_contacts
        self.newly_bound = False
        self.date_second = -1
        self.date_line = b""

    cdef bytes register(self, Message request, Flow flow, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value, unused
        cdef bytes path = read_path(request), answer
        self.newly_bound = False
        if path is None:
            return self.refuse(request, flow, 400)
        if not request.has(H_CONTACT):
            return self.accept(request, flow, path, self.location.lookup(aor, now), now)
        request.cursor(H_CONTACT, &cursor)
        if not request.next_value(&cursor, &value):
            return self.refuse(request, flow, 400)
        if value.end - value.start == 1 and request.p[value.start] == c'*':
            return self.remove_all(request, flow, &cursor, path, aor, now)
        if not request.next_value(&cursor, &unused):
            answer = self.update_one(request, flow, value, path, aor, now)
            if answer is not None:
                return answer
        return self.update(request, flow, path, aor, now)

    # The commonest REGISTERs by far: one Contact, of an AOR that has no binding, or has this one alone, and live. It comes to
    # what `update` would have come to, from the bytes of the record. None where it is anything else; nothing was done then.
    cdef bytes update_one(self, Message request, Flow flow, Span value, bytes path, bytes aor, int64_t now):
        cdef Wanted wanted
        cdef Entry entry
        cdef object store = self.location.store
        cdef const char *p = <const char *>request.p
        cdef unsigned char packed[MOST_PACKED]
        cdef bytes record, params
        cdef Span contact
        if read_contact(request, value, &wanted) < 0:
            return None
        if wanted.expires < 0:
            wanted.expires = read_seconds(request.p, request.value_of(H_EXPIRES)) if request.has(H_EXPIRES) else (
                self.default_expires)
        if 0 < wanted.expires < self.min_expires:
            return None
        contact = wanted.address.uri.all
        store.for_update()
        record = store.bindings_record(aor)
        if record is not None:
            if not read_entry(record, aor, &entry) or entry.expires <= now or not follows(&entry, request, contact):
                return None
            if wanted.expires == 0:
                store.put_bindings(aor, ())
                return self.list_bindings(request, flow, path, self.date(now))
        elif wanted.expires == 0:
            return None
        params = other_params(request, &wanted)
        entry.contact = piece_of(p + contact.start, contact.end - contact.start)
        entry.expires = now + 1000 * min(wanted.expires, self.max_expires)
        entry.call_id = piece_of(p + request.call_id.start, request.call_id.end - request.call_id.start)
        entry.cseq = request.cseq.number
        entry.q = wanted.q
        entry.params = piece_of(PyBytes_AS_STRING(params), PyBytes_GET_SIZE(params))
        entry.path = piece_of(PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
        entry.flow = piece_of(packed, flow.pack_into(packed))
        entry.instance = piece_of(p + wanted.instance.start, wanted.instance.end - wanted.instance.start)
        entry.updated = now
        if room_for(&entry) + PyBytes_GET_SIZE(self.date(now)) > ROOM:
            return None
        store.put_bindings_record(aor, write_entry(aor, &entry))
        self.newly_bound = record is None
        return self.list_bindings(request, flow, path, contact_line(&entry, self.date(now), now))

    # Contact: *. RFC 3261 §10.3 step 6.
    cdef bytes remove_all(self, Message request, Flow flow, Cursor *cursor, bytes path, bytes aor, int64_t now):
        cdef Span value
        cdef bytes call_id
        cdef object binding, store = self.location.store
        cdef int64_t cseq = request.cseq.number
        if request.next_value(cursor, &value) or not request.has(H_EXPIRES):
            return self.refuse(request, flow, 400)
        if read_seconds(request.p, request.value_of(H_EXPIRES)) != 0:
            return self.refuse(request, flow, 400)
        store.for_update()
        call_id = request.text(request.call_id)
        for binding in store.bindings(aor):
            if binding.expires > now and binding.call_id == call_id and <int64_t>binding.cseq >= cseq:
                return self.refuse(request, flow, 500)
        store.put_bindings(aor, ())
        return self.accept(request, flow, path, [], now)

    # RFC 3261 §10.3 step 7.
    cdef bytes update(self, Message request, Flow flow, bytes path, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef bytes call_id = request.text(request.call_id), packed = flow.pack()
        cdef object binding, store = self.location.store
        cdef list live, made = []
        cdef int64_t fallback = self.default_expires, cseq = request.cseq.number, known
        cdef Py_ssize_t index, before
        cdef int values = 0
        cdef bint repeated = False, changed = False
        if request.has(H_EXPIRES):
            fallback = read_seconds(request.p, request.value_of(H_EXPIRES))
        store.for_update()
        live = [binding for binding in store.bindings(aor) if binding.expires > now]
        before = len(live)
        request.cursor(H_CONTACT, &cursor)
        while request.next_value(&cursor, &value):
            values += 1
            if values > 2 * self.max_contacts:      # as many to remove, and as many to add: no honest request has more
                return self.refuse(request, flow, 403)
            if read_contact(request, value, &wanted) < 0:
                return self.refuse(request, flow, 400)
            if wanted.expires < 0:
                wanted.expires = fallback
            if 0 < wanted.expires < self.min_expires:
                return self.refuse_brief(request, flow)
            index = find(live, request.p, &wanted.address.uri)
            if index >= 0:
                binding = live[index]
                if binding.call_id == call_id and binding not in made:
                    known = binding.cseq
                    if known > cseq:
                        return self.refuse(request, flow, 500)
                    if known == cseq:
                        repeated = True
            if wanted.expires == 0:
                if index >= 0:
                    del live[index]
                    changed = True
                continue
            binding = make_binding(request, &wanted, min(wanted.expires, self.max_expires), request, path, packed, now)
            made.append(binding)
            changed = True
            if index >= 0:
                live[index] = binding
            else:
                live.append(binding)
        if repeated:
            return self.accept(request, flow, path, self.location.lookup(aor, now), now)
        if len(live) > self.max_contacts and len(live) > before:
            return self.refuse(request, flow, 403)
        if changed:
            store.put_bindings(aor, live)
        self.newly_bound = before == 0 and len(live) > 0
        return self.accept(request, flow, path, live, now)

    # ---- responses

    cdef bytes refuse(self, Message request, Flow flow, int status):
        return make_response(request, status, flow, stateless_tag(request, self.secret), b"", None, b"")

    cdef bytes refuse_brief(self, Message request, Flow flow):
        # RFC 3261 §20.23
        return make_response(request, 423, flow, stateless_tag(request, self.secret),
                             b"Min-Expires: %d\r\n" % self.min_expires, None, b"")

    cdef bytes date(self, int64_t now):
        if now // 1000 != self.date_second:
            self.date_second = now // 1000
            self.date_line = date_line(self.date_second)
        return self.date_line

    # RFC 3261 §10.3 step 8; RFC 3327 §5.3 for Path.
    cdef bytes accept(self, Message request, Flow flow, bytes path, list bindings, int64_t now):
        return self.list_bindings(request, flow, path, contact_lines(bindings, self.date(now), now))

    cdef bytes list_bindings(self, Message request, Flow flow, bytes path, bytes lines):
        if path and request.lists_token(H_SUPPORTED, b"path"):
            lines = b"Path: " + path + b"\r\n" + lines
        return make_response(request, 200, flow, stateless_tag(request, self.secret), lines, None, b"")

    # ---- learning from an upstream's registrar

    cdef int learn(self, Message request, Message response, Flow flow, bytes aor, int64_t now) except -1:
        cdef object binding, store = self.location.store
        cdef bytes call_id = request.text(request.call_id)
        cdef int64_t cseq = request.cseq.number, theirs
        cdef list live, listed
        self.newly_bound = False
        if not 200 <= response.status < 300:
            return 0
        store.for_update()
        store.put_known(aor)
        live = [binding for binding in store.bindings(aor) if binding.expires > now]
        for binding in live:
            theirs = binding.cseq
            if binding.call_id == call_id and theirs > cseq:
                return 0                    # the answer to a later REGISTER of this phone has come before
        listed = self.listed(request, response, flow, live, now)
        store.put_bindings(aor, listed)
        # A query that finds bindings which we had not heard of is no registration.
        self.newly_bound = not live and len(listed) > 0 and request.has(H_CONTACT)
        return 0

    # The upstream's list as bindings. What the request named is reached by its flow, what we knew as before.
    cdef list listed(self, Message request, Message response, Flow flow, list live, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef object binding, former
        cdef Py_ssize_t index
        cdef int64_t seconds, fallback = self.default_expires
        cdef list found = []
        cdef list named = contacts_of(request, read_path(request) or b"", flow.pack(), now)
        if response.has(H_EXPIRES):
            fallback = read_seconds(response.p, response.value_of(H_EXPIRES))
        response.cursor(H_CONTACT, &cursor)
        while len(found) < MOST_LEARNED and response.next_value(&cursor, &value):
            if read_contact(response, value, &wanted) < 0:
                continue
            seconds = wanted.expires if wanted.expires >= 0 else fallback
            if seconds == 0:
                continue
            binding = make_binding(response, &wanted, seconds, request, b"", b"", now)
            index = find(named, response.p, &wanted.address.uri)
            if index >= 0:
                former = named[index]
                binding = replace(binding, path=former.path, flow=former.flow, instance=binding.instance or former.instance)
            else:
                index = find(live, response.p, &wanted.address.uri)
                if index >= 0:
                    former = live[index]
                    binding = replace(former, contact=binding.contact, expires=binding.expires, q=binding.q)
            found.append(binding)
        return found

    # ---- the Python face

    def answer(self, Message request not None, Flow flow not None, bytes aor not None, int64_t now):
        return self.register(request, flow, aor, now)

    def learn_from(self, Message request not None, Message response not None, Flow flow not None, bytes aor not None,
                   int64_t now):
        self.learn(request, response, flow, aor, now)
