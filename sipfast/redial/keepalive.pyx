"""Keep-alive: whether those who are waited for are still where they were, asked by OPTIONS now and then.

A phone may be gone without a word, and it may be back without one: whose network was away for a minute does not know it, and
registers again in half an hour. So each binding of a callee who is waited for is asked once an interval (`redial.keepalive`):
one that does not answer is in doubt, and one that was in doubt and answers is the callee's return (`routing/doubt`). A round
is spread over its interval. It is off unless somebody asks for it, and costs nothing then.
"""

from libc.stdint cimport int64_t

from ..routing.doubt cimport Doubts
from .._wheel cimport Timed, Wheel
from .policy cimport Policy
from .waiting cimport Waiting

cdef enum:
    TICK = 1                # timer, without payload
    EVERY = 1_000           # ms


cdef class KeepAlive(Timed):
    """Asks the phones of those who are waited for. All times are ms."""

    cdef int run(self, int64_t now) except -1:
        if self.policy.keepalive and not self.timer:
            self.timer = self.wheel.schedule(now + min(<int64_t>EVERY, self.policy.keepalive), self, TICK)
            self.round_ends = now + self.policy.keepalive
        return 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A tick."""
        cdef int64_t interval = self.policy.keepalive
        cdef Py_ssize_t _one
        self.timer = 0
        if not interval:
            return 0
        self.timer = self.wheel.schedule(now + min(<int64_t>EVERY, interval), self, TICK)
        if not self.left and now >= self.round_ends:
            self.left = list(self.waiting.of_callee)
            self.share = len(self.left) * EVERY // interval + 1
            self.round_ends = now + interval
        for _one in range(min(self.share, <Py_ssize_t>len(self.left))):
            self.doubts.ask(self.left.pop(), True, now)
        return 0


cdef KeepAlive make_keepalive(Policy policy, Waiting waiting, Doubts doubts, Wheel wheel):
    cdef KeepAlive it = KeepAlive.__new__(KeepAlive)
    it.policy = policy
    it.waiting = waiting
    it.doubts = doubts
    it.wheel = wheel
    it.left = []
    return it
