"""Forwarding: a message is its original with edits.

An edit is a span of the original and the text to stand there instead, so nothing is rebuilt. They are kept in the order of
their places and apart: one that meets another becomes one with it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memmove

import cython

from ._flow cimport Flow
from ._parser cimport H_ROUTE, H_VIA, Cursor, Field, Message, Span
from ._writer cimport Patch, put, via_patches


@cython.final
cdef class Edits:

    def __cinit__(self):
        self.texts = []
        self.edits = self.few
        self.capacity = FEW_EDITS

    def __dealloc__(self):
        if self.edits != self.few:
            PyMem_Free(self.edits)

    cdef void clear(self) noexcept:
        self.count = self.used = 0      # the texts stay until others take their places: the list need not grow anew

    cdef int replace(self, int32_t start, int32_t end, bytes text) except -1:
        cdef int i = self.count
        if not 0 <= start <= end:
            raise ValueError(f"not a span: {start} to {end}")
        while i > 0 and self.edits[i - 1].start > start:
            i -= 1
        if i > 0 and self.edits[i - 1].end > start:
            i -= 1
            self.edits[i].end = max(self.edits[i].end, end)
            self.texts[self.edits[i].text] += text
        else:
            self.insert(i, start, end, text)
        while i + 1 < self.count and self.edits[i + 1].start < self.edits[i].end:
            self.join(i)
        return 0

    cdef int insert(self, int i, int32_t start, int32_t end, bytes text) except -1:
        if self.count == self.capacity:
            self.grow()
        if self.used < len(self.texts):
            self.texts[self.used] = text
        else:
            self.texts.append(text)
        memmove(self.edits + i + 1, self.edits + i, (self.count - i) * sizeof(Edit))
        self.edits[i] = Edit(start, end, self.used)
        self.count += 1
        self.used += 1
        return 0

    # An edit and the one behind it become one.
    cdef int join(self, int i) except -1:
        self.edits[i].end = max(self.edits[i].end, self.edits[i + 1].end)
        self.texts[self.edits[i].text] += self.texts[self.edits[i + 1].text]
        self.count -= 1
        memmove(self.edits + i + 1, self.edits + i + 2, (self.count - i - 1) * sizeof(Edit))
        return 0

    cdef int grow(self) except -1:
        cdef int capacity = 4 * self.capacity
        cdef Edit *more
        if self.edits == self.few:
            more = <Edit *>PyMem_Malloc(capacity * sizeof(Edit))
            if more != NULL:
                memcpy(more, self.few, sizeof(self.few))
        else:
            more = <Edit *>PyMem_Realloc(self.edits, capacity * sizeof(Edit))
        if more == NULL:
            raise MemoryError
        self.edits = more
        self.capacity = capacity
        return 0

    # ValueError for an edit that reaches beyond the message.
    cdef bytes apply(self, Message message):
        cdef int i
        cdef Py_ssize_t size = message.size
        cdef int32_t position = 0
        if self.count and self.edits[self.count - 1].end > message.size:
            raise ValueError("an edit beyond the message")
        for i in range(self.count):
            size += len(<bytes>self.texts[self.edits[i].text]) - (self.edits[i].end - self.edits[i].start)
        cdef bytes text, made = PyBytes_FromStringAndSize(NULL, size)
        cdef char *to = PyBytes_AS_STRING(made)
        for i in range(self.count):
            to = put(to, message.p + position, self.edits[i].start - position)
            text = <bytes>self.texts[self.edits[i].text]
            to = put(to, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            position = self.edits[i].end
        put(to, message.p + position, message.size - position)
        return made


cdef int note_received(Edits edits, Message request, Flow flow) except -1:
    cdef Patch patches[2]
    cdef int i
    for i in range(via_patches(request, flow, patches)):
        edits.replace(patches[i].start, patches[i].end, patches[i].text[:patches[i].size])
    return 0


cdef int drop_top_via(Edits edits, Message response) except -1:
    return keep_values(edits, response, H_VIA, 1, ALL_VALUES)


cdef int keep_values(Edits edits, Message message, int header, int first, int after) except -1:
    cdef int field = message.first[header], number = 0, kept, passed
    cdef Cursor cursor
    cdef Span value, keep
    cdef const Field *line
    while field != -1 and (number < first or after != ALL_VALUES):
        line = &message.fields[field]
        cursor.field = field
        cursor.position = 0
        kept = passed = 0
        keep = line.value
        # The cursor leaves the field with its last value, and passes over an empty one, which stays as it is.
        while cursor.field == field and message.next_value(&cursor, &value) and value.start < line.line_end:
            if first <= number + passed < after:
                if kept == 0:
                    keep.start = value.start if passed else line.value.start
                kept += 1
                keep.end = value.end
            passed += 1
        number += passed
        if passed and not kept:
            edits.replace(line.line, line.line_end, b"")
        elif passed:
            if keep.start > line.value.start:
                edits.replace(line.value.start, keep.start, b"")
            if number > after:
                edits.replace(keep.end, line.value.end, b"")
        field = line.next
    return 0


# ---- the face for Python

def edited(Message message not None, edits):
    cdef Edits made = Edits()
    for start, end, text in edits:
        made.replace(start, end, text)
    return made.apply(message)


def with_received(Message request not None, Flow flow not None):
    cdef Edits edits = Edits()
    note_received(edits, request, flow)
    return edits.apply(request)


def without_top_via(Message response not None):
    cdef Edits edits = Edits()
    drop_top_via(edits, response)
    return edits.apply(response)


def without_first_route(Message message not None):
    cdef Edits edits = Edits()
    keep_values(edits, message, H_ROUTE, 1, ALL_VALUES)
    return edits.apply(message)
