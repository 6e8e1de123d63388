"""No recall, but a word: a MESSAGE (RFC 3428) that tells the caller's phone who can be reached now. The last rung of the ladder.

A phone that takes it has told its user, who calls or does not: nobody waits for that. It comes in the callee's name, so that an
answer to it, or a call by one key, goes to the callee.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._listener cimport Listener, listener_at
from ..._parser cimport Message, Span, as_request_uri
from ...store.codec cimport bytes_of
from ...transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ...transaction.layer cimport TransactionLayer
from ...trust.credit cimport Credit
from .method cimport ABSENT, CANNOT, TOLD, Attempt, AttemptObserver, RecallMethod, WantedCall, outcome_of_refer
from .progress cimport MOST_RESULT

from ...observe.printable import text_of


cdef class MessageAttempt(Attempt):
    """A MESSAGE and what is answered to it."""

    cdef int give_up(self, int64_t now) except -1:
        self.observer = None
        if self.transaction is not None:
            self.transaction.abandon()
            self.transaction = None

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """A response to the MESSAGE."""
        cdef AttemptObserver observer = self.observer
        cdef int status = response.status
        cdef str answer
        if status < 200:
            return 0
        transaction.handler = None
        self.transaction = self.observer = None
        if observer is None:
            return 0
        answer = response.text(Span(response.reason.start - 4, response.reason.end)).decode("utf-8", "replace").strip()
        answer = answer[:MOST_RESULT]
        # 482: it has this very one already, from before a restart (RFC 3261 §8.2.2.2).
        return observer.ended(TOLD if status < 300 or status == 482 else outcome_of_refer(status), answer,
                              f"MESSAGE got {answer}"[:MOST_RESULT], now)

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        """The MESSAGE was never answered, or could not be delivered."""
        cdef AttemptObserver observer = self.observer
        transaction.handler = None
        self.transaction = self.observer = None
        if observer is None:
            return 0
        if status == OUTCOME_UNREACHABLE:
            observer.ended(ABSENT, "cannot be reached", "caller's phone cannot be reached", now)
        else:
            observer.ended(CANNOT, "none", f"MESSAGE got {status} no answer to MESSAGE", now)
        return 0


cdef class MessageMethod(RecallMethod):
    """Tells by MESSAGE. Driven by the engine; all times are ms."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        cdef TransactionLayer layer = self.transactions
        cdef bytes branch, data
        cdef MessageAttempt attempt = None
        if b"\n" in uri or b"\r" in uri or b"\n" in route or b"\r" in route:
            raise ValueError(f"a line break in {uri!r} or {route!r}")
        branch = layer.new_branch(0)
        data = self.request(wanted, as_request_uri(uri), route, flow, branch)
        layer.resume(credit, 0, now)
        if layer.may_send(PyBytes_GET_SIZE(data), flow, False):
            attempt = MessageAttempt.__new__(MessageAttempt)
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
        cdef bytes callee = bytes_of(wanted.callee), caller = bytes_of(wanted.caller), text
        text = self.text.replace("{callee}", text_of(callee).removeprefix("sip:")).encode()
        # RFC 3428 §4: no Contact.
        return b"".join((
            b"MESSAGE ", uri, b" SIP/2.0\r\n", ours.via, branch, b";rport\r\nMax-Forwards: 70\r\n",
            b"Route: %b\r\n" % route if route else b"",
            b"From: <", callee, b">;tag=", bytes_of(wanted.tag), b"\r\nTo: <", caller, b">\r\nCall-ID: ",
            bytes_of(wanted.call_id), b"\r\nCSeq: 1 MESSAGE\r\nSubject: Automatic redial\r\n",
            b"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n" % len(text), text,
        ))

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        return credit.left > 0 or credit.unlimited or self.transactions.proven.has(flow, now)

    cdef int configure(self, settings) except -1:
        self.text = settings.message


cdef MessageMethod make_message_method(TransactionLayer transactions, tuple listeners):
    cdef MessageMethod method = MessageMethod.__new__(MessageMethod)
    method.name = "message"
    method.title = "MESSAGE"
    method.sent = b"MESSAGE sent"
    method.transactions = transactions
    method.listeners = listeners
    method.text = ""
    return method
