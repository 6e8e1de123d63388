# Recall by joining two calls of the server's own. See b2bua.pyx.

cimport cython
from libc.stdint cimport int64_t

from ...dialog.bridge cimport Bridge, BridgeObserver
from ...dialog.dialogs cimport Dialogs
from ...dialog.leg cimport Leg
from ..._flow cimport Flow
from ...trust.credit cimport Credit
from .method cimport Attempt, WantedCall
from .pickup cimport Pickup, PickupMethod

cdef class Join


@cython.final
cdef class B2buaMethod(PickupMethod):
    # The leg of this recall that an earlier process has begun, None where it has not; `bridged`: it is near in a bridge.
    cdef Leg begun(self, bytes recall, bint bridged)
    # Whether the attempt has begun; else its credit does not allow it.
    cdef bint began(self, Join join, const WantedCall *wanted, bytes uri, bytes route, Flow flow, Credit credit, object how,
                    Attempt before, int64_t now) except -1


# Hears what becomes of the bridge.
@cython.final
cdef class Joining(BridgeObserver):
    cdef Join join


# What is done with the leg to the caller's phone until somebody has picked up; the bridge goes on with it.
@cython.final
cdef class Join(Pickup):
    cdef Bridge bridge
    cdef int go_on(self, Leg leg, int64_t now) except -1
    cdef int take_over(self, Leg leg, int64_t now) except -1
    cdef int ended(self, int status, str answer, int64_t now) except -1

cdef B2buaMethod make_b2bua_method(Dialogs dialogs)
