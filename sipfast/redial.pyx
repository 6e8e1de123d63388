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
                                      the call got a final response other than 2xx  |
                                                                                    | 2xx: the watch is removed
      removed as well: period over, Expires: 0, attempts used up, the two talk in any other way

The store holds the truth. In memory there are only timers, the recalls that are going on, and which callee is taken;
all of it is made anew from the store at a start, and for the pairs that a failed commit touched. A REFER leaves only
after the claim that it stands for was committed (`committed`), so a crash can repeat a REFER but never lose one; the
repeated one has the Call-ID, tag and CSeq of the first, so a phone that knows it answers 482 (RFC 3261 §8.2.2.2).
"""

import logging
import secrets

import cython
import msgspec

from libc.stdint cimport int64_t, uint64_t

from ._flow cimport Flow
from ._parser cimport Message
from ._transaction cimport ClientTransaction, Handler
from ._wheel cimport Timed, Wheel
from .location cimport Location

from ._parser import aor, parse_address
from .errors import ParseError, StoreError
from .records import ARMED, CALLING, RECALLING, Binding, Talk, Watch

log = logging.getLogger("sipfast.redial")

# Timer kinds
EXPIRE = 1  # payload: pair
GUARD = 2  # payload: callee
RETRY = 3  # payload: callee
RECALL = 4  # payload: Recall, the REFER or the INVITE is late
TALK = 5  # payload: Call-ID of the talk
FORGET = 6  # payload: Call-ID of a REFER
RESUME = 7  # payload: pair
REWRITE = 8  # no payload

FORGET_AFTER = 300_000  # ms that NOTIFYs of a finished recall are still known
REWRITE_AFTER = 1_000  # ms from a failed commit until what it lost is written again
RESUME_EVERY = 1  # ms between the recalls taken up again at a start: a thousand a second

cdef object replace = msgspec.structs.replace


cdef class Recall(Handler):
    """A recall that is going on, from its claim until the call is answered or has come to nothing."""

    def __init__(self, Redial redial, watch):
        self.redial = redial
        self.pair = (watch.callee, watch.caller)
        self.refer_call_id = watch.refer_call_id
        self.call_id = b""
        self.worker = -1

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        """A response to the REFER."""
        if response.status >= 200:
            transaction.handler = None
            self.refer = None
            self.redial.refer_answered(self, response.status, (<object>response).reason, now)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        """The REFER was never answered, or could not be sent."""
        transaction.handler = None
        self.refer = None
        self.redial.refer_answered(self, status, "no answer to REFER", now)
        return 0


cdef class Redial(Timed):
    """Arms, claims, expires and cancels watches, and recalls callers. Driven by the engine; all times are ms."""

    def __init__(self, settings, store, Wheel wheel, Location location, originator):
        self._settings = settings
        self._store = store
        self._wheel = wheel
        self._location = location
        self._originator = originator
        self._serial = settings.order == "serial"
        self._guard = round(settings.guard * 1000)
        self._retry = round(settings.retry_pause * 1000)
        self._refer_timeout = round(settings.refer_timeout * 1000)
        self._recall_timeout = round(settings.recall_timeout * 1000)
        self._expiries = {}
        self._recalls = {}
        self._taken = {}
        self._refers = {}
        self._talks = {}
        self._pauses = {}
        self._claimed = []
        self._touched = {}
        self._talked = {}
        self._lost = {}
        self._lost_talks = {}
        self._armed = set()
        self._counts = dict.fromkeys(
            ("armed", "renewed", "cancelled", "expired", "recalls", "recall_failures", "completed", "given_up"), 0
        )

    # ---- start, commit, failure

    def start(self, int64_t now):
        """Take up what the store holds: run timers on, drop what ran out, resume recalls that were in flight."""
        if not self._settings.enabled:
            return
        waiting = {}
        resume = 0
        gone = []
        for talk in self._store.each_talk():
            self._hold(talk, now)
        for watch in self._store.each_watch():
            if not self._owns(watch.callee):
                continue
            if watch.expires_at <= now:
                gone.append(watch)
                continue
            pair = (watch.callee, watch.caller)
            self._time(watch)
            if watch.state == ARMED:
                waiting[watch.callee] = min(watch.not_before, waiting.get(watch.callee, watch.not_before))
            else:
                self._adopt(watch, now)
                if watch.state == RECALLING:
                    resume += 1
                    self._wheel.schedule(now + resume * RESUME_EVERY, self, RESUME, pair)
        for watch in gone:
            self._store.delete_watch(watch.callee, watch.caller)
            self._counts["expired"] += 1
        for callee, not_before in waiting.items():
            # Bound already: its registration was committed, and the recall that should have followed was not.
            if self._location.live(callee, now):
                self._pause(callee, max(not_before, now + self._guard), GUARD, now)

    cpdef bint committed(self, int64_t now) except *:
        """The store has committed: the REFERs of the claims in it may leave. True: there is more to commit."""
        self._touched.clear()
        self._talked.clear()
        self._armed.clear()
        if self._rewrite and not self._lost and not self._lost_talks:
            self._wheel.cancel(self._rewrite)
            self._rewrite = 0
        if self._claimed:
            claimed, self._claimed = self._claimed, []
            for recall in claimed:
                watch = self._watch(*recall.pair)
                if watch is not None and not recall.over:
                    self._refer(recall, watch, now)
        return bool(self._touched)

    def rolled_back(self, int64_t now):
        """The writes since the last commit are lost: undo what was only promised, write again what has happened.

        May raise StoreError; then that is tried again a little later, and until then remembered here.
        """
        touched, self._touched = self._touched, {}
        talked, self._talked = self._talked, {}
        undo, self._armed = self._armed | {recall.pair for recall in self._claimed}, set()
        self._claimed.clear()
        self._lost.update((pair, watch) for pair, watch in touched.items() if pair not in undo)
        self._lost_talks.update(talked)
        for pair in undo:
            self._take_back(pair, now)
        if (self._lost or self._lost_talks) and not self._rewrite:
            self._write_again(now)

    cpdef _write_again(self, int64_t now):
        """Write what has happened, and was lost with a batch."""
        # Tried again later, unless all of it is committed before: the store may fail for long.
        self._rewrite = self._wheel.schedule(now + REWRITE_AFTER, self, REWRITE)
        for pair, watch in list(self._lost.items()):
            if watch is not None:
                self._put(watch)
            else:
                self._remove(pair, "ended before the store failed")
        for callee, talk in list(self._lost_talks.items()):
            self._keep_talk(callee, talk)

    cpdef _take_back(self, tuple pair, int64_t now):
        """Make a pair anew from the store: its watch was not armed, or its REFER not sent."""
        self._untime(pair)
        recall = self._recalls.pop(pair, None)
        if recall is not None:
            self._stop(recall)
            recall.over = True
            self._release(recall)
        watch = self._watch(*pair)
        if watch is None:
            return
        self._time(watch)
        if watch.state == ARMED:
            self._pause(pair[0], now + self._retry, RETRY, now)
        else:
            self._adopt(watch, now)

    def counters(self):
        """Watches and recalls, counted since the start."""
        counts = {f"redial_{name}": count for name, count in self._counts.items()}
        counts["redial_watches"] = len(self._expiries)
        counts["redial_recalling"] = len(self._recalls)
        return counts

    # ---- arm and cancel

    cpdef unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, int64_t now):
        """An INVITE found the callee unbound. Returns the reason phrase and header lines of its 480, None for a plain one.

        `allowed`: the caller is of a domain whose users may arm.
        """
        period = expires_of(request)
        if period == 0:
            return (None, _warning(callee, b"Automatic redial is off")) if self.cancel(caller, callee, now) else None
        if not self._settings.enabled or not allowed or caller == callee:
            return None
        pair = (callee, caller)
        recall = self._recalls.get(pair)
        if recall is not None:
            # The recalled call finds the callee gone again: the watch keeps its remaining life.
            recall.call_id = request.text(request.call_id)
            self._come_to_nothing(recall, "480 callee gone again", now)
            watch = self._watch(callee, caller)
            return offer(watch, now) if watch is not None else None
        if period is None or period < self._settings.min_period:
            period = self._settings.default_period
            if period == 0:
                return None
        period = min(period, self._settings.max_period)
        watch = self._arm(request, flow, pair, now + period * 1000, now)
        return offer(watch, now) if watch is not None else None

    cpdef _arm(self, Message request, Flow flow, tuple pair, int64_t expires_at, int64_t now):
        callee, caller = pair
        self._store.for_update()
        before = self._watch(callee, caller)
        if before is None and (
            self._store.count_by_caller(caller) >= self._settings.per_caller
            or self._store.count_by_callee(callee) >= self._settings.per_callee
        ):
            return None
        contact, instance = _contact(request, flow)
        ours = self._binding_of(caller, contact, instance, now)
        watch = Watch(
            callee=callee,
            caller=caller,
            armed_at=before.armed_at if before is not None else now,
            expires_at=expires_at,
            call_id=request.text(request.call_id),
            contact=contact,
            path=ours.path if ours is not None else b"",
            flow=flow.pack(),
            instance=instance or (ours.instance if ours is not None else b""),
        )
        self._armed.add(pair)
        self._put(watch)
        self._time(watch)
        self._counts["armed" if before is None else "renewed"] += 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("watch-armed", extra={"sip": {"callee": callee, "caller": caller, "expires_at": expires_at}})
        return watch

    cpdef bint cancel(self, bytes caller, bytes callee, int64_t now) except *:
        """The caller no longer wants to be recalled. Whether there was a watch."""
        if not self._remove((callee, caller), "cancelled by the caller"):
            return False
        self._counts["cancelled"] += 1
        return True

    # ---- what the engine saw

    cpdef callee_bound(self, bytes callee, int64_t now):
        """An AOR went from unbound to bound, and its 200 is on its way."""
        if self._expiries:
            self._bound(callee, now)

    cpdef _bound(self, bytes callee, int64_t now):
        watches = self._watches(callee)
        if not watches:
            return
        for watch in watches:
            if watch.state == ARMED and watch.not_before > now:
                # A new registration is a new chance: the pause after a failed recall is over.
                self._put(replace(watch, not_before=0))
        if self._guard:
            self._pause(callee, now + self._guard, GUARD, now)
        else:
            self._recall(callee, now)

    cpdef call_started(self, bytes caller, bytes callee, bytes call_id, int64_t now):
        """An INVITE from caller to callee is being proxied."""
        if not self._recalls:
            return
        recall = self._recalls.get((callee, caller))
        if recall is None:
            return
        recall.call_id = call_id
        self._stop(recall)
        self._store.for_update()
        watch = self._watch(callee, caller)
        if watch is not None and watch.state == RECALLING:
            self._put(replace(watch, state=CALLING, last_result="caller is calling"))

    cpdef bint is_recalling(self, bytes caller, bytes callee) except *:
        """Whether a recall of the pair is going on."""
        return (callee, caller) in self._recalls

    cpdef call_answered(self, bytes caller, bytes callee, bytes call_id, int64_t now):
        """An INVITE was answered: the two talk, whoever called."""
        if not self._expiries and not self._recalls:
            return
        self._answered((callee, caller), call_id, now)
        self._answered((caller, callee), call_id, now)

    cpdef _answered(self, tuple pair, bytes call_id, int64_t now):
        recall = self._recalls.pop(pair, None)
        if self._remove(pair, "answered"):
            self._counts["completed"] += 1
        if recall is None:
            return
        self._stop(recall)
        recall.over = True
        self._release(recall)
        if self._keeps_others_waiting(pair):
            self._talk(pair, call_id, now)

    cpdef bint _keeps_others_waiting(self, tuple pair) except *:
        return self._serial and self._store.count_by_callee(pair[0]) > 0

    cpdef _talk(self, tuple pair, bytes call_id, int64_t now):
        """The next caller waits until this call has ended."""
        talk = Talk(pair[0], pair[1], call_id, now)
        self._keep_talk(talk.callee, talk)
        self._hold(talk, now)

    cpdef call_failed(self, bytes caller, bytes callee, bytes call_id, int status, int64_t now):
        """An INVITE got a final response other than 2xx."""
        recall = self._recalls.get((callee, caller))
        if recall is not None and recall.call_id == call_id:
            self._come_to_nothing(recall, f"call got {status}", now)

    cpdef call_ended(self, bytes call_id, int64_t now):
        """A call is over: its BYE was answered. If a recall brought it about, the callee's next watch is due."""
        callee = self._talks.pop(call_id, None)
        if callee is not None and self._taken.get(callee) == call_id:
            del self._taken[callee]
            self._keep_talk(callee, None)
            self._recall(callee, now)

    cpdef int notify(self, Message request, int64_t now) except -1:
        """A NOTIFY for the server itself: the status to answer with. It belongs to a REFER of ours or to nothing."""
        pair = self._refers.get(request.text(request.call_id))
        if pair is None:
            return 481  # RFC 6665 §4.1.3
        line = request.text(request.body).split(b"\r\n", 1)[0].decode("utf-8", "replace")
        parts = line.split(None, 2)
        if len(parts) < 2 or parts[0].upper() != "SIP/2.0" or not parts[1].isdigit():
            return 200
        self._store.for_update()
        watch = self._watch(*pair)
        if watch is not None and watch.refer_call_id == request.text(request.call_id):
            self._put(replace(watch, last_result=f"NOTIFY {' '.join(parts[1:])}"[:80]))
            recall = self._recalls.get(pair)
            if recall is not None and watch.state == RECALLING and int(parts[1]) >= 300:
                self._come_to_nothing(recall, f"NOTIFY {' '.join(parts[1:])}"[:80], now)
        return 200

    # ---- the recall

    cpdef _recall(self, bytes callee, int64_t now):
        """Claim the callee's watches, oldest first: one of them (serial) or all."""
        serial = self._serial
        if (serial and callee in self._taken) or not self._location.live(callee, now):
            return
        try:
            self._claim_due(callee, serial, now)
        except StoreError:
            self._pause(callee, now + self._retry, RETRY, now)
            raise

    cpdef _claim_due(self, bytes callee, bint serial, int64_t now):
        self._store.for_update()
        later = 0
        for watch in self._watches(callee):
            pair = (watch.callee, watch.caller)
            if watch.state != ARMED or watch.expires_at <= now or pair in self._recalls:
                continue
            if watch.not_before > now:
                later = min(later, watch.not_before) if later else watch.not_before
                continue
            if pair in self._lost:  # not as it is stored: nothing that could be claimed
                later = min(later, now + 2 * REWRITE_AFTER) if later else now + 2 * REWRITE_AFTER
                continue
            if self._claim(watch, now) and serial:
                return
        if later:
            self._pause(callee, later, RETRY, now)

    cpdef bint _claim(self, watch, int64_t now) except *:
        claimed = replace(
            watch,
            state=RECALLING,
            attempts=watch.attempts + 1,
            refer_call_id=self._new_call_id(),
            refer_tag=secrets.token_hex(5).encode(),
            recalled_at=now,
            last_result="REFER sent",
        )
        if not self._store.claim(watch, claimed):
            return False
        self._wrote(watch.callee, watch.caller, claimed)
        self._claimed.append(self._adopt(claimed, now))
        self._counts["recalls"] += 1
        return True

    cpdef _adopt(self, watch, int64_t now):
        """Take a claimed watch into memory as a recall that is going on."""
        recall = Recall(self, watch)
        self._recalls[recall.pair] = recall
        self._refers[watch.refer_call_id] = recall.pair
        if self._serial:
            self._taken[watch.callee] = recall.pair
        self._late(recall, now + self._recall_timeout)
        return recall

    cpdef _refer(self, Recall recall, watch, int64_t now):
        """Send the REFER (RFC 3515 §2.4.1): out of any dialog, to the device that placed the call."""
        uri, route, flow = self._target(watch, now)
        if flow is None:
            self._come_to_nothing(recall, "caller's address cannot be resolved", now)
            return
        headers = [
            ("From", b"<" + watch.callee + b">;tag=" + watch.refer_tag),
            ("To", b"<" + watch.caller + b">"),
            ("Call-ID", watch.refer_call_id),
            ("CSeq", b"1 REFER"),
            ("Contact", self._originator.contact(flow)),
            ("Refer-To", b"<" + watch.callee + b">"),
            ("Referred-By", b"<" + watch.callee + b">"),  # RFC 3892 §2.1
            ("Subject", b"Automatic redial"),
        ]
        if route:
            headers.insert(0, ("Route", route))
        self._late(recall, now + self._refer_timeout)
        recall.refer = self._originator.start("REFER", uri, headers, flow, recall, now)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("recall", extra={"sip": {"callee": watch.callee, "caller": watch.caller, "attempt": watch.attempts}})

    cpdef refer_answered(self, Recall recall, int status, str reason, int64_t now):
        """The REFER got a final response."""
        if recall.over:
            return
        if status == 482 or 200 <= status < 300:
            # 482: the phone has this very REFER already, from before a restart.
            if not recall.call_id:
                self._late(recall, now + self._recall_timeout)
            if self._settings.end_on == "refer" and self._remove(recall.pair, "REFER accepted"):
                self._counts["completed"] += 1
            return
        if not recall.call_id:
            self._come_to_nothing(recall, f"REFER got {status} {reason}"[:80], now)

    cpdef _come_to_nothing(self, Recall recall, str result, int64_t now):
        """The recall failed: back to armed with its remaining life, or to the end where the attempts are used up."""
        self._stop(recall)
        recall.over = True
        self._recalls.pop(recall.pair, None)
        self._release(recall)
        if recall.refer is not None:
            # A phone that comes back later must not ring for an attempt that was given up.
            recall.refer.abandon()
            recall.refer = None
        self._counts["recall_failures"] += 1
        self._store.for_update()
        watch = self._watch(*recall.pair)
        if watch is not None:
            if watch.attempts >= self._settings.attempts:
                self._remove(recall.pair, "attempts used up")
                self._counts["given_up"] += 1
                log.info(
                    "redial-given-up",
                    extra={
                        "sip": {
                            "callee": watch.callee,
                            "caller": watch.caller,
                            "attempts": watch.attempts,
                            "result": result,
                        }
                    },
                )
            else:
                self._put(
                    replace(watch, state=ARMED, last_result=result, not_before=now + self._retry)
                )
        self._recall(recall.pair[0], now)

    cpdef _target(self, watch, int64_t now):
        """Where the caller's phone is: its current binding, else where the INVITE came from. URI, Route, flow."""
        binding = self._binding_of(watch.caller, watch.contact, watch.instance, now)
        if binding is None:
            bindings = self._location.live(watch.caller, now)
            if len(bindings) == 1 and bindings[0].updated >= watch.armed_at:
                binding = bindings[0]  # the one phone of the caller, under a new Contact since
        if binding is None:
            binding = Binding(contact=watch.contact, expires=0, call_id=b"", cseq=0, path=watch.path, flow=watch.flow)
        return binding.contact, binding.path, self._location.flow_for(binding)

    cpdef _binding_of(self, bytes caller, bytes contact, bytes instance, int64_t now):
        bindings = self._location.live(caller, now)
        for binding in bindings:
            if instance and binding.instance == instance:
                return binding
        for binding in bindings:
            if binding.contact == contact:
                return binding
        return None

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
        elif isinstance(payload, bytes):
            if kind == FORGET:
                self._refers.pop(payload, None)
            elif kind == TALK:
                self.call_ended(payload, now)
            else:
                self._pauses.pop(payload, None)
                self._recall(payload, now)
        return 0

    cpdef _expire(self, tuple pair, int64_t now):
        self._expiries.pop(pair, None)
        watch = self._watch(*pair)
        if watch is None:
            return
        if watch.expires_at > now:
            self._time(watch)
            return
        self._remove(pair, "monitoring period over")
        self._counts["expired"] += 1

    cpdef _resume(self, tuple pair, int64_t now):
        recall = self._recalls.get(pair)
        watch = self._watch(*pair)
        if recall is None or recall.call_id or watch is None or watch.state != RECALLING:
            return
        self._refer(recall, watch, now)

    cpdef _time(self, watch):
        pair = (watch.callee, watch.caller)
        self._untime(pair)
        self._expiries[pair] = self._wheel.schedule(watch.expires_at, self, EXPIRE, pair)

    cpdef _untime(self, tuple pair):
        handle = self._expiries.pop(pair, 0)
        if handle:
            self._wheel.cancel(handle)

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
        self._pauses[callee] = self._wheel.schedule(max(when, now), self, kind, callee)

    # ---- the store, and what is held in memory

    cpdef _watch(self, bytes callee, bytes caller):
        if (callee, caller) in self._lost:
            return self._lost[callee, caller]
        return self._store.watch(callee, caller)

    cpdef _watches(self, bytes callee):
        found = self._store.watches(callee)
        if self._lost:
            now = [self._lost.get((watch.callee, watch.caller), watch) for watch in found]
            return [watch for watch in now if watch is not None]
        return found

    cpdef bint _owns(self, bytes callee) except *:
        """Whether the timers and recalls of a callee's watches are held here."""
        return True

    cpdef _new_call_id(self):
        """A Call-ID for a REFER."""
        return secrets.token_hex(12).encode()

    cpdef _put(self, watch):
        self._wrote(watch.callee, watch.caller, watch)
        self._store.put_watch(watch)

    cpdef bint _remove(self, tuple pair, str reason) except *:
        self._untime(pair)
        self._wrote(*pair, None)
        if not self._store.delete_watch(*pair):
            return False
        if log.isEnabledFor(logging.DEBUG):
            log.debug("watch-ended", extra={"sip": {"callee": pair[0], "caller": pair[1], "reason": reason}})
        return True

    cpdef _wrote(self, bytes callee, bytes caller, watch):
        """Note a write before it is tried: with its batch it is lost, or replaces what was lost before."""
        self._lost.pop((callee, caller), None)
        self._touched[callee, caller] = watch

    cpdef _keep_talk(self, bytes callee, talk):
        self._lost_talks.pop(callee, None)
        self._talked[callee] = talk
        if talk is not None:
            self._store.put_talk(talk)
        else:
            self._store.delete_talk(callee)

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
        until = talk.since + round(self._settings.max_talk * 1000)
        self._wheel.schedule(max(until, now), self, TALK, talk.call_id)


