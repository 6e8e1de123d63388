"""The watch list: watches and talks as the store has them, as this process knows of them, and as they are to be written.

All of redial reads and writes them by it alone. Each write is noted, and where its batch is lost, it is remembered until it has
been written again: what has happened has happened, and is true whatever the store says.

Nearly every REGISTER and every call is of people for whom nobody waits. One worker knows from memory (`waiting.pyx`) who
waits for whom, and asks the store for none of those. Several share the store: what others have armed or cancelled may not have
been told yet, so it is the store that says who waits.
"""

from libc.stdint cimport int64_t

from ..observe.events cimport ENDED, HISTORY, STEP_ENDED, Events
from ..store.codec cimport StoredWatch, WatchEntry, bytes_of, same_piece, written_watch
from ..store.repository cimport Store
from ..trust.credit cimport Credit, make_credit
from .._wheel cimport Timed, Wheel
from .ownership cimport Ownership
from .pending cimport Pending
from .policy cimport Policy
from .waiting cimport Waiting

from ..errors import StoreCorrupt, StoreError, StoreUnreadable
from ..store.records import ARMED, CALLING, CLAIMED, OFFERED, RECALLING, SUSPENDED, Ended, tell_unreadable

cdef enum:
    # Timers
    EXPIRE = 1                  # payload: pair
    REWRITE = 2                 # no payload
    COMMIT = 3                  # no payload: a commit follows whatever timer runs out
    COMMIT_AGAIN = 200          # ms after a commit that failed
    NOMINAL = 400               # bytes of a REGISTER, about

# As stored.
cdef bytes armed = ARMED.encode(), recalling = RECALLING.encode(), calling = CALLING.encode(), suspended = SUSPENDED.encode()
cdef bytes offered = OFFERED.encode()


cdef bint is_armed(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, armed) or is_suspended(watch)


cdef bint is_suspended(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, suspended)


cdef bint is_recalling(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, recalling)


cdef bint is_calling(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, calling)


cdef bint is_claimed(StoredWatch watch) noexcept:
    return is_recalling(watch) or is_calling(watch)


cdef bint is_offered(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, offered)


def by_age(StoredWatch watch):
    return watch.at.armed_at, bytes_of(watch.at.caller)


cdef str outcome_text(str answer, str result):
    # Where the phone refused the REFER, that is the whole result.
    return f"{answer}; {result}" if answer and answer not in result else result


