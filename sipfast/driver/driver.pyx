"""The driver: the only caller of the engine. It has the loop, the clock, the timer, the batch, and the overload rule.

A transport whose socket is readable reads a batch of messages and gives them to the driver, each with its flow; then the
batch is finished: the engine commits, which hands what is to be sent to `Driver.send`, and that leaves by the transports.
A batch reads the clock once. No task, future or queue is in between. The bus between workers feeds it in the same way, and so
does a store that answers later.

Overload. When a transport says that more waits than is handled, it is read until nothing waits, what may wait (the engine
says so of REGISTERs) is put aside, everything else is handled first, and then what waits, in its order. So a storm of phones
that come back costs them, and not those who call: what the kernel would have thrown away blindly is thrown away only where
too much waits.

What could not be delivered is given to the engine by a call of the loop of its own, outside of the batch whose sending
failed, and makes a batch with all that comes of it.

There is one timer of the loop for all timers of the engine. It may fire too early: it is set again only when the next
deadline comes before it, which under load saves nearly all of the setting.

A tap sees each message that comes and each that leaves: traces and ladders hang on it. Without one it costs a comparison.
"""

from collections import deque

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport TRANSPORT_WSS, Flow, Incoming, Receiver, Sink

cdef enum:
    MOST_POSTPONED = 16_384  # put aside: REGISTERs are answered within T1, or else will be repeated anyway
    MOST_PUT_ASIDE = 4096    # bytes of one, so that all of them have 64 MB at the most
    MOST_RELIEF = 20         # ms that a source is read for before those have their turn


cdef class Transport(Sink):

    def __init__(self, Driver driver not None, int number):
        self.driver = driver
        self.sources = []
        driver.transports.append(self)
        driver.by_number[number] = self

    def close(self):
        raise NotImplementedError("a Transport needs its own close()")

    cdef int begin_to_read(self) except -1:
        raise NotImplementedError("a Transport needs its own begin_to_read()")

    cdef int end_to_read(self) except -1:
        raise NotImplementedError("a Transport needs its own end_to_read()")

    cdef int read_batch(self, object source) except -1:
        raise NotImplementedError("a Transport needs its own read_batch()")

    cdef int leave(self) except -1:
        raise NotImplementedError("a Transport needs its own leave()")


cdef class Tap:

    cpdef int came(self, bytes data, Flow flow, int64_t now) except -1:
        return 0

    cpdef int left(self, bytes data, Flow flow, int64_t now) except -1:
        return 0


