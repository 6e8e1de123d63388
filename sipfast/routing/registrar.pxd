# The registrar of RFC 3261 §10.3, stateless on the wire (§8.2.7).

from libc.stdint cimport int64_t, uint64_t

from .contacts cimport Wanted
from .._flow cimport Flow
from .._parser cimport Cursor, Message, Span
from .location cimport Location
from .senders cimport Senders
from ..trust.limiter cimport Limiter
from ..trust.proven cimport Proven

cdef class Registrar:
    cdef Location location
    cdef Senders senders                 # None: whoever asks is told all
    cdef Limiter limiter                 # None: who binds new AORs has shown a password
    cdef Proven known
    cdef Proven proven                   # None: nobody is asked to prove anything
    cdef bint unproven          # the last register() has bound what is at an address that owes a proof
    cdef bint doubted           # ... or has left a binding in doubt that was
    cdef readonly bint newly_bound       # the last register() took an AOR from unbound to bound
    cdef bint newly_unbound     # ... or from bound to unbound
    cdef int refused            # its status, where it was refused
    cdef readonly list moves             # records.Move of phones whose flow the last register() has changed
    cdef int64_t longest_call            # ms
    cdef bint replaces                   # what is too much takes the place of the oldest
    cdef uint64_t secret                 # of the To tags
    cdef int64_t default_expires         # seconds
    cdef int64_t min_expires
    cdef int64_t max_expires
    cdef int max_contacts
    cdef int64_t max_aors
    cdef int64_t date_second             # of date_line
    cdef bytes date_line                 # the whole header line
    # Answer a REGISTER whose Request-URI and To are ours; `aor` is To's canonical AOR. Returns the whole response.
    # Writes to the store; the caller commits. StoreError passes through.
    cdef bytes register(self, Message request, Flow flow, bytes aor, int64_t now)
    cdef bytes remove_all(self, Message request, Flow flow, Cursor *cursor, bytes path, bytes aor, int64_t now)
    cdef bytes update_one(self, Message request, Flow flow, Span value, bytes path, bytes aor, int64_t now)
    cdef bytes update(self, Message request, Flow flow, bytes path, bytes aor, int64_t now)
    # Take note of the flow of a REGISTER that has come again; `moves` says what has changed.
    cdef int follow_copy(self, Message request, Flow flow, bytes aor, int64_t now) except -1
    cdef bint is_reachable(self, Message request, Flow flow, const Wanted *wanted) except -1
    cdef int count_contacts(self, Message request) noexcept
    cdef int drop_former(self, bytes aor, list live, object binding, int64_t now) except -1
    cdef int note_move(self, bytes aor, object former, object binding, int64_t now) except -1
    cdef bint has_room(self, Flow flow, int64_t now) except -1
    cdef int note_unproven(self, Flow way, int64_t now) noexcept
    cdef bytes refuse(self, Message request, Flow flow, int status, bytes extra)
    cdef bytes refuse_brief(self, Message request, Flow flow)
    cdef bytes refuse_new(self, Message request, Flow flow)
    cdef bytes refuse_large(self, Message request, Flow flow, bytes aor)
    # Accept a REGISTER that binds nothing. A stranger's lists nothing.
    cdef bytes show(self, Message request, Flow flow, bytes path, list bindings, int64_t now)
    cdef bytes accept(self, Message request, Flow flow, bytes path, list bindings, int64_t now)
    cdef bytes date(self, int64_t now)
    cdef bytes list_bindings(self, Message request, Flow flow, bytes path, bytes lines)
