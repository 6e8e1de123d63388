"""No recall, but a word: a MESSAGE (RFC 3428) that tells the caller's phone who can be reached now. The last rung of the ladder.

A phone that takes it has told its user, who calls or does not: nobody waits for that. It comes in the callee's name, so that an
answer to it, or a call by one key, goes to the callee.
"""

from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._listener cimport Listener, listener_at
from ..._parser cimport Message, as_request_uri
from ...dialog.remote cimport answer_of
from ...store.codec cimport bytes_of
from ...transaction.client cimport ClientTransaction
from ...transaction.layer cimport TransactionLayer
from ...trust.credit cimport Credit
from .asking cimport Asked, AskingMethod, check_lines
from .method cimport TOLD, Attempt, AttemptObserver, WantedCall, outcome_of_refer
from .progress cimport MOST_RESULT

from ...observe.printable import text_of


cdef class MessageAttempt(Asked):
    """A MESSAGE and what is answered to it."""

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
        answer = answer_of(response)
        # 482: it has this very one already, from before a restart (RFC 3261 §8.2.2.2).
        return observer.ended(TOLD if status < 300 or status == 482 else outcome_of_refer(status), answer,
                              f"MESSAGE got {answer}"[:MOST_RESULT], now)


cdef class MessageMethod(AskingMethod):
    """Tells by MESSAGE. Driven by the engine; all times are ms."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        cdef bytes branch
        check_lines(uri, route)
        branch = self.transactions.new_branch(0)
        return self.send(MessageAttempt.__new__(MessageAttempt), self.request(wanted, as_request_uri(uri), route, flow, branch),
                         branch, flow, credit, observer, now)

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

    cdef int configure(self, settings) except -1:
        self.text = settings.message


cdef MessageMethod make_message_method(TransactionLayer transactions, tuple listeners):
    cdef MessageMethod method = MessageMethod.__new__(MessageMethod)
    method.name = "message"
    method.title = method.asks = "MESSAGE"
    method.sent = b"MESSAGE sent"
    method.transactions = transactions
    method.listeners = listeners
    method.text = ""
    return method
