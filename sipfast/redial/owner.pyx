"""The owner of callees: it alone decides whose turn it is, claims a watch, and has its caller called.

A watch is one stored caller-callee pair. Its life::

                 INVITE finds the callee unbound, Expires >= min_period
                                    |
                                    v         callee bound, guard passed: claim
      renewed by another INVITE  [armed] ----------------------------------> [recalling]
                 |     ^            ^    REFER refused or unanswered, no INVITE |   |
                 +-----+            +-------------------------------------------+   | the caller's INVITE
                                    ^                                               v
                                    +------------------------------------------ [calling]
                        the call got a final response other than 2xx, or a 2xx      |
                        and no ACK came for it                                      | ACK of the 2xx: the watch is removed
      removed as well: period over, Expires: 0, attempts used up, the two talk in any other way

The store holds the truth. In memory there are only timers, the recalls that are going on, and which callee is engaged;
all of it is made anew from the store at a start, and for the pairs that a failed commit touched. A REFER leaves only
after the claim that it stands for was committed (`begin_claimed`), so a crash can repeat a REFER but never lose one; the
repeated one has the Call-ID, tag and CSeq of the first, so a phone that knows it answers 482 (RFC 3261 §8.2.2.2).
"""

from libc.stdint cimport int64_t

from ..observe.events cimport ATTEMPT, ENDED, RECALL as EVENT_RECALL, RECALL_FAILED
from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch, WatchEntry, bytes_of, piece_in, same_piece, written_watch
from ..trust.credit cimport Credit
from .._flow cimport Flow
from .._parser cimport Message
from .._wheel cimport LONGEST
from .availability cimport Availability
from .device cimport phone_of
from .methods.method cimport ACCEPTED, ACCEPTED_BEFORE, Outcome, RecallMethod, WantedCall
from .ownership cimport CalleeOwner
from .policy cimport Policy
from .watchlist cimport REWRITE_AFTER, Watchlist, is_armed, is_calling, is_recalling, outcome_text

from ..errors import StoreError, StoreUnreadable
from ..store.records import ARMED, RECALLING, tell_unreadable

cdef enum:
    # Timers
    GUARD = 1               # payload: callee
    RETRY = 2               # payload: callee
    OVERDUE = 3             # payload: Recall, whose answer or INVITE is late
    RESUME = 4              # payload: Recall, to be taken up again
    # Watches that ran out while nobody served are removed so many every so many ms
    ENDED_AT_A_TIME = 256
    ENDED_EVERY = 10
    RESUME_EVERY = 1        # ms between the recalls taken up again at a start: a thousand a second
    # What was lost with a server comes again: a 2xx twice, T2 apart (RFC 3261 §13.3.1.4), for one may be lost once more while all
    # phones speak to the new server (SAID_AGAIN); an INVITE 32*T1 after the last at most (§17.1.1.2).
    CALLED_AGAIN = 17_000   # ms

cdef str UNPROVEN = "caller's address has proven nothing"
cdef bytes unproven = UNPROVEN.encode()
# As stored: pieces point into these.
cdef bytes armed = ARMED.encode(), recalling = RECALLING.encode()


cdef class Recall(AttemptObserver):
    """A recall that is going on, from its claim until the call is answered or has come to nothing."""

    cdef int ended(self, Outcome outcome, str answer, str result, int64_t now) except -1:
        self.attempt = None
        self.owner.attempt_ended(self, outcome, answer, result, now)


