"""SIP messages (RFC 3261 §7 and §25): one pass over the header lines, then the few fields that every request needs.

What a peer sent never raises: the first fault sets `error`, `error_offset` and `why`, and reading goes on, so that what
can be read of a bad request is there to be answered. Where `error` is not 0

- `data`, `p`, `size`, the fields with their spans, `first` and `last` are right for the lines that could be split;
- every other span lies inside the message, is empty where nothing was read, and may hold less than was sent. The `all`
  of a Via, Address or Uri that is malformed is empty. A Via can be answered to where its `host` is not empty;
- `status` is -1 for a response whose status code cannot be read, so that `is_request` holds for requests only.

Statuses found here: 400, 505 (another SIP version) and 513 (over 65,535 bytes or 1,024 header fields; 2,048
of a response, which has all Vias of its request, and more). The caller's are
416 (`uri.scheme` is SCHEME_OTHER), 420 and the like.

Refused although the grammar has it: more than one field of a header that says one thing only (SINGLE below); a
Max-Forwards above 255 and a CSeq above 2**31 - 1 (§8.1.1.5, §20.22); headers inside the Request-URI (§19.1.1).
Accepted although the grammar has not: CRLFs before the start line (§7.5; dropped from `data`), a lone LF as line end, a
status line without the space after its code, any printable characters in Call-ID and in unquoted parameter values,
bytes above 127 in a display name without quotes, a From without tag and a request without Max-Forwards (RFC 2543).
A lone CR, or another control character that is not behind a backslash, is refused everywhere in the header.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

import cython

from ._grammar cimport (
    C_CALL_ID, C_TOKEN, CLASS, ONES, make_span, skip_space, token_end, trim, unfold, value_end, whole_number,
)
from ._names cimport LONGEST_NAME, SINGLE, header_id
from ._values cimport read_address, read_via, tail_end

# These are this module's, too, for Python.
from ._likeness import same_uri  # no-cython-lint
from ._uri import aor, uri_parts  # no-cython-lint
from ._values import parse_address, parse_via  # no-cython-lint

cdef extern from "<endian.h>" nogil:
    uint64_t le64toh(uint64_t word)

cdef extern from * nogil:
    int __builtin_ctzll(unsigned long long word)

cdef enum:
    INLINE_FIELDS = 20
    MAX_DELTA = 0xFFFFFFFF      # RFC 3261 §20.19


cdef const char *NOTHING = b""


# Scanning

cdef inline int32_t next_control(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """The first byte below 0x20 at or after i, or end: eight at a time, by the borrow of a subtraction from each byte."""
    cdef uint64_t word
    while i + 8 <= end:
        memcpy(&word, p + i, 8)
        word = le64toh(word)
        word = (word - 0x20 * ONES) & ~word & 0x80 * ONES
        if word:
            return i + (__builtin_ctzll(word) >> 3)
        i += 8
    while i < end and p[i] >= 32:
        i += 1
    return i


cdef void fail(Message message, int status, int32_t offset, const char *why) noexcept:
    """The first fault is the one that is answered."""
    if message.error == 0:
        message.error = status
        message.error_offset = offset
        message.why = why


# The start line

cdef int32_t version_fault(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """0 for SIP/2.0 in any case (§7.1), 505 for another version of SIP, 400 for anything else."""
    cdef int32_t j
    if end - i < 7 or not span_is(p, make_span(i, i + 4), b"SIP/"):
        return 400
    if end - i == 7 and memcmp(p + i + 4, b"2.0", 3) == 0:
        return 0
    i += 4
    j = i
    while j < end and <unsigned char>(p[j] - 48) < 10:
        j += 1
    if j == i or j == end or p[j] != c'.':
        return 400
    i = j = j + 1
    while j < end and <unsigned char>(p[j] - 48) < 10:
        j += 1
    return 505 if j == end and j > i else 400


cdef void read_request_line(Message message, int32_t end) noexcept:
    # RFC 3261 §7.1: Method SP Request-URI SP SIP-Version, each SP single
    cdef const unsigned char *p = message.p
    cdef int32_t i = token_end(p, 0, end)
    cdef int32_t j = end - 8
    cdef int fault
    if i == 0 or i == end or p[i] != c' ':
        fail(message, 400, i, b"no method")
        return
    message.method_name = make_span(0, i)
    message.method = method_id(p, message.method_name)
    if j < i or memcmp(p + j, b" SIP/2.0", 8) != 0:
        j = end - 1
        while p[j] != c' ':
            j -= 1
        fault = version_fault(p, j + 1, end)
        if fault:
            fail(message, fault, j + 1, b"not SIP/2.0")
    if j <= i:
        fail(message, 400, i, b"no Request-URI")
        return
    message.request_uri = make_span(i + 1, j)
    if parse_uri_at(p, i + 1, j, &message.uri) != 1:
        fail(message, 400, i + 1, b"malformed Request-URI")
    elif message.uri.headers.end > message.uri.headers.start:
        fail(message, 400, message.uri.headers.start, b"headers in the Request-URI")


cdef void read_status_line(Message message, int32_t end) noexcept:
    # RFC 3261 §7.2
    cdef const unsigned char *p = message.p
    cdef const unsigned char *space = <const unsigned char *>memchr(p, c' ', end)
    cdef int32_t i = end if space == NULL else <int32_t>(space - p)
    cdef int32_t digits
    cdef int fault = version_fault(p, 0, i)
    cdef int64_t code
    message.status = -1
    if fault:
        fail(message, fault, 0, b"not SIP/2.0")
    i += 1
    digits = i
    code = whole_number(p, &i, end, 699)
    if code < 100 or i - digits != 3 or (i < end and p[i] != c' '):
        fail(message, 400, digits, b"malformed status code")
        return
    message.status = <int>code
    message.reason = make_span(i + 1 if i < end else end, end)


cdef int32_t read_start_line(Message message) noexcept:
    """Where the header begins."""
    cdef const unsigned char *p = message.p
    cdef const unsigned char *newline = <const unsigned char *>memchr(p, c'\n', message.size)
    cdef int32_t end, i
    if newline == NULL:
        fail(message, 400, message.size, b"no end of the start line")
        return message.size
    end = <int32_t>(newline - p)
    if end > 0 and p[end - 1] == c'\r':
        end -= 1
    if end >= 4 and span_is(p, make_span(0, 4), b"SIP/"):
        read_status_line(message, end)
    else:
        read_request_line(message, end)
    i = next_control(p, 0, end)
    while i < end:
        if p[i] != c'\t' or message.status == 0:
            fail(message, 400, i, b"control character in the start line")
            break
        i = next_control(p, i + 1, end)
    return <int32_t>(newline - p) + 1


# Header fields

cdef int add_field(Message message, int header, int32_t line, int32_t line_end, Span name, Span value) except -1:
    cdef Field *field
    cdef int index = message.count
    if index == message.capacity and more_room(message) < 0:
        return 0
    field = &message.fields[index]
    field.id = <int16_t>header
    field.next = -1
    field.line = line
    field.line_end = line_end
    field.name = name
    field.value = value
    if message.first[header] < 0:
        message.first[header] = <int16_t>index
    else:
        message.fields[message.last[header]].next = <int16_t>index
        if SINGLE >> header & 1:
            fail(message, 400, line, b"a header field twice that may be there once")
    message.last[header] = <int16_t>index
    message.count = index + 1
    return 1


cdef int more_room(Message message) except -2:
    """0, or -1 where there are as many fields as we take."""
    cdef int capacity = (64 if message.capacity < 64 else 256 if message.capacity < 256
                         else MAX_FIELDS if message.capacity < MAX_FIELDS else 2 * MAX_FIELDS)
    cdef Field *fields
    if message.capacity == (2 * MAX_FIELDS if message.status else MAX_FIELDS):
        return -1
    if message.fields == message.inline_fields:
        fields = <Field *>PyMem_Malloc(capacity * sizeof(Field))
        if fields != NULL:
            memcpy(fields, message.inline_fields, sizeof(message.inline_fields))
    else:
        fields = <Field *>PyMem_Realloc(message.fields, capacity * sizeof(Field))
    if fields == NULL:
        raise MemoryError
    message.fields = fields
    message.capacity = capacity
    return 0


cdef int32_t line_break(Message message, int32_t i, int32_t *content_end) noexcept:
    """One past the end of the field whose value begins at i, folds included; size where it does not end."""
    cdef const unsigned char *p = message.p
    cdef int32_t end = message.size
    # A bytes object ends in a NUL of its own, so p[end] can be looked at.
    while True:
        i = next_control(p, i, end)
        if i >= end:
            content_end[0] = end
            return end
        content_end[0] = i
        if p[i] == c'\n' or (p[i] == c'\r' and p[i + 1] == c'\n'):
            i += 1 if p[i] == c'\n' else 2
            if p[i] != c' ' and p[i] != c'\t':
                return i
        else:
            if p[i] != c'\t' and (p[i - 1] != c'\\' or p[i] == c'\r'):
                fail(message, 400, i, b"control character in the header")
            i += 1


cdef inline int32_t name_before_colon(const unsigned char *p, int32_t i, int32_t end) noexcept:
    """Where the colon is, or i where none is near or a control character comes first: eight bytes at a time."""
    cdef int32_t start = i
    cdef uint64_t word, colon, control
    while i - start < LONGEST_NAME and i + 8 <= end:
        memcpy(&word, p + i, 8)
        word = le64toh(word)
        colon = word ^ 0x3A * ONES
        colon = (colon - ONES) & ~colon & 0x80 * ONES
        control = (word - 0x20 * ONES) & ~word & 0x80 * ONES
        if control & (colon - 1):             # all bits where there is no colon
            return start
        if colon:
            return i + (__builtin_ctzll(colon) >> 3)
        i += 8
    return start


cdef int32_t read_fields(Message message, int32_t i) except -1:
    """Where the body begins."""
    cdef const unsigned char *p = message.p
    cdef int32_t end = message.size
    cdef int32_t line, colon, content_end
    cdef int header
    cdef Span name
    while i < end:
        line = i
        if p[i] == c'\n':
            return i + 1
        if p[i] == c'\r' and p[i + 1] == c'\n':
            return i + 2
        # A name that is known need not be looked at letter by letter.
        i = name_before_colon(p, line, end)
        header = header_id(p + line, i - line) if i > line else H_OTHER
        if header == H_OTHER:
            i = line
            while CLASS[p[i]] & C_TOKEN:
                i += 1
            header = header_id(p + line, i - line) if i > line else H_OTHER
        name = make_span(line, i)
        while p[i] == c' ' or p[i] == c'\t':
            i += 1
        if p[i] != c':' or name.end == line:
            fail(message, 400, i, b"malformed header field name")
            i = line_break(message, i, &content_end)
            continue
        colon = i
        i = line_break(message, colon + 1, &content_end)
        if content_end == end:
            break
        if add_field(message, header, line, i, name, trim(p, colon + 1, content_end)) == 0:
            fail(message, 513, line, b"too many header fields")
            return end
    fail(message, 400, end, b"no empty line after the header")
    return end


# The fields that every message needs

cdef inline bint first_value(Message message, int header, const char *missing, Span *value) noexcept:
    cdef int index = message.first[header]
    if index < 0:
        fail(message, 400, message.body.start, missing)
        return False
    value[0] = message.fields[index].value
    return True


cdef void read_dialog(Message message) noexcept:
    """Via, From, To, Call-ID: mandatory by RFC 3261 §8.1.1."""
    cdef const unsigned char *p = message.p
    cdef Span value
    cdef int32_t i
    if first_value(message, H_VIA, b"no Via", &value) and read_via(p, value.start, value.end, &message.via) < 0:
        fail(message, 400, value.start, b"malformed Via")
    if first_value(message, H_FROM, b"no From", &value) and read_address(p, value, &message.sender) != 1:
        fail(message, 400, value.start, b"malformed From")
    if first_value(message, H_TO, b"no To", &value) and read_address(p, value, &message.target) != 1:
        fail(message, 400, value.start, b"malformed To")
    if first_value(message, H_CALL_ID, b"no Call-ID", &value):
        i = value.start
        while i < value.end and CLASS[p[i]] & C_CALL_ID:
            i += 1
        if i < value.end or i == value.start:
            fail(message, 400, i, b"malformed Call-ID")
        message.call_id = make_span(value.start, i)


cdef void read_cseq(Message message) noexcept:
    # RFC 3261 §20.16, §8.1.1.5
    cdef const unsigned char *p = message.p
    cdef Span value, name
    cdef int32_t i, j, n
    cdef int64_t number
    if not first_value(message, H_CSEQ, b"no CSeq", &value):
        return
    i = value.start
    number = whole_number(p, &i, value.end, 0x7FFFFFFF)
    j = skip_space(p, i, value.end)
    name = make_span(j, token_end(p, j, value.end))
    n = name.end - name.start
    if number < 0 or j == i or n == 0 or name.end != value.end:
        fail(message, 400, value.start, b"malformed CSeq")
        return
    message.cseq.number = <uint32_t>number
    message.cseq.name = name
    message.cseq.method = method_id(p, name)
    if message.status != 0:
        message.method = message.cseq.method
        message.method_name = name
    elif (n != message.method_name.end - message.method_name.start
            or memcmp(p + name.start, p + message.method_name.start, n) != 0):
        fail(message, 400, name.start, b"the CSeq's method is not the request's")     # §8.1.1.5


cdef void read_numbers(Message message) noexcept:
    """Max-Forwards, and the body's end by Content-Length (RFC 3261 §18.3)."""
    cdef const unsigned char *p = message.p
    cdef int index = message.first[<int>H_MAX_FORWARDS]
    cdef int32_t i
    cdef int64_t number
    cdef Span value
    if index >= 0:
        value = message.fields[index].value
        i = value.start
        number = whole_number(p, &i, value.end, 255)
        if number < 0 or i != value.end:
            fail(message, 400, value.start, b"malformed Max-Forwards")
        else:
            message.max_forwards = <int>number
    index = message.first[<int>H_CONTENT_LENGTH]
    while index >= 0:
        value = message.fields[index].value
        i = value.start
        number = whole_number(p, &i, value.end, MAX_SIZE)
        if i != value.end or number < 0:
            fail(message, 400, value.start, b"malformed Content-Length")
        elif message.content_length >= 0 and message.content_length != number:
            fail(message, 400, value.start, b"two values of Content-Length")
        elif number > message.size - message.body.start:
            fail(message, 400, value.start, b"the body is shorter than Content-Length")
        else:
            message.content_length = <int>number
        index = message.fields[index].next
    if message.content_length >= 0:
        message.body.end = message.size = message.body.start + message.content_length


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Message:

    def __cinit__(self):
        self.p = <const unsigned char *>NOTHING
        self.why = NOTHING
        self.fields = self.inline_fields
        self.capacity = INLINE_FIELDS
        memset(self.first, 0xFF, sizeof(self.first))
        memset(self.last, 0xFF, sizeof(self.last))
        self.uri.port = self.via.port = self.sender.uri.port = self.target.uri.port = -1
        self.max_forwards = self.content_length = -1

    def __dealloc__(self):
        if self.fields != self.inline_fields:
            PyMem_Free(self.fields)

    cdef bytes text(self, Span span):
        return PyBytes_FromStringAndSize(<const char *>self.p + span.start, span.end - span.start)

    cdef bint is_request(self) noexcept:
        return self.status == 0

    cdef bint has(self, int header) noexcept:
        return self.first[header] >= 0

    cdef Span value_of(self, int header) noexcept:
        return self.fields[self.first[header]].value if self.first[header] >= 0 else make_span(0, 0)

    cdef void cursor(self, int header, Cursor *cursor) noexcept:
        cursor.field = self.first[header]
        cursor.position = 0

    cdef int next_value(self, Cursor *cursor, Span *value) noexcept:
        cdef Field *field
        cdef int32_t start, end
        while cursor.field >= 0:
            field = &self.fields[cursor.field]
            start = cursor.position if cursor.position else field.value.start
            end = value_end(self.p, start, field.value.end)
            if end < field.value.end:
                cursor.position = end + 1
            else:
                cursor.field = field.next
                cursor.position = 0
                if start == field.value.start and end == start:
                    continue        # an empty field has no value; an empty value between commas is one
            value[0] = trim(self.p, start, end)
            return 1
        return 0

    cdef int parse_via(self, Span span, Via *via) noexcept:  # no-cython-lint: the method of that name
        span = trim(self.p, span.start, span.end)
        if span.start == span.end:
            return 0
        return 1 if read_via(self.p, span.start, span.end, via) == span.end else -1

    cdef int parse_address(self, Span span, Address *address) noexcept:  # no-cython-lint: the method of that name
        return read_address(self.p, span, address)

    cdef int parse_uri(self, Span span, Uri *uri) noexcept:
        return parse_uri_at(self.p, span.start, span.end, uri)

    cdef int64_t number(self, int header) noexcept:
        cdef Span value
        cdef int32_t i
        cdef int64_t number
        if self.first[header] < 0:
            return -1
        value = self.fields[self.first[header]].value
        i = value.start
        number = whole_number(self.p, &i, value.end, MAX_DELTA)
        if header == H_RETRY_AFTER or header == H_SESSION_EXPIRES or header == H_MIN_SE:
            i = tail_end(self.p, i, value.end)
        return number if i == value.end else -2

    cdef bint lists_token(self, int header, const char *token) noexcept:
        cdef Cursor cursor
        cdef Span value
        self.cursor(header, &cursor)
        while self.next_value(&cursor, &value):
            if span_is(self.p, value, token):
                return True
        return False

    # The Python face. A property may not have the name of a C field, so these come by __getattr__.

    def __getattr__(self, str name):
        if name == "is_request":
            return self.status == 0
        if name == "method":
            return self.text(self.method_name).decode("ascii")
        if name == "reason":
            return self.text(self.reason).decode("utf-8", "replace")
        if name == "uri":
            return self.text(self.request_uri)
        if name == "body":
            return self.text(self.body)
        if name == "call_id":
            return self.text(self.call_id)
        if name == "cseq":
            return self.cseq.number, self.text(self.cseq.name).decode("ascii")
        raise AttributeError(f"'Message' object has no attribute {name!r}")

    def __dir__(self):
        return [*object.__dir__(self), "is_request", "method", "reason", "uri", "body", "call_id", "cseq"]

    @property
    def error_reason(self):
        return self.why.decode("ascii")

    @property
    def from_tag(self):
        return self.text(self.sender.tag)

    @property
    def to_tag(self):
        return self.text(self.target.tag)

    @property
    def from_aor(self):
        return aor_or_empty(self.p, self.sender.all, &self.sender.uri)

    @property
    def to_aor(self):
        return aor_or_empty(self.p, self.target.all, &self.target.uri)

    @property
    def request_aor(self):
        return aor_or_empty(self.p, self.uri.all, &self.uri)

    @property
    def branch(self):
        return self.text(self.via.branch)

    @property
    def headers(self):
        cdef int i
        return [(self.text(self.fields[i].name), unfold(self.text(self.fields[i].value))) for i in range(self.count)]

    def header(self, str name not None):
        cdef int index = next_named(self, name.encode(), -1)
        return unfold(self.text(self.fields[index].value)) if index >= 0 else None

    def seconds(self, str name not None):
        return self.number(header_of(name))

    def lists(self, str name not None, str token not None):
        return self.lists_token(header_of(name), token.encode())

    def values(self, str name not None):
        cdef bytes wanted = name.encode()
        cdef int index = next_named(self, wanted, -1)
        cdef int32_t start, end
        cdef Span value
        cdef list found = []
        while index >= 0:
            value = self.fields[index].value
            start = value.start
            end = value_end(self.p, start, value.end)
            while start < value.end or end > value.start:
                found.append(unfold(self.text(trim(self.p, start, end))))
                if end == value.end:
                    break
                start = end + 1
                end = value_end(self.p, start, value.end)
            index = next_named(self, wanted, index)
        return iter(found)


