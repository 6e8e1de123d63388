# What redial sees of calls. See observer.pyx.

cimport cython
from libc.stdint cimport int64_t

from ..observe.events cimport Events
from ..routing.location cimport Location
from ..routing.senders cimport Senders
from ..store.codec cimport StoredWatch
from ..store.repository cimport Store
from .._flow cimport Flow
from .._parser cimport Message
from .._wheel cimport Timed
from .unacknowledged cimport Recent, Unacknowledged
from .notice cimport Notices
from .offers cimport Offers
from .owner cimport Owner
from .ownership cimport Ownership
from .policy cimport Policy
from .suspended cimport Suspended
from .talks cimport Talks
from .watchlist cimport Watchlist

# A pair is a tuple: callee, caller.


@cython.final
cdef class Observer(Timed):
    cdef Policy policy
    cdef Watchlist watchlist
    cdef Store store
    cdef Ownership ownership
    cdef Owner owner                     # of this worker's callees
    cdef Talks talks
    cdef Notices notices
    cdef Suspended suspended
    cdef Events events
    cdef Location location
    cdef Senders senders
    cdef dict counts                     # name -> int
    cdef Offers offers                   # what a 480 has said, and its ACK makes true
    cdef Unacknowledged unacknowledged
    cdef int64_t former_until            # ms: until then there may be ACKs of recalled calls that were answered before the start
    # Of several workers
    cdef set proxied                     # recalled calls of others' callees that go through here: Call-ID, caller's tag, pair
    cdef Recent acknowledged             # calls whose ACK was not awaited as far as known

    # An INVITE found the callee unbound. Returns the reason phrase and header lines of its 480, None for a plain one.
    # `allowed`: the caller is of a domain whose users may arm. `identity`: by whom it is known, as records.Watch has it. `tag`:
    # To tag of that 480, whose ACK makes it final.
    cdef tuple unavailable(self, Message request, Flow flow, bytes caller, bytes callee, bint allowed, bytes identity,
                           bytes tag, int64_t now)
    # The same of one who no longer wants to be recalled, and was not to be found.
    cdef tuple is_off(self, bytes callee)
    # The caller no longer wants to be recalled: that is proven; or it is once the ACK has come of the final response with
    # this To tag, where the call is from its caller. Whether there was a watch.
    cdef bint cancel(self, bytes caller, bytes callee, int64_t now) except -1
    cdef bint cancel_later(self, bytes caller, bytes callee, Message request, Flow flow, bytes tag, int64_t now) except -1
    # Whether a recall of the pair is going on.
    cdef bint is_recalled(self, bytes caller, bytes callee) except -1
    # An INVITE from caller to callee is being proxied; it got a 2xx; another final response. `accepted`: its upstream has
    # accepted it, and with it who it is from; else `senders` say whether a call that concerns a watch is from its caller.
    # False: a stranger's, of which nothing more is to be told.
    cdef bint call_started(self, bytes caller, bytes callee, Message request, Flow flow, bint accepted, int64_t now) except -1
    cdef int call_answered(self, bytes caller, bytes callee, Message response, Message request, Flow flow, bint accepted,
                           int64_t now) except -1
    cdef int call_failed(self, bytes caller, bytes callee, Message request, Flow flow, bint accepted, int status, int64_t rang,
                         int64_t now) except -1
    # An ACK for a 2xx passes: the two talk.
    cdef int call_acknowledged(self, Message ack, Flow flow, int64_t now) except -1
    # A BYE was answered, or never will be: its call is over. `flow`: by which it came; `place`: where its 2xx is from, or None;
    # `known`: there was such a call, as its 2xx or a flow token says.
    cdef int call_hung_up(self, Message bye, Flow flow, Flow place, bint known, int64_t now) except -1

    # What other workers have told of calls.
    cdef int answered_elsewhere(self, tuple pair, bytes call, int worker, int64_t now) except -1
    cdef int unconfirmed_elsewhere(self, tuple pair, bytes call, int64_t now) except -1
    cdef int acknowledged_elsewhere(self, tuple pair, bytes call, int64_t now) except -1
    cdef int worker_restarted(self, int worker) except -1
    # This worker is in the place of one that died, and tells again what that may have committed without telling.
    cdef int tell_again(self, int64_t now) except -1

    cdef bint is_recalled_call(self, tuple pair, Message request, int64_t now) except -1
    cdef StoredWatch arm(self, Message request, Flow flow, tuple pair, bytes identity, int64_t expires_at, bytes tag,
                         int64_t now)
    cdef StoredWatch armed_by(self, Message request, Flow flow, tuple pair, bytes identity, int64_t expires_at, int64_t now)
    cdef tuple not_armed(self, bytes caller, bytes callee, str why)
    cdef bint is_known(self, tuple pair) except -1
    # No longer one of `proxied`; whether it was.
    cdef bint unproxied(self, tuple pair, Message message) except -1
    cdef int await_ack(self, tuple pair, bytes call, bytes call_id, int worker, int64_t now) except -1
    cdef tuple pair_from_before(self, Message message, Flow flow, bint acknowledged, int64_t now)
    cdef int parties_back(self, Message bye, Flow flow, Flow place, bint known, int64_t now) except -1
    cdef int hung_up_early(self, Message bye, Flow flow, bytes call, int64_t now) except -1
    cdef int connected(self, tuple pair, bytes call, int64_t now) except -1
    cdef int complete(self, tuple pair, bytes call, int64_t now) except -1
    cdef int completed_elsewhere(self, tuple pair, bytes call, int64_t now) except -1
    cdef int unconfirmed(self, tuple pair, bytes call, int64_t now) except -1
