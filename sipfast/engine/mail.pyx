"""Mail between workers: what one of them has for the others leaves at its commit, as frames for the bus."""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE

from .._flow cimport Flow
from .._parser cimport Message
from ..redial.notice cimport Post

cdef enum:
    MOST_QUOTED = 4096           # bytes: of what could not be delivered, all that another worker needs


@cython.final
cdef class Mail(Post):

    def __init__(self, int worker, int workers, bus):
        self.worker = worker
        self.workers = workers
        self.bus = bus
        self.frames = [[] for _ in range(workers)]

    cdef int post(self, int worker, bytes frame) except -1:
        self.waiting = True
        (<list>self.frames[worker]).append(frame)
        return 0

    cdef int post_to_all(self, bytes frame) except -1:
        cdef int worker
        for worker in range(self.workers):
            if worker != self.worker:
                self.post(worker, frame)
        return 0

    cdef int hand_over(self, int worker, Message message, Flow flow, int hops) except -1:
        cdef bytes packed = flow.pack()
        self.handed_over += 1
        return self.post(worker, b"M%c%c%b%b" % (hops, <int>PyBytes_GET_SIZE(packed), packed, message.data))

    cdef int hand_over_failure(self, int worker, Flow flow, bytes data) except -1:
        cdef bytes packed = flow.pack()
        self.handed_over += 1
        return self.post(worker, b"F%c%b%b" % (<int>PyBytes_GET_SIZE(packed), packed, data[:MOST_QUOTED]))

    cdef int post_notice(self, int worker, bytes notice) except -1:
        return self.post(worker, b"R" + notice)

    # Called from Python, by who posts states.

    def post_upstream(self, bytes state, int to):
        """To one worker, or to all others: -1."""
        if to < 0:
            self.post_to_all(b"U" + state)
        elif to != self.worker:
            self.post(to, b"U" + state)

    cdef int leave(self) except -1:
        cdef int worker
        cdef list frames
        self.waiting = False
        for worker in range(self.workers):
            frames = <list>self.frames[worker]
            if frames:
                self.frames[worker] = []
                self.bus(worker, frames)
        return 0
