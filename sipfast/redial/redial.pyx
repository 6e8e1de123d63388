"""Automatic redial: the watch list and the recalls.

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

The store holds the truth. In memory there are only timers, the recalls that are going on, and which callee is taken;
all of it is made anew from the store at a start, and for the pairs that a failed commit touched. A REFER leaves only
after the claim that it stands for was committed (`committed`), so a crash can repeat a REFER but never lose one; the
repeated one has the Call-ID, tag and CSeq of the first, so a phone that knows it answers 482 (RFC 3261 §8.2.2.2).

A 2xx alone ends nothing, since it may be lost on its way to a caller who has moved: what counts is the ACK, and the watch
is removed in the batch that lets it through. Until then the watch is stored as it was, so that a crash loses nothing: the
callee repeats its 2xx, and the caller its ACK.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .answers cimport Answers
from ..trust.credit cimport Credit, make_credit
from .._flow cimport MOST_PACKED, Flow
from .._parser cimport Message, Span, canonical_aor
from ..store.codec cimport (
    Entry, StoredWatch, WatchEntry, bytes_of, piece_in, piece_of, same_piece, written_watch,
)
from .refer cimport Referrer, contact_of, expires_of, fragment_of
from ..transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ..transaction.server cimport Handler
from .watchlist cimport EXPIRE, REWRITE, REWRITE_AFTER, Watchlist, outcome
from .._wheel cimport LONGEST, Wheel
from ..observe.events cimport ARMED as EVENT_ARMED, ENDED, NOT_ARMED, RECALL as EVENT_RECALL, RECALL_FAILED, ATTEMPT, Events
from ..routing.location cimport Location

from .refer import offer, warning
from ..errors import StoreError, StoreUnreadable
from ..store.records import ARMED, CALLING, NOT_LOGGED_IN, RECALLING, Talk, tell_unreadable

# Timer kinds, besides those of Watchlist
GUARD = 2  # payload: callee
RETRY = 3  # payload: callee
RECALL = 4  # payload: Recall, the REFER or the INVITE is late
TALK = 5  # payload: Call-ID of the talk
FORGET = 6  # payload: Call-ID of a REFER
RESUME = 7  # payload: Recall, to be taken up again
NO_ACK = 9  # payload: Call-ID of a call whose 2xx has passed
DOUBT = 10  # payload: Call-ID of a talk of which the end may not have been seen

FORGET_AFTER = 300_000  # ms that NOTIFYs of a finished recall are still known
ENDED_AT_A_TIME, ENDED_EVERY = 256, 10  # watches that ran out while nobody served are removed so many every so many ms
RESUME_EVERY = 1  # ms between the recalls taken up again at a start, and between talks in doubt: a thousand a second
NO_TAGS = (b"", b"")
MOST_RESULT = 80  # characters of a last result
# What was lost with a server comes again. ms in which a 2xx comes twice, T2 apart (RFC 3261 §13.3.1.4), for one may be lost
# once more while all phones speak to the new server; and in which an INVITE does, 32*T1 after the last at most (§17.1.1.2).
SAID_AGAIN, CALLED_AGAIN = 9_000, 17_000
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF  # ms
NOMINAL = 400  # bytes of a REGISTER, about
cdef str UNPROVEN = "caller's address has proven nothing"
cdef bytes unproven = UNPROVEN.encode()

# As stored: pieces point into these.
cdef bytes armed = ARMED.encode(), recalling = RECALLING.encode(), calling = CALLING.encode()
cdef bytes not_logged_in = NOT_LOGGED_IN.encode()
cdef bytes refer_sent = b"REFER sent", caller_calls = b"caller is calling"


cdef bint is_armed(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, armed)


cdef bint is_recalling(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, recalling)


cdef bint is_calling(StoredWatch watch) noexcept:
    return same_piece(watch.at.state, calling)


cdef bint is_of(const Entry *device, bytes contact, bytes instance) noexcept:
    return (PyBytes_GET_SIZE(instance) > 0 and same_piece(device.instance, instance)) or same_piece(device.contact, contact)


# Status and reason phrase, as they stand in the response.
cdef str answer_of(Message response):
    return response.text(Span(response.reason.start - 4, response.reason.end)).decode("utf-8", "replace").strip()[:MOST_RESULT]


cdef class Recall(Handler):
    """A recall that is going on, from its claim until the call is answered or has come to nothing."""

    def __init__(self, Redial redial, tuple pair, bytes refer_call_id):
        self.redial = redial
        self.pair = pair
        self.refer_call_id = refer_call_id
        self.call_id = b""
        self.worker = -1
        self.answer = ""

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """A response to the REFER."""
        if response.status >= 200:
            transaction.handler = None
            self.refer = None
            self.redial.refer_answered(self, response.status, response, now)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        """The REFER was never answered, or could not be delivered."""
        transaction.handler = None
        self.refer = None
        self.redial.refer_answered(self, status, None, now)
        return 0


cdef class Question(Handler):
    """Whether a talk goes on, asked of all phones of its caller: no, once each has said that it knows no such dialog."""

    def __init__(self, Redial redial, bytes call_id, Py_ssize_t phones):
        self.redial = redial
        self.call_id = call_id
        self.left = phones

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        if response.status >= 200:
            transaction.handler = None
            # RFC 3261 §12.2.2. Nothing else says so: silence may be a NAT's, and a 200 a phone's that looks at no tag.
            if response.status == 481:
                self.left -= 1
                if not self.left:
                    self.redial.call_ended(self.call_id, now)
        return 0


cdef class Redial(Watchlist):
    """Arms, claims, expires and cancels watches, and recalls callers. Driven by the engine; all times are ms."""

    def __init__(self, settings, store, Wheel wheel, Location location, Referrer referrer, int64_t patience=32_000,
                 Events events=None):
        """`patience`: 64*T1 in ms, for which an ACK is waited for."""
        Watchlist.__init__(self, settings, store, wheel, events)
        self._answers = Answers(wheel, self, NO_ACK, patience)
        self._location = location
        self._referrer = referrer
        self._serial = settings.order == "serial"
        self._guard = round(settings.guard * 1000)
        self._retry = round(settings.retry_pause * 1000)
        self._refer_timeout = round(settings.refer_timeout * 1000)
        self._recall_timeout = round(settings.recall_timeout * 1000)
        self._max_talk = round(settings.max_talk * 1000)
        self._min_period = settings.min_period
        self._max_period = settings.max_period
        self._ends_on_refer = settings.end_on == "refer"
        self._recalls = {}
        self._taken = {}
        self._refers = {}
        self._talks = {}
        self._pauses = {}
        self._credits = {}
        self._claimed = []
        self._armed = set()
        self._counts = dict.fromkeys(
            ("armed", "renewed", "cancelled", "expired", "recalls", "recall_failures", "completed", "given_up"), 0
        )

    # ---- start, commit, failure

    def start(self, int64_t now):
        """Take up what the store holds: run timers on, drop what ran out, resume recalls that were in flight."""
        cdef dict waiting = {}
        cdef int resume = 0, ended = 0, talks = 0
        if not self._enabled:
            return
        for talk in self._store.each_talk():
            self._hold(talk, now)
            if self._owns(talk.callee):
                talks += 1
                self._doubt(talk.call_id, now + talks * RESUME_EVERY)
        for watch in self._store.each_watch():
            if watch.state != ARMED:
                self._settled_at = now + self._answers.patience
            if not self._owns(watch.callee):
                continue
            pair = (watch.callee, watch.caller)
            if watch.expires_at <= now:
                # Not all in one commit: the pages that it would free at a time cost LMDB a part of every later one.
                self._time(pair, now + ended // ENDED_AT_A_TIME * ENDED_EVERY)
                ended += 1
                continue
            self._time(pair, watch.expires_at)
            if watch.state == ARMED:
                waiting[watch.callee] = min(watch.not_before, waiting.get(watch.callee, watch.not_before))
            else:
                recall = self._adopt(self._watch(pair), pair, now)
                if watch.state == RECALLING:
                    resume += 1
                    self._wheel.schedule(now + resume * RESUME_EVERY, self, RESUME, recall)
        for callee, not_before in waiting.items():
            # Bound already: its registration was committed, and the recall that should have followed was not.
            if self._is_back(callee, now):
                self._pause(callee, max(not_before, now + self._guard), GUARD, now)

    cdef bint _is_back(self, bytes callee, int64_t now) except *:
        """Whether a callee is bound, as far as that can be read: at a start nobody's record is in the way of others."""
        try:
            return self._location.is_bound(callee, now)
        except StoreUnreadable as error:
            tell_unreadable(error)
            return False

    cpdef bint committed(self, int64_t now) except *:
        """The store has committed: the REFERs of the claims in it may leave. True: there is more to commit."""
        cdef Recall recall
        cdef StoredWatch watch
        failed = None
        if self._touched:
            self._touched.clear()
            self._armed.clear()
        if self._talked:
            self._talked.clear()
        if self._rewrite and not self._lost and not self._lost_talks:
            self._wheel.cancel(self._rewrite)
            self._rewrite = 0
        if self._claimed:
            claimed, self._claimed = self._claimed, []
            self._store.hold_snapshot()
            for recall in claimed:
                watch, recall.claimed = recall.claimed, None
                try:
                    if not recall.over and self._is_watched(recall.pair):
                        self._refer(recall, watch, now)
                except Exception as error:      # the others have their turn
                    failed = error
                    self._late(recall, now)
            self._store.let_go()
        if failed is not None:
            raise failed
        return bool(self._touched)

    def rolled_back(self, int64_t now):
        """The writes since the last commit are lost: undo what was only promised, write again what has happened.

        May raise StoreError; then that is tried again a little later, and until then remembered here.
        """
        touched, self._touched = self._touched, {}
        talked, self._talked = self._talked, {}
        undo, self._armed = self._armed | {(<Recall>recall).pair for recall in self._claimed}, set()
        self._claimed.clear()
        self._lost.update((pair, watch) for pair, watch in touched.items() if pair not in undo)
        self._lost_talks.update(talked)
        for pair in undo:
            try:
                self._take_back(pair, now)
            except StoreUnreadable as error:
                tell_unreadable(error)
        if (self._lost or self._lost_talks) and not self._rewrite:
            self._write_again(now)

    cpdef _take_back(self, tuple pair, int64_t now):
        """Make a pair anew from the store: its watch was not armed, or its REFER not sent."""
        cdef StoredWatch watch = self._watch(pair)  # first: a pair that cannot be read stays known
        cdef Recall recall = self._recalls.pop(pair, None)
        if recall is not None:
            self._stop(recall)
            recall.over = True
            self._release(recall)
        if watch is None:
            self._untime(pair)
            return
        self._time(pair, watch.at.expires_at)
        if is_armed(watch):
            self._pause(pair[0], now + self._retry, RETRY, now)
        else:
            recall = self._adopt(watch, pair, now)
            if is_recalling(watch):
                self._wheel.schedule(now + self._retry, self, RESUME, recall)

    def counters(self):
        """Watches and recalls, counted since the start."""
        counts = {f"redial_{name}": count for name, count in self._counts.items()}
        counts["redial_watches"] = len(self._waiting.timers)
        counts["redial_recalling"] = len(self._recalls)
        return counts

    # ---- arm and cancel

    cpdef unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, int64_t now):
        """An INVITE found the callee unbound. Returns the reason phrase and header lines of its 480, None for a plain one.

        `allowed`: the caller is of a domain whose users may arm.
        """
        cdef int64_t period = expires_of(request), asked
        cdef Recall recall
        if period == 0:
            if self.cancel(caller, callee, now):
                return None, warning(callee, b"Automatic redial is off")
            return self._not_armed(caller, callee, "its Expires is 0: it asks for none")
        if not self._enabled:
            return self._not_armed(caller, callee, "redial is off (redial.enabled)")
        if not allowed:
            return self._not_armed(caller, callee, "its caller is of no domain served here (redial.callers)")
        if caller == callee:
            return self._not_armed(caller, callee, "its caller calls itself")
        pair = (callee, caller)
        recall = self._recalls.get(pair)
        if recall is not None:
            # The recalled call finds the callee gone again: the watch keeps its remaining life.
            recall.call_id = request.text(request.call_id)
            self._come_to_nothing(recall, "480 callee gone again", now)
            watch = self._watch(pair)
            return offer(watch, now) if watch is not None else None
        if period < self._min_period:
            asked, period = period, self._settings.default_period
            if period == 0:
                return self._not_armed(
                    caller, callee, ("it has no Expires" if asked < 0 else
                                     f"its Expires is {asked}, less than redial.min_period")
                    + ", and redial.default_period is 0")
        period = min(period, self._max_period)
        watch = self._arm(request, flow, pair, now + period * 1000, now)
        return offer(watch, now) if watch is not None else None

    cpdef _arm(self, Message request, Flow flow, tuple pair, int64_t expires_at, int64_t now):
        cdef bytes callee = <bytes>pair[0], caller = <bytes>pair[1], contact, instance, path = b""
        cdef unsigned char packed[MOST_PACKED]
        cdef StoredWatch before
        cdef WatchEntry entry
        cdef Entry device
        self._store.for_update()
        before = self._watch(pair)
        if before is None and not self._may_arm(caller, callee):
            full = self._store.count_by_caller(caller) >= self._per_caller
            return self._not_armed(caller, callee, "its caller has redial.per_caller watches" if full else
                                   "its callee has redial.per_callee watches")
        contact, instance = contact_of(request, flow)
        kept = self._device(caller, contact, instance, NEVER, &device, now)
        if kept is not None:
            path = bytes_of(device.path)
            instance = instance or bytes_of(device.instance)
        entry.callee = piece_in(callee)
        entry.caller = piece_in(caller)
        entry.armed_at = before.at.armed_at if before is not None else now
        entry.expires_at = expires_at
        entry.call_id = piece_of(request.p + request.call_id.start, request.call_id.end - request.call_id.start)
        entry.contact = piece_in(contact)
        entry.path = piece_in(path)
        entry.flow = piece_of(packed, flow.pack_into(packed))
        entry.instance = piece_in(instance)
        entry.mode = piece_in(not_logged_in)
        entry.state = piece_in(armed)
        entry.attempts = 0
        entry.last_result = entry.refer_call_id = entry.refer_tag = piece_in(b"")
        entry.recalled_at = entry.not_before = 0
        watch = written_watch(&entry)
        self._armed.add(pair)
        self._put(pair, watch, before is None)
        self._time(pair, expires_at)
        self._counts["armed" if before is None else "renewed"] += 1
        if self._events.wants(EVENT_ARMED):
            self._events.add("watch-armed", {"callee": callee, "caller": caller, "seconds": (expires_at - now) // 1000,
                                             "renewed": before is not None})
        return watch

    cdef _not_armed(self, bytes caller, bytes callee, str why):
        """Tell why a call that found nobody armed nothing. None."""
        if self._events.wants(NOT_ARMED):
            self._events.add("call-not-watched", {"callee": callee, "caller": caller, "why": why})

    cpdef bint cancel(self, bytes caller, bytes callee, int64_t now) except *:
        """The caller no longer wants to be recalled. Whether there was a watch."""
        if not self._remove((callee, caller), "cancelled by the caller"):
            return False
        self._counts["cancelled"] += 1
        self._call_off((callee, caller), now)
        return True

    cdef _call_off(self, tuple pair, int64_t now):
        """The watch of a recall is gone: its REFER leaves no more, and where the call has not begun it is the next one's turn."""
        cdef Recall recall = self._recalls.get(pair)
        if recall is None:
            return
        if recall.refer is not None:
            recall.refer.abandon()
            recall.refer = None
        if recall.call_id:
            return
        del self._recalls[pair]
        self._stop(recall)
        recall.over = True
        self._release(recall)
        self._recall(pair[0], now)

    # ---- what the engine saw

    cpdef callee_bound(self, bytes callee, int64_t now):
        """An AOR went from unbound to bound, and its 200 is on its way."""
        if self._waiting.count_of_callee(callee):
            self._bound(callee, now)

    cpdef _bound(self, bytes callee, int64_t now):
        cdef StoredWatch watch
        cdef WatchEntry entry
        cdef list watches
        cdef Py_ssize_t i
        self._store.for_update()
        watches = self._watches(callee)
        for i in range(len(watches)):
            watch = <StoredWatch>watches[i]
            if is_armed(watch) and watch.at.not_before > now:
                # A new registration is a new chance: the pause after a failed recall is over.
                entry = watch.at
                entry.not_before = 0
                watches[i] = self._changed(&entry, (callee, bytes_of(watch.at.caller)))
        if not watches:
            return
        self._credits[callee] = self._referrer.payer()
        if self._guard:
            self._pause(callee, now + self._guard, GUARD, now)
        elif not (self._serial and callee in self._taken) and self._location.is_bound(callee, now):
            self._claim_due(callee, watches, now)

    cdef int refreshed(self, bytes callee) except -1:
        if self._credits and callee in self._credits:
            self._credits[callee] = self._referrer.payer()
        return 0

    cdef Credit _credit(self, bytes callee):
        """What may still be sent to callers who have proven nothing: one REGISTER of a callee brings about many REFERs."""
        credit = self._credits.get(callee)
        if credit is None:                    # it came back before a restart
            credit = self._credits[callee] = make_credit(NOMINAL, 0)
        return credit

    cpdef call_started(self, bytes caller, bytes callee, Message request, int64_t now):
        """An INVITE from caller to callee is being proxied."""
        cdef Recall recall
        if not self._recalls:
            return
        pair = (callee, caller)
        recall = self._recalls.get(pair)
        if recall is None:
            return
        recall.call_id = request.text(request.call_id)
        self._stop(recall)
        self._store.for_update()
        watch = self._watch(pair)
        if watch is not None:
            self._calls(watch)

    cpdef _calls(self, StoredWatch watch):
        """Its caller is calling. Nothing where that is known."""
        cdef WatchEntry entry
        if is_recalling(watch):
            entry = watch.at
            entry.state = piece_in(calling)
            entry.last_result = piece_in(caller_calls)
            self._changed(&entry, (bytes_of(entry.callee), bytes_of(entry.caller)))

    cpdef bint is_recalling(self, bytes caller, bytes callee) except *:
        """Whether a recall of the pair is going on."""
        return (callee, caller) in self._recalls

    cpdef call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now):
        """An INVITE got a 2xx. With the ACK the two talk, whoever called."""
        cdef tuple pair = (callee, caller)
        if not self._waiting.timers and not self._recalls:
            return
        if self._is_known(pair) or self._is_known((caller, callee)):
            self._await_ack(pair, call_id, now)

    cpdef bint _is_known(self, tuple pair) except *:
        """Whether somebody waits for a call of the pair."""
        return pair in self._waiting.timers or pair in self._recalls

    cpdef _await_ack(self, tuple pair, bytes call_id, int64_t now):
        cdef Recall recall = self._recalls.get(pair)
        if recall is not None:
            recall.call_id = call_id
            self._stop(recall)
        self._answers.add(call_id, pair, now)

    cpdef call_acknowledged(self, Message ack, int64_t now):
        """An ACK for a 2xx passes: the two talk."""
        cdef bytes call_id
        cdef tuple pair
        if not self._answers.calls and (now >= self._settled_at or not (self._waiting.timers or self._recalls)):
            return
        call_id = ack.text(ack.call_id)
        pair = self._answered_pair(ack, call_id, now)
        if pair is not None:
            self._connected(pair, call_id, (ack.from_tag, ack.to_tag), now)

    cdef tuple _answered_pair(self, Message ack, bytes call_id, int64_t now):
        """The pair of a call that was answered, and whose ACK this is; it is waited for no longer. None for any other."""
        cdef tuple pair = self._answers.take(call_id)
        return pair if pair is not None else self._call_from_before(ack, True, now)

    cdef tuple _call_from_before(self, Message message, bint acknowledged, int64_t now):
        """The pair of a call from before a restart: of a recalled one, or, with its ACK, of any that somebody waits for."""
        cdef bytes caller, callee
        if not self._enabled or now >= self._settled_at:
            return None
        caller = canonical_aor(message.p, &message.sender.uri)
        callee = canonical_aor(message.p, &message.target.uri)
        if self.is_recalling(caller, callee) or acknowledged and (
                self._is_known((callee, caller)) or self._is_known((caller, callee))):
            return callee, caller
        return None

    cpdef _connected(self, tuple pair, bytes call_id, tuple tags, int64_t now):
        """The pair talk: nobody of them waits for the other any more. `tags`: of the dialog, the caller's first."""
        for each, its_tags in ((pair, tags), ((pair[1], pair[0]), (tags[1], tags[0]))):
            if self._is_known(each):
                self._answered(each, call_id, its_tags, now)

    cpdef _answered(self, tuple pair, bytes call_id, tuple tags, int64_t now):
        cdef Recall recall = self._recalls.pop(pair, None)
        if self._remove(pair, "answered", recall.answer if recall is not None else ""):
            self._counts["completed"] += 1
        if recall is None:
            return
        self._stop(recall)
        recall.over = True
        self._release(recall)
        if self._keeps_others_waiting(pair):
            self._talk(pair, call_id, tags, now)

    cpdef bint _keeps_others_waiting(self, tuple pair) except *:
        return self._serial and self._waiting.count_of_callee(pair[0]) and self._store.count_by_callee(pair[0]) > 0

    cpdef _talk(self, tuple pair, bytes call_id, tuple tags, int64_t now):
        """The next caller waits until this call has ended."""
        talk = Talk(pair[0], pair[1], call_id, now, *tags)
        self._keep_talk(talk.callee, talk)
        self._hold(talk, now)

    cpdef call_failed(self, bytes caller, bytes callee, bytes call_id, int status, int64_t now):
        """An INVITE got a final response other than 2xx."""
        cdef Recall recall = self._recalls.get((callee, caller))
        if recall is not None and recall.call_id == call_id:
            self._come_to_nothing(recall, f"call got {status}", now)

    cpdef call_hung_up(self, Message bye, int64_t now):
        """A BYE was answered, or never will be: its call is over."""
        cdef bytes call_id = bye.text(bye.call_id)
        cdef tuple pair
        if self._answers.calls or now < self._settled_at:
            pair = self._answers.take(call_id)
            if pair is None:
                pair = self._call_from_before(bye, False, now)  # as its caller hangs up: there has been a 2xx
                if pair is not None:
                    self._connected(pair, call_id, NO_TAGS, now)
            elif canonical_aor(bye.p, &bye.sender.uri) == pair[1]:
                self._connected(pair, call_id, NO_TAGS, now)  # who hangs up has its 2xx, and what is lost is the ACK
            else:
                self._unconfirmed(pair, call_id, now)  # RFC 3261 §15: the callee has waited for it in vain
        self.call_ended(call_id, now)

    cpdef _unconfirmed(self, tuple pair, bytes call_id, int64_t now):
        """No ACK came, so the caller never heard that it was answered: it has to be called again."""
        cdef Recall recall = self._recalls.get(pair)
        if recall is not None and recall.call_id == call_id:
            self._come_to_nothing(recall, "answered, but there was no ACK", now)

    cpdef call_ended(self, bytes call_id, int64_t now):
        """A call is over. If a recall brought it about, the callee's next watch is due."""
        callee = self._talks.pop(call_id, None)
        if callee is not None and self._taken.get(callee) == call_id:
            del self._taken[callee]
            try:
                self._keep_talk(callee, None)
            except StoreError:  # it is over all the same
                self._pause(callee, now + self._retry, RETRY, now)
                raise
            self._recall(callee, now)

    cpdef int notify(self, Message request, int64_t now) except -1:
        """A NOTIFY for the server itself: the status to answer with. It belongs to a REFER of ours or to nothing."""
        cdef bytes call_id = request.text(request.call_id), result
        cdef StoredWatch watch
        cdef Recall recall
        cdef WatchEntry entry
        pair = self._refers.get(call_id)
        if pair is None:
            return 481  # RFC 6665 §4.1.3
        fragment = fragment_of(request)
        if fragment is None:
            return 200
        status, text = fragment
        if not self._is_watched(pair):        # mostly: the last one comes when the two talk
            return 200
        self._store.for_update()
        watch = self._watch(pair)
        if watch is not None and same_piece(watch.at.refer_call_id, call_id):
            text = f"NOTIFY {text}"[:MOST_RESULT]
            result = text.encode()
            entry = watch.at
            entry.last_result = piece_in(result)
            watch = self._changed(&entry, pair)
            recall = self._recalls.get(pair)
            if recall is not None and is_recalling(watch) and status >= 300:
                self._come_to_nothing(recall, text, now)
        return 200

    # ---- the recall

    cpdef _recall(self, bytes callee, int64_t now):
        """Claim the callee's watches, oldest first: one of them (serial) or all."""
        if (self._serial and callee in self._taken) or not self._location.is_bound(callee, now):
            return
        try:
            self._store.for_update()
            watches = self._watches(callee)
        except StoreError:
            self._pause(callee, now + self._retry, RETRY, now)
            raise
        self._claim_due(callee, watches, now)

    cdef _claim_due(self, bytes callee, list watches, int64_t now):
        cdef StoredWatch watch
        cdef int64_t later = 0, due
        try:
            for watch in watches:
                pair = (callee, bytes_of(watch.at.caller))
                if not is_armed(watch) or watch.at.expires_at <= now or pair in self._recalls:
                    continue
                due = watch.at.not_before
                if pair in self._lost:  # not as it is stored: nothing that could be claimed
                    due = max(due, now + 2 * REWRITE_AFTER)
                if due <= now and self._is_held_back(watch, pair, now):
                    due = now + self._retry
                if due > now:
                    later = min(later, due) if later else due
                elif self._claim(watch, pair, now) and self._serial:
                    return
        except StoreError:
            self._pause(callee, now + self._retry, RETRY, now)
            raise
        if later:
            self._pause(callee, later, RETRY, now)

    cdef bint _is_held_back(self, StoredWatch watch, tuple pair, int64_t now) except *:
        """Whether its caller has proven nothing, and the callee's credit is spent. That is noted in the watch, once."""
        cdef Credit credit = self._credit(pair[0])
        cdef WatchEntry entry
        cdef Entry device
        cdef Flow flow
        cdef object _kept
        if credit.left or credit.unlimited:
            return False
        _kept = self._caller_at(watch, &device, now)
        flow = self._location.flow_by(device.contact, device.path, device.flow)
        if flow is None or self._referrer.may_refer(flow, credit, now):
            return False
        if not same_piece(watch.at.last_result, unproven):
            entry = watch.at
            entry.last_result = piece_in(unproven)
            self._changed(&entry, pair)
        return True

    cdef bint _claim(self, StoredWatch watch, tuple pair, int64_t now) except *:
        cdef bytes call_id = self._new_call_id(), tag = self._referrer.new_tag()
        cdef WatchEntry entry = watch.at
        cdef StoredWatch claimed
        cdef Recall recall
        entry.state = piece_in(recalling)
        entry.attempts += 1
        entry.refer_call_id = piece_in(call_id)
        entry.refer_tag = piece_in(tag)
        entry.recalled_at = now
        entry.last_result = piece_in(refer_sent)
        claimed = written_watch(&entry)
        if not self._store.claim(watch, claimed):
            return False
        self._wrote(pair, claimed)
        recall = self._adopt(claimed, pair, now)
        recall.claimed = claimed
        self._claimed.append(recall)
        self._counts["recalls"] += 1
        return True

    cpdef _adopt(self, StoredWatch watch, tuple pair, int64_t now):
        """Take a claimed watch into memory as a recall that is going on."""
        cdef bytes call_id = bytes_of(watch.at.refer_call_id)
        cdef Recall recall = Recall(self, pair, call_id)
        self._recalls[pair] = recall
        self._refers[call_id] = pair
        if self._serial:
            self._taken[pair[0]] = pair
        recall.waited = is_calling(watch)
        self._late(recall, now + (max(self._recall_timeout, SAID_AGAIN) if recall.waited else self._recall_timeout))
        return recall

    cdef object _caller_at(self, StoredWatch watch, Entry *device, int64_t now):
        """Where the caller's phone is: its device, else where the INVITE came from. The entry points into what is returned."""
        kept = self._device(bytes_of(watch.at.caller), bytes_of(watch.at.contact), bytes_of(watch.at.instance),
                            watch.at.armed_at, device, now)
        if kept is None:
            device.contact, device.path, device.flow = watch.at.contact, watch.at.path, watch.at.flow
        return kept

    cdef _refer(self, Recall recall, StoredWatch watch, int64_t now):
        """Send the REFER (RFC 3515 §2.4.1): out of any dialog, to the device that placed the call."""
        cdef Entry device
        cdef object _kept = self._caller_at(watch, &device, now)
        cdef Flow flow = self._location.flow_by(device.contact, device.path, device.flow)
        if flow is None:
            self._come_to_nothing(recall, "caller's address cannot be resolved", now)
            return
        self._late(recall, now + self._refer_timeout)
        recall.attempt = watch.at.attempts
        recall.refer = self._referrer.refer(watch, bytes_of(device.contact), bytes_of(device.path), flow, recall,
                                            self._credit(recall.pair[0]), now)
        if recall.refer is None:
            self._come_to_nothing(recall, UNPROVEN, now)

    cdef _recalled(self, Recall recall, str answer):
        """The caller's phone has answered the REFER, or has not."""
        recall.answer = answer
        if self._events.wants(EVENT_RECALL):
            self._events.add("recall", {"callee": recall.pair[0], "caller": recall.pair[1], "attempt": recall.attempt,
                                        "answer": answer})

    cdef refer_answered(self, Recall recall, int status, Message response, int64_t now):
        """The REFER got a final response; None: none came, and why is `status`, 408 or OUTCOME_UNREACHABLE."""
        if recall.over:
            return
        if response is not None:
            self._recalled(recall, answer_of(response))
        else:
            self._recalled(recall, "cannot be reached" if status == OUTCOME_UNREACHABLE else "none")
        if status == 482 or 200 <= status < 300:
            # 482: the phone has this very REFER already, from before a restart, and may have called in vain since.
            if not recall.call_id:
                self._late(recall, now + (max(self._recall_timeout, CALLED_AGAIN) if status == 482 else self._recall_timeout))
            if self._ends_on_refer and self._remove(recall.pair, "REFER accepted", recall.answer):
                self._counts["completed"] += 1
            return
        if recall.call_id:
            return
        if status == OUTCOME_UNREACHABLE:
            self._come_to_nothing(recall, "caller's phone cannot be reached", now)
            return
        answer = f"{status} no answer to REFER" if response is None else answer_of(response)
        self._come_to_nothing(recall, f"REFER got {answer}"[:MOST_RESULT], now)

    cpdef _come_to_nothing(self, Recall recall, str result, int64_t now):
        """The recall failed: back to armed with its remaining life, or to the end where the attempts are used up."""
        cdef StoredWatch watch
        cdef WatchEntry entry
        cdef bytes text
        self._stop(recall)
        recall.over = True
        self._recalls.pop(recall.pair, None)
        self._release(recall)
        if recall.refer is not None:
            # A phone that comes back later must not ring for an attempt that was given up.
            recall.refer.abandon()
            recall.refer = None
            self._recalled(recall, "none")
        self._counts["recall_failures"] += 1
        self._store.for_update()
        watch = self._readable(recall.pair)
        if watch is not None:
            if watch.at.attempts >= <int64_t>self._settings.attempts:
                self._remove(recall.pair, "attempts used up", recall.answer, result)
                self._counts["given_up"] += 1
                if self._events.wants(ENDED):
                    self._events.add("redial-given-up", {"callee": recall.pair[0], "caller": recall.pair[1],
                                                         "attempts": watch.at.attempts, "result": result})
            else:
                if self._events.wants(RECALL_FAILED):
                    self._events.add("recall-failed", {
                        "callee": recall.pair[0], "caller": recall.pair[1], "attempt": watch.at.attempts,
                        "of": self._settings.attempts, "result": result, "again_in": self._retry / 1000})
                if self._events.has_room(ATTEMPT):
                    self._store.put_attempt(recall.pair[0], recall.pair[1], watch.at.recalled_at,
                                            outcome(recall.answer, result))
                text = result.encode()
                entry = watch.at
                entry.state = piece_in(armed)
                entry.last_result = piece_in(text)
                entry.not_before = now + self._retry
                self._changed(&entry, recall.pair)
        self._recall(recall.pair[0], now)

    cdef object _device(self, bytes aor, bytes contact, bytes instance, int64_t since, Entry *device, int64_t now):
        """The caller's binding that is of this Contact or instance, read into `device`; what is returned keeps its pieces.

        Its only binding is that phone, too, under a new Contact, if it was made since `since` (ms). None where it has none.
        """
        cdef bytes record = self._location.only(aor, device, now)
        cdef list bindings
        if record is not None:
            return record if device.updated >= since or is_of(device, contact, instance) else None
        bindings = self._location.lookup(aor, now)
        found = None
        for binding in bindings:
            if found is None and binding.contact == contact:
                found = binding
            if instance and binding.instance == instance:
                found = binding
                break
        if found is None and len(bindings) == 1 and bindings[0].updated >= since:
            found = bindings[0]
        if found is not None:
            device.contact, device.path = piece_in(found.contact), piece_in(found.path)
            device.flow, device.instance = piece_in(found.flow), piece_in(found.instance)
        return found

    # ---- timers

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        cdef Recall recall
        if kind == RECALL:
            recall = <Recall>payload
            recall.timer = 0
            if not recall.over:
                self._come_to_nothing(recall, "no answer to REFER" if recall.refer is not None else "no call after REFER", now)
        elif kind == EXPIRE:
            self._expire(payload, now)
        elif kind == RESUME:
            self._resume(payload, now)
        elif kind == REWRITE:
            self._write_again(now)
        elif kind == NO_ACK:
            call = self._answers.take_due(now)
            if call is not None:
                self._unconfirmed(call[1], call[0], now)
        elif isinstance(payload, bytes):
            if kind == FORGET:
                self._refers.pop(payload, None)
            elif kind == TALK:
                self.call_ended(payload, now)
            elif kind == DOUBT:
                self._ask(payload, now)
            else:
                self._pauses.pop(payload, None)
                self._recall(payload, now)
        return 0

    cdef _expire(self, tuple pair, int64_t now):
        cdef StoredWatch watch
        try:
            watch = self._watch(pair)
        except StoreUnreadable:
            self._untime(pair)
            raise
        except StoreError:
            self._time(pair, now + REWRITE_AFTER)
            raise
        if watch is None:
            self._untime(pair)
        elif watch.at.expires_at > now:
            self._time(pair, watch.at.expires_at)
        else:
            self._remove(pair, "monitoring period over")
            self._counts["expired"] += 1

    cdef _resume(self, Recall recall, int64_t now):
        cdef StoredWatch watch = None if recall.over or recall.call_id else self._watch(recall.pair)
        if watch is None or not is_recalling(watch):
            return
        # As with a new claim: it leaves after the commit, if nothing in the batch has ended the watch.
        recall.claimed = watch
        self._claimed.append(recall)

    cpdef _late(self, Recall recall, int64_t when):
        self._stop(recall)
        recall.timer = self._wheel.schedule(when, self, RECALL, recall)

    cpdef _stop(self, Recall recall):
        if recall.timer:
            self._wheel.cancel(recall.timer)
            recall.timer = 0

    cpdef _pause(self, bytes callee, int64_t when, int kind, int64_t now):
        """Look at the callee's watches again at `when`."""
        handle = self._pauses.pop(callee, 0)
        if handle:
            self._wheel.cancel(handle)
        self._pauses[callee] = self._wheel.schedule(min(max(when, now), self._wheel.now + LONGEST), self, kind, callee)

    # ---- what is held in memory

    cpdef _untime(self, tuple pair):
        Watchlist._untime(self, pair)
        if self._credits and not self._waiting.count_of_callee(pair[0]):
            self._credits.pop(pair[0], None)

    cpdef bytes _new_call_id(self):
        """A Call-ID for a REFER."""
        return self._referrer.new_call_id()

    cpdef _release(self, Recall recall):
        """The recall no longer keeps its callee; its NOTIFYs stay known for a while."""
        if self._taken.get(recall.pair[0]) == recall.pair:
            del self._taken[recall.pair[0]]
        self._wheel.schedule(self._wheel.now + FORGET_AFTER, self, FORGET, recall.refer_call_id)

    cpdef _hold(self, talk, int64_t now):
        self._taken[talk.callee] = talk.call_id
        self._know(talk, now)

    cpdef _know(self, talk, int64_t now):
        self._talks[talk.call_id] = talk.callee
        # No talk has begun in the future, whatever a clock has said.
        when = max(min(<int64_t>talk.since, now) + min(self._max_talk, <int64_t>LONGEST), now)
        self._wheel.schedule(when, self, TALK, talk.call_id)

    # ---- talks of which the end may not have been seen

    cdef _doubt(self, bytes call_id, int64_t when):
        """Ask whether a talk goes on: its BYE may have passed while nobody served, or nothing could be written."""
        self._wheel.schedule(when, self, DOUBT, call_id)

    cdef _ask(self, bytes call_id, int64_t now):
        # The caller's phone, since the dialog is its own: an upstream may have made another one with the callee's.
        cdef Question question
        cdef list bindings
        callee = self._talks.get(call_id)
        talk = self._store.talk(callee) if callee is not None else None
        if talk is None or talk.call_id != call_id or not talk.caller_tag:
            return
        bindings = self._location.lookup(talk.caller, now)
        question = Question(self, call_id, len(bindings))
        for binding in bindings:
            flow = self._location.flow_of(binding)
            if flow is not None:
                self._referrer.ask(talk, binding.contact, binding.path, flow, question, now)
