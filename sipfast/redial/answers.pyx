"""Calls that were answered, and not acknowledged yet.

A 2xx that we pass on may never reach the caller: its NAT has forgotten it while the callee's phone rang, say. Only the ACK
tells that it did, and passes here, since we are in the route set. Who has sent the 2xx waits for it for 64*T1, and ends the
call then (RFC 3261 §13.3.1.4, §15). So do we.
"""

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel


cdef class Answers:

    def __init__(self, Wheel wheel not None, Timed told not None, int kind, int64_t patience):
        self.wheel = wheel
        self.told = told
        self.kind = kind
        self.patience = patience
        self.calls = {}

    cdef add(self, bytes call_id, tuple pair, int64_t now):
        if call_id not in self.calls:
            self.calls[call_id] = (pair, now + self.patience)
            self.watch_first()

    cdef tuple pop(self, bytes call_id):
        call = self.calls.pop(call_id, None)
        return None if call is None else call[0]

    cdef tuple pop_due(self, int64_t now):
        cdef tuple found = None
        self.timed = False
        for call_id, (pair, due) in self.calls.items():
            if due <= now:
                found = (call_id, pair)
            break                             # all are waited for as long, so the first is due first
        if found is not None:
            del self.calls[found[0]]
        self.watch_first()
        return found

    # One timer for all: nearly every call has its ACK in a moment.
    cdef watch_first(self):
        if not self.timed and self.calls:
            self.timed = True
            self.wheel.schedule(next(iter(self.calls.values()))[1], self.told, self.kind, None)


cdef class Recent:

    def __init__(self, Py_ssize_t least):
        self.least = least
        self.latest = set()
        self.before = set()

    cpdef add(self, bytes call_id):
        self.latest.add(call_id)
        if len(self.latest) >= self.least:
            self.latest, self.before = set(), self.latest

    cdef bint has(self, bytes call_id) except -1:
        return call_id in self.latest or call_id in self.before

    def __len__(self):
        return len(self.latest) + len(self.before)
