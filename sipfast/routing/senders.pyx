"""Whether a request is from whom it says: by a password, by a peer's word, or since it comes from a device that is registered.

Where nobody is asked for a password, that device is known

- by its flow: that of a binding, to which all goes that is for the phone;
- by its address, with the same Contact or +sip.instance: its NAT has given the phone another port since;
- by the address in its Contact, with that Contact, where it has registered by way of another server.

The source of a datagram is easily forged. So this alone makes nothing final: what is offered on the strength of it waits for an
ACK that only who lives there can send (redial/offers.pyx).
"""

import cython

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcmp

from .._flow cimport Flow
from .._parser cimport H_CONTACT, Address, Cursor, Message, Span, Uri, find_param, parse_uri_at, uris_equal
from ..store.codec cimport Entry, Piece, StoredBindings, piece_in
from ..transaction.layer cimport TransactionLayer
from ..trust.peers cimport RIGHT_IDENTITY, Peers
from .location cimport Location


cdef inline bint is_text(const unsigned char *p, Span span, Piece piece) noexcept:
    return span.end - span.start == piece.size and memcmp(p + span.start, piece.text, piece.size) == 0


# Whether the request's Contact, its first, is that of the device.
cdef bint names_device(Message request, const Entry *device) except -1:
    cdef Cursor cursor
    cdef Span value, instance
    cdef Address address
    cdef Uri uri
    request.cursor(H_CONTACT, &cursor)
    if not request.next_value(&cursor, &value) or request.parse_address(value, &address) != 1:
        return False
    if device.instance.size and find_param(request.p, address.params, b"+sip.instance", &instance) == 1:
        if instance.end - instance.start >= 2 and request.p[instance.start] == c'"':
            instance.start += 1
            instance.end -= 1
        if is_text(request.p, instance, device.instance):
            return True
    if is_text(request.p, address.uri.all, device.contact):
        return True
    return parse_uri_at(<const unsigned char *>device.contact.text, 0, <int32_t>device.contact.size, &uri) == 1 and (
        uris_equal(request.p, &address.uri, <const unsigned char *>device.contact.text, &uri))


cdef bint is_from(Location location, Message request, Flow flow, const Entry *device) except -1:
    cdef Flow way = location.flow_by(device.contact, device.path, device.flow)
    cdef const unsigned char *p = <const unsigned char *>device.contact.text
    cdef Uri uri
    if way is None:
        return False
    if way.same_peer(flow):
        return True
    if not names_device(request, device):
        return False
    if way.same_host(flow):
        return True
    # It has registered by another server (Path), and comes from where its Contact says that it is.
    if not device.path.size or parse_uri_at(p, 0, <int32_t>device.contact.size, &uri) != 1:
        return False
    way = location.flow_to(p, &uri)
    return way is not None and way.same_peer(flow)


@cython.final
cdef class Senders:

    def __init__(self, Location location not None, TransactionLayer transactions, Peers peers not None, bint passwords):
        """`passwords`: there are users, and everybody else was sent away."""
        self.location = location
        self.transactions = transactions
        self.peers = peers
        self.passwords = passwords

    def configure(self, settings):
        """`settings`: a config.Redial."""
        self.anybody = settings.callers == "any"

    cdef bint vouch_for(self, bytes caller, Message request, Flow flow, int64_t now) except -1:
        return self.passwords or self.vouch_unasked(caller, request, flow, now)

    cdef bint vouch_unasked(self, bytes caller, Message request, Flow flow, int64_t now) except -1:
        return self.anybody or self.peers.may(flow, RIGHT_IDENTITY) or self.is_our_own(request, flow) or (
            self.is_device(caller, request, flow, now))

    cdef bint vouch_for_place(self, bytes aor, Flow place, int64_t now) except -1:
        return self.anybody or self.peers.may(place, RIGHT_IDENTITY) or self.location.is_registered_by(aor, place, now)

    # A call that the server places for a caller comes by its own front door.
    cdef bint is_our_own(self, Message request, Flow flow) except -1:
        cdef uint32_t loop
        return self.transactions.is_own(flow) and self.transactions.is_own_branch(
            request.p + request.via.branch.start, request.via.branch.end - request.via.branch.start, &loop)

    cdef bint is_device(self, bytes caller, Message request, Flow flow, int64_t now) except -1:
        cdef StoredBindings stored = self.location.store.bindings(caller)
        cdef Entry device
        if stored.record is None:
            return False
        if stored.single:
            return stored.at.expires > now and is_from(self.location, request, flow, &stored.at)
        for binding in stored:
            device.contact, device.path, device.flow = (
                piece_in(binding.contact), piece_in(binding.path), piece_in(binding.flow))
            device.instance = piece_in(binding.instance)
            if <int64_t>binding.expires > now and is_from(self.location, request, flow, &device):
                return True
        return False

    cdef bint may_see(self, list bindings, Message request, Flow flow) except -1:
        cdef bytes call_id
        cdef Flow way
        if self.passwords or not bindings or self.peers.may(flow, RIGHT_IDENTITY):
            return True
        call_id = request.text(request.call_id)
        for binding in bindings:
            if binding.call_id == call_id:
                return True
            way = self.location.flow_of(binding)
            if way is not None and way.same_peer(flow):
                return True
        return False
