"""Bindings whose phones do not answer, and whether they do again.

A phone that loses power, or its network, says no goodbye: its binding lives on, and calls to it end in silence. So the binding
of a phone that cannot be reached, or that answers an INVITE by nothing at all, is *in doubt*. Calls still try it, for 3 s
instead of 32 (`context`), and redial treats its user as absent.

A REGISTER alone does not settle that, for a phone may send and not receive, and refresh for ever. It is asked by OPTIONS then
(RFC 3261 §11), and whatever it answers, to that or to a call, is its return. A Contact that was not there before is
not in doubt: somebody has started anew. What is in doubt stands in the binding (`Binding.doubtful`), over a restart too.
"""

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._listener cimport Listener, listener_at
from .._parser cimport Message, as_request_uri
from .._writer cimport has_line_break
from ..store.repository cimport Store
from ..transaction.branch cimport BRANCH_SIZE
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .binding_observer cimport BindingObserver
from .location cimport Location

from msgspec.structs import replace

cdef bytes OPTIONS = (
    b"OPTIONS %b SIP/2.0\r\n%b%b;rport\r\nMax-Forwards: 70\r\n%bFrom: <sip:%b>;tag=%b\r\nTo: <%b>\r\nCall-ID: %b\r\n"
    b"CSeq: 1 OPTIONS\r\n%bAccept: application/sdp\r\nContent-Length: 0\r\n\r\n")


cdef class Question(Handler):
    """Whether one phone answers."""

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """It does, unless a hop in between says that it cannot reach it."""
        cdef int status = response.status
        if status < 200:
            return 0
        transaction.handler = None
        if status == 408 or status == 430 or status == 503 or status == 504:
            self.doubts.silent(self.aor, self.place, now)
        else:
            self.doubts.heard(self.aor, self.place, now)
        return self.doubts.over(self.aor, now)

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        """It does not."""
        transaction.handler = None
        self.doubts.silent(self.aor, self.place, now)
        return self.doubts.over(self.aor, now)

    cpdef int on_fault(self, int64_t now) except -1:
        """What came of it was lost; it may be asked again."""
        self.doubts.asked.pop(self.aor, None)
        return 0


cdef class Doubts:
    """Finds and resolves doubts about bindings. All times are ms."""

    def __init__(self, Location location not None, TransactionLayer transactions not None, tuple listeners not None):
        self.location = location
        self.transactions = transactions
        self.listeners = listeners
        self.observer = BindingObserver()
        self.asked = {}

    cdef int silent(self, bytes aor, Flow place, int64_t now) except -1:
        return self.set_doubt(aor, place, now, now)

    cdef int heard(self, bytes aor, Flow place, int64_t now) except -1:
        if self.set_doubt(aor, place, 0, now):
            self.observer.bound(aor, now)
        return 0

    cdef bint set_doubt(self, bytes aor, Flow place, int64_t since, int64_t now) except -1:
        """Whether an AOR that could not be reached can be now."""
        cdef Store store = self.location.store
        cdef list bindings
        cdef bint before
        if self.changed(store.bindings(aor), place, since, now) is None:
            return False                      # as mostly, and nobody's writes are held up for it
        store.for_update()
        stored = store.bindings(aor)
        bindings = self.changed(stored, place, since, now)
        if bindings is None:
            return False
        before = self.location.is_reachable(aor, now)
        store.put_bindings(aor, bindings, stored)
        self.location._note_doubt(place, since != 0)
        if since:
            self.found += 1
        else:
            self.resolved += 1
        return not before and self.location.is_reachable(aor, now)

    cdef list changed(self, object stored, Flow place, int64_t since, int64_t now):
        """Bindings, with those at a place in doubt since then, or no more; None where that changes nothing."""
        cdef list bindings = []
        cdef bint found = False
        cdef Flow way
        for binding in stored:
            if binding.expires > now and (binding.doubtful != 0) != (since != 0):
                way = self.location.flow_of(binding)
                if way is not None and way.same_peer(place):
                    binding = replace(binding, doubtful=since)
                    found = True
            bindings.append(binding)
        return bindings if found else None

    cdef int ask(self, bytes aor, bint everyone, int64_t now) except -1:
        cdef Flow flow
        if aor in self.asked:
            self.asked[aor] = -abs(self.asked[aor])
            return 0
        for binding in self.location.lookup(aor, now):
            if everyone or binding.doubtful:
                flow = self.location.flow_of(binding)
                if flow is not None:
                    self.send_question(binding, flow, aor, now)
        return 0

    cdef int send_question(self, object binding, Flow flow, bytes aor, int64_t now) except -1:
        cdef Listener ours = listener_at(self.listeners, flow.local)
        cdef bytes branch, path = binding.path
        cdef Question question
        if has_line_break(path) or has_line_break(binding.contact):
            return 0
        question = Question.__new__(Question)
        question.doubts = self
        question.aor = aor
        question.place = flow
        branch = self.transactions.new_branch(0)
        self.transactions.start(OPTIONS % (
            as_request_uri(binding.contact), ours.via, branch, b"Route: %b\r\n" % path if path else b"", ours.sent_by,
            branch[BRANCH_SIZE - 16:], aor, branch, ours.contact), branch, flow, question, now)
        self.asked[aor] = self.asked.get(aor, 0) + 1
        return 0

    cdef int over(self, bytes aor, int64_t now) except -1:
        """One of the questions about an AOR has its answer."""
        cdef int64_t left = self.asked.get(aor, 0)
        if abs(left) > 1:
            self.asked[aor] = left - 1 if left > 0 else left + 1
            return 0
        self.asked.pop(aor, None)
        if left < 0:                          # it has registered meanwhile, perhaps from elsewhere
            self.ask(aor, False, now)
        return 0
