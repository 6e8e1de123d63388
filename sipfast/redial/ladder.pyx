"""The ladder of recall methods: no phone obeys all of them, and nearly every one obeys some.

Which of them for which phone, `order` says, by profiles and by what is remembered (`memory`). Nearly all phones are of makes that
have been asked for before, and have done what others did: all of whom the same is known share a ladder that is ready.
"""

from libc.stdint cimport int64_t

from ..store.codec cimport StoredWatch, bytes_of, same_piece
from .memory cimport Known, PhoneMemory
from .methods.method cimport RecallMethod
from .watchlist cimport is_armed

from .order import Order

cdef enum:
    MOST_READY = 1024       # ladders that are kept ready


cdef class Ladder:
    """Which methods are tried with a phone, and in which order. Asked once for a recall."""

    cdef tuple rungs(self, StoredWatch watch, int64_t now):
        cdef tuple rungs = self.climb(watch, now)
        return rungs if watch.at.method.size == 0 or is_armed(watch) else self.with_method_of(watch, rungs)

    cdef tuple climb(self, StoredWatch watch, int64_t now):
        cdef Known device = None, make
        cdef bytes agent, caller = b""
        cdef object key
        cdef tuple rungs
        if self.memory.devices:
            device = self.memory.device(bytes_of(watch.at.contact), bytes_of(watch.at.instance), now)
        if watch.at.agent.size == 0 and device is None and not self.by_user:
            return self.generic
        agent = bytes_of(watch.at.agent)
        make = self.memory.make(agent, now)
        if self.by_user:
            caller = bytes_of(watch.at.caller)
            if caller not in self.order.users:
                caller = b""
        if device is not None or caller:
            key = (caller, agent, device, make)
        else:
            key = make or agent
        rungs = self.ready.get(key)
        if rungs is None:
            if len(self.ready) >= MOST_READY:
                self.ready.clear()
            rungs = self.ready[key] = self.made(self.order.rungs(
                caller, agent, None if device is None else device.verdicts, None if make is None else make.verdicts))
        return rungs

    cdef tuple made(self, tuple named):
        cdef RecallMethod method
        cdef list rungs = []
        for name, how in named:
            method = self.methods.get(name)
            if method is not None:
                rungs.append(make_rung(method, how))
        return tuple(rungs or [make_rung(method, None) for method in self.methods.values()])

    # What is known of the phone may have changed since the recall was begun, by whatever others of its make did.
    cdef tuple with_method_of(self, StoredWatch watch, tuple rungs):
        cdef RecallMethod method
        if place_of(watch, rungs) >= 0:
            return rungs
        method = self.methods.get(watch.method)
        if method is None:
            return rungs
        return (make_rung(method, (<Rung>rungs[0]).how), *rungs)

    cdef int note(self, StoredWatch watch, str method, bint worked, int64_t now) except -1:
        return self.memory.note(bytes_of(watch.at.contact), bytes_of(watch.at.instance), bytes_of(watch.at.agent), method,
                                worked, now)

    cdef int configure(self, settings) except -1:
        cdef RecallMethod method
        for method in self.methods.values():
            method.configure(settings)
        self.memory.configure(settings)
        self.order = Order(settings)
        self.by_user = bool(self.order.users)
        self.ready = {}
        self.generic = self.made(self.order.rungs(b"", b"", None, None))


cdef int place_of(StoredWatch watch, tuple rungs) except -2:
    cdef Py_ssize_t i
    for i in range(len(rungs)):
        if same_piece(watch.at.method, (<Rung>rungs[i]).name):
            return <int>i
    return -1


cdef Rung make_rung(RecallMethod method, how):
    cdef Rung rung = Rung.__new__(Rung)
    rung.name = method.name.encode()
    rung.method = method
    rung.how = how
    return rung


cdef Ladder make_ladder(settings, tuple methods, PhoneMemory memory):
    cdef Ladder ladder = Ladder.__new__(Ladder)
    cdef RecallMethod method
    ladder.methods = {}
    for method in methods:
        ladder.methods[method.name] = method
    ladder.memory = memory
    ladder.configure(settings)
    return ladder
