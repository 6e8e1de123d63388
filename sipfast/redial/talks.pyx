"""Talks: calls that a recall has brought about, and that keep the callee's next caller waiting until they end.

Their end is a BYE. That may have passed while nobody served, or while nothing could be written: then the caller's phone is asked
whether it is still in the call. A talk is kept for `redial.max_talk` at the most.
"""

from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .._flow cimport Flow
from .._listener cimport listener_at
from .._parser cimport Message, as_request_uri
from .._wheel cimport LONGEST
from .._writer cimport has_line_break
from .unacknowledged cimport Recent, parts_of, turned
from .notice cimport Notices
from .owner cimport Owner

from ..errors import StoreError
from ..store.records import Talk
from .notice import TALK as TALK_BEGUN

EARLY_ENDS = 1024  # calls, at the least, whose ACK or end may be seen here before the notice that they matter comes

cdef enum:
    # Timers, each with a call as payload
    LONGEST_TALK = 1
    DOUBT = 2
    ASK_EVERY = 1           # ms between talks in doubt at a start: a thousand a second

# INFO, since many phones answer an OPTIONS without looking at its tags. CSeq 0 is below all that the callee's own phone may
# number its requests by: those are not out of order after it (RFC 3261 §12.2.2).
cdef bytes QUESTION = (
    b"INFO %b SIP/2.0\r\n%b%b;rport\r\nMax-Forwards: 70\r\n%bFrom: <%b>;tag=%b\r\nTo: <%b>;tag=%b\r\n"
    b"Call-ID: %b\r\nCSeq: 0 INFO\r\nContent-Length: 0\r\n\r\n")


cdef class Question(Handler):
    """Whether a talk goes on, asked of all phones of its caller: no, once each has said that it knows no such dialog."""

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """What a phone says to it."""
        if response.status >= 200:
            transaction.handler = None
            # RFC 3261 §12.2.2. Nothing else says so: silence may be a NAT's, and a 200 a phone's that looks at no tag.
            if response.status == 481:
                self.left -= 1
                if not self.left:
                    self.talks.end(self.call, now)
        return 0


