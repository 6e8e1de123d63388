"""What a back end is: tables of bytes, each in the order of its keys, and one batch of writes at a time.

    table     key                value
    bindings  aor                record of all bindings of an AOR
    watches   callee NUL caller  record of a watch; one callee's watches lie side by side
    callers   caller NUL callee  empty: the same pairs, by caller
    known     aor                empty, or the AOR where the key is shortened: AORs that the upstream knows
    talks     callee             record of a talk
    moves     flow aor           record of a move
    contacts  key aor            empty, or the AOR where the key is shortened: who has had a binding with a Contact
    meta      "secret"           16 random bytes, there from the beginning
              "clock"            record of the anchor (node/clock.py). A program that does not know it takes no harm
              "upgraded"         when it was brought up from an earlier format, ms since the epoch; absent where never
    attempts  callee NUL caller  record of the watch's recalls that came to nothing
    ended     number             record of a watch that is over: a ring of the last records.MOST_ENDED
    phones    "d" device         record of what a device did when it was recalled
              "a" agent          record of what phones of a User-Agent did; a name in these keys is as an AOR
    legs      Call-ID            record of a dialog that the server itself has with a phone

What is in them is the repository's business alone (repository.pyx); an AOR in a key is as keys.pyx has it.

A batch is what happens between two calls of `commit` or `abort`.

- Writes are kept together until `commit`, which makes all of them durable (against the death of the process; against a
  power cut, too, where so configured) or none and raises. After a failed commit, as after `abort`, all is as it was
  at the commit before.
- Reads see the batch's own writes. As long as the batch has none, a read sees what any process has committed by then.
- The first write, or `for_update`, shuts other writers out until the end of the batch. What is read before it may be
  out of date by the time of the write: whoever reads in order to write calls `for_update` first.
- So each batch ends in `commit` (or `abort`), even where nothing was written.
- A write that fails spoils its batch: everything but `abort` and `close` raises until `commit` has raised, too.

Where a batch takes a round trip (`at_once` is False), several are under way at a time. `apply` takes the place of `commit`.

- Before messages are handled, `fetch` is asked for the rows of those whom they are about, so that reading them waits for nothing.
- Reads see what the batches under way have written.
- A batch is made of units, a message each or a timer: the engine says by `unit` whose reads and writes follow. A unit is kept
  as a whole or not at all, and one that has read what another unit wrote is not kept where that one is not, whichever
  batch it is in. From then on reads show nothing of either. Writing a row counts as having read it.
- Each batch has one answer: it was committed; lost, all of it (StoreUnavailable); or but for some units (StoreConflict).

A new back end is a subclass, and one more entry in tests/store/test_tables.py and test_store.py.
"""

NAMES = (
    "bindings", "watches", "callers", "known", "talks", "moves", "contacts", "meta", "attempts", "ended", "phones", "legs",
)


cdef class Tables:

    def __cinit__(self, *_, **__):
        self.where = ""
        self.at_once = True

    cpdef for_update(self):
        raise NotImplementedError

    cpdef hold_snapshot(self):
        pass

    cpdef let_go(self):
        pass

    cpdef bytes get(self, int table, bytes key):
        raise NotImplementedError

    cpdef put(self, int table, bytes key, bytes value):
        raise NotImplementedError

    cpdef bint delete(self, int table, bytes key) except -1:
        raise NotImplementedError

    cpdef list rows(self, int table, bytes prefix):
        raise NotImplementedError

    cpdef list rows_after(self, int table, bytes key, Py_ssize_t limit):
        raise NotImplementedError

    def each(self, int table):
        raise NotImplementedError

    cpdef Py_ssize_t count(self, int table, bytes prefix) except -1:
        raise NotImplementedError

    cpdef Py_ssize_t size(self, int table) except -1:
        return self.count(table, b"")

    cpdef bytes last_key(self, int table):
        raise NotImplementedError

    cpdef commit(self):
        raise NotImplementedError

    cpdef bint fetch(self, set aors, object group) except -1:
        return True

    cpdef bint apply(self, object batch) except -1:
        self.commit()
        return True

    cpdef abort(self):
        raise NotImplementedError

    def flush(self):
        pass

    def close(self):
        raise NotImplementedError
