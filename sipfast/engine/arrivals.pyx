"""Messages that wait until a store across the network has brought near what they are about. In front of others, none waits here.

A message is about those in its Request-URI, its To and its From. All that wait stay in their order: the CANCEL behind its INVITE.
"""

import cython

from .._flow cimport Flow
from .._parser cimport Message, SCHEME_SIP, SCHEME_SIPS, Uri, canonical_aor, parse_message

from ..errors import StoreError


@cython.final
cdef class Arrival:
    pass


@cython.final
cdef class Group:

    def __cinit__(self):
        self.messages = []


@cython.final
cdef class Arrivals:

    def __init__(self, store):
        self.store = store
        self.group = Group()
        self.groups = []

    cdef int add(self, bytes data, Flow flow, int hops) except -1:
        cdef Arrival message = Arrival.__new__(Arrival)
        message.data = data
        message.flow = flow
        message.hops = hops
        self.group.messages.append(message)
        return 0

    cdef list at_hand(self):
        cdef Group group = self.group
        cdef list found = []
        if group.messages:
            self.group = Group()
            self.groups.append(group)
            try:
                group.ready = self.store.fetch(subjects_of(group), group)
            except StoreError:                # whoever reads it is told so
                group.ready = True
        while self.groups and (<Group>self.groups[0]).ready:
            found += (<Group>self.groups.pop(0)).messages
        return found

    cdef int fetched(self, Group group) except -1:
        if group not in self.groups:
            raise ValueError("not a group that is waited for")
        group.ready = True
        return 0


cdef set subjects_of(Group group):
    cdef Arrival arrival
    cdef Message message
    cdef set found = set()
    for arrival in group.messages:
        message = parse_message(arrival.data)
        if not message.error:
            if not message.status:
                add_subject(found, message, &message.uri)
            add_subject(found, message, &message.target.uri)
            add_subject(found, message, &message.sender.uri)
    return found


cdef int add_subject(set found, Message message, const Uri *uri) except -1:
    if uri.scheme == SCHEME_SIP or uri.scheme == SCHEME_SIPS:
        found.add(canonical_aor(message.p, uri))
    return 0
