"""Where an AOR's phones are: live bindings, and the flow by which each is reached.

A flow is found without asking DNS: it is the one that the phone registered by, or that of a host which is an IP literal
or has its address from the configuration. A phone behind a NAT has a Contact that leads nowhere, and anybody may write
any host into a Contact or a Path. So these hosts are followed on a trusted way only: back to the address that the
REGISTER came from, to an upstream, or to a peer that has the right `path`. Whoever names another host is reached by the
flow of its REGISTER.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t

import cython

from .._flow cimport (
    TRANSPORT_TLS, TRANSPORT_UDP, TRANSPORT_WSS, Flow, Target, flow_beside, make_flow, make_target, unpacked,
)
from .._listener cimport DEFAULT_PORT
from .._parser cimport SCHEME_SIP, SCHEME_SIPS, Message, Span, Uri, as_request_uri, find_param, parse_uri_at, read_ip, uris_equal
from .._uri cimport plain_host
from ..store.codec cimport Entry, Piece, StoredBindings, bytes_of, piece_in
from ..store.repository cimport Store
from ..trust.peers cimport RIGHT_PATH, Peers
from .connections cimport Connections

from ..errors import StoreUnreadable


cdef enum:
    MOST_DOUBTFUL = 65_536


def by_preference(binding):
    """Sort key: q descending (RFC 3261 §16.6), then the latest first."""
    return -binding.q, -binding.updated


# RFC 3261 §19.1.1: maddr overrides the host.
cdef Span target_host(const unsigned char *p, const Uri *uri) noexcept:
    cdef Span maddr
    if find_param(p, uri.params, b"maddr", &maddr) == 1 and maddr.end > maddr.start:
        return maddr
    return uri.host


# The URI of the first value of a Path: what stands between the first '<' outside quotes and its '>'. RFC 3327 §4.
cdef int first_path_uri(Piece path, Uri *uri) noexcept:
    cdef const unsigned char *p = <const unsigned char *>path.text
    cdef int32_t i = 0, start = -1, size = <int32_t>path.size
    cdef bint quoted = False
    while i < size:
        if p[i] == c'\\' and quoted:
            i += 1
        elif p[i] == c'"':
            quoted = not quoted
        elif p[i] == c'<' and not quoted:
            start = i + 1
            break
        i += 1
    i = start
    while 0 <= i < size:
        if p[i] == c'>':
            return parse_uri_at(p, start, i, uri)
        i += 1
    return 0


@cython.final
cdef class Location:

    def __init__(self, Store store not None, families, hosts=None, Peers peers=None, Connections connections=None):
        self.store = store
        self.connections = connections
        self.peers = peers if peers is not None else Peers(())
        self.families = tuple(families)
        self.doubtful = {}
        self.hosts = {
            (name if isinstance(name, bytes) else name.encode()).lower(): address
            for name, address in (hosts or {}).items()
        }

    cdef list lookup(self, bytes aor, int64_t now):
        return self.preferred(self.store.bindings(aor), now)

    cdef list preferred(self, StoredBindings stored, int64_t now):
        cdef list found = [binding for binding in stored if binding.expires > now]
        if len(found) > 1:
            found.sort(key=by_preference)
        return found

    cdef bint is_bound(self, bytes aor, int64_t now) except -1:
        cdef StoredBindings stored = self.store.bindings(aor)
        if stored.single:
            return stored.at.expires > now
        return stored.record is not None and len(self.preferred(stored, now)) > 0

    cdef bint is_reachable(self, bytes aor, int64_t now) except -1:
        cdef StoredBindings stored = self.store.bindings(aor)
        if stored.single:
            return stored.at.expires > now and not stored.at.doubtful
        for binding in stored:
            if binding.expires > now and not binding.doubtful:
                return True
        return False

    cdef list targets(self, bytes aor, int64_t now):
        cdef StoredBindings stored = self.store.bindings(aor)
        cdef Entry *at = &stored.at
        cdef Flow flow
        cdef list found
        if stored.record is None:
            return []
        if stored.single:
            if at.expires <= now:
                return []
            flow = self.flow_by(at.contact, at.path, at.flow)
            if at.doubtful or self.doubtful:
                self._note_doubt(flow, at.doubtful)
            return [make_target(as_request_uri(bytes_of(at.contact)), bytes_of(at.path) if at.path.size else None, flow)]
        found = []
        for binding in self.preferred(stored, now):
            flow = self.flow_of(binding)
            if binding.doubtful or self.doubtful:
                self._note_doubt(flow, binding.doubtful)
            found.append(make_target(as_request_uri(binding.contact), binding.path or None, flow))
        return found

    cdef int _note_doubt(self, Flow flow, bint doubtful) except -1:
        if flow is None:
            return 0
        if not doubtful:
            self.doubtful.pop(flow.pack(), None)
        else:
            if len(self.doubtful) >= MOST_DOUBTFUL:
                self.doubtful.clear()       # it only spares a caller some seconds
            self.doubtful[flow.pack()] = True
        return 0

    cdef Flow flow_of(self, object binding):
        return self.flow_by(piece_in(binding.contact), piece_in(binding.path), piece_in(binding.flow))

    cdef Flow flow_by(self, Piece contact, Piece path, Piece came):
        cdef const unsigned char *p = <const unsigned char *>contact.text
        cdef Flow registered = self._registered_by(came)
        cdef Uri uri
        if (registered is not None and registered.reliable() and self.connections is not None
                and self.connections.is_gone(registered)):
            return None                     # RFC 5626 §5.3.1: and no host is tried in its place
        if path.size:
            return self._path_flow(path, registered)
        if parse_uri_at(p, 0, <int32_t>contact.size, &uri) != 1:
            return None
        if uri.scheme == SCHEME_SIPS:
            # RFC 3261 §26.2.2: never over a hop that is not secured.
            if registered is not None and registered.transport in (TRANSPORT_TLS, TRANSPORT_WSS):
                return registered
            return None
        if uri.scheme != SCHEME_SIP:
            return None
        # Without a flow the upstream has told of it, and vouches for the host.
        return registered if registered is not None else self.flow_to(p, &uri)

    # RFC 3327 §5.4: by way of the proxy that is nearest to us.
    cdef Flow _path_flow(self, Piece path, Flow registered):
        cdef Uri uri
        cdef const unsigned char *p = <const unsigned char *>path.text
        if first_path_uri(path, &uri) != 1:
            return registered
        if registered is None:
            return self.flow_to(p, &uri)
        if self._is_at(p, &uri, registered):
            return flow_beside(registered, registered.ip, DEFAULT_PORT if uri.port == -1 else uri.port)
        return self.flow_to(p, &uri) if self._is_peer(p, &uri) else registered

    cdef bint _is_at(self, const unsigned char *p, const Uri *uri, Flow flow) noexcept:
        cdef unsigned char ip[16]
        return not flow.reliable() and flow.is_at(ip, read_ip(p, target_host(p, uri), ip))

    # ---- the way to a phone that registers

    cdef Flow way(self, Message request, Flow came, const Uri *contact, bint alone):
        if self._is_at(request.p, contact, came):
            # RFC 3581 §4: what has rport is reached by the port that it sends from. Of several Contacts each has its own.
            if request.via.has_rport and alone:
                return came
            return flow_beside(came, came.ip, DEFAULT_PORT if contact.port == -1 else contact.port)
        return self.flow_to(request.p, contact) if self._is_peer(request.p, contact) else came

    cdef bint is_trusted(self, const unsigned char *p, const Uri *uri, Flow came):
        return self._is_at(p, uri, came) or self._is_peer(p, uri)

    # Whether it is at an upstream, or at a peer that may be followed to.
    cdef bint _is_peer(self, const unsigned char *p, const Uri *uri):
        cdef unsigned char ip[16]
        cdef int family = self._address_of(p, uri, ip)
        return family != 0 and self.peers.rights_of(ip, family) & RIGHT_PATH != 0

    cdef bint is_trusted_path(self, bytes path, Flow came):
        cdef Uri uri
        cdef unsigned char ip[16]
        cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(path)
        if first_path_uri(piece_in(path), &uri) != 1:
            return False
        # A name that nobody has told us is the one that the REGISTER came from: we would ask no DNS to find another.
        return self._address_of(p, &uri, ip) == 0 or self.is_trusted(p, &uri, came)

    cdef bint is_registered_by(self, bytes aor, Flow flow, int64_t now):
        for binding in self.lookup(aor, now):
            way = self.flow_of(binding)
            if way is not None and (<Flow>way).same_peer(flow):
                return True
        return False

    # ---- a Contact in the Request-URI

    cdef Target find_contact(self, Message request, const Uri *uri, list aors, bytes preferred, int64_t now):
        """The binding that a Contact is of, among those of some AORs; `ambiguous` says that it could be several people's."""
        cdef Uri other
        cdef Target found = None
        cdef bytes contact
        cdef int count = 0
        self.ambiguous = False
        for aor in aors:
            try:
                bindings = self.lookup(aor, now)
            except StoreUnreadable:
                if aor == preferred:
                    raise
                continue                    # it concerns its own AOR
            for binding in bindings:
                contact = as_request_uri(binding.contact)
                if parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(contact), 0, <int32_t>PyBytes_GET_SIZE(contact),
                                &other) != 1 or not uris_equal(request.p, uri,
                                                               <const unsigned char *>PyBytes_AS_STRING(contact), &other):
                    continue
                if aor == preferred:
                    return make_target(None, binding.path or None, self.flow_of(binding))
                count += 1
                found = make_target(None, binding.path or None, self.flow_of(binding))
        if count > 1:
            self.ambiguous = True
            return None
        return found

    # The flow of the REGISTER; a listener that is gone since is replaced by the first one of the family.
    cdef Flow _registered_by(self, Piece packed):
        cdef Flow flow = unpacked(<const unsigned char *>packed.text, packed.size)
        cdef int local
        if flow is None:
            return None
        if flow.reliable() or (flow.local < len(self.families) and self.families[flow.local] == flow.family):
            return flow
        local = self._listener(flow.family)
        return None if local < 0 else make_flow(flow.transport, flow.family, flow.ip, flow.port, local)

    # The address of a URI's maddr or host: 4 or 6 for its family, 0 where nobody has told us.
    cdef int _address_of(self, const unsigned char *p, const Uri *uri, unsigned char *ip):
        cdef Span host = target_host(p, uri)
        cdef int family = read_ip(p, host, ip)
        cdef bytes literal
        if family:
            return family
        known = self.hosts.get(plain_host(p, host))
        if known is None:
            return 0
        literal = known.encode()
        host.start = 0
        host.end = <int32_t>len(literal)
        return read_ip(<const unsigned char *>PyBytes_AS_STRING(literal), host, ip)

    cdef bytes name_in(self, const unsigned char *p, const Uri *uri):
        cdef unsigned char ip[16]
        cdef Span host = target_host(p, uri)
        cdef bytes name
        if uri.scheme != SCHEME_SIP or read_ip(p, host, ip):
            return None
        name = plain_host(p, host)
        return None if name in self.hosts else name

    cdef Flow flow_to(self, const unsigned char *p, const Uri *uri):
        cdef unsigned char ip[16]
        cdef int family, local
        if uri.scheme != SCHEME_SIP:
            return None                     # sips needs TLS, tel a numbering plan
        family = self._address_of(p, uri, ip)
        if not family:
            return None
        local = self._listener(family)
        if local < 0:
            return None
        return make_flow(TRANSPORT_UDP, family, ip, DEFAULT_PORT if uri.port == -1 else uri.port, local)

    # The first listener of a family, or -1.
    cdef int _listener(self, int family) except -2:
        cdef int local
        for local in range(len(self.families)):
            if self.families[local] == family:
                return local
        return -1

    def resolve(self, bytes uri not None):
        cdef Uri parts
        cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(uri)
        if len(uri) > 65535 or parse_uri_at(p, 0, <int32_t>PyBytes_GET_SIZE(uri), &parts) != 1:
            return None
        return self.flow_to(p, &parts)
