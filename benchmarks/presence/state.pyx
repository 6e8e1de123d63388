"""Subscriptions, publications and whom they are about; each change is in the store before anybody is told of it.

All of it is kept in memory, so nothing is read from the store but at the start and after a batch that failed. A record is
a version, numbers of fixed size, and pieces with their sizes:

    subscription  number, expires, remote CSeq, our CSeq; AOR, Call-ID, our tag, remote tag, Event, lines, target, flow
    publication   number, expires; AOR, entity-tag, document

A NOTIFY counts its subscription's CSeq on, which would be a write for each watcher at each change. Instead the store
holds a CSeq that is not reached before the next write (`AHEAD`), and a restarted process goes on from there.

Whoever waits here holds whom: presentity and subscriptions, and presentity and publications, hold each other until they
are dropped, so that the classes need no garbage collector.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from sipfast._flow cimport Flow
from sipfast._parser cimport Message
from sipfast.transaction.client cimport ClientTransaction
from sipfast.transaction.server cimport Handler
from sipfast._wheel cimport Timed, Wheel

from sipfast.errors import StoreCorrupt

cdef enum:
    VERSION = 1
    AHEAD = 4096
    PACE = 1                # ms between two NOTIFYs after a start

# RFC 6665 §4.2.2: the responses to a NOTIFY that end its subscription.
cdef set ENDING = {404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604}


# ---- records

cdef bytes packed(uint64_t number, int64_t expires, uint32_t first, uint32_t second, tuple pieces):
    cdef Py_ssize_t size = 1 + 8 + 8 + 4 + 4
    cdef bytes piece
    cdef uint32_t length
    for piece in pieces:
        size += 4 + PyBytes_GET_SIZE(piece)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = PyBytes_AS_STRING(made)
    to[0] = VERSION
    memcpy(to + 1, &number, 8)
    memcpy(to + 9, &expires, 8)
    memcpy(to + 17, &first, 4)
    memcpy(to + 21, &second, 4)
    to += 25
    for piece in pieces:
        length = <uint32_t>PyBytes_GET_SIZE(piece)
        memcpy(to, &length, 4)
        memcpy(to + 4, PyBytes_AS_STRING(piece), length)
        to += 4 + length
    return made


cdef list unpacked(bytes record, uint64_t *number, int64_t *expires, uint32_t *first, uint32_t *second):
    cdef const char *p = PyBytes_AS_STRING(record)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(record) - 25
    cdef uint32_t length
    cdef list pieces = []
    if left < 0 or p[0] != VERSION:
        raise StoreCorrupt("a record of another version, or a damaged one")
    memcpy(number, p + 1, 8)
    memcpy(expires, p + 9, 8)
    memcpy(first, p + 17, 4)
    memcpy(second, p + 21, 4)
    p += 25
    while left >= 4:
        memcpy(&length, p, 4)
        if length > left - 4:
            break
        pieces.append(PyBytes_FromStringAndSize(p + 4, length))
        p += 4 + length
        left -= 4 + length
    if left:
        raise StoreCorrupt("a damaged record")
    return pieces


cdef bytes key_of(uint64_t number):
    cdef char key[8]
    cdef int i
    for i in range(8):
        key[i] = <char>(number >> (56 - 8 * i))
    return PyBytes_FromStringAndSize(key, 8)


# ---- what there is

@cython.final
@cython.no_gc
cdef class Presentity:

    cdef bytes document(self):
        """Its state: the latest publication's. RFC 3903 §4 leaves it to the compositor how several come to one."""
        if self.publications:
            return (<Publication>self.publications[len(self.publications) - 1]).document
        if self.neutral is None:
            entity = self.aor.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b'"', b"&quot;")
            self.neutral = (b'<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf" '
                            b'entity="' + entity + b'"><tuple id="none"><status><basic>closed</basic></status></tuple>'
                            b"</presence>\r\n")
        return self.neutral


@cython.final
@cython.no_gc
cdef class Subscription(Handler):

    cdef bytes record(self):
        return packed(self.number, self.expires, self.remote_cseq, self.reserved,
                      (self.presentity.aor, self.call_id, self.local_tag, self.remote_tag, self.event, self.lines,
                       self.target, self.flow.pack()))

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        if response.status >= 300 and self.state is not None and response.status in ENDING:
            self.state.drop(self)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        # RFC 6665 §4.2.2: nobody is there any more.
        if self.state is not None:
            self.state.drop(self)
        return 0


@cython.final
@cython.no_gc
cdef class Publication:

    cdef bytes record(self):
        return packed(self.number, self.expires, 0, 0, (self.presentity.aor, self.etag, self.document))


