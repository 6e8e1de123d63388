# The watch list, as redial reads and writes it. See watchlist.pyx.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from ..observe.events cimport Events
from ..store.codec cimport StoredWatch, WatchEntry
from ..store.repository cimport Store
from ..trust.credit cimport Credit
from .._wheel cimport Timed, Wheel
from .ownership cimport Ownership
from .pending cimport Pending
from .policy cimport Policy
from .waiting cimport Waiting

cdef enum:
    REWRITE_AFTER = 1_000   # ms from a failed commit until what it lost is written again

# The state of a watch as stored. One that is suspended is armed, too; one that is claimed is recalling or calling.
cdef bint is_armed(StoredWatch watch) noexcept
cdef bint is_suspended(StoredWatch watch) noexcept
cdef bint is_recalling(StoredWatch watch) noexcept
cdef bint is_calling(StoredWatch watch) noexcept
cdef bint is_claimed(StoredWatch watch) noexcept
cdef bint is_offered(StoredWatch watch) noexcept
# What came of a recall, for people: what the phone said to the REFER, and the rest.
cdef str outcome_text(str answer, str result)


# A pair is a tuple: callee, caller.
@cython.final
cdef class Watchlist(Timed):
    cdef Policy policy
    cdef Store store
    cdef Wheel wheel
    cdef Events events
    cdef Ownership ownership
    cdef Waiting waiting                 # pairs with the timers of their watches: of the callees that are this worker's own
    cdef dict credits                    # callee -> Credit of the REGISTER that brought it back, for REFERs to the unproven
    cdef dict counts                     # name -> int
    cdef Pending pending                 # what is written now, and waits for its commit
    # What was written in batches that were lost: to be written again, unless something newer is
    cdef dict lost
    cdef dict lost_talks
    cdef uint64_t rewrite                # timer

    # The pair's watch, as it is or is to be written again; None where it has none.
    cdef StoredWatch find(self, tuple pair)
    # The same of one who asks for a watch, and mostly has none: one worker knows that from memory.
    cdef StoredWatch former(self, tuple pair)
    # The same; None, too, where its record cannot be read, which is told of: others go on without it.
    cdef StoredWatch find_readable(self, tuple pair)
    # The callee's watches, the oldest first.
    cdef list of_callee(self, bytes callee)
    cdef bint has(self, tuple pair) except -1
    cdef bint is_waited_for(self, bytes callee) except -1
    # Whether somebody else's turn is to wait until the pair has talked.
    cdef bint keeps_others_waiting(self, tuple pair) except -1
    cdef bint has_room(self, bytes caller, bytes callee) except -1
    cdef bint has_room_in_all(self) except -1
    cdef Credit credit_of(self, bytes callee)

    cdef StoredWatch change(self, const WatchEntry *entry, tuple pair)
    cdef int put(self, tuple pair, StoredWatch watch, bint new) except -1
    # Whether there was one. `answer`: what the caller's phone said to the last REFER, `result`: what came of it where the
    # caller of this tells of the end.
    cdef bint remove(self, tuple pair, str reason, str answer=*, str result=*) except -1
    # It was offered, and never armed: it leaves no trace. Whether there was one.
    cdef bint drop(self, tuple pair) except -1
    cdef StoredWatch as_stored(self, tuple pair)
    cdef object outcomes(self, tuple pair)
    cdef int keep_ended(self, object watch, object attempts, str reason, str answer, str result) except -1
    cdef int note_write(self, tuple pair, StoredWatch watch) except -1
    cdef int put_talk(self, bytes callee, talk) except -1

    # A batch is committed, or lost; `undone`: pairs of which it holds nothing that has happened. `later`: what was written
    # since, in their order; `units`: those of the batch that are lost, None: all.
    cdef int committed(self, Pending batch) except -1
    cdef int leave_to_others(self, Pending batch, set undone) except -1
    cdef int batch_lost(self, Pending batch, set undone, list later, object units) except -1
    # Not at once: a batch that nobody commits would hold up other workers, and go with whatever else is written.
    cdef int write_soon(self, int64_t now) except -1
    cdef int write_again(self, int64_t now) except -1
    # What waits for a commit leaves with one.
    cdef int commit_soon(self, int64_t now) except -1
    cdef bint ended_elsewhere(self, tuple pair) except -1

    # The watch ends at that time, and is held in memory until then or until `forget`.
    cdef int remember(self, tuple pair, int64_t expires_at) except -1
    cdef int forget(self, tuple pair) except -1
    cdef int expire(self, tuple pair, int64_t now) except -1