def expires_of(Message request):
    """The INVITE's Expires in seconds; None where it is absent or malformed."""
    value = request.header("Expires")
    if value is None or not value.isdigit():
        return None
    return min(int(value[:10]), 2**31)


def _contact(Message request, Flow flow):
    """Contact URI of an INVITE and its +sip.instance; where it has none, the address that the INVITE came from."""
    host = f"[{flow.host}]" if flow.family == 6 else flow.host
    fallback = f"sip:{host}:{flow.port}".encode()
    value = next(iter(request.values("Contact")), None)
    if value is None:
        return fallback, b""
    try:
        _, uri, params = parse_address(value)
    except ParseError:
        return fallback, b""
    return uri, (params.get(b"+sip.instance") or b"").strip(b'"')


def offer(watch, int64_t now):
    """Reason phrase and header lines of a 480 whose caller will be recalled (RFC 6910 §7.1 for Call-Info)."""
    seconds = max(0, (watch.expires_at - now) // 1000)
    return b"Not Logged In, Automatic Redial On", (
        b"Call-Info: <" + watch.callee + b">;purpose=call-completion;m=" + watch.mode.encode() + b"\r\n"
    ) + _warning(watch.callee, b"Automatic redial is on for %d s: your phone rings when the callee is back" % seconds)


def _warning(bytes callee, bytes text):
    """RFC 3261 §20.43, code 399: miscellaneous, for a person to read."""
    host = aor(callee).rpartition(b"@")[2]
    return b"Warning: 399 " + host + b' "' + text + b'"\r\n'
