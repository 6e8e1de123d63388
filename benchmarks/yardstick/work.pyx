"""A fixed piece of work that the gate times everything else against (`ci/bench_gate.py`).

**It must never change with the server, and nobody makes it faster or slower.** It uses nothing of sipfast, no Python
object and no allocator, and is compiled with flags of its own (`benchmarks/build.py`). Changing one line of it makes every
baseline void: `benchmarks/results/gate.json` has to be made anew, from the commit before the change.

What it does is a mix of what a SIP server's work is made of: a message is copied, its bytes are looked at one by one and
branched upon, names are hashed, and what the hash finds is reached by pointers that lie all over a table larger than the
first cache.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    TEXT = 4096      # as much as some messages
    MESSAGE = 512    # copied and scanned at a time
    NODES = 2048     # 128 KB of them
    STEPS = 12       # from node to node, each message

cdef struct Node:
    Node *following
    uint64_t seen
    uint64_t padding[6]

cdef uint8_t text[TEXT + MESSAGE]
cdef uint8_t copy[MESSAGE]
cdef Node nodes[NODES]


cdef uint32_t chance(uint32_t *state) noexcept nogil:
    """A linear congruential generator: the same on every machine."""
    state[0] = state[0] * 1664525u + 1013904223u
    return state[0] >> 8


cdef void make_ready() noexcept nogil:
    """Lines like header fields, and one ring through all nodes in no order (Sattolo)."""
    cdef uint32_t state = 3261
    cdef uint32_t i, j
    cdef uint32_t order[NODES]
    cdef uint32_t left = 0
    for i in range(TEXT + MESSAGE):
        if left == 0:
            left = 8 + chance(&state) % 56
            text[i] = c'\n'
        elif left % 11 == 5:
            text[i] = c':'
        elif chance(&state) % 7 == 0:
            text[i] = c' '
        else:
            text[i] = c'A' + chance(&state) % 58
        left -= 1
    for i in range(NODES):
        order[i] = i
        nodes[i].seen = 0
    i = NODES - 1
    while i:
        j = chance(&state) % i
        order[i], order[j] = order[j], order[i]
        i -= 1
    for i in range(NODES):
        nodes[order[i]].following = &nodes[order[(i + 1) % NODES]]


cdef uint64_t one_message(uint64_t number) noexcept nogil:
    """Copy, scan, hash, and follow: what it has found."""
    cdef const uint8_t *source = text + (number * 61) % TEXT
    cdef uint64_t hashed = 14695981039346656037u
    cdef uint64_t fields = 0
    cdef Node *node
    cdef uint8_t byte
    cdef int i, _i
    cdef bint in_name = False
    memcpy(copy, source, MESSAGE)
    for i in range(MESSAGE):
        byte = copy[i]
        if byte == c'\n':
            in_name = True
            fields += 1
        elif byte == c':':
            in_name = False
        elif in_name and byte != c' ':
            hashed = (hashed ^ (byte | 0x20)) * 1099511628211u
    node = &nodes[hashed % NODES]
    for _i in range(STEPS):
        node.seen += hashed & 1
        hashed = (hashed ^ node.seen) * 1099511628211u
        node = node.following
    return hashed ^ fields


def work(int messages):
    """So many messages, from the same beginning each time. Returns a sum that is the same for ever."""
    cdef uint64_t total = 0
    cdef int i
    with nogil:
        for i in range(NODES):
            nodes[i].seen = 0
        for i in range(messages):
            total += one_message(i)
    return total


make_ready()
