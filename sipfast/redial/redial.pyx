"""Automatic redial, put together from its parts, and driven by the engine.

What sees an event (`observer`, `availability`) writes what must survive it with the batch of its message, and tells the owner of
the callee (`owner`), who alone decides whose turn it is and has a caller called by a recall method (`methods`). With several
workers the owner may be in another one, which is told by a notice (`notice`); nothing else differs.
"""

from libc.stdint cimport int64_t

from ..dialog.dialogs cimport Dialogs
from ..observe.events cimport Events
from ..routing.doubt cimport Doubts
from ..routing.location cimport Location
from ..store.repository cimport Store
from ..transaction.layer cimport TransactionLayer
from ..trust.credit cimport credit_of
from .._parser cimport Message
from .._wheel cimport Wheel
from .unacknowledged cimport parts_of
from .availability cimport Unbound, make_unbound
from .bucket cimport make_bucket
from .keepalive cimport make_keepalive
from .keyring cimport make_keys
from .ladder cimport make_ladder
from .methods.b2bua cimport make_b2bua_method
from .methods.callback cimport make_callback_method
from .methods.message cimport make_message_method
from .methods.refer cimport make_refer_method
from .notice cimport Notices, OtherOwners, Post
from .observer cimport Observer
from .memory cimport PhoneMemory
from .owner cimport Owner
from .ownership cimport Ownership
from .pending cimport Pending
from .policy cimport Policy
from .recall cimport make_recalls
from .suspended cimport Suspended
from .talks cimport Talks
from .watchlist cimport Watchlist

from ..dialog.digest import Cnonces
from ..errors import StoreUnreadable
from ..observe.counters import of_method
from ..store.records import Talk, tell_unreadable
from .notice import (
    ANSWERED, AWAITED, BOUND, CALLER_BACK, ENDED, FAILED, GONE, HELLO, LOOK, STARTED, SUSPENDED, TALK, UNCONFIRMED, decode,
)

COUNTS = ("armed", "unacknowledged", "renewed", "cancelled", "expired", "recalls", "recall_failures", "completed", "given_up")
NOBODY = (b"", b"")


