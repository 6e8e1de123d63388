# One OPTIONS to a phone that registers and has proven nothing. See probe.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ..trust.credit cimport Credit
from .._hash cimport Secret
from .._flow cimport Flow, Sink
from .._parser cimport Message
from .location cimport Location
from ..trust.proven cimport Proven

cdef class Probe:
    cdef Secret secret
    cdef int worker
    cdef tuple listeners
    cdef Location location
    cdef Proven proven
    cdef list waiting                    # (request, Flow) that leave at the next commit
    cdef uint64_t made
    cdef long sent, answered
    # Ask the phones that a REGISTER has bound just now, over the ways of their bindings. `credit`: that REGISTER's. The store
    # has the bindings already.
    cdef int ask(self, bytes aor, Credit credit, int64_t now) except -1
    # Hand over what waits; or forget it, where the bindings were not made.
    cdef int leave(self, Sink sink) except -1
    cdef int drop(self) except -1
    # Whether a response answers an OPTIONS of ours, of any worker; then the address that this went to is proven.
    cdef bint heard(self, Message response, int64_t now) except -1
    cdef bytes options(self, object binding, Flow flow, bytes aor, int64_t now)
    cdef uint32_t check_of(self, Flow flow, uint64_t serial) noexcept
