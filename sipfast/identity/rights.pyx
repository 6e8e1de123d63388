"""Whom a callee lets watch for him (3GPP TS 22.173): nobody, some, and whether those who do not say who they are.

Users may restrict it; of all others nothing is kept, and anybody may watch for them.
"""

import cython


@cython.final
@cython.no_gc
cdef class Rights:

    def __init__(self, bint watch=True, watchers=(), bint anonymous=True):
        self.watch = watch
        self.watchers = frozenset(watchers)
        self.anonymous = anonymous

    cdef str refusal(self, bytes caller, bint anonymous):
        if not self.watch:
            return "its callee lets nobody watch"
        if anonymous and not self.anonymous:
            return "its callee lets no anonymous caller watch"
        if self.watchers and caller not in self.watchers and b"@" + caller.rpartition(b"@")[2] not in self.watchers:
            return "its caller is not one of those whom its callee lets watch"
        return None


# RFC 3261 §19.1: sips is how to get there, not who it is.
cdef bytes plain(bytes aor):
    return b"sip:" + aor[5:] if aor.startswith(b"sips:") else aor