cdef class Redial:
    """Arms, claims, expires and cancels watches, and recalls callers. All times are ms."""

    cdef int start(self, int64_t now) except -1:
        if not self.policy.enabled:
            return 0
        self.ladder.memory.start(now)
        self.talks.start(now)
        self.keepalive.run(now)
        if self.owner.start(now):
            self.calls.former_until = now + self.calls.unacknowledged.patience
        if self.resumed:
            self.calls.tell_again(now)
        self.calls.offers.take_over(self.owner.offered, now)
        self.notices.tell_all(HELLO, NOBODY, b"")

    cdef bint committed(self, Pending batch, int64_t now) except -1:
        self.notices.leave(batch)
        self.watchlist.committed(batch)
        self.owner.recalls.begin_claimed(batch, now)
        return bool(self.pending.touched) or bool(self.pending.notices)

    cdef int batch_lost(self, Pending batch, list later, object units, int64_t now) except -1:
        cdef set undone = self.owner.recalls.claims_lost(batch, units)
        self.calls.offers.batch_lost(batch, units, now)
        undone.update([pair for pair, unit in batch.promised.items() if units is None or unit in units])
        self.notices.batch_lost(batch, undone, units)
        self.watchlist.leave_to_others(batch, undone)
        self.watchlist.batch_lost(batch, undone, later, units)
        self.owner.recalls.drop_claims(batch, undone)
        for pair in undone:
            if not self.ownership.is_mine(pair[0]):
                continue
            try:
                self.owner.reload(pair, now)
            except StoreUnreadable as error:
                tell_unreadable(error)
        if (self.watchlist.lost or self.watchlist.lost_talks) and not self.watchlist.rewrite:
            self.watchlist.write_soon(now)
        if not self.ownership.alone:
            self.watchlist.commit_soon(now)

    cdef int ending(self, int64_t now) except -1:
        self.calls.offers.write_again(now)
        if self.watchlist.lost or self.watchlist.lost_talks:
            self.watchlist.write_again(now)

    cdef int told(self, bytes data, int64_t now) except -1:
        cdef bytes call_id
        cdef tuple pair
        notice = decode(data)
        kind = notice.kind
        pair = (notice.callee, notice.caller)
        call_id = notice.call_id
        if not self.policy.enabled:
            return 0
        if kind == LOOK:
            self.owner.watch_changed(pair, now)
        elif kind == BOUND:
            if self.owner.is_back(notice.callee, now):      # else it is gone again
                self.owner.callee_available(notice.callee, credit_of(notice.status, notice.since), now)
        elif kind == STARTED:
            self.owner.call_started(pair, call_id, notice.sender, now)
        elif kind == FAILED:
            self.owner.call_failed(pair, call_id, notice.status, notice.since, now)
        elif kind == GONE:
            self.owner.callee_gone(pair, now)
        elif kind == AWAITED:
            self.calls.answered_elsewhere(pair, call_id, notice.sender, now)
        elif kind == UNCONFIRMED:
            self.calls.unconfirmed_elsewhere(pair, call_id, now)
        elif kind == ANSWERED:
            self.calls.acknowledged_elsewhere(pair, call_id, now)
        elif kind == TALK:
            call_id, tag, other = parts_of(call_id)
            self.talks.begun_elsewhere(Talk(pair[0], pair[1], call_id, notice.since, tag, other), now)
        elif kind == ENDED:
            self.talks.ended_elsewhere(notice.callee, call_id, now)
        elif kind == CALLER_BACK:
            self.owner.caller_back(pair, notice.since, now)
        elif kind == SUSPENDED:
            self.suspended.remember(pair)
        elif kind == HELLO:
            self.worker_restarted(notice.sender, now)

    cdef int worker_restarted(self, int worker, int64_t now) except -1:
        """A worker has started, perhaps in the place of one that died."""
        self.calls.worker_restarted(worker)
        self.owner.recalls.worker_restarted(worker, self.calls.unacknowledged.awaited(), now)
        self.talks.worker_restarted(now)

    cdef int notify(self, Message request, int64_t now) except -1:
        return self.owner.recalls.notified(request, now)

    def know(self, users):
        """Who says whom he lets watch: identity.users.Users; None: nobody does."""
        self.policy.callees = users

    def configure(self, settings):
        """Take other settings while running: all but whether redial is on, which is as at the start."""
        self.policy.configure(settings)
        self.owner.recalls.bucket.configure(settings)
        self.keepalive.run(self.keepalive.wheel.now)
        self.ladder.configure(settings)
        # RFC 3261 §13.3.1.4. Who comes after a shortening waits no less than who came before it: they are told in their order.
        self.calls.unacknowledged.patience = self.calls.offers.patience = 64 * self.talks.transactions.t1

    def counters(self):
        """Watches and recalls, counted since the start."""
        counts = {f"redial_{name}": count for name, count in self.counts.items()}
        counts["redial_watches"] = len(self.watchlist.waiting.timers)
        counts["redial_recalling"] = len(self.owner.recalls.of)
        for method, of in self.owner.recalls.outcomes.items():
            counts |= {of_method(method, outcome): count for outcome, count in of.items()}
        return counts


cdef Redial make_redial(settings, Store store, Wheel wheel, Events events, Location location, TransactionLayer transactions,
                        tuple listeners, Dialogs dialogs, Doubts doubts, bytes seed, int worker, int workers, Post post,
                        bint resumed):
    cdef Redial redial = Redial.__new__(Redial)
    cdef Unbound unbound
    redial.policy = Policy(settings)
    redial.resumed = resumed
    redial.counts = dict.fromkeys(COUNTS, 0)
    redial.ownership = Ownership(worker, workers)
    redial.watchlist = Watchlist(redial.policy, store, wheel, events, redial.ownership, redial.counts)
    redial.pending = redial.watchlist.pending
    redial.notices = Notices(redial.ownership, post, redial.pending)
    redial.suspended = Suspended(redial.ownership, redial.notices)
    redial.bindings = unbound = make_unbound(location, redial.watchlist, redial.suspended, redial.ownership, transactions)
    cnonces = Cnonces(seed)
    redial.ladder = make_ladder(settings, (
        make_refer_method(transactions, listeners, cnonces), make_refer_method(transactions, listeners, cnonces, False),
        make_callback_method(dialogs), make_b2bua_method(dialogs),
        make_message_method(transactions, listeners)), PhoneMemory(settings, store, wheel))
    dialogs.keyring = make_keys(redial.ladder)
    redial.owner = Owner(redial.policy, redial.watchlist, location, unbound, make_recalls(
        redial.policy, redial.watchlist, location, redial.suspended, redial.ladder, dialogs.names,
        make_bucket(settings, seed, workers)))
    redial.keepalive = make_keepalive(redial.policy, redial.watchlist.waiting, doubts, wheel)
    redial.ownership.here = redial.owner
    redial.ownership.elsewhere = OtherOwners(redial.notices)
    redial.talks = Talks(redial.owner, redial.notices, location, transactions, listeners)
    redial.calls = Observer(redial.owner, redial.talks, redial.notices, redial.suspended, location, 64 * transactions.t1)
    return redial
