"""The recalls that are going on: each climbs its ladder of methods until the caller's phone has placed the call.

A method is begun, and what comes of it decides (`methods/method.pxd`): a phone that cannot that way is asked by the next
method, each under names of its own, since a phone takes the same Call-ID, tag and CSeq for the same request. Each step is
written before it is done: a request leaves only after the claim that it stands for was committed (`begin_claimed`), so a crash
can repeat one but never lose one. The repeated one has the names of the first, so a phone that knows it answers 482 (RFC 3261
§8.2.2.2).
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..dialog.call_names cimport CallNames
from ..observe.events cimport (
    ATTEMPT, ENDED, RECALL as EVENT_RECALL, RECALL_FAILED, STEP_BEGUN, STEP_CLIMBED, STEP_FAILED, STEP_OUTCOME,
    STEP_SUSPENDED,
)
from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch, WatchEntry, bytes_of, piece_in, same_piece
from .._flow cimport Flow
from .._parser cimport Message
from .._wheel cimport LONGEST
from .bucket cimport Bucket
from .device cimport phone_of
from .ladder cimport Ladder, Rung, place_of
from .methods.method cimport ABSENT, BUSY, CANNOT, DECLINED, ELSEWHERE, TOLD, Attempt, Outcome, WantedCall
from .methods.progress cimport progress_in
from .pending cimport Pending
from .policy cimport OTHERS_ALWAYS, OTHERS_OF_THE_KNOWN, Policy
from .subscriptions cimport make_subscriptions
from .suspended cimport Suspended
from .watchlist cimport Watchlist, is_calling, is_claimed, is_recalling, outcome_text

from ..config import METHODS
from ..observe.counters import OUTCOMES as COUNTED_OUTCOMES
from ..store.records import ARMED, EARLY_REFER, RECALLING, SUSPENDED

cdef enum:
    # Timers
    OVERDUE = 1             # payload: Recall, whose answer or INVITE is late
    RESUME = 2              # payload: Recall, to be taken up again
    # What was lost with a server comes again: a 2xx twice, T2 apart (RFC 3261 §13.3.1.4), for one may be lost once more while all
    # phones speak to the new server (SAID_AGAIN); an INVITE 32*T1 after the last at most (§17.1.1.2).
    CALLED_AGAIN = 17_000   # ms
    # A pause is twice as long as the last, from LEAST_PAUSE or redial.retry_pause to MOST_PAUSE, and up to a quarter more, so
    # that those who began to wait together do not come back together.
    LEAST_PAUSE = 5_000     # ms
    MOST_PAUSE = 900_000

# In the order of Outcome.
cdef tuple OUTCOMES = ("cannot", "absent", "busy", "declined", "told", "cannot")
cdef str UNPROVEN = "caller's address has proven nothing"
cdef str NOT_THERE = "caller's phone is not registered"
cdef str OTHERS_ONLY = "the phone that called is not registered, and redial.other_devices lets no other be asked"
# As stored: pieces point into these.
cdef bytes armed = ARMED.encode(), recalling = RECALLING.encode(), suspended = SUSPENDED.encode()


cdef class Recall(AttemptObserver):
    """A recall that is going on, from its claim until the call is answered or has come to nothing."""

    cdef Rung rung(self):
        return <Rung>self.rungs[self.at]

    cdef int accepted(self, bint before, str answer, int64_t now) except -1:
        return self.recalls.accepted(self, before, answer, now)

    cdef int ended(self, Outcome outcome, str answer, str result, int64_t now) except -1:
        return self.recalls.attempt_ended(self, outcome, answer, result, now)

    cdef int early(self, bint obeyed, int64_t now) except -1:
        return self.recalls.note_early(self, obeyed, now)

    cdef int progress(self, int status, str text, int64_t now) except -1:
        return self.recalls.told_of_call(self.pair, self.refer_call_id, status, text, now)


cdef class Turns:
    """Who decides what comes after a recall."""

    cdef int next_turn(self, bytes callee, int64_t now) except -1:
        raise NotImplementedError


cdef class Recalls(Timed):
    """The recalls that are going on, of the callees that are this worker's own. All times are ms."""

    # ---- from the claim to the first request

    cdef int name_attempt(self, WatchEntry *entry, list kept, Rung rung) except -1:
        """`kept`: holds what the entry's new pieces point into."""
        cdef bytes call_id = self.names.new_call_id(), tag = self.names.new_tag()
        kept.append(call_id)
        kept.append(tag)
        entry.state = piece_in(recalling)
        entry.refer_call_id = piece_in(call_id)
        entry.refer_tag = piece_in(tag)
        entry.method = piece_in(rung.name)
        entry.last_result = piece_in(rung.method.sent)

    cdef Recall take_up(self, StoredWatch watch, tuple pair, int64_t now):
        cdef tuple rungs = self.ladder.rungs(watch, now)
        return self.add(watch, pair, rungs, max(place_of(watch, rungs), 0), now)    # a crash does not begin the ladder anew

    cdef Recall add(self, StoredWatch watch, tuple pair, tuple rungs, int at, int64_t now):
        cdef Recall recall = Recall.__new__(Recall)
        recall.recalls = self
        recall.pair = pair
        recall.rungs = rungs
        recall.at = at
        recall.refer_call_id = bytes_of(watch.at.refer_call_id)
        recall.call_id = b""
        recall.worker = -1
        recall.answer = ""
        recall.extended = recall.took_part = is_calling(watch)
        self.of[pair] = recall
        self.subscriptions.expect(recall.refer_call_id, pair)
        if self.policy.serial:
            self.engaged[pair[0]] = pair
        self.set_deadline(recall, now + (
            max(self.policy.recall_timeout, <int64_t>SAID_AGAIN) if recall.extended else self.policy.recall_timeout))
        return recall

    cdef int begin_soon(self, Recall recall, StoredWatch watch) except -1:
        recall.claimed = watch
        self.watchlist.pending.claim(recall)

    cdef int begin_claimed(self, Pending batch, int64_t now) except -1:
        cdef list claims = batch.claims
        cdef Recall recall
        cdef StoredWatch watch
        if not claims:
            return 0
        failed = None
        batch.claims = []
        self.store.hold_snapshot()
        for each, _unit in claims:
            recall = <Recall>each
            watch, recall.claimed = recall.claimed, None
            if watch is None:                 # it was claimed twice in one batch
                continue
            try:
                if not recall.over and self.watchlist.has(recall.pair):
                    self.begin(recall, watch, now)
            except Exception as error:        # the others have their turn
                failed = error
                self.set_deadline(recall, now)
        self.store.let_go()
        if failed is not None:
            raise failed

    cdef set claims_lost(self, Pending batch, object units):
        return {(<Recall>recall).pair for recall, unit in batch.claims if units is None or unit in units}

    cdef int drop_claims(self, Pending batch, set undone) except -1:
        batch.claims = [claim for claim in batch.claims if (<Recall>claim[0]).pair not in undone]

    cdef int begin(self, Recall recall, StoredWatch watch, int64_t now) except -1:
        """Have the device that placed the call asked to call again."""
        cdef Entry device
        cdef WantedCall wanted
        cdef int64_t wait
        cdef Rung rung = recall.rung()
        cdef Attempt before = recall.attempt
        cdef object _kept = phone_of(self.location, watch, self.may_ask_others(watch), recall.tried, &device, now)
        cdef Flow flow
        if not device.contact.size:
            others = not self.may_ask_others(watch) and self.location.is_bound(recall.pair[1], now)
            return self.come_to_nothing(recall, OTHERS_ONLY if others else NOT_THERE, SUSPEND, now)
        flow = self.location.flow_by(device.contact, device.path, device.flow)
        if flow is None:
            return self.fail(recall, "caller's address cannot be resolved", now)
        if not recall.admitted:
            recall.admitted = True
            wait = self.bucket.take(flow, now)
            if wait:                          # there are many of them
                self.set_deadline(recall, now + wait + self.policy.recall_timeout)
                return self.resume_at(recall, now + wait)
        recall.contact = bytes_of(device.contact)
        self.set_deadline(recall, now + (rung.method.patience or self.policy.refer_timeout))
        recall.same = same_piece(watch.at.contact, recall.contact) or (
            watch.at.instance.size > 0 and same_piece(watch.at.instance, bytes_of(device.instance))) or (
            watch.at.registration.size > 0 and same_piece(watch.at.registration, bytes_of(device.call_id)))
        recall.number = watch.at.attempts
        if before is not None and before.took_part:
            recall.took_part = True
        wanted.callee, wanted.caller = watch.at.callee, watch.at.caller
        wanted.call_id, wanted.tag = watch.at.refer_call_id, watch.at.refer_tag
        wanted.agent = watch.at.agent
        wanted.port = watch.at.port
        wanted.number = watch.at.attempts
        recall.attempt = rung.method.begin(
            &wanted, recall.contact, bytes_of(device.path), flow, self.watchlist.credit_of(recall.pair[0]), rung.how,
            before, recall, now)
        if before is not None and not before.taken_over:
            before.give_up(now)
        if recall.attempt is None:
            self.fail(recall, UNPROVEN, now)
        else:
            recall.waits = True
            recall.watch = watch
            self.count(recall, "begun")
            self.events.step(STEP_BEGUN, watch, rung.method.name)
            if self.events.knocking and rung.method.name == "message":
                self.events.knock(watch)

    cdef bint may_ask_others(self, StoredWatch watch) noexcept:
        return self.policy.other_devices == OTHERS_ALWAYS or (
            self.policy.other_devices == OTHERS_OF_THE_KNOWN and watch.at.identity.size > 0)

    cdef int resume_at(self, Recall recall, int64_t when) except -1:
        self.wheel.schedule(when, self, RESUME, recall)

    cdef int resume(self, Recall recall, int64_t now) except -1:
        cdef StoredWatch watch = None if recall.over or recall.call_id else self.watchlist.find(recall.pair)
        if watch is not None and is_recalling(watch):
            self.begin_soon(recall, watch)

    # ---- what comes of an attempt

    cdef int accepted(self, Recall recall, bint before, str answer, int64_t now) except -1:
        """The phone says that it will call."""
        if recall.over:
            return 0
        recall.waits = False
        recall.took_part = True
        self.tell_answer(recall, answer, "accepted")
        if not recall.call_id:
            self.set_deadline(recall, now + (max(self.policy.recall_timeout, <int64_t>CALLED_AGAIN) if before
                                             else self.policy.recall_timeout))
        if self.policy.ends_on_refer and self.watchlist.remove(
                recall.pair, f"{recall.rung().method.title} accepted", recall.answer):
            self.counts["completed"] += 1

    cdef int attempt_ended(self, Recall recall, Outcome outcome, str answer, str result, int64_t now) except -1:
        """The phone will not call."""
        cdef bint waits = recall.waits
        if recall.over:
            return 0
        recall.waits = False
        if recall.call_id:                    # it has, whatever it says to what it was asked by
            return self.tell_answer(recall, "called", "accepted") if waits else 0
        self.tell_answer(recall, answer, <str>OUTCOMES[<int>outcome])
        if outcome == CANNOT:
            if answer == "none":
                self.note_silence(recall)
            else:
                self.note(recall, recall.rung().method.name, False, now)
            self.climb(recall, result, now)
        elif outcome == ELSEWHERE:
            self.climb(recall, result, now)
        elif outcome == ABSENT:
            self.ask_another(recall, result, now)
        elif outcome == TOLD:
            self.told(recall, now)
        else:
            self.come_to_nothing(recall, result, SUSPEND if outcome == BUSY else NO if outcome == DECLINED else COUNTED, now)

    cdef int told(self, Recall recall, int64_t now) except -1:
        """Its user knows, and that is all that can be done."""
        self.of.pop(recall.pair, None)
        self.complete(recall, now)
        if self.watchlist.remove(recall.pair, "told", recall.answer):
            self.counts["completed"] += 1
        self.turns.next_turn(recall.pair[0], now)

    cdef int climb(self, Recall recall, str result, int64_t now) except -1:
        if recall.at + 1 >= <int>len(recall.rungs):
            return self.fail(recall, result, now)
        return self.try_next(recall, recall.at + 1, result, now)

    cdef int ask_another(self, Recall recall, str result, int64_t now) except -1:
        """The device is not there: the caller's next one, where that may be asked."""
        cdef StoredWatch watch = self.watchlist.find_readable(recall.pair)
        cdef Entry device
        cdef object _kept
        if watch is not None and self.may_ask_others(watch):
            recall.tried = recall.tried or set()
            recall.tried.add(recall.contact)
            _kept = phone_of(self.location, watch, True, recall.tried, &device, now)
            if device.contact.size:
                self.leave_attempt(recall, now)
                return self.try_next(recall, 0, result, now)
        return self.come_to_nothing(recall, result, SUSPEND, now)

    cdef int try_next(self, Recall recall, int at, str result, int64_t now) except -1:
        """By the method at this rung, once that is written."""
        cdef Rung rung = <Rung>recall.rungs[at]
        cdef StoredWatch watch
        cdef WatchEntry entry
        cdef list kept = []
        self.set_deadline(recall, now + self.policy.recall_timeout)     # first: it is tried again, whatever the store does
        if recall.waits:                      # it has not said a word
            recall.waits = False
            self.tell_answer(recall, "none", "silent")
        self.store.for_update()
        watch = self.watchlist.find_readable(recall.pair)
        if watch is None:
            return self.fail(recall, result, now)
        self.keep_outcome(watch, recall, result)
        self.events.step(STEP_CLIMBED, watch, rung.method.name, None, result)
        entry = watch.at
        self.name_attempt(&entry, kept, rung)
        entry.recalled_at = now
        watch = self.watchlist.change(&entry, recall.pair)
        if recall.attempt is not None:
            recall.attempt.observer = None    # what is heard of it from now on is not of the next
        recall.at = at
        recall.answer = ""
        self.subscriptions.finished(recall.refer_call_id)
        recall.refer_call_id = bytes_of(watch.at.refer_call_id)
        self.subscriptions.expect(recall.refer_call_id, recall.pair)
        return self.begin_soon(recall, watch)

    cdef int told_of_call(self, tuple pair, bytes call_id, int status, str text, int64_t now) except -1:
        cdef StoredWatch watch
        cdef WatchEntry entry
        cdef Recall recall
        cdef bytes result
        self.store.for_update()
        watch = self.watchlist.find(pair)
        if watch is None or not is_claimed(watch) or not same_piece(watch.at.refer_call_id, call_id):
            return 0                          # a recall that is over: what came of it is known better
        result = text.encode()
        entry = watch.at
        entry.last_result = piece_in(result)
        watch = self.watchlist.change(&entry, pair)
        recall = self.of.get(pair)
        if recall is None:
            return 0
        recall.took_part = True               # RFC 3515 §2.4.4: of a REFER that it has accepted, whether its 2xx has come or not
        if is_recalling(watch) and not recall.call_id and status >= 300:
            self.placed_no_call(recall, status, text, now)

    cdef int placed_no_call(self, Recall recall, int status, str text, int64_t now) except -1:
        """Its NOTIFY is the last, and no INVITE has come: it cannot that way, or its user was asked and has said no."""
        if recall.waits:                      # for an answer to the REFER that was lost, or comes later
            recall.waits = False
            self.tell_answer(recall, text, "cannot")
        if status == 603:
            return self.come_to_nothing(recall, text, NO, now)
        self.note_silence(recall)
        self.climb(recall, text, now)

    cdef int notified(self, Message request, int64_t now) except -1:
        cdef bytes call_id = request.text(request.call_id)
        cdef tuple pair = self.subscriptions.pair_of(call_id)
        if pair is None:
            return 481                        # RFC 6665 §4.1.3
        progress = progress_in(request)
        if progress is not None and self.watchlist.has(pair):       # mostly not: the last one comes when the two talk
            self.told_of_call(pair, call_id, progress[0], progress[1], now)
        return 200

    # ---- the call, and the end

    cdef int called(self, Recall recall, bytes call_id, int worker, int64_t now) except -1:
        cdef bint first = not recall.call_id
        recall.call_id = call_id
        recall.worker = worker
        recall.took_part = True
        # Its end is told, unless that is lost: then nobody behind it waits for ever.
        self.set_deadline(recall, now + min(self.policy.max_talk, <int64_t>LONGEST))
        if recall.attempt is not None:
            recall.attempt.called(call_id, now)
            if first:
                self.note_call(recall, now)

    cdef int note_silence(self, Recall recall) except -1:
        """The phone may only have been out of reach: it is remembered once the call has come by a later method."""
        if recall.silent is None:
            recall.silent = []
        recall.silent.append(recall.rung().method.name)

    cdef int note_call(self, Recall recall, int64_t now) except -1:
        if recall.at or recall.watch.at.agent.size:     # else: what is tried first with a phone that tells nothing of itself
            self.note(recall, recall.rung().method.name, True, now)
        if recall.silent is not None:
            for name in recall.silent:
                self.note(recall, name, False, now)
            recall.silent = None

    cdef int note_early(self, Recall recall, bint obeyed, int64_t now) except -1:
        if not recall.over and (not obeyed or recall.watch.at.agent.size):     # as in note_call: it is what is tried first
            self.note(recall, EARLY_REFER, obeyed, now)

    cdef int note(self, Recall recall, str method, bint worked, int64_t now) except -1:
        """Of another device it is not known what make that is, nor whether it is asked again."""
        if recall.same:
            self.ladder.note(recall.watch, method, worked, now)

    cdef int call_ended(self, Recall recall, int status, int64_t rang, int64_t now) except -1:
        cdef str result = f"call got {status}"
        cdef bint unanswered = rang >= 0 and rang >= self.policy.no_reply_after
        if status == 401 or status == 407:    # its phone calls again, with a password (RFC 3261 §22.2)
            recall.call_id = b""
            return self.set_deadline(recall, now + self.policy.recall_timeout)
        if status == 603 or status == 604 or status == 606:
            return self.come_to_nothing(recall, f"{result}: declined", OVER, now)
        if status == 487 and not unanswered:
            return self.come_to_nothing(recall, f"{result}: the caller hung up", OVER, now)
        if status == 487 or unanswered and (status == 408 or status == 480):
            return self.come_to_nothing(recall, f"{result}: rang and was not answered", NEXT_LOGIN, now)
        if status == 600 or status == 486 or status == 480 or status == 408 or 500 <= status < 600:
            return self.come_to_nothing(recall, result, PAUSED, now)
        return self.fail(recall, result, now)

    cdef int complete(self, Recall recall, int64_t now) except -1:
        cdef Attempt attempt = recall.attempt
        self.end(recall, now)                 # first: it is over whatever the phone says
        if attempt is not None:
            recall.attempt = None
            attempt.settled(now)

    cdef int fail(self, Recall recall, str result, int64_t now) except -1:
        return self.come_to_nothing(recall, result, COUNTED, now)

    cdef int come_to_nothing(self, Recall recall, str result, Consequence consequence, int64_t now) except -1:
        """The recall came to nothing: what that means for its watch, and whose turn it is now."""
        cdef StoredWatch watch
        self.of.pop(recall.pair, None)
        self.end(recall, now)
        self.leave_attempt(recall, now)
        self.counts["recall_failures"] += 1
        self.store.for_update()
        watch = self.watchlist.find_readable(recall.pair)
        if consequence == NO:
            consequence = OVER if self.policy.declined_ends else NEXT_LOGIN
        elif consequence == COUNTED and not recall.took_part:
            consequence = PAUSED              # nothing that its caller has had a chance to use
        if watch is None:
            pass
        elif consequence == OVER:
            self.give_up(watch, recall, result, result)
        elif (consequence == COUNTED or consequence == NEXT_LOGIN) and watch.at.attempts >= self.policy.attempts:
            self.give_up(watch, recall, "attempts used up", result)
        else:
            self.put_back(watch, recall, result, consequence, now)
        self.turns.next_turn(recall.pair[0], now)

    cdef int leave_attempt(self, Recall recall, int64_t now) except -1:
        """A phone that comes back later must not ring for an attempt that was given up."""
        cdef Attempt attempt = recall.attempt
        if attempt is None:
            return 0
        recall.attempt = None
        if attempt.took_part:
            recall.took_part = True
        attempt.give_up(now)
        if recall.waits:
            recall.waits = False
            self.tell_answer(recall, "none", "silent")

    cdef int give_up(self, StoredWatch watch, Recall recall, str reason, str result) except -1:
        self.watchlist.remove(recall.pair, reason, recall.answer, result)
        self.counts["given_up"] += 1
        if self.events.wants(ENDED):
            self.events.add("redial-given-up", {"callee": recall.pair[0], "caller": recall.pair[1],
                                                "attempts": watch.at.attempts, "result": result})

    cdef int put_back(self, StoredWatch watch, Recall recall, str result, Consequence consequence, int64_t now) except -1:
        cdef WatchEntry entry = watch.at
        cdef bytes text = result.encode()
        cdef int64_t pause = self.policy.retry_pause
        self.keep_outcome(watch, recall, result)
        entry.state = piece_in(armed)
        if consequence == SUSPEND or consequence == PAUSED:
            entry.attempts = max(0, entry.attempts - 1)
            pause = self.pause_after(entry.pauses, recall.refer_call_id)
            entry.pauses += 1
            if consequence == SUSPEND:
                entry.state = piece_in(suspended)
        elif consequence == NEXT_LOGIN:
            pause = max(entry.expires_at - now, 0)
            entry.pauses = 0                  # or a login would end it no more, after some pauses
        if self.events.wants(RECALL_FAILED):
            self.events.add("recall-failed", {
                "callee": recall.pair[0], "caller": recall.pair[1], "attempt": watch.at.attempts,
                "of": self.policy.attempts, "result": result, "again_in": pause / 1000.0})
        entry.last_result = piece_in(text)
        entry.not_before = now + pause
        watch = self.watchlist.change(&entry, recall.pair)
        self.events.step(STEP_SUSPENDED if consequence == SUSPEND else STEP_FAILED, watch, recall.rung().method.name,
                         recall.answer, result)
        if consequence == SUSPEND:
            self.suspended.add(recall.pair)

    cdef int64_t pause_after(self, int64_t pauses, bytes call_id) except -1:
        """ms. `call_id`: of the attempt that came to nothing, from whose random digits the jitter is."""
        cdef int64_t pause = max(self.policy.retry_pause, <int64_t>LEAST_PAUSE) << min(pauses, <int64_t>10)
        pause = min(pause, max(<int64_t>MOST_PAUSE, self.policy.retry_pause))
        return pause + pause // 4 * int(call_id[PyBytes_GET_SIZE(call_id) - 4:], 16) // 0x10000

    cdef int tell_answer(self, Recall recall, str answer, str outcome) except -1:
        recall.answer = answer
        self.count(recall, outcome)
        self.events.step(STEP_OUTCOME, recall.watch, recall.rung().method.name, answer, outcome)
        if self.events.wants(EVENT_RECALL):
            self.events.add("recall", {"callee": recall.pair[0], "caller": recall.pair[1], "attempt": recall.number,
                                       "method": recall.rung().method.name, "answer": answer})

    cdef int count(self, Recall recall, str outcome) except -1:
        self.count_of(recall.rung().method.name, outcome)

    cdef int count_of(self, str method, str outcome) except -1:
        cdef dict of = self.outcomes.get(method)
        if of is None:
            of = self.outcomes[method] = dict.fromkeys(COUNTED_OUTCOMES, 0)
        of[outcome] = <long>of[outcome] + 1

    cdef int keep_outcome(self, StoredWatch watch, Recall recall, str result) except -1:
        if self.events.has_room(ATTEMPT):
            self.store.put_attempt(recall.pair[0], recall.pair[1], watch.at.recalled_at, outcome_text(recall.answer, result))

    cdef int call_off(self, tuple pair, int64_t now) except -1:
        cdef Recall recall = self.of.get(pair)
        if recall is None:
            return 0
        if recall.call_id and not recall.waits:
            return 0                          # it goes on as any other
        recall.waits = False
        self.leave_attempt(recall, now)
        if recall.call_id:
            return 0
        del self.of[pair]
        self.end(recall, now)
        self.turns.next_turn(pair[0], now)

    cdef Recall pop(self, tuple pair):
        return self.of.pop(pair, None)

    cdef int end(self, Recall recall, int64_t now) except -1:
        self.stop_deadline(recall)
        recall.over = True
        if self.engaged.get(recall.pair[0]) == recall.pair:
            del self.engaged[recall.pair[0]]
        self.subscriptions.finished(recall.refer_call_id)

    cdef int worker_restarted(self, int worker, set answered, int64_t now) except -1:
        cdef Recall recall
        for recall in self.of.values():
            if recall.worker == worker and (recall.pair, recall.call_id) not in answered:
                recall.extended = True
                self.set_deadline(recall, now + max(self.policy.recall_timeout, <int64_t>SAID_AGAIN))

    # ---- timers

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        if kind == OVERDUE:
            self.overdue(payload, now)
        else:
            self.resume(payload, now)
        return 0

    cdef int overdue(self, Recall recall, int64_t now) except -1:
        cdef str title = recall.rung().method.title
        recall.timer = 0
        if recall.over:
            return 0
        self.set_deadline(recall, now + LEAST_PAUSE)    # first: it is looked at again, whatever the store does
        if self.started_elsewhere(recall, now):
            return 0
        if recall.call_id:
            self.fail(recall, "how the call ended was not seen", now)
        elif recall.extended:
            self.fail(recall, f"no call after {title}", now)
        else:
            self.note_silence(recall)
            self.climb(recall, f"no answer to {title}" if recall.waits else f"no call after {title}", now)

    cdef bint started_elsewhere(self, Recall recall, int64_t now) except -1:
        """Whether the call may have started in another worker, whose notice is on its way: then it has that long again."""
        cdef StoredWatch watch
        if self.ownership.alone or recall.extended:
            return False
        self.store.for_update()
        watch = self.watchlist.find_readable(recall.pair)
        if watch is None or not is_calling(watch):
            return False
        recall.extended = recall.took_part = True
        self.set_deadline(recall, now + self.policy.recall_timeout)
        return True

    cdef int set_deadline(self, Recall recall, int64_t when) except -1:
        self.stop_deadline(recall)
        recall.timer = self.wheel.schedule(when, self, OVERDUE, recall)

    cdef int stop_deadline(self, Recall recall) except -1:
        if recall.timer:
            self.wheel.cancel(recall.timer)
            recall.timer = 0


cdef Recalls make_recalls(Policy policy, Watchlist watchlist, Location location, Suspended suspended, Ladder ladder,
                          CallNames names, Bucket bucket):
    cdef Recalls recalls = Recalls.__new__(Recalls)
    recalls.policy = policy
    recalls.watchlist = watchlist
    recalls.store = watchlist.store
    recalls.ownership = watchlist.ownership
    recalls.wheel = watchlist.wheel
    recalls.events = watchlist.events
    recalls.counts = watchlist.counts
    recalls.location = location
    recalls.suspended = suspended
    recalls.ladder = ladder
    recalls.names = names
    recalls.bucket = bucket
    recalls.subscriptions = make_subscriptions(watchlist.wheel)
    recalls.of = {}
    recalls.engaged = {}
    recalls.outcomes = {name: dict.fromkeys(COUNTED_OUTCOMES, 0) for name in METHODS}
    return recalls
