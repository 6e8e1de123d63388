# Writes what leaves: responses, requests of our own, and forwarded messages as edits of the original bytes.

cimport cython
from libc.stdint cimport int32_t, uint64_t

from libc.string cimport memcpy

from ._flow cimport Flow
from ._parser cimport Message, Span

# Copying. Each writes at `to`, which has the room, and returns where the next one writes.
cdef inline char *put(char *to, const void *text, Py_ssize_t size) noexcept:
    memcpy(to, text, size)
    return to + size

cdef inline char *put_number(char *to, uint64_t number) noexcept:
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = c'0' + number % 10
        number //= 10
        if number == 0:
            break
    return put(to, digits + at, 20 - at)

cdef enum:
    FEW_EDITS = 32          # as many as there is room for without memory of their own
    ALL_VALUES = 0x7fffffff

cdef struct Edit:
    int32_t start
    int32_t end
    int text                # its place in `texts`


# Edits of one message, given in any order, applied in one pass. At equal places the given order is kept. None overlaps
# another: of two that would, one is made that removes what either removes, with the texts of both.
@cython.final
cdef class Edits:
    cdef int count, capacity, used
    cdef Edit *edits        # in the order of their places
    cdef Edit few[FEW_EDITS]
    cdef list texts
    cdef void clear(self) noexcept
    cdef int replace(self, int32_t start, int32_t end, bytes text) except -1   # insertion where start == end
    cdef bytes apply(self, Message message)
    cdef int insert(self, int i, int32_t start, int32_t end, bytes text) except -1
    cdef int join(self, int i) except -1
    cdef int grow(self) except -1

# A response to a request: Via (topmost with received and rport filled in from the flow, RFC 3261 §18.2.1 and RFC 3581
# §4), From, To (with to_tag added where the request's To has none and to_tag is not empty), Call-ID, CSeq and, for 101
# to 299 and INVITE (RFC 3261 §12.1.1), Record-Route: copied byte for byte. `extra` is whole header lines, each ending
# in CRLF, or b"". Ends in Content-Length and the body. reason None: the standard phrase.
cdef bytes make_response(Message request, int status, Flow flow, bytes to_tag, bytes extra, bytes reason, bytes body)

# Edit of the topmost Via of a request about to be forwarded: adds received/rport of the flow where due.
cdef int note_received(Edits edits, Message request, Flow flow) except -1
# Removal of the topmost Via value (of a response): the whole line, or only the value where several share the line.
cdef int drop_top_via(Edits edits, Message response) except -1
# Removal of all values of a list header (Route) but those from number `first` on and before number `after`, counted from 0:
# whole lines where all of a line's values go.
cdef int keep_values(Edits edits, Message message, int header, int first, int after) except -1

# ACK for a non-2xx final response (RFC 3261 §17.1.1.3), from our INVITE as sent, and its response.
cdef bytes make_ack(Message invite, Message response)
# The same from the response alone, where the INVITE has died with the process: the Request-URI is To's, and the server
# transaction finds it by its Via (§17.2.3).
cdef bytes make_ack_alone(Message response)
# CANCEL for our INVITE as sent (RFC 3261 §9.1). `extra`: whole header lines, each ending in CRLF, or b"".
cdef bytes make_cancel(Message invite, bytes extra)

# A Warning with code 399, miscellaneous, for a person to read (RFC 3261 §20.43). The text has no quotes.
cdef bytes warning_line(bytes agent, bytes text)

# To tag of a stateless UAS (RFC 3261 §8.2.7): derived from the request, the same for its retransmissions; 16 hex digits.
cdef bytes stateless_tag(Message request, uint64_t secret)
