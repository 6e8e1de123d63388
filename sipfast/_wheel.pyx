"""A hashed hierarchical timer wheel (Varghese and Lauck, 1987, schemes 6 and 7). Ticks are 1 ms.

Workload. Two kinds of timers share it: those of transactions (RFC 3261 §17: 500 ms to 32 s, hundreds of thousands a
second, nearly all cancelled before they run out) and those of bindings and watches (minutes to ten days, up to a
million at a time, most of them renewed or left to run out). So schedule and cancel must not depend on how many timers
there are, and a wheel that has nothing due must let a day pass in one step.

Sizes. Four levels of 256 slots; a slot of level n spans 256**n ms: 1 ms, 256 ms, 65.5 s, 4.66 h. A timer hangs at the
level of the highest byte in which its time differs from the present, and moves down when time enters its slot: at most
three times in its life. That everything of a lower level is earlier than anything of a higher one makes the next event
the first bit set, level by level, in 128 bytes of bitmaps. Level 3 turns round in 49 days, four times LONGEST. Slots
of 65 s at the level where registrations of an hour hang keep small what moves down at once (18,000 of a million).

Order. Timers fire in order of time; ties fire in the order in which they were scheduled, which costs nothing here: as
long as time is outside a slot of level 1, all timers of that slot queue up there, and they move down before any other
can join them below. A timer scheduled for the past or the present counts as scheduled for the present.

Memory. 40 bytes a timer (32 of `Timer`, 8 of `Link`) in two arrays that double, and 8 kB for an empty wheel. No Python
object is made for a timer. Places never used are never touched, so that the doubled part stays virtual; the arrays do
not shrink. A place whose generation is used up (after 2**32 timers) is retired, hence no handle ever comes back.

Cancel. A cancelled timer is void at once and its references are dropped, but its link stays in its list until 64 are
cancelled, or until somebody walks a list. Of a million timers, the next and the previous one are in no cache, and what is
waited for in turn costs far more than what is waited for together.

References. The wheel holds a reference to a timer's owner and payload until the timer has fired or is cancelled. They
live in C memory, where the garbage collector does not see them: a cycle that goes through a pending timer lasts until
that timer is gone. `clear` (or the end of the wheel) breaks all of them.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from libc.stdlib cimport free, malloc, realloc

cimport cython

cdef extern from * nogil:
    int __builtin_ctzll(unsigned long long word)
    void __builtin_prefetch(const void *address)

cdef enum:
    LEVELS = 4
    SLOTS = 256
    FIRING = 1024           # sentinel of those that this advance fires (LEVELS * SLOTS)
    LATE = 1025             # of those scheduled for the past or present: fired by the next advance
    SENTINELS = 1026        # sentinels are the first links; those of the slots by level, then by slot
    FIRST_CAPACITY = 64
    NO_PLACE = 0x7fffffff


cdef class Timed:

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        raise NotImplementedError("a Timed needs its own expired()")


@cython.final
cdef class Wheel:

    def __cinit__(self, int64_t now):
        cdef int sentinel
        if now < 0:
            raise ValueError("time is milliseconds since the epoch")
        self.now = now
        self.free = NO_PLACE
        self.links = <Link *>malloc((SENTINELS + FIRST_CAPACITY) * sizeof(Link))
        self.timers = <Timer *>malloc(FIRST_CAPACITY * sizeof(Timer))
        if self.links == NULL or self.timers == NULL:
            raise MemoryError()
        self.capacity = FIRST_CAPACITY
        for sentinel in range(SENTINELS):
            self.links[sentinel].next = self.links[sentinel].prev = sentinel

    def __dealloc__(self):
        if self.links != NULL and self.timers != NULL:
            self.clear()
        free(self.links)
        free(self.timers)

    # Before: when <= self.now + LONGEST, else ValueError.
    # After: count is one more; the timer fires in the first advance to `when` or later that begins after this call.
    # Owner and payload are held till then. On an exception nothing has changed.
    cpdef uint64_t schedule(self, int64_t when, Timed owner, int kind=0, object payload=None) except 0:
        cdef uint32_t place
        cdef Timer *timer
        if owner is None:
            raise TypeError("a timer needs an owner")
        if when > self.now + LONGEST:
            raise ValueError(f"a timer at most 12 days away: {when - self.now} ms")
        if self.free != NO_PLACE:
            place = self.free
            self.free = self.links[SENTINELS + place].next
            timer = &self.timers[place]
        else:
            if self.touched == self.capacity:
                self.grow()
            place = self.touched
            self.touched += 1
            timer = &self.timers[place]
            timer.generation = 1
        timer.when = when
        timer.kind = kind
        Py_INCREF(owner)
        timer.owner = <void *>owner
        if payload is None:
            timer.payload = NULL
        else:
            Py_INCREF(payload)
            timer.payload = <void *>payload
        self.count += 1
        self.append(LATE if when <= self.now else self.slot_of(when), SENTINELS + place)
        return <uint64_t>timer.generation << 32 | place

    # After: the handle's timer is void: it will not fire, also where it is due in the advance that is calling `expired` just now.
    # Its references are dropped last, since that may run a destructor that uses this wheel.
    cpdef bint cancel(self, uint64_t handle) noexcept:
        cdef uint32_t place = <uint32_t>handle        # a mask of 32 bits would be a Python int
        cdef Timer *timer
        if place >= self.touched:
            return False
        timer = &self.timers[place]
        if timer.generation != handle >> 32 or timer.owner == NULL:
            return False
        cdef PyObject *owner = <PyObject *>timer.owner
        cdef PyObject *payload = <PyObject *>timer.payload
        timer.owner = NULL
        timer.payload = NULL
        timer.generation += 1
        self.count -= 1
        __builtin_prefetch(&self.links[SENTINELS + place])
        self.cancelled[self.cancelled_count] = place
        self.cancelled_count += 1
        if self.cancelled_count == TOGETHER:
            self.unlink_cancelled()
        Py_XDECREF(owner)
        Py_XDECREF(payload)
        return True

    # Before: nothing; an earlier `now` than the last one, or a call from within `expired`, does nothing.
    # After: self.now == now, and no timer with when <= now is left but those scheduled meanwhile. Where an `expired`
    # raised, its own timer is gone and the rest is still due: the next advance fires it first.
    cpdef int advance(self, int64_t now) except -1:
        cdef int fired = 0
        if now < self.now or self.advancing:
            return 0
        self.unlink_cancelled()
        self.splice(LATE, FIRING)
        self.collect(now)
        self.advancing = True
        try:
            while self.links[FIRING].next != FIRING:
                self.fire(self.links[FIRING].next, now)
                fired += 1
                self.unlink_cancelled()
        finally:
            self.advancing = False
        return fired

    # Before: the node is in the list FIRING. After: its place is free, its owner has been told.
    cdef int fire(self, uint32_t node, int64_t now) except -1:
        cdef Timer *timer = &self.timers[node - SENTINELS]
        cdef int kind = timer.kind
        # The wheel's references become this function's. They end when it returns: that may run a destructor which
        # schedules or cancels, so no pointer into the arrays may live on here.
        cdef Timed owner = <Timed>timer.owner
        Py_DECREF(owner)
        cdef object payload = None
        if timer.payload != NULL:
            payload = <object>timer.payload
            Py_DECREF(payload)
        timer.owner = NULL
        timer.payload = NULL
        timer.generation += 1
        self.count -= 1
        self.unlink(node)
        self.release(node - SENTINELS)
        owner.expired(kind, payload, now)
        return 0

    # After: exact for what is due within the present 256 ms slot, else the start of the slot in which the first timer
    # hangs: an advance at that time moves it down and gives a nearer answer.
    cpdef int64_t deadline(self) noexcept:
        cdef int64_t start = -1
        self.unlink_cancelled()
        if self.links[LATE].next != LATE or self.links[FIRING].next != FIRING:
            return self.now
        self.next_slot(&start)
        return start

    # After: count == 0, all references are dropped, every handle is void. Destructors run here may schedule anew.
    cpdef clear(self):
        cdef uint32_t place
        for place in range(self.touched):
            if self.timers[place].owner != NULL:
                self.cancel(<uint64_t>self.timers[place].generation << 32 | place)
        self.unlink_cancelled()

    def __sizeof__(self):
        return (sizeof(Wheel) + (SENTINELS + self.capacity) * sizeof(Link) + self.capacity * sizeof(Timer))

    # After: there is at least one place from `touched` on; pointers into the arrays taken before are void.
    cdef int grow(self) except -1:
        cdef size_t capacity = 2 * <size_t>self.capacity
        cdef void *grown
        if capacity > NO_PLACE - SENTINELS:
            raise MemoryError("too many timers")
        grown = realloc(self.links, (SENTINELS + capacity) * sizeof(Link))
        if grown == NULL:
            raise MemoryError()
        self.links = <Link *>grown
        grown = realloc(self.timers, capacity * sizeof(Timer))
        if grown == NULL:
            raise MemoryError()
        self.timers = <Timer *>grown
        self.capacity = capacity
        return 0

    # Before: the node is in no list. After: it is the last of the list, whose bit is set.
    cdef inline void append(self, uint32_t sentinel, uint32_t node) noexcept:
        cdef uint32_t last = self.links[sentinel].prev
        self.links[node].prev = last
        self.links[node].next = sentinel
        self.links[last].next = node
        self.links[sentinel].prev = node
        if sentinel < FIRING:
            self.occupied[sentinel >> 8][sentinel >> 6 & 3] |= <uint64_t>1 << (sentinel & 63)

    # Before: the node is in a list. After: it is in none; the bit of a slot emptied by it is cleared.
    cdef inline void unlink(self, uint32_t node) noexcept:
        cdef uint32_t next_ = self.links[node].next
        cdef uint32_t prev = self.links[node].prev
        self.links[prev].next = next_
        self.links[next_].prev = prev
        if next_ == prev and prev < FIRING:     # only the sentinel is left
            self.occupied[prev >> 8][prev >> 6 & 3] &= ~(<uint64_t>1 << (prev & 63))

    # After: all of source stands at the end of target, in its order; source is empty.
    cdef void splice(self, uint32_t source, uint32_t target) noexcept:
        cdef uint32_t first = self.links[source].next
        cdef uint32_t last = self.links[source].prev
        if first == source:
            return
        self.links[source].next = self.links[source].prev = source
        self.links[self.links[target].prev].next = first
        self.links[first].prev = self.links[target].prev
        self.links[last].next = target
        self.links[target].prev = last
        if source < FIRING:
            self.occupied[source >> 8][source >> 6 & 3] &= ~(<uint64_t>1 << (source & 63))

    # Before: self.now <= when <= self.now + LONGEST.
    cdef inline uint32_t slot_of(self, int64_t when) noexcept:
        cdef uint64_t differ = <uint64_t>(when ^ self.now)
        if differ < 1 << 8:
            return when & 255
        if differ < 1 << 16:
            return 256 | (when >> 8 & 255)
        if differ < 1 << 24:
            return 512 | (when >> 16 & 255)
        return 768 | (when >> 24 & 255)

    # The earliest slot that holds a timer: its sentinel, and its first millisecond in start; SENTINELS where there is
    # none. Slots of levels 0 to 2 lie ahead within the present slot of the level above; level 3 is a ring.
    cdef uint32_t next_slot(self, int64_t *start) noexcept:
        cdef uint32_t index, word
        cdef uint64_t bits
        cdef int level, shift, _step
        for level in range(LEVELS):
            shift = 8 * level
            index = self.now >> shift & 255
            word = index >> 6
            bits = self.occupied[level][word] & (<uint64_t>0xffffffffffffffff << (index & 63))
            for _step in range(4 if level < 3 else 5):
                if bits:
                    index = (word & 3) << 6 | __builtin_ctzll(bits)
                    start[0] = (self.now >> shift & ~<int64_t>255 | index) << shift
                    if start[0] < self.now >> shift << shift:
                        start[0] += <int64_t>256 << shift
                    return level << 8 | index
                word += 1
                if word == 4 and level < 3:
                    break
                bits = self.occupied[level][word & 3]
        return SENTINELS

    # After: self.now == now and all that is due by then is in the list FIRING, in order. Runs no foreign code.
    cdef void collect(self, int64_t now) noexcept:
        cdef int64_t start
        cdef uint32_t slot, node, after
        while True:
            start = -1
            slot = self.next_slot(&start)
            if slot == SENTINELS or start > now:
                break
            self.now = start
            if slot < SLOTS:
                self.splice(slot, FIRING)
                continue
            node = self.links[slot].next
            self.links[slot].next = self.links[slot].prev = slot
            self.occupied[slot >> 8][slot >> 6 & 3] &= ~(<uint64_t>1 << (slot & 63))
            while node != slot:
                after = self.links[node].next
                self.append(self.slot_of(self.timers[node - SENTINELS].when), node)
                node = after
        self.now = now

    # Before: the timer is in no list and void: without owner, its generation over. After: its place is free.
    cdef inline void release(self, uint32_t place) noexcept:
        if self.timers[place].generation == 0:       # used up: this place is retired
            return
        self.links[SENTINELS + place].next = self.free
        self.free = place

    # After: no void timer is in a list, as who walks one expects. Runs no foreign code.
    cdef void unlink_cancelled(self) noexcept:
        cdef uint32_t i, node
        if self.cancelled_count == 0:
            return
        for i in range(self.cancelled_count):
            node = SENTINELS + self.cancelled[i]
            __builtin_prefetch(&self.links[self.links[node].next])
            __builtin_prefetch(&self.links[self.links[node].prev])
        for i in range(self.cancelled_count):
            self.unlink(SENTINELS + self.cancelled[i])
            self.release(self.cancelled[i])
        self.cancelled_count = 0
