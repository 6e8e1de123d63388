"""What a message says of who it is from, and what goes on of it.

P-Asserted-Identity is the word of a server that is trusted (RFC 3325): an upstream, or a peer with the right `identity`.
From anybody else it is taken off (§5), and so is P-Preferred-Identity, which a user may send and nobody is sent (§6). Who
asks for privacy by `Privacy: id` is named to nobody but those (§7).

The credentials for our own realm end here (RFC 3261 §22.3): a phone that is called has no use for them but to guess the
password.
"""

import cython

from .._edits cimport Edits
from .._flow cimport Flow
from .._uri cimport plain_host
from .._parser cimport (
    H_OTHER, H_P_ASSERTED_IDENTITY, H_P_PREFERRED_IDENTITY, H_PROXY_AUTHORIZATION, Address, Cursor, Message, SCHEME_SIP,
    SCHEME_SIPS, Span, canonical_aor, parse_message, span_is,
)
from ..trust.peers cimport RIGHT_IDENTITY, Peers
from .authenticator cimport realm_of


cdef tuple PRIVACY_ID = (b"id",), PRIVACY_OF_USER = (b"id", b"user")


@cython.final
cdef class Claims:

    def __init__(self, Peers peers not None, realms=()):
        self.peers = peers
        self.realms = frozenset(realms)

    cdef int strip(self, Edits edits, Message message, Flow came, Flow out) except -1:
        cdef bint trusted
        if message.has(H_P_ASSERTED_IDENTITY):
            trusted = self.peers.may(came, RIGHT_IDENTITY)
            if not trusted or (not self.peers.may(out, RIGHT_IDENTITY) and asks_for_privacy(message, PRIVACY_ID)):
                self.strip_identity(edits, message, H_P_ASSERTED_IDENTITY)
        if message.has(H_P_PREFERRED_IDENTITY) and not self.peers.may(came, RIGHT_IDENTITY):
            self.strip_identity(edits, message, H_P_PREFERRED_IDENTITY)
        if message.has(H_PROXY_AUTHORIZATION) and self.realms:
            self.strip_credentials(edits, message)
        return 0

    cdef int strip_identity(self, Edits edits, Message message, int header) except -1:
        cdef int field = message.first[header]
        while field != -1:
            edits.replace(message.fields[field].line, message.fields[field].line_end, b"")
            field = message.fields[field].next
        return 0

    cdef int strip_credentials(self, Edits edits, Message request) except -1:
        cdef int field = request.first[<int>H_PROXY_AUTHORIZATION]
        while field != -1:
            if realm_of(request.p, request.fields[field].value) in self.realms:
                edits.replace(request.fields[field].line, request.fields[field].line_end, b"")
            field = request.fields[field].next
        return 0

    cdef Message cleaned(self, Message response, Flow came):
        cdef Edits edits
        if not response.has(H_P_ASSERTED_IDENTITY) or self.peers.may(came, RIGHT_IDENTITY):
            return response
        edits = Edits()
        self.strip_identity(edits, response, H_P_ASSERTED_IDENTITY)
        return parse_message(edits.apply(response))

    cdef bytes asserted(self, Message request, Flow flow):
        cdef Cursor cursor
        cdef Span value
        cdef Address address
        if not request.has(H_P_ASSERTED_IDENTITY) or not self.peers.may(flow, RIGHT_IDENTITY):
            return None
        request.cursor(H_P_ASSERTED_IDENTITY, &cursor)
        while request.next_value(&cursor, &value):       # §9.1: one of them may be a tel URI
            if request.parse_address(value, &address) == 1 and address.uri.scheme in (SCHEME_SIP, SCHEME_SIPS):
                return canonical_aor(request.p, &address.uri)
        return None


cdef bint is_anonymous(Message request) except -1:
    # RFC 3323 §4.1.1.3, §4.2; RFC 3325 §7: `id` is about what others say of him.
    return plain_host(request.p, request.sender.uri.host) == b"anonymous.invalid" or asks_for_privacy(request, PRIVACY_OF_USER)


# RFC 3325 §7, RFC 3323 §4.2: values are separated by semicolons.
cdef bint asks_for_privacy(Message message, tuple kinds) except -1:
    cdef int field
    for field in range(message.count):
        if message.fields[field].id == H_OTHER and span_is(message.p, message.fields[field].name, b"Privacy"):
            for value in message.text(message.fields[field].value).lower().split(b";"):
                if value.strip() in kinds:
                    return True
    return False
