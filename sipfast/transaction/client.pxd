# Client transactions (RFC 3261 §17.1, RFC 6026 §8.4), and whom they tell what came back.

cimport cython
from libc.stdint cimport int64_t, uint32_t

from .._flow cimport Flow
from .._parser cimport Message
from .transaction cimport Surroundings, Transaction

# RFC 3261 §17.1.4, §18.4: the request could not be delivered. An outcome of its own, and no status code.
cdef enum:
    OUTCOME_UNREACHABLE = -1

# The transaction user of a request of ours. Python subclasses may override.
cdef class ResponseHandler:
    # A response to our request: each 1xx, the first final one, and every 2xx to INVITE (RFC 6026 Accepted).
    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1
    # No final response will come: 408 after timer B or F, OUTCOME_UNREACHABLE after a transport error.
    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1
    # One of the above has raised, or what led to it: end what was begun, and answer what is to be answered.
    cpdef int on_fault(self, int64_t now) except -1


@cython.final
cdef class ClientTransaction(Transaction):
    cdef public ResponseHandler handler
    cdef Message parsed
    cdef bytes why                       # what a CANCEL that waits is to say
    # The request as sent, our Via on top; None once it has had its final response. Python sees it as `request`.
    cdef Message sent(self)
    # CANCEL it (RFC 3261 §9.1): at once if a provisional response has come, else when one comes. `why`: Reason lines of the
    # CANCEL (RFC 3326 §2), or b"".
    # 64*T1 after the CANCEL without a final response it ends with on_failure(408).
    cpdef int cancel(self, int64_t now, bytes why=*) except -1
    cdef int begin(self, int64_t now) except -1
    cdef int handle(self, int event, Message response, int64_t now) except -1
    cdef int send_cancel(self, int64_t now) except -1
    cdef int follow_phone(self, int64_t now) except -1       # to where it is since
    cdef int shrink(self) except -1
    # Send it no more, and wait for what still comes.
    cdef int stop_resending(self) except -1
    # Send it no more, and tell nobody: whatever still comes for it is stray.
    cdef int abandon(self) except -1
    cdef int terminate(self) except -1

# The transaction of a request that is about to be sent, in a slot of the layer's.
cdef ClientTransaction make_client(Surroundings layer, bytes request, uint32_t slot, Flow flow, ResponseHandler handler)
