"""A recall method of the tests: a bell that rings at the caller's, and tells what the test wants it to."""

from libc.stdint cimport int64_t

from sipfast._flow cimport Flow
from sipfast._parser cimport Message
from sipfast.redial.methods.method cimport ACCEPTED, REFUSED, Attempt, AttemptObserver, RecallMethod, WantedCall
from sipfast.redial.redial cimport Redial
from sipfast.store.codec cimport bytes_of
from sipfast.trust.credit cimport Credit


cdef class Ring(Attempt):
    cdef Bell bell

    cdef int give_up(self) except -1:
        self.observer = None
        self.bell.given_up += 1


cdef class Bell(RecallMethod):
    cdef public list rings, expected
    cdef public int given_up
    cdef Ring last
    cdef int made

    def __init__(self):
        self.name = "bell"
        self.sent = b"bell rings"
        self.rings, self.expected = [], []

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit,
                       AttemptObserver observer, int64_t now):
        self.rings.append((bytes_of(wanted.callee), bytes_of(wanted.caller), bytes_of(wanted.call_id), uri))
        self.last = Ring.__new__(Ring)
        self.last.bell = self
        self.last.observer = observer
        return self.last

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        return True

    cdef bytes new_call_id(self):
        self.made += 1
        return b"%024d" % self.made

    cdef bytes new_tag(self):
        return b"tag"

    cdef int expect(self, bytes call_id, object subject) except -1:
        self.expected.append(call_id)

    cdef int finished(self, bytes call_id) except -1:
        self.expected.remove(call_id)

    cdef object subject_of(self, bytes call_id):
        return None

    cdef tuple progress(self, Message message):
        return None

    def heard(self, bint accepts, int64_t now):
        """The caller hears the bell, and says whether it will call."""
        cdef AttemptObserver observer = self.last.observer
        self.last.observer = None
        observer.ended(ACCEPTED if accepts else REFUSED, "yes" if accepts else "no", "the bell was not wanted", now)


def hang(Redial redial):
    """A bell in the place of the method that redial has."""
    cdef Bell bell = Bell()
    redial.owner.method = bell
    return bell
