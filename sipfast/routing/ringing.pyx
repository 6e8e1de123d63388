"""INVITEs that were forwarded and may still ring, in memory that outlives the process.

What a transaction knows dies with the server, and phones that ring do not. A caller that hangs up then sends a CANCEL that
matches nothing, and only the branch of our own INVITE would stop the phone (RFC 3261 §9.2); an answer of the phone's has
that branch, and must not be believed because of it alone, since anybody may have seen it. So each branch of an INVITE is
taken down here: a hundred bytes in a file that is mapped into memory. The kernel keeps them over the death of the process,
and no call waits for a disk. What a power failure takes of it is of no more use anyway.

Workers share the memory without a lock. Each place has a keyed check over what stands in it, so one that two have written at
once, or that came from elsewhere, counts as empty. A branch may be in eight places, by its key; among those the one that
is of use for the shortest time is given up. Eight, since chance does not spread keys evenly: with four, some calls were
given up while nine places in ten were free.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ..transaction.branch cimport BRANCH_SIZE
from .._flow cimport MOST_PACKED, Flow, unpacked
from .._hash cimport fold_bytes, fold_number
from .._parser cimport Message, Via

cdef enum:
    MOST_BRANCHES = 64          # of one INVITE that are looked for
    ROOM = 1024                 # bytes of a set

cdef uint64_t NEXT = <uint64_t>0x9E3779B97F4A7C15ULL      # from the key of one branch to that of the next


# The rest of a key chooses its set; all of it is in the check.
cdef inline uint32_t mark_of(uint64_t key) noexcept:
    return <uint32_t>key


cdef inline uint32_t in_seconds(int64_t ms) noexcept:
    return <uint32_t>((ms + 999) // 1000)


@cython.final
cdef class Ringing:

    def __init__(self, uint64_t secret, memory):
        self.secret = secret
        self.memory = memory
        self.sets = 1
        while self.sets * 2 * ROOM <= self.memory.shape[0]:
            self.sets *= 2
        if sizeof(Head) + PLACES * sizeof(Entry) > ROOM or self.memory.shape[0] < ROOM:
            raise ValueError(f"{self.memory.shape[0]} bytes hold no set of {PLACES} places in {ROOM} bytes")

    cdef uint64_t key_of(self, Message message, const Via *via) noexcept:
        cdef uint64_t h = fold_bytes(self.secret, message.p + via.branch.start, via.branch.end - via.branch.start)
        h = fold_bytes(h, message.p + via.host.start, via.host.end - via.host.start)
        h = fold_bytes(h, message.p + message.call_id.start, message.call_id.end - message.call_id.start)
        return fold_number(h, <uint64_t>(via.port + 1) << 32 | message.cseq.number) | 1      # never 0

    cdef int64_t note(self, uint64_t key, int n, bytes branch, Flow flow, Flow back, int64_t until, int64_t now) except -2:
        cdef Entry *entry
        cdef Head *head
        cdef int i, best = 0
        cdef int64_t first
        cdef uint32_t mark
        if PyBytes_GET_SIZE(branch) != BRANCH_SIZE:
            return -1
        key += <uint64_t>n * NEXT
        first = self.first_of(key)
        mark = mark_of(key)
        head = self.head(first)
        for i in range(PLACES):
            if head.marks[i] == mark:
                best = i
                break
            if head.until[i] < head.until[best]:
                best = i
        entry = self.at(first + best)
        head.marks[best] = mark
        head.until[best] = in_seconds(until)
        entry.back = self.place_of(back)
        entry.size = flow.pack_into(entry.flow)
        memcpy(entry.branch, PyBytes_AS_STRING(branch), BRANCH_SIZE)
        entry.check = self.check_of(key, entry)
        return first + best

    cdef inline int64_t first_of(self, uint64_t key) noexcept:
        return <int64_t>(key >> 32 & <uint64_t>(self.sets - 1)) * PLACES

    cdef inline Head *head(self, int64_t place) noexcept:
        return <Head *>(&self.memory[place // PLACES * ROOM])

    cdef inline Entry *at(self, int64_t place) noexcept:
        return <Entry *>(&self.memory[place // PLACES * ROOM + sizeof(Head) + place % PLACES * sizeof(Entry)])

    # `received` and `rport` of the Via below ours say where a response goes, and whoever sends it could change them.
    cdef uint64_t place_of(self, Flow flow) noexcept:
        return fold_bytes(self.secret ^ flow.port, flow.ip, 16)

    cdef uint64_t check_of(self, uint64_t key, const Entry *entry) noexcept:
        cdef uint64_t h = fold_bytes(self.secret ^ key ^ entry.back, entry.flow, min(entry.size, <int>MOST_PACKED))
        return fold_bytes(h, entry.branch, BRANCH_SIZE)

    cdef void keep(self, int64_t place, uint64_t key, int n, int64_t until) noexcept:
        if place >= 0 and self.head(place).marks[place % PLACES] == mark_of(key + <uint64_t>n * NEXT):
            self.head(place).until[place % PLACES] = in_seconds(until)

    cdef int64_t find(self, uint64_t key, int64_t now) noexcept:
        cdef int i
        cdef int64_t first = self.first_of(key)
        cdef const Head *head = self.head(first)
        cdef uint32_t mark = mark_of(key)
        for i in range(PLACES):
            if (head.marks[i] == mark and head.until[i] * <int64_t>1000 > now
                    and self.at(first + i).check == self.check_of(key, self.at(first + i))):
                return first + i
        return -1

    cdef Flow way(self, Message response, const Via *below, Flow back, int64_t now):
        cdef uint64_t key = self.key_of(response, below)
        cdef Entry *entry
        cdef int64_t place
        cdef int n
        cdef bint any = False
        if response.via.branch.end - response.via.branch.start != BRANCH_SIZE:
            return None
        for n in range(MOST_BRANCHES):
            place = self.find(key + <uint64_t>n * NEXT, now)
            if place < 0:
                if not any and n >= PLACES:
                    break
                continue
            any = True
            entry = self.at(place)
            if memcmp(entry.branch, response.p + response.via.branch.start, BRANCH_SIZE) == 0:
                return unpacked(entry.flow, entry.size) if entry.back == self.place_of(back) else None
        return None

    cdef bint has(self, uint64_t key, int64_t now) noexcept:
        return self.find(key, now) >= 0

    cdef list branches(self, uint64_t key, int64_t now):
        cdef list found = []
        cdef Entry *entry
        cdef int64_t place
        cdef int n
        for n in range(MOST_BRANCHES):
            place = self.find(key + <uint64_t>n * NEXT, now)
            if place >= 0:
                entry = self.at(place)
                found.append((PyBytes_FromStringAndSize(entry.branch, BRANCH_SIZE), unpacked(entry.flow, entry.size)))
            elif not found and n >= PLACES:
                break                         # neither its first branches
        return found
