"""What phones have obeyed and refused: remembered of each device, and of the make by its User-Agent.

The store has it, all workers write it, and each has it in memory, so that a recall asks the store for nothing: it is loaded at
the start, and gone through again and again, a little at a time. So what another worker has learned is known within minutes, what
was forgotten by hand is forgotten, and what has expired is removed.

A refusal is noted of the device, whatever its make does. A success is noted of the make, and of the device only where the make
is not known for it. One phone that refuses is no reason to think ill of a make that was seen to obey: some have a switch.
"""

from libc.stdint cimport int64_t

from .._wheel cimport Timed, Wheel
from ..store.repository cimport Store

from ..errors import StoreUnreadable
from ..store.records import AGENT, DEVICE, MOST_PHONES, Note, Phone, tell_unreadable

cdef enum:
    GO_ON = 1               # timer
    EVERY = 10_000          # ms
    ROWS = 200              # half a millisecond, for which all others wait

cdef object NEVER = 0x7FFFFFFFFFFFFFFF  # ms


cdef class Known:
    """What is remembered of one device or make."""


cdef Known known_of(tuple notes, int64_t now, int64_t turn):
    cdef Known known = Known.__new__(Known)
    known.notes = tuple([note for note in notes if note.until > now])
    known.verdicts = {note.method: note.worked for note in known.notes}
    known.good = {} if False in known.verdicts.values() else {note.method: note.until for note in known.notes}
    known.until = min([note.until for note in known.notes], default=now)
    known.turn = turn
    return known


cdef Known still_known(dict all_known, bytes name, int64_t now):
    cdef Known known = all_known.get(name)
    if known is not None and known.until <= now:
        known = all_known[name] = known_of(known.notes, now, known.turn)
    return None if known is None or not known.notes else known


cdef class PhoneMemory(Timed):

    def __init__(self, settings, Store store not None, Wheel wheel not None):
        self.store = store
        self.wheel = wheel
        self.devices = {}
        self.agents = {}
        self.reached = b""
        self.configure(settings)

    def configure(self, settings):
        self.lifetime = round(settings.remember_phones * 1000)
        if not self.lifetime:
            self.devices.clear()
            self.agents.clear()

    def begin(self, now):
        self.start(now)

    cdef int start(self, int64_t now) except -1:
        if self.lifetime:
            for phone in self.store.each_phone():
                self.take(phone, now)
        self.wheel.schedule(now + EVERY, self, GO_ON)

    # ---- asked

    cdef Known device(self, bytes contact, bytes instance, int64_t now):
        return still_known(self.devices, instance or contact, now) if self.devices else None

    cdef Known make(self, bytes agent, int64_t now):
        return still_known(self.agents, agent, now) if self.agents else None

    def of_device(self, bytes contact not None, bytes instance not None, int64_t now):
        cdef Known known = self.device(contact, instance, now)
        return None if known is None else known.verdicts

    def of_agent(self, bytes agent not None, int64_t now):
        cdef Known known = self.make(agent, now)
        return None if known is None else known.verdicts

    # ---- told

    cpdef int note(self, bytes contact, bytes instance, bytes agent, str method, bint worked, int64_t now) except -1:
        if not self.lifetime:
            return 0
        if agent:
            self.note_agent(agent, method, worked, now)
        if instance or contact:
            self.note_device(instance or contact, agent, method, worked, now)
        return 0

    cdef int note_agent(self, bytes agent, str method, bint worked, int64_t now) except -1:
        cdef Known make = still_known(self.agents, agent, now)
        known = None if make is None else make.verdicts.get(method)
        if known is None or (worked and not known):
            self.write(AGENT, agent, agent, method, worked, now)
        elif worked and <int64_t>make.good.get(method, NEVER) - now < self.lifetime // 2:
            # It was the first choice all the time, and keeps its good name. Where others were left out because of what is
            # remembered, that runs out with them: the phones may have learned meanwhile.
            self.write(AGENT, agent, agent, method, worked, now)

    cdef int note_device(self, bytes device, bytes agent, str method, bint worked, int64_t now) except -1:
        cdef Known former = still_known(self.devices, device, now) if self.devices else None
        known = None if former is None else former.verdicts.get(method)
        if known is None and worked and agent:
            return 0                        # as its make
        if known is None or known != worked:
            self.write(DEVICE, device, agent, method, worked, now)

    cdef int write(self, str kind, bytes name, bytes agent, str method, bint worked, int64_t now) except -1:
        cdef tuple notes = ()
        self.store.for_update()
        try:
            phone = self.store.phone(kind, name)
            if phone is not None:
                notes = tuple([note for note in phone.notes if note.method != method and note.until > now])
        except StoreUnreadable as error:
            tell_unreadable(error)
        phone = Phone(kind, name, agent, (*notes, Note(method, worked, now, now + self.lifetime)))
        self.store.put_phone(phone)
        self.take(phone, now)

    # ---- going through what is stored

    # Whether anything of it still holds.
    cdef bint take(self, object phone, int64_t now) except -1:
        cdef dict all_known = self.agents if phone.kind == AGENT else self.devices
        cdef Known known = all_known.get(phone.name)
        if known is not None and known.notes == phone.notes and known.until > now:
            known.turn = self.turn            # the same still: what was made of it is right
            return True
        known = known_of(phone.notes, now, self.turn)
        if not known.notes or (len(all_known) >= MOST_PHONES and phone.name not in all_known):
            return bool(known.notes)
        all_known[phone.name] = known
        return True

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        self.wheel.schedule(now + EVERY, self, GO_ON)
        if self.lifetime:
            self.go_on(now)
        return 0

    cdef int go_on(self, int64_t now) except -1:
        phones, self.reached = self.store.phones_after(self.reached, ROWS)
        for phone in phones:
            if not self.take(phone, now):
                self.store.delete_phone(phone.kind, phone.name)
        if not self.reached:
            self.agents = seen_in(self.agents, self.turn)
            self.devices = seen_in(self.devices, self.turn)
            self.turn += 1


# Those that were there when it was gone through; the others have been forgotten.
cdef dict seen_in(dict all_known, int64_t turn):
    return {name: known for name, known in all_known.items() if (<Known>known).turn >= turn}
