# Where a request goes, or why it does not go on: RFC 3261 §16.4 and §16.5, by flow tokens (RFC 5626 §5.3).

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message, Uri
from .location cimport Location
from .mid_registrar cimport MidRegistrar
from .outbound cimport Outbound
from ..trust.peers cimport Peers
from .router cimport RoutePlan, Router
from .upstream cimport Group

cdef class Destination:
    cdef Router router
    cdef Location location
    cdef Outbound outbound
    cdef MidRegistrar mid_registrar
    cdef Peers peers
    cdef int64_t plain_until             # dialogs with Record-Route values from before there were tokens pass until then
    # What the last refusal says to people: whole header lines.
    cdef bytes why
    cdef bint unserved                   # the last refusal is of a domain that the configuration does not name

    # 0 where the request may go on, else the status to refuse it with. Costs no look into the store for what is addressed
    # to our users or carries our token.
    cdef int admit(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now) except -1
    # Targets of a request that was admitted; [] where the user has no binding. `status` is set where it is to be refused
    # instead, and is 0 otherwise.
    cdef list find(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now)
    cdef int status
    # The upstream that the targets of the last `find` or `stand_in` are of; None: they are not of one whose addresses stand
    # in for each other. And the one that is down as a whole, so that the targets are phones, or none.
    cdef Group group
    cdef Group dead
    # The name of a host that the last `find` would have to know the address of; its sender may have it asked for.
    cdef bytes unresolved
    # Other targets in place of `tried`, Members of the group; None where there are none.
    # Whether a REFER may go to these targets; `status` and `why` otherwise.
    cdef bint may_refer(self, Message request, Flow flow, RoutePlan *plan, bint in_dialog, list targets, int64_t now)
    cdef list stand_in(self, Message request, Uri *uri, Group group, list tried, int64_t now)

    # What `find` finds, whether or not it may go there.
    cdef list ways(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now)
    cdef list bound(self, bytes aor, set seen, int64_t now)
    cdef list by_token(self, Message request, RoutePlan *plan, int64_t now)
    cdef list behind_token(self, Message request, RoutePlan *plan, int64_t now)
    cdef list contact(self, Message request, Uri *uri, int64_t now)
    cdef bint trusts(self, Flow flow) noexcept
    cdef bint is_known(self, Message request, Flow flow, int64_t now) except -1
    cdef Group upstream_for(self, Message request, Uri *uri)
    cdef bint is_user_of_ours(self, Message request, Uri *uri) except -1
    cdef int refuse(self, int status, bytes agent, bytes text) except -1
