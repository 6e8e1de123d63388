# Whom a request speaks for, and whether it may: the step `identity` of dispatch. See speaker.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message, Uri
from ..identity.authenticator cimport Authenticator
from ..identity.claims cimport Claims
from ..identity.users cimport User
from ..observe.events cimport Events
from ..routing.router cimport RoutePlan, Router
from ..transaction.layer cimport TransactionLayer
from ..trust.limiter cimport Limiter
from ..trust.peers cimport Peers
from .answers cimport Answers

cdef class Speaker:
    cdef Authenticator authenticator     # None: there are no users, and every From is believed
    cdef Claims claims
    cdef Peers peers
    cdef Router router
    cdef TransactionLayer transactions
    cdef Answers answers
    cdef Events events
    cdef bytes realm                     # of all users; b"": each domain has its own
    cdef bytes first_realm               # for whoever is from nowhere that we serve
    cdef bint outside_calls              # are let in
    cdef Limiter limiter
    cdef int64_t ban_after               # logins refused within a minute; 0: never
    cdef int64_t ban_time                # ms
    cdef long challenged, logins, failed_logins, slowed_logins, stale_nonces, not_owned
    # Whether a request may go on; else it was answered. Not for ACK and CANCEL (RFC 3261 §22.1).
    cdef bint admits(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now) except -1
    # The AOR that a request out of a dialog is from, for redial; None: nobody whom that is known of.
    cdef bytes caller_of(self, Message request, Flow flow)
    cdef bint is_exempt(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog) except -1
    cdef bint is_from_outside(self, Message request) except -1
    cdef bint is_at_self(self, Message request, RoutePlan *plan, Uri *uri) except -1
    cdef bytes realm_of(self, Message request, bytes aor, Uri *uri)
    cdef bint demand(self, Message request, Flow flow, int status, bytes realm, bint stale, int64_t now) except -1
    cdef bint refuse_guess(self, Message request, Flow flow, int status, bytes realm, int login, int64_t now) except -1
    cdef bint owned(self, Message request, Flow flow, User user, bytes aor) except -1
