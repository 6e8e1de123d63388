# What phones have obeyed and refused. See memory.pyx.

cimport cython
from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel
from ..store.repository cimport Store


# What is remembered of one device or make.
@cython.final
cdef class Known:
    cdef tuple notes                     # of records.Note
    cdef dict verdicts                   # method -> whether it worked
    cdef dict good                       # method that worked -> until when; empty where another one was refused
    cdef int64_t until                   # then the first of the notes has expired
    cdef int64_t turn                    # in which it was last seen in the store


@cython.final
cdef class PhoneMemory(Timed):
    cdef Store store
    cdef Wheel wheel
    cdef int64_t lifetime                # ms; 0: nothing is remembered
    cdef dict devices                    # +sip.instance, else Contact -> Known
    cdef dict agents                     # User-Agent -> Known
    cdef int64_t turn                    # of going through what is stored
    cdef bytes reached                   # the key to go on from

    cdef int start(self, int64_t now) except -1
    # What still holds of it; None where nothing is remembered. Another one as soon as that changes. Neither asks the store.
    cdef Known device(self, bytes contact, bytes instance, int64_t now)
    cdef Known make(self, bytes agent, int64_t now)
    # What came of a method is written with this batch, unless it is known.
    cpdef int note(self, bytes contact, bytes instance, bytes agent, str method, bint worked, int64_t now) except -1

    cdef int note_agent(self, bytes agent, str method, bint worked, int64_t now) except -1
    cdef int note_device(self, bytes device, bytes agent, str method, bint worked, int64_t now) except -1
    cdef int write(self, str kind, bytes name, bytes agent, str method, bint worked, int64_t now) except -1
    cdef bint take(self, object phone, int64_t now) except -1
    cdef int go_on(self, int64_t now) except -1
