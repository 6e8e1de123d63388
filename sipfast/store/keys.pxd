# AORs as keys. See keys.pyx.

from .codec cimport Piece

cpdef bytes key_of(bytes aor)
cpdef bytes pair_of(bytes first, bytes second)
# The same of AORs that stand in a record.
cdef bytes pair_at(Piece first, Piece second)
