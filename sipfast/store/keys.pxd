# AORs as keys. See keys.pyx.

from .._uri cimport Uri
from .codec cimport Piece

# What becomes a key or stands in a record is as large as whoever sends it likes, and is kept for long: up to here it is.
cdef enum:
    MOST_AOR = 512              # bytes of user and host, as they came
    MOST_NAMES = 2048           # of a dialog's names, its Call-ID and both tags together

# Whether a URI may be somebody's AOR.
cdef inline bint is_keepable(const Uri *uri) noexcept:
    return uri.user.end - uri.user.start + uri.host.end - uri.host.start <= MOST_AOR

cpdef bytes key_of(bytes aor)
cpdef bytes pair_of(bytes first, bytes second)
# The same of AORs that stand in a record.
cdef bytes pair_at(Piece first, Piece second)