cdef class Watchlist(Timed):
    """Watches and talks: read, written, noted, and written again."""

    def __init__(self, Policy policy, Store store not None, Wheel wheel, Events events, Ownership ownership, dict counts):
        self.policy = policy
        self.store = store
        self.wheel = wheel
        self.events = events
        self.ownership = ownership
        self.counts = counts
        self.waiting = Waiting(wheel, self, EXPIRE)
        self.credits = {}
        self.pending = Pending()
        self.lost = {}
        self.lost_talks = {}

    # ---- reading

    cdef StoredWatch find(self, tuple pair):
        cdef StoredWatch watch
        if self.lost and pair in self.lost:
            watch = self.lost[pair]
            if watch is not None and self.ended_elsewhere(pair):
                del self.lost[pair]
                return None
            return watch
        return self.store.watch(pair[0], pair[1])

    cdef StoredWatch former(self, tuple pair):
        if self.ownership.alone and not self.lost and pair not in self.waiting.timers:
            return None
        return self.find(pair)

    cdef bint ended_elsewhere(self, tuple pair) except -1:
        """Whether another worker has removed a watch that is to be written again."""
        return not self.ownership.alone and not self.store.has_watch(pair[0], pair[1])

    cdef StoredWatch find_readable(self, tuple pair):
        try:
            return self.find(pair)
        except StoreUnreadable as error:
            tell_unreadable(error)
            return None

    cdef list of_callee(self, bytes callee):
        cdef StoredWatch watch
        cdef list found
        if not self.ownership.alone:
            found = self.store.watches(callee)
            if self.lost:
                found = [self.find((each.callee, each.caller)) for each in found]
            return [watch for watch in found if watch is not None]
        found = []
        for pair in self.waiting.pairs(callee):
            watch = self.find_readable(pair)
            if watch is not None:
                found.append(watch)
        if len(found) > 1:
            found.sort(key=by_age)
        return found

    cdef bint has(self, tuple pair) except -1:
        return pair in self.waiting.timers if self.ownership.alone else self.find(pair) is not None

    cdef bint is_waited_for(self, bytes callee) except -1:
        if self.ownership.alone:
            return self.waiting.count_of_callee(callee) > 0
        return self.policy.enabled and <int64_t>self.store.count_by_callee(callee) > 0

    cdef bint keeps_others_waiting(self, tuple pair) except -1:
        if not self.policy.serial or self.ownership.alone and not self.waiting.count_of_callee(<bytes>pair[0]):
            return False
        return <int64_t>self.store.count_by_callee(pair[0]) > 0

    cdef bint has_room(self, bytes caller, bytes callee) except -1:
        # What is held in memory may be too much, since others may cancel: then the store says how many there are.
        cdef bint alone = self.ownership.alone
        if not self.has_room_in_all():
            return False
        return (
            (alone and self.waiting.count_of_caller(caller) < self.policy.per_caller
             or <int64_t>self.store.count_by_caller(caller) < self.policy.per_caller)
            and (alone and self.waiting.count_of_callee(callee) < self.policy.per_callee
                 or <int64_t>self.store.count_by_callee(callee) < self.policy.per_callee))

    cdef bint has_room_in_all(self) except -1:
        if <int64_t>len(self.waiting.timers) >= self.policy.max_watches:
            return False
        return self.ownership.alone or self.store.has_room_for_watch(self.policy.max_watches)

    cdef Credit credit_of(self, bytes callee):
        """What may still be sent to callers who have proven nothing: one REGISTER of a callee brings about many REFERs."""
        credit = self.credits.get(callee)
        if credit is None:                    # it came back before a restart
            credit = self.credits[callee] = make_credit(NOMINAL, 0)
        return credit

    # ---- writing

    cdef StoredWatch change(self, const WatchEntry *entry, tuple pair):
        """Write a watch that this batch has read, in another form."""
        cdef StoredWatch watch = written_watch(entry)
        self.put(pair, watch, False)
        return watch

    cdef int put(self, tuple pair, StoredWatch watch, bint new) except -1:
        # What was lost may be the very record that made it: then its place among the caller's has to be written, too.
        new = new or self.lost and pair in self.lost
        self.note_write(pair, watch)
        self.store.put_watch(watch, new)

    cdef bint remove(self, tuple pair, str reason, str answer="", str result="") except -1:
        cdef StoredWatch watch = None
        cdef object attempts = None
        cdef bint kept = self.events.has_room(HISTORY)      # of more than that a second nobody reads
        if kept or self.events.telling:
            watch = self.as_stored(pair)
            if watch is not None and is_offered(watch):
                return self.drop(pair)
        if kept:
            attempts = self.outcomes(pair)
        self.forget(pair)
        self.note_write(pair, None)
        if not self.store.delete_watch(pair[0], pair[1]):
            return False
        if watch is not None:
            if kept:
                self.keep_ended(watch.unpacked(), attempts, reason, answer, result)
            self.events.step(STEP_ENDED, watch, None, result, reason)
        if not result and self.events.wants(ENDED):
            self.events.add("watch-ended", {"callee": pair[0], "caller": pair[1], "reason": reason})
        return True

    cdef bint drop(self, tuple pair) except -1:
        self.forget(pair)
        self.note_write(pair, None)
        return self.store.delete_watch(<bytes>pair[0], <bytes>pair[1])

    cdef StoredWatch as_stored(self, tuple pair):
        """The pair's watch, as far as that can be read."""
        try:
            return self.store.watch(pair[0], pair[1])
        except StoreCorrupt:
            return None

    cdef object outcomes(self, tuple pair):
        """What came of its recalls, as far as that can be read."""
        try:
            return self.store.attempts(pair[0], pair[1])
        except StoreCorrupt:
            return ()

    cdef int keep_ended(self, object watch, object attempts, str reason, str answer, str result) except -1:
        """In the same batch as its end."""
        if watch.state in CLAIMED:
            attempts = (*attempts, (watch.recalled_at, outcome_text(answer, result or reason)))
        self.store.put_ended(Ended(watch, self.events.time(), reason, attempts))

    cdef int note_write(self, tuple pair, StoredWatch watch) except -1:
        """Before it is tried: with its batch it is lost, or replaces what was lost before."""
        if self.lost:
            self.lost.pop(pair, None)
        self.pending.touch(pair, watch)

    cdef int put_talk(self, bytes callee, talk) except -1:
        """Store a talk; None removes the callee's."""
        self.lost_talks.pop(callee, None)
        self.pending.note_talk(callee, talk)
        if talk is not None:
            self.store.put_talk(talk)
        else:
            self.store.delete_talk(callee)

    # ---- the end of a batch

    cdef int committed(self, Pending batch) except -1:
        if batch.touched:
            batch.touched.clear()
        if batch.promised:
            batch.promised.clear()
        if batch.acknowledged:
            batch.acknowledged = []
        if batch.talked:
            batch.talked.clear()
        if self.rewrite and not self.lost and not self.lost_talks:
            self.wheel.cancel(self.rewrite)
            self.rewrite = 0

    cdef int leave_to_others(self, Pending batch, set undone) except -1:
        """Of what the lost batch has written, forget what another worker has ended meanwhile."""
        if self.ownership.alone:
            return 0
        for pair, watch in [*batch.touched.items()]:
            if watch is not None and pair not in undone and self.ended_elsewhere(pair):
                del batch.touched[pair]

    cdef int batch_lost(self, Pending batch, set undone, list later, object units) except -1:
        cdef Pending newer
        touched, batch.touched = batch.touched, {}
        talked, batch.talked = batch.talked, {}
        batch.promised = {}
        for newer in later:                   # what was written since says more, and has an answer of its own
            for key in newer.touched:
                touched.pop(key, None)
            for key in newer.talked:
                talked.pop(key, None)
        for pair, watch in touched.items():
            if pair not in undone and batch.is_lost(pair, units):
                self.lost.setdefault(pair, watch)
        for callee, talk in talked.items():
            if batch.is_lost(callee, units):
                self.lost_talks.setdefault(callee, talk)

    cdef int write_soon(self, int64_t now) except -1:
        self.rewrite = self.wheel.schedule(now + COMMIT_AGAIN, self, REWRITE)

    cdef int write_again(self, int64_t now) except -1:
        """Write what has happened, and was lost with a batch."""
        # Tried again later, unless all of it is committed before: the store may fail for long.
        self.rewrite = self.wheel.schedule(now + REWRITE_AFTER, self, REWRITE)
        if not self.ownership.alone:
            self.store.for_update()           # or another worker ends one between the look and the write
            for pair, watch in [*self.lost.items()]:
                # Another worker may have changed or ended it meanwhile: what is the owner's to write is left to the owner.
                if watch is not None and (not self.ownership.is_mine(pair[0]) or self.ended_elsewhere(pair)):
                    del self.lost[pair]
        for pair, watch in list(self.lost.items()):
            if watch is not None:
                self.put(pair, watch, True)
            else:
                self.remove(pair, "ended before the store failed")
        for callee, talk in list(self.lost_talks.items()):
            self.put_talk(callee, talk)

    cdef int commit_soon(self, int64_t now) except -1:
        self.wheel.schedule(now + COMMIT_AGAIN, self, COMMIT)

    # ---- what is held in memory

    cdef int remember(self, tuple pair, int64_t expires_at) except -1:
        self.waiting.remember(pair, expires_at)

    cdef int forget(self, tuple pair) except -1:
        self.waiting.forget(pair)
        if self.credits and not self.waiting.count_of_callee(<bytes>pair[0]):
            self.credits.pop(pair[0], None)

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        if kind == EXPIRE:
            self.expire(payload, now)
        elif kind == REWRITE:
            self.write_again(now)
        return 0

    cdef int expire(self, tuple pair, int64_t now) except -1:
        cdef StoredWatch watch
        try:
            watch = self.find(pair)
        except StoreUnreadable:
            self.forget(pair)
            raise
        except StoreError:
            self.remember(pair, now + REWRITE_AFTER)
            raise
        if watch is None:
            self.forget(pair)
        elif watch.at.expires_at > now:
            self.remember(pair, watch.at.expires_at)
        elif is_offered(watch):
            self.drop(pair)
        else:
            self.remove(pair, "monitoring period over")
            self.counts["expired"] += 1
            self.ownership.owner_of(<bytes>pair[0]).watch_cancelled(pair, now)      # a phone that rings for it
