# The branch parameter of our own Vias, the keyed hash (SipHash-2-4) that it is checked by, and the array of client
# transactions that it points into. See _branch.pyx.

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    BRANCH_SIZE = 47
    NO_TRANSACTION = 0xffffff       # the slot in a branch of a request that is sent without one

cdef struct Secret:
    uint64_t low
    uint64_t high

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

# Keyed hash over several pieces: start_hash, mix functions in a fixed order, end_hash (128 bits) or end_hash64.
# Pieces of varying length go in with their lengths, so that moving a byte from one to the next gives another hash.
cdef struct Hash:
    uint64_t v0, v1, v2, v3

cdef void start_hash(Hash *h, const Secret *secret, uint64_t purpose) noexcept
cdef void mix_number(Hash *h, uint64_t number) noexcept
cdef void mix_bytes(Hash *h, const unsigned char *p, Py_ssize_t size) noexcept
cdef void mix_token(Hash *h, const unsigned char *p, Py_ssize_t size) noexcept     # without regard to ASCII case
cdef uint64_t end_hash64(Hash *h) noexcept
cdef void end_hash(Hash *h, uint64_t *low, uint64_t *high) noexcept
cdef bytes hex16(uint64_t number)
# Hexadecimal, lower-case: where the next is written; the number read, with good[0] = False for another character.
cdef char *write_hex(char *out, uint64_t number, int digits) noexcept
cdef uint64_t read_hex(const unsigned char *p, int digits, bint *good) noexcept

# A hash in a few instructions, from any secret number on: against accidents, and against who cannot see what comes of it.
cdef inline uint64_t fold_number(uint64_t h, uint64_t number) noexcept:
    # Multiplying carries a bit upwards only, so the upper half comes down each time.
    h = (h ^ number) * <uint64_t>0x9E3779B97F4A7C15ULL
    return h ^ (h >> 32)

# A multiplication waits for the one before: eight bytes each.
cdef inline uint64_t fold_bytes(uint64_t h, const void *text, Py_ssize_t size) noexcept:
    cdef const unsigned char *p = <const unsigned char *>text
    cdef uint64_t word
    h = fold_number(h, size)
    while size >= 8:
        memcpy(&word, p, 8)
        h = fold_number(h, word)
        p += 8
        size -= 8
    word = 0
    while size:
        size -= 1
        word = word << 8 | p[size]
    return fold_number(h, word)

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
    cdef Slot *locate(self, const unsigned char *p, Py_ssize_t size) noexcept      # NULL where the branch has no slot
    cdef Slot *reserved(self, bytes branch) noexcept       # the same, and nothing is in it yet
    cdef void release(self, Slot *slot) noexcept
    cdef uint32_t index_of(self, Slot *slot) noexcept
    cdef int add_slot(self) except -1

cdef Slots make_slots(Secret secret, uint32_t worker, uint64_t now)
