"""The owner of callees: it alone decides whose turn it is, claims a watch, and has its caller called.

A watch is one stored caller-callee pair. Its life::

                 INVITE finds the callee unbound, Expires >= min_period
                                    |
                                    v         no ACK of the 480 in 64*T1
                                [offered] ----------------------------------> removed, as if it had not been
                                    |
                                    v  ACK    callee bound, guard passed: claim
      renewed by another INVITE  [armed] ----------------------------------> [recalling]
                 |     ^            ^    all methods refused, or no INVITE    |   |
                 +-----+            +-------------------------------------------+   | the caller's INVITE
                                    ^                                               v
                                    +------------------------------------------ [calling]
                        the call got a final response other than 2xx, or a 2xx      |
                        and no ACK came for it                                      | ACK of the 2xx: the watch is removed
      removed as well: period over, Expires: 0, attempts used up, the two talk in any other way

The store holds the truth. In memory there are only timers, the recalls that are going on, and which callee is engaged;
all of it is made anew from the store at a start, and for the pairs that a failed commit touched. How a caller is called, and what
comes of that, is `recall.pyx`.
"""

from libc.stdint cimport int64_t

from ..observe.events cimport STEP_CLAIMED, STEP_RESUMED
from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch, WatchEntry, bytes_of, piece_in, same_piece, written_watch
from ..trust.credit cimport Credit
from .._flow cimport Flow
from .._wheel cimport LONGEST
from .availability cimport Availability
from .device cimport phone_of
from .ladder cimport Rung
from .ownership cimport CalleeOwner
from .policy cimport Policy
from .recall cimport PAUSED, Recall, Recalls, Turns
from .watchlist cimport REWRITE_AFTER, Watchlist, is_armed, is_claimed, is_recalling, is_suspended

from ..errors import StoreError, StoreUnreadable
from ..store.records import ARMED, CLAIMED, OFFERED, PAUSES_CUT_SHORT, RECALLING, SUSPENDED, WAITING, tell_unreadable

cdef enum:
    # Timers
    GUARD = 1               # payload: callee
    RETRY = 2               # payload: callee
    # Watches that ran out while nobody served are removed so many every so many ms
    ENDED_AT_A_TIME = 256
    ENDED_EVERY = 10
    RESUME_EVERY = 1        # ms between the recalls taken up again at a start: a thousand a second

cdef bytes armed = ARMED.encode()
cdef int64_t cut_short = PAUSES_CUT_SHORT
cdef bytes unproven = b"caller's address has proven nothing"


cdef class OwnerTurns(Turns):
    """What comes after a recall is the owner's to decide."""

    cdef int next_turn(self, bytes callee, int64_t now) except -1:
        return self.owner.next_turn(callee, now)


