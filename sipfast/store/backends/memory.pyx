"""The reference back end: dictionaries with their keys in order, and a journal of what each write replaced.

Nothing outlives the process; there is one writer and it never fails.
"""

import os
from bisect import bisect_left, bisect_right, insort

from ..tables cimport META, Tables

from ..tables import NAMES


cdef class MemoryTables(Tables):

    def __cinit__(self):
        self.tables = [{} for _ in NAMES]       # key -> value
        self.orders = [[] for _ in NAMES]       # the same keys, sorted
        self.journal = []                       # (table, key, what it had before or None) of the batch

    def __init__(self, randomness=os.urandom):
        (<dict>self.tables[META])[b"secret"] = randomness(16)
        (<list>self.orders[META]).append(b"secret")

    cpdef for_update(self):
        pass

    cpdef bytes get(self, int table, bytes key):
        return (<dict>self.tables[table]).get(key)

    cpdef put(self, int table, bytes key, bytes value):
        self.journal.append((table, key, (<dict>self.tables[table]).get(key)))
        self.change(table, key, value)
        self.writes += 1

    cpdef bint delete(self, int table, bytes key) except -1:
        cdef bytes former = (<dict>self.tables[table]).get(key)
        if former is None:
            return False
        self.journal.append((table, key, former))
        self.change(table, key, None)
        self.writes += 1
        return True

    cpdef list rows(self, int table, bytes prefix):
        cdef dict rows = self.tables[table]
        cdef list order = self.orders[table], found = []
        cdef Py_ssize_t i
        for i in range(<Py_ssize_t>bisect_left(order, prefix), len(order)):
            if not (<bytes>order[i]).startswith(prefix):
                break
            found.append((order[i], rows[order[i]]))
        return found

    cpdef list rows_after(self, int table, bytes key, Py_ssize_t limit):
        cdef dict rows = self.tables[table]
        cdef list order = self.orders[table]
        cdef Py_ssize_t start = bisect_right(order, key)
        return [(each, rows[each]) for each in order[start : start + limit]]

    def each(self, int table):
        cdef dict rows = self.tables[table]
        return iter([rows[key] for key in self.orders[table]])

    cpdef Py_ssize_t count(self, int table, bytes prefix) except -1:
        return len(self.rows(table, prefix)) if prefix else len(<dict>self.tables[table])

    cpdef Py_ssize_t size(self, int table) except -1:
        return len(<dict>self.tables[table])

    cpdef bytes last_key(self, int table):
        cdef list order = self.orders[table]
        return order[len(order) - 1] if order else None

    cpdef commit(self):
        self.journal.clear()

    cpdef abort(self):
        while self.journal:
            table, key, former = self.journal.pop()
            self.change(table, key, former)

    def close(self):
        self.abort()

    # None: the row goes.
    cdef int change(self, int table, bytes key, bytes value) except -1:
        cdef dict rows = self.tables[table]
        cdef list order = self.orders[table]
        if value is None:
            del rows[key]
            del order[bisect_left(order, key)]
            return 0
        if key not in rows:
            insort(order, key)
        rows[key] = value
        return 0
