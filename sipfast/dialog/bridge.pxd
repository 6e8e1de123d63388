# Two legs joined into one call. See bridge.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._parser cimport Message
from ..transaction.server cimport Handler, ServerTransaction
from .leg cimport Ground, Leg, LegRequest, LegUser

# Who has begun a bridge.
cdef class BridgeObserver:
    # The far end has answered.
    cdef int joined(self, int64_t now) except -1
    # The call to it has come to nothing (the status, or as in LegUser.refused), or the near end has hung up before it was
    # answered (0).
    cdef int failed(self, int status, str answer, int64_t now) except -1

cdef class Bridge


# A request of one side that the other one is to answer.
@cython.final
cdef class Forward(Handler):
    cdef Bridge bridge
    cdef Leg source                      # whose it is
    cdef LegRequest sent                 # to the other side
    cdef ServerTransaction server
    cdef Message request, response       # the response to a re-INVITE without an offer, until its ACK comes
    cdef Flow flow
    cdef int reply(self, int status, Message response, int64_t now) except -1


@cython.final
cdef class Bridge(LegUser):
    cdef Ground ground
    cdef readonly Leg near, far          # the caller's phone; the callee's side, None before it is called
    cdef BridgeObserver observer
    cdef bytes shown                     # the far side's description that the near side has, as it came
    cdef bytes told                      # and the other way round
    cdef bytes due                       # the far side's, which the near side is to have next; None: nothing
    cdef bint corrected
    cdef Forward late                    # waits for the ACK of its source
    cdef bint refers                     # a REFER has gone from one side to the other: its NOTIFYs do, too

    # Call the callee in the caller's name, through the server's own door.
    cdef int call(self, bytes call_id, bytes tag, int64_t now) except -1
    # Go on after a restart: at once; and with a call that had not been answered, once there is somebody who wants it.
    cdef int resume(self, int64_t now) except -1
    cdef int ring_on(self, int64_t now) except -1
    # It is wanted no more: it ends, unless the two talk.
    cdef int leave(self, int64_t now) except -1

    cdef Leg other(self, Leg leg)
    cdef int64_t pause(self)
    cdef int end(self, int64_t now, bytes why=*) except -1
    cdef int show(self, bytes body, int64_t now) except -1
    cdef int shown_answered(self, LegRequest request, int status, int64_t now) except -1
    cdef int correct(self, int64_t now) except -1
    cdef int forward(self, Leg source, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    cdef int ask_alive(self, int64_t now) except -1

cdef Bridge make_bridge(Ground ground, Leg near, Leg far)
# Whether it is the near or the far leg of one, by its step.
cdef bint is_near(Leg leg) except -1
cdef bint is_far(Leg leg) except -1
