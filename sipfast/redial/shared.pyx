"""Automatic redial by several workers that share one store.

Each callee belongs to one worker, by a hash of its AOR. The owner holds what Redial holds in memory: the timers of the
callee's watches, the recall that is going on, whose turn it is. Only the owner claims, so one caller is called at a time
whichever workers the phones' datagrams come to.

The others see events of callees that are not theirs: an INVITE that arms, a REGISTER that binds, a recalled call that
starts, fails, is answered or ends. The worker that sees one writes into the store what a phone is told or what must
survive it, in the batch of the message; once that is committed it sends the owner a notice, and the owner looks into the
store and acts. A notice says where to look more than what is true, so one that comes late or twice does no harm.

A notice can be lost with a worker that is killed. Therefore a restarted worker looks through the store (its own callees
as after any restart, those of others for what it may have committed without telling) and says hello, upon which the
others tell it of the calls that they are proxying for its recalls, and take up what they had from the dead one.
"""

from libc.stdint cimport int64_t, uint32_t

from .answers cimport Recent
from ..trust.credit cimport Credit, credit_of
from .._flow cimport Flow
from .._parser cimport Message
from ..store.codec cimport StoredWatch
from .refer cimport expires_of
from .redial cimport Recall, Redial, is_armed, is_calling, is_recalling

from zlib import crc32

import msgspec

from .refer import offer
from ..errors import StoreError
from ..store.records import ARMED, Talk
from .redial import GUARD, NO_TAGS, RECALL, SAID_AGAIN

# Kinds of notices
LOOK = 1  # the watch was armed, renewed or removed
BOUND = 2  # the callee is bound
STARTED = 3  # the recalled call is being proxied by the sender
FAILED = 4  # it got a final response other than 2xx
GONE = 5  # it found the callee unbound
ANSWERED = 6  # to all: the ACK of a call's 2xx has passed, so the two talk; the watch was removed
TALK = 7  # to all: a talk that keeps others waiting was stored
ENDED = 8  # a talk is over, and was removed
HELLO = 9  # to all: the sender has started
AWAITED = 10  # to all: a call's 2xx has passed; its ACK may pass anywhere
UNCONFIRMED = 11  # to all: and none ever will

REACH_BACK = 300_000  # ms: a dead worker's watches that were armed before it surely are known to their owners
COMMIT_AGAIN = 200  # ms after a commit that failed
CALL_ID_SIZE = 26  # of a REFER's: the worker's number in two digits, and the 24 of Referrer.new_call_id
EARLY_ENDS = 1024  # calls, at the least, whose ACK or end may be seen here before the notice that they matter comes


