# What the server remembers. See repository.pyx, and repository.pyi for what each method does.

from libc.stdint cimport int64_t

from .codec cimport StoredBindings, StoredWatch
from .tables cimport Tables

# How many more records a table may take before they are counted again.
cdef struct Room:
    int64_t left
    int64_t most

cdef class Store:
    cdef readonly Tables tables
    cdef object round               # sweep.Round
    cdef Room room_for_aors, room_for_watches
    cdef bytes swept                # the key that the last sweep looked at last
    cdef object read(self, object decode, bytes stored)
    cdef int raise_at(self, object error) except -1
    cdef int make_room(self, bytes key) except -1
    cpdef for_update(self)
    cpdef hold_snapshot(self)
    cpdef let_go(self)
    cpdef StoredBindings bindings(self, bytes aor)
    cpdef put_bindings(self, bytes aor, object bindings, StoredBindings former=*)
    cdef bint has_room(self, int table, Room *room, int64_t most) except -1
    cpdef bint has_room_for_aor(self, int64_t most) except -1
    cpdef bint has_room_for_watch(self, int64_t most) except -1
    cdef Py_ssize_t look_at(self, list rows, int64_t now, list lapsed, list gone) except -1
    cdef Py_ssize_t drop_lapsed(self, bytes aor, int64_t now) except -1
    cpdef list aors_of(self, bytes contact)
    cpdef put_contact(self, bytes contact, bytes aor)
    cpdef bint is_known(self, bytes aor) except -1
    cpdef put_known(self, bytes aor)
    cpdef StoredWatch watch(self, bytes callee, bytes caller)
    cpdef bint has_watch(self, bytes callee, bytes caller) except -1
    cpdef list watches(self, bytes callee)
    cpdef put_watch(self, object watch, bint new=*)
    cpdef bint claim(self, object watch, object claimed) except -1
    cpdef bint delete_watch(self, bytes callee, bytes caller) except -1
    cpdef Py_ssize_t count_by_caller(self, bytes caller) except -1
    cpdef Py_ssize_t count_by_callee(self, bytes callee) except -1
    cpdef tuple attempts(self, bytes callee, bytes caller)
    cpdef object talk(self, bytes callee)
    cpdef put_talk(self, object talk)
    cpdef bint delete_talk(self, bytes callee) except -1
    cpdef commit(self)
    cpdef bint fetch(self, set aors, object group) except -1
    cpdef bint apply(self, object batch) except -1
    cpdef abort(self)
