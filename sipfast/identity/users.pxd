# Users and what they are: the interface, and users in memory. See users.pyx.

cdef class User:
    cdef readonly bytes name             # as digest has it
    cdef readonly bytes realm
    cdef readonly bytes md5              # H(A1) as 32 and as 64 hex digits, lower-case; b"": not known
    cdef readonly bytes sha256
    cdef readonly tuple aors             # that it acts for, canonical; the first is its own
    cdef bint owns(self, bytes aor) except -1

cdef class Users:
    cdef readonly Py_ssize_t count
    # Somebody in a realm; None: nobody. At once: a source that has to wait for an answer brings near what it needs before.
    cdef User find(self, bytes realm, bytes name)
    # Which algorithms all users of a realm have, as bits 1 << Algorithm; of a realm without users, all.
    cdef int algorithms(self, bytes realm) except -1
    # Why somebody may not watch for a callee, both by canonical AORs; None: he may.
    cdef str refusal(self, bytes callee, bytes caller, bint anonymous)
    # Whether it matters to a callee that a caller wants not to be known.
    cdef bint refuses_anonymous(self, bytes callee) except -1

cdef class UserTable(Users):
    cdef dict realms                     # name -> Realm
    cdef dict rights                     # AOR -> tuple of Rights, of each who acts for it; those who restrict nothing have none

cdef class Realm:
    cdef dict users                      # name -> User
    cdef int algorithms
