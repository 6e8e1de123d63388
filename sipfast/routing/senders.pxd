# Whether a request is from whom it says. See senders.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message
from ..transaction.layer cimport TransactionLayer
from ..trust.peers cimport Peers
from .location cimport Location

cdef class Senders:
    cdef Location location
    cdef TransactionLayer transactions
    cdef Peers peers
    cdef bint anybody                    # everyone is believed (redial.callers)
    cdef bint passwords                  # whoever has no right to speak for others was asked for one
    # Whether an INVITE, which no upstream has accepted, is from the AOR that it says.
    cdef bint vouch_for(self, bytes caller, Message request, Flow flow, int64_t now) except -1
    # The same of a request that nobody was asked a password for: of an INVITE for an upstream, or within a call.
    cdef bint vouch_unasked(self, bytes caller, Message request, Flow flow, int64_t now) except -1
    # Whether who is there is the AOR that a request is to.
    cdef bint vouch_for_place(self, bytes aor, Flow place, int64_t now) except -1
    cdef bint is_our_own(self, Message request, Flow flow) except -1
    # Whether it is from a device that the AOR is bound to.
    cdef bint is_device(self, bytes caller, Message request, Flow flow, int64_t now) except -1
    # Whether the sender of a REGISTER may see these bindings of its AOR.
    cdef bint may_see(self, list bindings, Message request, Flow flow) except -1
