"""What a registrar behind us teaches: a REGISTER passes through, and its 200 says which phones are bound, and for how long.

A 200 grants what was asked unless it says otherwise. RFC 3261 §10.3 step 8 has it list every binding with its interval,
but not all registrars do, and some write Contacts in another way than they got them. So a Contact of the REGISTER counts
as bound for as long as was asked where the 200 does not list it, or with no interval, or with one that cannot be read or
is 0. What the 200 lists of the same user, but of no Contact that is known, is one that is known in another spelling. What
it does not list of other phones is gone, unless it lists none at all, or some of that user in another spelling.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t

import cython

from .contacts cimport (
    MALFORMED, MALFORMED_EXPIRES, Wanted, choose_interval, find, find_instance, has_reachable, make_binding, move_between,
    read_contact, read_path, read_seconds,
)
from .._flow cimport Flow
from .._parser cimport H_CONTACT, H_EXPIRES, Cursor, Message, Span, Uri, parse_uri_at
from .location cimport Location
from ..store.repository cimport Store
from ..trust.proven cimport Proven

from msgspec.structs import replace

cdef enum:
    MOST_LEARNED = 64           # contacts of one message that learning compares with each other
    OVERTAKEN = 32_000          # ms: Timer F. Later than that no answer to an earlier REGISTER comes (RFC 3261 §17.1.2.2)


cdef bytes user_of(bytes contact):
    cdef Uri uri
    if parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(contact), 0, <int32_t>PyBytes_GET_SIZE(contact), &uri) != 1:
        return None
    return contact[uri.user.start:uri.user.end]


@cython.final
cdef class Learning:

    def __init__(self, settings, Location location not None, int64_t longest_call=7_200_000, Proven proven=None):
        self.location = location
        self.known = proven
        self.longest_call = longest_call
        self.moves = []
        self.configure(settings)

    def configure(self, settings):
        """`settings`: a config.Registrar."""
        self.proven = self.known if settings.probe else None
        self.default_expires = settings.default_expires

    cdef int learn(self, Message request, Message response, Flow flow, bytes aor, int64_t now) except -1:
        cdef object binding, stored
        cdef Store store = self.location.store
        cdef bytes call_id = request.text(request.call_id)
        cdef int64_t cseq = request.cseq.number, theirs
        cdef list live, named, bindings
        cdef bint reachable
        self.unproven = self.doubted = self.newly_bound = self.newly_unbound = False
        self.moves = []
        if not 200 <= response.status < 300:
            return 0
        store.for_update()
        store.put_known(aor)
        stored = store.bindings(aor)
        live = [binding for binding in stored if binding.expires > now]
        for binding in live:
            theirs = binding.cseq
            if binding.call_id == call_id and theirs > cseq and now < <int64_t>binding.updated + OVERTAKEN:
                return 0                    # the answer to a later REGISTER of this phone has come before
        named = self.named(request, flow, now)
        bindings = self.listed(request, response, named, live, now)
        self.note_moves(aor, list(stored), bindings, now)      # those that ran out, too
        reachable = has_reachable(live)
        if has_doubtful(live):
            bindings = self.still_in_doubt(live, bindings, now)
        store.put_bindings(aor, bindings, stored)
        # A query or a removal that finds bindings which we had not heard of is no registration.
        self.newly_bound = not reachable and has_reachable(bindings) and has_live(named, now)
        self.newly_unbound = len(live) > 0 and not bindings
        return 0

    # What the Contacts of the request ask to be bound as; `expires` is `now` where they ask to be removed.
    cdef list named(self, Message request, Flow flow, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef bytes path = read_path(request) or b""
        cdef Flow way
        cdef list found = []
        request.cursor(H_CONTACT, &cursor)
        while len(found) < MOST_LEARNED and request.next_value(&cursor, &value):
            if read_contact(request, value, &wanted) != 1:
                continue
            choose_interval(request, &wanted, self.default_expires)
            way = flow if path else self.location.way(request, flow, &wanted.address.uri, True)
            if wanted.expires and self.proven is not None and self.proven.owes(way, now):
                self.unproven = True
            found.append(make_binding(request, &wanted, wanted.expires, request, path, way.pack(), now))
        return found

    # The upstream's list as bindings. What the request named is reached by its flow, what we knew as before.
    cdef list listed(self, Message request, Message response, list named, list live, int64_t now):
        cdef Cursor cursor
        cdef Span value
        cdef Wanted wanted
        cdef object binding, former
        cdef Py_ssize_t index
        cdef int64_t seconds, fallback = -1
        cdef list found = [], unlisted, strangers = [], left = list(named)
        cdef dict known = {}
        cdef list others = [each for each in live if not is_in(each, named, known)]
        cdef set users
        cdef int values = 0
        cdef bint removes_all = not named and request.has(H_CONTACT)       # Contact: *
        if response.has(H_EXPIRES):
            fallback = read_seconds(response.p, response.value_of(H_EXPIRES))
        response.cursor(H_CONTACT, &cursor)
        while values < MOST_LEARNED and response.next_value(&cursor, &value):
            if read_contact(response, value, &wanted) < 0:
                continue
            values += 1
            seconds = wanted.expires if wanted.expires != -1 else fallback
            binding = make_binding(response, &wanted, max(seconds, 0), request, b"", b"", now)
            index = find(named, response.p, &wanted.address.uri, known)
            if index >= 0:
                former = named[index]
                if former in left:
                    left.remove(former)
                if seconds <= 0:            # not said, not readable, or that it was granted for no time: what was asked
                    binding = replace(binding, expires=former.expires)
                found.append(replace(binding, path=former.path, flow=former.flow,
                                     instance=binding.instance or former.instance, reg_id=former.reg_id))
                continue
            if seconds < 0:
                binding = replace(binding, expires=now + 1000 * (MALFORMED_EXPIRES if seconds == MALFORMED else (
                    self.default_expires)))
            index = find(others, response.p, &wanted.address.uri, known)
            if index >= 0:
                former = others.pop(index)
                found.append(replace(former, contact=binding.contact, expires=binding.expires, q=binding.q))
            else:
                strangers.append(binding)
        # What was asked for and what we knew may stand among the strangers in another spelling.
        unlisted = [binding for binding in left if binding.expires > now]
        users = {user_of(binding.contact) for binding in strangers}
        for binding in others:
            if (user_of(binding.contact) in users or (values == 0 and not removes_all)) and (
                    find_instance(unlisted, binding.instance, binding.reg_id) < 0):      # RFC 5626 §6
                unlisted.append(binding)
        users = {user_of(binding.contact) for binding in unlisted}
        found += unlisted
        found += [binding for binding in strangers if user_of(binding.contact) not in users]
        return [binding for binding in found if binding.expires > now]

    cdef list still_in_doubt(self, list live, list bindings, int64_t now):
        cdef dict doubts = {former.contact: former.doubtful for former in live if former.doubtful}
        cdef dict devices = {(former.instance, former.reg_id): former.doubtful for former in live
                             if former.doubtful and former.instance}
        cdef list found = []
        for binding in bindings:
            since = doubts.get(binding.contact, 0) or devices.get((binding.instance, binding.reg_id), 0)
            found.append(binding if binding.doubtful == since else replace(binding, doubtful=since))
            self.doubted |= since != 0 and binding.updated == now
        return found

    # A phone that is reached by another flow than before takes the calls along that it is in.
    cdef int note_moves(self, bytes aor, list live, list bindings, int64_t now) except -1:
        for binding in bindings:
            index = find_instance(live, binding.instance, binding.reg_id)
            for former in live:
                if former.contact != binding.contact and not (index >= 0 and former is live[index]):
                    continue
                move = move_between(former, binding, aor, now + self.longest_call)
                if move is not None:
                    self.moves.append(move)
        for move in self.moves:
            self.location.store.put_move(move)
        return 0


cdef bint has_doubtful(list bindings) except -1:
    for binding in bindings:
        if binding.doubtful:
            return True
    return False


cdef bint has_live(list bindings, int64_t now) except -1:
    for binding in bindings:
        if binding.expires > now:
            return True
    return False


# Whether a binding's Contact is among those of others (RFC 3261 §19.1.4).
cdef bint is_in(object binding, list others, dict known) except -1:
    cdef bytes contact = binding.contact
    cdef Uri uri
    if parse_uri_at(<const unsigned char *>PyBytes_AS_STRING(contact), 0, <int32_t>PyBytes_GET_SIZE(contact), &uri) != 1:
        return False
    return find(others, <const unsigned char *>PyBytes_AS_STRING(contact), &uri, known) >= 0
