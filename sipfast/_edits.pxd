# Forwarded messages as edits of the original bytes.

cimport cython
from libc.stdint cimport int32_t

from ._flow cimport Flow
from ._parser cimport Message

cdef enum:
    FEW_EDITS = 32          # as many as there is room for without memory of their own
    ALL_VALUES = 0x7fffffff

cdef struct Edit:
    int32_t start
    int32_t end
    int text                # its place in `texts`


# Edits of one message, given in any order, applied in one pass. At equal places the given order is kept. None overlaps
# another: of two that would, one is made that removes what either removes, with the texts of both.
@cython.final
cdef class Edits:
    cdef int count, capacity, used
    cdef Edit *edits        # in the order of their places
    cdef Edit few[FEW_EDITS]
    cdef list texts
    cdef void clear(self) noexcept
    cdef int replace(self, int32_t start, int32_t end, bytes text) except -1   # insertion where start == end
    cdef bytes apply(self, Message message)
    cdef int insert(self, int i, int32_t start, int32_t end, bytes text) except -1
    cdef int join(self, int i) except -1
    cdef int grow(self) except -1

# Edit of the topmost Via of a request about to be forwarded: adds received/rport of the flow where due.
cdef int note_received(Edits edits, Message request, Flow flow) except -1
# Removal of the topmost Via value (of a response): the whole line, or only the value where several share the line.
cdef int drop_top_via(Edits edits, Message response) except -1
# Removal of all values of a list header (Route) but those from number `first` on and before number `after`, counted from 0:
# whole lines where all of a line's values go.
cdef int keep_values(Edits edits, Message message, int header, int first, int after) except -1
