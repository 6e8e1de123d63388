"""The interface of a recall method: how one attempt to make the caller's phone ring is begun, and what comes of it.

A method knows dialogs and transactions. It knows no watches: who waits for whom, whose turn it is and what becomes of a watch
is the owner's (`owner.pyx`).
"""

from libc.stdint cimport int64_t


cdef class AttemptObserver:

    cdef int ended(self, Outcome outcome, str answer, str result, int64_t now) except -1:
        raise NotImplementedError


cdef class Attempt(Handler):
    """One request to one phone."""

    cdef int give_up(self) except -1:
        raise NotImplementedError


cdef class RecallMethod(Timed):
    """A way to make a caller's phone ring."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit,
                       AttemptObserver observer, int64_t now):
        raise NotImplementedError

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        raise NotImplementedError

    cdef bytes new_call_id(self):
        raise NotImplementedError

    cdef bytes new_tag(self):
        raise NotImplementedError

    cdef int expect(self, bytes call_id, object subject) except -1:
        raise NotImplementedError

    cdef int finished(self, bytes call_id) except -1:
        raise NotImplementedError

    cdef object subject_of(self, bytes call_id):
        raise NotImplementedError

    cdef tuple progress(self, Message message):
        raise NotImplementedError