cdef class Owner(CalleeOwner):
    """Claims watches and has their callers called. All times are ms."""

    def __init__(self, Policy policy, Watchlist watchlist, Location location, Availability availability, Recalls recalls):
        cdef OwnerTurns turns = OwnerTurns.__new__(OwnerTurns)
        turns.owner = self
        self.policy = policy
        self.watchlist = watchlist
        self.store = watchlist.store
        self.ownership = watchlist.ownership
        self.wheel = watchlist.wheel
        self.events = watchlist.events
        self.counts = watchlist.counts
        self.location = location
        self.availability = availability
        self.recalls = recalls
        self.recalls.turns = turns
        self.engaged = recalls.engaged
        self.pauses = {}
        self.offered = []

    # ---- start, commit, failure

    cdef bint start(self, int64_t now) except -1:
        cdef dict waiting = {}
        cdef int resumed = 0, ended = 0
        cdef bint recalls = False
        cdef Recall recall
        for watch in self.store.each_watch():
            recalls = recalls or watch.state in CLAIMED
            if watch.state == SUSPENDED:
                self.recalls.suspended.remember((watch.callee, watch.caller))
            elif watch.state == OFFERED:
                self.offered.append(((watch.callee, watch.caller), watch.offer))
            if not self.ownership.is_mine(watch.callee):
                continue
            pair = (watch.callee, watch.caller)
            if watch.expires_at <= now:
                # Not all in one commit: the pages that it would free at a time cost LMDB a part of every later one.
                self.watchlist.remember(pair, now + ended // ENDED_AT_A_TIME * ENDED_EVERY)
                ended += 1
                continue
            self.watchlist.remember(pair, watch.expires_at)
            if watch.state in WAITING:
                waiting[watch.callee] = min(watch.not_before, waiting.get(watch.callee, watch.not_before))
            elif watch.state in CLAIMED:
                recall = self.recalls.take_up(self.watchlist.find(pair), pair, now)
                if watch.state == RECALLING:
                    resumed += 1
                    self.recalls.resume_at(recall, now + resumed * RESUME_EVERY)
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

    cdef int reload(self, tuple pair, int64_t now) except -1:
        cdef StoredWatch watch = self.watchlist.find(pair)  # first: a pair that cannot be read stays known
        cdef Recall recall = self.recalls.pop(pair)
        if recall is not None:
            self.recalls.end(recall, now)
        if watch is None:
            self.watchlist.forget(pair)
            return 0
        self.watchlist.remember(pair, watch.at.expires_at)
        if is_armed(watch):
            self.look_again(pair[0], now + self.policy.retry_pause, RETRY, now)
        elif is_claimed(watch):
            recall = self.recalls.take_up(watch, pair, now)
            if is_recalling(watch):
                self.recalls.resume_at(recall, now + self.policy.retry_pause)

    # ---- what it is told

    cdef int watch_armed(self, tuple pair, int64_t expires_at, int64_t now) except -1:
        if expires_at:                        # else it is noted with its end, since it was offered
            self.watchlist.remember(pair, expires_at)
        # Its callee may have come back since the call found nobody.
        if self.availability.is_available(pair[0], now):
            self.look_again(pair[0], now + self.policy.guard, GUARD, now)

    cdef int watch_cancelled(self, tuple pair, int64_t now) except -1:
        self.recalls.call_off(pair, now)

    cdef int watch_changed(self, tuple pair, int64_t now) except -1:
        cdef StoredWatch watch = self.watchlist.find(pair)
        if watch is None:
            self.watchlist.forget(pair)
            self.recalls.call_off(pair, now)
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
            if is_armed(watch) and watch.at.not_before > now and watch.at.pauses <= cut_short:
                # A new registration is a new chance: the pause after a failed recall is over.
                entry = watch.at
                entry.not_before = 0
                watches[i] = self.watchlist.change(&entry, (callee, bytes_of(watch.at.caller)))
        if not watches:
            return 0
        self.watchlist.credits[callee] = credit
        if self.policy.guard:
            self.look_again(callee, now + self.policy.guard, GUARD, now)
        elif not (self.policy.serial and callee in self.engaged):
            self.claim_due(callee, watches, now)

    cdef int call_started(self, tuple pair, bytes call_id, int worker, int64_t now) except -1:
        self.call_answered(pair, call_id, worker, now)

    cdef int call_answered(self, tuple pair, bytes call_id, int worker, int64_t now) except -1:
        cdef Recall recall = self.recalls.of.get(pair)
        if recall is not None:
            self.recalls.called(recall, call_id, worker, now)

    cdef int call_failed(self, tuple pair, bytes call_id, int status, int64_t rang, int64_t now) except -1:
        cdef Recall recall = self.recalls.of.get(pair)
        if recall is not None and recall.call_id == call_id:
            self.recalls.call_ended(recall, status, rang, now)

    cdef int call_unconfirmed(self, tuple pair, bytes call_id, int64_t now) except -1:
        # The caller never heard that it was answered: it has to be called again.
        cdef Recall recall = self.recalls.of.get(pair)
        if recall is not None and recall.call_id == call_id:
            self.recalls.fail(recall, "answered, but there was no ACK", now)

    cdef int callee_gone(self, tuple pair, int64_t now) except -1:
        cdef Recall recall = self.recalls.of.get(pair)
        if recall is not None:
            self.recalls.come_to_nothing(recall, "480 callee gone again", PAUSED, now)

    cdef int caller_back(self, tuple pair, int64_t after, int64_t now) except -1:
        cdef StoredWatch watch
        cdef WatchEntry entry
        self.store.for_update()
        watch = self.watchlist.find_readable(pair)
        if watch is None or not is_suspended(watch):
            return 0
        entry = watch.at
        entry.state = piece_in(armed)
        entry.not_before = now + after
        self.events.step(STEP_RESUMED, self.watchlist.change(&entry, pair))
        if self.availability.is_available(pair[0], now):
            self.look_again(pair[0], now + max(after, self.policy.guard), RETRY, now)

    cdef int talk_ended(self, bytes callee, bytes call_id, int64_t now) except -1:
        if self.engaged.get(callee) == call_id:
            del self.engaged[callee]
            self.next_turn(callee, now)

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
        cdef str refusal
        try:
            for watch in watches:
                pair = (callee, bytes_of(watch.at.caller))
                if not is_armed(watch) or watch.at.expires_at <= now or pair in self.recalls.of:
                    continue
                refusal = self.policy.refusal(callee, <bytes>pair[1], None)
                if refusal is not None:       # what its callee allows has changed since
                    self.give_up(pair, refusal)
                    continue
                due = watch.at.not_before
                if self.watchlist.lost and pair in self.watchlist.lost:   # not as it is stored: nothing that could be claimed
                    due = max(due, now + 2 * REWRITE_AFTER)
                if due <= now and self.is_held_back(watch, pair, now):
                    due = now + self.policy.retry_pause
                if due > now:
                    later = min(later, due) if later else due
                else:
                    self.claim(watch, pair, now)
                    if self.policy.serial:
                        return 0
        except StoreError:
            self.look_again(callee, now + self.policy.retry_pause, RETRY, now)
            raise
        if later:
            self.look_again(callee, later, RETRY, now)

    cdef int give_up(self, tuple pair, str reason) except -1:
        if self.watchlist.remove(pair, reason):
            self.counts["given_up"] += 1

    cdef bint is_held_back(self, StoredWatch watch, tuple pair, int64_t now) except -1:
        """Whether its caller has proven nothing, and the callee's credit is spent. That is noted in the watch, once."""
        cdef Credit credit = self.watchlist.credit_of(pair[0])
        cdef WatchEntry entry
        cdef Entry device
        cdef Flow flow
        cdef object _kept
        if credit.left or credit.unlimited:
            return False
        _kept = phone_of(self.location, watch, self.recalls.may_ask_others(watch), None, &device, now)
        if not device.contact.size:
            return False
        flow = self.location.flow_by(device.contact, device.path, device.flow)
        if flow is None or (<Rung>self.recalls.ladder.rungs(watch, now)[0]).method.may_begin(flow, credit, now):
            return False
        if not same_piece(watch.at.last_result, unproven):
            entry = watch.at
            entry.last_result = piece_in(unproven)
            self.watchlist.change(&entry, pair)
        return True

    cdef int claim(self, StoredWatch watch, tuple pair, int64_t now) except -1:
        """Claim a watch that this batch has read for update: nobody else can have changed it."""
        cdef WatchEntry entry = watch.at
        cdef tuple rungs = self.recalls.ladder.rungs(watch, now)
        cdef StoredWatch claimed
        cdef list kept = []
        entry.attempts += 1
        entry.recalled_at = now
        self.recalls.name_attempt(&entry, kept, <Rung>rungs[0])
        claimed = written_watch(&entry)
        self.store.put_watch(claimed, False)
        self.watchlist.note_write(pair, claimed)      # last: what could not be claimed has not happened
        if is_suspended(watch):               # its pause is over
            self.events.step(STEP_RESUMED, watch)
        self.recalls.begin_soon(self.recalls.add(claimed, pair, rungs, 0, now), claimed)
        self.counts["recalls"] += 1
        self.events.step(STEP_CLAIMED, claimed)

    # ---- timers

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        self.pauses.pop(payload, None)
        return self.next_turn(payload, now)

    cdef int look_again(self, bytes callee, int64_t when, int kind, int64_t now) except -1:
        handle = self.pauses.pop(callee, 0)
        if handle:
            self.wheel.cancel(handle)
        self.pauses[callee] = self.wheel.schedule(min(max(when, now), self.wheel.now + LONGEST), self, kind, callee)
