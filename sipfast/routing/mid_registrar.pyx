"""A token in the place of a phone's Contact, for registrars behind us that know no Path (RFC 3327).

Some servers take no Path, or keep the address that a REGISTER came from in place of what its Contact says (Asterisk's
`rewrite_contact`): they would call a phone at an address that leads nowhere, or us at a user that we do not know. For an
upstream with `contact = "token"` each Contact of a REGISTER becomes our own URI with a flow token (`token`), as in Path,
and the 200 has the phone's own Contacts again. A request to such a URI goes to the bindings of that AOR that are reached by
that flow, and the phone sees its own Contact in the Request-URI.

A registrar tells bindings by their Contact (RFC 3261 §10.3 step 7), and a phone whose NAT has rebound gets another token. So
the REGISTER also asks to remove the one that it had.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t

from .contacts cimport Wanted, choose_interval, find, find_instance, read_contact, read_path
from .._flow cimport Flow, make_target, unpacked
from .._parser cimport (
    Cursor, H_CONTACT, H_PATH, Message, Span, Uri, as_request_uri, parse_message,
)
from .token cimport TOKEN_PATH, Token
from .location cimport Location
from .outbound cimport Outbound

cdef enum:
    UNSAID = 1                  # seconds: an interval that is asked for is not 0, whatever the registrar's default is


# The index entry of all AORs with tokens of this digest. The keys of Contacts are hashes, and do not begin with zeros.
cdef bytes key_of(uint32_t digest):
    cdef unsigned char key[8]
    cdef int i
    for i in range(8):
        key[i] = digest >> (8 * (7 - i)) & 0xFF if i >= 4 else 0
    return PyBytes_FromStringAndSize(<char *>key, 8)


# The message with one Contact line of these values in the place of all that it has; `hide`: a header that goes as well.
cdef Message with_contacts(Message message, list values, int hide):
    cdef list pieces = [message.data[:message.fields[0].line]]
    cdef bint written = False
    cdef int i
    for i in range(message.count):
        if message.fields[i].id == H_CONTACT:
            if not written and values:
                pieces.append(b"Contact: " + b", ".join(values) + b"\r\n")
            written = True
        elif message.fields[i].id != hide:
            pieces.append(message.data[message.fields[i].line:message.fields[i].line_end])
    pieces.append(message.data[message.fields[message.count - 1].line_end:message.size])
    return parse_message(b"".join(pieces))


# A Contact value with another URI.
cdef bytes with_uri(Message message, Span value, const Uri *uri, bytes other):
    cdef bytes before = message.data[value.start:uri.all.start], after = message.data[uri.all.end:value.end]
    return before + other + after if before.endswith(b"<") else before + b"<" + other + b">" + after


cdef Flow flow_in(object binding):
    cdef bytes packed = binding.flow
    return unpacked(<const unsigned char *>PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))


cdef bint has_path(Message request) except -1:
    return bool(read_path(request))


@cython.final
cdef class MidRegistrar:

    def __init__(self, Location location not None, Outbound outbound not None):
        self.location = location
        self.outbound = outbound

    cdef Message hidden(self, Message request, Flow flow, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef bytes uri
        cdef dict values = {}           # by our URI: phones that share a flow are one to the registrar
        cdef list others = []
        cdef bint by_path = has_path(request)
        request.cursor(H_CONTACT, &cursor)
        while request.next_value(&cursor, &value):
            if read_contact(request, value, &wanted) != 1:
                others.append(request.text(value))      # *, or what the registrar refuses
                continue
            choose_interval(request, &wanted, UNSAID)
            uri = self.outbound.uri_of(self.way_of(request, flow, &wanted.address.uri, by_path), aor)
            if wanted.expires or uri not in values:
                values[uri] = with_uri(request, value, &wanted.address.uri, uri)
        for uri in self.former_uris(request, aor, now) if values else ():
            values.setdefault(uri, b"<" + uri + b">;expires=0")
        if not values and not request.has(H_PATH):
            return request
        return with_contacts(request, others + list(values.values()), H_PATH)

    # As `learning` has it: with a Path all come by the proxy that has put itself there.
    cdef Flow way_of(self, Message request, Flow flow, const Uri *contact, bint by_path):
        return flow if by_path else self.location.way(request, flow, contact, True)

    # Our URIs of the bindings that this REGISTER refreshes, replaces or removes, by the flows that they had.
    cdef list former_uris(self, Message request, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef list found = [], live = self.location.lookup(aor, now)
        cdef dict known = {}
        cdef Flow was
        request.cursor(H_CONTACT, &cursor)
        while live and request.next_value(&cursor, &value):
            if read_contact(request, value, &wanted) != 1:
                continue
            for index in (find(live, request.p, &wanted.address.uri, known),
                          find_instance(live, request.text(wanted.instance), wanted.reg_id)):
                was = flow_in(live[index]) if index >= 0 else None
                if was is not None:
                    found.append(self.outbound.uri_of(was, aor))
        return found

    cdef Message restored(self, Message request, Message response, Flow flow, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef Token token
        cdef uint32_t digest = self.outbound.tokens.digest_of_aor(aor)
        cdef list values = [], asked
        cdef Message restored
        if not response.has(H_CONTACT):
            return response
        asked = self.contacts_to_bind(request, flow)
        response.cursor(H_CONTACT, &cursor)
        while response.next_value(&cursor, &value):
            if read_contact(response, value, &wanted) != 1 or not self.outbound.tokens.read(
                    response.p, wanted.address.uri.user, &token) or token.kind != TOKEN_PATH or token.digest != digest:
                values.append(response.text(value))
                continue
            for contact in self.contacts_behind(&token, asked, aor, now):
                values.append(with_uri(response, value, &wanted.address.uri, contact))
        restored = with_contacts(response, values, -1)
        return response if restored.error else restored

    # The Contacts that the request asks to bind, and the way to each.
    cdef list contacts_to_bind(self, Message request, Flow flow):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef list found = []
        cdef bint by_path = has_path(request)
        request.cursor(H_CONTACT, &cursor)
        while request.next_value(&cursor, &value):
            if read_contact(request, value, &wanted) == 1:
                choose_interval(request, &wanted, UNSAID)
                if wanted.expires:
                    found.append((request.text(wanted.address.uri.all), self.way_of(request, flow, &wanted.address.uri, by_path)))
        return found

    # The Contacts of the phones that a token of this AOR stands for: of this request, else of what is bound.
    cdef list contacts_behind(self, const Token *token, list asked, bytes aor, int64_t now):
        cdef Flow way = self.outbound.tokens.flow_to(token, 0), there
        cdef list found
        if way is None:
            return []
        found = [contact for contact, there in asked if way.same_peer(there)]
        if found:
            return found
        for binding in self.location.lookup(aor, now):
            there = flow_in(binding)
            if there is not None and way.same_peer(there):
                found.append(binding.contact)
        return found

    cdef int remember(self, bytes aor) except -1:
        cdef bytes key = key_of(self.outbound.tokens.digest_of_aor(aor))
        if aor not in self.location.store.aors_of(key):
            self.location.store.put_contact(key, aor)
        return 0

    cdef list targets(self, const Token *token, Message request, int64_t now):
        cdef Flow way = self.outbound.way(token, 0, request, now), there
        cdef list found = []
        cdef bint bound = False
        self.status = 0
        for aor in self.location.store.aors_of(key_of(token.digest)) if way is not None else ():
            for binding in self.location.lookup(aor, now):
                bound = True
                there = flow_in(binding)
                if there is not None and way.same_peer(there):
                    found.append(make_target(as_request_uri(binding.contact), binding.path or None,
                                             self.location.flow_of(binding)))
        if not found:
            # RFC 5626 §5.3.1: the user has another flow now. Without any the user is away, which is 480 (RFC 3261 §21.4.18).
            self.status = 430 if bound or way is None else 480
        return found