cdef class Owner(CalleeOwner):
    """Claims watches and has their callers called. All times are ms."""

    def __init__(self, Policy policy, Watchlist watchlist, Location location, Availability availability, RecallMethod method):
        self.policy = policy
        self.watchlist = watchlist
        self.store = watchlist.store
        self.ownership = watchlist.ownership
        self.wheel = watchlist.wheel
        self.events = watchlist.events
        self.counts = watchlist.counts
        self.location = location
        self.availability = availability
        self.method = method
        self.recalls = {}
        self.engaged = {}
        self.pauses = {}
        self.claimed = []

    # ---- start, commit, failure

    cdef bint start(self, int64_t now) except -1:
        cdef dict waiting = {}
        cdef int resumed = 0, ended = 0
        cdef bint recalls = False
        cdef Recall recall
        for watch in self.store.each_watch():
            recalls = recalls or watch.state != ARMED
            if not self.ownership.is_mine(watch.callee):
                continue
            pair = (watch.callee, watch.caller)
            if watch.expires_at <= now:
                # Not all in one commit: the pages that it would free at a time cost LMDB a part of every later one.
                self.watchlist.remember(pair, now + ended // ENDED_AT_A_TIME * ENDED_EVERY)
                ended += 1
                continue
            self.watchlist.remember(pair, watch.expires_at)
            if watch.state == ARMED:
                waiting[watch.callee] = min(watch.not_before, waiting.get(watch.callee, watch.not_before))
            else:
                recall = self.make_recall(self.watchlist.find(pair), pair, now)
                if watch.state == RECALLING:
                    resumed += 1
                    self.wheel.schedule(now + resumed * RESUME_EVERY, self, RESUME, recall)
        for callee, not_before in waiting.items():
            # Back already: its registration was committed, and the recall that should have followed was not.
            if self.is_back(callee, now):
                self.look_again(callee, max(<int64_t>not_before, now + self.policy.guard), GUARD, now)
        return recalls

    cdef bint is_back(self, bytes callee, int64_t now) except -1:
        """Whether a callee is available, as far as that can be read: at a start nobody's record is in the way of others."""
        try:
            return self.availability.is_available(callee, now)
        except StoreUnreadable as error:
            tell_unreadable(error)
            return False

    cdef int begin_claimed(self, int64_t now) except -1:
        cdef list claimed = self.claimed
        cdef Recall recall
        cdef StoredWatch watch
        if not claimed:
            return 0
        failed = None
        self.claimed = []
        self.store.hold_snapshot()
        for recall in claimed:
            watch, recall.claimed = recall.claimed, None
            try:
                if not recall.over and self.watchlist.has(recall.pair):
                    self.begin(recall, watch, now)
            except Exception as error:        # the others have their turn
                failed = error
                self.set_deadline(recall, now)
        self.store.let_go()
        if failed is not None:
            raise failed

    cdef int reload(self, tuple pair, int64_t now) except -1:
        cdef StoredWatch watch = self.watchlist.find(pair)  # first: a pair that cannot be read stays known
        cdef Recall recall = self.pop_recall(pair)
        if recall is not None:
            self.end(recall)
        if watch is None:
            self.watchlist.forget(pair)
            return 0
        self.watchlist.remember(pair, watch.at.expires_at)
        if is_armed(watch):
            self.look_again(pair[0], now + self.policy.retry_pause, RETRY, now)
        else:
            recall = self.make_recall(watch, pair, now)
            if is_recalling(watch):
                self.wheel.schedule(now + self.policy.retry_pause, self, RESUME, recall)

    # ---- what it is told

    cdef int watch_armed(self, tuple pair, int64_t expires_at, int64_t now) except -1:
        self.watchlist.remember(pair, expires_at)
        if not self.ownership.alone:
            self.watch_changed(pair, now)

    cdef int watch_cancelled(self, tuple pair, int64_t now) except -1:
        self.call_off(pair, now)

    cdef int watch_changed(self, tuple pair, int64_t now) except -1:
        cdef StoredWatch watch = self.watchlist.find(pair)
        if watch is None:
            self.watchlist.forget(pair)
            self.call_off(pair, now)
            return 0
        self.watchlist.remember(pair, watch.at.expires_at)
        # Its callee may have come back in another worker at the moment that it was armed.
        if is_armed(watch) and self.availability.is_available(pair[0], now):
            self.look_again(pair[0], max(watch.at.not_before, now + self.policy.guard), GUARD, now)

    cdef int callee_available(self, bytes callee, Credit credit, int64_t now) except -1:
        cdef StoredWatch watch
        cdef WatchEntry entry
        cdef list watches
        cdef Py_ssize_t i
        self.store.for_update()
        watches = self.watchlist.of_callee(callee)
        for i in range(len(watches)):
            watch = <StoredWatch>watches[i]
            if is_armed(watch) and watch.at.not_before > now:
                # A new registration is a new chance: the pause after a failed recall is over.
                entry = watch.at
                entry.not_before = 0
                watches[i] = self.watchlist.change(&entry, (callee, bytes_of(watch.at.caller)))
        if not watches:
            return 0
        self.watchlist.credits[callee] = credit
        if self.policy.guard:
            self.look_again(callee, now + self.policy.guard, GUARD, now)
        elif not (self.policy.serial and callee in self.engaged) and self.availability.is_available(callee, now):
            self.claim_due(callee, watches, now)

    cdef int call_started(self, tuple pair, bytes call_id, int worker, int64_t now) except -1:
        self.call_answered(pair, call_id, worker)

    cdef int call_answered(self, tuple pair, bytes call_id, int worker) except -1:
        cdef Recall recall = self.recalls.get(pair)
        if recall is not None:
            recall.call_id = call_id
            recall.worker = worker
            self.stop_deadline(recall)

    cdef int call_failed(self, tuple pair, bytes call_id, int status, int64_t now) except -1:
        cdef Recall recall = self.recalls.get(pair)
        if recall is not None and recall.call_id == call_id:
            self.fail(recall, f"call got {status}", now)

    cdef int call_unconfirmed(self, tuple pair, bytes call_id, int64_t now) except -1:
        # The caller never heard that it was answered: it has to be called again.
        cdef Recall recall = self.recalls.get(pair)
        if recall is not None and recall.call_id == call_id:
            self.fail(recall, "answered, but there was no ACK", now)

    cdef int callee_gone(self, tuple pair, int64_t now) except -1:
        cdef Recall recall = self.recalls.get(pair)
        if recall is not None:
            self.fail(recall, "480 callee gone again", now)

    cdef int talk_ended(self, bytes callee, bytes call_id, int64_t now) except -1:
        if self.engaged.get(callee) == call_id:
            del self.engaged[callee]
            self.next_turn(callee, now)

    cdef int worker_restarted(self, int worker, dict answered, int64_t now) except -1:
        cdef Recall recall
        for recall in self.recalls.values():
            if recall.worker == worker and recall.call_id not in answered:
                recall.extended = True
                self.set_deadline(recall, now + max(self.policy.recall_timeout, <int64_t>SAID_AGAIN))

    cdef int notified(self, Message request, int64_t now) except -1:
        cdef bytes call_id = request.text(request.call_id), result
        cdef StoredWatch watch
        cdef Recall recall
        cdef WatchEntry entry
        pair = self.method.subject_of(call_id)
        if pair is None:
            return 481                        # RFC 6665 §4.1.3
        progress = self.method.progress(request)
        if progress is None or not self.watchlist.has(pair):        # mostly: the last one comes when the two talk
            return 200
        status, text = progress
        self.store.for_update()
        watch = self.watchlist.find(pair)
        if watch is not None and same_piece(watch.at.refer_call_id, call_id):
            result = text.encode()
            entry = watch.at
            entry.last_result = piece_in(result)
            watch = self.watchlist.change(&entry, pair)
            recall = self.recalls.get(pair)
            if recall is not None and is_recalling(watch) and status >= 300:
                self.fail(recall, text, now)
        return 200

    # ---- whose turn it is

    cdef int next_turn(self, bytes callee, int64_t now) except -1:
        """Claim the callee's watches, oldest first: one of them (serial) or all."""
        if (self.policy.serial and callee in self.engaged) or not self.availability.is_available(callee, now):
            return 0
        try:
            self.store.for_update()
            watches = self.watchlist.of_callee(callee)
        except StoreError:
            self.look_again(callee, now + self.policy.retry_pause, RETRY, now)
            raise
        self.claim_due(callee, watches, now)

    cdef int claim_due(self, bytes callee, list watches, int64_t now) except -1:
        cdef StoredWatch watch
        cdef int64_t later = 0, due
        try:
            for watch in watches:
                pair = (callee, bytes_of(watch.at.caller))
                if not is_armed(watch) or watch.at.expires_at <= now or pair in self.recalls:
                    continue
                due = watch.at.not_before
                if pair in self.watchlist.lost:  # not as it is stored: nothing that could be claimed
                    due = max(due, now + 2 * REWRITE_AFTER)
                if due <= now and self.is_held_back(watch, pair, now):
                    due = now + self.policy.retry_pause
                if due > now:
                    later = min(later, due) if later else due
                elif self.claim(watch, pair, now) and self.policy.serial:
                    return 0
        except StoreError:
            self.look_again(callee, now + self.policy.retry_pause, RETRY, now)
            raise
        if later:
            self.look_again(callee, later, RETRY, now)

    cdef bint is_held_back(self, StoredWatch watch, tuple pair, int64_t now) except -1:
        """Whether its caller has proven nothing, and the callee's credit is spent. That is noted in the watch, once."""
        cdef Credit credit = self.watchlist.credit_of(pair[0])
        cdef WatchEntry entry
        cdef Entry device
        cdef Flow flow
        cdef object _kept
        if credit.left or credit.unlimited:
            return False
        _kept = phone_of(self.location, watch, &device, now)
        flow = self.location.flow_by(device.contact, device.path, device.flow)
        if flow is None or self.method.may_begin(flow, credit, now):
            return False
        if not same_piece(watch.at.last_result, unproven):
            entry = watch.at
            entry.last_result = piece_in(unproven)
            self.watchlist.change(&entry, pair)
        return True

    cdef bint claim(self, StoredWatch watch, tuple pair, int64_t now) except -1:
        cdef bytes call_id = self.ownership.marked(self.method.new_call_id()), tag = self.method.new_tag()
        cdef bytes sent = self.method.sent
        cdef WatchEntry entry = watch.at
        cdef StoredWatch claimed
        cdef Recall recall
        entry.state = piece_in(recalling)
        entry.attempts += 1
        entry.refer_call_id = piece_in(call_id)
        entry.refer_tag = piece_in(tag)
        entry.recalled_at = now
        entry.last_result = piece_in(sent)
        claimed = written_watch(&entry)
        if not self.store.claim(watch, claimed):
            return False
        self.watchlist.note_write(pair, claimed)
        recall = self.make_recall(claimed, pair, now)
        recall.claimed = claimed
        self.claimed.append(recall)
        self.counts["recalls"] += 1
        return True

    # ---- a recall

    cdef Recall make_recall(self, StoredWatch watch, tuple pair, int64_t now):
        """Take a claimed watch into memory as a recall that is going on."""
        cdef Recall recall = Recall.__new__(Recall)
        recall.owner = self
        recall.pair = pair
        recall.refer_call_id = bytes_of(watch.at.refer_call_id)
        recall.call_id = b""
        recall.worker = -1
        recall.answer = ""
        recall.extended = is_calling(watch)
        self.recalls[pair] = recall
        self.method.expect(recall.refer_call_id, pair)
        if self.policy.serial:
            self.engaged[pair[0]] = pair
        self.set_deadline(recall, now + (
            max(self.policy.recall_timeout, <int64_t>SAID_AGAIN) if recall.extended else self.policy.recall_timeout))
        return recall

    cdef int begin(self, Recall recall, StoredWatch watch, int64_t now) except -1:
        """Have the device that placed the call asked to call again."""
        cdef Entry device
        cdef WantedCall wanted
        cdef object _kept = phone_of(self.location, watch, &device, now)
        cdef Flow flow = self.location.flow_by(device.contact, device.path, device.flow)
        if flow is None:
            self.fail(recall, "caller's address cannot be resolved", now)
            return 0
        self.set_deadline(recall, now + self.policy.refer_timeout)
        recall.number = watch.at.attempts
        wanted.callee, wanted.caller = watch.at.callee, watch.at.caller
        wanted.call_id, wanted.tag = watch.at.refer_call_id, watch.at.refer_tag
        recall.attempt = self.method.begin(&wanted, bytes_of(device.contact), bytes_of(device.path), flow,
                                           self.watchlist.credit_of(recall.pair[0]), recall, now)
        if recall.attempt is None:
            self.fail(recall, UNPROVEN, now)

    cdef int attempt_ended(self, Recall recall, Outcome outcome, str answer, str result, int64_t now) except -1:
        """What the phone said to the attempt, or that it said nothing."""
        if recall.over:
            return 0
        self.tell_answer(recall, answer)
        if outcome == ACCEPTED or outcome == ACCEPTED_BEFORE:
            if not recall.call_id:
                self.set_deadline(recall, now + (
                    max(self.policy.recall_timeout, <int64_t>CALLED_AGAIN) if outcome == ACCEPTED_BEFORE
                    else self.policy.recall_timeout))
            if self.policy.ends_on_refer and self.watchlist.remove(
                    recall.pair, f"{self.method.name} accepted", recall.answer):
                self.counts["completed"] += 1
        elif not recall.call_id:
            self.fail(recall, result, now)

    cdef int tell_answer(self, Recall recall, str answer) except -1:
        recall.answer = answer
        if self.events.wants(EVENT_RECALL):
            self.events.add("recall", {"callee": recall.pair[0], "caller": recall.pair[1], "attempt": recall.number,
                                       "answer": answer})

    cdef int fail(self, Recall recall, str result, int64_t now) except -1:
        """The recall came to nothing: back to armed with its remaining life, or to the end where the attempts are used up."""
        cdef StoredWatch watch
        self.recalls.pop(recall.pair, None)
        self.end(recall)
        if recall.attempt is not None:
            # A phone that comes back later must not ring for an attempt that was given up.
            recall.attempt.give_up()
            recall.attempt = None
            self.tell_answer(recall, "none")
        self.counts["recall_failures"] += 1
        self.store.for_update()
        watch = self.watchlist.find_readable(recall.pair)
        if watch is not None:
            if watch.at.attempts >= self.policy.attempts:
                self.give_up(watch, recall, result)
            else:
                self.put_back(watch, recall, result, now)
        self.next_turn(recall.pair[0], now)

    cdef int give_up(self, StoredWatch watch, Recall recall, str result) except -1:
        self.watchlist.remove(recall.pair, "attempts used up", recall.answer, result)
        self.counts["given_up"] += 1
        if self.events.wants(ENDED):
            self.events.add("redial-given-up", {"callee": recall.pair[0], "caller": recall.pair[1],
                                                "attempts": watch.at.attempts, "result": result})

    cdef int put_back(self, StoredWatch watch, Recall recall, str result, int64_t now) except -1:
        cdef WatchEntry entry = watch.at
        cdef bytes text = result.encode()
        if self.events.wants(RECALL_FAILED):
            self.events.add("recall-failed", {
                "callee": recall.pair[0], "caller": recall.pair[1], "attempt": watch.at.attempts,
                "of": self.policy.attempts, "result": result, "again_in": self.policy.retry_pause / 1000.0})
        if self.events.has_room(ATTEMPT):
            self.store.put_attempt(recall.pair[0], recall.pair[1], watch.at.recalled_at, outcome_text(recall.answer, result))
        entry.state = piece_in(armed)
        entry.last_result = piece_in(text)
        entry.not_before = now + self.policy.retry_pause
        self.watchlist.change(&entry, recall.pair)

    cdef int call_off(self, tuple pair, int64_t now) except -1:
        """The watch of a recall is gone: no attempt begins any more, and before the call has begun it is the next one's turn."""
        cdef Recall recall = self.recalls.get(pair)
        if recall is None:
            return 0
        if recall.attempt is not None:
            recall.attempt.give_up()
            recall.attempt = None
        if not recall.call_id:
            del self.recalls[pair]
            self.end(recall)
            self.next_turn(pair[0], now)

    cdef Recall pop_recall(self, tuple pair):
        """The pair's recall, which is known no longer and is to be ended; None where there is none."""
        return self.recalls.pop(pair, None)

    cdef int end(self, Recall recall) except -1:
        """The recall no longer keeps its callee; what its phone tells is heard for a while."""
        self.stop_deadline(recall)
        recall.over = True
        if self.engaged.get(recall.pair[0]) == recall.pair:
            del self.engaged[recall.pair[0]]
        self.method.finished(recall.refer_call_id)

    # ---- timers

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        if kind == OVERDUE:
            self.overdue(payload, now)
        elif kind == RESUME:
            self.resume(payload, now)
        else:
            self.pauses.pop(payload, None)
            self.next_turn(payload, now)
        return 0

    cdef int overdue(self, Recall recall, int64_t now) except -1:
        recall.timer = 0
        if not recall.over and not self.started_elsewhere(recall, now):
            self.fail(recall, f"no answer to {self.method.name}" if recall.attempt is not None
                      else f"no call after {self.method.name}", now)

    cdef bint started_elsewhere(self, Recall recall, int64_t now) except -1:
        """Whether the call may have started in another worker, whose notice is on its way: then it has that long again."""
        cdef StoredWatch watch
        if self.ownership.alone or recall.extended:
            return False
        self.store.for_update()
        watch = self.watchlist.find_readable(recall.pair)
        if watch is None or not is_calling(watch):
            return False
        recall.extended = True
        self.set_deadline(recall, now + self.policy.recall_timeout)
        return True

    cdef int resume(self, Recall recall, int64_t now) except -1:
        cdef StoredWatch watch = None if recall.over or recall.call_id else self.watchlist.find(recall.pair)
        if watch is not None and is_recalling(watch):
            # As with a new claim: it leaves after the commit, if nothing in the batch has ended the watch.
            recall.claimed = watch
            self.claimed.append(recall)

    cdef int set_deadline(self, Recall recall, int64_t when) except -1:
        self.stop_deadline(recall)
        recall.timer = self.wheel.schedule(when, self, OVERDUE, recall)

    cdef int stop_deadline(self, Recall recall) except -1:
        if recall.timer:
            self.wheel.cancel(recall.timer)
            recall.timer = 0

    cdef int look_again(self, bytes callee, int64_t when, int kind, int64_t now) except -1:
        handle = self.pauses.pop(callee, 0)
        if handle:
            self.wheel.cancel(handle)
        self.pauses[callee] = self.wheel.schedule(min(max(when, now), self.wheel.now + LONGEST), self, kind, callee)
