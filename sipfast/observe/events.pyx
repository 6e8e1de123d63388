"""What people are told of: a log line for each change at `info`, and none for each message.

Lines wait for the commit of their batch, as messages do: nobody is told of a watch that is not stored.

Each kind of line has a bucket, so that a storm of phones that come back is not held up by what is written about it: after
AT_ONCE lines of a kind, A_SECOND of them each second. What is beyond is counted, and one line a second says how many of a
kind were left out. Where nobody listens at `info` a change costs a question, and nothing is put together.

Each step of a watch's life is told as well, all of them and without a bound, to an outlet: whoever it is that wants them
(`[events]`). It gets a list of them after their commit, and must neither wait nor raise.
So must the webhook of redial.
"""

import logging

import cython

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel
from ..store.codec cimport StoredWatch, bytes_of, same_piece

from ..store.records import ARMED as STATE_ARMED
from .steps import Step as Told

cdef enum:
    AT_ONCE = 200
    A_SECOND = 20
    SUM_UP_AFTER = 1_000        # ms from the first line that was left out
    REFUSED_EVERY = 60_000      # ms between two lines for the same kind of refusal
    SUM_UP = 1                  # timer

cdef tuple NAMES = ("registered", "gone", "watch-armed", "call-not-watched", "recall", "recall-failed", "watch-ended",
                    "source-limited", "source-banned", "login-failed", "", "")
cdef bytes armed = STATE_ARMED.encode()
# In the order of Step.
cdef tuple STEPS = (
    "armed", "renewed", "suspended", "resumed", "claimed", "begun", "outcome", "climbed", "called", "failed", "ended",
)


@cython.final
cdef class Events(Timed):
    """Tells `sipfast.observe.events`, the logger, of what happens; the engine keeps `now`."""

    def __init__(self, Wheel wheel not None, outlet=None, webhook=None):
        cdef int kind
        self.outlet = outlet
        self.telling = outlet is not None
        self.webhook = webhook
        self.knocking = webhook is not None
        self.wheel = wheel
        self.registrations = True
        self.log = logging.getLogger("sipfast.observe.events")
        self.waiting = []
        self.refusals = {}
        for kind in range(KINDS):
            self.room[kind] = AT_ONCE * 1000
            self.filled[kind] = wheel.now

    def configure(self, config):
        """`config`: a config.Config."""
        self.registrations = config.log_registrations

    cdef int64_t time(self) noexcept:
        return max(self.now, self.wheel.now)

    cdef bint wants(self, Kind kind) except -1:
        if self.has_room(kind):
            return self.log.isEnabledFor(logging.INFO)
        self.left_out[<int>kind] += 1
        if not self.timer:
            self.timer = self.wheel.schedule(self.time() + SUM_UP_AFTER, self, SUM_UP)
        return False

    cdef bint wants_registered(self) except -1:
        return self.registrations and self.wants(REGISTERED)

    cdef int gone(self, bytes aor, str why) except -1:
        return self.add("gone", {"aor": aor, "why": why}) if self.registrations and self.wants(GONE) else 0

    cdef int not_watched(self, bytes caller, bytes callee, str why) except -1:
        return self.add("call-not-watched", {"callee": callee, "caller": caller, "why": why}) if self.wants(NOT_ARMED) else 0

    cdef bint has_room(self, Kind kind) noexcept:
        cdef int64_t now = self.time(), passed = now - self.filled[<int>kind]
        if passed > 0:
            self.filled[<int>kind] = now
            self.room[<int>kind] = min(<int64_t>AT_ONCE * 1000, self.room[<int>kind] + min(passed, 60_000) * A_SECOND)
        if self.room[<int>kind] < 1000:
            return False
        self.room[<int>kind] -= 1000
        return True

    cdef int add(self, str event, dict values) except -1:
        self.waiting.append((event, values))
        return 0

    cdef int step(self, Step step, StoredWatch watch, str method=None, str result=None, str reason=None) except -1:
        if self.telling and watch is not None:
            self.waiting.append((None, step_of(STEPS[<int>step], self.time(), watch, method, result or "", reason or "")))
        return 0

    cdef int knock(self, StoredWatch watch) except -1:
        self.waiting.append(("", step_of("reachable", self.time(), watch, None, "", "")))
        return 0

    cdef int refused(self, int status, int method, bytes name, bytes peer, str why) except -1:
        cdef int64_t now = self.time()
        cdef list known
        cdef dict values
        known = self.refusals.get((status, method))
        if known is not None and now < <int64_t>known[0]:
            known[1] += 1
            return 0
        if not self.log.isEnabledFor(logging.INFO):
            return 0
        if known is None:
            self.refusals[(status, method)] = known = [0, 0]
        values = {"status": status, "method": name, "peer": peer, "why": why}
        if known[1]:
            values["more"] = known[1]
        known[0], known[1] = now + REFUSED_EVERY, 0
        return self.add("refused", values)

    cdef list take(self):
        cdef list waiting = self.waiting
        self.waiting = []
        return waiting

    cdef int tell(self, list lines) except -1:
        cdef list steps = [], knocks = []
        for event, values in lines:
            if event is None:
                steps.append(values)
            elif event:
                self.log.info(event, extra={"sip": values})
            else:
                knocks.append(values)
        if steps and self.outlet is not None:
            self.outlet(steps)
        if knocks and self.webhook is not None:
            self.webhook(knocks)
        return 0

    cdef int drop(self) except -1:
        self.waiting = []
        return 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """Say how many lines were left out."""
        cdef int each
        self.timer = 0
        for each in range(KINDS):
            if self.left_out[each]:
                if self.log.isEnabledFor(logging.INFO):
                    self.add("lines-left-out", {"of": NAMES[each], "count": self.left_out[each]})
                self.left_out[each] = 0
        return 0


cdef object step_of(str event, int64_t now, StoredWatch watch, str method, str result, str reason):
    if method is None and not same_piece(watch.at.state, armed):               # else that of an attempt that is over
        method = bytes_of(watch.at.method).decode()
    return Told(event, now, bytes_of(watch.at.callee), bytes_of(watch.at.caller), watch.at.armed_at, watch.at.expires_at,
                bytes_of(watch.at.mode), watch.at.attempts, method or "", result, reason)
