"""Where the phone of a caller is: the device that placed the call, under whatever Contact it has registered since."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredWatch, bytes_of, piece_in, same_piece


cdef bint is_of(const Entry *device, bytes contact, bytes instance) noexcept:
    return (PyBytes_GET_SIZE(instance) > 0 and same_piece(device.instance, instance)) or same_piece(device.contact, contact)


cdef object device_of(Location location, bytes aor, bytes contact, bytes instance, int64_t since, Entry *device, int64_t now):
    cdef bytes record = location.only(aor, device, now)
    cdef list bindings
    if record is not None:
        return record if device.updated >= since or is_of(device, contact, instance) else None
    bindings = location.lookup(aor, now)
    found = None
    for binding in bindings:
        if found is None and binding.contact == contact:
            found = binding
        if instance and binding.instance == instance:
            found = binding
            break
    if found is None and len(bindings) == 1 and bindings[0].updated >= since:
        found = bindings[0]
    if found is not None:
        device.contact, device.path = piece_in(found.contact), piece_in(found.path)
        device.flow, device.instance = piece_in(found.flow), piece_in(found.instance)
        device.call_id = piece_in(found.call_id)
    return found


cdef object phone_of(Location location, StoredWatch watch, Entry *device, int64_t now):
    kept = device_of(location, bytes_of(watch.at.caller), bytes_of(watch.at.contact), bytes_of(watch.at.instance),
                     watch.at.armed_at, device, now)
    if kept is None:
        device.contact, device.path, device.flow = watch.at.contact, watch.at.path, watch.at.flow
    return kept
