"""What the server says who it is with, when a phone or an upstream asks: the configuration has it, and no store.

A call to the callee is in the caller's name, and not to the caller's phone: what is for a make of phone is not for that.
"""

from ..dialog.leg cimport Keyring, Leg
from .ladder cimport Ladder


cdef class Keys(Keyring):
    """Asks the order of recall methods, which knows users and makes of phones."""

    cdef tuple credentials_of(self, Leg leg):
        return self.ladder.order.credentials_of(leg.caller, leg.agent)


cdef Keys make_keys(Ladder ladder):
    cdef Keys keys = Keys.__new__(Keys)
    keys.ladder = ladder
    return keys
