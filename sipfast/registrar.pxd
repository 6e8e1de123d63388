# The registrar of RFC 3261 §10.3, stateless on the wire (§8.2.7), and the pupil of an upstream's registrar.

from libc.stdint cimport int64_t, uint64_t

from ._flow cimport Flow
from ._parser cimport Message
from .location cimport Location

cdef class Registrar:
    cdef Location location
    cdef readonly bint newly_bound       # the last register() or learn() took an AOR from unbound to bound
    # (settings are the implementer's)
    # Answer a REGISTER whose Request-URI and To are ours; `aor` is To's canonical AOR. Returns the whole response.
    # Writes to the store; the caller commits. StoreError passes through.
    cdef bytes register(self, Message request, Flow flow, bytes aor, int64_t now)
    # The upstream's registrar has answered 200 to a REGISTER that came to us by `flow`: store the bindings that it lists.
    # Bindings that were ours already keep their own flow and Path; a listed contact that the request did not name and we
    # do not know gets no flow. Call-ID and CSeq are the request's. Calls store.put_known.
    cdef int learn(self, Message request, Message response, Flow flow, bytes aor, int64_t now) except -1