@cython.final
cdef class Driver(Sink):

    def __cinit__(self, loop, Clock clock not None, report):
        self.loop = loop
        self.clock = clock
        self.report = report
        self.transports = []
        self.by_number = [None] * (TRANSPORT_WSS + 1)
        self.armed = -1
        self.undelivered = []
        self.postponed = deque()

    def start(self, Receiver engine not None):
        cdef Transport transport
        self.engine = engine
        self.running = True
        for transport in self.transports:
            transport.begin_to_read()
        self.advance()

    def stop(self):
        cdef Transport transport
        if self.running:
            self.running = False
            for transport in self.transports:
                transport.end_to_read()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.armed = -1
        self.postponed_drops += len(self.postponed)
        self.postponed.clear()
        self.postponing = False
        self.undelivered.clear()

    def close(self):
        self.stop()
        for transport in self.transports:
            transport.close()
        self.engine = None

    # The sink of the engine

    cpdef int send(self, bytes data, Flow flow) except -1:
        cdef Transport transport = <Transport>self.by_number[flow.transport]
        if transport is None or data is None:
            self.unroutable += 1
            return 0
        if self.tap is not None:
            self.tap.left(data, flow, self.at)
        return transport.send(data, flow)

    # A batch

    cdef int64_t begin(self) noexcept:
        self.at = self.clock.now()
        self.batches += 1
        return self.at

    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept:
        return self.engine.admit(arrivals, count, now)

    cdef int take_over(self, bytes data, Flow flow, int64_t now) except -1:
        if self.tap is not None:
            self.tap.came(data, flow, now)
        try:
            self.engine.receive_over(data, flow, now)
        except Exception as error:
            self.fail("receive-failed", error)
        return 0

    cdef int take(self, bytes data, Flow flow, int64_t now) except -1:
        """A message that has come. It is handled now, or put aside."""
        if self.postponing and PyBytes_GET_SIZE(data) <= MOST_PUT_ASIDE:
            try:
                if self.engine.may_wait(data):
                    return self.postpone(data, flow)
            except Exception as error:
                return self.fail("receive-failed", error)
        return self.give(data, flow, now)

    cdef int give(self, bytes data, Flow flow, int64_t now) except -1:
        """Give one message to the engine. What it raises is reported, and the next one has its turn."""
        if self.tap is not None:
            self.tap.came(data, flow, now)
        try:
            self.engine.receive(data, flow, now)
        except Exception as error:
            self.fail("receive-failed", error)
        return 0

    cdef int finish(self, int64_t now) except -1:
        """Commit, then send what that has produced."""
        cdef Transport transport
        self.at = now
        try:
            self.engine.commit(now)
        except Exception as error:
            self.fail("commit-failed", error)
        for transport in self.transports:
            transport.leave()
        return 0

    # Overload

    cdef int relieve(self, Transport transport, object source) except -1:
        """Empty a source, handle all but what may wait, then some of that."""
        cdef int64_t until = self.clock.now() + MOST_RELIEF
        self.postponing = True
        while self.running and self.clock.now() < until and transport.read_batch(source) == BATCH:
            pass
        return self.work_off()

    cdef int work_off(self) except -1:
        """Handle a batch of what waits; the loop comes back for the rest."""
        cdef int64_t now = self.clock.now()
        cdef int left = BATCH
        while left and self.postponed:
            data, flow = self.postponed.popleft()
            self.give(data, flow, now)
            left -= 1
        if left < BATCH:
            self.finish(now)
        if not self.postponed:
            self.postponing = False
        elif not self.called:
            self.called = True
            self.loop.call_soon(self._go_on)
        return 0

    def _go_on(self):
        cdef Transport transport
        self.called = False
        for transport in self.transports:
            for source in transport.sources:
                if self.running and self.postponing:
                    self.relieve(transport, source)
        self.rearm()

    cdef int postpone(self, bytes data, Flow flow) except -1:
        if len(self.postponed) >= MOST_POSTPONED:
            self.postponed_drops += 1
            return 0
        self.postponements += 1
        self.postponed.append((data, flow))
        return 0

    # What could not be delivered

    cdef int could_not_deliver(self, list failed) except -1:
        """Have the engine told, afterwards, of what was sent in vain."""
        if self.running and failed:
            self.undelivered += failed
            if not self.telling:
                self.telling = True
                self.loop.call_soon(self._tell_failures)
        failed.clear()
        return 0

    def _tell_failures(self):
        cdef int64_t now = self.clock.now()
        self.telling = False
        if not self.running:
            return
        failed, self.undelivered = self.undelivered, []
        for flow, data in failed:
            try:
                self.engine.failed(flow, data, now)
            except Exception as error:
                self.fail("undeliverable-failed", error)
        self.close_batch(now)

    # Other workers

    def told(self, frames):
        """What the bus has brought, as a batch."""
        cdef int64_t now = self.clock.now()
        for frame in frames:
            try:
                self.engine.told(frame, now)
            except Exception as error:
                self.fail("told-failed", error)
        self.advance()

    # Names

    def resolved(self, ticket, addresses):
        """What a resolver has found for a name that the engine has asked for."""
        cdef int64_t now = self.clock.now()
        if not self.running:
            return
        try:
            self.engine.resolved(ticket, addresses, now)
        except Exception as error:
            self.fail("resolved-failed", error)
        self.close_batch(now)

    # A store that answers later

    def committed(self, batch):
        """What the store says of a batch that it was given: it is kept."""
        cdef int64_t now = self.clock.now()
        try:
            self.engine.committed(batch, now)
        except Exception as error:
            self.fail("committed-failed", error)
        self.close_batch(now)

    def lost(self, batch, reason):
        """It is not, or not all of it."""
        cdef int64_t now = self.clock.now()
        try:
            self.engine.lost(batch, reason, now)
        except Exception as error:
            self.fail("lost-failed", error)
        self.close_batch(now)

    def fetched(self, group):
        """What it says of messages whose records it was asked for: they are at hand."""
        cdef int64_t now = self.clock.now()
        try:
            self.engine.fetched(group, now)
        except Exception as error:
            self.fail("fetched-failed", error)
        self.close_batch(now)

    cdef int close_batch(self, int64_t now) except -1:
        self.finish(now)
        return self.rearm()

    # Timers

    def advance(self):
        cdef int64_t now = self.clock.now()
        try:
            self.engine.advance(now)
        except Exception as error:
            self.fail("advance-failed", error)
        self.close_batch(now)

    cdef int rearm(self) except -1:
        """Have the loop call back at the engine's next deadline, unless it does so before, anyway."""
        cdef int64_t deadline, now = self.clock.now()
        if not self.running:
            return 0
        try:
            deadline = self.engine.next_deadline()
        except Exception as error:
            self.fail("deadline-failed", error)
            deadline = now + 1000
        if deadline < 0 or 0 <= self.armed <= deadline:
            return 0
        if self.timer is not None:
            self.timer.cancel()
        deadline = max(deadline, now + 1)  # whatever the engine says, not for ever in the same millisecond
        self.armed = deadline
        self.timer = self.loop.call_later((deadline - now) / 1000.0, self._fire)
        return 0

    def _fire(self):
        self.timer = None
        self.armed = -1
        self.advance()

    # Accounts

    cdef int fail(self, str event, error) except -1:
        self.failures += 1
        self.report(event, error)
        return 0

    def counters(self):
        return {
            "batches": self.batches,
            "postponed": self.postponements,
            "postponed_drops": self.postponed_drops,
            "driver_failures": self.failures,
            "unroutable": self.unroutable,
        }
