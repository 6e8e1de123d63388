"""The watch list: watches and talks as the store has them, as this process knows of them, and as they are to be written.

Redial inherits from it and reads and writes them by it alone. Each write is noted, and where its batch is lost, it is
remembered until it has been written again: what has happened has happened, and is true whatever the store says.

Nearly every REGISTER and every call is of people for whom nobody waits, and none of those has to ask the store: who waits
for whom is known from memory (`waiting.pyx`).
"""

from libc.stdint cimport int64_t

from ..store.codec cimport StoredWatch, WatchEntry, bytes_of, written_watch
from ..store.repository cimport Store
from .waiting cimport Waiting
from .._wheel cimport Timed, Wheel
from ..observe.events cimport ENDED, HISTORY, Events

from ..errors import StoreCorrupt, StoreUnreadable
from ..store.records import ARMED, Ended, tell_unreadable


def by_age(StoredWatch watch):
    return watch.at.armed_at, bytes_of(watch.at.caller)


cdef str outcome(str answer, str result):
    # Where the phone refused the REFER, that is the whole result.
    return f"{answer}; {result}" if answer and answer not in result else result


cdef class Watchlist(Timed):
    """Watches and talks: read, written, noted, and written again."""

    def __init__(self, settings, Store store not None, Wheel wheel, Events events=None):
        self._events = events or Events(wheel)
        self._settings = settings
        self._store = store
        self._wheel = wheel
        self._enabled = settings.enabled
        self._per_caller = settings.per_caller
        self._per_callee = settings.per_callee
        self._waiting = Waiting(wheel, self, EXPIRE)
        self._touched = {}
        self._talked = {}
        self._lost = {}
        self._lost_talks = {}

    # ---- reading

    cpdef _watch(self, tuple pair):
        """The pair's StoredWatch, as it is or is to be written again; None where it has none."""
        if self._lost and pair in self._lost:
            return self._lost[pair]
        return self._store.watch(pair[0], pair[1])

    cdef StoredWatch _readable(self, tuple pair):
        """The same; None, too, where its record cannot be read, which is told of: others go on without it."""
        try:
            return self._watch(pair)
        except StoreUnreadable as error:
            tell_unreadable(error)
            return None

    cpdef list _watches(self, bytes callee):
        """The callee's watches, the oldest first."""
        cdef list found = []
        for pair in self._waiting.pairs(callee):
            watch = self._readable(pair)
            if watch is not None:
                found.append(watch)
        if len(found) > 1:
            found.sort(key=by_age)
        return found

    cpdef bint _is_watched(self, tuple pair) except *:
        """Whether the pair has a watch."""
        return pair in self._waiting.timers

    cpdef bint _owns(self, bytes callee) except *:
        """Whether the timers and recalls of a callee's watches are held here."""
        return True

    cpdef bint _may_arm(self, bytes caller, bytes callee) except *:
        # What is held in memory may be too much, since others may cancel: then the store says how many there are.
        return (
            (self._waiting.count_of_caller(caller) < self._per_caller
             or <int64_t>self._store.count_by_caller(caller) < self._per_caller)
            and (self._waiting.count_of_callee(callee) < self._per_callee
                 or <int64_t>self._store.count_by_callee(callee) < self._per_callee))

    # ---- writing

    cdef StoredWatch _changed(self, const WatchEntry *entry, tuple pair):
        """Write a watch that this batch has read, in another form."""
        cdef StoredWatch watch = written_watch(entry)
        self._put(pair, watch, False)
        return watch

    cpdef _put(self, tuple pair, StoredWatch watch, bint new=True):
        # What was lost may be the very record that made it: then its place among the caller's has to be written, too.
        new = new or pair in self._lost
        self._wrote(pair, watch)
        self._store.put_watch(watch, new)

    cpdef bint _remove(self, tuple pair, str reason, str answer="", str result="") except *:
        """`answer`: what the caller's phone said to the last REFER, `result`: what came of it where the caller says so."""
        cdef StoredWatch watch = None
        cdef object attempts = None
        if self._events.has_room(HISTORY):    # of more than that a second nobody reads
            watch = self._as_stored(pair)
            attempts = self._outcomes(pair)
        self._untime(pair)
        self._wrote(pair, None)
        if not self._store.delete_watch(pair[0], pair[1]):
            return False
        if watch is not None:
            self._keep_ended(watch.unpacked(), attempts, reason, answer, result)
        if not result and self._events.wants(ENDED):
            self._events.add("watch-ended", {"callee": pair[0], "caller": pair[1], "reason": reason})
        return True

    cdef StoredWatch _as_stored(self, tuple pair):
        """The pair's watch, as far as that can be read."""
        try:
            return self._store.watch(pair[0], pair[1])
        except StoreCorrupt:
            return None

    cdef object _outcomes(self, tuple pair):
        """What came of its recalls, as far as that can be read."""
        try:
            return self._store.attempts(pair[0], pair[1])
        except StoreCorrupt:
            return ()

    cdef _keep_ended(self, object watch, object attempts, str reason, str answer, str result):
        """In the same batch as its end."""
        if watch.state != ARMED:
            attempts = (*attempts, (watch.recalled_at, outcome(answer, result or reason)))
        self._store.put_ended(Ended(watch, self._events.time(), reason, attempts))

    cdef _wrote(self, tuple pair, StoredWatch watch):
        """Note a write before it is tried: with its batch it is lost, or replaces what was lost before."""
        if self._lost:
            self._lost.pop(pair, None)
        self._touched[pair] = watch

    cpdef _keep_talk(self, bytes callee, talk):
        self._lost_talks.pop(callee, None)
        self._talked[callee] = talk
        if talk is not None:
            self._store.put_talk(talk)
        else:
            self._store.delete_talk(callee)

    cpdef _write_again(self, int64_t now):
        """Write what has happened, and was lost with a batch."""
        # Tried again later, unless all of it is committed before: the store may fail for long.
        self._rewrite = self._wheel.schedule(now + REWRITE_AFTER, self, REWRITE)
        for pair, watch in list(self._lost.items()):
            if watch is not None:
                self._put(pair, watch)
            else:
                self._remove(pair, "ended before the store failed")
        for callee, talk in list(self._lost_talks.items()):
            self._keep_talk(callee, talk)

    # ---- what is held in memory

    cpdef _time(self, tuple pair, int64_t expires_at):
        self._waiting.hold(pair, expires_at)

    cpdef _untime(self, tuple pair):
        self._waiting.drop(pair)
