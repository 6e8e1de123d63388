# What redial asks of a way to make a caller's phone ring. See method.pyx.

from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._parser cimport Message
from ..._wheel cimport Timed
from ...store.codec cimport Piece
from ...transaction.server cimport Handler
from ...trust.credit cimport Credit

cdef enum:
    CALL_ID_SIZE = 24       # hex digits of what `new_call_id` makes

# Who is to call whom, and by which Call-ID and tag that is asked for.
cdef struct WantedCall:
    Piece callee
    Piece caller
    Piece call_id
    Piece tag

cdef enum Outcome:
    ACCEPTED            # the phone will call, it says
    ACCEPTED_BEFORE     # it has this very request already, from before a restart, and may have called in vain since
    REFUSED
    UNANSWERED          # by nobody, or the phone cannot be reached

# Whoever has begun an attempt hears once what comes of it. The call itself is seen by whoever sees calls.
cdef class AttemptObserver:
    # `answer`: what the phone said, for people; `result`: what it comes to where that is no call.
    cdef int ended(self, Outcome outcome, str answer, str result, int64_t now) except -1

# One request to one phone, until its outcome.
cdef class Attempt(Handler):
    cdef AttemptObserver observer
    # Send it no more; its outcome is told to nobody.
    cdef int give_up(self) except -1

cdef class RecallMethod(Timed):
    cdef readonly str name               # of what it sends, for people
    cdef readonly bytes sent             # that it was sent: the last result of a watch until there is a better one
    # Ask the phone that is reached by `flow`, at `uri` and by `route` (b"": none). `credit` pays for it; None where that has
    # too little left, which it has nothing of then.
    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit,
                       AttemptObserver observer, int64_t now)
    # Whether that may be sent, as far as it can be told before it is written.
    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1
    # Call-ID (CALL_ID_SIZE hex digits) and tag of a new attempt: never the same again, after a restart neither, and not to be
    # guessed.
    cdef bytes new_call_id(self)
    cdef bytes new_tag(self)
    # What the phone tells by this Call-ID is about `subject`, until a while after `finished`.
    cdef int expect(self, bytes call_id, object subject) except -1
    cdef int finished(self, bytes call_id) except -1
    # The subject of a Call-ID, None for one that is not expected.
    cdef object subject_of(self, bytes call_id)
    # What such a message tells: status of the call and a text for people; None for nothing.
    cdef tuple progress(self, Message message)
