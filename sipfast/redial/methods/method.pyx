"""The interface of a recall method: how one attempt to make the caller's phone ring is begun, and what comes of it.

A method knows dialogs and transactions. It knows no watches: who waits for whom, whose turn it is, which method comes next and
what becomes of a watch is decided elsewhere (`recall.pyx`, `owner.pyx`).
"""

from libc.stdint cimport int64_t


cdef Outcome outcome_of_refer(int status) noexcept:
    if status == 486:
        return BUSY
    if status == 407:                         # RFC 3261 §21.4.8: of a proxy on the way
        return ELSEWHERE
    # The last: RFC 5626 §11.6, its flow has failed.
    return ABSENT if status == 404 or status == 410 or status == 480 or status == 430 else CANNOT


cdef class AttemptObserver:

    cdef int accepted(self, bint before, str answer, int64_t now) except -1:
        raise NotImplementedError

    cdef int ended(self, Outcome outcome, str answer, str result, int64_t now) except -1:
        raise NotImplementedError

    cdef int early(self, bint obeyed, int64_t now) except -1:
        raise NotImplementedError

    cdef int progress(self, int status, str text, int64_t now) except -1:
        raise NotImplementedError


cdef class Attempt(Handler):
    """One method's try at one phone."""

    cdef int called(self, bytes call_id, int64_t now) except -1:
        return 0

    cdef int settled(self, int64_t now) except -1:
        return 0

    cdef int give_up(self, int64_t now) except -1:
        raise NotImplementedError


cdef class RecallMethod(Timed):
    """A way to make a caller's phone ring."""

    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now):
        raise NotImplementedError

    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1:
        return credit.left > 0 or credit.unlimited or self.transactions.proven.has(flow, now)

    cdef int configure(self, settings) except -1:
        return 0
