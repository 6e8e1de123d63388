# Recall by REFER. See refer.pyx.

cimport cython
from ..._flow cimport Flow
from ...transaction.client cimport ClientTransaction
from ...transaction.layer cimport TransactionLayer
from .method cimport Attempt, RecallMethod, WantedCall


@cython.final
cdef class ReferAttempt(Attempt):
    cdef ClientTransaction transaction   # until it has its final response


@cython.final
cdef class ReferMethod(RecallMethod):
    cdef TransactionLayer transactions
    cdef tuple listeners
    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch)

cdef ReferMethod make_refer_method(TransactionLayer transactions, tuple listeners)
