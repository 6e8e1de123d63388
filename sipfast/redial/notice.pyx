"""Notices: what a worker that sees an event tells the owner of the callee, or all others.

Each event is written into the store, as far as it must survive, in the batch of its message; the notice leaves once that is
committed, and the owner looks into the store and acts. A notice says where to look more than what is true, so one that comes
late or twice does no harm. With one worker, and for a callee of its own, there is none: the owner is called instead.

A notice can be lost with a worker that is killed. Therefore a restarted worker looks through the store (its own callees
as after any restart, those of others for what it may have committed without telling) and says hello, upon which the
others tell it of the calls that they are proxying for its recalls, and take up what they had from the dead one.
"""

from libc.stdint cimport int64_t

from ..trust.credit cimport Credit
from .ownership cimport CalleeOwner, Ownership
from .pending cimport Pending

import msgspec

# Kinds. To the owner:
LOOK = 1  # the watch was armed, renewed or removed
BOUND = 2  # the callee is bound; `status` and `since` are datagrams and bytes of a credit
STARTED = 3  # the recalled call is being proxied by the sender
FAILED = 4  # it got a final response other than 2xx, after ringing for `since` ms
GONE = 5  # it found the callee unbound
ENDED = 8  # a talk is over, and was removed
CALLER_BACK = 12  # the caller may be able to take a recall now; `since`: in how many ms
# To all:
ANSWERED = 6  # the ACK of a call's 2xx has passed, so the two talk; the watch was removed
TALK = 7  # a talk that keeps others waiting was stored
HELLO = 9  # the sender has started
AWAITED = 10  # a call's 2xx has passed; its ACK may pass anywhere
UNCONFIRMED = 11  # and none ever will
SUSPENDED = 13  # a watch was suspended


class Notice(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one worker tells another."""

    kind: int
    sender: int
    callee: bytes = b""
    caller: bytes = b""
    call_id: bytes = b""
    status: int = 0
    since: int = 0


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Notice).decode


cdef class Post:
    """Takes notices to other workers."""

    cdef int post_notice(self, int worker, bytes notice) except -1:
        raise NotImplementedError


cdef class Notices:
    """Notices that wait for the commit of what they tell of."""

    def __init__(self, Ownership ownership, Post post, Pending pending):
        self.ownership = ownership
        self.post = post
        self.pending = pending

    cdef int tell(self, int worker, int kind, tuple pair, bytes call_id=b"", int status=0, int64_t since=0) except -1:
        self.pending.notices.append((worker, Notice(kind, self.ownership.worker, pair[0], pair[1], call_id, status, since)))

    cdef int tell_all(self, int kind, tuple pair, bytes call_id, int64_t since=0) except -1:
        cdef int worker
        if self.ownership.alone:
            return 0
        notice = Notice(kind, self.ownership.worker, pair[0], pair[1], call_id, 0, since)
        for worker in range(self.ownership.workers):
            if worker != self.ownership.worker:
                self.pending.notices.append((worker, notice))

    cdef int leave(self, Pending batch) except -1:
        cdef list waiting = batch.notices
        if waiting:
            batch.notices = []
            for worker, notice in waiting:
                self.post.post_notice(worker, encode(notice))

    cdef int batch_lost(self, Pending batch, set promised, object units) except -1:
        cdef list happened = [each for each in batch.notices
                              if each[1].kind != LOOK or (each[1].callee, each[1].caller) not in promised]
        batch.notices = []
        if units is None:
            self.pending.notices[:0] = happened
            return 0
        for each in happened:
            told = each[1]
            of = self.pending if (batch.is_lost((told.callee, told.caller), units)
                                  or batch.is_lost(told.callee, units)) else batch
            (<Pending>of).notices.append(each)


cdef class OtherOwners(CalleeOwner):
    """The owners in other workers: they hear of an event by a notice."""

    def __init__(self, Notices notices):
        self.notices = notices

    cdef int watch_armed(self, tuple pair, int64_t expires_at, int64_t now) except -1:
        self.tell(LOOK, pair)

    cdef int watch_cancelled(self, tuple pair, int64_t now) except -1:
        self.tell(LOOK, pair)

    cdef int callee_available(self, bytes callee, Credit credit, int64_t now) except -1:
        cdef int left = credit.left // 2    # half of it goes along
        cdef int64_t room = credit.room // 2
        if not credit.unlimited:
            credit.left -= left
            credit.room -= room
        self.notices.tell(self.notices.ownership.worker_of(callee), BOUND, (callee, b""), b"", left, room)

    cdef int call_started(self, tuple pair, bytes call_id, int worker, int64_t now) except -1:
        self.tell(STARTED, pair, call_id)

    cdef int call_failed(self, tuple pair, bytes call_id, int status, int64_t rang, int64_t now) except -1:
        self.notices.tell(self.notices.ownership.worker_of(<bytes>pair[0]), FAILED, pair, call_id, status, rang)

    cdef int callee_gone(self, tuple pair, int64_t now) except -1:
        self.tell(GONE, pair)

    cdef int talk_ended(self, bytes callee, bytes call_id, int64_t now) except -1:
        self.tell(ENDED, (callee, b""), call_id)

    cdef int caller_back(self, tuple pair, int64_t after, int64_t now) except -1:
        self.notices.tell(self.notices.ownership.worker_of(<bytes>pair[0]), CALLER_BACK, pair, b"", 0, after)

    cdef int tell(self, int kind, tuple pair, bytes call_id=b"", int status=0) except -1:
        self.notices.tell(self.notices.ownership.worker_of(<bytes>pair[0]), kind, pair, call_id, status)
