"""Where the phone of a caller is: the device that placed the call, under whatever Contact it has registered since.

A device is known by its +sip.instance (RFC 5626 §4.1), else by its Contact, else by the Call-ID of its registration (RFC 3261
§10.2). Who has registered since, and is none of these, is another device.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..routing.location cimport Location
from ..store.codec cimport Entry, StoredBindings, StoredWatch, bytes_of, piece_in, same_piece

cdef bytes nothing = b""


cdef bint is_of(const Entry *device, bytes contact, bytes instance, bytes registration) noexcept:
    return (PyBytes_GET_SIZE(instance) > 0 and same_piece(device.instance, instance)
            or same_piece(device.contact, contact)
            or PyBytes_GET_SIZE(registration) > 0 and same_piece(device.call_id, registration))


cdef int read_binding(object binding, Entry *device) except -1:
    device.contact, device.path = piece_in(binding.contact), piece_in(binding.path)
    device.flow, device.instance = piece_in(binding.flow), piece_in(binding.instance)
    device.call_id = piece_in(binding.call_id)


cdef object device_of(Location location, bytes aor, bytes contact, bytes instance, bytes registration, Entry *device,
                      int64_t now):
    cdef StoredBindings stored = location.store.bindings(aor)
    if stored.record is None:
        return None
    if stored.single:
        if stored.at.expires <= now or not is_of(&stored.at, contact, instance, registration):
            return None
        device[0] = stored.at
        return stored.record
    found = among(location.preferred(stored, now), contact, instance, registration)
    if found is not None:
        read_binding(found, device)
    return found


cdef object among(list bindings, bytes contact, bytes instance, bytes registration):
    found = None
    for binding in bindings:
        if instance and binding.instance == instance:
            return binding
        if binding.contact == contact:
            found = binding
        elif found is None and registration and binding.call_id == registration:
            found = binding
    return found


cdef object newest(list bindings, set tried):
    found = None
    for binding in bindings:
        if (tried is None or binding.contact not in tried) and (found is None or binding.updated > found.updated):
            found = binding
    return found


cdef object phone_of(Location location, StoredWatch watch, bint others, set tried, Entry *device, int64_t now):
    cdef bytes caller = bytes_of(watch.at.caller)
    cdef object kept = None
    if tried is None:
        kept = device_of(location, caller, bytes_of(watch.at.contact), bytes_of(watch.at.instance),
                         bytes_of(watch.at.registration), device, now)
    if kept is None and others:
        kept = newest(location.lookup(caller, now), tried)
        if kept is not None:
            read_binding(kept, device)
    if kept is not None:
        return kept
    if watch.at.registration.size or tried is not None:
        device.contact = device.path = device.flow = device.instance = piece_in(nothing)
    else:
        device.contact, device.path, device.flow = watch.at.contact, watch.at.path, watch.at.flow
        device.instance = watch.at.instance
    return None
