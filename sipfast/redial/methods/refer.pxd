# Recall by REFER. See refer.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._parser cimport Message
from ...transaction.client cimport ClientTransaction
from ...transaction.layer cimport TransactionLayer
from .asking cimport Asked, AskingMethod
from .method cimport WantedCall


@cython.final
cdef class ReferAttempt(Asked):
    # None where nothing is configured that a challenge to it could be answered with:
    cdef bytes data                      # the REFER as it was sent first
    cdef bytes branch                    # of that one
    cdef bytes uri                       # its Request-URI
    cdef object answers                  # digest.Answers
    cdef int64_t cseq                    # of the last one sent
    # A challenge to it (401, 407) has come: whether it is sent anew.
    cdef bint answer_challenge(self, ClientTransaction transaction, Message response, int64_t now) except -1


@cython.final
cdef class ReferMethod(AskingMethod):
    cdef object cnonces                  # digest.Cnonces
    cdef bint subscribes                 # asks for NOTIFYs, as RFC 3515 does by itself; else by RFC 4488 for none
    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch, object how)

# "refer", or, where it does not subscribe, "refer-nosub".
cdef ReferMethod make_refer_method(TransactionLayer transactions, tuple listeners, object cnonces, bint subscribes=*)
