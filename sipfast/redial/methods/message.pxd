# Telling the caller by MESSAGE. See message.pyx.

cimport cython

from ..._flow cimport Flow
from ...transaction.layer cimport TransactionLayer
from .asking cimport Asked, AskingMethod
from .method cimport WantedCall


@cython.final
cdef class MessageAttempt(Asked):
    pass


@cython.final
cdef class MessageMethod(AskingMethod):
    cdef str text                        # of the message; {callee} stands for who can be reached
    cdef bytes request(self, const WantedCall *wanted, bytes uri, bytes route, Flow flow, bytes branch)

cdef MessageMethod make_message_method(TransactionLayer transactions, tuple listeners)
