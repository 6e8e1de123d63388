# Names of hosts that a request is to go to, asked for outside, and who waits for them. See names.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._wheel cimport Timed, Wheel
from ..transaction.server cimport Handler

# A request that waits for the addresses of a name.
cdef class Waiting(Handler):
    # They are known by now, or it is known that there are none.
    cdef int go_on(self, int64_t now) except -1

cdef class Question:
    cdef bytes name
    cdef uint64_t ticket, timer
    cdef list waiting                    # Waiting

cdef class Names(Timed):
    cdef Wheel wheel
    cdef object resolver                 # resolver(ticket, name): asks; None: nobody does
    cdef dict addresses                  # lower-case name -> address as text, None: it has none. Location's
    cdef dict learned                    # name -> its timer
    cdef dict asked                      # name -> Question
    cdef dict tickets                    # ticket -> Question
    cdef list to_ask                     # (ticket, name): with the commit
    cdef uint64_t tickets_given
    cdef int waiting
    cdef readonly uint64_t questions, unanswered

    # Ask for a name, and have a request wait. False: it is known, nobody can be asked, or too many wait.
    cdef bint ask(self, bytes name, Waiting waiting, int64_t now) except -1
    cdef bint may_ask(self, bytes name) except -1
    # Give the questions of this batch to who answers them.
    cdef int leave(self) except -1
    # Who waited for a ticket; [] where nobody does any more.
    cdef list resolved(self, uint64_t ticket, object addresses, int64_t now)
    cdef list settle(self, Question question, object address, int64_t now)
