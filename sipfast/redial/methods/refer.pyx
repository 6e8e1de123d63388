"""Recall by REFER out of any dialog (RFC 3515 §2.4.1): the caller's phone is asked to call, and tells by NOTIFY how that goes.

Or, with `Refer-Sub: false`, tells nothing (RFC 4488): some phones obey only that one. NOTIFYs that come all the same are heard. A
phone that wants to know who asks (401, 407) is answered by the credentials that are configured for it, under the next CSeq.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from ..._flow cimport Flow
from ..._listener cimport Listener, listener_at
from ..._parser cimport Message, as_request_uri
from ...dialog.remote cimport answer_of
from ...store.codec cimport Piece, piece_in
from ...transaction.client cimport ClientTransaction
from ...transaction.layer cimport TransactionLayer
from ...trust.credit cimport Credit
from .asking cimport Asked, AskingMethod, check_lines
from .method cimport Attempt, AttemptObserver, WantedCall, outcome_of_refer
from .progress cimport MOST_RESULT

from ...dialog.digest import Answers, Request

cdef enum:
    MOST_PIECES = 32

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
cdef bytes URI_END = b">\r\n"
cdef bytes REFER_SUB = b">\r\nRefer-Sub: false\r\n"         # RFC 4488 §4
cdef bytes NOREFERSUB = b": norefersub\r\n"
cdef bytes REFER_TO = b"Refer-To: <"
cdef bytes REFERRED_BY = b">\r\nReferred-By: <"            # RFC 3892 §2.1
cdef bytes END = b"Subject: Automatic redial\r\nContent-Length: 0\r\n\r\n"


cdef class ReferAttempt(Asked):
    """A REFER and what is answered to it."""

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """A response to the REFER."""
        cdef AttemptObserver observer = self.observer
        cdef int status = response.status
        cdef str answer
        if status < 200:
            return 0
        transaction.handler = None
        self.transaction = None
        if (status == 401 or status == 407) and observer is not None and self.data is not None and (
                self.answer_challenge(transaction, response, now)):
            return 0
        self.observer = None
        if observer is None:
            return 0
        answer = answer_of(response)
        # 482: the phone has this very REFER already (RFC 3261 §8.2.2.2).
        if status < 300 or status == 482:
            return observer.accepted(status == 482, answer, now)
        return observer.ended(outcome_of_refer(status), answer, f"{self.method.title} got {answer}"[:MOST_RESULT], now)

    cdef bint answer_challenge(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """RFC 3261 §22.2: it is sent again with the same Call-ID, the next CSeq and who we are."""
        cdef TransactionLayer layer = self.method.transactions
        cdef bytes lines = self.answers.answer(response, Request(b"REFER", self.uri)), branch, data
        if not lines:
            return False
        branch = layer.new_branch(0)
        self.cseq += 1
        data = self.data.replace(self.branch, branch, 1).replace(CSEQ, b"\r\nCSeq: %d REFER\r\n" % self.cseq, 1)
        data = data[:PyBytes_GET_SIZE(data) - PyBytes_GET_SIZE(END)] + lines + END
        if not layer.may_send(PyBytes_GET_SIZE(data), transaction.flow, False):
            layer.withheld += 1
            layer.release_branch(branch)
            return False
        self.transaction = layer.start(data, branch, transaction.flow, self, now)
        return True


cdef class ReferMethod(AskingMethod):
    """Asks by REFER. Driven by the engine; all times are ms."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        cdef ReferAttempt attempt = ReferAttempt.__new__(ReferAttempt)
        cdef bytes branch, data
        check_lines(uri, route)
        branch = self.transactions.new_branch(0)
        uri = as_request_uri(uri)                                                        # RFC 3261 §12.2.1.1
        data = self.request(wanted, uri, route, flow, branch, how)
        if how is not None and how.credentials:
            attempt.data, attempt.branch, attempt.uri, attempt.cseq = data, branch, uri, 1
            attempt.answers = Answers(how.credentials, self.cnonces)
        return self.send(attempt, data, branch, flow, credit, observer, now)

    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch, object how):
        cdef Listener ours = listener_at(self.listeners, flow.local)
        cdef Piece pieces[MOST_PIECES]
        cdef bytes tag_in = None, port = b":%d" % wanted.port if wanted.port else b""
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
        pieces[n + 12] = piece_in(port)
        pieces[n + 13] = piece_in(REFERRED_BY)
        pieces[n + 14] = wanted.callee
        n += 15
        if self.subscribes:
            pieces[n] = piece_in(URI_END)
            n += 1
        else:
            pieces[n] = piece_in(REFER_SUB)
            n += 1
            tag_in = b"Supported" if how is None else how.norefersub
            if tag_in:
                for text in (tag_in, NOREFERSUB):
                    pieces[n] = piece_in(<bytes>text)
                    n += 1
        pieces[n] = piece_in(END)
        return joined(pieces, n + 1)


cdef ReferMethod make_refer_method(TransactionLayer transactions, tuple listeners, cnonces, bint subscribes=True):
    cdef ReferMethod method = ReferMethod.__new__(ReferMethod)
    method.name, method.title = ("refer", "REFER") if subscribes else ("refer-nosub", "REFER without subscription")
    method.sent = method.title.encode() + b" sent"
    method.asks = "REFER"
    method.subscribes = subscribes
    method.cnonces = cnonces
    method.transactions = transactions
    method.listeners = listeners
    return method


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
