"""Calls that were answered, and not acknowledged yet.

A 2xx that we pass on may never reach the caller: its NAT has forgotten it while the callee's phone rang, say. Only the ACK
tells that it did, and passes here, since we are in the route set. Who has sent the 2xx waits for it for 64*T1, and ends the
call then (RFC 3261 §13.3.1.4, §15). So do we.
"""

from libc.stdint cimport int64_t

from ._wheel cimport Timed, Wheel


cdef class Answers:

    def __init__(self, Wheel wheel not None, Timed owner not None, int kind, int64_t patience):
        self.wheel = wheel
        self.owner = owner
        self.kind = kind
        self.patience = patience
        self.calls = {}

    cdef add(self, bytes call_id, tuple pair, int64_t now):
        if call_id not in self.calls:
            self.calls[call_id] = pair
            self.wheel.schedule(now + self.patience, self.owner, self.kind, call_id)

    cdef tuple take(self, bytes call_id):
        return self.calls.pop(call_id, None)


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
