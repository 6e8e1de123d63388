# Writes responses, and requests of our own.

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

# A response to a request: Via (topmost with received and rport filled in from the flow, RFC 3261 §18.2.1 and RFC 3581
# §4), From, To (with to_tag added where the request's To has none and to_tag is not empty), Call-ID, CSeq and, for 101
# to 299 and INVITE (RFC 3261 §12.1.1), Record-Route: copied byte for byte. `extra` is whole header lines, each ending
# in CRLF, or b"". Ends in Content-Length and the body. reason None: the standard phrase.
cdef bytes make_response(Message request, int status, Flow flow, bytes to_tag, bytes extra, bytes reason, bytes body)

# ACK for a non-2xx final response (RFC 3261 §17.1.1.3), from our INVITE as sent, and its response.
cdef bytes make_ack(Message invite, Message response)
# The same from the response alone, where the INVITE has died with the process: the Request-URI is To's, and the server
# transaction finds it by its Via (§17.2.3).
cdef bytes make_ack_alone(Message response)
# CANCEL for our INVITE as sent (RFC 3261 §9.1). `extra`: whole header lines, each ending in CRLF, or b"".
cdef bytes make_cancel(Message invite, bytes extra)

# Whether it would end a line of whatever it is written into.
cdef bint has_line_break(bytes text) noexcept

# A Warning with code 399, miscellaneous, for a person to read (RFC 3261 §20.43). The text has no quotes.
cdef bytes warning_line(bytes agent, bytes text)

# To tag of a stateless UAS (RFC 3261 §8.2.7): derived from the request, the same for its retransmissions; 16 hex digits.
cdef bytes stateless_tag(Message request, uint64_t secret)

# Where a request came from, as it is noted in its topmost Via (RFC 3261 §18.2.1, RFC 3581 §4): at most two patches, in the
# order of their places. Returns how many.
cdef struct Patch:
    int32_t start
    int32_t end
    int size
    char text[64]           # at most ";received=" and an IPv6 address

cdef int via_patches(Message request, Flow flow, Patch *patches) noexcept
