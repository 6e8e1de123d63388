"""Which connections of streams are open at this worker.

A datagram's flow leads to its peer as long as the peer is there. A stream's flow ends with its connection: whoever had it
stored, in a binding or in a token, has to see that it is gone (RFC 5626 §5.3.1), also after a restart, where the new process
numbers its connections anew. So a flow names its owner, the connection's number there, and its generation.
"""

import cython

from .._flow cimport Flow


@cython.final
cdef class Connections:

    def __init__(self, int node, int worker):
        self.node = node
        self.worker = worker
        self.open = {}

    cdef int note(self, Flow flow) except -1:
        self.open[flow.connection] = flow.generation
        return 0

    cdef bint forget(self, Flow flow) except -1:
        if self.is_gone(flow):
            return False
        return self.open.pop(flow.connection, None) is not None

    cdef bint is_gone(self, Flow flow) except -1:
        if not flow.reliable() or flow.node != self.node or flow.worker != self.worker:
            return False                      # another worker knows of its own
        return self.open.get(flow.connection, -1) != flow.generation
