# Bindings whose phones do not answer, and whether they do again. See doubt.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._flow cimport Flow
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .binding_observer cimport BindingObserver
from .location cimport Location


# One OPTIONS to one phone.
@cython.final
cdef class Question(Handler):
    cdef Doubts doubts
    cdef bytes aor
    cdef Flow place


@cython.final
cdef class Doubts:
    cdef Location location
    cdef TransactionLayer transactions
    cdef tuple listeners
    cdef BindingObserver observer        # hears of who can be reached again
    cdef dict asked                      # AOR -> questions on their way; -1: and more are to follow
    cdef readonly int64_t found, resolved

    # The phone of an AOR's binding at `place` has answered nothing at all; it has answered.
    cdef int silent(self, bytes aor, Flow place, int64_t now) except -1
    cdef int heard(self, bytes aor, Flow place, int64_t now) except -1
    # Ask the phones of an AOR by OPTIONS: those in doubt, or all.
    cdef int ask(self, bytes aor, bint everyone, int64_t now) except -1

    cdef bint set_doubt(self, bytes aor, Flow place, int64_t since, int64_t now) except -1
    cdef list changed(self, object stored, Flow place, int64_t since, int64_t now)
    cdef int send_question(self, object binding, Flow flow, bytes aor, int64_t now) except -1
    cdef int over(self, bytes aor, int64_t now) except -1
