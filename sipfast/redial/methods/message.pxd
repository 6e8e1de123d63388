# Telling the caller by MESSAGE. See message.pyx.

cimport cython
from ..._flow cimport Flow
from ...transaction.client cimport ClientTransaction
from ...transaction.layer cimport TransactionLayer
from .method cimport Attempt, RecallMethod, WantedCall


@cython.final
cdef class MessageAttempt(Attempt):
    cdef ClientTransaction transaction   # until it has its final response


@cython.final
cdef class MessageMethod(RecallMethod):
    cdef TransactionLayer transactions
    cdef tuple listeners
    cdef str text                        # of the message; {callee} stands for who can be reached
    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch)

cdef MessageMethod make_message_method(TransactionLayer transactions, tuple listeners)
