# What redial asks of a way to make a caller's phone ring. See method.pyx.

from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._wheel cimport Timed
from ...store.codec cimport Piece
from ...transaction.layer cimport TransactionLayer
from ...transaction.server cimport Handler
from ...trust.credit cimport Credit

# Who is to call whom, and by which Call-ID and tag that is asked for. `number`: of the attempt, from 1.
cdef struct WantedCall:
    Piece callee
    Piece caller
    Piece call_id
    Piece tag
    Piece agent         # User-Agent of the caller's phone
    int64_t port        # that the caller has dialled behind the callee's domain; 0: none
    int64_t number

# How an attempt has ended without a call.
cdef enum Outcome:
    CANNOT              # the device cannot that way
    ABSENT              # the device is not there
    BUSY                # its user is in a call
    DECLINED            # its user does not want to
    TOLD                # it has told its user, who may call: the last word
    ELSEWHERE           # somebody else has refused, which says nothing of the device: the next method

# What the final answer of a phone to a REFER means.
cdef Outcome outcome_of_refer(int status) noexcept

# Whoever has begun an attempt hears what comes of it, and never before `begin` has returned. The call itself is seen by
# whoever sees calls.
cdef class AttemptObserver:
    # The phone says that it will call; `before`: it has this very request already, from before a restart, and may have called
    # in vain since. May come again. `answer`: what it said, for people.
    cdef int accepted(self, bint before, str answer, int64_t now) except -1
    # There will be no call; comes once, and nothing after it. `result`: what it comes to, for people.
    cdef int ended(self, Outcome outcome, str answer, str result, int64_t now) except -1
    # A REFER in an early dialog has brought the call about; or it was refused, or has not.
    cdef int early(self, bint obeyed, int64_t now) except -1
    # What the phone tells of the call that it has placed.
    cdef int progress(self, int status, str text, int64_t now) except -1

# One method's try at one phone. Whoever has begun it tells it what it sees, and at last `settled` or `give_up`.
cdef class Attempt(Handler):
    cdef AttemptObserver observer
    cdef bint taken_over                 # its dialog goes on as that of the next method's attempt
    cdef bint took_part                  # the phone has rung, or somebody has picked up
    # The new call of the caller has begun.
    cdef int called(self, bytes call_id, int64_t now) except -1
    # The two talk, or the new call has come to nothing: what is left of the attempt goes away.
    cdef int settled(self, int64_t now) except -1
    # No call is wanted any more: the phone stops ringing, and nobody is told.
    cdef int give_up(self, int64_t now) except -1

cdef class RecallMethod(Timed):
    cdef TransactionLayer transactions
    cdef readonly str name               # as in the configuration
    cdef readonly str title              # of what it sends, for people
    cdef readonly bytes sent             # that it was sent: the last result of a watch until there is a better one
    # ms until it hears something or its attempt is given up; 0: as long as is waited for an answer to REFER.
    cdef int64_t patience
    # Ask the phone that is reached by `flow`, at `uri` and by `route` (b"": none). `how`: what its profile says, None: nothing.
    # `before`: the attempt of another method after which this phone has placed no call; whoever goes on with its dialog marks it
    # as taken over. `credit` pays for what is sent; None where that has too little left, which it has nothing of then.
    cdef Attempt begin(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                       Attempt before, AttemptObserver observer, int64_t now)
    # Whether that may be sent, as far as it can be told before it is written.
    cdef bint may_begin(self, Flow flow, Credit credit, int64_t now) except -1
    # Take other settings while running: a config.Redial.
    cdef int configure(self, settings) except -1
