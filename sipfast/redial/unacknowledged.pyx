"""Calls that were answered, and not acknowledged yet.

A 2xx that we pass on may never reach the caller: its NAT has forgotten it while the callee's phone rang, say. Only the ACK
tells that it did, and passes here, since we are in the route set. Who has sent the 2xx waits for it for 64*T1, and ends the
call then (RFC 3261 §13.3.1.4, §15). So do we.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from .._parser cimport Message, Span
from .._wheel cimport Timed, Wheel


cdef bytes call_of(Message message):
    # No tag has a line's end in it (RFC 3261 §25.1, token). Of nearly every ACK, 2xx and BYE: hence in one piece.
    cdef Span parts[3]
    cdef Py_ssize_t size = 2
    cdef int i
    parts[0], parts[1], parts[2] = message.call_id, message.sender.tag, message.target.tag
    for i in range(3):
        size += parts[i].end - parts[i].start
    cdef bytes call = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = PyBytes_AS_STRING(call)
    for i in range(3):
        if i:
            to[0] = c"\n"
            to += 1
        memcpy(to, message.p + parts[i].start, parts[i].end - parts[i].start)
        to += parts[i].end - parts[i].start
    return call


cdef tuple parts_of(bytes call):
    return tuple(call.rsplit(b"\n", 2))


cdef bytes turned(bytes call):
    call_id, tag, other = call.rsplit(b"\n", 2)
    return b"%b\n%b\n%b" % (call_id, other, tag)


cdef class Unacknowledged:

    def __init__(self, Wheel wheel not None, Timed told not None, int kind, int64_t patience):
        self.wheel = wheel
        self.told = told
        self.kind = kind
        self.patience = patience
        self.calls = {}

    cdef add(self, bytes call, tuple pair, int64_t now):
        if call not in self.calls:
            self.calls[call] = (pair, now + self.patience)
            self.watch_first()

    cdef tuple pop(self, bytes call):
        found = self.calls.pop(call, None)
        return None if found is None else found[0]

    cdef set awaited(self):
        return {(pair, parts_of(call)[0]) for call, (pair, _) in self.calls.items()}

    cdef tuple pop_due(self, int64_t now):
        cdef tuple found = None
        self.timed = False
        for call, (pair, due) in self.calls.items():
            if due <= now:
                found = (call, pair)
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

    cpdef add(self, bytes call):
        self.latest.add(call)
        if len(self.latest) >= self.least:
            self.latest, self.before = set(), self.latest

    cdef bint has(self, bytes call) except -1:
        return call in self.latest or call in self.before

    def __len__(self):
        return len(self.latest) + len(self.before)
