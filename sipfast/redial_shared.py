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

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from . import config
from ._flow import Flow
from ._parser import Message
from ._refer import Referrer, expires_of, offer
from ._wheel import Wheel
from .location import Location
from .records import ARMED, CALLING, RECALLING, Talk
from .redial import GUARD, RECALL, Recall, Redial
from .store.protocol import Store

if TYPE_CHECKING:
    from ._records import StoredWatch
    from .redial import Pair

log = logging.getLogger("sipfast.redial")

# Kinds of notices
LOOK = 1  # the watch was armed, renewed or removed
BOUND = 2  # the callee is bound
STARTED = 3  # the recalled call is being proxied by the sender
FAILED = 4  # it got a final response other than 2xx
GONE = 5  # it found the callee unbound
ANSWERED = 6  # the two talk; the watch was removed
TALK = 7  # to all: a talk that keeps others waiting was stored
ENDED = 8  # a talk is over, and was removed
HELLO = 9  # to all: the sender has started

REACH_BACK = 300_000  # ms: a dead worker's watches that were armed before it surely are known to their owners
COMMIT_AGAIN = 200  # ms after a commit that failed
EARLY_ENDS = 1024  # calls, at the least, whose end may be seen here before the notice of their talk comes


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


class SharedRedial(Redial):
    """Redial in worker `worker` of `workers`. `post(worker, notice)` leaves with the engine's next commit.

    `resumed`: it takes the place of a worker that died, while the others went on.
    """

    def __init__(
        self,
        settings: config.Redial,
        store: Store,
        wheel: Wheel,
        location: Location,
        referrer: Referrer,
        *,
        worker: int,
        workers: int,
        post: Callable[[int, bytes], None],
        resumed: bool = False,
    ) -> None:
        super().__init__(settings, store, wheel, location, referrer)
        self._worker = worker
        self._workers = workers
        self._post = post
        self._resumed = resumed
        self._notices: list[tuple[int, Notice]] = []  # to leave after the commit
        self._proxied: dict[bytes, Pair] = {}  # Call-ID -> pair of another's, of recalled calls that go through here
        # Call-IDs of calls that have ended, and were no talks as far as known: the latest, and those before them
        self._early: set[bytes] = set()
        self._earlier: set[bytes] = set()

    # ---- who is whose

    def owner(self, callee: bytes) -> int:
        """The worker that a callee belongs to."""
        return crc32(callee) % self._workers

    def home(self, call_id: bytes) -> int:
        """The worker that has made a REFER with this Call-ID; -1 where none has."""
        if len(call_id) != 26:
            return -1
        try:
            worker = int(call_id[:2], 16)
        except ValueError:
            return -1
        return worker if worker < self._workers else -1

    def _owns(self, callee: bytes) -> bool:
        return crc32(callee) % self._workers == self._worker

    def _new_call_id(self) -> bytes:
        return b"%02x" % self._worker + super()._new_call_id()

    def _tell(self, kind: int, pair: Pair, call_id: bytes = b"", status: int = 0) -> None:
        self._notices.append((self.owner(pair[0]), Notice(kind, self._worker, *pair, call_id, status)))

    def _tell_all(self, notice: Notice) -> None:
        self._notices += [(worker, notice) for worker in range(self._workers) if worker != self._worker]

    # ---- start, commit, failure

    def start(self, now: int) -> None:
        """As after any restart for the callees that are its own; then it says hello."""
        super().start(now)
        if not self._settings.enabled:
            return
        if self._resumed:
            self._look_back(now)
        self._tell_all(Notice(HELLO, self._worker))

    def _look_back(self, now: int) -> None:
        """Tell the owners again what the dead worker may have committed without telling."""
        back: dict[bytes, bool] = {}
        for watch in self._store.each_watch():
            callee = watch.callee
            if self._owns(callee) or watch.state != ARMED:
                continue
            if callee not in back:
                back[callee] = self._location.bound(callee, now)
            if back[callee] or watch.armed_at > now - REACH_BACK:
                self._tell(LOOK, (callee, watch.caller))

    def committed(self, now: int) -> bool:
        """As ever; and what was committed is told."""
        notices, self._notices = self._notices, []
        for worker, notice in notices:
            self._post(worker, _encode(notice))
        return super().committed(now) or bool(self._notices)

    def rolled_back(self, now: int) -> None:
        """As ever; what is told waits for the commit that succeeds. What was only promised is not told."""
        undone = self._armed
        self._notices = [
            (worker, notice)
            for worker, notice in self._notices
            if notice.kind != LOOK or (notice.callee, notice.caller) not in undone
        ]
        for pair, record in [*self._touched.items()]:
            if record is not None and pair not in undone and self._store.watch_record(*pair) is None:
                del self._touched[pair]  # another worker has ended it meanwhile
        super().rolled_back(now)
        # What was written again holds up the other workers until it is committed.
        self._wheel.schedule(now + COMMIT_AGAIN, self)

    def _write_again(self, now: int) -> None:
        for pair, record in [*self._lost.items()]:
            # Another worker may have changed or ended it meanwhile: what is the owner's to write is left to the owner.
            if record is not None and (not self._owns(pair[0]) or self._store.watch_record(*pair) is None):
                del self._lost[pair]
        super()._write_again(now)

    def _watch(self, pair: Pair) -> StoredWatch | None:
        if self._lost.get(pair) is not None and self._store.watch_record(*pair) is None:
            del self._lost[pair]  # another worker has ended it meanwhile
        return super()._watch(pair)

    # What other workers have armed or cancelled may not have been told yet, so it is the store that says who waits.

    def _watches(self, callee: bytes) -> list[StoredWatch]:
        found = [self._watch((watch.callee, watch.caller)) for watch in self._store.watches(callee)]
        return [watch for watch in found if watch is not None]

    def _is_watched(self, pair: Pair) -> bool:
        return self._watch(pair) is not None

    def _may_arm(self, caller: bytes, callee: bytes) -> bool:
        return (
            self._store.count_by_caller(caller) < self._settings.per_caller
            and self._store.count_by_callee(callee) < self._settings.per_callee
        )

    def _keeps_others_waiting(self, pair: Pair) -> bool:
        return self._settings.order == "serial" and self._store.count_by_callee(pair[0]) > 0

    def _take_back(self, pair: Pair, now: int) -> None:
        if self._owns(pair[0]):
            super()._take_back(pair, now)

    # ---- what the engine saw

    def unavailable(
        self, request: Message, flow: Flow, caller: bytes, callee: bytes, allowed: bool, now: int
    ) -> tuple[bytes | None, bytes] | None:
        """See Redial."""
        if self._settings.enabled and allowed and not self._owns(callee) and expires_of(request) != 0:
            watch = self._watch((callee, caller))
            if watch is not None and watch.state != ARMED:
                # The recalled call finds the callee gone again: its owner puts the watch back, or gives it up.
                self._proxied.pop(request.call_id, None)
                self._tell(GONE, (callee, caller), request.call_id)
                return offer(watch, now) if watch.attempts < self._settings.attempts else None
        return super().unavailable(request, flow, caller, callee, allowed, now)

    def _arm(self, request: Message, flow: Flow, pair: Pair, expires_at: int, now: int) -> StoredWatch | None:
        watch = super()._arm(request, flow, pair, expires_at, now)
        if watch is None:
            return None
        if self._owns(pair[0]):
            self._look(pair, now)
        else:
            self._tell(LOOK, pair)
        return watch

    def cancel(self, caller: bytes, callee: bytes, now: int) -> bool:
        """See Redial."""
        cancelled = super().cancel(caller, callee, now)
        if cancelled and not self._owns(callee):
            self._tell(LOOK, (callee, caller))
        return cancelled

    def callee_bound(self, callee: bytes, now: int) -> None:
        """See Redial."""
        if not self._settings.enabled:
            return
        if self._owns(callee):
            self._bound(callee, now)
        elif self._store.count_by_callee(callee):
            self._tell(BOUND, (callee, b""))

    def call_started(self, caller: bytes, callee: bytes, request: Message, now: int) -> None:
        """See Redial. The claim was committed before the REFER left, so the store knows of every recall."""
        if not self._settings.enabled:
            return
        if self._owns(callee):
            super().call_started(caller, callee, request, now)
            return
        pair = (callee, caller)
        watch = self._watch(pair)
        if (watch is None or watch.state == ARMED) and self._settings.end_on != "refer":
            return
        self._proxied[request.call_id] = pair
        if watch is not None and watch.state == RECALLING:
            self._store.for_update()
            watch = self._watch(pair)
            if watch is not None:
                self._calls(watch)
        self._tell(STARTED, pair, request.call_id)

    def is_recalling(self, caller: bytes, callee: bytes) -> bool:
        """See Redial."""
        if self._owns(callee):
            return super().is_recalling(caller, callee)
        watch = self._watch((callee, caller))
        return watch is not None and watch.state != ARMED

    def call_answered(self, caller: bytes, callee: bytes, call_id: bytes, now: int) -> None:
        """See Redial."""
        if not self._settings.enabled:
            return
        proxied = self._proxied.pop(call_id, None)
        for pair in ((callee, caller), (caller, callee)):
            if self._owns(pair[0]):
                self._answered(pair, call_id, now)
            elif proxied == pair or self._watch(pair) is not None:
                self._answered_here(pair, call_id, now)

    def _answered_here(self, pair: Pair, call_id: bytes, now: int) -> None:
        """A call for another's callee was answered. With end_on = "refer" only the owner knows whether it was recalled."""
        self._store.for_update()
        watch = self._watch(pair)
        if self._remove(pair, "answered"):
            self._counts["completed"] += 1
        if watch is not None and watch.state != ARMED and self._keeps_others_waiting(pair):
            self._talk(pair, call_id, now)
        self._tell(ANSWERED, pair, call_id)

    def call_failed(self, caller: bytes, callee: bytes, call_id: bytes, status: int, now: int) -> None:
        """See Redial."""
        if self._owns(callee):
            super().call_failed(caller, callee, call_id, status, now)
        elif self._proxied.pop(call_id, None) is not None:
            self._tell(FAILED, (callee, caller), call_id, status)

    def call_ended(self, call_id: bytes, now: int) -> None:
        """See Redial."""
        callee = self._talks.pop(call_id, None)
        if callee is None:
            self._remember(call_id)
            return
        self._store.for_update()
        talk = self._store.talk(callee)
        if talk is not None and talk.call_id == call_id:
            self._keep_talk(callee, None)
        if self._owns(callee):
            self._over(callee, call_id, now)
        else:
            self._tell(ENDED, (callee, b""), call_id)

    def _over(self, callee: bytes, call_id: bytes, now: int) -> None:
        if self._taken.get(callee) == call_id:
            del self._taken[callee]
            self._recall(callee, now)

    def _remember(self, call_id: bytes) -> None:
        self._early.add(call_id)
        if len(self._early) >= EARLY_ENDS:
            self._early, self._earlier = set(), self._early

    def _has_ended(self, call_id: bytes) -> bool:
        return call_id in self._early or call_id in self._earlier

    # ---- what is held here

    def _time(self, pair: Pair, expires_at: int) -> None:
        if self._owns(pair[0]):
            super()._time(pair, expires_at)

    def _talk(self, pair: Pair, call_id: bytes, now: int) -> None:
        super()._talk(pair, call_id, now)
        self._tell_all(Notice(TALK, self._worker, *pair, call_id, 0, now))

    def _hold(self, talk: Talk, now: int) -> None:
        known = talk.call_id in self._talks
        if self._owns(talk.callee):
            self._taken[talk.callee] = talk.call_id
        if not known:
            self._know(talk, now)

    def expired(self, kind: int, payload: object, now: int) -> int:
        """See Redial."""
        if kind == RECALL and isinstance(payload, Recall) and not payload.over and not payload.waited:
            # The call may have started in another worker, whose notice is on its way.
            self._store.for_update()
            watch = self._watch(payload.pair)
            if watch is not None and watch.state == CALLING:
                payload.waited = True
                payload.timer = 0
                self._late(payload, now + round(self._settings.recall_timeout * 1000))
                return 0
        return super().expired(kind, payload, now)

    # ---- what the others saw

    def told(self, data: bytes, now: int) -> None:
        """Take a notice."""
        notice = _decode(data)
        pair = (notice.callee, notice.caller)
        kind = notice.kind
        if not self._settings.enabled:
            return
        if kind == LOOK:
            self._look(pair, now)
        elif kind == BOUND:
            self._store.for_update()
            self._bound(notice.callee, now)
        elif kind == STARTED:
            self._started_elsewhere(pair, notice)
        elif kind == FAILED:
            super().call_failed(notice.caller, notice.callee, notice.call_id, notice.status, now)
        elif kind == GONE:
            recall = self._recalls.get(pair)
            if recall is not None:
                self._come_to_nothing(recall, "480 callee gone again", now)
        elif kind == ANSWERED:
            self._answered_elsewhere(pair, notice.call_id, now)
        elif kind == TALK:
            self._talk_elsewhere(Talk(*pair, notice.call_id, notice.since), now)
        elif kind == ENDED:
            if self._talks.pop(notice.call_id, None) is None:
                self._remember(notice.call_id)
            self._over(notice.callee, notice.call_id, now)
        elif kind == HELLO:
            self._greeted(notice.sender, now)

    def _look(self, pair: Pair, now: int) -> None:
        """The watch was armed, renewed or removed. Its callee may have come back in another worker at that moment."""
        watch = self._watch(pair)
        if watch is None:
            self._untime(pair)
            return
        self._time(pair, watch.expires_at)
        if watch.state == ARMED and self._location.bound(pair[0], now):
            self._pause(pair[0], max(watch.not_before, now + self._guard), GUARD, now)

    def _started_elsewhere(self, pair: Pair, notice: Notice) -> None:
        recall = self._recalls.get(pair)
        if recall is not None:
            recall.call_id = notice.call_id
            recall.worker = notice.sender
            self._stop(recall)

    def _answered_elsewhere(self, pair: Pair, call_id: bytes, now: int) -> None:
        self._untime(pair)
        recall = self._recalls.pop(pair, None)
        if recall is not None:
            self._stop(recall)
            recall.over = True
            self._release(recall)
        if self._has_ended(call_id):
            self._recall(pair[0], now)
            return
        talk = self._store.talk(pair[0])
        if talk is not None and talk.call_id == call_id:
            self._hold(talk, now)
        elif recall is not None and self._keeps_others_waiting(pair):
            self._talk(pair, call_id, now)

    def _talk_elsewhere(self, talk: Talk, now: int) -> None:
        self._hold(talk, now)
        if self._has_ended(talk.call_id):
            self.call_ended(talk.call_id, now)

    def _greeted(self, worker: int, now: int) -> None:
        """A worker has started, perhaps in the place of one that died."""
        for call_id, pair in self._proxied.items():
            if self.owner(pair[0]) == worker:
                self._tell(STARTED, pair, call_id)
        for recall in self._recalls.values():
            if recall.worker == worker:  # its call went down with it
                recall.waited = True
                self._late(recall, now + round(self._settings.recall_timeout * 1000))
        talks = {talk.call_id: talk for talk in self._store.each_talk()}
        for talk in talks.values():
            self._talk_elsewhere(talk, now)
        for call_id, callee in [*self._talks.items()]:
            if call_id not in talks:
                del self._talks[call_id]
                self._over(callee, call_id, now)
