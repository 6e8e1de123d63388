"""The branch parameter of our own Vias (RFC 3261 §8.1.1.7).

A branch is 47 bytes::

    z9hG4bKsf ww ssssss nnnnnnnnnnnnnn cccccccc llllllll
              |  |      |              |        loop value of RFC 3261 §16.6 step 8
              |  |      |              check: 32 bits of a keyed hash over all the others
              |  |      serial: in the place of a generation, never the same twice
              |  slot in the worker's array of client transactions
              worker

so a response finds its transaction by an array index, and nobody who has not seen a branch can make one that passes.
All numbers are lower-case hexadecimal.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from .._hash cimport Hash, Secret, end_hash64, mix_number, start_hash

cdef const char *PREFIX = b"z9hG4bKsf"
cdef const char *DIGITS = b"0123456789abcdef"

cdef unsigned char[256] VALUES      # of the digits; 255 for anything else
memset(VALUES, 255, 256)
for _i in range(16):
    VALUES[<unsigned char>DIGITS[_i]] = _i

cdef enum:
    PURPOSE_BRANCH = 0x62726e63
    NO_SLOT = 0xffffffff
    FIRST_SLOTS = 64


# ---- hexadecimal

cdef char *write_hex(char *out, uint64_t number, int digits) noexcept:
    cdef int i
    for i in range(digits - 1, -1, -1):
        out[i] = DIGITS[number & 15]
        number >>= 4
    return out + digits


cdef uint64_t read_hex(const unsigned char *p, int digits, bint *good) noexcept:
    cdef uint64_t number = 0
    cdef unsigned char value, seen = 0
    cdef int i
    for i in range(digits):
        value = VALUES[p[i]]
        seen |= value
        number = number << 4 | value
    if seen > 15:
        good[0] = False
    return number


# ---- branches

cdef uint32_t check_of(const Secret *secret, const Locator *locator) noexcept:
    cdef Hash h
    start_hash(&h, secret, PURPOSE_BRANCH)
    mix_number(&h, <uint64_t>locator.worker << 32 | locator.slot)
    mix_number(&h, locator.serial)
    mix_number(&h, locator.loop)
    return <uint32_t>end_hash64(&h)


cdef bytes encode_branch(const Secret *secret, Locator *locator):
    cdef bytes out = PyBytes_FromStringAndSize(NULL, BRANCH_SIZE)
    cdef char *p = PyBytes_AS_STRING(out)
    locator.check = check_of(secret, locator)
    memcpy(p, PREFIX, WORKER_AT)
    write_hex(p + WORKER_AT, locator.worker, WORKER_SIZE)
    write_hex(p + SLOT_AT, locator.slot, SLOT_SIZE)
    write_hex(p + SERIAL_AT, locator.serial, SERIAL_SIZE)
    write_hex(p + CHECK_AT, locator.check, CHECK_SIZE)
    write_hex(p + LOOP_AT, locator.loop, LOOP_SIZE)
    return out


cdef bint read_branch(const unsigned char *p, Py_ssize_t size, Locator *locator) noexcept:
    cdef bint good = True
    if size != BRANCH_SIZE or memcmp(p, PREFIX, WORKER_AT) != 0:
        return False
    locator.worker = <uint32_t>read_hex(p + WORKER_AT, WORKER_SIZE, &good)
    locator.slot = <uint32_t>read_hex(p + SLOT_AT, SLOT_SIZE, &good)
    locator.serial = read_hex(p + SERIAL_AT, SERIAL_SIZE, &good)
    locator.check = <uint32_t>read_hex(p + CHECK_AT, CHECK_SIZE, &good)
    locator.loop = <uint32_t>read_hex(p + LOOP_AT, LOOP_SIZE, &good)
    return good


cdef bint decode_branch(const Secret *secret, const unsigned char *p, Py_ssize_t size, Locator *locator) noexcept:
    return read_branch(p, size, locator) and check_of(secret, locator) == locator.check


# ---- the slots that branches point at

@cython.final
cdef class Slots:

    def __dealloc__(self):
        free(self.slots)

    cdef bytes reserve(self, uint32_t loop):
        cdef Locator locator
        cdef Slot *slot
        cdef bytes branch
        if self.first_free == NO_SLOT:
            self.add_slot()
        self.serial += 1
        self.used += 1
        locator.worker = self.worker
        locator.slot = self.first_free
        locator.serial = self.serial & <uint64_t>0xffffffffffffff
        locator.loop = loop
        branch = encode_branch(&self.secret, &locator)
        slot = &self.slots[locator.slot]
        self.first_free = slot.loop
        slot.serial = locator.serial
        slot.check = locator.check
        slot.loop = loop
        return branch

    cdef bint reserve_again(self, bytes branch) except -1:
        cdef Locator at
        cdef uint32_t *place = &self.first_free
        cdef Slot *slot
        if not decode_branch(&self.secret, <const unsigned char *>PyBytes_AS_STRING(branch), PyBytes_GET_SIZE(branch), &at) or (
                at.worker != self.worker or at.slot >= NO_TRANSACTION):
            return False
        while self.count <= at.slot:
            self.add_slot()
        while place[0] != at.slot and place[0] != NO_SLOT:
            place = &self.slots[place[0]].loop
        if place[0] == NO_SLOT:
            return False
        slot = &self.slots[at.slot]
        place[0] = slot.loop
        slot.serial = at.serial
        slot.check = at.check
        slot.loop = at.loop
        self.used += 1
        return True

    cdef Slot *locate(self, const unsigned char *p, Py_ssize_t size) noexcept:
        # The check that is remembered need not be computed again: equal in all its parts, the branch is the same.
        cdef Locator at
        cdef Slot *slot
        if not read_branch(p, size, &at) or at.worker != self.worker or at.slot >= self.count:
            return NULL
        slot = &self.slots[at.slot]
        if slot.serial == 0 or slot.serial != at.serial or slot.check != at.check or slot.loop != at.loop:
            return NULL
        return slot

    cdef Slot *reserved(self, bytes branch) noexcept:
        cdef Slot *slot = self.locate(<const unsigned char *>PyBytes_AS_STRING(branch), PyBytes_GET_SIZE(branch))
        if slot == NULL or slot.transaction != NULL or slot.cancel != NULL:
            return NULL
        return slot

    cdef void release(self, Slot *slot) noexcept:
        slot.serial = 0
        self.used -= 1
        slot.loop = self.first_free
        self.first_free = self.index_of(slot)

    cdef uint32_t index_of(self, Slot *slot) noexcept:
        return <uint32_t>(slot - self.slots)

    # One more that is free, which the next one takes.
    cdef int add_slot(self) except -1:
        cdef uint32_t more
        cdef Slot *larger
        if self.count == NO_TRANSACTION:
            raise MemoryError("16 million client transactions at a time")
        if self.count == self.capacity:
            more = self.capacity * 2 if self.capacity else FIRST_SLOTS
            larger = <Slot *>realloc(self.slots, more * sizeof(Slot))
            if larger == NULL:
                raise MemoryError()
            self.slots = larger
            self.capacity = more
        self.slots[self.count] = Slot(NULL, NULL, 0, 0, self.first_free)
        self.first_free = self.count
        self.count += 1
        return 0


cdef Slots make_slots(Secret secret, uint32_t worker, uint64_t now):
    cdef Slots slots = Slots.__new__(Slots)
    slots.secret = secret
    slots.worker = worker
    slots.first_free = NO_SLOT
    # Ahead of every serial of an earlier process, as long as that made less than a thousand branches a ms.
    slots.serial = now << 10
    return slots
