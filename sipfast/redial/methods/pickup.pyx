"""A call to the caller's phone, in the callee's name, until somebody picks up, or nobody does.

What the methods have in common that call the phone themselves: `callback`, and `b2bua` where it has no call to go on with.
"""

from libc.stdint cimport int64_t

from ...dialog.bridge cimport is_far, is_near
from ...dialog.leg cimport Leg
from ...dialog.remote cimport Remote
from ...store.codec cimport bytes_of
from ...transaction.client cimport OUTCOME_UNREACHABLE
from ..._flow cimport Flow
from ..._parser cimport Message
from .method cimport ABSENT, BUSY, CANNOT, DECLINED, ELSEWHERE, AttemptObserver, Outcome, WantedCall
from .progress cimport MOST_RESULT

from ...store.records import ENDING

# RFC 7462 §5
cdef bytes ALERT = b"Alert-Info: <urn:alert:service:recall:callback>\r\nSubject: Automatic redial\r\n"
# Of a user part that may stand as a display name.
NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+*#"


cdef Outcome outcome_of_invite(int status, bint rung) noexcept:
    if status == 486 or status == 600:
        return DECLINED if rung else BUSY
    if status == 603 or status == 487:
        return DECLINED
    # 430: RFC 5626 §11.6, its flow has failed. A 3xx is not followed: nobody has vouched for where that leads.
    if (status == 404 or status == 408 or status == 410 or status == 430 or status == 480 or status == 604
            or status == OUTCOME_UNREACHABLE or 300 <= status < 400):
        return ABSENT
    if status == 407:                         # §21.4.8: of a proxy on the way
        return ELSEWHERE
    return CANNOT


cdef class PickupMethod(RecallMethod):
    """Calls the phone. All times are ms."""

    cdef int configure(self, settings) except -1:
        self.ring = round(settings.recall_ring * 1000)
        self.refer_timeout = round(settings.refer_timeout * 1000)
        # It ends by itself: no answer to the INVITE, nobody picking up, no answer to what is asked then.
        self.patience = 3 * 64 * self.transactions.t1 + self.ring

    cdef Leg left_behind(self, const WantedCall *wanted):
        cdef bytes callee = bytes_of(wanted.callee), caller = bytes_of(wanted.caller), recall = bytes_of(wanted.call_id)
        cdef Leg leg
        for leg in self.dialogs.legs.values():
            if (leg.callee == callee and leg.caller == caller and leg.recall != recall and leg.state != ENDING
                    and not is_near(leg) and not is_far(leg)):
                return leg
        return None

    cdef Leg leg_to(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, str step):
        cdef Leg leg = self.dialogs.make(bytes_of(wanted.call_id), bytes_of(wanted.tag))
        leg.recall = leg.call_id
        leg.callee = bytes_of(wanted.callee)
        leg.caller = bytes_of(wanted.caller)
        leg.local = b"%b<%b%b>;tag=%b" % (
            display_name(leg.callee), leg.callee, b":%d" % wanted.port if wanted.port else b"", leg.tag)
        leg.remote.to = b"<%b>" % leg.caller
        leg.remote.target = uri
        leg.remote.routes = (route,) if route else ()
        leg.flow = flow
        leg.agent = bytes_of(wanted.agent)
        leg.step = step
        return leg


cdef bytes display_name(bytes aor):
    """The callee as the phone shows who calls: the user part, quoted."""
    user = aor.partition(b":")[2].rpartition(b"@")[0]
    return b'"%b" ' % user if user and not user.translate(None, NAME) else b""


cdef class PickupAttempt(Attempt):
    """One phone that is called."""

    cdef int called(self, bytes call_id, int64_t now) except -1:
        return self.pickup.called(call_id, now)

    cdef int settled(self, int64_t now) except -1:
        return self.pickup.settled(now)

    cdef int give_up(self, int64_t now) except -1:
        return self.pickup.leave(now)


cdef PickupAttempt attempt_by(Pickup pickup, PickupMethod method, AttemptObserver observer):
    cdef PickupAttempt attempt = PickupAttempt.__new__(PickupAttempt)
    attempt.observer = observer
    attempt.pickup = pickup
    pickup.method = method
    pickup.attempt = attempt
    return attempt


cdef class Pickup(LegUser):
    """What is done with the leg of an attempt."""

    cdef int rings(self, Remote remote, int64_t now) except -1:
        return 0

    cdef int picked_up(self, int64_t now) except -1:
        raise NotImplementedError

    cdef int due(self, int kind, int64_t now) except -1:
        raise NotImplementedError

    cdef int unanswered(self, int64_t now) except -1:
        return self.tell(DECLINED, "nobody picked up", "nobody picked up", now)

    cdef int called(self, bytes call_id, int64_t now) except -1:
        return 0

    cdef int settled(self, int64_t now) except -1:
        return self.leave(now)

    # ---- the attempt

    cdef int tell(self, Outcome outcome, str answer, str result, int64_t now) except -1:
        cdef AttemptObserver observer = self.attempt.observer
        self.attempt.observer = None
        self.stop()
        if self.over or observer is None:
            return 0
        self.over = True
        self.wait(ABANDONED, now + LONGEST_WAIT)        # its dialog may be up, for another method to go on with
        return observer.ended(outcome, answer, result[:MOST_RESULT], now)

    cdef int leave(self, int64_t now) except -1:
        self.over = True
        self.attempt.observer = None
        self.stop()
        if self.leg.user is self:
            self.leg.end(now)
        return 0

    cdef int drop(self, int64_t now) except -1:
        """What it has begun failed half-way: that ends by itself, and nobody is told."""
        self.over = True
        self.attempt.observer = None
        self.stop()
        if self.leg is not None and self.leg.user is self:
            self.leg.ground.orphan(self.leg, now)
        return 0

    cdef Leg let_go(self):
        self.over = True
        self.attempt.observer = None
        self.attempt.taken_over = True
        self.stop()
        return self.leg

    cdef int wait(self, int kind, int64_t when) except -1:
        self.stop()
        self.timer = self.method.dialogs.wheel.schedule(when, self, kind)

    cdef int stop(self) except -1:
        if self.timer:
            self.method.dialogs.wheel.cancel(self.timer)
            self.timer = 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        self.timer = 0
        if kind == ABANDONED and self.leg.user is self:
            return self.leave(now)
        if self.over or self.leg.user is not self:
            return 0
        if kind >= FURTHER:
            return self.due(kind, now)
        self.leg.end(now)
        if kind == NO_RING:
            return self.tell(ABSENT, "none", "no answer to INVITE", now)
        return self.unanswered(now)

    # ---- what the phone says to the INVITE

    cdef int ringing(self, Leg leg, Remote remote, Message response, int64_t now) except -1:
        if response.status == 100 or self.over:
            return 0
        if not self.rung:
            self.rung = self.attempt.took_part = True
            self.wait(NO_PICK_UP, now + self.method.ring)
        return self.rings(remote, now)

    cdef int answered(self, Leg leg, Message response, int64_t now) except -1:
        self.stop()
        self.attempt.took_part = True
        return 0 if self.over else self.picked_up(now)

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
        if self.over:
            return 0
        return self.tell(DECLINED, "hung up", "the caller has picked up, and hung up", now)
