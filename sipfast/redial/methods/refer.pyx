"""Recall by REFER out of any dialog (RFC 3515 §2.4.1): the caller's phone is asked to call, and tells by NOTIFY how that goes."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy

from ..._flow cimport Flow
from ..._hash cimport Hash, end_hash, end_hash64, hex16, mix_number, start_hash
from ..._listener cimport Listener, listener_at
from ..._parser cimport Message, Span, as_request_uri
from ..._wheel cimport Wheel
from ...store.codec cimport Piece, piece_in
from ...transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ...transaction.layer cimport TransactionLayer
from ...trust.credit cimport Credit
from .method cimport (
    ACCEPTED, ACCEPTED_BEFORE, CALL_ID_SIZE, REFUSED, UNANSWERED, Attempt, AttemptObserver, RecallMethod, WantedCall,
)

cdef enum:
    FORGET = 1                  # timer: payload is a Call-ID
    FORGET_AFTER = 300_000      # ms that NOTIFYs of a finished recall are still known
    MOST_RESULT = 80            # characters of what is kept for people
    MOST_PIECES = 32
    PURPOSE_CALL_ID = 0x72636964
    PURPOSE_TAG = 0x72746167

# Every field of a REFER but Via and Route, with what stands before each of its variable pieces.
cdef bytes METHOD = b"REFER "
cdef bytes END_OF_FIRST_LINE = b" SIP/2.0\r\n"
cdef bytes AFTER_VIA = b";rport\r\nMax-Forwards: 70\r\n"
cdef bytes ROUTE = b"Route: "
cdef bytes LINE_END = b"\r\n"
cdef bytes FROM = b"From: <"
cdef bytes TAG = b">;tag="
cdef bytes TO = b"\r\nTo: <"
cdef bytes CALL_ID = b">\r\nCall-ID: "
cdef bytes CSEQ = b"\r\nCSeq: 1 REFER\r\n"
cdef bytes REFER_TO = b"Refer-To: <"
cdef bytes REFERRED_BY = b">\r\nReferred-By: <"            # RFC 3892 §2.1
cdef bytes END = b">\r\nSubject: Automatic redial\r\nContent-Length: 0\r\n\r\n"


cdef class ReferAttempt(Attempt):
    """A REFER and what is answered to it."""

    cdef int give_up(self) except -1:
        self.observer = None
        if self.transaction is not None:
            self.transaction.abandon()
            self.transaction = None

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """A response to the REFER."""
        cdef AttemptObserver observer = self.observer
        cdef int status = response.status
        cdef str answer
        if status < 200:
            return 0
        transaction.handler = None
        self.transaction = self.observer = None
        if observer is None:
            return 0
        answer = answer_of(response)
        # 482: the phone has this very REFER already (RFC 3261 §8.2.2.2).
        observer.ended(ACCEPTED_BEFORE if status == 482 else ACCEPTED if status < 300 else REFUSED, answer,
                       f"REFER got {answer}"[:MOST_RESULT], now)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        """The REFER was never answered, or could not be delivered."""
        cdef AttemptObserver observer = self.observer
        transaction.handler = None
        self.transaction = self.observer = None
        if observer is None:
            return 0
        if status == OUTCOME_UNREACHABLE:
            observer.ended(UNANSWERED, "cannot be reached", "caller's phone cannot be reached", now)
        else:
            observer.ended(UNANSWERED, "none", f"REFER got {status} no answer to REFER", now)
        return 0


cdef class ReferMethod(RecallMethod):
    """Asks by REFER. Driven by the engine; all times are ms."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit,
                       AttemptObserver observer, int64_t now):
        cdef TransactionLayer layer = self.transactions
        cdef bytes branch = layer.new_branch(0), data
        cdef ReferAttempt attempt = None
        if has_line_break(uri) or has_line_break(route):
            layer.release_branch(branch)
            raise ValueError(f"a line break in {uri!r} or {route!r}")
        data = self.request(wanted, as_request_uri(uri), route, flow, branch)            # RFC 3261 §12.2.1.1
        layer.resume(credit, 0, now)
        if layer.may_send(PyBytes_GET_SIZE(data), flow, False):
            attempt = ReferAttempt.__new__(ReferAttempt)
            attempt.observer = observer
            attempt.transaction = layer.start(data, branch, flow, attempt, now)
        else:
            layer.withheld += 1
            layer.release_branch(branch)
            credit.left = 0
        layer.rest()
        return attempt

    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch):
        cdef Listener ours = listener_at(self.listeners, flow.local)
        cdef Piece pieces[MOST_PIECES]
        cdef int n = 0
        for text in (METHOD, uri, END_OF_FIRST_LINE, ours.via, branch, AFTER_VIA):
            pieces[n] = piece_in(<bytes>text)
            n += 1
        if route:
            for text in (ROUTE, route, LINE_END):
                pieces[n] = piece_in(<bytes>text)
                n += 1
        pieces[n] = piece_in(FROM)
        pieces[n + 1] = wanted.callee
        pieces[n + 2] = piece_in(TAG)
        pieces[n + 3] = wanted.tag
        pieces[n + 4] = piece_in(TO)
        pieces[n + 5] = wanted.caller
        pieces[n + 6] = piece_in(CALL_ID)
        pieces[n + 7] = wanted.call_id
        pieces[n + 8] = piece_in(CSEQ)
        pieces[n + 9] = piece_in(ours.contact)
        pieces[n + 10] = piece_in(REFER_TO)
        pieces[n + 11] = wanted.callee
        pieces[n + 12] = piece_in(REFERRED_BY)
        pieces[n + 13] = wanted.callee
        pieces[n + 14] = piece_in(END)
        return joined(pieces, n + 15)

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        return credit.left > 0 or credit.unlimited or self.transactions.proven.has(flow, now)

    # SipHash of a counter, keyed by what was random at this start: nobody who has seen some can tell another.
    cdef bytes new_call_id(self):
        cdef Hash h
        cdef uint64_t low, high
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_CALL_ID)
        mix_number(&h, self.made)
        end_hash(&h, &low, &high)
        return hex16(low) + hex16(high)[:CALL_ID_SIZE - 16]

    cdef bytes new_tag(self):
        cdef Hash h
        self.made += 1
        start_hash(&h, &self.secret, PURPOSE_TAG)
        mix_number(&h, self.made)
        return hex16(end_hash64(&h))[:10]

    # ---- its NOTIFYs (RFC 3515 §2.4.4)

    cdef int expect(self, bytes call_id, object subject) except -1:
        self.subjects[call_id] = subject

    cdef int finished(self, bytes call_id) except -1:
        self.wheel.schedule(self.wheel.now + FORGET_AFTER, self, FORGET, call_id)

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A Call-ID is to be forgotten."""
        self.subjects.pop(payload, None)
        return 0

    cdef object subject_of(self, bytes call_id):
        return self.subjects.get(call_id)

    cdef tuple progress(self, Message message):
        # The first line of its message/sipfrag body.
        line = message.text(message.body).split(b"\r\n", 1)[0].decode("utf-8", "replace")
        parts = line.split(None, 2)
        # RFC 3261 §25.1: Status-Code = 3DIGIT
        if len(parts) < 2 or parts[0].upper() != "SIP/2.0" or not (
                len(parts[1]) == 3 and parts[1].isascii() and parts[1].isdigit()):
            return None
        return int(parts[1]), f"NOTIFY {' '.join(parts[1:])}"[:MOST_RESULT]


cdef ReferMethod make_refer_method(TransactionLayer transactions, Wheel wheel, tuple listeners, bytes seed):
    cdef ReferMethod method = ReferMethod.__new__(ReferMethod)
    if PyBytes_GET_SIZE(seed) < 16:
        raise ValueError("a seed of 16 random bytes")
    method.name = "REFER"
    method.sent = b"REFER sent"
    method.transactions = transactions
    method.wheel = wheel
    method.listeners = listeners
    method.subjects = {}
    memcpy(&method.secret.low, PyBytes_AS_STRING(seed), 8)
    memcpy(&method.secret.high, PyBytes_AS_STRING(seed) + 8, 8)
    return method


# Status and reason phrase, as they stand in the response.
cdef str answer_of(Message response):
    return response.text(Span(response.reason.start - 4, response.reason.end)).decode("utf-8", "replace").strip()[:MOST_RESULT]


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


cdef inline bint has_line_break(bytes text) noexcept:
    return (memchr(PyBytes_AS_STRING(text), c'\n', PyBytes_GET_SIZE(text)) != NULL
            or memchr(PyBytes_AS_STRING(text), c'\r', PyBytes_GET_SIZE(text)) != NULL)
