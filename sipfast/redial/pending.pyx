"""What of redial waits for a commit: what was written, promised and claimed, and what others are to be told.

The batch carries it (engine/batch.pyx). What is being decided is in one of these, which all of redial writes into, for good
where the store commits at once. Where it answers later, each batch that was handed to it takes its own along.
"""

import cython


@cython.final
cdef class Pending:

    def __cinit__(self):
        self.touched = {}
        self.talked = {}
        self.promised = {}
        self.acknowledged = []
        self.claims = []
        self.notices = []
        self.units = {}

    cdef int touch(self, tuple pair, object watch) except -1:
        self.touched[pair] = watch
        if self.unit:
            self.units[pair] = self.unit
        return 0

    cdef int note_talk(self, bytes callee, object talk) except -1:
        self.talked[callee] = talk
        if self.unit:
            self.units[callee] = self.unit
        return 0

    cdef int promise(self, tuple pair) except -1:
        self.promised[pair] = self.unit
        return 0

    cdef int acknowledge(self, object offer) except -1:
        self.acknowledged.append((offer, self.unit))
        return 0

    cdef int claim(self, object recall) except -1:
        self.claims.append((recall, self.unit))
        return 0

    cdef Pending sealed(self):
        cdef Pending batch
        if not (self.touched or self.talked or self.claims or self.notices or self.acknowledged):
            return None
        batch = Pending.__new__(Pending)
        batch.touched, self.touched = self.touched, batch.touched
        batch.talked, self.talked = self.talked, batch.talked
        batch.promised, self.promised = self.promised, batch.promised
        batch.acknowledged, self.acknowledged = self.acknowledged, batch.acknowledged
        batch.claims, self.claims = self.claims, batch.claims
        batch.notices, self.notices = self.notices, batch.notices
        batch.units, self.units = self.units, batch.units
        return batch

    cdef bint is_lost(self, object key, object units) except -1:
        return units is None or self.units.get(key) in units
