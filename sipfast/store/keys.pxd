# AORs as keys. See keys.pyx.

cpdef bytes key_of(bytes aor)
cpdef bytes pair_of(bytes first, bytes second)
