"""Recall by third-party call control (RFC 3725): the server calls the caller's phone, and the callee, and joins the two.

For phones that place no call whatever they are asked: every phone can be called, and obeys a re-INVITE. Where `callback` has got
somebody to pick up, that call goes on; else the phone rings for this. Then the callee is called in the caller's name, through
the server's own front door: that call is routed, forked, sent on and watched as any other of the caller's, and its ACK ends
the watch. What the two say to each other from then on passes the bridge (dialog/bridge.pyx).
"""

from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ...dialog.bridge cimport Bridge, BridgeObserver, is_near, make_bridge
from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport Leg, LegRequest
from ...store.codec cimport bytes_of
from ...trust.credit cimport Credit
from .method cimport CANNOT, DECLINED, ELSEWHERE, Attempt, AttemptObserver, WantedCall
from .pickup cimport ALERT, FURTHER, NO_PICK_UP, NO_RING, Pickup, PickupAttempt, PickupMethod, attempt_by

from ...store.records import ENDING, INVITED

cdef enum:
    GO_ON = FURTHER         # timer: somebody had picked up before

STEP = "b2bua"              # of the leg, until the bridge has it


cdef class B2buaMethod(PickupMethod):
    """Joins two calls. All times are ms."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        cdef Join join = Join.__new__(Join)
        cdef Attempt attempt = attempt_by(join, self, observer)
        try:
            return attempt if self.began(join, wanted, uri, route, flow, credit, how, before, now) else None
        except Exception:
            join.drop(now)
            raise

    cdef bint began(self, Join join, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                    Attempt before, int64_t now) except -1:
        cdef bytes recall = bytes_of(wanted.call_id)
        cdef Leg leg = self.begun(recall, True)
        if leg is not None:
            join.take_over(leg, now)
            return True
        leg = self.begun(recall, False)
        if leg is None and before is None:
            leg = self.left_behind(wanted)
            if leg is not None:
                leg.recall = recall
                leg.take_step(STEP, now)
        if leg is None and isinstance(before, PickupAttempt):
            leg = (<PickupAttempt>before).pickup.leg
            if leg.over or leg.state == ENDING or leg.user is not (<PickupAttempt>before).pickup:
                leg = None
            else:
                (<PickupAttempt>before).pickup.let_go()
                leg.recall = recall
                leg.take_step(STEP, now)
        if leg is not None:
            join.go_on(leg, now)
            return True
        leg = join.leg = self.leg_to(wanted, uri, route, flow, STEP)
        leg.user = join
        if not leg.invite(ALERT if how is None else ALERT + <bytes>how.headers, leg.own_offer(), credit, now):
            leg.close(now)
            return False
        join.wait(NO_RING, now + 64 * self.transactions.t1)
        return True

    cdef Leg begun(self, bytes recall, bint bridged):
        cdef Leg leg
        for leg in self.dialogs.legs.values():
            if leg.recall == recall and (is_near(leg) if bridged else leg.step == STEP):
                return leg
        return None


cdef class Joining(BridgeObserver):
    """Hears what becomes of the bridge."""

    cdef int joined(self, int64_t now) except -1:
        return 0                              # whoever sees calls sees it

    cdef int failed(self, int status, str answer, int64_t now) except -1:
        return self.join.ended(status, answer, now)


cdef class Join(Pickup):
    """What is done with the leg to the caller's phone."""

    cdef int go_on(self, Leg leg, int64_t now) except -1:
        """With a call that rings or was answered before."""
        cdef LegRequest invite = leg.waiting(b"INVITE")
        self.leg = leg
        leg.user = self
        if leg.state != INVITED:
            self.attempt.took_part = True
            return self.wait(GO_ON, now)
        if invite is not None:
            leg.resume(invite, now)
        return self.wait(NO_PICK_UP, now + self.method.ring)

    cdef int take_over(self, Leg leg, int64_t now) except -1:
        """A bridge that an earlier process has begun."""
        cdef Joining joining = Joining.__new__(Joining)
        joining.join = self
        self.leg = leg
        self.attempt.took_part = True         # somebody had picked up
        if isinstance(leg.user, Bridge):
            self.bridge = <Bridge>leg.user
            self.bridge.observer = joining
            return self.bridge.ring_on(now)
        leg.user = self
        return self.wait(GO_ON, now)

    cdef int due(self, int kind, int64_t now) except -1:
        if not self.leg.is_answered():
            self.leg.end(now)
            return self.tell(CANNOT, "none", "the call to the phone was over before a restart", now)
        return self.picked_up(now)

    cdef int picked_up(self, int64_t now) except -1:
        cdef Dialogs dialogs = self.method.dialogs
        cdef AttemptObserver observer
        cdef Joining joining
        if not self.leg.heard:
            self.leg.end(now)
            return self.tell(CANNOT, "200 without a description", "the phone's answer has no session description", now)
        joining = Joining.__new__(Joining)
        joining.join = self
        self.bridge = make_bridge(self.leg.ground, self.leg, None)
        self.bridge.observer = joining
        self.bridge.call(dialogs.names.new_call_id(), dialogs.names.new_tag(), now)
        observer = self.attempt.observer
        return observer.accepted(False, "200 OK", now) if observer is not None else 0

    cdef int ended(self, int status, str answer, int64_t now) except -1:
        if status == 0:
            return self.tell(DECLINED, answer, "the caller has picked up, and hung up", now)
        return self.tell(ELSEWHERE, answer, f"the call to the callee got {answer}", now)

    # ---- the attempt

    cdef int called(self, bytes call_id, int64_t now) except -1:
        # By itself, after all: then this is not needed.
        if self.bridge is not None and self.bridge.far is not None and self.bridge.far.call_id != call_id:
            return self.leave(now)
        if self.bridge is None:
            return self.leave(now)
        return 0

    cdef int leave(self, int64_t now) except -1:
        if self.bridge is None:
            return Pickup.leave(self, now)
        self.over = True
        self.attempt.observer = None
        return self.bridge.leave(now)


cdef B2buaMethod make_b2bua_method(Dialogs dialogs):
    cdef B2buaMethod method = B2buaMethod.__new__(B2buaMethod)
    method.name = "b2bua"
    method.title = "third-party call control"
    method.sent = b"INVITE sent"
    method.dialogs = dialogs
    method.transactions = dialogs.transactions
    return method
