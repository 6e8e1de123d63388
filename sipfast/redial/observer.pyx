"""What redial sees of calls: who found nobody, who calls whom, who was answered, and how a call ended.

Whatever must survive an event is written with the batch of its message; then the owner of the callee is told (`ownership.py`),
here by a call, in another worker by a notice. What a call does to a recall is the owner's to decide.

A 2xx alone ends nothing, since it may be lost on its way to a caller who has moved: what counts is the ACK, and the watch
is removed in the batch that lets it through. Until then the watch is stored as it was, so that a crash loses nothing: the
callee repeats its 2xx, and the caller its ACK. Those may come to any worker, so all are told of them.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..observe.events cimport STEP_CALLED
from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch, WatchEntry, bytes_of, piece_in, piece_of, written_watch
from .._flow cimport MOST_PACKED, Flow
from .._parser cimport Message, canonical_aor
from .unacknowledged cimport Recent, Unacknowledged, call_of, parts_of, turned
from .device cimport device_of
from .invite cimport agent_of, contact_of, expires_of, offer, warning
from .notice cimport Notices
from .offers cimport Offers
from .owner cimport Owner
from .ownership cimport CalleeOwner
from .recall cimport Recall
from .suspended cimport Suspended
from .talks cimport Talks, call_of_talk
from .watchlist cimport is_claimed, is_recalling

from ..errors import StoreUnreadable
from ..store.records import ARMED, CALLING, WAITING, tell_unreadable
from .notice import ANSWERED, AWAITED, LOOK, STARTED, UNCONFIRMED

cdef enum:
    NO_ACK = 1                  # timer: a call whose 2xx has passed has waited too long for its ACK
    REACH_BACK = 300_000        # ms: a dead worker's watches that were armed before it surely are known to their owners
    AFTER_CALL = 1_000          # ms from the end of a call until its parties can take a recall
    EARLY_ACKS = 1024           # calls, at the least, whose ACK may be seen here before the notice that it matters comes

cdef bytes armed = ARMED.encode(), calling = CALLING.encode(), caller_calls = b"caller is calling"


# Whether who a caller is was said by somebody who knows (records.Watch).
cdef inline bint is_proof(bytes identity) noexcept:
    return PyBytes_GET_SIZE(identity) > 0


cdef class Observer(Timed):
    """Sees calls. Driven by the engine; all times are ms."""

    def __init__(self, Owner owner, Talks talks, Notices notices, Suspended suspended, Location location, int64_t patience):
        """`patience`: 64*T1 in ms, for which an ACK is waited for."""
        self.owner = owner
        self.policy = owner.policy
        self.watchlist = owner.watchlist
        self.store = owner.store
        self.ownership = owner.ownership
        self.events = owner.events
        self.counts = owner.counts
        self.talks = talks
        self.notices = notices
        self.suspended = suspended
        self.location = location
        self.unacknowledged = Unacknowledged(owner.wheel, self, NO_ACK, patience)
        self.proxied = set()
        self.acknowledged = Recent(EARLY_ACKS)
        self.offers = Offers(owner.policy, owner.watchlist, patience)

    # ---- arm and cancel

    cdef tuple unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, bytes identity,
                           bytes tag, int64_t now):
        cdef tuple pair = (callee, caller)
        cdef int64_t asked = expires_of(request), period
        cdef str refusal
        cdef StoredWatch watch
        if asked == 0:
            if (is_proof(identity) or self.senders.vouch_for(caller, request, flow, now)) and (
                    self.offers.cancel_later(tag, pair, now)):
                return self.is_off(callee)
            return self.not_armed(caller, callee, "its Expires is 0: it asks for none")
        if not self.policy.enabled:
            return self.not_armed(caller, callee, "redial is off (redial.enabled)")
        if not allowed:
            return self.not_armed(caller, callee, "its caller is of no domain served here (redial.callers)")
        if caller == callee:
            return self.not_armed(caller, callee, "its caller calls itself")
        if b"@" not in caller:
            return self.not_armed(caller, callee, "its caller has no user part")
        if not is_proof(identity) and not self.senders.vouch_for(caller, request, flow, now):
            return self.not_armed(caller, callee, "its caller is not registered by the way that it comes (redial.callers)")
        refusal = self.policy.refusal(callee, caller, request)
        if self.is_recalled_call(pair, request, now):
            self.ownership.owner_of(callee).callee_gone(pair, now)
            watch = self.watchlist.find(pair)
            # Its owner, where that is another, will give it up or put it back.
            if refusal is not None:
                return self.not_armed(caller, callee, refusal)
            if watch is None or is_claimed(watch) and watch.at.attempts >= self.policy.attempts:
                return None
            return offer(watch, now)
        if refusal is not None:
            return self.not_armed(caller, callee, refusal)
        period = self.policy.period_for(asked, caller, callee)
        if not period:
            return self.not_armed(caller, callee, self.policy.why_no_period(asked, caller, callee))
        watch = self.arm(request, flow, pair, identity, now + period * 1000, tag, now)
        return offer(watch, now) if watch is not None else None

    cdef tuple is_off(self, bytes callee):
        return None, warning(callee, b"Automatic redial is off")

    cdef bint is_recalled_call(self, tuple pair, Message request, int64_t now) except -1:
        """Whether an INVITE that found the callee unbound is that of a recall: the callee is gone again."""
        cdef StoredWatch watch
        if self.ownership.is_mine(pair[0]):
            return pair in self.owner.recalls.of
        watch = self.watchlist.find_readable(pair)
        if self.unproxied(pair, request) and watch is None:
            self.ownership.elsewhere.callee_gone(pair, now)
        return watch is not None and is_claimed(watch)

    cdef StoredWatch arm(self, Message request, Flow flow, tuple pair, bytes identity, int64_t expires_at, bytes tag,
                         int64_t now):
        cdef bytes callee = <bytes>pair[0], caller = <bytes>pair[1]
        cdef StoredWatch before, watch
        self.store.for_update()
        before = self.watchlist.former(pair)
        if before is None and not self.watchlist.has_room(caller, callee):
            full = self.store.count_by_caller(caller) >= self.policy.per_caller
            self.not_armed(caller, callee, "there are redial.max_watches" if not self.watchlist.has_room_in_all()
                           else "its caller has redial.per_caller watches" if full
                           else "its callee has redial.per_callee watches")
            return None
        watch = self.armed_by(request, flow, pair, identity, expires_at, now)
        self.offers.arm(tag, pair, watch, before, now)
        return watch

    cdef StoredWatch armed_by(self, Message request, Flow flow, tuple pair, bytes identity, int64_t expires_at, int64_t now):
        cdef bytes callee = <bytes>pair[0], caller = <bytes>pair[1], contact, instance, agent, path = b"", nothing = b""
        cdef bytes mode = self.owner.availability.mode
        cdef unsigned char packed[MOST_PACKED]
        cdef WatchEntry entry
        cdef Entry device
        contact, instance = contact_of(request, flow)
        kept = device_of(self.location, caller, contact, instance, nothing, &device, now)
        if kept is not None:
            path = bytes_of(device.path)
            instance = instance or bytes_of(device.instance)
        entry.callee = piece_in(callee)
        entry.caller = piece_in(caller)
        entry.armed_at = now
        entry.expires_at = expires_at
        entry.call_id = piece_of(request.p + request.call_id.start, request.call_id.end - request.call_id.start)
        entry.contact = piece_in(contact)
        entry.path = piece_in(path)
        entry.flow = piece_of(packed, flow.pack_into(packed))
        entry.instance = piece_in(instance)
        entry.mode = piece_in(mode)
        entry.state = piece_in(armed)
        entry.attempts = 0
        entry.last_result = entry.refer_call_id = entry.refer_tag = piece_in(nothing)
        entry.recalled_at = entry.not_before = entry.pauses = 0
        agent = agent_of(request)
        entry.agent = piece_in(agent)
        entry.registration = device.call_id if kept is not None else piece_in(nothing)
        entry.method = entry.offer = piece_in(nothing)
        entry.identity = piece_in(identity)
        entry.port = max(0, request.uri.port)
        return written_watch(&entry)

    cdef tuple not_armed(self, bytes caller, bytes callee, str why):
        """Tell why a call that found nobody armed nothing. None."""
        self.events.not_watched(caller, callee, why)

    cdef bint cancel(self, bytes caller, bytes callee, int64_t now) except -1:
        return self.offers.cancel((callee, caller), now)

    cdef bint cancel_later(self, bytes caller, bytes callee, Message request, Flow flow, bytes tag, int64_t now) except -1:
        return self.senders.vouch_for(caller, request, flow, now) and self.offers.cancel_later(tag, (callee, caller), now)

    # ---- calls

    cdef bint call_started(self, bytes caller, bytes callee, Message request, Flow flow, bint accepted, int64_t now) except -1:
        cdef CalleeOwner owner
        cdef StoredWatch watch = None
        cdef WatchEntry entry
        cdef Recall recall
        cdef tuple pair
        cdef bint mine
        if not self.policy.enabled:
            return True
        owner = self.ownership.owner_of(callee)
        mine = owner is self.owner
        if mine and not self.owner.recalls.of:
            return True
        pair = (callee, caller)
        if mine:
            recall = self.owner.recalls.of.get(pair)
            if recall is None:
                return True
            pair = recall.pair                # this very tuple is found in a dict without being compared
        else:
            # The claim was committed before the REFER left, so the store knows of every recall.
            watch = self.watchlist.find(pair)
            if (watch is None or not is_claimed(watch)) and not self.policy.ends_on_refer:
                return True
        # The recalled phone's, or that of somebody who says he is its user.
        if not accepted and not self.senders.vouch_for(caller, request, flow, now):
            return False
        if not mine:
            self.proxied.add((request.text(request.call_id), request.text(request.sender.tag), pair))
        owner.call_started(pair, request.text(request.call_id), self.ownership.worker, now)
        if not mine and (watch is None or not is_recalling(watch)):
            return True                       # known, or nothing to be known
        self.store.for_update()
        watch = self.watchlist.find(pair)
        if watch is not None and is_recalling(watch):
            entry = watch.at
            entry.state = piece_in(calling)
            entry.last_result = piece_in(caller_calls)
            self.events.step(STEP_CALLED, self.watchlist.change(&entry, pair))
        return True

    cdef bint is_recalled(self, bytes caller, bytes callee) except -1:
        cdef StoredWatch watch
        if self.ownership.is_mine(callee):
            return (callee, caller) in self.owner.recalls.of
        watch = self.watchlist.find((callee, caller))
        return watch is not None and is_claimed(watch)

    cdef bint unproxied(self, tuple pair, Message message) except -1:
        cdef tuple call
        if not self.proxied:
            return False
        call = message.text(message.call_id), message.text(message.sender.tag), pair
        if call not in self.proxied:
            return False
        self.proxied.remove(call)
        return True

    cdef int call_failed(self, bytes caller, bytes callee, Message request, Flow flow, bint accepted, int status, int64_t rang,
                         int64_t now) except -1:
        cdef CalleeOwner owner = self.ownership.owner_of(callee)
        cdef tuple pair = (callee, caller)
        if owner is self.owner or self.unproxied(pair, request):
            owner.call_failed(pair, request.text(request.call_id), status, rang, now)
        if self.suspended.callees:
            if accepted or self.senders.vouch_for(caller, request, flow, now):
                self.suspended.caller_back(caller, AFTER_CALL, now)
            if rang >= 0:                     # else it was no call of the callee's phone
                self.suspended.caller_back(callee, AFTER_CALL, now)

    cdef int call_answered(self, bytes caller, bytes callee, Message response, Message request, Flow flow, bint accepted,
                           int64_t now) except -1:
        cdef bytes call, call_id
        cdef Recall recall
        cdef tuple pair
        if not self.policy.enabled or self.ownership.alone and not self.watchlist.waiting.timers and not self.owner.recalls.of:
            return 0
        pair = (callee, caller)
        recall = self.owner.recalls.of.get(pair)
        if recall is not None:
            pair = recall.pair
        call_id = response.text(response.call_id)
        # Who sends the recalled call was looked at when it began.
        if self.unproxied(pair, response) or (
                recall is not None or self.watchlist.has(pair) or self.is_known((caller, callee))) and (
                accepted or recall is not None and recall.call_id == call_id
                or self.senders.vouch_for(caller, request, flow, now)):
            call = call_of(response)
            self.notices.tell_all(AWAITED, pair, call)      # first: the owner is to know of it whatever can be written here
            self.await_ack(pair, call, call_id, self.ownership.worker, now)

    cdef bint is_known(self, tuple pair) except -1:
        """Whether somebody waits for a call of the pair."""
        return pair in self.owner.recalls.of or self.watchlist.has(pair)

    cdef int await_ack(self, tuple pair, bytes call, bytes call_id, int worker, int64_t now) except -1:
        self.unacknowledged.add(call, pair, now)        # first: then it is known that its ACK does not come
        self.owner.call_answered(pair, call_id, worker, now)

    cdef int call_acknowledged(self, Message ack, Flow flow, int64_t now) except -1:
        cdef bytes call
        cdef tuple pair
        if not self.policy.enabled or self.ownership.alone and not self.unacknowledged.calls and (
                now >= self.former_until or not (self.watchlist.waiting.timers or self.owner.recalls.of)):
            return 0
        call = call_of(ack)
        pair = self.unacknowledged.pop(call)
        if pair is None:
            pair = self.pair_from_before(ack, flow, True, now)
        if pair is not None:
            self.connected(pair, call, now)
        elif not self.ownership.alone:
            self.acknowledged.add(call)

    cdef tuple pair_from_before(self, Message message, Flow flow, bint acknowledged, int64_t now):
        """The pair of a call from before a restart: of a recalled one, or, with its ACK, of any that somebody waits for.

        A stranger may say so of any two, and nobody is asked for a password within a call.
        """
        cdef bytes caller, callee
        if now >= self.former_until:
            return None
        caller = canonical_aor(message.p, &message.sender.uri)
        callee = canonical_aor(message.p, &message.target.uri)
        if (self.is_recalled(caller, callee) or acknowledged and (
                self.is_known((callee, caller)) or self.is_known((caller, callee)))) and (
                self.senders.vouch_unasked(caller, message, flow, now)):
            return callee, caller
        return None

    cdef int connected(self, tuple pair, bytes call, int64_t now) except -1:
        """The pair talk: nobody of them waits for the other any more."""
        self.notices.tell_all(ANSWERED, pair, call)         # first: the owner is to know of it whatever can be read here
        for each in (pair, (pair[1], pair[0])):
            try:
                if self.is_known(each):
                    self.complete(each, call if each is pair else turned(call), now)
            except StoreUnreadable as error:  # it concerns its own pair
                tell_unreadable(error)

    cdef int complete(self, tuple pair, bytes call, int64_t now) except -1:
        """The watch ends with the batch that lets the ACK through."""
        cdef Recall recall = self.owner.recalls.pop(pair)
        cdef StoredWatch watch
        cdef bint recalled = recall is not None, others = self.policy.serial
        cdef str method = None
        if recall is not None:
            self.owner.recalls.complete(recall, now)        # first: it is over whatever the store says
        if not self.ownership.is_mine(pair[0]):
            # With end_on = "refer" only the owner knows whether it was recalled.
            self.store.for_update()
            watch = self.watchlist.find(pair)
            recalled = watch is not None and is_claimed(watch)
            if recalled:
                method = bytes_of(watch.at.method).decode()
        if recall is not None:
            method = recall.rung().method.name
        try:
            if self.watchlist.remove(pair, "answered", recall.answer if recall is not None else ""):
                self.counts["completed"] += 1
                if method is not None:
                    self.owner.recalls.count_of(method, "answered")
            others = recalled and self.watchlist.keeps_others_waiting(pair)
        finally:                              # its end is what the next caller waits for, whatever can be written
            if recalled and others:
                self.talks.begin(pair, call, now)

    cdef int call_hung_up(self, Message bye, Flow flow, Flow place, bint known, int64_t now) except -1:
        cdef bytes call
        if not self.policy.enabled or self.ownership.alone and not (
                self.talks.callees or self.unacknowledged.calls or self.suspended.callees or now < self.former_until):
            return 0
        call = call_of(bye)
        if self.unacknowledged.calls or now < self.former_until:
            self.hung_up_early(bye, flow, call, now)
        self.talks.hung_up(call, now)
        if self.suspended.callees:
            self.parties_back(bye, flow, place, known, now)

    cdef int parties_back(self, Message bye, Flow flow, Flow place, bint known, int64_t now) except -1:
        """Those of a call's two of whom it is known that it was theirs can take a recall. A BYE names whom its sender likes."""
        cdef bytes party = canonical_aor(bye.p, &bye.sender.uri)
        if known and self.suspended.has(party) and self.senders.vouch_unasked(party, bye, flow, now):
            self.suspended.caller_back(party, AFTER_CALL, now)
        party = canonical_aor(bye.p, &bye.target.uri)
        if place is not None and self.suspended.has(party) and self.senders.vouch_for_place(party, place, now):
            self.suspended.caller_back(party, AFTER_CALL, now)

    cdef int hung_up_early(self, Message bye, Flow flow, bytes call, int64_t now) except -1:
        """A BYE of a call whose ACK has not been seen, perhaps; `call` is that of its sender."""
        cdef tuple pair = self.unacknowledged.pop(call)
        if pair is None:
            pair = self.unacknowledged.pop(turned(call))
            if pair is not None:
                return self.unconfirmed(pair, turned(call), now)   # RFC 3261 §15: the callee has waited for it in vain
            pair = self.pair_from_before(bye, flow, False, now)      # as its caller hangs up: there has been a 2xx
        if pair is not None:
            self.connected(pair, call, now)   # who hangs up has its 2xx, and what is lost is the ACK
        return 0

    cdef int unconfirmed(self, tuple pair, bytes call, int64_t now) except -1:
        """No ACK came."""
        self.owner.call_unconfirmed(pair, parts_of(call)[0], now)
        self.notices.tell_all(UNCONFIRMED, pair, call)

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A call has waited too long for its ACK."""
        found = self.unacknowledged.pop_due(now)
        if found is not None:
            self.unconfirmed(found[1], found[0], now)
        return 0

    # ---- what other workers have told

    cdef int answered_elsewhere(self, tuple pair, bytes call, int worker, int64_t now) except -1:
        self.await_ack(pair, call, parts_of(call)[0], worker, now)
        if self.acknowledged.has(call):       # it was faster than the notice
            self.unacknowledged.pop(call)
            self.connected(pair, call, now)

    cdef int unconfirmed_elsewhere(self, tuple pair, bytes call, int64_t now) except -1:
        self.unacknowledged.pop(call)
        self.owner.call_unconfirmed(pair, parts_of(call)[0], now)

    cdef int acknowledged_elsewhere(self, tuple pair, bytes call, int64_t now) except -1:
        self.unacknowledged.pop(call)
        for each, its_call in ((pair, call), ((pair[1], pair[0]), turned(call))):
            try:
                if self.ownership.is_mine(each[0]):
                    self.completed_elsewhere(each, its_call, now)
            except StoreUnreadable as error:
                tell_unreadable(error)

    cdef int completed_elsewhere(self, tuple pair, bytes call, int64_t now) except -1:
        cdef Recall recall = self.owner.recalls.pop(pair)
        self.watchlist.forget(pair)
        if recall is not None:
            self.owner.recalls.complete(recall, now)
        if self.talks.has_ended(call):
            self.owner.next_turn(pair[0], now)
            return 0
        talk = self.store.talk(pair[0])
        if talk is not None and call_of_talk(talk) == call:
            self.talks.remember(talk, now)
        elif recall is not None and self.watchlist.keeps_others_waiting(pair):
            self.talks.begin(pair, call, now)

    cdef int worker_restarted(self, int worker) except -1:
        for call_id, _, pair in self.proxied:
            if self.ownership.worker_of(pair[0]) == worker:
                self.notices.tell(worker, STARTED, pair, call_id)
        for call, (pair, _) in self.unacknowledged.calls.items():
            self.notices.tell(worker, AWAITED, pair, call)

    cdef int tell_again(self, int64_t now) except -1:
        cdef dict back = {}
        for watch in self.store.each_watch():
            callee = watch.callee
            if self.ownership.is_mine(callee) or watch.state not in WAITING:
                continue
            if callee not in back:
                back[callee] = self.owner.is_back(callee, now)
            if back[callee] or watch.armed_at > now - REACH_BACK:
                self.notices.tell(self.ownership.worker_of(callee), LOOK, (callee, watch.caller))
