# A hash table whose links live inside the objects that it holds. Workload: a million transactions that come and go at
# tens of thousands a second, each known by a hash that it already has. It grows by linear hashing (Litwin, 1980), one
# bucket at a time, so that no insertion ever waits for a rehash of all. Memory: one pointer a bucket, SPARSE for each link,
# which does not shrink, and 24 bytes a link. Several links may have one hash; the table does not own what it holds.

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

cdef extern from *:
    void __builtin_prefetch(const void *at) noexcept nogil

cdef enum:
    SPARSE = 4              # buckets for each link: where one is empty, no link is fetched to see that it is another's

cdef struct Link:
    uint64_t hash
    Link *next
    void *owner             # NULL while in no table

cdef struct Index:
    Link **buckets
    size_t capacity         # buckets allocated
    size_t mask             # buckets at the start of this doubling, less one
    size_t split            # the next bucket to be split in two
    size_t count


cdef inline int index_open(Index *index) except -1:
    index.capacity = 64
    index.mask = 63
    index.split = 0
    index.count = 0
    index.buckets = <Link **>calloc(index.capacity, sizeof(Link *))
    if index.buckets == NULL:
        raise MemoryError()
    return 0


cdef inline void index_close(Index *index) noexcept:
    free(index.buckets)
    index.buckets = NULL


cdef inline size_t index_size(Index *index) noexcept:
    return index.mask + 1 + index.split


cdef inline Link **index_bucket(Index *index, uint64_t hash) noexcept:
    cdef size_t at = hash & index.mask
    if at < index.split:
        at = hash & (2 * index.mask + 1)
    return &index.buckets[at]


# Has the memory of a bucket fetched: with a million links it is far away, and whoever comes soon does not wait for it then.
cdef inline void index_foresee(Index *index, uint64_t hash) noexcept:
    __builtin_prefetch(index_bucket(index, hash))


cdef inline int index_grow(Index *index) except -1:
    cdef Link **place
    cdef Link **far
    cdef Link *link
    cdef void *larger
    if index_size(index) == index.capacity:
        larger = realloc(index.buckets, 2 * index.capacity * sizeof(Link *))
        if larger == NULL:
            raise MemoryError()
        index.buckets = <Link **>larger
        memset(index.buckets + index.capacity, 0, index.capacity * sizeof(Link *))
        index.capacity *= 2
    place = &index.buckets[index.split]
    far = &index.buckets[index.split + index.mask + 1]
    while place[0] != NULL:
        link = place[0]
        if link.hash & (index.mask + 1):
            place[0] = link.next
            link.next = far[0]
            far[0] = link
        else:
            place = &link.next
    index.split += 1
    if index.split > index.mask:
        index.mask = 2 * index.mask + 1
        index.split = 0
    return 0


# Before: the link is in no table, its hash is set.
cdef inline int index_add(Index *index, Link *link, void *owner) except -1:
    cdef Link **place
    while SPARSE * index.count >= index_size(index):
        index_grow(index)
    place = index_bucket(index, link.hash)
    link.owner = owner
    link.next = place[0]
    place[0] = link
    index.count += 1
    return 0


# False where the link is not in the table.
cdef inline bint index_remove(Index *index, Link *link) noexcept:
    cdef Link **place
    if link.owner == NULL:
        return False
    place = index_bucket(index, link.hash)
    while place[0] != NULL:
        if place[0] == link:
            place[0] = link.next
            link.owner = NULL
            index.count -= 1
            return True
        place = &place[0].next
    return False


# The first link with this hash at `link` or after it in its bucket. Start with index_first, go on with link.next.
cdef inline Link *index_next(Link *link, uint64_t hash) noexcept:
    while link != NULL and link.hash != hash:
        link = link.next
    return link


cdef inline Link *index_first(Index *index, uint64_t hash) noexcept:
    return index_next(index_bucket(index, hash)[0], hash)