cdef class Talks(Timed):
    """Talks that keep other callers waiting. All times are ms."""

    def __init__(self, Owner owner, Notices notices, Location location, TransactionLayer transactions, tuple listeners):
        self.owner = owner
        self.policy = owner.policy
        self.watchlist = owner.watchlist
        self.store = owner.store
        self.ownership = owner.ownership
        self.wheel = owner.wheel
        self.notices = notices
        self.location = location
        self.transactions = transactions
        self.listeners = listeners
        self.callees = {}
        self.ended = Recent(EARLY_ENDS)

    cdef int start(self, int64_t now) except -1:
        cdef int talks = 0
        for talk in self.store.each_talk():
            self.remember(talk, now)
            if self.ownership.is_mine(talk.callee):
                talks += 1
                self.doubt(call_of_talk(talk), now + talks * ASK_EVERY)

    cdef int begin(self, tuple pair, bytes call, int64_t now) except -1:
        call_id, tag, other = parts_of(call)
        talk = Talk(pair[0], pair[1], call_id, now, tag, other)
        self.remember(talk, now)
        self.notices.tell_all(TALK_BEGUN, pair, call, now)
        self.watchlist.put_talk(talk.callee, talk)  # last: the two talk, whether that can be written or not

    cdef int remember(self, talk, int64_t now) except -1:
        cdef bytes call = call_of_talk(talk)
        if self.ownership.is_mine(talk.callee):
            self.owner.engaged[talk.callee] = call
        if call not in self.callees:
            self.callees[call] = talk.callee
            self.untagged |= not talk.caller_tag
            # No talk has begun in the future, whatever a clock has said.
            self.wheel.schedule(max(min(<int64_t>talk.since, now) + min(self.policy.max_talk, <int64_t>LONGEST), now),
                                self, LONGEST_TALK, call)

    cdef int hung_up(self, bytes call, int64_t now) except -1:
        cdef bytes other
        if not self.callees:
            if not self.ownership.alone:
                self.ended.add(call)
            return 0
        other = turned(call)
        self.end(call, now)
        if other in self.callees:
            self.end(other, now)
        if self.untagged:
            other = call_in(parts_of(call)[0], b"", b"")
            if other in self.callees:
                self.end(other, now)

    cdef bint has_ended(self, bytes call) except -1:
        return self.ended.has(call) or self.ended.has(turned(call))

    cpdef int end(self, bytes call, int64_t now) except -1:
        """A call is over. If a recall brought it about, the callee's next watch is due."""
        callee = self.callees.pop(call, None)
        if callee is None:
            if not self.ownership.alone:
                self.ended.add(call)
            return 0
        try:
            self.remove(callee, call)
        finally:  # it is over, whether that can be written or not
            self.ownership.owner_of(callee).talk_ended(callee, call, now)
        return 0

    cdef int remove(self, bytes callee, bytes call) except -1:
        """Remove a talk from the store, unless that has another one of the callee."""
        try:
            if self.is_stored(callee, call):
                self.watchlist.put_talk(callee, None)
        except StoreError:  # it is written once there is room
            self.watchlist.pending.note_talk(callee, None)
            raise

    cdef bint is_stored(self, bytes callee, bytes call) except -1:
        if self.ownership.alone:
            return self.owner.engaged.get(callee) == call
        talk = self.watchlist.lost_talks.get(callee)        # it is stored as soon as there is room
        if talk is None:
            self.store.for_update()
            talk = self.store.talk(callee)
        return talk is not None and call_of_talk(talk) == call

    # ---- what other workers have told

    cdef int begun_elsewhere(self, talk, int64_t now) except -1:
        cdef bytes call = call_of_talk(talk)
        self.remember(talk, now)
        if self.has_ended(call):
            self.end(call, now)

    cdef int ended_elsewhere(self, bytes callee, bytes call, int64_t now) except -1:
        if self.callees.pop(call, None) is None:
            self.ended.add(call)
            self.owner.talk_ended(callee, call, now)
            return 0
        try:
            self.remove(callee, call)  # it may have been stored after the sender had removed it
        finally:
            self.owner.talk_ended(callee, call, now)
        return 0

    cdef int worker_restarted(self, int64_t now) except -1:
        talks = {call_of_talk(talk): talk for talk in self.store.each_talk()}
        for call, talk in talks.items():
            self.begun_elsewhere(talk, now)
            if self.ownership.is_mine(talk.callee):  # the dead one may have seen its end, and not written it
                self.doubt(call, now)
        for call, callee in [*self.callees.items()]:
            if call not in talks:
                del self.callees[call]
                self.owner.talk_ended(callee, call, now)

    # ---- talks of which the end may not have been seen

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        if kind == LONGEST_TALK:
            self.end(payload, now)
        else:
            self.ask(payload, now)
        return 0

    cdef int doubt(self, bytes call, int64_t when) except -1:
        """Ask whether a talk goes on: its BYE may have passed while nobody served, or nothing could be written."""
        self.wheel.schedule(when, self, DOUBT, call)

    cdef int ask(self, bytes call, int64_t now) except -1:
        # The caller's phone, since the dialog is its own: an upstream may have made another one with the callee's.
        cdef Question question
        cdef list bindings
        callee = self.callees.get(call)
        talk = self.store.talk(callee) if callee is not None else None
        if talk is None or call_of_talk(talk) != call or not talk.caller_tag:
            return 0
        bindings = self.location.lookup(talk.caller, now)
        question = Question.__new__(Question)
        question.talks = self
        question.call = call
        question.left = len(bindings)
        for binding in bindings:
            self.send_question(talk, binding, question, now)

    cdef int send_question(self, talk, binding, Question question, int64_t now) except -1:
        """An empty INFO in the dialog (RFC 2976 §2.2, RFC 3261 §12.2.1.1), as from the callee to the caller's phone."""
        cdef Flow flow = self.location.flow_of(binding)
        cdef bytes branch, uri = binding.contact, route = binding.path
        if flow is None:
            return 0
        if has_line_break(uri) or has_line_break(route):
            raise ValueError(f"a line break in {uri!r} or {route!r}")
        branch = self.transactions.new_branch(0)
        self.transactions.start(QUESTION % (
            as_request_uri(uri), listener_at(self.listeners, flow.local).via, branch, b"Route: %b\r\n" % route if route else b"",
            talk.callee, talk.callee_tag, talk.caller, talk.caller_tag, talk.call_id), branch, flow, question, now)


cdef bytes call_in(bytes call_id, bytes tag, bytes other):
    return b"%b\n%b\n%b" % (call_id, tag, other)


cdef bytes call_of_talk(talk):
    return call_in(talk.call_id, talk.caller_tag, talk.callee_tag)
