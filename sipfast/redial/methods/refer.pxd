# Recall by REFER. See refer.pyx.

cimport cython
from libc.stdint cimport uint64_t

from ..._flow cimport Flow
from ..._hash cimport Secret
from ..._wheel cimport Wheel
from ...transaction.client cimport ClientTransaction
from ...transaction.layer cimport TransactionLayer
from .method cimport Attempt, RecallMethod, WantedCall


@cython.final
cdef class ReferAttempt(Attempt):
    cdef ClientTransaction transaction   # until it has its final response


@cython.final
cdef class ReferMethod(RecallMethod):
    cdef TransactionLayer transactions
    cdef Wheel wheel
    cdef tuple listeners
    cdef Secret secret
    cdef uint64_t made
    cdef dict subjects                   # Call-ID of a REFER whose NOTIFYs are known -> what it is about
    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch)

# `seed`: at least 16 random bytes.
cdef ReferMethod make_refer_method(TransactionLayer transactions, Wheel wheel, tuple listeners, bytes seed)
