# Where the phone of a caller is. See device.pyx.

from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch

# The binding of an AOR that is of this instance, else of this Contact, else of this registration (a Call-ID), read into `device`;
# what is returned keeps its pieces. None where it has none.
cdef object device_of(Location location, bytes aor, bytes contact, bytes instance, bytes registration, Entry *device, int64_t now)
# Where the phone of a watch's caller is: its binding; with `others` else the newest of the caller's that is not of a Contact in
# `tried` (None: none is); where the caller had no binding, where the INVITE came from. `device` points into what is returned, or
# into the watch. Without a Contact it is nowhere now.
cdef object phone_of(Location location, StoredWatch watch, bint others, set tried, Entry *device, int64_t now)
