"""The stored forms of an AOR with one binding, as most have, and of a watch, read and written without msgspec's objects.

records.py defines the forms and is the reference: what is written here is byte for byte what it writes, and whatever is
not plainly of that kind is left to it. A phone that registers again needs only to compare a few spans of its record and
to write the next one, and a recall changes a few fields of its watch's; msgspec would make a struct and a dozen objects
for that, twice.

The forms are msgpack: [version, aor, [[contact, expires, ...]]] and [version, [callee, caller, ...]], each array,
integer, string and byte string in its shortest way.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from .._uri cimport MOST_HOST, SCHEME_SIP, SCHEME_SIPS, Uri, parse_uri_at, write_host

from ..errors import StoreUnreadable
from .records import (
    BINDINGS_VERSION, VERSION, Binding, Watch, decode_bindings, decode_watch, encode_bindings, encode_watch,
)

cdef extern from "<endian.h>" nogil:
    uint64_t be64toh(uint64_t value)
    uint64_t htobe64(uint64_t value)

cdef enum:
    FIELDS = 13
    WATCH_FIELDS = 24
    ARRAY = 0x90            # fixarray, plus its length
    BIN8 = 0xC4
    BIN16 = 0xC5
    BIN32 = 0xC6
    UINT8 = 0xCC
    UINT16 = 0xCD
    UINT32 = 0xCE
    UINT64 = 0xCF
    STR5 = 0xA0             # fixstr, plus its length
    STR8 = 0xD9
    STR16 = 0xDA
    MOST_STR5 = 31
    ARRAY16 = 0xDC
    MOST_SHORT = 0x7F       # what is its own byte
    HEAD = 5                # the most bytes before a byte string
    NUMBER = 9              # the most bytes of an integer

cdef str UNWRITABLE = "watch record cannot be read: a number in it is negative, or a string too long"
cdef int version = VERSION, bindings_version = BINDINGS_VERSION
if (VERSION > MOST_SHORT or BINDINGS_VERSION > MOST_SHORT or len(Binding.__struct_fields__) != FIELDS
        or Binding.__struct_fields__[FIELDS - 1] != "doubtful"
        or len(Watch.__struct_fields__) != WATCH_FIELDS or Watch.__struct_fields__[WATCH_FIELDS - 1] != "port"):
    raise AssertionError("records.py has changed: this module reads and writes what it did before")


# ---- reading: each returns where the next one begins, or NULL; and from NULL there is nothing to read

cdef inline const unsigned char *read_number(const unsigned char *p, const unsigned char *end, int64_t *number) noexcept:
    cdef uint64_t value = 0
    cdef int size, i
    if p == NULL or p >= end:
        return NULL
    if p[0] <= MOST_SHORT:
        number[0] = p[0]
        return p + 1
    if p[0] < UINT8 or p[0] > UINT64:
        return NULL
    size = 1 << (p[0] - UINT8)
    if end - p <= size:
        return NULL
    if size == 8:                       # each time is one: by one load instead of eight
        memcpy(&value, p + 1, 8)
        value = be64toh(value)
    else:
        for i in range(1, size + 1):
            value = value << 8 | p[i]
    if value >> 63:
        return NULL
    number[0] = <int64_t>value
    return p + 1 + size


# Nearly every piece is shorter than 256 bytes.
cdef inline const unsigned char *read_piece(const unsigned char *p, const unsigned char *end, Piece *piece) noexcept:
    if p == NULL or end - p < 2 or p[0] != BIN8 or p[1] > end - p - 2:
        return read_any_piece(p, end, piece)
    piece.text = <const char *>p + 2
    piece.size = p[1]
    return p + 2 + p[1]


cdef const unsigned char *read_any_piece(const unsigned char *p, const unsigned char *end, Piece *piece) noexcept:
    cdef Py_ssize_t size = 0
    cdef int width, i
    if p == NULL or p >= end or p[0] < BIN8 or p[0] > BIN32:
        return NULL
    width = 1 << (p[0] - BIN8)
    if end - p <= width:
        return NULL
    for i in range(1, width + 1):
        size = size << 8 | p[i]
    p += 1 + width
    if size > end - p:
        return NULL
    piece.text = <const char *>p
    piece.size = size
    return p + size


cdef bint read_entry(bytes record, bytes aor, Entry *entry) noexcept:
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(record)
    cdef const unsigned char *end = p + PyBytes_GET_SIZE(record)
    cdef Piece owner
    if end - p < 4 or p[0] != ARRAY + 3 or p[1] != bindings_version:
        return False
    p = read_piece(p + 2, end, &owner)
    if (p == NULL or owner.size != PyBytes_GET_SIZE(aor) or memcmp(owner.text, PyBytes_AS_STRING(aor), owner.size) != 0
            or end - p < 2 or p[0] != ARRAY + 1 or p[1] != ARRAY + FIELDS):
        return False
    p = read_piece(p + 2, end, &entry.contact)
    p = read_number(p, end, &entry.expires)
    p = read_piece(p, end, &entry.call_id)
    p = read_number(p, end, &entry.cseq)
    p = read_number(p, end, &entry.q)
    p = read_piece(p, end, &entry.params)
    p = read_piece(p, end, &entry.path)
    p = read_piece(p, end, &entry.flow)
    p = read_piece(p, end, &entry.instance)
    p = read_number(p, end, &entry.updated)
    p = read_number(p, end, &entry.reg_id)
    p = read_number(p, end, &entry.branch)
    p = read_number(p, end, &entry.doubtful)
    return p == end


cdef const unsigned char *skip_item(const unsigned char *p, const unsigned char *end) noexcept:
    cdef Piece piece
    cdef int64_t number
    return read_piece(p, end, &piece) if p != NULL and p < end and BIN8 <= p[0] <= BIN32 else read_number(p, end, &number)


cdef bint read_expiry(bytes record, int64_t *first, int64_t *last) noexcept:
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(record)
    cdef const unsigned char *end = p + PyBytes_GET_SIZE(record)
    cdef int64_t expires = 0
    cdef int count, i, _field
    if end - p < 4 or p[0] != ARRAY + 3 or p[1] != bindings_version:
        return False
    p = skip_item(p + 2, end)
    if p == NULL or end - p < 3:
        return False
    if p[0] == ARRAY16:
        count = p[1] << 8 | p[2]
        p += 3
    else:
        count = p[0] - ARRAY
        p += 1
    if count < 1 or count > end - p:
        return False
    for i in range(count):
        if p == NULL or p >= end or p[0] != ARRAY + FIELDS:
            return False
        p = read_number(skip_item(p + 1, end), end, &expires)
        for _field in range(FIELDS - 2):
            p = skip_item(p, end)
        first[0] = expires if i == 0 else min(first[0], expires)
        last[0] = expires if i == 0 else max(last[0], expires)
    return p == end


cdef bytes owner_of(bytes record):
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(record)
    cdef Piece owner
    if read_piece(p + 2, p + PyBytes_GET_SIZE(record), &owner) == NULL:
        raise ValueError("not a record of bindings")
    return bytes_of(owner)


cdef bint is_utf8(const char *p, Py_ssize_t size) noexcept:
    cdef uint64_t word = 0, all_bits = 0
    cdef Py_ssize_t at = 0
    while at + 8 <= size:
        memcpy(&word, p + at, 8)
        all_bits |= word
        at += 8
    while at < size:
        all_bits |= <unsigned char>p[at]
        at += 1
    if not all_bits & <uint64_t>0x8080808080808080ULL:      # ASCII, as nearly all
        return True
    try:
        PyUnicode_DecodeUTF8(<char *>p, size, NULL)
    except UnicodeDecodeError:
        return False
    return True


cdef const unsigned char *read_string(const unsigned char *p, const unsigned char *end, Piece *piece) noexcept:
    cdef Py_ssize_t size
    if p == NULL or p >= end:
        return NULL
    if STR5 <= p[0] <= STR5 + MOST_STR5:
        size = p[0] - STR5
        p += 1
    elif p[0] == STR8 and end - p > 1:
        size = p[1]
        p += 2
    elif p[0] == STR16 and end - p > 2:
        size = p[1] << 8 | p[2]
        p += 3
    else:
        return NULL
    if size > end - p or not is_utf8(<const char *>p, size):
        return NULL
    piece.text = <const char *>p
    piece.size = size
    return p + size


cdef bint read_watch(bytes record, WatchEntry *entry) noexcept:
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(record)
    cdef const unsigned char *end = p + PyBytes_GET_SIZE(record)
    if end - p < 5 or p[0] != ARRAY + 2 or p[1] != version or p[2] != ARRAY16 or p[3] != 0 or p[4] != WATCH_FIELDS:
        return False
    p = read_piece(p + 5, end, &entry.callee)
    p = read_piece(p, end, &entry.caller)
    p = read_number(p, end, &entry.armed_at)
    p = read_number(p, end, &entry.expires_at)
    p = read_piece(p, end, &entry.call_id)
    p = read_piece(p, end, &entry.contact)
    p = read_piece(p, end, &entry.path)
    p = read_piece(p, end, &entry.flow)
    p = read_piece(p, end, &entry.instance)
    p = read_string(p, end, &entry.mode)
    p = read_string(p, end, &entry.state)
    p = read_number(p, end, &entry.attempts)
    p = read_string(p, end, &entry.last_result)
    p = read_piece(p, end, &entry.refer_call_id)
    p = read_piece(p, end, &entry.refer_tag)
    p = read_number(p, end, &entry.recalled_at)
    p = read_number(p, end, &entry.not_before)
    p = read_string(p, end, &entry.method)
    p = read_piece(p, end, &entry.agent)
    p = read_piece(p, end, &entry.registration)
    p = read_string(p, end, &entry.identity)
    p = read_number(p, end, &entry.pauses)
    p = read_piece(p, end, &entry.offer)
    p = read_number(p, end, &entry.port)
    return p == end


# ---- writing

cdef inline unsigned char *write_big(unsigned char *to, uint64_t value, int size) noexcept:
    cdef int i
    for i in range(size):
        to[i] = (value >> (8 * (size - 1 - i))) & 0xFF
    return to + size


cdef inline unsigned char *write_text(unsigned char *to, Piece piece) noexcept:
    if piece.size:                      # many are empty
        memcpy(to, piece.text, piece.size)
    return to + piece.size


cdef unsigned char *write_number(unsigned char *to, int64_t number) noexcept:
    cdef int log = 2
    cdef uint64_t value
    if number <= MOST_SHORT:
        to[0] = <unsigned char>number
        return to + 1
    if number <= 0xFF:
        log = 0
    elif number <= 0xFFFF:
        log = 1
    elif number > <int64_t>0xFFFFFFFF:  # each time: by one store instead of eight
        to[0] = UINT64
        value = htobe64(<uint64_t>number)
        memcpy(to + 1, &value, 8)
        return to + NUMBER
    to[0] = <unsigned char>(UINT8 + log)
    return write_big(to + 1, <uint64_t>number, 1 << log)


cdef inline unsigned char *write_piece(unsigned char *to, Piece piece) noexcept:
    if piece.size <= 0xFF:
        to[0] = BIN8
        to[1] = <unsigned char>piece.size
        to += 2
    elif piece.size <= 0xFFFF:
        to[0] = BIN16
        to = write_big(to + 1, <uint64_t>piece.size, 2)
    else:
        to[0] = BIN32
        to = write_big(to + 1, <uint64_t>piece.size, 4)
    return write_text(to, piece)


cdef inline Py_ssize_t size_of_number(int64_t number) noexcept:
    return 1 if number <= MOST_SHORT else 2 if number <= 0xFF else 3 if number <= 0xFFFF else (
        5 if number <= <int64_t>0xFFFFFFFF else NUMBER)


cdef inline Py_ssize_t size_of_piece(Piece piece) noexcept:
    return piece.size + (2 if piece.size <= 0xFF else 3 if piece.size <= 0xFFFF else HEAD)


# As write_piece, and `at` is where the piece is now.
cdef inline unsigned char *move_piece(unsigned char *to, Piece piece, Piece *at) noexcept:
    to = write_piece(to, piece)
    at[0] = piece_of(to - piece.size, piece.size)
    return to


cdef bytes write_entry(bytes aor, const Entry *entry, Entry *at):
    cdef Piece owner = piece_in(aor)
    cdef Py_ssize_t size = (
        4 + size_of_piece(owner) + size_of_piece(entry.contact) + size_of_number(entry.expires)
        + size_of_piece(entry.call_id) + size_of_number(entry.cseq) + size_of_number(entry.q)
        + size_of_piece(entry.params) + size_of_piece(entry.path) + size_of_piece(entry.flow)
        + size_of_piece(entry.instance) + size_of_number(entry.updated) + size_of_number(entry.reg_id)
        + size_of_number(entry.branch) + size_of_number(entry.doubtful))
    cdef bytes record = PyBytes_FromStringAndSize(NULL, size)
    cdef unsigned char *to = <unsigned char *>PyBytes_AS_STRING(record)
    at[0] = entry[0]
    to[0] = ARRAY + 3
    to[1] = <unsigned char>bindings_version
    to = write_piece(to + 2, owner)
    to[0] = ARRAY + 1
    to[1] = ARRAY + FIELDS
    to = move_piece(to + 2, entry.contact, &at.contact)
    to = write_number(to, entry.expires)
    to = move_piece(to, entry.call_id, &at.call_id)
    to = write_number(to, entry.cseq)
    to = write_number(to, entry.q)
    to = move_piece(to, entry.params, &at.params)
    to = move_piece(to, entry.path, &at.path)
    to = move_piece(to, entry.flow, &at.flow)
    to = move_piece(to, entry.instance, &at.instance)
    to = write_number(to, entry.updated)
    to = write_number(to, entry.reg_id)
    to = write_number(to, entry.branch)
    write_number(to, entry.doubtful)
    return record


cdef inline unsigned char *write_string(unsigned char *to, Piece piece) noexcept:
    if piece.size <= MOST_STR5:
        to[0] = <unsigned char>(STR5 + piece.size)
        to += 1
    elif piece.size <= 0xFF:
        to[0] = STR8
        to = write_big(to + 1, <uint64_t>piece.size, 1)
    else:
        to[0] = STR16
        to = write_big(to + 1, <uint64_t>piece.size, 2)
    return write_text(to, piece)


# As write_string, and `at` is where the string is now.
cdef inline unsigned char *move_string(unsigned char *to, Piece piece, Piece *at) noexcept:
    to = write_string(to, piece)
    at[0] = piece_of(to - piece.size, piece.size)
    return to


cdef inline Py_ssize_t size_of_string(Piece piece) noexcept:
    return piece.size + (1 if piece.size <= MOST_STR5 else 2 if piece.size <= 0xFF else 3)


# What records.encode_watch would return; `at` is the entry again, with its pieces in that.
cdef bytes write_watch(const WatchEntry *entry, WatchEntry *at):
    cdef Py_ssize_t size = (
        5 + size_of_piece(entry.callee) + size_of_piece(entry.caller) + size_of_number(entry.armed_at)
        + size_of_number(entry.expires_at) + size_of_piece(entry.call_id) + size_of_piece(entry.contact)
        + size_of_piece(entry.path) + size_of_piece(entry.flow) + size_of_piece(entry.instance)
        + size_of_string(entry.mode) + size_of_string(entry.state) + size_of_number(entry.attempts)
        + size_of_string(entry.last_result) + size_of_piece(entry.refer_call_id) + size_of_piece(entry.refer_tag)
        + size_of_number(entry.recalled_at) + size_of_number(entry.not_before) + size_of_string(entry.method)
        + size_of_piece(entry.agent) + size_of_piece(entry.registration) + size_of_string(entry.identity)
        + size_of_number(entry.pauses) + size_of_piece(entry.offer) + size_of_number(entry.port))
    cdef bytes record = PyBytes_FromStringAndSize(NULL, size)
    cdef unsigned char *to = <unsigned char *>PyBytes_AS_STRING(record)
    at[0] = entry[0]
    to[0] = ARRAY + 2
    to[1] = <unsigned char>version
    to[2] = ARRAY16
    to = write_big(to + 3, WATCH_FIELDS, 2)
    to = move_piece(to, entry.callee, &at.callee)
    to = move_piece(to, entry.caller, &at.caller)
    to = write_number(to, entry.armed_at)
    to = write_number(to, entry.expires_at)
    to = move_piece(to, entry.call_id, &at.call_id)
    to = move_piece(to, entry.contact, &at.contact)
    to = move_piece(to, entry.path, &at.path)
    to = move_piece(to, entry.flow, &at.flow)
    to = move_piece(to, entry.instance, &at.instance)
    to = move_string(to, entry.mode, &at.mode)
    to = move_string(to, entry.state, &at.state)
    to = write_number(to, entry.attempts)
    to = move_string(to, entry.last_result, &at.last_result)
    to = move_piece(to, entry.refer_call_id, &at.refer_call_id)
    to = move_piece(to, entry.refer_tag, &at.refer_tag)
    to = write_number(to, entry.recalled_at)
    to = write_number(to, entry.not_before)
    to = move_string(to, entry.method, &at.method)
    to = move_piece(to, entry.agent, &at.agent)
    to = move_piece(to, entry.registration, &at.registration)
    to = move_string(to, entry.identity, &at.identity)
    to = write_number(to, entry.pauses)
    to = move_piece(to, entry.offer, &at.offer)
    write_number(to, entry.port)
    return record


# ---- the bindings of an AOR

@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class StoredBindings:

    cdef tuple all(self):
        cdef Entry *at = &self.at
        if self.read is None:
            self.read = (
                Binding(bytes_of(at.contact), at.expires, bytes_of(at.call_id), at.cseq, at.q, bytes_of(at.params),
                        bytes_of(at.path), bytes_of(at.flow), bytes_of(at.instance), at.updated, at.reg_id, at.branch,
                        at.doubtful),)
        return self.read

    def __len__(self):
        return 1 if self.single else len(self.read)

    def __iter__(self):
        return iter(self.all())

    def __getitem__(self, index):
        return self.all()[index]

    def __eq__(self, other):
        return self.all() == (tuple(other) if isinstance(other, StoredBindings) else other)

    def __hash__(self):
        return hash(self.record)

    def __repr__(self):
        return repr(self.all())


cdef StoredBindings no_bindings = StoredBindings.__new__(StoredBindings)
no_bindings.read = ()


cpdef StoredBindings stored_bindings(bytes aor, bytes record):
    cdef StoredBindings bindings
    if record is None:
        return no_bindings
    bindings = StoredBindings.__new__(StoredBindings)
    bindings.record = record
    bindings.single = read_entry(record, aor, &bindings.at)
    if not bindings.single:
        owner, bindings.read = decode_bindings(record)
        if owner != aor:                # keys of long AORs are shortened
            return no_bindings
    return bindings


cdef StoredBindings written_bindings(bytes aor, const Entry *entry):
    cdef StoredBindings bindings = StoredBindings.__new__(StoredBindings)
    bindings.record = write_entry(aor, entry, &bindings.at)
    bindings.single = True
    return bindings


cdef StoredBindings bindings_of(bytes aor, object bindings):
    cdef StoredBindings made
    if isinstance(bindings, StoredBindings):
        return bindings
    if not bindings:
        return no_bindings
    made = StoredBindings.__new__(StoredBindings)
    made.read = tuple(bindings)
    made.record = encode_bindings(aor, made.read)
    return made


# ---- a watch

@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class StoredWatch:

    @property
    def callee(self):
        return bytes_of(self.at.callee)

    @property
    def caller(self):
        return bytes_of(self.at.caller)

    @property
    def armed_at(self):
        return self.at.armed_at

    @property
    def expires_at(self):
        return self.at.expires_at

    @property
    def call_id(self):
        return bytes_of(self.at.call_id)

    @property
    def contact(self):
        return bytes_of(self.at.contact)

    @property
    def path(self):
        return bytes_of(self.at.path)

    @property
    def flow(self):
        return bytes_of(self.at.flow)

    @property
    def instance(self):
        return bytes_of(self.at.instance)

    @property
    def mode(self):
        return bytes_of(self.at.mode).decode()

    @property
    def state(self):
        return bytes_of(self.at.state).decode()

    @property
    def attempts(self):
        return self.at.attempts

    @property
    def last_result(self):
        return bytes_of(self.at.last_result).decode()

    @property
    def refer_call_id(self):
        return bytes_of(self.at.refer_call_id)

    @property
    def refer_tag(self):
        return bytes_of(self.at.refer_tag)

    @property
    def recalled_at(self):
        return self.at.recalled_at

    @property
    def not_before(self):
        return self.at.not_before

    @property
    def method(self):
        return bytes_of(self.at.method).decode()

    @property
    def agent(self):
        return bytes_of(self.at.agent)

    @property
    def registration(self):
        return bytes_of(self.at.registration)

    @property
    def identity(self):
        return bytes_of(self.at.identity).decode()

    @property
    def pauses(self):
        return self.at.pauses

    @property
    def offer(self):
        return bytes_of(self.at.offer)

    @property
    def port(self):
        return self.at.port

    def unpacked(self):
        cdef WatchEntry *at = &self.at
        return Watch(bytes_of(at.callee), bytes_of(at.caller), at.armed_at, at.expires_at, bytes_of(at.call_id),
                     bytes_of(at.contact), bytes_of(at.path), bytes_of(at.flow), bytes_of(at.instance),
                     bytes_of(at.mode).decode(), bytes_of(at.state).decode(), at.attempts,
                     bytes_of(at.last_result).decode(), bytes_of(at.refer_call_id), bytes_of(at.refer_tag),
                     at.recalled_at, at.not_before, bytes_of(at.method).decode(), bytes_of(at.agent),
                     bytes_of(at.registration), bytes_of(at.identity).decode(), at.pauses, bytes_of(at.offer),
                     at.port)

    def __eq__(self, other):
        if isinstance(other, StoredWatch):
            return self.record == (<StoredWatch>other).record
        return self.unpacked() == other

    def __hash__(self):
        return hash(self.record)

    def __repr__(self):
        return repr(self.unpacked())


cpdef StoredWatch stored_watch(bytes record):
    cdef StoredWatch watch = StoredWatch.__new__(StoredWatch)
    watch.record = record
    if not read_watch(record, &watch.at):
        watch.record = encode_watch(decode_watch(record))
        if not read_watch(watch.record, &watch.at):
            raise StoreUnreadable(UNWRITABLE, record)
    return watch


cdef StoredWatch written_watch(const WatchEntry *entry):
    cdef StoredWatch watch = StoredWatch.__new__(StoredWatch)
    watch.record = write_watch(entry, &watch.at)
    if ((entry.armed_at | entry.expires_at | entry.attempts | entry.recalled_at | entry.not_before | entry.pauses
            | entry.port) < 0
            or (entry.mode.size | entry.state.size | entry.last_result.size | entry.method.size | entry.identity.size) > 0xFFFF):
        raise StoreUnreadable(UNWRITABLE, watch.record)
    return watch


cdef StoredWatch watch_of(object watch):
    return watch if isinstance(watch, StoredWatch) else stored_watch(encode_watch(watch))


# ---- the index of Contacts

cdef bytes contact_key(const unsigned char *p, const Uri *uri):
    cdef uint64_t h = <uint64_t>14695981039346656037ULL
    cdef int32_t i
    cdef unsigned char c
    cdef unsigned char key[8]
    cdef char host[2 * MOST_HOST]
    cdef int32_t size
    if (uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS) or uri.user.end == uri.user.start:
        return None
    for i in range(uri.user.start, uri.user.end):
        h = (h ^ p[i]) * <uint64_t>1099511628211ULL
    if p[uri.host.start] == c"[":
        size = write_host(p, uri.host, host)
        for i in range(size):
            h = (h ^ <unsigned char>host[i]) * <uint64_t>1099511628211ULL
    else:
        for i in range(uri.host.start, uri.host.end):
            c = p[i]
            h = (h ^ (c | 32 if 65 <= c <= 90 else c)) * <uint64_t>1099511628211ULL
    h = (h ^ <uint64_t>(uri.port + 1)) * <uint64_t>1099511628211ULL
    for i in range(8):
        key[i] = (h >> (56 - 8 * i)) & 0xFF
    return PyBytes_FromStringAndSize(<char *>key, 8)


cdef bytes contact_key_beside(Piece contact, bytes aor):
    cdef const unsigned char *p = <const unsigned char *>contact.text
    cdef const char *ours = PyBytes_AS_STRING(aor)
    cdef Uri uri
    cdef Py_ssize_t size
    if contact.size > 0x7FFFFFFF or parse_uri_at(p, 0, <int32_t>contact.size, &uri) != 1:
        return None
    size = uri.user.end - uri.user.start
    if PyBytes_GET_SIZE(aor) > size + 4 and ours[4 + size] == c"@" and memcmp(ours + 4, p + uri.user.start, size) == 0:
        return None                     # sip:bob@... of sip:bob@example.com
    return contact_key(p, &uri)


cdef tuple keys_of(StoredBindings bindings, bytes aor):
    if not bindings.single:
        return keys_in(bindings.record, aor)
    key = contact_key_beside(bindings.at.contact, aor)
    return () if key is None else (key,)


cdef tuple keys_in(bytes record, bytes aor):
    cdef Entry entry
    cdef list keys
    if record is None:
        return ()
    if read_entry(record, aor, &entry):
        key = contact_key_beside(entry.contact, aor)
        return () if key is None else (key,)
    keys = []
    try:
        bindings = decode_bindings(record)[1]
    except StoreUnreadable:
        return ()                       # nobody knows what it had
    for binding in bindings:
        key = contact_key_beside(piece_in(binding.contact), aor)
        if key is not None:
            keys.append(key)
    return tuple(keys)


def changed_contacts(bytes aor not None, bytes former, bytes record):
    cdef tuple before = keys_in(former, aor), after = keys_in(record, aor)
    if before == after:
        return (), ()
    return [key for key in before if key not in after], [key for key in after if key not in before]


# ---- pieces

cdef bytes bytes_of(Piece piece):
    return PyBytes_FromStringAndSize(piece.text, piece.size)


cdef Piece piece_in(bytes text) noexcept:
    return piece_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef bint same_piece(Piece one, bytes other) noexcept:
    return one.size == PyBytes_GET_SIZE(other) and memcmp(one.text, PyBytes_AS_STRING(other), one.size) == 0
