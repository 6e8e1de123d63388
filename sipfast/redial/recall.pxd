# The recalls that are going on. See recall.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from ..dialog.call_names cimport CallNames
from ..observe.events cimport Events
from ..routing.location cimport Location
from ..store.codec cimport StoredWatch, WatchEntry
from ..store.repository cimport Store
from .._parser cimport Message
from .._wheel cimport Timed, Wheel
from .bucket cimport Bucket
from .ladder cimport Ladder, Rung
from .methods.method cimport Attempt, AttemptObserver, Outcome
from .ownership cimport Ownership
from .pending cimport Pending
from .policy cimport Policy
from .subscriptions cimport Subscriptions
from .suspended cimport Suspended
from .watchlist cimport Watchlist

cdef enum:
    SAID_AGAIN = 9_000      # ms in which a 2xx that was lost with a server comes again: see recall.pyx

cdef class Recalls

# What it means for a watch that its recall came to nothing.
cdef enum Consequence:
    COUNTED             # one attempt less, after redial.retry_pause; where no device has taken part, as PAUSED
    PAUSED              # again after a pause that grows; no attempt is used up
    SUSPEND             # the same, unless the caller registers or hangs up before
    NEXT_LOGIN          # again when the callee has logged in anew
    NO                  # as redial.declined says
    OVER                # the watch ends


# A recall that is going on, from its claim until the call is answered or has come to nothing.
@cython.final
cdef class Recall(AttemptObserver):
    cdef Recalls recalls
    cdef tuple pair
    cdef tuple rungs                     # of the ladder, the first to be tried first
    cdef int at                          # the one that is tried
    cdef bytes refer_call_id
    cdef StoredWatch claimed             # until the attempt is begun
    cdef StoredWatch watch               # as it was when the attempt was begun
    cdef bytes contact                   # of the device that is asked
    cdef set tried                       # Contacts of the devices that are not there; None: no other is to be asked yet
    cdef Attempt attempt                 # the last that was begun
    cdef bint waits                      # for the phone's answer to it
    cdef bint took_part                  # a device of the caller's has said that it will call, has rung, or has called
    cdef bint same                       # it is the device that has armed the watch, not another of the caller's
    cdef list silent                     # names of methods after which the phone said nothing, or placed no call; or None
    cdef int64_t number                  # of the attempt
    cdef str answer                      # of the phone to it, for people
    cdef bytes call_id                   # of the caller's INVITE, once it came
    cdef int worker                      # the one that proxies it, -1: not known
    cdef uint64_t timer
    cdef bint extended                   # its time has been, since its call may have started elsewhere
    cdef bint admitted                   # the bucket has given it its place
    cdef bint over
    cdef Rung rung(self)


# Who decides what comes after a recall.
cdef class Turns:
    cdef int next_turn(self, bytes callee, int64_t now) except -1


