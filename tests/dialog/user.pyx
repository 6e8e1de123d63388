"""A user of legs for tests: it calls a phone, writes down what it hears, and asks what a test wants to be asked."""

from libc.stdint cimport int64_t

from sipfast._flow cimport Flow
from sipfast._parser cimport Message
from sipfast.dialog.dialogs cimport Dialogs
from sipfast.dialog.leg cimport Leg, LegRequest, LegUser, Remote
from sipfast.transaction.server cimport ServerTransaction
from sipfast.trust.credit cimport make_unlimited


cdef class User(LegUser):
    """`heard`: what it was told, in order."""

    cdef public list heard
    cdef Leg leg
    cdef Remote remote

    def __init__(self):
        self.heard = []

    cdef int ringing(self, Leg leg, Remote remote, Message response, int64_t now) except -1:
        self.remote = remote
        self.heard.append(("ringing", response.status, remote.tag if remote is not None else b""))

    cdef int answered(self, Leg leg, Message response, int64_t now) except -1:
        self.heard.append(("answered", leg.remote.tag))

    cdef int refused(self, Leg leg, int status, str answer, int64_t now) except -1:
        self.heard.append(("refused", status, answer))

    cdef int replied(self, Leg leg, LegRequest request, int status, Message response, int64_t now) except -1:
        self.heard.append(("replied", request.name, status))

    cdef bint asked(self, Leg leg, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        self.heard.append(("asked", request.text(request.method_name)))
        return False

    cdef int hung_up(self, Leg leg, int64_t now) except -1:
        self.heard.append(("hung up",))

    def call(self, Dialogs dialogs, bytes call_id, bytes uri, Flow flow, int64_t now, bytes route=b""):
        self.leg = dialogs.make(call_id, b"tag")
        self.leg.user = self
        self.leg.recall = call_id
        self.leg.local = b"\"bob\" <sip:bob@example.com>;tag=tag"
        self.leg.remote.to = b"<sip:alice@example.com>"
        self.leg.remote.target = uri
        self.leg.remote.routes = (route,) if route else ()
        self.leg.flow = flow
        return self.leg.invite(b"", self.leg.own_offer(), make_unlimited(), now)

    def take(self, Dialogs dialogs, bytes call_id):
        """Go on with a leg that an earlier process has begun; its step, None where there is none."""
        self.leg = dialogs.legs.get(call_id)
        if self.leg is None:
            return None
        self.leg.user = self
        return self.leg.state

    def resume(self, int64_t now):
        cdef LegRequest each
        for each in [*self.leg.requests]:
            self.leg.resume(each, now)

    def ask(self, bytes name, bytes extra, bytes body, int64_t now, bint early=False):
        self.leg.request(name, extra, body, self.remote if early else self.leg.remote, now)

    def end(self, int64_t now):
        self.leg.end(now)


def records(Dialogs dialogs):
    """What is stored."""
    return dialogs.store.legs()
