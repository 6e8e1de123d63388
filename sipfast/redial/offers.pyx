"""What a 480 has offered and what waits for its ACK: a watch to be armed, renewed or cancelled.

A source address can be forged, so an INVITE alone proves nothing. The To tag of the answer (RFC 3261 §8.2.6.2) reaches only who
is there, and comes back in the ACK (§17.1.1.3): that makes it final. Where none comes in 64*T1, for which the transaction would
take one (Timer H), nothing has happened.

    arm       stored as `offered` with the batch of the 480, since what a phone was told must survive a crash. It is no watch yet:
              nobody claims it, and its end leaves no trace. The ACK makes it armed.
    renew     until the ACK the watch is as it was, and may be claimed.
    cancel    likewise.

Each offer has its own form, by its own tag: what a stranger offers himself in somebody's name is not what an ACK of
that one arms, whichever came first. At a start what was offered before is taken for armed: its ACK may have come when nobody was
there to take it, and a stranger does not bring a crash about.
"""

from libc.stdint cimport int64_t

from ..observe.events cimport ARMED as EVENT_ARMED, STEP_ARMED, STEP_RENEWED
from ..store.codec cimport StoredWatch, WatchEntry, piece_in, same_piece, written_watch
from .watchlist cimport REWRITE_AFTER, Watchlist, is_claimed, is_offered

from ..errors import StoreError
from ..store.records import ARMED, OFFERED

cdef enum:
    # Timers, without a payload
    NO_ACK = 1
    FORMER = 2
    UNWRITTEN = 3
    # Offers of before a start are armed so many every so many ms
    FORMER_AT_ONCE = 256
    FORMER_EVERY = 10

cdef bytes armed = ARMED.encode(), offered = OFFERED.encode(), nothing = b""


cdef class Offer:
    pass


cdef Offer make_offer(tuple pair, StoredWatch watch, StoredWatch stored, int64_t former_end, int64_t due):
    cdef Offer offer = Offer.__new__(Offer)
    offer.pair = pair
    offer.watch = watch
    offer.stored = stored
    offer.former_end = former_end
    offer.due = due
    return offer


