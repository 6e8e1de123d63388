# The branch parameter of our own Vias, and the array of client transactions that it points into. See branch.pyx.

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from .._hash cimport Secret

cdef enum:
    BRANCH_SIZE = 47
    # where its parts are, and how many digits they have
    WORKER_AT = 9
    WORKER_SIZE = 2
    SLOT_AT = 11
    SLOT_SIZE = 6
    SERIAL_AT = 17
    SERIAL_SIZE = 14
    CHECK_AT = 31
    CHECK_SIZE = 8
    LOOP_AT = 39
    LOOP_SIZE = 8
    NO_TRANSACTION = 0xffffff       # the slot in a branch of a request that is sent without one

# What a branch says: which transaction it is (worker, slot, serial) and the loop value of RFC 3261 §16.6 step 8.
cdef struct Locator:
    uint32_t worker         # 0 to 255
    uint32_t slot           # below 2**24
    uint64_t serial         # below 2**56; never the same twice in a worker's life, nor after its restart
    uint32_t loop
    uint32_t check          # over the four above

cdef bytes encode_branch(const Secret *secret, Locator *locator)          # fills in locator.check
# 1 for a branch that was made with this secret, else 0.
cdef bint decode_branch(const Secret *secret, const unsigned char *p, Py_ssize_t size, Locator *locator) noexcept
# The same without the check: for who compares it with one that is remembered.
cdef bint read_branch(const unsigned char *p, Py_ssize_t size, Locator *locator) noexcept

# Hexadecimal, lower-case: where the next is written; the number read, with good[0] = False for another character.
cdef char *write_hex(char *out, uint64_t number, int digits) noexcept
cdef uint64_t read_hex(const unsigned char *p, int digits, bint *good) noexcept

# A place for a client transaction and for the CANCEL that shares its branch (RFC 3261 §9.1). The layer counts the
# references.
cdef struct Slot:
    void *transaction       # or NULL
    void *cancel
    uint64_t serial         # 0: free
    uint32_t check
    uint32_t loop           # the next free slot where this one is free


@cython.final
cdef class Slots:
    cdef Secret secret
    cdef uint32_t worker
    cdef uint32_t count     # ever used: those from here on are untouched memory
    cdef uint32_t capacity
    cdef uint32_t first_free
    cdef uint32_t used      # now
    cdef uint64_t serial
    cdef Slot *slots        # moves when it grows: keep the index, not the pointer
    cdef bytes reserve(self, uint32_t loop)
    # The slot of a branch that an earlier process has made; False where it is another's, or taken.
    cdef bint reserve_again(self, bytes branch) except -1
    cdef Slot *locate(self, const unsigned char *p, Py_ssize_t size) noexcept      # NULL where the branch has no slot
    cdef Slot *reserved(self, bytes branch) noexcept       # the same, and nothing is in it yet
    cdef void release(self, Slot *slot) noexcept
    cdef uint32_t index_of(self, Slot *slot) noexcept
    cdef int add_slot(self) except -1

cdef Slots make_slots(Secret secret, uint32_t worker, uint64_t now)
