"""What redial says on the wire, and reads from it: the REFER, the 480 that offers a recall, and pieces of INVITE and NOTIFY."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy

from ..trust.credit cimport Credit
from .._hash cimport Hash, end_hash, end_hash64, hex16, mix_number, start_hash
from .._flow cimport Flow
from .._listener cimport Listener, listener_at
from .._parser cimport H_CONTACT, H_EXPIRES, Address, Cursor, Message, Span, as_request_uri
from ..store.codec cimport Piece, StoredWatch, bytes_of, piece_in
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .._writer cimport warning_line

from .._parser import parse_address
from ..errors import ParseError

cdef enum:
    MOST_PIECES = 32
    PURPOSE_CALL_ID = 0x72636964
    PURPOSE_TAG = 0x72746167

cdef int64_t LONGEST_EXPIRES = 1 << 31      # seconds

# Every field of a REFER but Via and Route, with what stands before each of its variable pieces.
cdef bytes END_OF_FIRST_LINE = b" SIP/2.0\r\n"
cdef bytes AFTER_VIA = b";rport\r\nMax-Forwards: 70\r\n"
cdef bytes ROUTE = b"Route: "
cdef bytes FROM = b"From: <"
cdef bytes TAG = b">;tag="
cdef bytes TO = b"\r\nTo: <"
cdef bytes CALL_ID = b">\r\nCall-ID: "
cdef bytes CSEQ = b"\r\nCSeq: 1 REFER\r\n"
cdef bytes REFER_TO = b"Refer-To: <"
cdef bytes REFERRED_BY = b">\r\nReferred-By: <"            # RFC 3892 §2.1
cdef bytes END = b">\r\nSubject: Automatic redial\r\nContent-Length: 0\r\n\r\n"
# INFO, since many phones answer an OPTIONS without looking at its tags. CSeq 0 is below all that the callee's own phone may
# number its requests by: those are not out of order after it (RFC 3261 §12.2.2).
cdef bytes ASKED = b"\r\nCSeq: 0 INFO\r\nContent-Length: 0\r\n\r\n"


cdef bytes joined(const Piece *pieces, int count):
    cdef Py_ssize_t size = 0
    cdef int i
    for i in range(count):
        size += pieces[i].size
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = PyBytes_AS_STRING(whole)
    for i in range(count):
        memcpy(to, pieces[i].text, pieces[i].size)
        to += pieces[i].size
    return whole


cdef class Referrer:

    cdef ClientTransaction refer(self, StoredWatch watch, bytes uri, bytes route, Flow flow, Handler handler,
                                 Credit credit, int64_t now):
        cdef TransactionLayer layer = self.transactions
        cdef ClientTransaction transaction = None
        cdef bytes data
        cdef bytes branch = self.transactions.new_branch(0)
        cdef bytes method = b"REFER ", line_end = b"\r\n"
        cdef Listener ours = listener_at(self.listeners, flow.local)
        cdef Piece pieces[MOST_PIECES]
        cdef int n = 0
        if has_line_break(uri) or has_line_break(route):
            self.transactions.release_branch(branch)
            raise ValueError(f"a line break in {uri!r} or {route!r}")
        uri = as_request_uri(uri)             # RFC 3261 §12.2.1.1
        for text in (method, uri, END_OF_FIRST_LINE, ours.via, branch, AFTER_VIA):
            pieces[n] = piece_in(<bytes>text)
            n += 1
        if route:
            for text in (ROUTE, route, line_end):
                pieces[n] = piece_in(<bytes>text)
                n += 1
        pieces[n] = piece_in(FROM)
        pieces[n + 1] = watch.at.callee
        pieces[n + 2] = piece_in(TAG)
        pieces[n + 3] = watch.at.refer_tag
        pieces[n + 4] = piece_in(TO)
        pieces[n + 5] = watch.at.caller
        pieces[n + 6] = piece_in(CALL_ID)
        pieces[n + 7] = watch.at.refer_call_id
        pieces[n + 8] = piece_in(CSEQ)
        pieces[n + 9] = piece_in(ours.contact)
        pieces[n + 10] = piece_in(REFER_TO)
        pieces[n + 11] = watch.at.callee
        pieces[n + 12] = piece_in(REFERRED_BY)
        pieces[n + 13] = watch.at.callee
        pieces[n + 14] = piece_in(END)
        data = joined(pieces, n + 15)
        layer.resume(credit, 0, now)
        if layer.may_send(PyBytes_GET_SIZE(data), flow, False):
            transaction = layer.start(data, branch, flow, handler, now)
        else:
            layer.withheld += 1
            layer.release_branch(branch)
            credit.left = 0
        layer.rest()
        return transaction

    cdef Credit payer(self):
        return self.transactions.payer()

    cdef bint may_refer(self, Flow flow, Credit credit, int64_t now) except -1:
        return credit.left > 0 or credit.unlimited or self.transactions.proven.has(flow, now)

    cdef ClientTransaction ask(self, object talk, bytes uri, bytes route, Flow flow, Handler handler, int64_t now):
        cdef bytes branch
        cdef Listener ours = listener_at(self.listeners, flow.local)
        if has_line_break(uri) or has_line_break(route):
            raise ValueError(f"a line break in {uri!r} or {route!r}")
        branch = self.transactions.new_branch(0)
        return self.transactions.start(b"".join((
            b"INFO ", as_request_uri(uri), END_OF_FIRST_LINE, ours.via, branch, AFTER_VIA,
            b"Route: %b\r\n" % route if route else b"", FROM, talk.callee, TAG, talk.callee_tag, TO, talk.caller, TAG,
            talk.caller_tag, b"\r\nCall-ID: ", talk.call_id, ASKED)), branch, flow, handler, now)

    # SipHash of a counter, keyed by what was random at this start: nobody who has seen some can tell another.
    cdef bytes new_call_id(self):
        cdef Hash h
        cdef uint64_t low, high
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_CALL_ID)
        mix_number(&h, self.made)
        end_hash(&h, &low, &high)
        return hex16(low) + hex16(high)[:8]

    cdef bytes new_tag(self):
        cdef Hash h
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_TAG)
        mix_number(&h, self.made)
        return hex16(end_hash64(&h))[:10]


cdef Referrer make_referrer(TransactionLayer transactions, tuple listeners, bytes seed):
    cdef Referrer referrer = Referrer.__new__(Referrer)
    referrer.transactions = transactions
    referrer.listeners = listeners
    if PyBytes_GET_SIZE(seed) < 16:
        raise ValueError("a seed of 16 random bytes")
    memcpy(&referrer.secret.low, PyBytes_AS_STRING(seed), 8)
    memcpy(&referrer.secret.high, PyBytes_AS_STRING(seed) + 8, 8)
    return referrer


cdef inline bint has_line_break(bytes text) noexcept:
    return (memchr(PyBytes_AS_STRING(text), c'\n', PyBytes_GET_SIZE(text)) != NULL
            or memchr(PyBytes_AS_STRING(text), c'\r', PyBytes_GET_SIZE(text)) != NULL)


# ---- the 480

def offer(StoredWatch watch not None, int64_t now):
    cdef bytes callee = bytes_of(watch.at.callee)
    cdef int64_t seconds = max(0, (watch.at.expires_at - now) // 1000)
    # RFC 6910 §7.1
    return b"Not Logged In, Automatic Redial On", b"".join((
        b"Call-Info: <", callee, b">;purpose=call-completion;m=", bytes_of(watch.at.mode), b"\r\n",
        warning(callee, b"Automatic redial is on for %d s: your phone rings when the callee is back" % seconds)))


def warning(bytes callee not None, bytes text not None):
    return warning_line(callee.rpartition(b"@")[2], text)


# ---- INVITE and NOTIFY

cpdef int64_t expires_of(Message request) except? -2:
    cdef int64_t seconds = request.number(H_EXPIRES)
    if seconds == -2:
        value = request.header("Expires")           # more than 32 bits, perhaps
        seconds = LONGEST_EXPIRES if value.isdigit() else -1
    return min(seconds, LONGEST_EXPIRES)


cdef tuple contact_of(Message request, Flow flow):
    cdef Cursor cursor
    cdef Span value
    cdef Address address
    cdef object uri, params
    request.cursor(H_CONTACT, &cursor)
    if request.next_value(&cursor, &value):
        if request.parse_address(value, &address) == 1 and address.params.end == address.params.start and (
                address.uri.all.end > address.uri.all.start):
            return request.text(address.uri.all), b""
        try:
            _, uri, params = parse_address(next(request.values("Contact")))
            return uri, (params.get(b"+sip.instance") or b"").strip(b'"')
        except ParseError:
            pass
    host = b"[%b]" % flow.host_text() if flow.family == 6 else flow.host_text()
    return b"sip:%b:%d" % (host, flow.port), b""


cdef tuple fragment_of(Message request):
    line = request.text(request.body).split(b"\r\n", 1)[0].decode("utf-8", "replace")
    parts = line.split(None, 2)
    # RFC 3261 §25.1: Status-Code = 3DIGIT
    if len(parts) < 2 or parts[0].upper() != "SIP/2.0" or not (
            len(parts[1]) == 3 and parts[1].isascii() and parts[1].isdigit()):
        return None
    return int(parts[1]), " ".join(parts[1:])
