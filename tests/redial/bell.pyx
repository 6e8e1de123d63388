"""A recall method of the tests: a bell that rings at the caller's, and tells what the test wants it to."""

from libc.stdint cimport int64_t

from sipfast._flow cimport Flow
from sipfast.redial.methods.method cimport CANNOT, Attempt, AttemptObserver, RecallMethod, WantedCall
from sipfast.redial.redial cimport Redial
from sipfast.store.codec cimport bytes_of
from sipfast.trust.credit cimport Credit

from sipfast.config import Redial as Settings


cdef class Ring(Attempt):
    cdef Bell bell

    cdef int give_up(self, int64_t now) except -1:
        self.observer = None
        self.bell.given_up += 1


cdef class Bell(RecallMethod):
    cdef public list rings
    cdef public int given_up
    cdef Ring last

    def __init__(self):
        self.name = self.title = "bell"
        self.sent = b"bell rings"
        self.rings = []

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        self.rings.append((bytes_of(wanted.callee), bytes_of(wanted.caller), bytes_of(wanted.call_id), uri))
        self.last = Ring.__new__(Ring)
        self.last.bell = self
        self.last.observer = observer
        return self.last

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        return True

    def heard(self, bint accepts, int64_t now):
        """The caller hears the bell, and says whether it will call."""
        cdef AttemptObserver observer = self.last.observer
        self.last.observer = None
        if accepts:
            observer.accepted(False, "yes", now)
        else:
            observer.ended(CANNOT, "no", "the bell was not wanted", now)


def hang(Redial redial):
    """A bell in the place of the method that redial has."""
    cdef Bell bell = Bell()
    redial.ladder.methods = {"bell": bell}
    redial.ladder.configure(Settings())
    return bell
