"""Users: who has a password, for which AORs he acts, and whom he lets watch for them.

`Users` is the interface: whatever knows users is a subclass of it, and is asked for one by realm and name. `UserTable` has
them in memory. A password is known by H(A1) alone (RFC 7616 §3.4.2): the hash of name, realm and password.
"""

import cython

from .credentials cimport ALGORITHM_MD5, ALGORITHM_SHA256
from .rights cimport Rights, plain

cdef enum:
    HAS_MD5 = 1 << ALGORITHM_MD5
    HAS_SHA256 = 1 << ALGORITHM_SHA256


@cython.final
@cython.no_gc
cdef class User:

    def __init__(self, bytes name not None, bytes realm not None, bytes md5 not None, bytes sha256 not None, tuple aors not None):
        self.name = name
        self.realm = realm
        self.md5 = md5
        self.sha256 = sha256
        self.aors = aors

    cdef bint owns(self, bytes aor) except -1:
        # RFC 3261 §19.1: sips is how to get there, not who it is.
        return aor in self.aors or (aor.startswith(b"sips:") and b"sip:" + aor[5:] in self.aors)


cdef class Users:

    cdef User find(self, bytes realm, bytes name):
        return None

    cdef int algorithms(self, bytes realm) except -1:
        return HAS_MD5 | HAS_SHA256

    cdef str refusal(self, bytes callee, bytes caller, bint anonymous):
        return None

    cdef bint refuses_anonymous(self, bytes callee) except -1:
        return False

    def get(self, bytes realm not None, bytes name not None):
        return self.find(realm, name)


@cython.final
cdef class Realm:

    def __init__(self):
        self.users = {}
        self.algorithms = HAS_MD5 | HAS_SHA256


@cython.final
cdef class UserTable(Users):

    def __init__(self):
        self.realms = {}
        self.rights = {}

    cdef User find(self, bytes realm, bytes name):
        cdef Realm found = self.realms.get(realm)
        return None if found is None else found.users.get(name)

    cdef int algorithms(self, bytes realm) except -1:
        cdef Realm found = self.realms.get(realm)
        return HAS_MD5 | HAS_SHA256 if found is None else found.algorithms

    cdef str refusal(self, bytes callee, bytes caller, bint anonymous):
        cdef Rights rights
        cdef str why
        if not self.rights:
            return None
        for rights in self.rights.get(plain(callee), ()):
            why = rights.refusal(plain(caller), anonymous)
            if why is not None:
                return why
        return None

    cdef bint refuses_anonymous(self, bytes callee) except -1:
        cdef Rights rights
        if self.rights:
            for rights in self.rights.get(plain(callee), ()):
                if not rights.anonymous:
                    return True
        return False

    def add(self, User user not None):
        cdef Realm realm = self.realms.get(user.realm)
        if realm is None:
            realm = self.realms[user.realm] = Realm()
        if user.name in realm.users:
            raise ValueError("there is one of this name")
        realm.users[user.name] = user
        if not user.md5:
            realm.algorithms &= ~<int>HAS_MD5
        if not user.sha256:
            realm.algorithms &= ~<int>HAS_SHA256
        self.count += 1

    def restrict(self, tuple aors not None, Rights rights not None):
        for aor in aors:
            self.rights[aor] = (*self.rights.get(aor, ()), rights)

    def refused(self, bytes callee not None, bytes caller not None, bint anonymous=False):
        return self.refusal(callee, caller, anonymous)

    def offered(self, bytes realm not None):
        cdef int algorithms = self.algorithms(realm)
        return frozenset(name for name, bit in (("MD5", HAS_MD5), ("SHA-256", HAS_SHA256)) if algorithms & <int>bit)
