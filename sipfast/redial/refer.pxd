# What redial says on the wire, and reads from it. See refer.pyx.

from libc.stdint cimport int64_t, uint64_t

from ..trust.credit cimport Credit
from .._hash cimport Secret
from .._flow cimport Flow
from .._parser cimport Message
from ..store.codec cimport StoredWatch
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler

# Starts REFERs: it knows transactions, Vias and listeners, which redial does not.
cdef class Referrer:
    cdef TransactionLayer transactions
    cdef tuple listeners
    cdef Secret secret
    cdef uint64_t made
    # The REFER that a watch stands for (RFC 3515 §2.4.1), in a client transaction of its own. `route` may be b"". `credit`
    # pays for it; None where that has too little left, which it has nothing of then.
    cdef ClientTransaction refer(self, StoredWatch watch, bytes uri, bytes route, Flow flow, Handler handler, Credit credit,
                                 int64_t now)
    # The credit of what is being handled.
    cdef Credit payer(self)
    # Whether a REFER may be sent to a flow, as far as that can be told before it is made.
    cdef bint may_refer(self, Flow flow, Credit credit, int64_t now) except -1
    # An empty INFO in the dialog of a talk (RFC 2976 §2.2, RFC 3261 §12.2.1.1), as from its callee to its caller's phone.
    cdef ClientTransaction ask(self, object talk, bytes uri, bytes route, Flow flow, Handler handler, int64_t now)
    # Call-ID (24 hex digits) and From tag for a new one: never the same again, after a restart neither, and not to be guessed.
    cdef bytes new_call_id(self)
    cdef bytes new_tag(self)

cdef Referrer make_referrer(TransactionLayer transactions, tuple listeners, bytes seed)

# The INVITE's Expires in seconds, at most 2**31; -1 where it is absent or malformed.
cpdef int64_t expires_of(Message request) except? -2
# Contact URI of an INVITE and its +sip.instance; where it has none, the address that the INVITE came from.
cdef tuple contact_of(Message request, Flow flow)

# The first line of a NOTIFY's message/sipfrag body (RFC 3515 §2.4.4): status and text, "486 Busy Here"; None for none.
cdef tuple fragment_of(Message request)
