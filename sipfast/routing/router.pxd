# Whose a request is: this server's own, a served domain's, an upstream's, or nobody's here; and its Route set.

from .._flow cimport Flow
from .._parser cimport Message, Span, Uri
from .token cimport Token, Tokens
from .upstream cimport Group, Upstreams

# What the Route headers of a request ask for (RFC 3261 §16.4, §16.6 step 6).
cdef struct RoutePlan:
    int own                 # leading Route values that name us: to be removed
    int left                # Route values after those
    bint from_strict        # the last Route value holds the real Request-URI (the hop before us is a strict router)
    bint next_is_strict     # the next Route value has no lr: it becomes the Request-URI
    Span next               # URI of the next Route value, where left > 0
    Span last               # URI of the last Route value, where from_strict
    Token token             # of the last Route value (or Request-URI) that names us; kind TOKEN_NONE where it has none
    int end                 # which end of it the request goes to
    bint in_contact         # it stands in the Request-URI, for a phone's Contact
    Span key                # beside a Route value's token; empty: none
    Token keyed             # that one

cdef enum:
    PLAN_MALFORMED = -2
    PLAN_FORGED = -3

cdef class Router:
    cdef frozenset domains
    cdef bint any_domain        # everything not our own goes to the default upstream
    cdef frozenset own_set               # lower-case host of each listener's sent-by and address
    cdef frozenset ports
    cdef Upstreams upstreams
    cdef dict groups                     # domain -> Group
    cdef Group default_group
    cdef Tokens tokens
    # What the last look found: the next URI mostly names the same.
    cdef bytes last_domain
    cdef bytes last_self
    cdef int last_port
    cdef bint is_port(self, int port) except -1
    cdef bint is_served(self, const unsigned char *p, const Uri *uri)
    # Whether a URI is at one of our addresses or domains, whatever its user part; and where that is empty.
    cdef bint names_us(self, const unsigned char *p, const Uri *uri)
    cdef bint is_self(self, const unsigned char *p, const Uri *uri)
    cdef Group upstream_of(self, const unsigned char *p, const Uri *uri)
    cdef bint is_upstream(self, Flow flow) noexcept
    # Fill `plan`: 1, 0 where there is no Route, PLAN_MALFORMED, or PLAN_FORGED where a value of ours has not our token.
    cdef int plan(self, Message request, RoutePlan *plan) except -1
    cdef int read_contact(self, Message request, RoutePlan *plan) except -1
    cdef int direct(self, Message request, RoutePlan *plan) noexcept

# Whether our Record-Route value is in a Route or, from a strict router, in the Request-URI (RFC 3261 §16.4).
cdef bint routed_by_us(RoutePlan *plan) noexcept
# Whether it has the flow token of the request's call: there was one, and it came by here.
cdef bint shows_call(RoutePlan *plan) noexcept
