# Server transactions (RFC 3261 §17.2, RFC 6026 §8.5 to §8.8), and whom they tell what became of them.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._parser cimport Message
from .client cimport ResponseHandler
from .index cimport Link
from .matching cimport Key
from .transaction cimport Surroundings, Transaction

# What is said in place of an answer of so many bytes that cannot be sent there, such as a 200 with all Contacts (RFC 3261
# §10.3 step 8): 513 where no datagram holds it, else 500 with Retry-After.
cdef bytes too_large(Message request, Flow flow, bytes tag, Py_ssize_t size)

# The transaction user of a request that came, and of those that it makes us send. One per transaction; Python subclasses
# may override.
cdef class Handler(ResponseHandler):
    # The server transaction: CANCEL matched it; it is gone (terminated or timed out).
    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1
    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1
    # Bytes that the requests which it has sent for that transaction keep.
    cdef int64_t held(self) noexcept


@cython.final
cdef class ServerTransaction(Transaction):
    cdef public Handler handler
    cdef readonly Message request        # dropped (None) when the transaction has shrunk to absorbing retransmissions
    cdef uint64_t key_high
    cdef uint64_t first                  # once MOVED: Proven.hash_of the first address, which its tag is of
    cdef Link by_key
    cdef Link by_merge
    # Send a response on. `status` is its code; the bytes are kept for retransmission where the state machine wants it.
    # 1 where it was sent, 0 where the state machine or the budget does not allow it. One that no datagram holds becomes a 513.
    cpdef int respond(self, bytes response, int status, int64_t now) except -1
    # The last response was not committed and never left: forget it; or forget it, and give this one instead.
    cdef int unanswer(self) except -1
    cpdef int retract(self, bytes response, int status, int64_t now) except -1
    cdef int handle(self, int event, bytes response, int64_t now) except -1
    cdef bytes tag(self)                 # the To tag of responses of our own, the same each time; Python sees `to_tag`
    cdef bytes final_response(self)
    cdef int redirect(self, Flow flow) noexcept      # what is sent goes there from now on
    cdef int64_t held(self) noexcept                 # bytes that it keeps, and what it was forwarded as
    cdef int shrink(self) except -1
    cdef int terminate(self, int64_t now) except -1

# The transaction of a request that came, found by that key from now on.
cdef ServerTransaction make_server(Surroundings layer, Message request, Flow flow, const Key *key)
