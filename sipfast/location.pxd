# Where an AOR's phones are: live bindings from the store, and the flow by which each is reached.

from libc.stdint cimport int64_t

from ._flow cimport Flow
from ._parser cimport Uri
from ._records cimport Piece

cdef class Location:
    cdef readonly object store
    cdef dict hosts                      # host name (lower-case bytes) -> IP literal (str), known from the configuration
    cdef tuple families                  # for each local listener 4 or 6
    # Live bindings, q descending, then the latest `updated` first. [] where there are none.
    cdef list lookup(self, bytes aor, int64_t now)
    # Whether there is any.
    cdef bint is_bound(self, bytes aor, int64_t now) except -1
    # A Target for each of them, in their order.
    cdef list targets(self, bytes aor, int64_t now)
    # Where a request for this binding goes: its first Path URI; else, where Contact's host is not an IP literal or not
    # the source address of the REGISTER (NAT), the flow of the REGISTER; else Contact's own address and port.
    # A Path whose host is a name not known here is taken to be where the REGISTER came from. A REGISTER over a connection
    # is answered over that connection only. None where it cannot be resolved, and for sips: without TLS.
    cdef Flow flow_of(self, object binding)
    cdef Flow flow_by(self, Piece contact, Piece path, Piece came)
    # The flow to a URI's maddr/host and port (default 5060), over UDP from the first listener of its family;
    # None where the host is a name that `hosts` does not know, no listener has its family, or the scheme is not sip.
    cdef Flow flow_to(self, const unsigned char *p, const Uri *uri)
    cdef Flow _registered_by(self, Piece packed)
    cdef int _listener(self, int family) except -2
