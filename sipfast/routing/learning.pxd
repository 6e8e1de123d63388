# What a registrar behind us teaches: which phones are bound, and for how long. See learning.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message
from .location cimport Location
from ..trust.proven cimport Proven

cdef class Learning:
    cdef Location location
    cdef Proven known
    cdef Proven proven                   # None: nobody is asked to prove anything
    cdef bint unproven          # the REGISTER of the last learn() named what is at an address that owes a proof
    cdef bint doubted           # ... or has left a binding in doubt that was
    cdef readonly bint newly_bound       # the last learn() took an AOR from unbound to bound
    cdef bint newly_unbound     # ... or from bound to unbound
    cdef list moves             # records.Move of phones whose flow the last learn() has changed
    cdef int64_t default_expires         # seconds
    cdef int64_t longest_call            # ms
    # The upstream's registrar has answered 200 to a REGISTER that came to us by `flow`: store the bindings that it lists, or
    # has granted without listing them.
    # Bindings that were ours already keep their own flow and Path; a listed contact that the request did not name and we
    # do not know gets no flow. Call-ID and CSeq are the request's. Calls store.put_known.
    cdef int learn(self, Message request, Message response, Flow flow, bytes aor, int64_t now) except -1
    cdef list named(self, Message request, Flow flow, int64_t now)
    cdef list listed(self, Message request, Message response, list named, list live, int64_t now)
    # Those that stand for what was in doubt are so still.
    cdef list still_in_doubt(self, list live, list bindings, int64_t now)
    cdef int note_moves(self, bytes aor, list live, list bindings, int64_t now) except -1
