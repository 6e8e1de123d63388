# Which connections of streams are open at this worker. See connections.pyx.

from .._flow cimport Flow

cdef class Connections:
    cdef int node, worker
    cdef dict open                       # number -> generation
    # A message has come by it: it is open.
    cdef int note(self, Flow flow) except -1
    # It has been closed. Whether it was open.
    cdef bint forget(self, Flow flow) except -1
    # Whether the flow's connection is gone for ever: nothing that was stored with it leads there any more.
    cdef bint is_gone(self, Flow flow) except -1