cdef class Offers(Witness):
    """Offers that wait for their ACK: no more than there are server transactions. All times are ms."""

    def __init__(self, Policy policy, Watchlist watchlist, int64_t patience):
        """`patience`: 64*T1."""
        self.policy = policy
        self.watchlist = watchlist
        self.store = watchlist.store
        self.ownership = watchlist.ownership
        self.wheel = watchlist.wheel
        self.events = watchlist.events
        self.counts = watchlist.counts
        self.patience = patience
        self.place = b"%d " % self.ownership.worker
        self.waiting = {}
        self.unwritten = {}
        self.former = []

    # ---- what is offered

    cdef int arm(self, bytes tag, tuple pair, StoredWatch watch, StoredWatch before, int64_t now) except -1:
        cdef WatchEntry entry
        cdef bytes offer
        cdef StoredWatch stored
        if before is not None and not is_offered(before):
            return self.add(tag, pair, watch, None, before.at.expires_at, now)
        offer = self.mark(tag)
        entry = watch.at
        entry.state = piece_in(offered)
        entry.offer = piece_in(offer)
        self.watchlist.pending.promise(pair)
        stored = written_watch(&entry)
        self.watchlist.put(pair, stored, before is None)
        if self.ownership.is_mine(<bytes>pair[0]):
            self.watchlist.remember(pair, entry.expires_at)
        return self.add(tag, pair, watch, stored, 0, now)

    cdef bint cancel_later(self, bytes tag, tuple pair, int64_t now) except -1:
        if not self.store.has_watch(<bytes>pair[0], <bytes>pair[1]):
            return False
        self.add(tag, pair, None, None, 0, now)
        return True

    cdef int add(self, bytes tag, tuple pair, StoredWatch watch, StoredWatch stored, int64_t former_end, int64_t now) except -1:
        self.waiting.pop(tag, None)           # decided once more, after a conflict: it is the youngest again
        self.waiting[tag] = make_offer(pair, watch, stored, former_end, now + self.patience)
        return self.watch_first()

    cdef bytes mark(self, bytes tag):
        return self.place + tag

    # ---- its ACK

    cdef int acknowledged(self, bytes tag, int64_t now) except -1:
        cdef Offer offer = self.waiting.pop(tag, None)
        if offer is None:
            return 0
        if offer.watch is None:
            self.cancel(offer.pair, now)
            return 0
        if offer.watch.at.expires_at <= now:
            return self.drop(tag, offer)
        self.watchlist.pending.acknowledge(offer)     # first: it has happened, whatever the store does
        return self.confirm(offer, now)

    cdef int withdrawn(self, bytes tag) except -1:
        self.waiting.pop(tag, None)
        return 0

    cdef int confirm(self, Offer offer, int64_t now) except -1:
        cdef tuple pair = offer.pair
        cdef StoredWatch before, watch = offer.watch
        cdef WatchEntry entry
        if offer.stored is not None and not self.watchlist.lost and self.store.claim(offer.stored, watch):
            # It is stored as it was offered, which goes for nearly all, and is seen without reading it.
            self.watchlist.note_write(pair, watch)
            return self.tell_armed(pair, watch, False, watch.at.expires_at != offer.stored.at.expires_at, now)
        self.store.for_update()
        before = self.watchlist.find(pair)
        if before is None:
            # It was ended meanwhile: by hand, or since the two talk. Or it has run out, and then this is a new one.
            if not offer.former_end or offer.former_end > now or not self.watchlist.has_room(<bytes>pair[1], <bytes>pair[0]):
                return 0
            entry = watch.at
            entry.armed_at = now
            return self.put_armed(pair, written_watch(&entry), True, False, True, now)
        if is_offered(before):
            return self.put_armed(pair, watch, False, False, watch.at.expires_at != before.at.expires_at, now)
        if is_claimed(before):                # what its recall has to say of it stays, and only its end moves
            entry = before.at
            entry.expires_at = watch.at.expires_at
        else:
            entry = watch.at
            entry.armed_at = before.at.armed_at
        return self.put_armed(pair, written_watch(&entry), False, True, True, now)

    # `later`: it ends at another time than its pair was noted with.
    cdef int put_armed(self, tuple pair, StoredWatch watch, bint new, bint renewed, bint later, int64_t now) except -1:
        self.watchlist.put(pair, watch, new)
        return self.tell_armed(pair, watch, renewed, later, now)

    cdef int tell_armed(self, tuple pair, StoredWatch watch, bint renewed, bint later, int64_t now) except -1:
        self.unwritten.pop(pair, None)        # this is newer
        if not is_claimed(watch):             # else the owner of the recall writes it again, if that is lost
            self.watchlist.pending.promise(pair)
        self.ownership.owner_of(<bytes>pair[0]).watch_armed(pair, watch.at.expires_at if later else 0, now)
        self.counts["renewed" if renewed else "armed"] += 1
        self.events.step(STEP_RENEWED if renewed else STEP_ARMED, watch)
        if self.events.wants(EVENT_ARMED):
            self.events.add("watch-armed", {"callee": pair[0], "caller": pair[1], "renewed": renewed,
                                            "seconds": (watch.at.expires_at - now + 999) // 1000})
        return 0

    cdef bint cancel(self, tuple pair, int64_t now) except -1:
        if not self.watchlist.remove(pair, "cancelled by the caller"):
            return False
        self.counts["cancelled"] += 1
        self.ownership.owner_of(<bytes>pair[0]).watch_cancelled(pair, now)
        return True

    # ---- no ACK

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        cdef Offer offer = None
        if kind == FORMER:
            return self.arm_former(now)
        if kind == UNWRITTEN:
            return self.write_again(now)
        self.timed = False
        if self.waiting:
            tag = next(iter(self.waiting))    # all are waited for as long, so the first is due first
            offer = self.waiting[tag]
        if offer is None or offer.due > now:
            return self.watch_first()
        del self.waiting[tag]
        self.watch_first()                    # first: the others have their turn, whatever the store does
        return self.give_up(<bytes>tag, offer, now)

    # One timer for all: nearly each has its ACK in a moment.
    cdef int watch_first(self) except -1:
        if not self.timed and self.waiting:
            self.timed = True
            self.wheel.schedule((<Offer>next(iter(self.waiting.values()))).due, self, NO_ACK, None)
        return 0

    cdef int give_up(self, bytes tag, Offer offer, int64_t now) except -1:
        try:
            self.drop(tag, offer)
        except StoreError:
            self.add(tag, offer.pair, offer.watch, offer.stored, offer.former_end, now)
            raise
        self.counts["unacknowledged"] += 1
        return self.events.not_watched(<bytes>offer.pair[1], <bytes>offer.pair[0], "no ACK came for the 480 that " + (
            "is to end its watch" if offer.watch is None else "renews its watch" if offer.former_end else "offers a watch"))

    cdef int drop(self, bytes tag, Offer offer) except -1:
        cdef StoredWatch watch
        if offer.watch is None or offer.former_end:
            return 0                          # nothing was stored of it
        self.store.for_update()
        watch = self.watchlist.find_readable(offer.pair)
        if watch is not None and is_offered(watch) and same_piece(watch.at.offer, self.mark(tag)):
            self.watchlist.drop(offer.pair)
        return 0

    # ---- what was lost with a batch

    cdef int batch_lost(self, Pending batch, object units, int64_t now) except -1:
        cdef list lost = [each for each in batch.acknowledged if units is None or each[1] in units]
        if not lost:
            return 0
        batch.acknowledged = [each for each in batch.acknowledged if each not in lost]
        if not self.unwritten:
            self.wheel.schedule(now + REWRITE_AFTER, self, UNWRITTEN, None)
        for offer, _ in lost:
            self.unwritten[(<Offer>offer).pair] = offer
        return 0

    cdef int write_again(self, int64_t now) except -1:
        cdef dict unwritten = self.unwritten
        self.unwritten = {}
        return self.confirm_all(list(unwritten.values()), now)

    cdef int confirm_all(self, list offers, int64_t now) except -1:
        cdef Offer offer
        for offer in offers:                  # first: all of them have happened, whatever the store does with one
            self.watchlist.pending.acknowledge(offer)
        for offer in offers:
            self.confirm(offer, now)
        return 0

    # ---- of before a start

    cdef int take_over(self, list offered, int64_t now) except -1:
        # Of another number of workers, too. Those of the other workers are theirs.
        for pair, offer in offered:
            if int((<bytes>offer).partition(b" ")[0] or b"0") % self.ownership.workers == self.ownership.worker:
                self.former.append((pair, offer))
        if self.former:
            self.wheel.schedule(now, self, FORMER, None)      # not now: a start does not fail because of a full disk
        return 0

    cdef int arm_former(self, int64_t now) except -1:
        cdef StoredWatch watch
        cdef WatchEntry entry
        cdef list some, offers = []
        if not self.former:
            return 0
        self.wheel.schedule(now + FORMER_EVERY, self, FORMER, None)   # first: whatever the store does
        self.store.for_update()
        some, self.former = self.former[:FORMER_AT_ONCE], self.former[FORMER_AT_ONCE:]
        for pair, mark in some:
            watch = self.watchlist.find_readable(pair)
            if watch is not None and is_offered(watch) and same_piece(watch.at.offer, mark):      # else there is a newer one
                entry = watch.at
                entry.state = piece_in(armed)
                entry.offer = piece_in(nothing)
                offers.append(make_offer(pair, written_watch(&entry), watch, 0, 0))
        return self.confirm_all(offers, now)