@cython.final
cdef class State:

    def __init__(self, store, Wheel wheel not None, Timed owner not None):
        self.store = store
        self.wheel = wheel
        self.owner = owner
        self.dialogs = {}
        self.presentities = {}
        self.etags = {}

    cdef uint64_t next_number(self):
        # Never one that was given before: a clock's beginning, and then one by one.
        self.last = max(self.last + 1, <uint64_t>self.wheel.now << 20)
        return self.last

    cdef bytes next_etag(self):
        return b"%x" % self.next_number()

    cdef Presentity presentity(self, bytes aor):
        cdef Presentity found = <Presentity>self.presentities.get(aor)
        if found is None:
            found = Presentity.__new__(Presentity)
            found.aor = aor
            found.subscriptions = []
            found.publications = []
            self.presentities[aor] = found
        return found

    cdef int add(self, Subscription subscription) except -1:
        subscription.state = self
        subscription.presentity.subscriptions.append(subscription)
        self.dialogs[subscription.local_tag] = subscription
        return 0

    cdef int keep(self, Subscription subscription, int64_t expires) except -1:
        subscription.expires = expires
        subscription.reserved = subscription.local_cseq + AHEAD
        self.store.put(self.store.subscriptions, key_of(subscription.number), subscription.record())
        if subscription.timer:
            self.wheel.cancel(subscription.timer)
        subscription.timer = self.wheel.schedule(expires, self.owner, LAPSE, subscription)
        return 0

    cdef int reserve(self, Subscription subscription) except -1:
        if subscription.local_cseq >= subscription.reserved:
            subscription.reserved = subscription.local_cseq + AHEAD
            self.store.put(self.store.subscriptions, key_of(subscription.number), subscription.record())
        return 0

    cdef int drop(self, Subscription subscription) except -1:
        cdef Presentity presentity = subscription.presentity
        self.store.delete(self.store.subscriptions, key_of(subscription.number))
        if subscription.timer:
            self.wheel.cancel(subscription.timer)
            subscription.timer = 0
        presentity.subscriptions.remove(subscription)
        del self.dialogs[subscription.local_tag]
        subscription.state = None
        subscription.presentity = None
        return self.tidy(presentity)

    cdef int keep_publication(self, Publication publication, int64_t expires) except -1:
        cdef Presentity presentity = publication.presentity
        publication.expires = expires
        self.store.put(self.store.publications, key_of(publication.number), publication.record())
        if publication.timer:
            self.wheel.cancel(publication.timer)
        publication.timer = self.wheel.schedule(expires, self.owner, FADE, publication)
        self.etags[publication.etag] = publication
        if publication in presentity.publications:
            presentity.publications.remove(publication)
        presentity.publications.append(publication)
        return 0

    cdef int drop_publication(self, Publication publication) except -1:
        cdef Presentity presentity = publication.presentity
        self.store.delete(self.store.publications, key_of(publication.number))
        if publication.timer:
            self.wheel.cancel(publication.timer)
            publication.timer = 0
        presentity.publications.remove(publication)
        del self.etags[publication.etag]
        publication.presentity = None
        return self.tidy(presentity)

    cdef int tidy(self, Presentity presentity) except -1:
        # One about whom nobody says and asks anything is forgotten.
        if not presentity.subscriptions and not presentity.publications:
            self.presentities.pop(presentity.aor, None)
        return 0

    # ---- the whole

    cdef int load(self, int64_t now, bint resume) except -1:
        """From the store, after `forget`. `resume`: the process is new, and a NOTIFY may have died with the one before;
        so subscribers are told the state once more, one after the other."""
        cdef Subscription subscription
        cdef Publication publication
        cdef uint64_t number
        cdef int64_t expires
        cdef uint32_t first, second
        cdef int64_t due = now
        for record in self.store.each(self.store.publications):
            aor, etag, document = unpacked(record, &number, &expires, &first, &second)
            publication = Publication.__new__(Publication)
            publication.presentity = self.presentity(aor)
            publication.number = number
            publication.etag = etag
            publication.document = document
            publication.expires = expires
            publication.timer = self.wheel.schedule(expires, self.owner, FADE, publication)
            publication.presentity.publications.append(publication)
            self.etags[etag] = publication
            self.last = max(self.last, number, <uint64_t>int(etag, 16))
        for record in self.store.each(self.store.subscriptions):
            pieces = unpacked(record, &number, &expires, &first, &second)
            subscription = Subscription.__new__(Subscription)
            subscription.presentity = self.presentity(pieces[0])
            subscription.number = number
            (subscription.call_id, subscription.local_tag, subscription.remote_tag, subscription.event,
             subscription.lines, subscription.target) = pieces[1:7]
            subscription.flow = Flow.unpack(pieces[7])
            subscription.expires = expires
            subscription.remote_cseq = first
            subscription.local_cseq = subscription.reserved = second
            subscription.timer = self.wheel.schedule(expires, self.owner, LAPSE, subscription)
            self.add(subscription)
            if resume:
                due += PACE
                self.wheel.schedule(due, self.owner, RESUME, subscription)
            self.last = max(self.last, number)
        return 0

    cdef int forget(self) except -1:
        """All that is in memory, with its timers; the store keeps what it has."""
        cdef Presentity presentity
        cdef Subscription subscription
        cdef Publication publication
        for presentity in self.presentities.values():
            for subscription in presentity.subscriptions:
                self.wheel.cancel(subscription.timer)
                subscription.state = None
                subscription.presentity = None
            for publication in presentity.publications:
                self.wheel.cancel(publication.timer)
                publication.presentity = None
            presentity.subscriptions = []
            presentity.publications = []
        self.presentities.clear()
        self.dialogs.clear()
        self.etags.clear()
        return 0
