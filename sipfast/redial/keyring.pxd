# What the server says who it is with. See keyring.pyx.

cimport cython

from ..dialog.leg cimport Keyring, Leg
from .ladder cimport Ladder


@cython.final
cdef class Keys(Keyring):
    cdef Ladder ladder

cdef Keys make_keys(Ladder ladder)
