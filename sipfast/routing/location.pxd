# Where an AOR's phones are: live bindings from the store, and the flow by which each is reached.

from libc.stdint cimport int64_t

from .._flow cimport Flow, Target
from .._parser cimport Message, Uri
from ..store.codec cimport Piece, StoredBindings
from ..store.repository cimport Store
from ..trust.peers cimport Peers
from .connections cimport Connections

cdef class Location:
    cdef readonly Store store
    cdef Peers peers
    cdef Connections connections         # None: each is open
    # Host name (lower-case bytes) -> IP literal (str), from the configuration or `names`; None: it has none.
    cdef dict hosts
    cdef readonly dict doubtful          # Flow.pack() of phones that are in doubt, as far as this process has seen them
    cdef tuple families                  # for each local listener 4 or 6
    # Live bindings, q descending, then the latest `updated` first. [] where there are none.
    cdef list lookup(self, bytes aor, int64_t now)
    cdef list preferred(self, StoredBindings stored, int64_t now)
    # Whether there is any; and any that is not in doubt.
    cdef bint is_bound(self, bytes aor, int64_t now) except -1
    cdef bint is_reachable(self, bytes aor, int64_t now) except -1
    # A Target for each of them, in their order.
    cdef list targets(self, bytes aor, int64_t now)
    # Where a request for this binding goes: by its first Path URI, else by the flow that it has stored (see `way`). None
    # where it cannot be resolved, and for sips: without TLS. What the upstream has told of has no flow of its own, and its
    # hosts are followed.
    cdef Flow flow_of(self, object binding)
    cdef Flow flow_by(self, Piece contact, Piece path, Piece came)
    # The flow to store with a Contact of a REGISTER: the REGISTER's own, but with the Contact's port where that names its
    # source address and Via has no rport, or where it is not `alone`; or to the upstream or peer that the Contact names.
    cdef Flow way(self, Message request, Flow came, const Uri *contact, bint alone)
    # Whether the host of a Contact or of the first Path value is followed, or need not be.
    cdef bint is_trusted(self, const unsigned char *p, const Uri *uri, Flow came)
    cdef bint is_trusted_path(self, bytes path, Flow came)
    # Whether one of an AOR's live bindings is reached by this flow.
    cdef bint is_registered_by(self, bytes aor, Flow flow, int64_t now)
    # The live binding whose Contact a Request-URI is (RFC 3261 §19.1.4), among those of some AORs; several: that of the
    # preferred AOR. None where there is none, or where `ambiguous` is set then.
    cdef Target find_contact(self, Message request, const Uri *uri, list aors, bytes preferred, int64_t now)
    cdef bint ambiguous
    # The flow to a URI's maddr/host and port (default 5060), over UDP from the first listener of its family;
    # None where the host is a name that `hosts` does not know, no listener has its family, or the scheme is not sip.
    cdef Flow flow_to(self, const unsigned char *p, const Uri *uri)
    # The host of a sip URI where it is a name that `hosts` says nothing of, in lower case; else None.
    cdef bytes name_in(self, const unsigned char *p, const Uri *uri)
    cdef int _note_doubt(self, Flow flow, bint doubtful) except -1
    cdef Flow _path_flow(self, Piece path, Flow registered)
    cdef bint _is_at(self, const unsigned char *p, const Uri *uri, Flow flow) noexcept
    cdef bint _is_peer(self, const unsigned char *p, const Uri *uri)
    cdef int _address_of(self, const unsigned char *p, const Uri *uri, unsigned char *ip)
    cdef Flow _registered_by(self, Piece packed)
    cdef int _listener(self, int family) except -2
