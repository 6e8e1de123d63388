"""The redial cycle; see redial.pyx."""

from libc.stdint cimport int64_t, uint64_t

from .calls cimport FIRST_FREE, FIRST_SEEN, Calls
from .core cimport Call
from .wire cimport Scan

cdef enum:
    ASKING = FIRST_FREE  # waits for the 480
    LOGIN                # waits for the callee's 200 and the REFER
    LOGOUT               # waits for the 200 to the callee's last REGISTER
    REPORTING            # waits for the 200 to a NOTIFY
    BOUND = FIRST_SEEN   # the callee's REGISTER was answered
    REFERRED = FIRST_SEEN * 2

# The subscription that a REFER makes.
cdef struct Report:
    char target[256]  # Contact of the REFER
    int target_size
    char ids[1024]    # From, To and Call-ID
    int ids_size
    char call_id[256]
    int call_id_size
    int sent          # bit 1: the first NOTIFY, 2: the second
    int answered
    int64_t back      # ns, when the callee's REGISTER was written

cdef class Redial(Calls):
    cdef bint reporting
    cdef Report *reports
    cdef uint64_t *recall_buckets
    cdef void ask(self, Call *call) noexcept nogil
    cdef void received_in_call(self, int end, Call *call, Scan *s) noexcept nogil
    cdef void told(self, Call *call, Scan *s) noexcept nogil
    cdef bint promised(self, Call *call, Scan *s) noexcept nogil
    cdef void accept(self, Call *call, Scan *s) noexcept nogil
    cdef bint refers_to_callee(self, Call *call, Scan *s) noexcept nogil
    cdef void referred(self, Call *call, Scan *s) noexcept nogil
    cdef bint learn_report(self, Call *call, Scan *s) noexcept nogil
    cdef void report(self, Call *call, int which) noexcept nogil
    cdef void report_answered(self, Call *call, Scan *s) noexcept nogil
    cdef void go_on(self, Call *call) noexcept nogil
