"""Where a request goes, or why it does not go on (RFC 3261 §16.4, §16.5).

The server is nobody's relay. A request goes on

- by a flow token of ours: in a Route (our Path or Record-Route has come back), whatever the Request-URI says; or in the
  Request-URI, where an upstream was given one for a phone's Contact;
- to a user that we serve: to the upstream of the domain, or to the user's bindings, also where that upstream is down;
- to the Contact of a binding, by that binding's flow: attended transfer does so, and upstreams that ignore Path. Two homes
  may have the same addresses in them: among several bindings it is the one of the AOR in To, else nobody can tell (485);
- anywhere, where an upstream or a peer with the right `relay` sends it;
- to the upstream, for domains that are not ours, from a flow that the upstream has let register.

Everything else is 403, and says why.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport TRANSPORT_TLS, TRANSPORT_WSS, Flow, Target, make_target
from .._parser cimport M_PUBLISH, M_REGISTER, M_SUBSCRIBE, SCHEME_SIPS, Message, Uri, canonical_aor, parse_uri_at
from ..store.codec cimport contact_key
from .token cimport TOKEN_NONE
from .._writer cimport warning_line
from .location cimport Location
from .mid_registrar cimport MidRegistrar
from .outbound cimport Outbound, answer_flow
from ..trust.peers cimport RIGHT_REFER, RIGHT_RELAY, Peers
from .router cimport RoutePlan, Router, routed_by_us, shows_call
from .upstream cimport Group, Member

cdef enum:
    MOST_USERS = 8          # that one call may be led on to, by bindings that name users


cdef bint goes_to_phones(Message request) noexcept:
    # Not what the upstream itself answers: a phone's refusal would end a subscription to its state, which can wait.
    return request.method != M_REGISTER and request.method != M_SUBSCRIBE and request.method != M_PUBLISH


@cython.final
cdef class Destination:

    def __init__(self, Router router not None, Location location not None, Outbound outbound not None,
                 MidRegistrar mid_registrar not None, Peers peers not None, int64_t plain_until):
        self.router = router
        self.location = location
        self.outbound = outbound
        self.mid_registrar = mid_registrar
        self.peers = peers
        self.plain_until = plain_until
        self.why = b""

    cdef int refuse(self, int status, bytes agent, bytes text) except -1:
        self.why = warning_line(agent, text)
        self.status = status
        return status

    cdef bint trusts(self, Flow flow) noexcept:
        return self.router.is_upstream(flow) or self.peers.may(flow, RIGHT_RELAY)

    # Whether the sender's AOR is registered by the flow that the request comes by.
    cdef bint is_known(self, Message request, Flow flow, int64_t now) except -1:
        return self.location.is_registered_by(canonical_aor(request.p, &request.sender.uri), answer_flow(request, flow), now)

    cdef int admit(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now) except -1:
        cdef bytes host
        self.status = 0
        self.unserved = False
        if plan.token.kind != TOKEN_NONE:
            return 0
        if plan.left == 0 and (self.router.is_self(request.p, uri) or self.router.is_served(request.p, uri)):
            return 0
        if self.trusts(flow):
            return 0
        host = request.text(uri.host)
        if plan.left and not in_dialog:
            return self.refuse(403, host, b"A Route that leads away from here; a peer with the right relay may have one")
        if plan.left == 0 and self.router.names_us(request.p, uri):
            return 0                        # a token, a Contact that a peer was given, or a user that is not here
        if not self.is_known(request, flow, now):
            self.unserved = True
            return self.refuse(403, host, b"Neither a domain of this server, nor are you registered here")
        if in_dialog and routed_by_us(plan) and now < self.plain_until:
            return 0                        # from before there were tokens
        if plan.left:
            return self.refuse(403, host, b"A Route that leads away from here, without a token of this server")
        if self.upstream_for(request, uri) is not None:
            return 0
        if self.contact(request, uri, now) or self.status:
            return self.status
        self.unserved = True
        return self.refuse(403, host, b"Not a domain of this server; domains, upstream and peer say which are")

    # RFC 3515 §5.1: a REFER has a phone call whomever it names, at its owner's cost. Redial asks phones to obey those of this
    # server; so nobody else's come through it out of a dialog, but from an upstream or a peer with that right. A To tag is
    # anybody's to write: only a token of the call shows that there is one.
    cdef bint may_refer(self, Message request, Flow flow, RoutePlan *plan, bint in_dialog, list targets, int64_t now):
        cdef Target target
        cdef Flow to
        if self.router.is_upstream(flow) or self.peers.may(flow, RIGHT_REFER):
            return True
        if in_dialog and (shows_call(plan) or (routed_by_us(plan) and now < self.plain_until)):
            return True
        for target in targets:
            to = target.flow
            if to is not None and not self.router.is_upstream(to) and not self.peers.is_peer(to):
                self.refuse(403, request.text(request.uri.host),
                            b"A REFER out of a dialog; a peer with the right refer may send one")
                return False
        return True

    cdef list find(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now):
        cdef list targets = self.ways(request, flow, plan, uri, in_dialog, now), secured
        cdef Target target
        if uri.scheme != SCHEME_SIPS or self.status:
            return targets
        # RFC 3261 §26.2.2: a sips request goes by hops that are secured, or not at all.
        secured = [target for target in targets if (<Target>target).flow is not None and (
            (<Target>target).flow.transport in (TRANSPORT_TLS, TRANSPORT_WSS))]
        if not secured:
            # RFC 5630 §5.3: 480 with this Warning, not 416, which would have the caller try sip: by itself.
            self.status = 480
            self.why = b'Warning: 380 %b "SIPS Not Allowed"\r\n' % request.text(uri.host)
        return secured

    cdef list ways(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now):
        cdef Uri next_uri
        cdef Group group
        cdef list targets
        cdef Flow way
        cdef bint trusted
        self.status = 0
        self.group = self.dead = None
        self.unresolved = None
        if plan.in_contact:
            return self.behind_token(request, plan, now)
        if plan.token.kind != TOKEN_NONE:
            return self.by_token(request, plan, now)
        if plan.left:
            request.parse_uri(plan.next, &next_uri)
            way = self.location.flow_to(request.p, &next_uri)
            if way is None and self.trusts(flow):
                self.unresolved = self.location.name_in(request.p, &next_uri)
            return [make_target(None, None, way)]
        # A REGISTER names a domain, and no Contact of anybody, whoever passes it on.
        trusted = request.method != M_REGISTER and self.trusts(flow)
        # Within a dialog the Request-URI is the remote target; from behind us it is a Contact that was registered.
        if ((in_dialog and routed_by_us(plan)) or trusted) and not self.is_user_of_ours(request, uri):
            targets = self.contact(request, uri, now)
            if targets or self.status:
                return targets
            way = self.location.flow_to(request.p, uri)
            # A name that leads nowhere by itself is a domain: a REGISTER or a call that a peer sends on for its phones.
            if way is not None or in_dialog:
                if way is None and trusted:
                    self.unresolved = self.location.name_in(request.p, uri)
                return [make_target(None, None, way)]
        group = self.router.upstream_of(request.p, uri)
        if group is not None and not self.router.is_upstream(flow):
            return self.stand_in(request, uri, group, [], now)
        if not self.router.is_served(request.p, uri):
            targets = self.contact(request, uri, now)
            if targets or self.status:
                return targets
            group = None if self.router.names_us(request.p, uri) else self.upstream_for(request, uri)
            if group is not None:
                return self.stand_in(request, uri, group, [], now)
            if trusted and not self.router.names_us(request.p, uri):
                self.unresolved = self.location.name_in(request.p, uri)
            # RFC 3261 §21.4.5: our address, but no domain of ours.
            self.refuse(404, request.text(uri.host), b"An address of this server, not a domain of it; see domains")
            self.unserved = True
            return targets
        return self.bound(canonical_aor(request.p, uri), None, now)

    # RFC 3261 §16.5: a binding that names another user of ours stands for that user's bindings.
    cdef list bound(self, bytes aor, set seen, int64_t now):
        cdef list targets = self.location.targets(aor, now), found = []
        cdef Target target
        cdef Uri uri
        cdef bytes contact, other
        cdef bint names = False
        if self.router.any_domain:
            return targets
        for target in targets:
            contact = target.uri
            if parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(contact), 0, <int>PyBytes_GET_SIZE(contact), &uri) == 1 and (
                    uri.user.end > uri.user.start
                    and self.router.is_served(<const unsigned char *>PyBytes_AS_STRING(contact), &uri)):
                other = canonical_aor(<const unsigned char *>PyBytes_AS_STRING(contact), &uri)
                if other != aor:              # its own name is that of a phone that knows no address of its own
                    names = True
                    seen = {aor} if seen is None else seen
                    if other not in seen and len(seen) < MOST_USERS:
                        seen.add(other)
                        found += self.bound(other, seen, now)
                    continue
            found.append(target)
        return found if names else targets

    cdef list stand_in(self, Message request, Uri *uri, Group group, list tried, int64_t now):
        # RFC 3263 §4.3: the next address. With none up, what is for a phone goes straight to it, where it is known.
        cdef Member member = group.stand_in(tried)
        self.group = self.dead = None
        if member is not None:
            self.group = group
            return [make_target(None, None, member.flow)]
        if group.choice() is not None:
            return []
        self.dead = group
        return self.location.targets(canonical_aor(request.p, uri), now) if goes_to_phones(request) else []

    cdef list by_token(self, Message request, RoutePlan *plan, int64_t now):
        cdef Target target
        cdef Uri next_uri
        cdef Flow flow = self.outbound.way(&plan.token, plan.end, request, now), hop
        if plan.left:
            # The next hop has put itself there, and it is where the flow leads, or a server that we know.
            request.parse_uri(plan.next, &next_uri)
            hop = self.location.flow_to(request.p, &next_uri)
            if hop is not None and (self.router.is_upstream(hop) or self.peers.may(hop, RIGHT_RELAY)):
                flow = hop
        if flow is None:
            self.refuse(430, request.text(request.uri.host), b"Nothing is listened on any more that leads there")
            return []
        target = make_target(None, None, flow)
        target.by_token = True
        return [target]

    # The phones for whose Contact the token stands in the Request-URI.
    cdef list behind_token(self, Message request, RoutePlan *plan, int64_t now):
        cdef list targets = self.mid_registrar.targets(&plan.token, request, now)
        if not targets:
            self.refuse(self.mid_registrar.status, request.text(request.uri.host),
                        b"No phone is registered any more by the way that this token names")
        return targets

    # The binding that a Contact is of, as targets; [] where there is none, or where `status` says that it cannot be told.
    cdef list contact(self, Message request, Uri *uri, int64_t now):
        cdef bytes preferred = canonical_aor(request.p, &request.target.uri)
        cdef list aors = [preferred]
        cdef bytes user, aor, key
        cdef Target target
        user = request.text(uri.user)
        for domain in self.router.domains if user else ():
            aor = b"sip:" + user + b"@" + <bytes>domain
            if aor != preferred:
                aors.append(aor)
        key = contact_key(request.p, uri)
        if key is not None:
            for aor in self.location.store.aors_of(key):
                if aor not in aors:
                    aors.append(aor)
        target = self.location.find_contact(request, uri, aors, preferred, now)
        if target is not None:
            return [target]
        if self.location.ambiguous:
            self.refuse(485, request.text(uri.host), b"Several users have this Contact, and To names none of them")
        return []

    # The upstream that a domain which is not ours goes to: its own, else the one that has let the sender register.
    cdef Group upstream_for(self, Message request, Uri *uri):
        cdef Group group = self.router.upstream_of(request.p, uri)
        return group if group is not None else self.router.upstream_of(request.p, &request.sender.uri)

    cdef bint is_user_of_ours(self, Message request, Uri *uri) except -1:
        return uri.user.end > uri.user.start and not self.router.any_domain and self.router.is_served(request.p, uri)
