"""A whole call through a proxy, both of its ends."""

from .core cimport Call, Generator
from .wire cimport Out, Part, Scan

cdef enum:
    # what the caller waits for
    BINDING = 1    # the 200 to the callee's REGISTER
    CALLING = 2    # the 200 to its INVITE
    CONFIRMED = 3  # that its ACK reaches the callee
    ENDING = 4     # the 200 to its BYE
    FIRST_FREE = 8  # states of further modes
    # what was seen so far
    PROCEEDING = 1  # the caller: a provisional response, so no more INVITEs (RFC 3261 §17.1.1.2)
    ANSWERED = 2    # the callee: the INVITE
    ACKED = 4       # the callee: the ACK
    HUNG_UP = 8     # the callee: the BYE
    FIRST_SEEN = 16  # of further modes

# What a call's ends remember of each other.
cdef struct Dialog:
    char target[256]    # the caller's: Contact of the 200; or where the next INVITE goes
    int target_size
    char routes[1024]   # the caller's: Route lines
    int routes_size
    char answer[2048]   # the callee's 200
    int answer_size

cdef void put_sdp(Out *out) noexcept nogil

cdef class Calls(Generator):
    cdef Dialog *dialogs
    cdef bint binding
    cdef void put_people(self, Out *out, Call *call) noexcept nogil
    cdef void put_callee(self, Out *out, Call *call) noexcept nogil
    cdef void invite(self, Call *call) noexcept nogil
    cdef void confirm(self, Call *call) noexcept nogil
    cdef void refused(self, Call *call, Scan *s) noexcept nogil
    cdef void refused_again(self, Call *call, Scan *s) noexcept nogil
    cdef Call *called_by_contact(self, Scan *s) noexcept nogil
    cdef void put_callee_itself(self, Out *out, Call *call) noexcept nogil
    cdef void hang_up(self, Call *call) noexcept nogil
    cdef void register(self, Call *call, int expires) noexcept nogil
    cdef void put_response(self, Out *out, Call *call, Scan *s, const char *line, const char *mark) noexcept nogil
    cdef void at_caller(self, Call *call, Scan *s) noexcept nogil
    cdef void at_callee(self, Call *call, Scan *s) noexcept nogil
    cdef void invite_answered(self, Call *call, Scan *s) noexcept nogil
    cdef void registered(self, Call *call) noexcept nogil
    cdef void talked(self, Call *call) noexcept nogil
    cdef void arrived(self, Call *call, Scan *s) noexcept nogil
    cdef bint learn_dialog(self, Call *call, Scan *s) noexcept nogil
    cdef bint tag_is_callees(self, Call *call, Scan *s) noexcept nogil
    cdef void in_dialog(self, Call *call, const char *method, int step) noexcept nogil
    cdef void put_contact(self, Out *out, Call *call) noexcept nogil
    cdef bint for_callee(self, Call *call, Scan *s) noexcept nogil
