# What a presence agent remembers: in memory, and of each record a copy in the store. See state.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from sipfast._flow cimport Flow
from sipfast.transaction.server cimport Handler
from sipfast._wheel cimport Timed, Wheel

cdef enum:
    # kinds of timers
    LAPSE = 1           # a subscription has ended
    FADE = 2            # a publication has
    RESUME = 3          # a subscription is to be told its state once more, since the process was started again

cdef class Presentity:
    cdef readonly bytes aor
    cdef list subscriptions
    cdef list publications      # the latest last
    cdef bytes neutral          # the document that says closed
    cdef bytes document(self)

# A dialog of RFC 6665, and the handler of its NOTIFYs.
cdef class Subscription(Handler):
    cdef State state            # None once it has ended
    cdef Presentity presentity
    cdef uint64_t number
    cdef bytes call_id, local_tag, remote_tag, event
    cdef bytes lines            # of each NOTIFY: From, To, Call-ID, Route, Contact, Event
    cdef bytes target           # its Request-URI
    cdef Flow flow              # the way it goes
    cdef int64_t expires        # ms
    cdef uint32_t remote_cseq, local_cseq
    cdef uint32_t reserved      # CSeq up to which the store knows
    cdef uint64_t timer
    cdef bytes record(self)

cdef class Publication:
    cdef Presentity presentity
    cdef uint64_t number
    cdef bytes etag, document
    cdef int64_t expires        # ms
    cdef uint64_t timer
    cdef bytes record(self)

cdef class State:
    cdef object store
    cdef Wheel wheel
    cdef Timed owner            # of the timers
    cdef readonly dict dialogs  # by our tag
    cdef readonly dict presentities
    cdef readonly dict etags
    cdef uint64_t last          # number given
    cdef uint64_t next_number(self)
    cdef bytes next_etag(self)
    cdef Presentity presentity(self, bytes aor)
    # Put it into the store as it is now, and its timer to its end.
    cdef int keep(self, Subscription subscription, int64_t expires) except -1
    cdef int keep_publication(self, Publication publication, int64_t expires) except -1
    cdef int drop(self, Subscription subscription) except -1
    cdef int drop_publication(self, Publication publication) except -1
    # Before each NOTIFY: the store holds a CSeq beyond it.
    cdef int reserve(self, Subscription subscription) except -1
    cdef int load(self, int64_t now, bint resume) except -1
    cdef int forget(self) except -1
    cdef int add(self, Subscription subscription) except -1
    cdef int tidy(self, Presentity presentity) except -1
