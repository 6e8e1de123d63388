# The ladder of recall methods: which are tried with a phone, and in which order. See ladder.pyx.

cimport cython

from ..store.codec cimport StoredWatch
from .methods.method cimport RecallMethod


# One method, and how this phone wants it.
@cython.final
@cython.no_gc
cdef class Rung:
    cdef RecallMethod method
    cdef object how                      # what the phone's profile says; None: nothing


@cython.final
cdef class Ladder:
    cdef dict methods                    # name -> RecallMethod: those that there are
    cdef tuple generic                   # Rungs for a phone of which nothing is known
    # Of the phone that has armed a watch, the first to be tried first; never empty.
    cdef tuple rungs(self, StoredWatch watch)
    # Take other settings while running: a config.Redial.
    cdef int configure(self, settings) except -1

cdef Rung make_rung(RecallMethod method, object how)
# `methods`: a tuple of RecallMethods.
cdef Ladder make_ladder(settings, tuple methods)
