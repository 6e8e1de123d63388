# The other end of a dialog. See remote.pyx.

cimport cython

from .._parser cimport Message


# The other end of a dialog (RFC 3261 §12.1.2): of the one that was answered, or an early one.
@cython.final
cdef class Remote:
    cdef bytes to                        # To of what is sent in it
    cdef bytes tag                       # of that; b"" before there is a dialog
    cdef bytes target                    # URI
    cdef tuple routes                    # Route values

# The dialog that a response makes; `fallback`: the target where it names no Contact.
cdef Remote remote_by(Message response, bytes fallback)
cdef str answer_of(Message response)     # status and reason phrase, for people
cdef bytes body_of(Message message)      # the description of a session in it, b"" where there is none
# Of From and To as they are stored.
cdef bytes tag_in(bytes value)
cdef bytes uri_in(bytes value)
# What a session timer in a request is answered by (RFC 4028 §9), b"" for none.
cdef bytes timer_line(Message request)
