"""Whose recalls wait until they can take one: callers who are in a call, or whose phone is not there.

A suspended watch goes on when its caller registers, when a call of the caller ends here, or after a pause. The first two may be
seen by any worker, so each knows whose watches are suspended. It may know of too many: what a watch is, its owner reads in the
store.
"""

from libc.stdint cimport int64_t

from .notice cimport Notices
from .ownership cimport Ownership

from .notice import SUSPENDED


cdef class Suspended:
    """Callers with suspended watches."""

    def __init__(self, Ownership ownership, Notices notices):
        self.ownership = ownership
        self.notices = notices
        self.callees = {}

    cdef int add(self, tuple pair) except -1:
        self.remember(pair)
        self.notices.tell_all(SUSPENDED, pair, b"")

    cdef int remember(self, tuple pair) except -1:
        callees = self.callees.get(pair[1])
        if callees is None:
            callees = self.callees[pair[1]] = set()
        callees.add(pair[0])

    cdef bint has(self, bytes caller) except -1:
        return caller in self.callees

    cdef int caller_back(self, bytes caller, int64_t after, int64_t now) except -1:
        callees = self.callees.pop(caller, None)
        if callees is not None:
            for callee in sorted(callees):    # a set has no order that a run could be repeated by
                self.ownership.owner_of(callee).caller_back((callee, caller), after, now)
