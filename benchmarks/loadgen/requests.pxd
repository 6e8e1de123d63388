"""What a mode that registers in another way builds upon."""

from .core cimport Call, Generator
from .wire cimport Out, Scan


cdef class Options(Generator):
    pass

cdef class Echo(Options):
    pass

cdef class Register(Generator):
    cdef bint fetching
    cdef int expires
    cdef void put_more(self, Out *out, Call *call) noexcept nogil
    cdef bint names_contact(self, Call *call, Scan *s) noexcept nogil
