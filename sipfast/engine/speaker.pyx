"""Whom a request speaks for, and whether it may (RFC 3261 §22, §10.3): the step `identity`, where there are users.

A REGISTER speaks for the AOR in its To, every other request for the one in its From. Who sends it shows that he is a user of
ours by digest, and that AOR is one of those that he acts for; else it is 403. Not asked are

- upstreams, and peers with the right `identity`: they know whom they speak for; and peers with the right `relay`, for people
  who are not ours;
- what goes to an upstream, which asks itself;
- requests within a call, by their flow token in the Route, which only who is in the call has; and those of the dialogs that
  the server itself takes part in;
- ACK and CANCEL (§22.1), which do not come here;
- where `passwords.outside_calls` says so, an INVITE from a domain that is not ours to a user of ours. It goes nowhere else,
  and arms nothing.

A challenge keeps nothing: it is answered without a transaction (§8.2.7). 401 is for REGISTER and for what ends at the server
itself, 407 for what it would pass on.
"""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t

from .._flow cimport Flow
from .._parser cimport (
    H_AUTHORIZATION, H_PROXY_AUTHORIZATION, M_INVITE, M_NOTIFY, M_REGISTER, Message, Uri, canonical_aor,
)
from .._uri cimport plain_host
from .._writer cimport warning_line
from ..identity.authenticator cimport LOGIN_GOOD, LOGIN_NONE, LOGIN_STALE, LOGIN_TOO_OFTEN, Authenticator
from ..identity.users cimport User
from ..observe.events cimport LOGIN_FAILED
from ..routing.router cimport RoutePlan, shows_call
from ..routing.token cimport TOKEN_NONE
from ..trust.peers cimport RIGHT_IDENTITY, RIGHT_RELAY

cdef bytes ANONYMOUS = b"sip:anonymous@anonymous.invalid"      # RFC 3323 §4.1.1.3


