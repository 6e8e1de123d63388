# What one worker has for the others. See mail.pyx.

from .._flow cimport Flow
from .._parser cimport Message
from ..redial.notice cimport Post

cdef enum:
    FRAME_FAILED = 70            # "F": size of the flow, flow, what could not be delivered by it
    FRAME_MESSAGE = 77           # "M": hops, size of the flow, flow, message
    FRAME_NOTICE = 82            # "R": for redial
    FRAME_UPSTREAM = 85          # "U": of an upstream's address
    FRAME_MOVE = 86              # "V": a records.Move

cdef class Mail(Post):
    cdef readonly int worker, workers
    cdef int hops                        # workers that may still be asked about the message at hand
    cdef object bus                      # bus(worker, frames)
    cdef list frames                     # for each worker, what leaves at the next commit
    cdef bint waiting                    # there are some
    cdef long handed_over
    cdef int post(self, int worker, bytes frame) except -1
    # To all others.
    cdef int post_to_all(self, bytes frame) except -1
    # The message at hand. The other one answers by its own socket of the same address. `hops`: workers to try after that one.
    cdef int hand_over(self, int worker, Message message, Flow flow, int hops) except -1
    cdef int hand_over_failure(self, int worker, Flow flow, bytes data) except -1
    # To the bus with all of it.
    cdef int leave(self) except -1
