# What a phone tells by NOTIFY of the call that it was asked for. See progress.pyx.

from ..._parser cimport Message

cdef enum:
    MOST_RESULT = 80        # characters of what is kept for people

# What a NOTIFY tells: status of the call and a text for people; None for nothing that can be read.
cdef tuple progress_in(Message request)
