# Which URIs are equal (RFC 3261 §19.1.4).

from libc.stdint cimport int32_t, uint64_t

from ._grammar cimport Span
from ._uri cimport Uri

# Beyond so many parameters or headers two URIs are equal only byte by byte.
cdef enum:
    LIMIT = 64

# A parameter or header, by keyed hashes of its name and value.
cdef struct Pair:
    uint64_t name
    uint64_t value          # 0 where it has none
    Span name_at
    Span value_at
    bint matters            # it has to be in both

# What of a URI decides about equality, read once: to compare two takes as many steps as they have parameters.
cdef struct Likeness:
    uint64_t core           # of all but parameters and headers
    int count               # of parameters; -1 where there are more than LIMIT, or as many headers
    int headers             # they stand behind the parameters
    Pair pairs[2 * LIMIT]

cdef void liken(const unsigned char *p, const Uri *uri, Likeness *likeness) noexcept
# Whether they may be equal: they are not where it is False, and uris_equal says whether they are where it is True.
cdef bint alike(const Likeness *a, const Likeness *b) noexcept
cdef bint uris_equal(const unsigned char *p, const Uri *a, const unsigned char *q, const Uri *b) noexcept
