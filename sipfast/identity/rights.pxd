# Whom a callee lets watch for him. See rights.pyx.

cdef class Rights:
    cdef readonly bint watch             # whether anybody may at all
    cdef readonly frozenset watchers     # AORs, and b"@DOMAIN" for all of one; empty: anybody
    cdef readonly bint anonymous         # whether a caller who wants not to be known may
    # Why a caller, by a plain AOR, may not; None: he may.
    cdef str refusal(self, bytes caller, bint anonymous)

# An AOR as the file of users has it.
cdef bytes plain(bytes aor)
