# Where the phone of a caller is. See device.pyx.

from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch

# The binding of an AOR that is of this Contact or instance, read into `device`; what is returned keeps its pieces. Its only
# binding is that phone, too, under a new Contact, if it was made since `since` (ms). None where it has none.
cdef object device_of(Location location, bytes aor, bytes contact, bytes instance, int64_t since, Entry *device, int64_t now)
# Where the phone of a watch's caller is: its binding, else where the INVITE came from. `device` points into what is returned,
# or into the watch.
cdef object phone_of(Location location, StoredWatch watch, Entry *device, int64_t now)
