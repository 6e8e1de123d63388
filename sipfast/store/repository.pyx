"""What the server remembers, typed and written once, over the tables of any back end (tables.pyx).

Keys are AORs, values are records (records.py, codec.pyx). What is returned is never changed by later writes. A batch is that
of the tables, and so is what a failure means. A record that cannot be read concerns its own key: asked for by it, it is
an error; where all are gone through, it is passed over and told of once.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcmp

from .codec cimport (
    Piece, StoredBindings, StoredWatch, bindings_of, bytes_of, keys_in, keys_of, owner_of, read_expiry, same_piece,
    stored_bindings, stored_watch, watch_of,
)
from .keys cimport key_of, pair_at, pair_of
from .tables cimport (
    ATTEMPTS, BINDINGS, CALLERS, CONTACTS, ENDED, KNOWN, LEGS, META, MOVES, PHONES, TALKS, WATCHES, Tables,
)

from ..errors import StoreCorrupt, StoreUnreadable
from .codec import stored_watch as read_watch
from .records import (
    MOST_ENDED, MOST_PHONES, decode_anchor, decode_attempts, decode_bindings, decode_ended, decode_leg, decode_move,
    decode_phone, decode_talk, encode_anchor, encode_attempts, encode_ended, encode_leg, encode_move, encode_phone, encode_talk,
    readable,
)
from .sweep import Round

cdef enum:
    SECRET_SIZE = 16
    SWEPT_AT_ONCE = 50          # AORs
    MOST_SWEPT = 262_144        # bytes of them in one call
    NOMINAL = 100               # bytes: what a row costs however short it is
    SHARES = 16                 # of the room in a table: one is used up before its records are counted again


def by_age(StoredWatch watch):
    return watch.at.armed_at, bytes_of(watch.at.caller)


cdef bint is_same(Piece one, Piece other) noexcept:
    return one.size == other.size and memcmp(one.text, other.text, one.size) == 0


cdef list values_of(list rows):
    return [value for _, value in rows]


# What stands beside a key that ends in an AOR, to tell it in full.
cdef inline bytes rest_of(bytes aor, bytes key):
    return b"" if key == aor else aor


cdef bytes phone_key(kind, bytes name):
    return kind[:1].encode() + key_of(name)


cdef class Store:

    def __init__(self, Tables tables not None):
        self.tables = tables
        self.round = Round()
        self.swept = b""

    @property
    def writes(self):
        return self.tables.writes

    cdef object read(self, object decode, bytes stored):
        try:
            return decode(stored)
        except StoreUnreadable as error:
            self.raise_at(error)

    # Raise the same failure, with the place that it happened at.
    cdef int raise_at(self, object error) except -1:
        if not self.tables.where:
            raise error
        raise StoreUnreadable(f"{self.tables.where}: {error}", error.record) from error

    # ---- bindings

    cpdef StoredBindings bindings(self, bytes aor):
        cdef bytes record = self.tables.get(BINDINGS, key_of(aor))
        try:
            return stored_bindings(aor, record)
        except StoreUnreadable as error:
            self.raise_at(error)

    cpdef put_bindings(self, bytes aor, object bindings, StoredBindings former=None):
        cdef bytes key = key_of(aor), before = former.record if former is not None else self.tables.get(BINDINGS, key)
        cdef bytes contact
        cdef StoredBindings made = bindings_of(aor, bindings)
        cdef tuple gone, added
        if made.record is not None:
            self.tables.put(BINDINGS, key, made.record)
        elif before is not None:
            self.tables.delete(BINDINGS, key)
        if former is not None and former.single and made.single and is_same(former.at.contact, made.at.contact):
            return
        gone = keys_of(former, aor) if former is not None else keys_in(before, aor)
        added = keys_of(made, aor)
        for contact in gone:
            if contact not in added:
                self.tables.delete(CONTACTS, contact + key)
        for contact in added:
            if contact not in gone:
                self.put_contact(contact, aor)

    cpdef bint has_room_for_aor(self, int64_t most) except -1:
        return self.has_room(BINDINGS, &self.room_for_aors, most)

    def each_bindings(self):
        return readable(decode_bindings, self.tables.each(BINDINGS))

    def sweep_bindings(self, now, limit, keep=0, gone=None):
        cdef list rows, lapsed = []
        cdef Py_ssize_t count = 0, size = 0
        # A few at a time: what is read counts in bytes, too, and somebody may have made all of them large.
        while limit > 0 and size < MOST_SWEPT:
            rows = self.tables.rows_after(BINDINGS, self.swept, min(limit, SWEPT_AT_ONCE)) if self.swept else []
            if not rows:
                if size:
                    break                   # the next round begins with the next call
                self.round.begin(now)
                rows = self.tables.rows_after(BINDINGS, b"", min(limit, SWEPT_AT_ONCE))
                if not rows:
                    break
            self.swept = rows[len(rows) - 1][0]
            limit -= len(rows)
            size += self.look_at(rows, now - keep, lapsed, gone)
        if lapsed:
            self.tables.for_update()        # what has been read is out of date, perhaps
        for aor in lapsed:
            count += self.drop_lapsed(aor, now - keep)
        return count

    # Whose bindings have run out, some of them or, for `gone`, all; the bytes that were read.
    cdef Py_ssize_t look_at(self, list rows, int64_t now, list lapsed, list gone) except -1:
        cdef Py_ssize_t size = 0
        cdef int64_t first, last
        cdef bytes record, aor
        for _, record in rows:
            size += len(record) + NOMINAL
            aor = None
            if not read_expiry(record, &first, &last):
                decoded = list(readable(decode_bindings, [record]))
                if not decoded or not decoded[0][1]:
                    continue
                aor, bindings = decoded[0]
                first = min([each.expires for each in bindings])
                last = max([each.expires for each in bindings])
            if first <= now:
                lapsed.append(aor if aor is not None else owner_of(record))
            if gone is not None and self.round.has_ended(last):
                gone.append(aor if aor is not None else owner_of(record))
        return size

    cdef Py_ssize_t drop_lapsed(self, bytes aor, int64_t now) except -1:
        cdef list stored = list(self.bindings(aor))
        cdef list live = [binding for binding in stored if binding.expires > now]
        if len(live) < len(stored):
            self.put_bindings(aor, live)
        return len(stored) - len(live)

    # ---- who has a Contact

    cpdef list aors_of(self, bytes contact):
        return [value or (<bytes>key)[len(contact):] for key, value in self.tables.rows(CONTACTS, contact)]

    cpdef put_contact(self, bytes contact, bytes aor):
        cdef bytes key = key_of(aor)
        self.tables.put(CONTACTS, contact + key, rest_of(aor, key))

    # ---- AORs that the upstream knows

    cpdef bint is_known(self, bytes aor) except -1:
        cdef bytes key = key_of(aor)
        return self.tables.get(KNOWN, key) == rest_of(aor, key)

    cpdef put_known(self, bytes aor):
        cdef bytes key = key_of(aor)
        if not self.is_known(aor):
            self.tables.put(KNOWN, key, rest_of(aor, key))

    # ---- watches

    cpdef StoredWatch watch(self, bytes callee, bytes caller):
        cdef bytes record = self.tables.get(WATCHES, pair_of(callee, caller))
        cdef StoredWatch watch
        if record is None:
            return None
        try:
            watch = stored_watch(record)
        except StoreUnreadable as error:
            self.raise_at(error)
        return watch if same_piece(watch.at.callee, callee) and same_piece(watch.at.caller, caller) else None

    cpdef bint has_watch(self, bytes callee, bytes caller) except -1:
        return self.tables.get(WATCHES, pair_of(callee, caller)) is not None

    cpdef list watches(self, bytes callee):
        cdef StoredWatch watch
        cdef list found = []
        for watch in readable(read_watch, values_of(self.tables.rows(WATCHES, key_of(callee) + b"\0"))):
            if same_piece(watch.at.callee, callee):
                found.append(watch)
        if len(found) > 1:
            found.sort(key=by_age)
        return found

    cpdef put_watch(self, object watch, bint new=True):
        cdef StoredWatch made = watch_of(watch)
        self.tables.put(WATCHES, pair_at(made.at.callee, made.at.caller), made.record)
        if new:
            self.tables.put(CALLERS, pair_at(made.at.caller, made.at.callee), b"")

    cpdef bint claim(self, object watch, object claimed) except -1:
        cdef StoredWatch before = watch_of(watch)
        cdef bytes pair = pair_at(before.at.callee, before.at.caller)
        self.tables.for_update()
        if self.tables.get(WATCHES, pair) != before.record:
            return False
        self.tables.put(WATCHES, pair, watch_of(claimed).record)
        return True

    cpdef bint delete_watch(self, bytes callee, bytes caller) except -1:
        cdef bytes pair = pair_of(callee, caller)
        if not self.tables.delete(WATCHES, pair):
            return False
        self.tables.delete(CALLERS, pair_of(caller, callee))
        self.tables.delete(ATTEMPTS, pair)
        return True

    cpdef Py_ssize_t count_by_caller(self, bytes caller) except -1:
        return self.tables.count(CALLERS, key_of(caller) + b"\0")

    cpdef Py_ssize_t count_by_callee(self, bytes callee) except -1:
        return self.tables.count(WATCHES, key_of(callee) + b"\0")

    cpdef bint has_room_for_watch(self, int64_t most) except -1:
        return self.has_room(WATCHES, &self.room_for_watches, most)

    # LMDB tells a number by a dict of its statistics, which costs as much as a record's write. So a share of the room that it
    # tells of is used up before it is asked again; others that fill the same store have such shares, too.
    cdef bint has_room(self, int table, Room *room, int64_t most) except -1:
        if room.left <= 0 or room.most != most:
            room.most = most
            room.left = most - self.tables.size(table)
            if room.left <= 0:
                return False
            room.left = room.left // SHARES
        room.left -= 1
        return True

    def each_watch(self):
        return readable(read_watch, self.tables.each(WATCHES))

    # ---- what became of watches, for people

    cpdef tuple attempts(self, bytes callee, bytes caller):
        cdef bytes record = self.tables.get(ATTEMPTS, pair_of(callee, caller))
        return () if record is None else self.read(decode_attempts, record)

    def put_attempt(self, bytes callee not None, bytes caller not None, at, result):
        cdef bytes record = encode_attempts((*self.attempts(callee, caller), (at, result)))
        self.tables.put(ATTEMPTS, pair_of(callee, caller), record)

    def put_ended(self, ended):
        cdef bytes last
        self.tables.for_update()
        last = self.tables.last_key(ENDED)
        number = 1 if last is None else int.from_bytes(last, "big") + 1
        self.tables.put(ENDED, number.to_bytes(8, "big"), encode_ended(ended))
        if number > MOST_ENDED:
            self.tables.delete(ENDED, (number - MOST_ENDED).to_bytes(8, "big"))

    def ended(self):
        return [*readable(decode_ended, reversed(values_of(self.tables.rows(ENDED, b""))))]

    # ---- talks

    cpdef object talk(self, bytes callee):
        cdef bytes record = self.tables.get(TALKS, key_of(callee))
        if record is None:
            return None
        talk = self.read(decode_talk, record)
        return talk if talk.callee == callee else None

    cpdef put_talk(self, object talk):
        self.tables.put(TALKS, key_of(talk.callee), encode_talk(talk))

    cpdef bint delete_talk(self, bytes callee) except -1:
        return self.tables.delete(TALKS, key_of(callee))

    def each_talk(self):
        return readable(decode_talk, self.tables.each(TALKS))

    # ---- moves

    def moves(self):
        return list(readable(decode_move, values_of(self.tables.rows(MOVES, b""))))

    def put_move(self, move):
        self.tables.put(MOVES, move.old + key_of(move.aor), encode_move(move))

    def delete_move(self, move):
        return self.tables.delete(MOVES, move.old + key_of(move.aor))

    # ---- what phones did

    def phone(self, kind, bytes name not None):
        cdef bytes record = self.tables.get(PHONES, phone_key(kind, name))
        if record is None:
            return None
        phone = self.read(decode_phone, record)
        return phone if phone.name == name else None

    def put_phone(self, phone):
        cdef bytes key = phone_key(phone.kind, phone.name)
        self.tables.for_update()
        if self.tables.get(PHONES, key) is None and self.tables.size(PHONES) >= MOST_PHONES:
            self.make_room(key)
        self.tables.put(PHONES, key, encode_phone(phone))

    # The one of its kind that is next by its key goes, as good as any.
    cdef int make_room(self, bytes key) except -1:
        cdef bytes kind = key[:1]
        for former in (key, kind, b""):
            for next_one, _ in self.tables.rows_after(PHONES, former, 1):
                if former == b"" or next_one.startswith(kind):
                    self.tables.delete(PHONES, next_one)
                    return 0
        return 0

    def delete_phone(self, kind, bytes name not None):
        return self.tables.delete(PHONES, phone_key(kind, name))

    def phones_after(self, bytes key not None, limit):
        cdef list rows = self.tables.rows_after(PHONES, key, limit)
        last = rows[len(rows) - 1][0] if len(rows) == limit else b""
        return list(readable(decode_phone, values_of(rows))), last

    def each_phone(self):
        return readable(decode_phone, self.tables.each(PHONES))

    # ---- legs

    def legs(self):
        return list(readable(decode_leg, values_of(self.tables.rows(LEGS, b""))))

    def put_leg(self, leg):
        self.tables.put(LEGS, key_of(leg.call_id), encode_leg(leg))

    def delete_leg(self, bytes call_id not None):
        return self.tables.delete(LEGS, key_of(call_id))

    # ---- about the store

    def upgraded_at(self):
        return int(self.tables.get(META, b"upgraded") or b"0")

    def anchor(self):
        cdef bytes record = self.tables.get(META, b"clock")
        return None if record is None else self.read(decode_anchor, record)

    def put_anchor(self, anchor):
        self.tables.put(META, b"clock", encode_anchor(anchor))

    def secret(self):
        cdef bytes secret = self.tables.get(META, b"secret")
        if secret is None or len(secret) != SECRET_SIZE:
            raise StoreCorrupt(f"{self.tables.where}: the store has lost its secret: restore it from a copy")
        return secret

    # ---- the batch

    cpdef for_update(self):
        self.tables.for_update()

    cpdef hold_snapshot(self):
        self.tables.hold_snapshot()

    cpdef let_go(self):
        self.tables.let_go()

    cpdef commit(self):
        self.tables.commit()

    cpdef bint fetch(self, set aors, object group) except -1:
        return self.tables.fetch(aors, group)

    cpdef bint apply(self, object batch) except -1:
        return self.tables.apply(batch)

    cpdef abort(self):
        self.tables.abort()

    def flush(self):
        self.tables.flush()

    def close(self):
        self.tables.close()
