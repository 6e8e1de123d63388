# The ladder of recall methods: which are tried with a phone, and in which order. See ladder.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..store.codec cimport StoredWatch
from .memory cimport PhoneMemory
from .methods.method cimport RecallMethod


# One method, and how this phone wants it.
@cython.final
cdef class Rung:
    cdef RecallMethod method
    cdef bytes name                      # of the method, as stored
    cdef object how                      # what the phone's profile says; None: nothing


@cython.final
cdef class Ladder:
    cdef dict methods                    # name -> RecallMethod: those that there are
    cdef object order                    # order.Order
    cdef PhoneMemory memory
    cdef bint by_user                    # some user is recalled otherwise than all others
    cdef tuple generic                   # Rungs for a phone that tells nothing of itself, and of which nothing is known
    cdef dict ready                      # what is known of a phone -> its Rungs: User-Agent, or with user and what is remembered
    # Of the phone that has armed a watch, the first to be tried first; never empty. The method that a recall is at is always
    # among them.
    cdef tuple rungs(self, StoredWatch watch, int64_t now)
    # What came of a method with that phone is remembered, in this batch.
    cdef int note(self, StoredWatch watch, str method, bint worked, int64_t now) except -1
    # Take other settings while running: a config.Redial.
    cdef int configure(self, settings) except -1

    cdef tuple climb(self, StoredWatch watch, int64_t now)
    cdef tuple made(self, tuple named)
    cdef tuple with_method_of(self, StoredWatch watch, tuple rungs)

# Where the method that a watch is at stands among rungs; -1: nowhere.
cdef int place_of(StoredWatch watch, tuple rungs) except -2
cdef Rung make_rung(RecallMethod method, object how)
# `methods`: a tuple of RecallMethods.
cdef Ladder make_ladder(settings, tuple methods, PhoneMemory memory)
