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

A phone that refuses that rings on, and the next recall does not ask it so again (`redial/memory`). Once somebody picks up,
or with "ring", it is asked in the dialog, and that ends with a BYE when the two talk:

      | <--------------------- 200 |
      | ACK ---------------------> |
      | REFER -------------------> |   a moment later: some are not ready for it at once
      | <--------------------- 202 |
      | <------ INVITE sip:callee  |

How far it has come is the leg's `step`, which is stored: a new process does not ring the phone a second time, nor ask it twice.
"""

from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._parser cimport M_NOTIFY, Message
from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport Leg, LegRequest
from ...dialog.remote cimport Remote, answer_of
from ...store.codec cimport bytes_of
from ...transaction.server cimport ServerTransaction
from ...trust.credit cimport Credit
from .method cimport CANNOT, Attempt, AttemptObserver, WantedCall, outcome_of_refer
from .pickup cimport ABANDONED, ALERT, FURTHER, LONGEST_WAIT, NO_RING, Pickup, PickupMethod, attempt_by
from .progress cimport progress_in

from ...store.records import ANSWERED, ENDING, INVITED

cdef enum:
    # Timers
    ASK = FURTHER           # time to send the REFER in the dialog
    SAY = FURTHER + 1       # what is known from before a restart is told
    LEAVE = FURTHER + 2     # it has not hung up by itself
    SILENT = FURTHER + 3    # it has not answered the REFER in the dialog
    PAUSE = 50              # ms from the ACK to the REFER
    LEAVES = 2_000          # ms in which a phone hangs up that does so by itself
    OBEYS = 2_000           # ms in which a phone that has taken the early REFER may call, though somebody has picked up meanwhile
    WILL_CALL = 1_000       # ms from the ACK, where picking up is what it has waited for
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

# RFC 3326 §2: no phone is to show a call that was missed.
cdef bytes ELSEWHERE = b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"


cdef class CallbackMethod(PickupMethod):
    """Calls the phone, and asks it within the call. All times are ms."""

    cdef int configure(self, settings) except -1:
        PickupMethod.configure(self, settings)
        self.dials = settings.start == "dial"

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        cdef Callback callback = Callback.__new__(Callback)
        cdef Attempt attempt = attempt_by(callback, self, observer)
        callback.answer = ""
        callback.dials = self.dials if how is None else how.start == "dial"
        callback.pause = PAUSE if how is None else how.refer_after
        callback.hangs_up = how is not None and how.hangs_up
        try:
            return attempt if self.began(callback, wanted, uri, route, flow, credit, how, now) else None
        except Exception:
            callback.drop(now)
            raise

    cdef bint began(self, Callback callback, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit,
                    object how, int64_t now) except -1:
        cdef Leg leg = self.dialogs.of_recall(bytes_of(wanted.call_id), STEP)
        if leg is not None and leg.state == INVITED and leg.waiting(b"INVITE") is None:
            leg.close(now)                    # no branch was to be had for it again: nothing can be known of it
            leg = None
        if leg is not None:
            callback.leg = leg
            leg.user = callback
            callback.resume(now)
            return True
        leg = self.left_behind(wanted)
        if leg is not None:
            leg.user = None
            leg.end(now)
        leg = callback.leg = self.leg_to(wanted, uri, route, flow, STEP)
        leg.user = callback
        if not leg.invite(ALERT if how is None else ALERT + <bytes>how.headers, leg.own_offer(), credit, now):
            leg.close(now)
            return False
        callback.wait(NO_RING, now + 64 * self.transactions.t1)
        return True


cdef class Callback(Pickup):
    """What is done with the leg of an attempt."""

    cdef int resume(self, int64_t now) except -1:
        """Go on where an earlier process died, or where the store did."""
        cdef Leg leg = self.leg
        cdef LegRequest each
        self.attempt.took_part = leg.is_answered() or leg.step != STEP      # which it has left when it rang
        for each in leg.requests:
            if each.name == b"REFER":
                self.asking = each            # the last one: they are in their order
        for each in [*leg.requests]:
            each.early = each.name == b"REFER" and (leg.step == EARLY or each is not self.asking)
            if leg.state != ENDING:
                leg.resume(each, now)
        if leg.state == INVITED:
            if leg.step == EARLY and leg.waiting(b"REFER") is None:
                leg.take_step(RINGS, now)
            return self.wait(NO_RING, now + 64 * self.method.transactions.t1)
        if leg.state == ANSWERED and leg.waiting(b"REFER") is not None:
            return self.wait(SILENT, now + self.method.refer_timeout) if leg.step in (ASKED, ASKED_AGAIN) else 0
        if leg.state == ANSWERED and leg.step not in (ASKED, ASKED_AGAIN, ACCEPTED, ACCEPTED_AGAIN):
            return self.refer_soon(now)
        return self.wait(SAY, now)

    cdef int due(self, int kind, int64_t now) except -1:
        cdef AttemptObserver observer
        cdef Leg leg = self.leg
        if kind == LEAVE:
            return self.leave(now)
        if kind == ASK:
            return self.refer(ASKED_AGAIN if leg.step == ACCEPTED else ASKED, leg.remote, now)
        if kind == SILENT:
            return self.tell(CANNOT, "none", "no answer to a REFER in a call", now)
        if leg.over or leg.state == ENDING:
            return self.tell(CANNOT, "none", "the call to the phone was over before a restart", now)
        if leg.step == ACCEPTED or leg.step == ACCEPTED_AGAIN:
            observer = self.attempt.observer
            return observer.accepted(True, "REFER accepted before a restart", now) if observer is not None else 0
        return self.tell(CANNOT, "none", "what the phone said to the REFER was lost with a restart", now)

    cdef int called(self, bytes call_id, int64_t now) except -1:
        """The phone's own call has come."""
        cdef AttemptObserver observer = self.attempt.observer
        cdef Leg leg = self.leg
        if self.over or leg.user is not self or leg.step == CALLED:
            return 0
        self.stop()
        if self.doubtful:
            self.learn(leg.step == OBEYED, now)
        if observer is not None and leg.step in (EARLY, OBEYED, ASKED, ASKED_AGAIN):
            observer.accepted(False, self.answer or "called", now)       # its 2xx to the REFER may come later, or is lost
        leg.step = CALLED
        if leg.state == INVITED:
            return leg.end(now, ELSEWHERE)
        self.wait(ABANDONED, now + LONGEST_WAIT)
        return leg.ground.keep(leg)

    cdef int settled(self, int64_t now) except -1:
        """The two talk."""
        if not self.hangs_up or not self.leg.is_answered():
            return self.leave(now)
        self.attempt.observer = None          # two BYEs that cross are none's fault, and yet some phones complain
        return self.wait(LEAVE, now + LEAVES)

    cdef int refused(self, Leg leg, int status, str answer, int64_t now) except -1:
        if leg.step == CALLED:                # a 487 to our own CANCEL, mostly
            return 0
        if self.cancelled:
            return self.tell(CANNOT, self.answer, "REFER accepted while it rang, and no call", now)
        return Pickup.refused(self, leg, status, answer, now)

    cdef int hung_up(self, Leg leg, int64_t now) except -1:
        if leg.step == ACCEPTED or leg.step == ACCEPTED_AGAIN or leg.step == CALLED:
            return 0                          # its own call is what it wants now
        return Pickup.hung_up(self, leg, now)

    # ---- the REFERs

    cdef int rings(self, Remote remote, int64_t now) except -1:
        if self.dials and remote is not None and self.leg.step == STEP:
            self.doubtful = True
            self.refer(EARLY, remote, now)
        return 0

    cdef int picked_up(self, int64_t now) except -1:
        return self.refer_soon(now)

    cdef int unanswered(self, int64_t now) except -1:
        if self.leg.step == OBEYED:           # it was its turn, and not its user's: a phone may ask first, and not let pick up
            self.cancelled = True             # the next method's call would find it ringing for this one: 486
            return 0
        return Pickup.unanswered(self, now)

    cdef int refer(self, str step, Remote remote, int64_t now) except -1:
        cdef Leg leg = self.leg
        cdef bytes callee = leg.local.partition(b"<")[2].partition(b">")[0]      # as it was dialled
        leg.step = step
        leg.stepped = now
        self.vain = None
        # RFC 3515 §2.1, RFC 3892 §2.1. No headers and no method in the URI: some phones copy them into what they send.
        self.asking = leg.request(
            b"REFER", b"Refer-To: <%b>\r\nReferred-By: <%b>\r\n" % (callee, callee), b"", remote, now)
        return 0 if step == EARLY else self.wait(SILENT, now + self.method.refer_timeout)

    cdef int refer_soon(self, int64_t now) except -1:
        cdef int64_t when = now + self.pause
        if self.leg.step == EARLY:
            when = now + OBEYS                # its answer is still to come
        elif self.leg.step == OBEYED:
            when = max(now + WILL_CALL, self.leg.stepped + OBEYS)
        return self.wait(ASK, when)

    cdef int replied(self, Leg leg, LegRequest request, int status, Message response, int64_t now) except -1:
        if self.over or request is not self.asking:
            return 0
        if leg.step == EARLY:
            return self.early_answered(status, response, now)
        if leg.step == ASKED or leg.step == ASKED_AGAIN:
            return self.refer_answered(status, response, now)
        return 0

    cdef int early_answered(self, int status, Message response, int64_t now) except -1:
        if 200 <= status < 300 or status == 482:                                # RFC 3261 §8.2.2.2
            self.answer = answer_of(response)
            self.leg.take_step(OBEYED, now)
            if self.vain is not None:
                self.tried_in_vain(self.vain, now)
        else:
            self.leg.take_step(RINGS, now)
            if response is not None and outcome_of_refer(status) == CANNOT:
                self.learn(False, now)
        return self.refer_soon(now) if self.leg.is_answered() else 0

    cdef int learn(self, bint obeyed, int64_t now) except -1:
        """Whether the phone is to be asked while it rings, the next time. Silence is held against it once it has called."""
        self.doubtful = False
        return self.attempt.observer.early(obeyed, now) if self.attempt.observer is not None else 0

    cdef int refer_answered(self, int status, Message response, int64_t now) except -1:
        cdef str answer = answer_of(response) if response is not None else "none"
        if 200 <= status < 300 or status == 482:
            self.leg.take_step(ACCEPTED_AGAIN if self.leg.step == ASKED_AGAIN else ACCEPTED, now)
            self.wait(ABANDONED, now + LONGEST_WAIT)
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
        if progress[0] < 300:
            return observer.progress(progress[0], progress[1], now)
        if leg.step == CALLED:                # its call is seen here; and some say 500 once the first INVITE is cancelled
            return 0
        return self.tried_in_vain(progress, now)

    cdef int tried_in_vain(self, tuple progress, int64_t now) except -1:
        """It has tried, and no INVITE has come of it."""
        cdef Leg leg = self.leg
        if leg.step == OBEYED:
            return leg.take_step(RINGS, now)
        if leg.step == EARLY:
            self.vain = progress              # RFC 6665 §4.1.2.4: a NOTIFY may overtake the 2xx
            return 0
        if leg.step == ASKED or leg.step == ASKED_AGAIN:        # its 2xx to the REFER comes later, or is lost
            leg.take_step(ACCEPTED_AGAIN if leg.step == ASKED_AGAIN else ACCEPTED, now)
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
