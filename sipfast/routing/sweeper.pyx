"""Removes expired bindings and moves from the store, a little at a time. One worker does it for all."""

import cython

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel
from ..observe.events cimport Events
from .outbound cimport Outbound

cdef enum:
    SWEEP = 1                # timer
    INTERVAL = 200           # ms
    RECORDS = 400            # half a millisecond, for which all others wait; a million AORs take less than nine minutes


@cython.final
cdef class Sweeper(Timed):

    def __init__(self, store, Outbound outbound not None, Wheel wheel not None, Events events not None, int64_t longest_call):
        self.store = store
        self.outbound = outbound
        self.wheel = wheel
        self.events = events
        self.longest_call = longest_call

    cdef int begin(self, int64_t now) except -1:
        self.wheel.schedule(now + INTERVAL, self, SWEEP)
        return 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        self.begin(now)
        cdef list gone = []
        # A phone that comes back late still takes its calls along.
        self.store.sweep_bindings(now, RECORDS, self.longest_call, gone)
        for aor in gone:
            self.events.gone(aor, "its registration ran out")
        for move in self.outbound.expire(now):
            self.store.delete_move(move)
        return 0
