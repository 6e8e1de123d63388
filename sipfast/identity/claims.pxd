# What a request says of who it is from, for others to believe. See claims.pyx.

from .._edits cimport Edits
from .._flow cimport Flow
from .._parser cimport Message
from ..trust.peers cimport Peers

cdef class Claims:
    cdef Peers peers
    cdef frozenset realms                # whose credentials end here; empty: nobody's do
    # Edits of a message that goes on, from where it came and to whom.
    cdef int strip(self, Edits edits, Message message, Flow came, Flow out) except -1
    cdef int strip_identity(self, Edits edits, Message message, int header) except -1
    cdef int strip_credentials(self, Edits edits, Message request) except -1
    # A response as it may go on: the same, or without what nobody is to believe.
    cdef Message cleaned(self, Message response, Flow came)
    # The AOR that a peer says the request is from; None: nobody whom it may be believed of says so.
    cdef bytes asserted(self, Message request, Flow flow)

# Whether a caller wants not to be known to whom he calls.
cdef bint is_anonymous(Message request) except -1