@cython.final
cdef class Recalls(Timed):
    cdef Turns turns
    cdef Policy policy
    cdef Watchlist watchlist
    cdef Store store
    cdef Ownership ownership
    cdef Wheel wheel
    cdef Events events
    cdef Location location
    cdef Suspended suspended
    cdef Ladder ladder
    cdef CallNames names
    cdef Bucket bucket
    cdef Subscriptions subscriptions
    cdef dict counts                     # name -> int
    cdef dict of                         # pair -> Recall
    cdef dict outcomes                   # method -> outcome -> int: see observe/counters
    cdef dict engaged                    # callee -> pair being recalled, or Call-ID of the talk (serial)

    # Fill in the fields of a watch that is claimed: a new attempt by a method, under new names, which are `kept` for that long.
    cdef int name_attempt(self, WatchEntry *entry, list kept, Rung rung) except -1
    # Take a claimed watch into memory as a recall that is going on, at this place of its ladder.
    cdef Recall add(self, StoredWatch watch, tuple pair, tuple rungs, int at, int64_t now)
    # The same, of an earlier process or batch.
    cdef Recall take_up(self, StoredWatch watch, tuple pair, int64_t now)
    # Its attempt begins after the commit, if nothing in the batch has ended the watch.
    cdef int begin_soon(self, Recall recall, StoredWatch watch) except -1
    # The batch is committed: the attempts of the claims in it may begin.
    cdef int begin_claimed(self, Pending batch, int64_t now) except -1
    # The batch is lost, or `units` of it: the pairs whose claims are. None of them begins any more.
    cdef set claims_lost(self, Pending batch, object units)
    cdef int drop_claims(self, Pending batch, set undone) except -1
    # Take a recall up again whose claim is in the store.
    cdef int resume_at(self, Recall recall, int64_t when) except -1
    # The pair's recall, which is known no longer and is to be ended; None where there is none.
    cdef Recall pop(self, tuple pair)
    # It no longer keeps its callee; what its phone tells is heard for a while.
    cdef int end(self, Recall recall, int64_t now) except -1
    # The two talk: its attempt is over.
    cdef int complete(self, Recall recall, int64_t now) except -1
    # The caller's INVITE has come; it has come to nothing.
    cdef int called(self, Recall recall, bytes call_id, int worker, int64_t now) except -1
    # The call got a final response other than 2xx, after ringing for so many ms (-1: it did not).
    cdef int call_ended(self, Recall recall, int status, int64_t rang, int64_t now) except -1
    cdef int fail(self, Recall recall, str result, int64_t now) except -1
    cdef int come_to_nothing(self, Recall recall, str result, Consequence consequence, int64_t now) except -1
    # The watch of a recall is gone: no attempt begins any more, and before the call has begun it is the next one's turn.
    cdef int call_off(self, tuple pair, int64_t now) except -1
    # A worker has died: the recalled calls through it have, too, but for those in `answered`: (pair, Call-ID).
    cdef int worker_restarted(self, int worker, set answered, int64_t now) except -1
    # A NOTIFY for the server itself: the status to answer with.
    cdef int notified(self, Message request, int64_t now) except -1

    cdef int begin(self, Recall recall, StoredWatch watch, int64_t now) except -1
    cdef int accepted(self, Recall recall, bint before, str answer, int64_t now) except -1
    cdef int attempt_ended(self, Recall recall, Outcome outcome, str answer, str result, int64_t now) except -1
    # The phone that was asked by this Call-ID tells of the call that it has placed.
    cdef int told_of_call(self, tuple pair, bytes call_id, int status, str text, int64_t now) except -1
    cdef int placed_no_call(self, Recall recall, int status, str text, int64_t now) except -1
    cdef int told(self, Recall recall, int64_t now) except -1
    # The phone does not obey this method: the next one, or the end of the attempt.
    cdef int climb(self, Recall recall, str result, int64_t now) except -1
    cdef int ask_another(self, Recall recall, str result, int64_t now) except -1
    cdef int try_next(self, Recall recall, int at, str result, int64_t now) except -1
    cdef bint may_ask_others(self, StoredWatch watch) noexcept
    cdef int64_t pause_after(self, int64_t pauses, bytes call_id) except -1
    # `outcome`: for events and counters.
    cdef int tell_answer(self, Recall recall, str answer, str outcome) except -1
    cdef int count(self, Recall recall, str outcome) except -1
    cdef int count_of(self, str method, str outcome) except -1
    cdef int keep_outcome(self, StoredWatch watch, Recall recall, str result) except -1
    cdef int put_back(self, StoredWatch watch, Recall recall, str result, Consequence consequence, int64_t now) except -1
    cdef int give_up(self, StoredWatch watch, Recall recall, str reason, str result) except -1
    cdef int note_silence(self, Recall recall) except -1
    # The caller has called after all: which methods the phone obeys, and which not.
    cdef int note_call(self, Recall recall, int64_t now) except -1
    cdef int note_early(self, Recall recall, bint obeyed, int64_t now) except -1
    cdef int note(self, Recall recall, str method, bint worked, int64_t now) except -1
    cdef int leave_attempt(self, Recall recall, int64_t now) except -1
    cdef int overdue(self, Recall recall, int64_t now) except -1
    cdef bint started_elsewhere(self, Recall recall, int64_t now) except -1
    cdef int resume(self, Recall recall, int64_t now) except -1
    cdef int set_deadline(self, Recall recall, int64_t when) except -1
    cdef int stop_deadline(self, Recall recall) except -1

cdef Recalls make_recalls(Policy policy, Watchlist watchlist, Location location, Suspended suspended, Ladder ladder,
                          CallNames names, Bucket bucket)
