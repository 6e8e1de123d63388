# One request out of a dialog to the caller's phone. See asking.pyx.

from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ...transaction.client cimport ClientTransaction
from ...trust.credit cimport Credit
from .method cimport Attempt, AttemptObserver, RecallMethod

# A method that asks by one request.
cdef class AskingMethod(RecallMethod):
    cdef tuple listeners
    cdef str asks                        # by a request with this method
    # Send it; None where the credit has too little left, which it has nothing of then.
    cdef Asked send(self, Asked attempt, bytes data, bytes branch, Flow flow, Credit credit, AttemptObserver observer,
                    int64_t now)

# ValueError where one of them would end a line of what it is written into.
cdef int check_lines(bytes uri, bytes route) except -1

cdef class Asked(Attempt):
    cdef AskingMethod method
    cdef ClientTransaction transaction   # until it has its final response