@cython.final
cdef class Speaker:

    cdef bint admits(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog, int64_t now) except -1:
        cdef bint registers = request.method == M_REGISTER
        cdef int status, login
        cdef bytes aor, realm
        if self.authenticator is None or self.is_exempt(request, flow, plan, uri, in_dialog):
            return True
        aor = canonical_aor(request.p, &request.target.uri if registers else &request.sender.uri)
        realm = self.realm_of(request, aor, uri)
        status = 401 if registers or self.is_at_self(request, plan, uri) else 407
        login = self.authenticator.login(request, H_AUTHORIZATION if status == 401 else H_PROXY_AUTHORIZATION, realm, flow, now)
        if login == LOGIN_GOOD:
            self.logins += 1
            if not registers:                 # else it counts by what it binds
                self.limiter.authenticated(flow, now)
            return self.owned(request, flow, self.authenticator.user, aor)
        if login == LOGIN_NONE or login == LOGIN_STALE:
            self.stale_nonces += login == LOGIN_STALE
            return self.demand(request, flow, status, realm, login == LOGIN_STALE, now)
        return self.refuse_guess(request, flow, status, realm, login, now)

    cdef bytes caller_of(self, Message request, Flow flow):
        cdef bytes asserted
        if self.router.is_upstream(flow):
            return None                       # the phones behind it are its own
        asserted = self.claims.asserted(request, flow)
        if asserted is not None:
            return asserted
        if self.authenticator is not None and not self.peers.may(flow, RIGHT_IDENTITY) and self.is_from_outside(request):
            return None                       # nobody knows who that is
        return canonical_aor(request.p, &request.sender.uri)

    # ---- who is not asked

    cdef bint is_exempt(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog) except -1:
        cdef bint plain = plan.left == 0 and plan.token.kind == TOKEN_NONE
        cdef uint32_t loop
        if self.router.is_upstream(flow) or self.peers.may(flow, RIGHT_IDENTITY):
            return True
        if request.method == M_REGISTER:      # before its Route is looked at: whatever token it has, the registrar takes it
            return self.router.upstream_of(request.p, uri) is not None or not (
                self.router.is_served(request.p, &request.target.uri))
        if in_dialog and shows_call(plan):
            return True
        if self.transactions.is_own(flow) and self.transactions.is_own_branch(
                request.p + request.via.branch.start, request.via.branch.end - request.via.branch.start, &loop):
            return True                       # it has come in here before, or we have made it
        if plain and self.router.is_self(request.p, uri):
            return in_dialog or request.method == M_NOTIFY
        if plain and self.router.upstream_of(request.p, uri) is not None:
            return True
        if not self.is_from_outside(request):
            return plain and not self.router.names_us(request.p, uri) and not self.router.is_served(request.p, uri) and (
                self.router.upstream_of(request.p, &request.sender.uri) is not None)
        if self.peers.may(flow, RIGHT_RELAY):
            return True
        return (self.outside_calls and request.method == M_INVITE and not in_dialog and plain
                and self.router.is_served(request.p, uri))

    cdef bint is_from_outside(self, Message request) except -1:
        return not self.router.is_served(request.p, &request.sender.uri)

    cdef bint is_at_self(self, Message request, RoutePlan *plan, Uri *uri) except -1:
        return plan.left == 0 and plan.token.kind == TOKEN_NONE and self.router.is_self(request.p, uri)

    # ---- challenges

    # The protection space (§22.1): the domain of whom the request speaks for; else of whom it is to; else our first.
    cdef bytes realm_of(self, Message request, bytes aor, Uri *uri):
        if PyBytes_GET_SIZE(self.realm):
            return self.realm
        if request.method == M_REGISTER:
            return plain_host(request.p, request.target.uri.host)
        if not self.is_from_outside(request):
            return plain_host(request.p, request.sender.uri.host)
        return plain_host(request.p, uri.host) if self.router.is_served(request.p, uri) else self.first_realm

    cdef bint demand(self, Message request, Flow flow, int status, bytes realm, bint stale, int64_t now) except -1:
        self.challenged += 1
        self.answers.challenge(request, flow, status, self.authenticator.challenge(
            request, b"WWW-Authenticate" if status == 401 else b"Proxy-Authenticate", realm, flow, stale, now))
        return False

    cdef bint refuse_guess(self, Message request, Flow flow, int status, bytes realm, int login, int64_t now) except -1:
        cdef Authenticator authenticator = self.authenticator
        cdef str why = "wrong password, or no such user"
        if login == LOGIN_TOO_OFTEN:
            self.slowed_logins += 1
            why = "too many failures"
        else:
            self.failed_logins += 1
        # Its nonce was sent to this address, so that nobody has another one banned.
        if self.ban_after and self.limiter.on and authenticator.failures.refused_often(flow, self.ban_after, now):
            self.limiter.ban(flow.ip, flow.family, now + self.ban_time, now)
        if self.events.wants(LOGIN_FAILED):
            self.events.add("login-failed", {
                "source": flow.host_text(), "user": authenticator.name, "realm": realm,
                "method": request.text(request.method_name), "why": why})
        if login == LOGIN_TOO_OFTEN:
            # RFC 3261 §21.5.4. Right or wrong, it was not looked at.
            self.answers.challenge(request, flow, 503, b"Retry-After: %d\r\n" % ((authenticator.pause + 999) // 1000))
            return False
        return self.demand(request, flow, status, realm, False, now)

    # ---- whom a user acts for

    cdef bint owned(self, Message request, Flow flow, User user, bytes aor) except -1:
        if user.owns(aor) or (aor == ANONYMOUS and request.method != M_REGISTER):
            return True
        self.not_owned += 1
        # §10.3 step 4, for registrations.
        self.answers.answer(request, flow, 403, warning_line(
            request.text(request.uri.host), b"This user does not act for the address in "
            + (b"To" if request.method == M_REGISTER else b"From")))
        return False
