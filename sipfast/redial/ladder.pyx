"""The ladder of recall methods: no phone obeys all of them, and nearly every one obeys some."""

from ..store.codec cimport StoredWatch
from .methods.method cimport RecallMethod


cdef class Ladder:
    """Which methods are tried with a phone, and in which order."""

    cdef tuple rungs(self, StoredWatch watch):
        return self.generic

    cdef int configure(self, settings) except -1:
        cdef RecallMethod method
        cdef list rungs = []
        for method in self.methods.values():
            method.configure(settings)
        for name in settings.methods:
            method = self.methods.get(name)
            if method is not None:
                rungs.append(make_rung(method, None))
        self.generic = tuple(rungs)


cdef Rung make_rung(RecallMethod method, how):
    cdef Rung rung = Rung.__new__(Rung)
    rung.method = method
    rung.how = how
    return rung


cdef Ladder make_ladder(settings, tuple methods):
    cdef Ladder ladder = Ladder.__new__(Ladder)
    cdef RecallMethod method
    ladder.methods = {}
    for method in methods:
        ladder.methods[method.name] = method
    ladder.configure(settings)
    return ladder
