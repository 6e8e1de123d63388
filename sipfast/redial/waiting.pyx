"""Who waits for whom: what of the watch list is held in memory.

Nearly every REGISTER and every call is of people for whom nobody waits, and none of those has to ask the store. A pair is
noted with its watch's timer, when its watch is armed or found at the start. While only this process arms, that is never
too little; it may be too much, since a watch can be cancelled from the command line: what a watch is, and whether it
still is, the store says.

A callee is mostly waited for by one caller, so a dict of several is made only where there are several.
"""

from libc.stdint cimport int64_t, uint64_t

from .._wheel cimport LONGEST, Timed, Wheel


cdef class Waiting:

    def __init__(self, Wheel wheel not None, Timed told not None, int kind):
        self.wheel = wheel
        self.told = told
        self.kind = kind
        self.timers = {}
        self.of_callee = {}
        self.of_caller = {}

    cpdef remember(self, tuple pair, int64_t when):
        cdef object handle = self.timers.get(pair)
        # Farther away than a timer can be: whoever is told looks again when it fires.
        cdef uint64_t timer = self.wheel.schedule(min(when, self.wheel.now + LONGEST), self.told, self.kind, pair)
        self.timers[pair] = timer
        if handle is not None:
            self.wheel.cancel(<uint64_t>handle)
            return
        callee, caller = pair
        before = self.of_callee.get(callee)
        if before is None:
            self.of_callee[callee] = pair
        elif type(before) is tuple:
            self.of_callee[callee] = {before: None, pair: None}
        else:
            (<dict>before)[pair] = None
        self.of_caller[caller] = self.of_caller.get(caller, 0) + 1

    cpdef forget(self, tuple pair):
        cdef object handle = self.timers.pop(pair, None)
        if handle is None:
            return
        self.wheel.cancel(<uint64_t>handle)
        callee, caller = pair
        several = self.of_callee[callee]
        if type(several) is tuple:
            del self.of_callee[callee]
        else:
            del (<dict>several)[pair]
            if not several:
                del self.of_callee[callee]
        left = self.of_caller[caller] - 1
        if left:
            self.of_caller[caller] = left
        else:
            del self.of_caller[caller]

    cdef list pairs(self, bytes callee):
        cdef object found = self.of_callee.get(callee)
        if found is None:
            return []
        return [found] if type(found) is tuple else list(<dict>found)

    cdef Py_ssize_t count_of_callee(self, bytes callee) except -1:
        cdef object found = self.of_callee.get(callee)
        return 0 if found is None else 1 if type(found) is tuple else len(<dict>found)

    cdef Py_ssize_t count_of_caller(self, bytes caller) except -1:
        return self.of_caller.get(caller, 0)

    # ---- the Python face, for tests

    def callers(self, bytes callee not None):
        return [caller for _, caller in self.pairs(callee)]

    def count(self, bytes caller not None):
        return self.count_of_caller(caller)