cdef int header_of(str name) except -1:
    cdef bytes text = name.encode()
    cdef int header = header_id(<const unsigned char *>PyBytes_AS_STRING(text), <int32_t>min(len(text), 255))
    if header == H_OTHER:
        raise ValueError(f"not a header that the parser knows: {name!r}")
    return header


cdef int next_named(Message message, bytes name, int index):
    """The field of that name after a given one, or -1."""
    cdef const unsigned char *wanted = <const unsigned char *>PyBytes_AS_STRING(name)
    cdef int header = header_id(wanted, <int32_t>min(len(name), 255))
    index = message.first[header] if index < 0 else message.fields[index].next
    while index >= 0 and header == H_OTHER and not span_is(message.p, message.fields[index].name, <const char *>wanted):
        index = message.fields[index].next
    return index


cdef bytes aor_or_empty(const unsigned char *p, Span whole, const Uri *uri):
    return canonical_aor(p, uri) if whole.end > whole.start else b""


cdef Message split_message(bytes data):
    cdef Message message = Message.__new__(Message)
    cdef const unsigned char *p
    cdef int32_t blank = 0
    if len(data) > MAX_SIZE:
        data = data[:MAX_SIZE]
        fail(message, 513, MAX_SIZE, b"message too large")
    p = <const unsigned char *>PyBytes_AS_STRING(data)
    if p[0] == c'\r' or p[0] == c'\n':
        while p[blank] == c'\r' or p[blank] == c'\n':
            blank += 1
        data = data[blank:]
    message.data = data
    message.p = <const unsigned char *>PyBytes_AS_STRING(data)
    message.size = <int32_t>len(data)
    message.body.start = read_fields(message, read_start_line(message))
    message.body.end = message.size
    return message


cdef Message parse_message(bytes data):
    cdef Message message = split_message(data)
    read_dialog(message)
    read_cseq(message)
    read_numbers(message)
    return message


def parse(bytes data not None):
    return parse_message(data)
