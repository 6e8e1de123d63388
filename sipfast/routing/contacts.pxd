# What the Contacts of a REGISTER say, and the Contact lines of its answer (RFC 3261 §10.2, §10.3).

from libc.stdint cimport int32_t, int64_t, uint32_t

from .._grammar cimport Span
from .._parser cimport Address, Message, Uri
from ..store.codec cimport Entry

# One value of a Contact header.
cdef struct Wanted:
    Address address
    int64_t expires             # seconds; -1 where it has no such parameter, -2 where it is none
    int q                       # thousandths
    int64_t reg_id              # RFC 5626 §4.2; 0 where it has none, or no instance
    Span instance               # without its quotes
    bint others                 # whether there are other parameters

cdef enum:
    DEFAULT_Q = 1000
    MALFORMED = -2              # of Wanted.expires and read_seconds
    TOO_LARGE = -5              # of read_contact

# So that whoever asks for a phone's bindings gets few bytes, and each fits into a datagram with them; and that nothing larger is
# looked at than may be kept.
cdef enum:
    MOST_CONTACT = 2048         # bytes of one Contact: its URI and parameters
    MOST_READ = 4096            # of one as it comes, with its name and all
    MOST_PATH = 4096            # of all values of a Path
    MOST_BINDING = 4096         # of all that is kept of a binding

cdef int64_t MALFORMED_EXPIRES  # seconds: what such an interval counts as (RFC 3261 §10.2, §20.10)

# delta-seconds (RFC 3261 §25.1); MALFORMED for what is none, such as the dates of RFC 2543.
cdef int64_t read_seconds(const unsigned char *p, Span span) noexcept
# 1, -1 where the value is malformed, TOO_LARGE where it is longer than MOST_READ.
cdef int read_contact(Message message, Span value, Wanted *wanted) noexcept
# Say what interval a Contact asks for where it has none of its own: that of the Expires header, else `fallback` (RFC 3261
# §10.3 step 7).
cdef int choose_interval(Message request, Wanted *wanted, int64_t fallback) noexcept
# The parameters to list again: all but expires and q, as they came.
cdef bytes other_params(Message message, const Wanted *wanted)
# All Path values in one (RFC 3327 §4: each is a name-addr), None where one is malformed, or all are longer than MOST_PATH.
cdef bytes read_path(Message message)
# 32 bits of a hash of the topmost Via's branch: not 0.
cdef uint32_t branch_of(Message request) noexcept

# The index of the binding with this contact (RFC 3261 §19.1.4), or of this instance and reg-id (RFC 5626 §6), or -1. `known` is
# for what is found out about their contacts: a dict for all that is looked for in one message.
cdef Py_ssize_t find(list bindings, const unsigned char *p, const Uri *uri, dict known) except -2
cdef Py_ssize_t find_instance(list bindings, bytes instance, int64_t reg_id) except -2
# Whether one of them is not in doubt.
cdef bint has_reachable(list bindings) except -1
# A records.Binding of a Contact in a message, for a REGISTER.
cdef object make_binding(Message message, const Wanted *wanted, int64_t seconds, Message request, bytes path, bytes flow,
                         int64_t now)

# The records.Move of a phone that has come back by another flow, or None.
cdef object move_between(object former, object binding, bytes aor, int64_t expires)

cdef enum:
    ROOM = 4096                 # for a listing on the C stack

# A Contact line for each binding, then `last`; and the same for one that is known to fit into ROOM.
cdef bytes contact_lines(list bindings, bytes last, int64_t now)
cdef bytes contact_line(const Entry *entry, bytes last, int64_t now)
cdef Py_ssize_t room_for(const Entry *entry) noexcept
# RFC 3261 §20.17: the Date line of a second since the epoch.
cdef bytes date_line(int64_t second)
