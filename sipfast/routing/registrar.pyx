"""The registrar of RFC 3261 §10.3, stateless on the wire (§8.2.7).

A REGISTER is worked out on a copy of the AOR's bindings and stored by one write, so it takes effect as a whole or not at
all (§10.3 step 7). Steps 1 to 5 (whose request it is, Require, who may) are the engine's; here are

6  `Contact: *` stands alone and with Expires: 0, else 400; it removes every binding
7  each Contact's interval: its expires parameter, else the Expires header, else the default; longer than the greatest is
   cut to it; shorter than the least, but not 0, is answered 423 (RFC 3261 §21.4.17); one that cannot be read is 3600
   (§10.2). A binding is found by comparing URIs (§19.1.4), else by its instance and reg-id (RFC 5626 §6): the same phone
   with a new address takes its old binding's place, and that is no login. With the binding's Call-ID, the same CSeq and
   branch are a retransmission, which without a transaction comes here again: it changes nothing and is answered anew,
   alike, but that a phone whose NAT has moved it meanwhile is reached by its new flow. Any other CSeq that is not higher
   is answered 500. Yet a phone that has lost its memory begins at 1 again and would be shut out for the life of its
   binding. So here we depart from step 7: from the same flow or instance, and T4 after the last refresh, when nothing
   older can still be under way (§17.1.2.2), it is a phone that has started anew
8  the 200 lists every binding with what is left of its interval, and the Date

A malformed Contact, q or Path is answered 400, and so are more Contacts in one REGISTER than an AOR may have, or a reg-id
beside a second Contact (RFC 5626 §6). Where an AOR has as many bindings as it may, the one that was silent for longest goes,
or the answer is 503 with Retry-After; it is never 403, which phones take for a wrong password. Only sip: and sips: Contacts
are ever sent a request.

Hosts in Path and Contact are followed on a trusted way only (`location`). One Contact with any other host is reached by
the REGISTER's flow. A Path, or one of several Contacts, that needs a way which nobody trusts is 403 and says so: it would
be a black hole.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

import cython

from .contacts cimport (
    MALFORMED, MOST_BINDING, MOST_CONTACT, ROOM, TOO_LARGE, Wanted, branch_of, choose_interval, contact_line, contact_lines,
    date_line, find, find_instance, has_reachable, make_binding, move_between, other_params, read_contact, read_path,
    read_seconds, room_for,
)
from .._flow cimport MOST_PACKED, Flow, unpacked
from .._parser cimport H_CONTACT, H_EXPIRES, H_SUPPORTED, SCHEME_SIP, SCHEME_SIPS, Cursor, Message, Span
from ..store.codec cimport Entry, StoredBindings, piece_of, written_bindings
from ..store.repository cimport Store
from .._writer cimport make_response, stateless_tag, warning_line
from .location cimport Location
from ..trust.proven cimport Proven

from msgspec.structs import replace

cdef enum:
    REBOOT_AFTER = 5_000        # ms: T4, the longest that a message stays in the network (RFC 3261 §17.1.2.2)

cdef enum:
    MOST_OF_AOR = 24_576        # bytes of all bindings of an AOR

# What `count` says of Contacts that cannot be bound. MALFORMED is another.
cdef enum:
    TOO_MANY = -3
    SEVERAL_FLOWS = -4          # RFC 5626 §6: a reg-id registers one flow


# Whether a REGISTER for this contact only prolongs the binding: it is the same, byte for byte, reached as before, and not
# older (§10.3 step 7).
cdef bint prolongs(const Entry *entry, Message request, Span contact, const unsigned char *flow, int size) noexcept:
    cdef const char *p = <const char *>request.p
    cdef Span call_id = request.call_id
    if entry.contact.size != contact.end - contact.start or memcmp(entry.contact.text, p + contact.start,
                                                                   entry.contact.size) != 0:
        return False
    if entry.flow.size != size or memcmp(entry.flow.text, flow, size) != 0:
        return False
    return not (entry.cseq >= request.cseq.number and entry.call_id.size == call_id.end - call_id.start
                and memcmp(entry.call_id.text, p + call_id.start, entry.call_id.size) == 0)


@cython.final
cdef class Registrar:

    def __init__(self, settings, Location location not None, uint64_t secret, int64_t longest_call=7_200_000,
                 Proven proven=None):
        """`longest_call`: ms that moves of a phone are kept for the calls that it is in."""
        self.location = location
        self.known = proven
        self.secret = secret
        self.longest_call = longest_call
        self.configure(settings)
        self.newly_bound = self.newly_unbound = False
        self.moves = []
        self.date_second = -1
        self.date_line = b""

    def configure(self, settings):
        """`settings`: a config.Registrar. What is bound stays as it is."""
        self.proven = self.known if settings.probe else None
        self.max_expires = settings.max_expires
        self.min_expires = settings.min_expires
        self.default_expires = min(max(settings.default_expires, settings.min_expires), settings.max_expires)
        self.max_contacts = settings.max_contacts
        self.max_aors = settings.max_aors
        self.replaces = settings.when_full == "replace"

    cdef bytes register(self, Message request, Flow flow, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value, unused
        cdef bytes path = read_path(request), answer
        self.unproven = self.doubted = self.newly_bound = self.newly_unbound = False
        self.refused = 0
        if self.moves:
            self.moves = []
        if path is None:
            return self.refuse(request, flow, 400, b"")
        if not request.has(H_CONTACT):
            return self.show(request, flow, path, self.location.lookup(aor, now), now)
        if path and not self.location.is_trusted_path(path, flow):
            return self.refuse(request, flow, 403, warning_line(
                domain_of(aor), b"The Path leads to a host that no peer with the right path has"))
        request.cursor(H_CONTACT, &cursor)
        if not request.next_value(&cursor, &value):
            return self.refuse(request, flow, 400, b"")
        if value.end - value.start == 1 and request.p[value.start] == c'*':
            return self.remove_all(request, flow, &cursor, path, aor, now)
        if not request.next_value(&cursor, &unused):
            answer = self.update_one(request, flow, value, path, aor, now)
            if answer is not None:
                return answer
        return self.update(request, flow, path, aor, now)

    # The commonest REGISTERs by far: one Contact, of an AOR that has no binding, or has this one alone, and live. It comes to
    # what `update` would have come to, from the bytes of the record. None where it is anything else; nothing was done then.
    cdef bytes update_one(self, Message request, Flow flow, Span value, bytes path, bytes aor, int64_t now):
        cdef Wanted wanted
        cdef Entry entry
        cdef Store store = self.location.store
        cdef const char *p = <const char *>request.p
        cdef unsigned char packed[MOST_PACKED]
        cdef bytes params
        cdef StoredBindings stored
        cdef Flow way
        cdef Span contact
        cdef int size
        cdef bint lapsed = False
        if read_contact(request, value, &wanted) < 0:
            return None                       # which says what is wrong
        choose_interval(request, &wanted, self.default_expires)
        if 0 < wanted.expires < self.min_expires:
            return self.refuse_brief(request, flow)
        contact = wanted.address.uri.all
        way = flow if path else self.location.way(request, flow, &wanted.address.uri, True)
        size = way.pack_into(packed)
        store.for_update()
        stored = store.bindings(aor)
        if stored.record is not None:
            if not stored.single or not prolongs(&stored.at, request, contact, packed, size):
                return None
            lapsed = stored.at.expires <= now
            if wanted.expires == 0 and lapsed:
                return None
            if wanted.expires == 0:
                self.newly_unbound = True
                store.put_bindings(aor, (), stored)
                return self.list_bindings(request, flow, path, self.date(now))
        elif wanted.expires == 0:
            return None
        elif not self.has_room(flow, now):
            return self.refuse_new(request, flow)
        params = other_params(request, &wanted)
        entry.contact = piece_of(p + contact.start, contact.end - contact.start)
        entry.expires = now + 1000 * min(wanted.expires, self.max_expires)
        entry.call_id = piece_of(p + request.call_id.start, request.call_id.end - request.call_id.start)
        entry.cseq = request.cseq.number
        entry.q = wanted.q
        entry.params = piece_of(PyBytes_AS_STRING(params), PyBytes_GET_SIZE(params))
        entry.path = piece_of(PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
        entry.flow = piece_of(packed, size)
        entry.instance = piece_of(p + wanted.instance.start, wanted.instance.end - wanted.instance.start)
        entry.updated = now
        entry.reg_id = wanted.reg_id
        entry.branch = branch_of(request)
        entry.doubtful = 0 if stored.record is None or lapsed else stored.at.doubtful
        if (room_for(&entry) + PyBytes_GET_SIZE(self.date(now)) > ROOM or entry.contact.size + entry.params.size > MOST_CONTACT
                or room_for(&entry) + entry.path.size + entry.call_id.size > MOST_BINDING):
            return None
        store.put_bindings(aor, written_bindings(aor, &entry), stored)
        self.newly_bound = stored.record is None or lapsed
        self.doubted = entry.doubtful != 0
        self.note_unproven(way, now)
        return self.list_bindings(request, flow, path, contact_line(&entry, self.date(now), now))

    # Contact: *. RFC 3261 §10.3 step 6.
    cdef bytes remove_all(self, Message request, Flow flow, Cursor *cursor, bytes path, bytes aor, int64_t now):
        cdef Span value
        cdef bytes call_id
        cdef object binding
        cdef Store store = self.location.store
        cdef int64_t cseq = request.cseq.number
        if request.next_value(cursor, &value) or not request.has(H_EXPIRES):
            return self.refuse(request, flow, 400, b"")
        if read_seconds(request.p, request.value_of(H_EXPIRES)) != 0:
            return self.refuse(request, flow, 400, b"")
        store.for_update()
        call_id = request.text(request.call_id)
        for binding in store.bindings(aor):
            if (binding.expires > now and binding.call_id == call_id and <int64_t>binding.cseq >= cseq
                    and not has_started_anew(binding, way_of(binding, request, flow), b"", now)):
                return self.refuse(request, flow, 500, b"")
            self.newly_unbound |= <int64_t>binding.expires > now
        store.put_bindings(aor, ())
        return self.accept(request, flow, path, [], now)

    # RFC 3261 §10.3 step 7.
    cdef bytes update(self, Message request, Flow flow, bytes path, bytes aor, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef bytes call_id = request.text(request.call_id), packed, instance
        cdef Flow way
        cdef object binding
        cdef Store store = self.location.store
        cdef StoredBindings stored
        cdef list live, lapsed, made = []
        cdef dict known = {}
        cdef int64_t cseq = request.cseq.number
        cdef uint32_t branch = branch_of(request)
        cdef Py_ssize_t index, before
        cdef int adding
        cdef bint repeated = False, changed = False, alone, reachable
        adding = self.count_contacts(request)
        if adding == MALFORMED:
            return self.refuse(request, flow, 400, b"")
        if adding == TOO_LARGE:
            return self.refuse_large(request, flow, aor)
        if adding == TOO_MANY:
            return self.refuse(request, flow, 400, warning_line(
                domain_of(aor), b"More Contacts than the %d of max_contacts" % self.max_contacts))
        if adding == SEVERAL_FLOWS:
            return self.refuse(request, flow, 400, warning_line(domain_of(aor), b"A Contact with a reg-id beside another one"))
        alone = adding <= 1
        store.for_update()
        stored = store.bindings(aor)
        live = [binding for binding in stored if binding.expires > now]
        # Kept for as long as a call may last: a phone that comes back takes the calls along that it is in.
        lapsed = [binding for binding in stored if now - self.longest_call < binding.expires <= now]
        before = len(live)
        reachable = has_reachable(live)
        request.cursor(H_CONTACT, &cursor)
        while request.next_value(&cursor, &value):
            read_contact(request, value, &wanted)
            choose_interval(request, &wanted, self.default_expires)
            if 0 < wanted.expires < self.min_expires:
                return self.refuse_brief(request, flow)
            if wanted.expires and not alone and not path and not self.is_reachable(request, flow, &wanted):
                return self.refuse(request, flow, 403, warning_line(
                    domain_of(aor), b"Several Contacts, and one at a host that is not yours"))
            way = flow if path else self.location.way(request, flow, &wanted.address.uri, alone)
            packed = way.pack()
            instance = request.text(wanted.instance)
            index = find(live, request.p, &wanted.address.uri, known)
            if index < 0 and alone and wanted.expires:
                index = find_instance(live, instance, wanted.reg_id)
            if index >= 0:
                binding = live[index]
                if binding.call_id == call_id and binding not in made and <int64_t>binding.cseq >= cseq:
                    if <int64_t>binding.cseq == cseq and (binding.branch == branch or binding.branch == 0):
                        repeated = True
                    elif not has_started_anew(binding, packed, instance, now):
                        return self.refuse(request, flow, 500, b"")
            if wanted.expires == 0:
                if index >= 0:
                    del live[index]
                    changed = True
                continue
            binding = make_binding(request, &wanted, min(wanted.expires, self.max_expires), request, path, packed, now)
            if len(binding.contact) + len(binding.params) > MOST_CONTACT or size_of(binding) > MOST_BINDING:
                return self.refuse_large(request, flow, aor)
            if index >= 0 and live[index].doubtful:
                binding = replace(binding, doubtful=live[index].doubtful)
                self.doubted = True
            made.append(binding)
            changed = True
            self.note_unproven(way, now)
            if index >= 0:
                self.note_move(aor, live[index], binding, now)
                live[index] = binding
            else:
                live.append(binding)
                index = find(lapsed, request.p, &wanted.address.uri, known)
                if index >= 0:
                    self.note_move(aor, lapsed.pop(index), binding, now)
            if alone:
                self.drop_former(aor, live, binding, now)
                self.drop_former(aor, lapsed, binding, now)
        if repeated:
            self.follow_copy(request, flow, aor, now)
            return self.accept(request, flow, path, self.location.lookup(aor, now), now)
        if len(live) > self.max_contacts and len(live) > before:
            if not self.replaces:
                return self.refuse(request, flow, 503, b"Retry-After: %d\r\n" % soonest(live, made, now))
            make_room(live, made, max(self.max_contacts, before))
        while made and size_of_all(live) > MOST_OF_AOR:
            if not self.replaces or len(live) <= len(made):
                seconds = soonest(live, made, now) if len(live) > len(made) else 3600
                return self.refuse(request, flow, 503, b"Retry-After: %d\r\n" % seconds + warning_line(
                    domain_of(aor), b"All Contacts of this user have more than %d bytes" % MOST_OF_AOR))
            make_room(live, made, <Py_ssize_t>len(live) - 1)
        for move in self.moves:
            store.put_move(move)
        if changed and stored.record is None and live and not self.has_room(flow, now):
            return self.refuse_new(request, flow)
        if changed:
            store.put_bindings(aor, live + lapsed[-self.max_contacts:], stored)
        self.newly_bound = not reachable and has_reachable(live)
        self.newly_unbound = before > 0 and len(live) == 0
        return self.accept(request, flow, path, live, now) if made else self.show(request, flow, path, live, now)

    # The very same REGISTER has come again, perhaps by another flow: that one leads to its phone now.
    cdef int follow_copy(self, Message request, Flow flow, bytes aor, int64_t now) except -1:
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef object binding
        cdef Store store = self.location.store
        cdef bint alone = self.count_contacts(request) <= 1
        cdef uint32_t branch = branch_of(request)
        cdef list bindings
        cdef dict known = {}
        cdef Py_ssize_t index
        self.moves = []
        store.for_update()
        bindings = list(store.bindings(aor))
        request.cursor(H_CONTACT, &cursor)
        while request.next_value(&cursor, &value):
            if read_contact(request, value, &wanted) < 0:
                continue
            index = find(bindings, request.p, &wanted.address.uri, known)
            if index < 0:
                continue
            binding = bindings[index]
            if binding.branch == branch and binding.cseq == request.cseq.number and not binding.path and (
                    binding.call_id == request.text(request.call_id)):
                bindings[index] = replace(binding, flow=self.location.way(request, flow, &wanted.address.uri, alone).pack())
                self.note_move(aor, binding, bindings[index], now)
        if self.moves:
            for move in self.moves:
                store.put_move(move)
            store.put_bindings(aor, bindings)
        return 0

    # Whether a Contact is at a host that may be followed (`Location`). No request is ever sent to what is no SIP URI.
    cdef bint is_reachable(self, Message request, Flow flow, const Wanted *wanted) except -1:
        if wanted.address.uri.scheme != SCHEME_SIP and wanted.address.uri.scheme != SCHEME_SIPS:
            return True
        return self.location.is_trusted(request.p, &wanted.address.uri, flow)

    # How many Contacts are to be bound, or why none can be.
    cdef int count_contacts(self, Message request) noexcept:
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef int adding = 0, values = 0, read
        cdef bint with_reg_id = False
        request.cursor(H_CONTACT, &cursor)
        while request.next_value(&cursor, &value):
            values += 1
            if values > 2 * self.max_contacts:      # as many to remove, and as many to add: no honest request has more
                return TOO_MANY
            read = read_contact(request, value, &wanted)
            if read < 0:
                return TOO_LARGE if read == TOO_LARGE else MALFORMED
            choose_interval(request, &wanted, self.default_expires)
            if wanted.expires:
                adding += 1
                with_reg_id |= wanted.reg_id != 0
        if adding > self.max_contacts:
            return TOO_MANY
        return SEVERAL_FLOWS if with_reg_id and adding > 1 else adding

    # RFC 5626 §6: of one instance and reg-id there is one binding.
    cdef int drop_former(self, bytes aor, list live, object binding, int64_t now) except -1:
        cdef Py_ssize_t i
        if binding.instance:
            for i in range(len(live) - 1, -1, -1):
                if live[i] is not binding and live[i].instance == binding.instance and live[i].reg_id == binding.reg_id:
                    self.note_move(aor, live[i], binding, now)
                    del live[i]
        return 0

    cdef int note_move(self, bytes aor, object former, object binding, int64_t now) except -1:
        move = move_between(former, binding, aor, now + self.longest_call)
        if move is not None:
            self.moves.append(move)
        return 0

    # Whether one more AOR may be bound: there is room for it, and its source has not bound its share.
    cdef bint has_room(self, Flow flow, int64_t now) except -1:
        return self.location.store.has_room_for_aor(self.max_aors) and (
            self.limiter is None or self.limiter.may_bind(flow, now))

    cdef int note_unproven(self, Flow way, int64_t now) noexcept:
        if self.proven is not None and self.proven.owes(way, now):
            self.unproven = True
        return 0

    # ---- responses

    cdef bytes refuse(self, Message request, Flow flow, int status, bytes extra):
        self.moves = []                     # nothing of the request is done
        self.newly_unbound = self.unproven = self.doubted = False
        self.refused = status
        return make_response(request, status, flow, stateless_tag(request, self.secret), extra, None, b"")

    cdef bytes refuse_brief(self, Message request, Flow flow):
        return self.refuse(request, flow, 423, b"Min-Expires: %d\r\n" % self.min_expires)        # RFC 3261 §20.23

    cdef bytes refuse_new(self, Message request, Flow flow):
        return self.refuse(request, flow, 503, b"Retry-After: %d\r\n" % self.min_expires)       # RFC 3261 §21.5.4

    cdef bytes refuse_large(self, Message request, Flow flow, bytes aor):
        return self.refuse(request, flow, 400, warning_line(
            domain_of(aor), b"A Contact of more than %d bytes, or %d with its Path" % (MOST_CONTACT, MOST_BINDING)))

    cdef bytes date(self, int64_t now):
        if now // 1000 != self.date_second:
            self.date_second = now // 1000
            self.date_line = date_line(self.date_second)
        return self.date_line

    # RFC 3261 §10.3 step 8; RFC 3327 §5.3 for Path.
    # Who only asks, and is not one of them, is not told where somebody's phones are. RFC 3261 §10.3 step 8 lists them all, but
    # has asked for a password before (step 2).
    cdef bytes show(self, Message request, Flow flow, bytes path, list bindings, int64_t now):
        if self.senders is not None and not self.senders.may_see(bindings, request, flow):
            bindings = []
        return self.accept(request, flow, path, bindings, now)

    cdef bytes accept(self, Message request, Flow flow, bytes path, list bindings, int64_t now):
        return self.list_bindings(request, flow, path, contact_lines(bindings, self.date(now), now))

    cdef bytes list_bindings(self, Message request, Flow flow, bytes path, bytes lines):
        if path and request.lists_token(H_SUPPORTED, b"path"):
            lines = b"Path: " + path + b"\r\n" + lines
        return make_response(request, 200, flow, stateless_tag(request, self.secret), lines, None, b"")

    # ---- the Python face

    def answer(self, Message request not None, Flow flow not None, bytes aor not None, int64_t now):
        return self.register(request, flow, aor, now)


# Whether a REGISTER whose CSeq is not higher than its binding's comes from a phone that has lost its memory.
cdef bint has_started_anew(object binding, bytes flow, bytes instance, int64_t now):
    return now >= <int64_t>binding.updated + REBOOT_AFTER and (
        binding.flow == flow or (len(instance) > 0 and binding.instance == instance))


# How this phone would be stored if it named the binding's Contact: without rport by that one's port (`Location.way`).
cdef bytes way_of(object binding, Message request, Flow flow):
    cdef bytes packed = binding.flow
    cdef Flow stored = unpacked(<const unsigned char *>PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
    if (stored is not None and not request.via.has_rport and not stored.reliable()
            and flow.transport == stored.transport and flow.same_host(stored)):
        return packed
    return flow.pack()


# Seconds until one of the bindings that are there runs out.
cdef int64_t soonest(list live, list made, int64_t now) except -1:
    return max(1, min([<int64_t>binding.expires - now for binding in live if binding not in made]) // 1000)


cdef int make_room(list live, list made, Py_ssize_t most) except -1:
    while len(live) > most:
        live.remove(min([binding for binding in live if binding not in made], key=by_age))
    return 0


# What is kept of a binding, and sent with it.
cdef Py_ssize_t size_of(object binding) except -1:
    return <Py_ssize_t>len(binding.contact) + len(binding.params) + len(binding.path) + len(binding.call_id) + 80


cdef Py_ssize_t size_of_all(list bindings) except -1:
    cdef Py_ssize_t size = 0
    for binding in bindings:
        size += size_of(binding)
    return size


def by_age(binding):
    """Sort key: the one whose phone has been silent for longest comes first."""
    return binding.updated


cdef bytes domain_of(bytes aor):
    return aor.rpartition(b"@")[2]
