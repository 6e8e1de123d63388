"""A REGISTER storm: callees whom somebody waits for come back all at once. And ordinary calls that go on meanwhile.

First `run` arms one watch for each place, INVITE 480 ACK. After `storm` a cycle is a callee's REGISTER, repeated by timer E
(RFC 3261 §17.1.2.2) until its 200, and its caller's REFER, answered 202. A REFER is told from its retransmission by its
Call-ID: another one for the same watch is a recall too many.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from . import calls, redial  # must be loaded first  # no-cython-lint
from .calls cimport CONFIRMED, Calls
from .core cimport BUCKETS, CALLER, DUPLICATES, STRAY, Call, Generator
from .redial cimport ASKING, BOUND, LOGIN, REFERRED, Redial
from .wire cimport REFER, Part, Scan, hex_of, same

cdef extern from "<sched.h>" nogil:
    int sched_yield()
cdef extern from *:
    """
    #include <time.h>
    static long long storm_now(void) {
        struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
    """
    int64_t storm_now() nogil

# The recall that a caller has got.
cdef struct Recalled:
    char call_id[128]
    int size


cdef class Storm(Redial):
    """Watches armed, and all of their callees at once."""

    cdef bint storming
    cdef Recalled *recalled
    cdef uint64_t *bound_buckets
    cdef int64_t last
    cdef readonly uint64_t recalls_made   # watches whose REFER has come
    cdef readonly uint64_t recalls_again  # REFERs of another Call-ID for a watch that had one
    cdef readonly uint64_t refers_repeated  # retransmissions

    def __init__(self, *args, int size, **more):
        Redial.__init__(self, *args, size=size, **more)
        self.recalled = <Recalled *>calloc(size, sizeof(Recalled))
        self.bound_buckets = <uint64_t *>calloc(BUCKETS, sizeof(uint64_t))
        if not (self.recalled and self.bound_buckets):
            raise MemoryError

    def __dealloc__(self):
        free(self.recalled)
        free(self.bound_buckets)

    def storm(self):
        """From now on a cycle is a login. Begins with the first callee."""
        self.storming = True
        self.next_call = 0

    def listen(self, double seconds):
        """Begin nothing, and answer what comes."""
        cdef int64_t until = storm_now() + <int64_t>(seconds * 1e9)
        with nogil:
            while storm_now() < until:
                self.turn(False)

    def bindings(self):
        """(nanoseconds, how many) from when a REGISTER was due to its 200."""
        return self.histogram(self.bound_buckets)

    @property
    def last_recall(self):
        """Seconds from the begin of the last `run` to the last watch's REFER."""
        return max(self.last - self.started, 0) / 1e9

    def reset(self):
        """Forget what was counted; calls in flight go on."""
        Redial.reset(self)
        memset(self.bound_buckets, 0, BUCKETS * sizeof(uint64_t))

    cdef void begin(self, Call *call) noexcept nogil:
        call.gen = 1  # the watch's Contact is that of the first cycle
        call.cseq = 1
        if self.storming:
            call.state = LOGIN
            call.leg = 2
            if self.recalled[call.number].size:
                call.seen = REFERRED
            self.register(call, 3600)
        else:
            call.state = ASKING
            self.ask(call)
        self.expect(call)

    cdef void again(self, Call *call) noexcept nogil:
        if call.state == ASKING:
            if not call.seen:
                self.ask(call)
        elif not call.seen & BOUND:
            self.register(call, 3600)

    cdef void received(self, int end, Scan *s) noexcept nogil:
        cdef Call *call
        if end == CALLER and s.status == 0:
            self.referred_in_storm(s)
            return
        call = self.find(s.call_id, s)
        if call == NULL:
            return
        if end != CALLER:
            self.at_callee(call, s)
        elif call.state == ASKING:
            self.told(call, s)
        else:
            self.counts[DUPLICATES] += 1
            if s.status >= 300:
                self.refused_again(call, s)

    cdef void told(self, Call *call, Scan *s) noexcept nogil:
        if self.promised(call, s):
            self.complete(call)

    cdef void registered(self, Call *call) noexcept nogil:
        if not call.seen & BOUND:
            call.seen |= BOUND
            self.tally(self.bound_buckets, call.began)
            self.go_on(call)

    cdef void referred_in_storm(self, Scan *s) noexcept nogil:
        """A REFER counts whatever its callee's cycle is at: it may come before the 200, and once more at any time."""
        cdef uint32_t number, gen
        cdef Call *call
        cdef Recalled *before
        cdef Part id = s.uri
        if id.n < 20 or hex_of(id.p + 4, 8, &number) < 0 or hex_of(id.p + 12, 8, &gen) < 0 or gen != 1:
            self.counts[STRAY] += 1
            return
        if number >= <uint32_t>self.size:
            self.counts[STRAY] += 1
            return
        call = &self.calls[number]
        before = &self.recalled[number]
        if s.method != REFER or not self.storming or not self.refers_to_callee(call, s):
            self.note(b"not a REFER to the callee, or before he is back", s)
            return
        if s.call_id.n > <int>sizeof(before.call_id):
            self.note(b"a REFER with a Call-ID longer than foreseen", s)
            return
        self.accept(call, s)
        if before.size == 0:
            memcpy(before.call_id, s.call_id.p, s.call_id.n)
            before.size = s.call_id.n
            self.recalls_made += 1
            self.last = self.clock()
            self.tally(self.recall_buckets, call.began)
            if call.active:
                call.seen |= REFERRED
                self.go_on(call)
        elif same(s.call_id, before.call_id, before.size):
            self.refers_repeated += 1
        else:
            self.recalls_again += 1

    cdef void go_on(self, Call *call) noexcept nogil:
        if call.seen & BOUND and call.seen & REFERRED:
            self.complete(call)


cdef class Ordinary(Calls):
    """Whole calls from a thread of their own beside a storm: they let the storm have the core
    between two turns.

    How long an INVITE waited for its 200 is noted besides (`answers_to_invite`).
    """

    cdef uint64_t *answered_buckets

    def __init__(self, *args, **more):
        self.answered_buckets = <uint64_t *>calloc(BUCKETS, sizeof(uint64_t))
        if not self.answered_buckets:
            raise MemoryError

    def __dealloc__(self):
        free(self.answered_buckets)

    def answers_to_invite(self):
        """(nanoseconds, how many) from when an INVITE was due to its 200."""
        return self.histogram(self.answered_buckets)

    def reset(self):
        """Forget what was counted; calls in flight go on."""
        Calls.reset(self)
        memset(self.answered_buckets, 0, BUCKETS * sizeof(uint64_t))

    cdef void turn(self, bint beginning) noexcept nogil:
        Generator.turn(self, beginning)
        if self.rate > 0:
            sched_yield()

    cdef void invite_answered(self, Call *call, Scan *s) noexcept nogil:
        Calls.invite_answered(self, call, s)
        if call.active and call.state == CONFIRMED:
            self.tally(self.answered_buckets, call.began)
