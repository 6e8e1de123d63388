"""What the server remembers, typed and written once, over the tables of any back end (tables.py).

Keys are AORs, values are records (records.py, codec.pyx). What is returned is never changed by later writes. A batch is that
of the tables, and so is what a failure means. A record that cannot be read concerns its own key: asked for by it, it is
an error; where all are gone through, it is passed over and told of once.
"""

from .tables cimport ATTEMPTS, BINDINGS, CALLERS, CONTACTS, ENDED, KNOWN, META, MOVES, TALKS, WATCHES, Tables
from .keys cimport key_of, pair_of

from ..errors import StoreCorrupt, StoreUnreadable
from .codec import changed_contacts
from .records import (
    MOST_ENDED, decode_anchor, decode_attempts, decode_bindings, decode_ended, decode_move, decode_talk, decode_watch,
    encode_anchor, encode_attempts, encode_bindings, encode_ended, encode_move, encode_talk, encode_watch, readable,
)
from .sweep import Round

cdef enum:
    SECRET_SIZE = 16


def by_age(watch):
    return watch.armed_at, watch.caller


cdef list values_of(list rows):
    return [value for _, value in rows]


# What stands beside a key that ends in an AOR, to tell it in full.
cdef inline bytes rest_of(bytes aor, bytes key):
    return b"" if key == aor else aor


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
            if not self.tables.where:
                raise
            raise StoreUnreadable(f"{self.tables.where}: {error}") from error

    # ---- bindings

    cpdef tuple bindings(self, bytes aor):
        cdef tuple read
        cdef bytes record = self.tables.get(BINDINGS, key_of(aor))
        if record is None:
            return ()
        read = self.read(decode_bindings, record)
        return read[1] if read[0] == aor else ()

    cpdef bytes bindings_record(self, bytes aor):
        return self.tables.get(BINDINGS, key_of(aor))

    cpdef put_bindings_record(self, bytes aor, bytes record):
        self.tables.put(BINDINGS, key_of(aor), record)

    cpdef put_bindings(self, bytes aor, object bindings):
        cdef bytes key = key_of(aor), former = self.tables.get(BINDINGS, key), record = None, contact
        if bindings:
            record = encode_bindings(aor, tuple(bindings))
            self.tables.put(BINDINGS, key, record)
        elif former is not None:
            self.tables.delete(BINDINGS, key)
        gone, added = changed_contacts(aor, former, record)
        for contact in gone:
            self.tables.delete(CONTACTS, contact + key)
        for contact in added:
            self.put_contact(contact, aor)

    def each_bindings(self):
        return readable(decode_bindings, self.tables.each(BINDINGS))

    def sweep_bindings(self, now, limit, keep=0, gone=None):
        cdef list rows = [], found, stored, live
        cdef bytes aor
        cdef Py_ssize_t count = 0
        if self.swept:
            rows = self.tables.rows_after(BINDINGS, self.swept, limit)
        if not rows:
            self.round.begin(now)
            rows = self.tables.rows_after(BINDINGS, b"", limit)
        if rows:
            self.swept = rows[len(rows) - 1][0]
        found = list(readable(decode_bindings, values_of(rows)))
        if gone is not None:
            gone += self.round.ended(found)
        now -= keep
        found = [aor for aor, bindings in found if any([each.expires <= now for each in bindings])]
        if found:
            self.tables.for_update()        # what has been read is out of date, perhaps
        for aor in found:
            stored = list(self.bindings(aor))
            live = [binding for binding in stored if binding.expires > now]
            if len(live) < len(stored):
                count += len(stored) - len(live)
                self.put_bindings(aor, live)
        return count

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

    cpdef object watch(self, bytes callee, bytes caller):
        cdef bytes record = self.tables.get(WATCHES, pair_of(callee, caller))
        if record is None:
            return None
        watch = self.read(decode_watch, record)
        return watch if watch.callee == callee and watch.caller == caller else None

    cpdef list watches(self, bytes callee):
        cdef list found = []
        for watch in readable(decode_watch, values_of(self.tables.rows(WATCHES, key_of(callee) + b"\0"))):
            if watch.callee == callee:
                found.append(watch)
        if len(found) > 1:
            found.sort(key=by_age)
        return found

    def put_watch(self, watch):
        self.put_watch_record(watch.callee, watch.caller, encode_watch(watch))

    def claim(self, watch, claimed):
        return self.claim_record(watch.callee, watch.caller, encode_watch(watch), encode_watch(claimed))

    cpdef bytes watch_record(self, bytes callee, bytes caller):
        return self.tables.get(WATCHES, pair_of(callee, caller))

    cpdef put_watch_record(self, bytes callee, bytes caller, bytes record, bint new=True):
        self.tables.put(WATCHES, pair_of(callee, caller), record)
        if new:
            self.tables.put(CALLERS, pair_of(caller, callee), b"")

    cpdef bint claim_record(self, bytes callee, bytes caller, bytes record, bytes claimed) except -1:
        cdef bytes pair = pair_of(callee, caller)
        self.tables.for_update()
        if self.tables.get(WATCHES, pair) != record:
            return False
        self.tables.put(WATCHES, pair, claimed)
        return True

    cpdef bint delete_watch(self, bytes callee, bytes caller) except -1:
        cdef bytes pair = pair_of(callee, caller)
        if not self.tables.delete(WATCHES, pair):
            return False
        self.tables.delete(CALLERS, pair_of(caller, callee))
        self.tables.delete(ATTEMPTS, pair)
        return True

    def count_watches(self):
        return self.tables.count(WATCHES, b"")

    cpdef Py_ssize_t count_by_caller(self, bytes caller) except -1:
        return self.tables.count(CALLERS, key_of(caller) + b"\0")

    cpdef Py_ssize_t count_by_callee(self, bytes callee) except -1:
        return self.tables.count(WATCHES, key_of(callee) + b"\0")

    def each_watch(self):
        return readable(decode_watch, self.tables.each(WATCHES))

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

    cpdef abort(self):
        self.tables.abort()

    def flush(self):
        self.tables.flush()

    def close(self):
        self.tables.close()
