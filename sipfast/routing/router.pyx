"""Whose a request is, and what its Route set asks for.

A URI is *served* when its host is one of our domains and its port, where it names one, is one that we listen on: on one
machine `sip:bob@127.0.0.1` may be a user of ours while `sip:bob@127.0.0.1:40000` is somebody's phone. A URI is our
*self* when it has no user part and names a served domain or the address of a listener.

Our Path and Record-Route values have a flow token for a user part (`token`). What comes back in a Route is ours and
checked, or the request is forged. In a Request-URI a user part that is no token is a user.
"""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE

from .._flow cimport Flow
from .._parser cimport (
    Address,
    Cursor,
    H_ROUTE,
    Message,
    SCHEME_SIP,
    SCHEME_SIPS,
    Span,
    Uri,
    find_param,
)
from .token cimport KEY_SIZE, TOKEN_BOTH, TOKEN_CALLEE, TOKEN_NONE, TOKEN_PATH, Token, Tokens, looks_like_token
from .._uri cimport is_plain_host, plain_host, plain_host_of
from .upstream cimport Group, Upstreams


cdef bint shows_call(RoutePlan *plan) noexcept:
    return plan.token.kind != TOKEN_NONE and plan.token.kind != TOKEN_PATH


cdef bint routed_by_us(RoutePlan *plan) noexcept:
    return plan.own > 0 or plan.from_strict


@cython.final
cdef class Router:

    def __init__(self, domains, own, ports, Upstreams upstreams not None, groups, Group default_group, bint any_domain,
                 Tokens tokens not None):
        self.tokens = tokens
        self.domains = frozenset([plain_host_of(domain) for domain in domains])
        self.own_set = frozenset([plain_host_of(host) for host in own])
        self.ports = frozenset(ports)
        self.upstreams = upstreams
        self.groups = {plain_host_of(domain): group for domain, group in groups.items()}
        self.default_group = default_group
        self.any_domain = any_domain
        self.last_domain = b""
        self.last_self = b""
        self.last_port = -1

    cdef bint is_served(self, const unsigned char *p, const Uri *uri):
        if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
            return False
        if uri.port != -1 and not self.is_port(uri.port):
            return False
        if self.any_domain:
            return True
        if PyBytes_GET_SIZE(self.last_domain) and is_plain_host(p, uri.host, self.last_domain):
            return True
        cdef bytes host = plain_host(p, uri.host)
        if host in self.domains:
            self.last_domain = host
            return True
        return False

    cdef bint is_self(self, const unsigned char *p, const Uri *uri):
        return uri.user.end == uri.user.start and self.names_us(p, uri)

    cdef bint names_us(self, const unsigned char *p, const Uri *uri):
        if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
            return False
        # RFC 3261 §19.1.2: no port means 5060, yet a phone may know us by name only.
        if uri.port != -1 and not self.is_port(uri.port):
            return False
        if PyBytes_GET_SIZE(self.last_self) and is_plain_host(p, uri.host, self.last_self):
            return True
        cdef bytes host = plain_host(p, uri.host)
        if host in self.own_set or host in self.domains:
            self.last_self = host
            return True
        return False

    cdef bint is_port(self, int port) except -1:
        if port != self.last_port:
            if port not in self.ports:
                return False
            self.last_port = port
        return True

    cdef Group upstream_of(self, const unsigned char *p, const Uri *uri):
        if self.groups:
            group = self.groups.get(plain_host(p, uri.host))
            if group is not None:
                return group
        return self.default_group

    cdef bint is_upstream(self, Flow flow) noexcept:
        return self.upstreams.at(flow) is not None

    cdef int plan(self, Message request, RoutePlan *plan) except -1:
        cdef Cursor cursor
        cdef Span value, unused
        cdef Address address
        cdef Token token
        cdef bint leading = True, strict = False, odd = False
        plan.own = plan.left = 0
        plan.from_strict = plan.next_is_strict = False
        plan.token.kind = TOKEN_NONE
        plan.end = 0
        plan.in_contact = False
        plan.key.start = plan.key.end = 0
        if not request.has(H_ROUTE):
            self.read_contact(request, plan)
            return 0
        # RFC 3261 §16.4: our own Record-Route value stands in the Request-URI, so a strict router sent this.
        if self.names_us(request.p, &request.uri) and find_param(request.p, request.uri.params, "lr", &unused) == 1:
            strict = (request.uri.user.end == request.uri.user.start
                      or self.tokens.read(request.p, request.uri.user, &plan.token))
        request.cursor(H_ROUTE, &cursor)
        while request.next_value(&cursor, &value):
            if request.parse_address(value, &address) != 1:
                return PLAN_MALFORMED
            if odd:
                return PLAN_FORGED
            if leading and self.names_us(request.p, &address.uri):
                if address.uri.user.end == address.uri.user.start:
                    plan.own += 1
                    continue
                if self.tokens.read(request.p, address.uri.user, &token):
                    plan.own += 1
                    plan.token = token
                    if (address.uri.params.end - address.uri.params.start > KEY_SIZE
                            and find_param(request.p, address.uri.params, b"key", &plan.key) == 1):
                        plan.keyed = token
                    continue
                if not strict:
                    return PLAN_FORGED
                odd = True                  # a user of ours, where it is the last value: the real Request-URI
            if leading:
                leading = False
                plan.next = address.uri.all
                # RFC 3261 §16.6 step 6: without lr the next hop is a strict router.
                plan.next_is_strict = find_param(request.p, address.uri.params, "lr", &unused) != 1
            plan.left += 1
            plan.last = address.uri.all
        if plan.left and strict:
            plan.from_strict = True
            plan.left -= 1
        if shows_call(plan):
            return self.direct(request, plan)
        if plan.token.kind == TOKEN_NONE and plan.left == 0 and not strict:
            self.read_contact(request, plan)
        return 1

    cdef int read_contact(self, Message request, RoutePlan *plan) except -1:
        cdef Token token
        if looks_like_token(request.p, request.uri.user) and self.names_us(request.p, &request.uri) and (
                self.tokens.read(request.p, request.uri.user, &token) and token.kind == TOKEN_PATH):
            plan.token = token
            plan.in_contact = True
        return 0

    # Which end of a call's token the request goes to: its From tag says which side it is from.
    cdef int direct(self, Message request, RoutePlan *plan) noexcept:
        if plan.token.digest == self.tokens.digest_of_call(request, request.sender.tag):
            plan.end = 1 if plan.token.kind == TOKEN_BOTH else 0
            return 1 if plan.token.kind == TOKEN_BOTH or plan.token.kind == TOKEN_CALLEE else PLAN_FORGED
        if plan.token.digest == self.tokens.digest_of_call(request, request.target.tag):
            return PLAN_FORGED if plan.token.kind == TOKEN_CALLEE else 1
        return PLAN_FORGED
