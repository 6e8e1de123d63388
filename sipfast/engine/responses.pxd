# Where a response belongs. See responses.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message, Via
from ..dialog.dialogs cimport Dialogs
from ..identity.claims cimport Claims
from ..routing.location cimport Location
from ..routing.probe cimport Probe
from ..routing.proxy cimport Proxy
from ..routing.router cimport Router
from ..transaction.layer cimport TransactionLayer
from .calls cimport Calls
from .mail cimport Mail

cdef class Responses:
    cdef list sent_by                    # of each listener
    cdef Claims claims
    cdef Mail mail
    cdef TransactionLayer transactions
    cdef Location location
    cdef Router router
    cdef Probe probe
    cdef Proxy proxy
    cdef Calls calls
    cdef Dialogs dialogs
    cdef long foreign
    cdef int receive(self, Message response, Flow flow, int64_t now) except -1
    cdef bint is_sent_by_us(self, Message response) except -1
    cdef int stray(self, Message response, Flow flow, int64_t now) except -1
    cdef Flow via_flow(self, Message response, Via *via)
