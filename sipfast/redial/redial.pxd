# Automatic redial: what the engine drives. See redial.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..dialog.dialogs cimport Dialogs
from ..observe.events cimport Events
from ..routing.binding_observer cimport BindingObserver
from ..routing.doubt cimport Doubts
from ..routing.location cimport Location
from ..store.repository cimport Store
from ..transaction.layer cimport TransactionLayer
from .._parser cimport Message
from .._wheel cimport Wheel
from .keepalive cimport KeepAlive
from .ladder cimport Ladder
from .notice cimport Notices, Post
from .observer cimport Observer
from .owner cimport Owner
from .ownership cimport Ownership
from .pending cimport Pending
from .policy cimport Policy
from .suspended cimport Suspended
from .talks cimport Talks
from .watchlist cimport Watchlist


@cython.final
cdef class Redial:
    cdef Policy policy
    cdef Ownership ownership
    cdef Watchlist watchlist
    cdef Ladder ladder
    cdef Owner owner
    cdef readonly Talks talks
    cdef Notices notices
    cdef Suspended suspended
    cdef Pending pending                 # of the batch that is being decided
    cdef KeepAlive keepalive
    cdef dict counts                     # name -> int
    cdef bint resumed                    # this worker is in the place of one that died, while the others went on
    # What hears of calls, and of bindings.
    cdef Observer calls
    cdef BindingObserver bindings

    # Take up what the store holds: run timers on, drop what ran out, resume recalls that were in flight.
    cdef int start(self, int64_t now) except -1
    # The store has committed a batch: notices leave, and the attempts of the claims in it begin. True: there is more to commit.
    cdef bint committed(self, Pending batch, int64_t now) except -1
    # A batch is lost, or `units` of it: undo what was only promised, write again what has happened. `later`: what waits of the
    # batches after it, in their order. May raise StoreError; then that is tried again a little later, and until then
    # remembered here.
    cdef int batch_lost(self, Pending batch, list later, object units, int64_t now) except -1
    # The process is about to end: what lost batches had written is written once more, for nobody remembers it afterwards.
    cdef int ending(self, int64_t now) except -1
    # A notice of another worker has come.
    cdef int told(self, bytes data, int64_t now) except -1
    # A NOTIFY for the server itself: the status to answer with. It belongs to a recall of ours or to nothing.
    cdef int notify(self, Message request, int64_t now) except -1

    cdef int worker_restarted(self, int worker, int64_t now) except -1

# `post` takes notices to the other ones of several `workers`; `seed`: at least 16 random bytes.
cdef Redial make_redial(settings, Store store, Wheel wheel, Events events, Location location, TransactionLayer transactions,
                        tuple listeners, Dialogs dialogs, Doubts doubts, bytes seed, int worker, int workers, Post post,
                        bint resumed)
