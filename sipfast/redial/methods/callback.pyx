"""Recall by a call: the caller's phone is called, and asked within that call to place the one that is wanted.

Out of a dialog hardly any phone obeys a REFER; within a call nearly all do (RFC 3515 §2.2: it may be sent in any dialog). With
`redial.start = "dial"` it is asked while it still rings, in the early dialog of its 180, so that nobody need pick up:

    server                     phone
      | INVITE ------------------> |
      | <--------------------- 180 |
      | REFER (early dialog) ----> |
      | <--------------------- 202 |
      | <------ INVITE sip:callee  |   a call of its own, through this server as any other
      | CANCEL ------------------> |   no sooner: some would not call then

A phone that refuses that rings on. Once somebody picks up, or with "ring", it is asked in the dialog, and that ends with a BYE
when the two talk:

      | <--------------------- 200 |
      | ACK ---------------------> |
      | REFER -------------------> |   a moment later: some are not ready for it at once
      | <--------------------- 202 |
      | <------ INVITE sip:callee  |

How far it has come is the leg's `step`, which is stored, so a new process does not ring the phone a second time, nor ask it twice.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._parser cimport M_NOTIFY, Message
from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport Leg, LegRequest, LegUser, Remote, answer_of
from ...store.codec cimport bytes_of
from ...transaction.client cimport OUTCOME_UNREACHABLE
from ...transaction.server cimport ServerTransaction
from ...trust.credit cimport Credit
from .method cimport ABSENT, BUSY, CANNOT, DECLINED, Attempt, AttemptObserver, Outcome, RecallMethod, WantedCall
from .progress cimport MOST_RESULT, progress_in

from ...store.records import ANSWERED, ENDING, INVITED

cdef enum:
    # Timers
    NO_RING = 1             # not even a 180 has come
    NO_PICK_UP = 2
    ASK = 3                 # time to send the REFER in the dialog
    SAY = 4                 # what is known from before a restart is told
    PAUSE = 50              # ms from the ACK to the REFER
    OBEYS = 2_000           # ms in which a phone that has taken the early REFER is given time to call, somebody picking up meanwhile
    AGAIN = 1_500           # ms until a phone is asked again that was not ready for it

# Steps of a leg
STEP = "callback"
EARLY = "callback early"                # the early REFER was sent
OBEYED = "callback obeyed"              # and accepted
RINGS = "callback rings"                # and refused, or what it led to was no call
ASKED = "callback asked"                # the REFER in the dialog was sent
ASKED_AGAIN = "callback asked again"
ACCEPTED = "callback accepted"          # and accepted
ACCEPTED_AGAIN = "callback accepted again"
CALLED = "callback called"              # the phone's call has come

# RFC 7462 §5, RFC 3326 §2: no phone notes a call that was missed.
cdef bytes ALERT = b"Alert-Info: <urn:alert:service:recall:callback>\r\nSubject: Automatic redial\r\n"
cdef bytes ELSEWHERE = b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"


cdef Outcome outcome_of_invite(int status, bint rung) noexcept:
    if status == 486 or status == 600:
        return DECLINED if rung else BUSY
    if status == 603 or status == 487:
        return DECLINED
    # 430: RFC 5626 §11.6, its flow has failed. 3xx is not followed: where that leads nobody has vouched for.
    if status in (404, 408, 410, 430, 480, 604, OUTCOME_UNREACHABLE) or 300 <= status < 400:
        return ABSENT
    return CANNOT


cdef bytes name_of(bytes aor):
    user = aor.partition(b":")[2].rpartition(b"@")[0]
    return b'"%b" ' % user if user and not user.translate(None, NAME) else b""


NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+*# "


cdef class CallbackMethod(RecallMethod):
    """Calls the phone, and asks it within the call. All times are ms."""

    cdef int configure(self, settings) except -1:
        self.dials = settings.start == "dial"
        self.ring = round(settings.recall_ring * 1000)
        # It ends by itself: no answer to the INVITE, nobody picking up, no answer to the REFER.
        self.patience = 3 * 64 * self.transactions.t1 + self.ring

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        cdef CallbackAttempt attempt = CallbackAttempt.__new__(CallbackAttempt)
        cdef Callback callback = attempt.callback = Callback.__new__(Callback)
        cdef Leg leg = self.dialogs.of_recall(bytes_of(wanted.call_id), STEP)
        callback.method = self
        callback.attempt = attempt
        callback.answer = ""
        callback.dials = self.dials
        attempt.observer = observer
        if leg is not None and not (leg.state == INVITED and leg.waiting(b"INVITE") is None):
            callback.leg = leg
            leg.user = callback
            callback.resume(now)
            return attempt
        if leg is not None:
            leg.close(now)                    # no branch was to be had for its INVITE: nothing can be known of it
        leg = self.invite(wanted, uri, route)
        leg.flow = flow
        leg.user = callback
        callback.leg = leg
        if not leg.invite(ALERT, leg.own_offer(), credit, now):
            leg.close(now)
            return None
        callback.wait(NO_RING, now + 64 * self.transactions.t1)
        return attempt

    cdef Leg invite(self, const WantedCall *wanted, bytes uri, bytes route):
        cdef Leg leg = self.dialogs.make(bytes_of(wanted.call_id), bytes_of(wanted.tag))
        leg.recall = leg.call_id
        leg.callee = bytes_of(wanted.callee)
        leg.caller = bytes_of(wanted.caller)
        leg.local = b"%b<%b>;tag=%b" % (name_of(leg.callee), leg.callee, leg.tag)
        leg.remote.to = b"<%b>" % leg.caller
        leg.remote.target = uri
        leg.remote.routes = (route,) if route else ()
        leg.step = STEP
        return leg

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        return credit.left > 0 or credit.unlimited or self.transactions.proven.has(flow, now)


cdef class CallbackAttempt(Attempt):
    """One phone that is called."""

    cdef int called(self, bytes call_id, int64_t now) except -1:
        return self.callback.called(now)

    cdef int settled(self, int64_t now) except -1:
        return self.callback.leave(now)

    cdef int give_up(self, int64_t now) except -1:
        return self.callback.leave(now)


cdef class Callback(LegUser):
    """What is done with the leg of an attempt."""

    cdef int tell(self, Outcome outcome, str answer, str result, int64_t now) except -1:
        cdef AttemptObserver observer = self.attempt.observer
        self.attempt.observer = None
        self.stop()
        if self.over or observer is None:
            return 0
        self.over = True
        return observer.ended(outcome, answer, result[:MOST_RESULT], now)

    cdef int leave(self, int64_t now) except -1:
        """The leg ends, unless it is another's by now; nobody is told."""
        self.over = True
        self.attempt.observer = None
        self.stop()
        if self.leg.user is self:
            self.leg.end(now)
        return 0

    # ---- timers

    cdef int wait(self, int kind, int64_t when) except -1:
        self.stop()
        self.kind = kind
        self.timer = self.method.dialogs.wheel.schedule(when, self, kind)

    cdef int stop(self) except -1:
        if self.timer:
            self.method.dialogs.wheel.cancel(self.timer)
            self.timer = 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        cdef AttemptObserver observer = self.attempt.observer
        self.timer = 0
        if self.over or self.leg.user is not self:
            return 0
        if kind == ASK:
            return self.refer(ASKED_AGAIN if self.leg.step == ACCEPTED else ASKED, self.leg.remote, now)
        if kind == SAY:
            if self.leg.over or self.leg.state == ENDING:
                return self.tell(CANNOT, "none", "the phone's call was over before a restart", now)
            if self.leg.step == ACCEPTED or self.leg.step == ACCEPTED_AGAIN:
                return observer.accepted(True, "REFER accepted before a restart", now)
            return self.tell(CANNOT, "none", "what the phone said to the REFER was lost with a restart", now)
        self.leg.end(now)
        if kind == NO_RING:
            return self.tell(ABSENT, "none", "no answer to INVITE", now)
        return self.tell(DECLINED, "nobody picked up", "nobody picked up", now)

    cdef int resume(self, int64_t now) except -1:
        """Go on where an earlier process died, or where the store did."""
        cdef Leg leg = self.leg
        cdef LegRequest each
        for each in [*leg.requests]:
            if leg.state != ENDING:
                leg.resume(each, now)
        if leg.state == INVITED:
            if leg.step == EARLY and leg.waiting(b"REFER") is None:
                leg.take_step(RINGS, now)
            return self.wait(NO_RING, now + 64 * self.method.transactions.t1)
        if leg.state == ANSWERED and leg.waiting(b"REFER") is None and leg.step not in (
                ASKED, ASKED_AGAIN, ACCEPTED, ACCEPTED_AGAIN):
            return self.refer_soon(now)
        if leg.state == ANSWERED and leg.waiting(b"REFER") is not None:
            return 0
        return self.wait(SAY, now)

    # ---- the phone's call

    cdef int called(self, int64_t now) except -1:
        cdef AttemptObserver observer = self.attempt.observer
        cdef Leg leg = self.leg
        if self.over or leg.user is not self or leg.step == CALLED:
            return 0
        self.stop()
        if observer is not None and leg.step == OBEYED:
            observer.accepted(False, self.answer, now)
        leg.step = CALLED
        if leg.state == INVITED:
            return leg.end(now, ELSEWHERE)
        return leg.ground.keep(leg)

    # ---- what the phone says to the INVITE

    cdef int ringing(self, Leg leg, Remote remote, Message response, int64_t now) except -1:
        if response.status == 100 or self.over:
            return 0
        if not self.rung:
            self.rung = True
            self.wait(NO_PICK_UP, now + self.method.ring)
        if self.dials and remote is not None and leg.step == STEP:
            self.refer(EARLY, remote, now)
        return 0

    cdef int answered(self, Leg leg, Message response, int64_t now) except -1:
        self.stop()
        return 0 if self.over else self.refer_soon(now)

    cdef int refused(self, Leg leg, int status, str answer, int64_t now) except -1:
        cdef str result = f"INVITE got {answer}"
        if self.over:
            return 0
        if status == OUTCOME_UNREACHABLE:
            result = "caller's phone cannot be reached"
        elif answer == "none":
            result = "no answer to INVITE"
        return self.tell(outcome_of_invite(status, self.rung), answer, result, now)

    cdef int hung_up(self, Leg leg, int64_t now) except -1:
        if self.over or leg.step == ACCEPTED or leg.step == ACCEPTED_AGAIN or leg.step == CALLED:
            return 0                          # its own call is what it wants now
        return self.tell(DECLINED, "hung up", "the caller has picked up, and hung up", now)

    # ---- the REFERs

    cdef int refer(self, str step, object remote, int64_t now) except -1:
        cdef Leg leg = self.leg
        leg.step = step
        leg.stepped = now
        # RFC 3515 §2.1, RFC 3892 §2.1. No headers and no method in the URI: some phones copy them into what they send.
        leg.request(b"REFER", b"Refer-To: <%b>\r\nReferred-By: <%b>\r\n" % (leg.callee, leg.callee), b"", <Remote>remote, now)
        return 0

    cdef int refer_soon(self, int64_t now) except -1:
        cdef int64_t when = now + PAUSE
        if self.leg.step == EARLY:
            when = now + OBEYS                # its answer is still to come
        elif self.leg.step == OBEYED:
            when = max(when, self.leg.stepped + OBEYS)
        return self.wait(ASK, when)

    cdef int replied(self, Leg leg, LegRequest request, int status, Message response, int64_t now) except -1:
        if self.over or request.name != b"REFER" or leg.step == CALLED:
            return 0
        if leg.step == EARLY:
            return self.early_answered(status, response, now)
        if leg.step == ASKED or leg.step == ASKED_AGAIN:
            return self.refer_answered(status, response, now)
        return 0

    cdef int early_answered(self, int status, Message response, int64_t now) except -1:
        if 200 <= status < 300 or status == 482:
            self.answer = answer_of(response)
            self.leg.take_step(OBEYED, now)
        else:
            self.leg.take_step(RINGS, now)
        if self.leg.is_answered():
            self.refer_soon(now)
        return 0

    cdef int refer_answered(self, int status, Message response, int64_t now) except -1:
        cdef str answer = answer_of(response) if response is not None else "none"
        if 200 <= status < 300 or status == 482:                                # RFC 3261 §8.2.2.2
            self.leg.take_step(ACCEPTED_AGAIN if self.leg.step == ASKED_AGAIN else ACCEPTED, now)
            if self.attempt.observer is not None:
                self.attempt.observer.accepted(status == 482, answer, now)
            return 0
        # The dialog stays: another method may go on with it.
        return self.tell(CANNOT, answer, f"REFER in a call got {answer}", now)

    cdef bint asked(self, Leg leg, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        if request.method == M_NOTIFY:
            self.told(request, now)
        return False

    cdef int told(self, Message notify, int64_t now) except -1:
        """What the phone tells of the call that it was asked for. Many write that as they like: only its first line counts."""
        cdef AttemptObserver observer = self.attempt.observer
        cdef Leg leg = self.leg
        cdef tuple progress = progress_in(notify)
        if progress is None or observer is None:
            return 0
        if progress[0] < 300 or leg.step == CALLED:
            return observer.progress(progress[0], progress[1], now)
        # It has tried, and no INVITE has come of it.
        if leg.step == OBEYED:
            return leg.take_step(RINGS, now)
        if leg.step == ACCEPTED:              # some say so where they have only just answered
            return self.wait(ASK, max(now, leg.stepped + AGAIN))
        if leg.step == ACCEPTED_AGAIN:
            return self.tell(CANNOT, progress[1], progress[1], now)
        return 0


cdef CallbackMethod make_callback_method(Dialogs dialogs):
    cdef CallbackMethod method = CallbackMethod.__new__(CallbackMethod)
    method.name = "callback"
    method.title = "callback"
    method.sent = b"INVITE sent"
    method.dialogs = dialogs
    method.transactions = dialogs.transactions
    return method
