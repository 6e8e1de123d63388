# The only caller of the engine, and what it asks of a transport. See driver.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow, Incoming, Receiver, Sink
from .clock cimport Clock

cdef enum:
    BATCH = 256         # messages of one read, and so of one wake of the loop

# One kind of way to send and to be sent by. What it reads it gives to its driver: begin, take ..., finish, arm.
cdef class Transport(Sink):
    cdef readonly Driver driver
    cdef list sources                                   # what it reads: sockets
    cdef int begin_to_read(self) except -1
    cdef int end_to_read(self) except -1
    # Read a batch, give it to the driver and finish it. How many messages there were: BATCH says that there may be more.
    cdef int read_batch(self, object source) except -1
    cdef int leave(self) except -1                      # send what the batch has produced

# Who watches messages come and go. Neither may raise, nor keep a flow.
cdef class Tap:
    cpdef int came(self, bytes data, Flow flow, int64_t now) except -1
    cpdef int left(self, bytes data, Flow flow, int64_t now) except -1

cdef class Driver(Sink):
    cdef object loop, report, timer                     # report(event, error): of what was raised, and no more comes of it
    cdef readonly Clock clock
    cdef Receiver engine
    cdef public Tap tap                                 # None: nobody watches
    cdef list transports
    cdef list by_number                                 # the same, by Flow.transport
    cdef bint running
    cdef int64_t armed                                  # when the loop's timer fires, ms since the epoch; -1: not set
    cdef int64_t at                                     # the time of the batch
    cdef uint64_t batches, failures, unroutable
    # What could not be delivered
    cdef list undelivered                               # (flow, data)
    cdef bint telling                                   # the loop calls `_tell_failures`
    # Overload
    cdef bint postponing                                # what may wait does so until everything else was read
    cdef bint called                                    # the loop calls `_go_on`
    cdef object postponed                               # deque of (bytes, Flow), the oldest first
    cdef uint64_t postponements, postponed_drops

    cdef int64_t begin(self) noexcept                   # a batch; the time that all of it has
    # Set whether each is to be taken, dropped or, of a source that has sent its share, given to `take_over`.
    cdef int admit(self, Incoming *arrivals, int count, int64_t now) noexcept
    cdef int take(self, bytes data, Flow flow, int64_t now) except -1
    cdef int take_over(self, bytes data, Flow flow, int64_t now) except -1
    cdef int finish(self, int64_t now) except -1
    cdef int rearm(self) except -1
    cdef int relieve(self, Transport transport, object source) except -1
    cdef int could_not_deliver(self, list failed) except -1
    cdef int fail(self, str event, object error) except -1
    cdef int give(self, bytes data, Flow flow, int64_t now) except -1
    cdef int postpone(self, bytes data, Flow flow) except -1
    cdef int work_off(self) except -1
    cdef int close_batch(self, int64_t now) except -1