class Notice(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one worker tells another."""

    kind: int
    sender: int
    callee: bytes = b""
    caller: bytes = b""
    call_id: bytes = b""
    status: int = 0
    since: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notice).decode


cdef class SharedRedial(Redial):
    """Redial in worker `worker` of `workers`. `post(worker, notice)` leaves with the engine's next commit.

    `resumed`: it takes the place of a worker that died, while the others went on.
    """

    def __init__(self, settings, store, wheel, location, referrer, patience=32_000, *, int worker, int workers, post,
                 bint resumed=False, events=None):
        Redial.__init__(self, settings, store, wheel, location, referrer, patience, events)
        self._worker = worker
        self._workers = workers
        self._post = post
        self._resumed = resumed
        self._notices = []
        self._proxied = {}
        self._ended = Recent(EARLY_ENDS)
        self._acknowledged = Recent(EARLY_ENDS)

    # ---- who is whose

    def owner(self, bytes callee not None):
        """The worker that a callee belongs to."""
        return self._owner(callee)

    def home(self, bytes call_id not None):
        """The worker that has made a REFER with this Call-ID; -1 where none has."""
        if len(call_id) != CALL_ID_SIZE:
            return -1
        try:
            worker = int(call_id[:2], 16)
        except ValueError:
            return -1
        return worker if worker < self._workers else -1

    cdef int _owner(self, bytes callee) except -1:
        return <uint32_t>crc32(callee) % <uint32_t>self._workers

    cdef bint _is_mine(self, bytes callee) except -1:
        return self._owner(callee) == self._worker

    cpdef bint _owns(self, bytes callee) except *:
        return self._is_mine(callee)

    cpdef bytes _new_call_id(self):
        return b"%02x" % self._worker + Redial._new_call_id(self)

    cdef _tell(self, int kind, tuple pair, bytes call_id=b"", int status=0):
        self._notices.append((self._owner(pair[0]), Notice(kind, self._worker, *pair, call_id, status)))

    cdef _tell_all(self, notice):
        self._notices += [(worker, notice) for worker in range(self._workers) if worker != self._worker]

    # ---- start, commit, failure

    def start(self, int64_t now):
        """As after any restart for the callees that are its own; then it says hello."""
        Redial.start(self, now)
        if not self._enabled:
            return
        if self._resumed:
            self._look_back(now)
        self._tell_all(Notice(HELLO, self._worker))

    cdef _look_back(self, int64_t now):
        """Tell the owners again what the dead worker may have committed without telling."""
        cdef dict back = {}
        for watch in self._store.each_watch():
            callee = watch.callee
            if self._is_mine(callee) or watch.state != ARMED:
                continue
            if callee not in back:
                back[callee] = self._is_back(callee, now)
            if back[callee] or watch.armed_at > now - REACH_BACK:
                self._tell(LOOK, (callee, watch.caller))

    cpdef bint committed(self, int64_t now) except *:
        """As ever; and what was committed is told."""
        if self._notices:
            notices, self._notices = self._notices, []
            for worker, notice in notices:
                self._post(worker, _encode(notice))
        return Redial.committed(self, now) or bool(self._notices)

    def rolled_back(self, int64_t now):
        """As ever; what is told waits for the commit that succeeds. What was only promised is not told."""
        undone = self._armed
        self._notices = [
            (worker, notice)
            for worker, notice in self._notices
            if notice.kind != LOOK or (notice.callee, notice.caller) not in undone
        ]
        for pair, watch in [*self._touched.items()]:
            if watch is not None and pair not in undone and not self._store.has_watch(pair[0], pair[1]):
                del self._touched[pair]  # another worker has ended it meanwhile
        Redial.rolled_back(self, now)
        # What was written again holds up the other workers until it is committed.
        self._wheel.schedule(now + COMMIT_AGAIN, self)

    cpdef _write_again(self, int64_t now):
        for pair, watch in [*self._lost.items()]:
            # Another worker may have changed or ended it meanwhile: what is the owner's to write is left to the owner.
            if watch is not None and (not self._is_mine(pair[0]) or not self._store.has_watch(pair[0], pair[1])):
                del self._lost[pair]
        Redial._write_again(self, now)

    cpdef _watch(self, tuple pair):
        if self._lost and self._lost.get(pair) is not None and not self._store.has_watch(pair[0], pair[1]):
            del self._lost[pair]  # another worker has ended it meanwhile
        return Redial._watch(self, pair)

    # What other workers have armed or cancelled may not have been told yet, so it is the store that says who waits.

    cpdef list _watches(self, bytes callee):
        cdef list found = self._store.watches(callee)
        if self._lost:
            found = [self._watch((watch.callee, watch.caller)) for watch in found]
        return [watch for watch in found if watch is not None]

    cpdef bint _is_watched(self, tuple pair) except *:
        return self._watch(pair) is not None

    cpdef bint _may_arm(self, bytes caller, bytes callee) except *:
        return (
            <int64_t>self._store.count_by_caller(caller) < self._per_caller
            and <int64_t>self._store.count_by_callee(callee) < self._per_callee
        )

    cpdef bint _keeps_others_waiting(self, tuple pair) except *:
        return self._serial and self._store.count_by_callee(pair[0]) > 0

    cpdef _take_back(self, tuple pair, int64_t now):
        if self._is_mine(pair[0]):
            Redial._take_back(self, pair, now)

    # ---- what the engine saw

    cpdef unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, int64_t now):
        """See Redial."""
        cdef StoredWatch watch
        if self._enabled and allowed and not self._is_mine(callee) and expires_of(request) != 0:
            watch = self._readable((callee, caller))
            if watch is None or not is_armed(watch):
                # The recalled call finds the callee gone again: its owner puts the watch back, or gives it up.
                if self._proxied.pop(request.text(request.call_id), None) is not None or watch is not None:
                    self._tell(GONE, (callee, caller), request.text(request.call_id))
                if watch is not None:
                    return offer(watch, now) if watch.at.attempts < self._settings.attempts else None
        return Redial.unavailable(self, request, flow, caller, callee, allowed, now)

    cpdef _arm(self, Message request, Flow flow, tuple pair, int64_t expires_at, int64_t now):
        cdef StoredWatch watch
        watch = Redial._arm(self, request, flow, pair, expires_at, now)
        if watch is None:
            return None
        if self._is_mine(pair[0]):
            self._look(pair, now)
        else:
            self._tell(LOOK, pair)
        return watch

    cpdef bint cancel(self, bytes caller, bytes callee, int64_t now) except *:
        """See Redial."""
        cancelled = Redial.cancel(self, caller, callee, now)
        if cancelled and not self._is_mine(callee):
            self._tell(LOOK, (callee, caller))
        return cancelled

    cpdef callee_bound(self, bytes callee, int64_t now):
        """See Redial."""
        cdef Credit credit
        if not self._enabled:
            return
        if self._is_mine(callee):
            self._bound(callee, now)
        elif self._store.count_by_callee(callee):
            credit = self._referrer.payer()   # half of it goes along
            left, room = credit.left // 2, credit.room // 2
            if not credit.unlimited:
                credit.left -= left
                credit.room -= room
            self._notices.append((self._owner(callee), Notice(BOUND, self._worker, callee, b"", b"", left, room)))

    cpdef call_started(self, bytes caller, bytes callee, Message request, int64_t now):
        """See Redial. The claim was committed before the REFER left, so the store knows of every recall."""
        cdef StoredWatch watch
        if not self._enabled:
            return
        if self._is_mine(callee):
            Redial.call_started(self, caller, callee, request, now)
            return
        pair = (callee, caller)
        watch = self._watch(pair)
        if (watch is None or is_armed(watch)) and not self._ends_on_refer:
            return
        self._proxied[request.text(request.call_id)] = pair
        if watch is not None and is_recalling(watch):
            self._store.for_update()
            watch = self._watch(pair)
            if watch is not None:
                self._calls(watch)
        self._tell(STARTED, pair, request.text(request.call_id))

    cpdef bint is_recalling(self, bytes caller, bytes callee) except *:  # no-cython-lint: the method of that name
        """See Redial."""
        cdef StoredWatch watch
        if self._is_mine(callee):
            return Redial.is_recalling(self, caller, callee)
        watch = self._watch((callee, caller))
        return watch is not None and not is_armed(watch)

    cpdef call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now):
        """See Redial. The ACK may come to another worker, by another way than the INVITE did."""
        cdef tuple pair = (callee, caller)
        if not self._enabled:
            return
        if self._proxied.pop(call_id, None) == pair or self._is_known(pair) or self._is_known((caller, callee)):
            self._await_ack(pair, call_id, now)
            self._tell_all(Notice(AWAITED, self._worker, *pair, call_id))

    cpdef bint _is_known(self, tuple pair) except *:
        return pair in self._recalls or self._watch(pair) is not None

    cpdef call_acknowledged(self, Message ack, int64_t now):
        """See Redial."""
        cdef bytes call_id
        cdef tuple pair
        if not self._enabled:
            return
        call_id = ack.text(ack.call_id)
        pair = self._answered_pair(ack, call_id, now)
        if pair is not None:
            self._connected(pair, call_id, (ack.from_tag, ack.to_tag), now)
        else:
            self._acknowledged.add(call_id)

    cpdef _connected(self, tuple pair, bytes call_id, tuple tags, int64_t now):
        for each, its_tags in ((pair, tags), ((pair[1], pair[0]), (tags[1], tags[0]))):
            if self._is_mine(each[0]):
                self._answered(each, call_id, its_tags, now)
            elif self._watch(each) is not None:
                self._answered_here(each, call_id, its_tags, now)
        self._tell_all(Notice(ANSWERED, self._worker, *pair, call_id))

    cdef _answered_here(self, tuple pair, bytes call_id, tuple tags, int64_t now):
        """A call for another's callee. With end_on = "refer" only the owner knows whether it was recalled."""
        cdef StoredWatch watch
        self._store.for_update()
        watch = self._watch(pair)
        if self._remove(pair, "answered"):
            self._counts["completed"] += 1
        if watch is not None and not is_armed(watch) and self._keeps_others_waiting(pair):
            self._talk(pair, call_id, tags, now)

    cpdef call_hung_up(self, Message bye, int64_t now):
        """See Redial."""
        if self._enabled:
            Redial.call_hung_up(self, bye, now)

    cpdef _unconfirmed(self, tuple pair, bytes call_id, int64_t now):
        Redial._unconfirmed(self, pair, call_id, now)
        self._tell_all(Notice(UNCONFIRMED, self._worker, *pair, call_id))

    cpdef call_failed(self, bytes caller, bytes callee, bytes call_id, int status, int64_t now):
        """See Redial."""
        if self._is_mine(callee):
            Redial.call_failed(self, caller, callee, call_id, status, now)
        elif self._proxied.pop(call_id, None) is not None:
            self._tell(FAILED, (callee, caller), call_id, status)

    cpdef call_ended(self, bytes call_id, int64_t now):
        """See Redial."""
        callee = self._talks.pop(call_id, None)
        if callee is None:
            self._ended.add(call_id)
            return
        try:
            self._drop_talk(callee, call_id)
        finally:  # it is over, whether that can be written or not
            if self._is_mine(callee):
                self._over(callee, call_id, now)
            else:
                self._tell(ENDED, (callee, b""), call_id)

    cdef _drop_talk(self, bytes callee, bytes call_id):
        try:
            self._store.for_update()
            talk = self._store.talk(callee)
            if talk is not None and talk.call_id == call_id:
                self._keep_talk(callee, None)
        except StoreError:  # it is written once there is room
            self._talked[callee] = None
            raise

    cdef _over(self, bytes callee, bytes call_id, int64_t now):
        if self._taken.get(callee) == call_id:
            del self._taken[callee]
            self._recall(callee, now)

    # ---- what is held here

    cpdef _time(self, tuple pair, int64_t expires_at):
        if self._is_mine(pair[0]):
            Redial._time(self, pair, expires_at)

    cpdef _talk(self, tuple pair, bytes call_id, tuple tags, int64_t now):
        Redial._talk(self, pair, call_id, tags, now)
        self._tell_all(Notice(TALK, self._worker, *pair, call_id, 0, now))

    cpdef _hold(self, talk, int64_t now):
        known = talk.call_id in self._talks
        if self._is_mine(talk.callee):
            self._taken[talk.callee] = talk.call_id
        if not known:
            self._know(talk, now)

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """See Redial."""
        cdef StoredWatch watch
        if kind == RECALL and isinstance(payload, Recall) and not payload.over and not payload.waited:
            # The call may have started in another worker, whose notice is on its way.
            self._store.for_update()
            watch = self._readable(payload.pair)
            if watch is not None and is_calling(watch):
                payload.waited = True
                payload.timer = 0
                self._late(payload, now + self._recall_timeout)
                return 0
        return Redial.expired(self, kind, payload, now)

    # ---- what the others saw

    def told(self, bytes data not None, int64_t now):
        """Take a notice."""
        cdef Recall recall
        notice = _decode(data)
        pair = (notice.callee, notice.caller)
        kind = notice.kind
        if not self._enabled:
            return
        if kind == LOOK:
            self._look(pair, now)
        elif kind == BOUND:
            self._store.for_update()
            self._bound(notice.callee, now)
            self._credits[notice.callee] = credit_of(notice.status, notice.since)
        elif kind == STARTED:
            self._started_elsewhere(pair, notice)
        elif kind == FAILED:
            Redial.call_failed(self, notice.caller, notice.callee, notice.call_id, notice.status, now)
        elif kind == GONE:
            recall = self._recalls.get(pair)
            if recall is not None:
                self._come_to_nothing(recall, "480 callee gone again", now)
        elif kind == AWAITED:
            self._awaited_elsewhere(pair, notice, now)
        elif kind == UNCONFIRMED:
            self._answers.take(notice.call_id)
            Redial._unconfirmed(self, pair, notice.call_id, now)
        elif kind == ANSWERED:
            self._answers.take(notice.call_id)
            for each in (pair, (pair[1], pair[0])):
                if self._is_mine(each[0]):
                    self._answered_elsewhere(each, notice.call_id, now)
        elif kind == TALK:
            self._talk_elsewhere(Talk(*pair, notice.call_id, notice.since), now)
        elif kind == ENDED:
            if self._talks.pop(notice.call_id, None) is None:
                self._ended.add(notice.call_id)
                self._over(notice.callee, notice.call_id, now)
                return
            try:
                self._drop_talk(notice.callee, notice.call_id)  # it may have been stored after the sender had removed it
            finally:
                self._over(notice.callee, notice.call_id, now)
        elif kind == HELLO:
            self._greeted(notice.sender, now)

    cdef _look(self, tuple pair, int64_t now):
        """The watch was armed, renewed or removed. Its callee may have come back in another worker at that moment."""
        cdef StoredWatch watch
        watch = self._watch(pair)
        if watch is None:
            self._untime(pair)
            self._call_off(pair, now)
            return
        self._time(pair, watch.at.expires_at)
        if is_armed(watch) and self._location.is_bound(pair[0], now):
            self._pause(pair[0], max(watch.at.not_before, now + self._guard), GUARD, now)

    cdef _started_elsewhere(self, tuple pair, notice):
        cdef Recall recall
        recall = self._recalls.get(pair)
        if recall is not None:
            recall.call_id = notice.call_id
            recall.worker = notice.sender
            self._stop(recall)

    cdef _awaited_elsewhere(self, tuple pair, notice, int64_t now):
        cdef Recall recall = self._recalls.get(pair)
        if recall is not None:
            recall.worker = notice.sender
        self._await_ack(pair, notice.call_id, now)
        if self._acknowledged.has(notice.call_id):  # it was faster than the notice
            self._answers.take(notice.call_id)
            self._connected(pair, notice.call_id, NO_TAGS, now)

    cdef _answered_elsewhere(self, tuple pair, bytes call_id, int64_t now):
        cdef Recall recall
        self._untime(pair)
        recall = self._recalls.pop(pair, None)
        if recall is not None:
            self._stop(recall)
            recall.over = True
            self._release(recall)
        if self._ended.has(call_id):
            self._recall(pair[0], now)
            return
        talk = self._store.talk(pair[0])
        if talk is not None and talk.call_id == call_id:
            self._hold(talk, now)
        elif recall is not None and self._keeps_others_waiting(pair):
            self._talk(pair, call_id, NO_TAGS, now)

    cdef _talk_elsewhere(self, talk, int64_t now):
        self._hold(talk, now)
        if self._ended.has(talk.call_id):
            self.call_ended(talk.call_id, now)

    cdef _greeted(self, int worker, int64_t now):
        """A worker has started, perhaps in the place of one that died."""
        cdef Recall recall
        for call_id, pair in self._proxied.items():
            if self._owner(pair[0]) == worker:
                self._tell(STARTED, pair, call_id)
        for call_id, (pair, _) in self._answers.calls.items():
            self._notices.append((worker, Notice(AWAITED, self._worker, *pair, call_id)))
        for recall in self._recalls.values():
            if recall.worker == worker and recall.call_id not in self._answers.calls:  # its call went down with it
                recall.waited = True
                self._late(recall, now + max(self._recall_timeout, SAID_AGAIN))
        talks = {talk.call_id: talk for talk in self._store.each_talk()}
        for talk in talks.values():
            self._talk_elsewhere(talk, now)
            if self._is_mine(talk.callee):  # the dead one may have seen its end, and not written it
                self._doubt(talk.call_id, now)
        for call_id, callee in [*self._talks.items()]:
            if call_id not in talks:
                del self._talks[call_id]
                self._over(callee, call_id, now)
