"""Where an AOR's phones are: live bindings, and the flow by which each is reached.

A flow is found without asking DNS: from IP literals, from the host names that the configuration gives an address, or it
is the flow that the phone registered by. A phone behind a NAT has a Contact that leads nowhere, so its Contact is
believed only where it names the address that the REGISTER came from.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memchr, memcmp, memcpy

import cython

from ._flow cimport TRANSPORT_TLS, TRANSPORT_UDP, TRANSPORT_WSS, Flow, flow_beside, make_flow, make_target, unpacked
from ._parser cimport SCHEME_SIP, SCHEME_SIPS, Span, Uri, find_param, parse_uri_at
from ._records cimport Entry, Piece, bytes_of, piece_in, read_entry

cdef extern from "arpa/inet.h" nogil:
    int AF_INET
    int AF_INET6
    int inet_pton(int family, const char *source, void *target)

cdef enum:
    DEFAULT_PORT = 5060
    LONGEST_LITERAL = 46    # INET6_ADDRSTRLEN


def by_preference(binding):
    """Sort key: q descending (RFC 3261 §16.6), then the latest first."""
    return -binding.q, -binding.updated


# 4 or 6 for an IP literal (IPv6 with or without brackets), with its address; 0 for anything else.
cdef int read_literal(const unsigned char *p, Span host, unsigned char *ip) noexcept:
    cdef char text[LONGEST_LITERAL]
    cdef int32_t size = host.end - host.start
    p += host.start
    if size > 2 and p[0] == c'[' and p[size - 1] == c']':
        p += 1
        size -= 2
    if size <= 0 or size >= LONGEST_LITERAL:
        return 0
    memcpy(text, p, size)
    text[size] = 0
    if memchr(text, 0, size) != NULL:
        return 0
    if inet_pton(AF_INET, text, ip) == 1:
        return 4
    if inet_pton(AF_INET6, text, ip) == 1:
        return 6
    return 0


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

    def __init__(self, store, families, hosts=None):
        self.store = store
        self.families = tuple(families)
        self.hosts = {
            (name if isinstance(name, bytes) else name.encode()).lower(): address
            for name, address in (hosts or {}).items()
        }

    cdef list lookup(self, bytes aor, int64_t now):
        cdef list found = [binding for binding in self.store.bindings(aor) if binding.expires > now]
        if len(found) > 1:
            found.sort(key=by_preference)
        return found

    cdef bint is_bound(self, bytes aor, int64_t now) except -1:
        cdef Entry entry
        cdef bytes record = self.store.bindings_record(aor)
        if record is None:
            return False
        if read_entry(record, aor, &entry):
            return entry.expires > now
        return bool(self.lookup(aor, now))

    cdef list targets(self, bytes aor, int64_t now):
        cdef Entry entry
        cdef bytes record = self.store.bindings_record(aor)
        if record is None:
            return []
        if read_entry(record, aor, &entry):
            if entry.expires <= now:
                return []
            return [make_target(bytes_of(entry.contact), bytes_of(entry.path) if entry.path.size else None,
                                self.flow_by(entry.contact, entry.path, entry.flow))]
        return [make_target(binding.contact, binding.path or None, self.flow_of(binding))
                for binding in self.lookup(aor, now)]

    cdef Flow flow_of(self, object binding):
        return self.flow_by(piece_in(binding.contact), piece_in(binding.path), piece_in(binding.flow))

    cdef Flow flow_by(self, Piece contact, Piece path, Piece came):
        cdef const unsigned char *p = <const unsigned char *>contact.text
        cdef Flow registered = self._registered_by(came)
        cdef Flow found
        cdef Uri uri
        cdef unsigned char ip[16]
        if path.size:
            # RFC 3327 §5.4: by way of the proxy that is nearest to us. It is also where the REGISTER came from.
            if first_path_uri(path, &uri) == 1:
                found = self.flow_to(<const unsigned char *>path.text, &uri)
                if found is not None:
                    return found
            return registered
        if parse_uri_at(p, 0, <int32_t>contact.size, &uri) != 1:
            return None
        if uri.scheme == SCHEME_SIPS:
            # RFC 3261 §26.2.2: never over a hop that is not secured.
            if registered is not None and registered.transport in (TRANSPORT_TLS, TRANSPORT_WSS):
                return registered
            return None
        if uri.scheme != SCHEME_SIP:
            return None
        if registered is None:
            return self.flow_to(p, &uri)
        if registered.reliable():
            return registered               # the connection that the phone opened is the only way back to it
        if (read_literal(p, target_host(p, &uri), ip) != registered.family
                or memcmp(ip, registered.ip, 4 if registered.family == 4 else 16) != 0):
            return registered
        return flow_beside(registered, ip, DEFAULT_PORT if uri.port == -1 else uri.port)

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

    cdef Flow flow_to(self, const unsigned char *p, const Uri *uri):
        cdef unsigned char ip[16]
        cdef bytes literal
        cdef object known
        cdef Span host
        cdef int family, local
        if uri.scheme != SCHEME_SIP:
            return None                     # sips needs TLS, tel a numbering plan
        host = target_host(p, uri)
        family = read_literal(p, host, ip)
        if not family:
            known = self.hosts.get((<const char *>p)[host.start:host.end].lower())
            if known is None:
                return None
            literal = known.encode()
            host.start = 0
            host.end = <int32_t>len(literal)
            family = read_literal(<const unsigned char *>PyBytes_AS_STRING(literal), host, ip)
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

    def live(self, bytes aor not None, int64_t now):
        return self.lookup(aor, now)

    def flow_for(self, binding):
        return self.flow_of(binding)

    def resolve(self, bytes uri not None):
        cdef Uri parts
        cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(uri)
        if len(uri) > 65535 or parse_uri_at(p, 0, <int32_t>PyBytes_GET_SIZE(uri), &parts) != 1:
            return None
        return self.flow_to(p, &parts)
